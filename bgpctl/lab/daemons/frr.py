"""
FRR, configured and started: bgpd, its zebra and its bfdd.

Refuses to know: their answers.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Final

from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Prefix
from bgpctl.lab.daemons.session_options import (
    HOLD_TIME_S,
    RESTART_TIME_S,
    Neighbor,
    Origin,
    Place,
    Router,
    by_version,
)

PROGRAMS: Final = ("bgpd", "zebra", "vtysh")
PACKAGE: Final = "frr"
FAMILIES: Final = {4: "ipv4 unicast", 6: "ipv6 unicast"}


def write(place: Place, router: Router) -> None:
    """The files of both, where they can read them."""
    # Both give up being root, and zebra refuses to stay it.
    place.directory.parent.chmod(0o755)
    shutil.chown(place.directory, "frr", "frr")
    place.file("bgpd.conf").write_text(configuration(router))
    place.file("bfdd.conf").write_text("\n".join(("bfd", *_profiles(router))))
    place.file("zebra.conf").write_text("ip nht resolve-via-default\nipv6 nht resolve-via-default\n")


def start(place: Place, program: str) -> subprocess.Popen[bytes]:
    """Run zebra, bfdd or bgpd, zebra first."""
    more = ("--bfdctl", place.file("bfdd.sock")) if program == "bfdd" else ()
    return place.spawn(program, *_files(place, program), *more)


def _files(place: Place, program: str) -> list[str]:
    own = {"-f": f"{program}.conf", "-i": f"{program}.pid", "-z": "zserv.api", "--vty_socket": "."}
    words = (word for option, name in own.items() for word in (option, str(place.file(name))))
    return [*words, "-A", "127.0.0.1", "-P", "0", "--log", "stdout"]


def configuration(router: Router) -> str:
    """The text of bgpd.conf."""
    return "\n".join(_configuration(router))


def _configuration(router: Router) -> Iterator[str]:
    restarting = any(neighbor.restarts for neighbor in router.neighbors)
    yield from maps(router.routes)
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
    elif all(neighbor.restarts is False for neighbor in router.neighbors):
        yield " bgp graceful-restart-disable"
    if router.cluster_id:
        yield f" bgp cluster-id {router.cluster_id}"
    for neighbor in router.neighbors:
        yield from (f" neighbor {neighbor.address} {statement}" for statement in _statements(neighbor))
    yield from changes({}, router.routes)
    for version, family in FAMILIES.items():
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
    if neighbor.role:
        yield f"local-role {'rs-server' if neighbor.role is Role.RS else neighbor.role.value}"
    if neighbor.bfd_ms:
        yield "bfd"
        yield f"bfd profile every-{neighbor.bfd_ms}-ms"


def _profiles(router: Router) -> Iterator[str]:
    """A profile of BFD for each interval; the sessions are made by bgpd."""
    for interval_ms in {neighbor.bfd_ms for neighbor in router.neighbors if neighbor.bfd_ms}:
        yield f" profile every-{interval_ms}-ms"
        yield "  detect-multiplier 3"
        yield f"  receive-interval {interval_ms}"
        yield f"  transmit-interval {interval_ms}"
        yield " exit"


def maps(routes: Mapping[Prefix, Origin]) -> Iterator[str]:
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


def changes(before: Mapping[Prefix, Origin], after: Mapping[Prefix, Origin]) -> Iterator[str]:
    """The lines that make it announce `after` instead of `before`."""
    withdrawn = {prefix: origin for prefix, origin in before.items() if prefix not in after}
    announced = {prefix: origin for prefix, origin in after.items() if before.get(prefix) != origin}
    for (version, fewer), (_, more) in zip(by_version(withdrawn), by_version(announced), strict=True):
        if fewer or more:
            yield f" address-family {FAMILIES[version]}"
            yield from (f"  no network {prefix}" for prefix in fewer)
            yield from (f"  network {prefix}{_marked(origin)}" for prefix, origin in more.items())
            yield " exit-address-family"


def _marked(origin: Origin) -> str:
    return f" route-map {_map(origin)}" if origin.communities else ""
