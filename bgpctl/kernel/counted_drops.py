"""
Packets that a table of ours drops, by reason: for each a chain that notes the sender, counts the packet and drops it.

The senders of the last hour are kept, 256 of them for each reason, in a set with a timeout: the one whose time is over
last is the last one. Where a set is full the next sender is not noted, and the packet is counted and dropped all the
same, by a rule of its own. Counters and the last sender outlive a replacement of the table.

Refuses to know: the reasons, and which packets there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Drops
from bgpctl.kernel import nft

_IP: Final = {4: "ip", 6: "ip6"}
_SENDERS: Final = "size 256; flags dynamic,timeout; timeout 1h"
_MADE_AS: Final = ["set", "drop"]


def declared(reasons: Iterable[str], version: int, before: Iterable[Drops] = ()) -> str:
    """Counters, sets and chains to which rules of the table `goto`; `before`: what was dropped earlier."""
    known = {item.reason: item for item in before}
    return "\n".join(_declared(known.get(reason) or Drops(reason, 0), version) for reason in reasons)


def _declared(start: Drops, version: int) -> str:
    reason = start.reason
    elements = f"elements = {{ {start.last} }};" if start.last else ""
    return f"""\
    counter {reason} {{ packets {start.packets} bytes 0
    }}
    set {_senders(reason)} {{ type ipv{version}_addr; {_SENDERS}; {elements} }}
    chain {reason} {{
        update @{_senders(reason)} {{ {_IP[version]} saddr }}
        counter name {reason} drop
    }}"""


def is_as_declared(listed: list[dict[str, Any]], reasons: Iterable[str]) -> bool:
    """True if the chain of each reason drops."""
    found: dict[str, list[str]] = {}
    for rule in (item["rule"] for item in listed if "rule" in item):
        found.setdefault(rule["chain"], []).append(next(iter(rule["expr"][-1]), ""))
    return all(found.get(reason) == _MADE_AS for reason in reasons)


def rules_of(listed: list[dict[str, Any]], chain: str) -> list[dict[str, Any]]:
    """The rules of one chain, as nft shows them."""
    return [item["rule"] for item in listed if "rule" in item and item["rule"]["chain"] == chain]


def counted(listed: list[dict[str, Any]]) -> tuple[Drops, ...]:
    """Of every reason; empty for what is no table as we make it."""
    return _counted(listed) or ()


@nft.of_ours
def _counted(listed: list[dict[str, Any]]) -> tuple[Drops, ...] | None:
    senders = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if "set" in item}
    counters = {item["counter"]["name"]: int(item["counter"]["packets"]) for item in listed if "counter" in item}
    return tuple(
        Drops(reason, packets, _last(senders.get(_senders(reason), []))) for reason, packets in counters.items()
    )


def _last(elements: Iterable[Mapping[str, Any]]) -> Address | None:
    known = [element["elem"] for element in elements]
    latest = max(known, key=lambda item: int(item["expires"]), default=None)
    return Address.parse(latest["val"]) if latest else None


def _senders(reason: str) -> str:
    return f"{reason}_from"
