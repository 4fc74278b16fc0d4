"""
Roles on sessions between ASes, and the attribute OTC, Only to Customer (RFC 9234): which routes are leaks.

A route goes up to providers, across to at most one peer, and then down to customers only. OTC marks one that has begun
to go down, with the AS where it did; the marks are set on both sides of a session, so that one side that knows of roles
is enough. Nothing here can be configured but the role (section 5).

Refuses to know: how roles are agreed on when a session opens, and every other rule of policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bgpctl.core.bgp.path import Path, RawAttribute
from bgpctl.core.bgp.wire.attribute_list import OPTIONAL, PARTIAL, TRANSITIVE
from bgpctl.core.bgp.wire.attributes import ONLY_TO_CUSTOMER
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Asn

NUMBERS: Final[Mapping[Role, int]] = {
    Role.PROVIDER: 0,
    Role.RS: 1,
    Role.RS_CLIENT: 2,
    Role.CUSTOMER: 3,
    Role.PEER: 4,
}
"""In the capability (section 4.2)."""

COUNTERPART: Final[Mapping[Role, Role]] = {
    Role.PROVIDER: Role.CUSTOMER,
    Role.RS: Role.RS_CLIENT,
    Role.RS_CLIENT: Role.RS,
    Role.CUSTOMER: Role.PROVIDER,
    Role.PEER: Role.PEER,
}
"""The role of the other end (section 4.2, table 2)."""

_BELOW: Final = frozenset({Role.CUSTOMER, Role.RS_CLIENT})
_ABOVE: Final = frozenset({Role.PROVIDER, Role.RS})


def only_to_customer(attributes: tuple[RawAttribute, ...]) -> Asn | None:
    """The AS in OTC; None without."""
    return next((Asn(int.from_bytes(raw.value)) for raw in attributes if raw.code == ONLY_TO_CUSTOMER), None)


def is_leak(role: Role | None, peer_asn: Asn, path: Path) -> bool:
    """
    True if the path must not be used (section 5, ingress 1 and 2): it has begun to go down, and comes from below, or it
    comes across and has begun to go down elsewhere. `role` is ours.
    """
    asn = only_to_customer(path.passed_on)
    return asn is not None and (role in _ABOVE or (role is Role.PEER and asn != peer_asn))


def received(role: Role | None, peer_asn: Asn, path: Path) -> Path:
    """The path, with OTC if it comes from above or across (section 5, ingress 3)."""
    if role is None or role in _ABOVE or only_to_customer(path.passed_on) is not None:
        return path
    return replace(path, passed_on=_marked(path.passed_on, peer_asn, PARTIAL))


def is_kept_in(role: Role | None, attributes: tuple[RawAttribute, ...]) -> bool:
    """True if the route must not go to the peer (section 5, egress 2): it may go down only. `role` is ours."""
    return (role in _BELOW or role is Role.PEER) and only_to_customer(attributes) is not None


def sent(
    role: Role | None, local_asn: Asn, attributes: tuple[RawAttribute, ...], *, learned: bool
) -> tuple[RawAttribute, ...]:
    """The attributes, with OTC if they go down or across (section 5, egress 1)."""
    if role is None or role in _BELOW or only_to_customer(attributes) is not None:
        return attributes
    return _marked(attributes, local_asn, PARTIAL if learned else 0)


def _marked(attributes: tuple[RawAttribute, ...], asn: Asn, partial: int) -> tuple[RawAttribute, ...]:
    """In the order of codes. RFC 4271, section 5: Partial, where it is not attached by the route's originator."""
    mark = RawAttribute(OPTIONAL | TRANSITIVE | partial, ONLY_TO_CUSTOMER, asn.to_bytes(4))
    return tuple(sorted((*attributes, mark), key=lambda raw: raw.code))
