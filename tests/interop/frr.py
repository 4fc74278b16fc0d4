"""FRR: bgpd and its zebra."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

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

_FAMILIES: Final = {4: "ipv4 unicast", 6: "ipv6 unicast"}


class Frr:
    """Two processes, asked through vtysh."""

    name: ClassVar = "FRR"
    programs: ClassVar[tuple[str, ...]] = ("bgpd", "zebra", "vtysh")
    asks: ClassVar = True

    def __init__(self, place: Place) -> None:
        self._place = place
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._router: Router | None = None

    def start(self, router: Router) -> None:
        """Zebra outlives a killed bgpd, as under FRR's own supervisor."""
        self._router = router
        # Both give up being root, and zebra refuses to stay it.
        self._place.directory.parent.chmod(0o755)
        shutil.chown(self._place.directory, "frr", "frr")
        self._place.file("bgpd.conf").write_text("\n".join(_configuration(router)))
        self._place.file("zebra.conf").write_text("ip nht resolve-via-default\nipv6 nht resolve-via-default\n")
        for program in ("zebra", "bgpd"):
            process = self._processes.get(program)
            if process is None or process.poll() is not None:
                self._processes[program] = self._place.spawn(program, *self._files(program))
                self._ready(program)

    def _ready(self, program: str) -> None:
        wait_until(lambda: self._answers(program))

    def tell(self, *tables: Mapping[Prefix, Origin]) -> None:
        assert self._router
        lines = ["configure terminal"]
        for routes in tables:
            before, self._router = self._router, replace(self._router, routes=routes)
            lines += [*_maps(routes), f"router bgp {before.asn}", *_changes(before.routes, routes), "exit"]
        self._ask(*lines)

    def established(self, neighbor: Address) -> bool:
        shown = self._show(f"show bgp neighbors {neighbor} json")
        return bool(shown.get(str(neighbor), {}).get("bgpState") == "Established")

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        family = _FAMILIES[neighbor.version]
        told = self._show(f"show bgp {family} neighbors {neighbor} routes json").get("routes", {})
        if not told:
            return {}
        details = self._ask(*(f"show bgp {family} {prefix} json" for prefix in told))
        return dict(_entries(details, neighbor))

    def updates(self, neighbor: Address) -> Updates:
        counted = self._show(f"show bgp neighbors {neighbor} json")[str(neighbor)]["messageStats"]
        return Updates(counted["updatesRecv"], counted["updatesSent"])

    def ask_again(self, neighbor: Address) -> None:
        self._ask(f"clear bgp {_FAMILIES[neighbor.version]} {neighbor} soft in")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Killed, bgpd alone dies."""
        programs = ("bgpd",) if number is signal.SIGKILL else ("bgpd", "zebra")
        for program in programs:
            ended(self._processes.get(program), number)

    def _files(self, program: str) -> list[str]:
        own = {"-f": f"{program}.conf", "-i": f"{program}.pid", "-z": "zserv.api", "--vty_socket": "."}
        words = (word for option, name in own.items() for word in (option, str(self._place.file(name))))
        return [*words, "-A", "127.0.0.1", "-P", "0", "--log", "stdout"]

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


def _configuration(router: Router) -> Iterator[str]:
    restarting = any(neighbor.restarts for neighbor in router.neighbors)
    yield from _maps(router.routes)
    yield f"router bgp {router.asn}"
    yield f" bgp router-id {router.router_id}"
    yield " no bgp ebgp-requires-policy"
    yield " no bgp default ipv4-unicast"
    yield " no bgp network import-check"
    yield " bgp bestpath as-path multipath-relax"
    yield f" timers bgp {HOLD_TIME_S // 3} {HOLD_TIME_S}"
    if restarting:
        yield " bgp graceful-restart"
        yield " bgp graceful-restart preserve-fw-state"
        yield f" bgp graceful-restart restart-time {RESTART_TIME_S}"
    else:
        yield " bgp graceful-restart-disable"
    if router.cluster_id:
        yield f" bgp cluster-id {router.cluster_id}"
    for neighbor in router.neighbors:
        yield from (f" neighbor {neighbor.address} {statement}" for statement in _statements(neighbor))
    yield from _changes({}, router.routes)
    for version, family in _FAMILIES.items():
        yield f" address-family {family}"
        for neighbor in router.neighbors:
            if neighbor.address.version == version:
                yield f"  neighbor {neighbor.address} activate"
                if neighbor.client:
                    yield f"  neighbor {neighbor.address} route-reflector-client"
        yield " exit-address-family"


def _statements(neighbor: Neighbor) -> Iterator[str]:
    yield f"remote-as {neighbor.asn}"
    yield f"update-source {neighbor.local}"
    yield "timers connect 1"
    yield "advertisement-interval 0"
    if neighbor.passive:
        yield "passive"
    if neighbor.password:
        yield f"password {neighbor.password}"
    if neighbor.ttl_security:
        yield "ttl-security hops 1"


def _maps(routes: Mapping[Prefix, Origin]) -> Iterator[str]:
    """A route map for each set of communities."""
    for origin in {origin for origin in routes.values() if origin.communities}:
        yield f"route-map {_map(origin)} permit 10"
        for kind, parts in (("community", 2), ("large-community", 3)):
            values = [value for value in origin.communities if len(value.split(":")) == parts]
            if values:
                yield f" set {kind} {' '.join(values)}"
        yield "exit"


def _map(origin: Origin) -> str:
    return "-".join(("mark", *origin.communities)).replace(":", "_")


def _changes(before: Mapping[Prefix, Origin], after: Mapping[Prefix, Origin]) -> Iterator[str]:
    withdrawn = {prefix: origin for prefix, origin in before.items() if prefix not in after}
    announced = {prefix: origin for prefix, origin in after.items() if before.get(prefix) != origin}
    for (version, fewer), (_, more) in zip(by_version(withdrawn), by_version(announced), strict=True):
        if fewer or more:
            yield f" address-family {_FAMILIES[version]}"
            yield from (f"  no network {prefix}" for prefix in fewer)
            yield from (f"  network {prefix}{_marked(origin)}" for prefix, origin in more.items())
            yield " exit-address-family"


def _marked(origin: Origin) -> str:
    return f" route-map {_map(origin)}" if origin.communities else ""


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
    )


_: type[Daemon] = Frr
