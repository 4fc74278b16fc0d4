"""
IP in IP by the kernel's ipip module. It decapsulates from any sender, so an nftables table of ours limits the senders.

Loading the module puts a tunl0 into every network namespace; it cannot be deleted or configured, only set up or down.

Refuses to know: when it is the right driver.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from bgpctl.core.fabric.ipip import LINK
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Link, Plain
from bgpctl.kernel import decode, nft
from bgpctl.kernel.ipip import TABLE
from bgpctl.kernel.ipip.bpf import clear_away
from bgpctl.kernel.links import Links, list_links, mending
from bgpctl.kernel.netlink import Netlink

_IPIP: Final = "ip protocol 4"  # by number: names come from /etc/protocols, which a small system has not

_HOOK: Final = "type filter hook input priority filter; policy accept;"
_DROP_ALL: Final = f"    chain input {{ {_HOOK} {_IPIP} drop; }}"


class KernelIpip:
    """
    The driver for hosts with the ipip module.

    Raises:
        Unavailable: no netlink here.
    """

    name: Final = "kernel"

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._links = Links()

    def close(self) -> None:
        self._links.close()
        self._netlink.close()

    def port_ids(self) -> frozenset[int]:
        return frozenset({self._links.port_id})

    def recognises(self, name: str, kind: str) -> bool:
        return name == LINK and kind == "ipip"

    def put_link(self, link: Link) -> None:
        present = self._find(link.name)
        if present and present[1].kind == Plain("veth") and present[1].owned:
            self._take_over()
            present = None
        if present is None:
            self._links.create({"ifname": link.name, "kind": "ipip"})
        present = self._find(link.name)
        if present is None:
            raise OSError(errno.ENODEV, f"no link {link.name}")
        index, found = present
        if link.up and not found.up and parse(nft.listed(TABLE)) is None:
            nft.replace(TABLE, _DROP_ALL)  # from the moment it is up the module decapsulates
        self._links.change(index, mending(link, found))

    def _take_over(self) -> None:
        """
        Remove the objects of the BPF driver. All that stands on the device goes with it and has to be put again; a
        device that is up cannot be renamed before Linux 6.2.
        """
        nft.replace(TABLE, _DROP_ALL)  # first, because without nft nothing could replace the removed program
        clear_away()

    def remove_link(self, name: str) -> None:
        present = self._find(name)
        if present is None:
            return
        index, found = present
        self._links.change(index, mending(replace(found, up=False, owned=False), found))
        self._links.remove(index)  # the kernel reports success and keeps the tunl0 that came with the module
        self.remove_decap(name)

    def put_decap(self, decap: Decap) -> None:
        for name in (decap.link, decap.underlay):
            if self._find(name) is None:
                raise OSError(errno.ENODEV, f"no link {name}")
        nft.replace(TABLE, ruleset(decap, dropped_packets() or 0))

    def remove_decap(self, link: str) -> None:
        if link == LINK:
            nft.remove(TABLE)

    def observe_decaps(self) -> frozenset[Decap]:
        """Empty also where nft is not installed: then nothing was ever allowed."""
        found = parse(nft.listed(TABLE))
        return frozenset({found}) if found else frozenset()

    def _find(self, name: str) -> tuple[int, Link] | None:
        found = next((facts for facts in list_links(self._netlink) if facts.name == name), None)
        return (found.number, decode.link(found)) if found else None


def dropped_packets() -> int | None:
    """How many packets the table of the calling thread's namespace has dropped; None without one. Raises OSError."""
    return _parse_dropped(nft.listed(TABLE))


@nft.of_ours
def _parse_dropped(listed: list[dict[str, Any]]) -> int | None:
    rules = [item["rule"]["expr"] for item in listed if _is_ours(item, "rule")]
    counted = (
        expression["counter"]["packets"] for expression in (rules[-1] if rules else ()) if "counter" in expression
    )
    return next(counted, None)


def ruleset(decap: Decap, dropped_before: int = 0) -> str:
    """
    The table that lets in what `decap` allows and drops any other IPIP to its addresses, as one nft transaction.
    `dropped_before` continues the counter. `local` has a rule of its own, from which `parse` reads it.
    """
    allowed = f'iifname "{decap.underlay}" ip saddr @sources accept'
    return f"""\
    {_set("sources", decap.sources)}
    {_set("own", decap.own)}
    chain input {{
        {_HOOK}
        {_IPIP} ip daddr {decap.local} {allowed}
        {_IPIP} ip daddr @own {allowed}
        {_IPIP} ip daddr @own counter packets {dropped_before} bytes 0 drop
    }}"""


def _set(name: str, addresses: Iterable[Address]) -> str:
    elements = ", ".join(map(str, addresses))
    return f"set {name} {{ type ipv4_addr; {f'elements = {{ {elements} }};' if elements else ''} }}"


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> Decap | None:
    """The senders that our table allows, from `nft -j list`; None if it is absent or its rules were changed."""
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if _is_ours(item, "set")}
    rules = [item["rule"]["expr"] for item in listed if _is_ours(item, "rule")]
    if [_verdict(rule) for rule in rules] != ["accept", "accept", "drop"]:
        return None
    met = dict(_matches(rules[0]))
    if not {"iifname", "daddr"} <= met.keys() or not {"sources", "own"} <= sets.keys():
        return None
    sources, own = (tuple(sorted(map(Address.parse, sets[name]))) for name in ("sources", "own"))
    local = Address.parse(met["daddr"])
    return Decap(LINK, met["iifname"], local, sources, tuple(address for address in own if address != local))


def _verdict(rule: list[dict[str, Any]]) -> str | None:
    return next((verdict for verdict in ("accept", "drop") if {verdict: None} in rule), None)


def _is_ours(item: Mapping[str, Any], kind: str) -> bool:
    return kind in item and item[kind]["table"] == TABLE


def _matches(expressions: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The field of each match of a rule (`iifname`, `daddr`, …), with the value that it wants."""
    for expression in expressions:
        match expression:
            case {"match": {"left": {"meta": {"key": field}} | {"payload": {"field": field}}, "right": str(wanted)}}:
                yield field, wanted
            case _:
                pass
