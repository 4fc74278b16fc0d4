"""FRR: bgpd, its zebra and its bfdd."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab.daemons import frr
from bgpctl.lab.daemons.session_options import Origin, Place, Router
from tests.interop.daemon import Daemon, Entry, Updates, ended
from tests.waiting import wait_until


class Frr:
    """Two processes, asked through vtysh."""

    name: ClassVar = "FRR"
    programs: ClassVar[tuple[str, ...]] = frr.PROGRAMS
    asks: ClassVar = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._router: Router | None = None

    def start(self, router: Router) -> None:
        """Zebra outlives a killed bgpd, as under FRR's own supervisor."""
        self._router = router
        frr.write(self._place, router)
        for program in ("zebra", *(("bfdd",) if any(one.bfd_ms for one in router.neighbors) else ()), "bgpd"):
            process = self._processes.get(program)
            if process is None or process.poll() is not None:
                self._processes[program] = frr.start(self._place, program)
                self._ready(program)

    def _ready(self, program: str) -> None:
        wait_until(lambda: self._answers(program))

    def announce(self, *tables: Mapping[Prefix, Origin]) -> None:
        assert self._router
        lines = ["configure terminal"]
        for routes in tables:
            before, self._router = self._router, replace(self._router, routes=routes)
            lines += [*frr.maps(routes), f"router bgp {before.asn}", *frr.changes(before.routes, routes), "exit"]
        self._ask(*lines)

    def established(self, neighbor: Address) -> bool:
        shown = self._show(f"show bgp neighbors {neighbor} json")
        return bool(shown.get(str(neighbor), {}).get("bgpState") == "Established")

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        family = frr.FAMILIES[neighbor.version]
        shown = self._show(f"show bgp {family} neighbors {neighbor} routes json").get("routes", {})
        if not shown:
            return {}
        details = self._ask(*(f"show bgp {family} {prefix} json" for prefix in shown))
        return dict(_entries(details, neighbor))

    def updates(self, neighbor: Address) -> Updates:
        counted = self._show(f"show bgp neighbors {neighbor} json")[str(neighbor)]["messageStats"]
        return Updates(counted["updatesRecv"], counted["updatesSent"])

    def ask_again(self, neighbor: Address) -> None:
        self._ask(f"clear bgp {frr.FAMILIES[neighbor.version]} {neighbor} soft in")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Killed, bgpd alone dies."""
        programs = ("bgpd",) if number is signal.SIGKILL else ("bgpd", "bfdd", "zebra")
        for program in programs:
            ended(self._processes.get(program), number)

    def _answers(self, program: str) -> bool:
        shown = subprocess.run(
            ("vtysh", "--vty_socket", self._place.directory, "-d", program, "-c", "show version"),
            capture_output=True,
            check=False,
        )
        return shown.returncode == 0

    def _ask(self, *lines: str) -> str:
        return self._place.run("vtysh", "--vty_socket", self._place.directory, stdin="\n".join(lines) + "\n")

    def _show(self, line: str) -> dict[str, Any]:
        shown = self._place.run("vtysh", "--vty_socket", self._place.directory, "-c", line)
        found = json.loads(shown or "{}")
        assert isinstance(found, dict)
        return found


def _entries(text: str, neighbor: Address) -> Iterator[tuple[Prefix, Entry]]:
    """Of `show bgp PREFIX json`, one object after the other."""
    decoder = json.JSONDecoder()
    text = text[text.find("{") :]
    while text.startswith("{"):
        shown, end = decoder.raw_decode(text)
        rest = text[end:]
        text = rest[rest.find("{") :] if "{" in rest else ""
        for path in shown.get("paths", ()):
            if path["peer"]["peerId"] == str(neighbor):
                yield Prefix.parse(shown["prefix"]), _entry(path)


def _entry(path: Mapping[str, Any]) -> Entry:
    marks = [*path.get("community", {}).get("list", ()), *path.get("largeCommunity", {}).get("list", ())]
    segments = path.get("aspath", {}).get("segments", ())
    return Entry(
        next_hop=Address.parse(next(hop["ip"] for hop in path["nexthops"] if hop.get("scope") != "link-local")),
        as_path=tuple(asn for segment in segments for asn in segment["list"]),
        communities=frozenset(marks),
        local_pref=path.get("locPrf"),
        originator=path.get("originatorId"),
        cluster_list=tuple(path.get("clusterList", {}).get("list", ())),
        only_to_customer=path.get("otc"),
    )


_: type[Daemon] = Frr
