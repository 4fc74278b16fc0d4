"""
BIRD 2, configured and started.

Refuses to know: its answers.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address
from bgpctl.lab.daemons.session_options import (
    HOLD_TIME_S,
    RESTART_TIME_S,
    Neighbor,
    Origin,
    Place,
    Router,
    by_version,
)

PROGRAMS: Final = ("bird", "birdc")
PACKAGE: Final = "bird2"

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
{bfd}
{routes}
{sessions}
"""

_PLAIN_SESSION: Final = """\
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

_CALICO_SESSION: Final = """\
protocol bgp {name} {{
    local {local} as {own_asn};
    neighbor {address} as {asn};
    multihop;
    hold time 240;
    connect delay time 2; connect retry time 5; error wait time 5, 30;
    graceful restart on;
    source address {local};
    {options}
    ipv{version} {{
        add paths on; gateway recursive; import all;
        export filter {{ if source != RTS_STATIC then reject; bgp_local_pref = 2147483647 - 1024; accept; }};
    }};
}}
"""


_ROLES: Final = {Role.RS: "rs_server", Role.RS_CLIENT: "rs_client"}
_RESTARTS: Final = {True: "on", False: "off", None: "aware"}


@dataclass(frozen=True, slots=True)
class Style:
    """The format of sessions, and the configuration beside them."""

    session: str
    more: str = ""


PLAIN: Final = Style(_PLAIN_SESSION)
CALICO: Final = Style(_CALICO_SESSION, 'protocol direct { ipv4; ipv6; interface "eth*"; }')
"""
The settings of Calico's nodes in BIRD 2's words (theirs is 1.6): hold time 240 s, add-path, next hops resolved
recursively, LOCAL_PREF from the kernel's metric.
"""


def configuration(router: Router, style: Style = PLAIN) -> str:
    """The text of bird.conf."""
    return _CONFIGURATION.format(
        router_id=router.router_id,
        more=style.more,
        bfd=_bfd(router),
        routes="\n".join(_own_routes(router)),
        sessions="\n".join(_session(router, neighbor, style) for neighbor in router.neighbors),
    )


def start(place: Place, *words: str) -> subprocess.Popen[bytes]:
    """Run it in the foreground on the bird.conf that is there."""
    files = ("-c", place.file("bird.conf"), "-s", place.file("bird.ctl"), "-P", place.file("bird.pid"))
    return place.spawn("bird", "-f", *words, *files)


def _session(router: Router, neighbor: Neighbor, style: Style) -> str:
    return style.session.format(
        name=session_name(neighbor.address),
        local=neighbor.local,
        own_asn=router.asn,
        address=neighbor.address,
        asn=neighbor.asn,
        hold=HOLD_TIME_S,
        restarts=_RESTARTS[neighbor.restarts],
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
    if neighbor.bfd_ms:
        yield "bfd on;"
    if neighbor.role:
        yield f"local role {_ROLES.get(neighbor.role) or neighbor.role.value};"
    if neighbor.client:
        yield f"rr client; rr cluster id {router.cluster_id};"


def _bfd(router: Router) -> str:
    """One protocol for all sessions that ask for it, with the shortest interval."""
    interval_ms = min((neighbor.bfd_ms for neighbor in router.neighbors if neighbor.bfd_ms), default=None)
    if interval_ms is None:
        return ""
    options = f"interval {interval_ms} ms; idle tx interval 1 s; multiplier 3;"
    return f'protocol bfd {{ interface "*" {{ {options} }}; multihop {{ {options} }}; }}'


def _own_routes(router: Router) -> Iterator[str]:
    for version, routes in by_version(router.routes):
        lines = (f"route {prefix} blackhole {{ {_marks(origin)} }};" for prefix, origin in sorted(routes.items()))
        yield f"protocol static static{version} {{ ipv{version}; {' '.join(lines)} }}"


def _marks(origin: Origin) -> str:
    kinds = {2: "bgp_community", 3: "bgp_large_community"}
    values = (community.split(":") for community in origin.communities)
    return " ".join(f"{kinds[len(value)]}.add(({','.join(value)}));" for value in values)


def session_name(neighbor: Address) -> str:
    """The name of a session's protocol."""
    return "to_" + re.sub(r"[.:]", "_", str(neighbor))
