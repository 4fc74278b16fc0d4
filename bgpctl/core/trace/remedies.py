"""
The command that has a chain of another program let our packets pass, in the words of the program that owns the chain.

An exception goes before the chain's own rules. A firewall that writes its tables anew would forget it, so each that is
recognised gets it by its own command: Docker (its chain for operators), ufw, firewalld. Leftovers of a network plugin
that is gone are removed. Others, and iptables, get it in the chain itself.

Refuses to know: which packets a chain ends (netfilter.py), which of ours there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.trace.netfilter import Chain, Fate
from bgpctl.core.trace.packet import TCP, UDP


class Exempt(NamedTuple):
    """Packets that are to pass: from and to a pool, or of a protocol, with the port at which they arrive."""

    version: int
    pool: Prefix | None = None
    protocol: int = 0
    port: int = 0

    @property
    def name(self) -> str:
        """Of the protocol, as nft and firewalls have it."""
        return {TCP: "tcp", UDP: "udp"}.get(self.protocol, str(self.protocol))


_Write: TypeAlias = Callable[[Chain, Exempt], Iterator[str]]


def remedy(end: Fate, exempt: Iterable[Exempt]) -> str:
    """The command for this end of packets."""
    chain = end.chain
    for belongs, command in _LEFTOVERS:
        if any(map(belongs, _chains_with(end))):
            return command.format(family="ip6tables" if chain.family == "ip6" else "iptables", chain=_home(end))
    write = next((found for owns, found in _OWNERS if owns(chain)), _by_nft)
    commands = [command for item in dict.fromkeys(exempt) for command in write(chain, item)]
    return " && ".join(commands) or listing(chain)


def listing(chain: Chain) -> str:
    """The command that shows a chain."""
    return f"nft -a list chain {chain.family} {chain.table} {chain.name}"


def _home(end: Fate) -> str:
    """The chain that has the rule."""
    return next(_chains_with(end), end.chain.name)


def _chains_with(end: Fate) -> Iterator[str]:
    return (name for name, rules in end.chain.others if end.rule and end.rule in rules)


_LEFTOVERS: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (lambda name: name.startswith("FLANNEL-POSTRTG"), "{family} -t nat -F {chain}"),
    (lambda name: name.startswith("FLANNEL-FWD"), "{family} -F {chain}"),
    (lambda name: name.startswith("KUBE-ROUTER"), "{family} -F {chain}"),
)


# Writers ---------------------------------------------------------------------------------------------------------


def _by_nft(chain: Chain, item: Exempt) -> Iterator[str]:
    verdict = "return" if chain.type == "nat" else "accept"
    inserted = [f"insert rule {chain.family} {chain.table} {chain.name} {match} {verdict}" for match in _nft(item)]
    yield f"nft '{'; '.join(inserted)}'"


def _nft(item: Exempt) -> Iterator[str]:
    if item.pool:
        family = "ip6" if item.version == 6 else "ip"
        yield from (f"{family} {end} {item.pool}" for end in ("saddr", "daddr"))
    elif item.port:
        ends = ("dport", "sport") if item.protocol == TCP else ("dport",)
        yield from (f"{item.name} {end} {item.port}" for end in ends)
    else:
        yield f"meta l4proto {item.protocol}"


def _by_iptables(chain: Chain, item: Exempt, table: str = "", name: str = "") -> Iterator[str]:
    program = "ip6tables" if item.version == 6 else "iptables"
    where = table or ("" if chain.table == "filter" else f" -t {chain.table}")
    verdict = "RETURN" if chain.type == "nat" else "ACCEPT"
    for match in _iptables(item):
        yield f"{program}{where} -I {name or chain.name} {match} -j {verdict}"


def _iptables(item: Exempt) -> Iterator[str]:
    if item.pool:
        yield from (f"{end} {item.pool}" for end in ("-s", "-d"))
    elif item.port:
        ends = ("--dport", "--sport") if item.protocol == TCP else ("--dport",)
        yield from (f"-p {item.name} {end} {item.port}" for end in ends)
    else:
        yield f"-p {item.protocol}"


def _by_docker(chain: Chain, item: Exempt) -> Iterator[str]:
    return _by_iptables(chain, item, name=_DOCKER)


def _by_ufw(chain: Chain, item: Exempt) -> Iterator[str]:
    """It has no words for a protocol by its number."""
    if item.pool:
        yield from (f"ufw route allow {end} {item.pool}" for end in ("from", "to"))
    elif item.port:
        yield f"ufw allow {item.port}/{item.name}"
    else:
        side = "output" if chain.hook == "output" else "input"
        prefix = "ufw6" if item.version == 6 else "ufw"
        yield from _by_iptables(chain, item, name=f"{prefix}-before-{side}")


def _by_firewalld(_: Chain, item: Exempt) -> Iterator[str]:
    """The zone `trusted` accepts what its sources send, and forwards it."""
    if item.pool:
        yield f"firewall-cmd --permanent --zone=trusted --add-source={item.pool}"
    elif item.port:
        yield f"firewall-cmd --permanent --add-port={item.port}/{item.name}"
    else:
        yield f"firewall-cmd --permanent --add-protocol={item.protocol}"
    yield "firewall-cmd --reload"


_DOCKER: Final = "DOCKER-USER"


def _has(chain: Chain, start: str) -> bool:
    return any(name.startswith(start) for name, _ in chain.others)


def _is_iptables(chain: Chain) -> bool:
    """Its tables, by nftables, have these names."""
    return chain.table in {"filter", "nat", "mangle", "raw", "security"} and chain.name.isupper()


_OWNERS: Final[tuple[tuple[Callable[[Chain], bool], _Write], ...]] = (
    (lambda chain: chain.table == "firewalld", _by_firewalld),
    (lambda chain: _has(chain, "ufw"), _by_ufw),
    (lambda chain: chain.hook == "forward" and _has(chain, _DOCKER), _by_docker),
    (_is_iptables, _by_iptables),
)
