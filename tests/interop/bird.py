"""BIRD 2."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Final

from bgpctl.core.model import Address, Prefix
from tests.interop.daemon import (
    HOLD_TIME_S,
    RESTART_TIME_S,
    Daemon,
    Entry,
    Neighbor,
    Origin,
    Place,
    Router,
    Updates,
    by_version,
    ended,
)
from tests.waiting import wait_until

_ROUTE: Final = re.compile(r"^(\S+/\d+)?\s+unicast \[", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^\t(BGP\.\w+): (.*)$", re.MULTILINE)

_CONFIGURATION: Final = """\
log stderr {{ info, remote, warning, error, auth, fatal, bug }};
router id {router_id};
protocol device {{ scan time 2; }}
protocol kernel kernel4 {{
    persist; graceful restart; merge paths on;
    ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol kernel kernel6 {{
    persist; graceful restart; merge paths on;
    ipv6 {{ import none; export where source = RTS_BGP; }};
}}
{more}
{routes}
{sessions}
"""

_SESSION: Final = """\
protocol bgp {name} {{
    local {local} as {own_asn};
    neighbor {address} as {asn};
    direct;
    hold time {hold};
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    graceful restart {restarts}; graceful restart time {restart};
    {options}
    ipv{version} {{ import all; export where source ~ [ RTS_STATIC, RTS_BGP ]; }};
}}
"""


class Bird:
    """One process, asked through its control socket."""

    name: ClassVar = "BIRD"
    programs: ClassVar[tuple[str, ...]] = ("bird", "birdc")
    asks: ClassVar = True
    more: ClassVar = ""
    session: ClassVar = _SESSION
    """What a session is written as."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._router: Router | None = None

    def start(self, router: Router) -> None:
        self._write(router)
        files = ("-c", self._place.file("bird.conf"), "-s", self._place.file("bird.ctl"))
        recover = ("-R",) if router.recovering else ()
        self._process = self._place.spawn("bird", "-f", *recover, *files, "-P", self._place.file("bird.pid"))
        wait_until(self._answers)

    def tell(self, *tables: Mapping[Prefix, Origin]) -> None:
        for routes in tables:
            assert self._router
            self._write(replace(self._router, routes=routes))
            self._ask("configure")

    def hold_back(self) -> None:
        """Keep the routes of our own from being announced until `let_go`."""
        self._ask("disable", '"static*"')

    def let_go(self) -> None:
        self._ask("enable", '"static*"')

    def established(self, neighbor: Address) -> bool:
        return "Established" in self._ask("show", "protocols", _name(neighbor))

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        return dict(_entries(self._ask("show", "route", "protocol", _name(neighbor), "all")))

    def updates(self, neighbor: Address) -> Updates:
        shown = self._ask("show", "protocols", "all", _name(neighbor))
        received, sent = (re.search(rf"{way} updates:\s+(\d+).* (\d+)\n", shown) for way in ("Import", "Export"))
        return Updates(int(received.group(1)) if received else 0, int(sent.group(2)) if sent else 0)

    def ask_again(self, neighbor: Address) -> None:
        self._ask("reload", "in", _name(neighbor))

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        ended(self._process, number)

    def _ask(self, *words: str) -> str:
        return self._place.run("birdc", "-s", self._place.file("bird.ctl"), *words)

    def _answers(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return "Daemon is up" in self._ask("show", "status")
        return False

    def _write(self, router: Router) -> None:
        self._router = router
        text = _CONFIGURATION.format(
            router_id=router.router_id,
            more=self.more,
            routes="\n".join(_own_routes(router)),
            sessions="\n".join(self._session(router, neighbor) for neighbor in router.neighbors),
        )
        self._place.file("bird.conf").write_text(text)

    def _session(self, router: Router, neighbor: Neighbor) -> str:
        return self.session.format(
            name=_name(neighbor.address),
            local=neighbor.local,
            own_asn=router.asn,
            address=neighbor.address,
            asn=neighbor.asn,
            hold=HOLD_TIME_S,
            restarts="on" if neighbor.restarts else "off",
            restart=RESTART_TIME_S,
            options=" ".join(_options(router, neighbor)),
            version=neighbor.address.version,
        )


def _options(router: Router, neighbor: Neighbor) -> Iterator[str]:
    if neighbor.passive:
        yield "passive on;"
    if neighbor.password:
        yield f'password "{neighbor.password}";'
    if neighbor.ttl_security:
        yield "ttl security on;"
    if neighbor.client:
        yield f"rr client; rr cluster id {router.cluster_id};"


def _own_routes(router: Router) -> Iterator[str]:
    for version, routes in by_version(router.routes):
        lines = (f"route {prefix} blackhole {{ {_marks(origin)} }};" for prefix, origin in sorted(routes.items()))
        yield f"protocol static static{version} {{ ipv{version}; {' '.join(lines)} }}"


def _marks(origin: Origin) -> str:
    kinds = {2: "bgp_community", 3: "bgp_large_community"}
    values = (community.split(":") for community in origin.communities)
    return " ".join(f"{kinds[len(value)]}.add(({','.join(value)}));" for value in values)


def _name(neighbor: Address) -> str:
    return "to_" + re.sub(r"[.:]", "_", str(neighbor))


def _entries(listing: str) -> Iterator[tuple[Prefix, Entry]]:
    """Of `show route all`: a line per route, then its attributes, indented by a tab."""
    starts = [match.start() for match in _ROUTE.finditer(listing)]
    prefix = ""
    for start, end in pairwise([*starts, len(listing)]):
        route = _ROUTE.match(listing, start)
        prefix = (route and route.group(1)) or prefix
        found = dict(_ATTRIBUTE.findall(listing, start, end))
        marks = found.get("BGP.community", "") + found.get("BGP.large_community", "").replace(" ", "")
        yield (
            Prefix.parse(prefix),
            Entry(
                next_hop=Address.parse(found["BGP.next_hop"].split()[0]),
                as_path=tuple(map(int, found.get("BGP.as_path", "").split())),
                communities=frozenset(mark.replace(",", ":") for mark in re.findall(r"\(([\d,]+)\)", marks)),
                local_pref=int(found["BGP.local_pref"]) if "BGP.local_pref" in found else None,
                originator=found.get("BGP.originator_id"),
                cluster_list=tuple(found.get("BGP.cluster_list", "").split()),
            ),
        )


_: type[Daemon] = Bird
