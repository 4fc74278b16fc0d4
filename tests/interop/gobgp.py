"""GoBGP."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab.daemons.session_options import HOLD_TIME_S, RESTART_TIME_S, Neighbor, Origin, Place, Router
from tests.interop.daemon import Daemon, Entry, Updates, ended
from tests.waiting import wait_until

_FAMILIES: Final = {4: "ipv4", 6: "ipv6"}
_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF, _COMMUNITIES = 1, 2, 3, 4, 5, 8
_ORIGINATOR, _CLUSTER_LIST, _MP_REACH, _LARGE_COMMUNITIES = 9, 10, 14, 32


class Gobgp:
    """
    One process, asked through gobgp, and one that listens to it: GoBGP itself writes nothing into the kernel, so
    its best paths are put there, as its users do with another daemon's help.
    """

    name: ClassVar = "GoBGP"
    programs: ClassVar[tuple[str, ...]] = ("gobgpd", "gobgp")
    asks: ClassVar = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._monitors: list[subprocess.Popen[str]] = []
        self._router: Router | None = None

    def start(self, router: Router) -> None:
        self._router = replace(router, routes={})
        self._place.file("gobgpd.json").write_text(json.dumps(configuration(router)))
        recover = ("-r",) if router.recovering else ()
        files = (
            "-t",
            "json",
            "-f",
            self._place.file("gobgpd.json"),
            "--api-hosts",
            "127.0.0.1:50051",
            "--pprof-disable",
        )
        self._process = self._place.spawn("gobgpd", *recover, *files)
        wait_until(self._answers)
        for family in _FAMILIES.values():
            command = (
                "ip",
                "netns",
                "exec",
                self._place.namespace,
                "gobgp",
                "monitor",
                "global",
                "rib",
                "-j",
                "-a",
                family,
            )
            monitor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self._forward, args=(monitor,), daemon=True).start()
            self._monitors.append(monitor)
        self.announce(router.routes)
        # Only now, because an End-of-RIB without them would be the end of what others keep of them.
        for neighbor in router.neighbors:
            self._ask("neighbor", str(neighbor.address), "enable")

    def announce(self, *tables: Mapping[Prefix, Origin]) -> None:
        assert self._router
        script: list[str] = []
        for routes in tables:
            before, self._router = self._router.routes, replace(self._router, routes=routes)
            script += (f"gobgp {words}" for words in _changes(before, routes))
        self._place.run("sh", "-e", stdin="\n".join(script))

    def established(self, neighbor: Address) -> bool:
        state = json.loads(self._ask("neighbor", str(neighbor), "-j"))["state"]
        return bool(state.get("session_state") == _ESTABLISHED)

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        shown = self._ask("neighbor", str(neighbor), "adj-in", "-a", _FAMILIES[neighbor.version], "-j")
        listed = json.loads(shown or "{}")
        rows = listed.values() if isinstance(listed, dict) else listed
        return {Prefix.parse(path["nlri"]["prefix"]): _entry(path["attrs"]) for paths in rows for path in _each(paths)}

    def updates(self, neighbor: Address) -> Updates:
        counted = json.loads(self._ask("neighbor", str(neighbor), "-j"))["state"]["messages"]
        return Updates(counted["received"].get("update", 0), counted["sent"].get("update", 0))

    def ask_again(self, neighbor: Address) -> None:
        raise NotImplementedError("gobgp softresetin re-reads GoBGP's own table and sends no ROUTE-REFRESH")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        ended(self._process, number)
        for monitor in self._monitors:
            monitor.terminate()
            monitor.wait()
        self._monitors.clear()

    def _forward(self, monitor: subprocess.Popen[str]) -> None:
        """Until GoBGP ends, which leaves the routes where they are."""
        assert monitor.stdout
        for line in monitor.stdout:
            paths = [path for path in json.loads(line) if "neighbor-ip" in path and path["neighbor-ip"] != "<nil>"]
            lines = "\n".join(_kernel_route(path) for path in paths)
            command = ("ip", "-n", self._place.namespace, "-force", "-batch", "-")
            # A withdrawn path need not have been the best; then the route is absent.
            subprocess.run(command, input=lines, text=True, stderr=subprocess.DEVNULL, check=False)

    def _ask(self, *words: str) -> str:
        return self._place.run("gobgp", *words)

    def _answers(self) -> bool:
        try:
            self._ask("global")
        except RuntimeError:
            return False
        return True


_ESTABLISHED: Final = 6


def configuration(router: Router) -> dict[str, Any]:
    return {
        "global": {"config": {"as": router.asn, "router-id": str(router.router_id)}},
        "neighbors": [_neighbor(router, neighbor) for neighbor in router.neighbors],
    }


def _neighbor(router: Router, neighbor: Neighbor) -> dict[str, Any]:
    config: dict[str, Any] = {"neighbor-address": str(neighbor.address), "peer-as": neighbor.asn, "admin-down": True}
    if neighbor.password:
        config["auth-password"] = neighbor.password
    found: dict[str, Any] = {
        "config": config,
        "transport": {"config": {"local-address": str(neighbor.local), "passive-mode": neighbor.passive}},
        "timers": {
            "config": {
                "hold-time": HOLD_TIME_S,
                "keepalive-interval": HOLD_TIME_S // 3,
                "connect-retry": 1,
                "idle-hold-time-after-reset": 1,
            }
        },
        "afi-safis": [
            {
                "config": {"afi-safi-name": f"{_FAMILIES[neighbor.address.version]}-unicast"},
                "mp-graceful-restart": {"config": {"enabled": bool(neighbor.restarts)}},
            }
        ],
    }
    if neighbor.restarts:
        found["graceful-restart"] = {"config": {"enabled": True, "restart-time": RESTART_TIME_S}}
    if neighbor.ttl_security:
        found["ttl-security"] = {"config": {"enabled": True, "ttl-min": 255}}
    if neighbor.client:
        found["route-reflector"] = {
            "config": {"route-reflector-client": True, "route-reflector-cluster-id": str(router.cluster_id)}
        }
    return found


def _changes(before: Mapping[Prefix, Origin], after: Mapping[Prefix, Origin]) -> Iterator[str]:
    for prefix in before:
        if prefix not in after:
            yield f"global rib del {prefix} -a {_FAMILIES[prefix.version]}"
    for prefix, origin in after.items():
        if before.get(prefix) != origin:
            yield f"global rib add {prefix} {_marks(origin)} -a {_FAMILIES[prefix.version]}"


def _marks(origin: Origin) -> str:
    kinds = {2: "community", 3: "large-community"}
    by_kind: dict[str, list[str]] = {}
    for value in origin.communities:
        by_kind.setdefault(kinds[len(value.split(":"))], []).append(value)
    return " ".join(f"{kind} {','.join(values)}" for kind, values in by_kind.items())


def _kernel_route(path: Mapping[str, Any]) -> str:
    prefix = path["nlri"]["prefix"]
    return (
        f"route del {prefix}"
        if path.get("withdrawal")
        else f"route replace {prefix} via {_entry(path['attrs']).next_hop}"
    )


def _each(paths: Any) -> Iterator[Mapping[str, Any]]:
    yield from paths if isinstance(paths, list) else [paths]


def _entry(attributes: list[Mapping[str, Any]]) -> Entry:
    found = {attribute["type"]: attribute for attribute in attributes}
    hop = found.get(_NEXT_HOP) or found[_MP_REACH]
    marks = [f"{value >> 16}:{value & 0xFFFF}" for value in found.get(_COMMUNITIES, {}).get("communities", ())]
    large = found.get(_LARGE_COMMUNITIES, {}).get("value", ())
    marks += [f"{value['ASN']}:{value['LocalData1']}:{value['LocalData2']}" for value in large]
    segments = found.get(_AS_PATH, {}).get("as_paths", ()) or ()
    return Entry(
        next_hop=Address.parse(hop["nexthop"]),
        as_path=tuple(asn for segment in segments for asn in segment["asns"]),
        communities=frozenset(marks),
        local_pref=found.get(_LOCAL_PREF, {}).get("value"),
        originator=found.get(_ORIGINATOR, {}).get("value"),
        cluster_list=tuple(found.get(_CLUSTER_LIST, {}).get("value", ())),
    )


_: type[Daemon] = Gobgp
