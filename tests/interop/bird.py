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

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab.daemons import bird
from bgpctl.lab.daemons.session_options import Origin, Place, Router
from tests.interop.daemon import Daemon, Entry, Updates, ended
from tests.waiting import wait_until

_ROUTE: Final = re.compile(r"^(\S+/\d+)?\s+unicast \[", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^\t(BGP\.\w+): (.*)$", re.MULTILINE)


class Bird:
    """One process, asked through its control socket."""

    name: ClassVar = "BIRD"
    programs: ClassVar[tuple[str, ...]] = bird.PROGRAMS
    asks: ClassVar = True
    style: ClassVar = bird.PLAIN

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._router: Router | None = None

    def start(self, router: Router) -> None:
        self._write(router)
        self._process = bird.start(self._place, *(("-R",) if router.recovering else ()))
        wait_until(self._answers)

    def announce(self, *tables: Mapping[Prefix, Origin]) -> None:
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
        return "Established" in self._ask("show", "protocols", bird.session_name(neighbor))

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        return dict(_entries(self._ask("show", "route", "protocol", bird.session_name(neighbor), "all")))

    def updates(self, neighbor: Address) -> Updates:
        shown = self._ask("show", "protocols", "all", bird.session_name(neighbor))
        received, sent = (
            re.search(rf"{direction} updates:\s+(\d+).* (\d+)\n", shown) for direction in ("Import", "Export")
        )
        return Updates(int(received.group(1)) if received else 0, int(sent.group(2)) if sent else 0)

    def ask_again(self, neighbor: Address) -> None:
        self._ask("reload", "in", bird.session_name(neighbor))

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
        self._place.file("bird.conf").write_text(bird.configuration(router, self.style))


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
                extended=found.get("BGP.ext_community", ""),
                only_to_customer=int(found["BGP.otc"]) if "BGP.otc" in found else None,
            ),
        )


_: type[Daemon] = Bird
