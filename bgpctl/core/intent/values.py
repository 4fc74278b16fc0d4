"""
Single values with a notation of their own: durations, communities, host prefixes, words of old releases.

Refuses to know: which key a value stands under.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from bgpctl.core.cluster.configuration import Community
from bgpctl.core.intent.fields import Wrong, parse_address, parse_interface
from bgpctl.core.intent.tree import Scalar, shown
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix

_COMMUNITY: Final = re.compile(r"[0-9]{1,10}(:[0-9]{1,10}){1,2}")
_DURATION: Final = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_MILLISECONDS: Final = re.compile(r"([0-9]{1,6})(ms|s)")
_LARGEST_PART: Final = {2: 0xFFFF, 3: 0xFFFFFFFF}


def community(text: str) -> Community:
    """`65000:1` (RFC 1997) or `65000:1:2` (RFC 8092). Raises ValueError in words."""
    parts = tuple(map(int, text.split(":"))) if _COMMUNITY.fullmatch(text) else ()
    if not parts or max(parts) > _LARGEST_PART[len(parts)]:
        raise ValueError(f"{shown(text)} is not a community such as 65000:1 or 65000:1:2")
    return parts


def seconds(low: int, high: int) -> Callable[[Scalar], int]:
    """A reader of durations such as `2m30s`, in seconds from `low` to `high`."""

    def read(scalar: Scalar) -> int:
        match = _DURATION.fullmatch(scalar.text) if scalar.text else None
        hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, -1)
        total = hours * 3600 + minutes * 60 + rest
        if match is None or not low <= total <= high:
            raise ValueError(f"{shown(scalar.text)} is not a duration such as 120s, from {low}s to {high}s")
        return total

    return read


def milliseconds(low: int, high: int) -> Callable[[Scalar], int]:
    """A reader of durations such as `300ms` or `1s`, in milliseconds from `low` to `high`."""

    def read(scalar: Scalar) -> int:
        match = _MILLISECONDS.fullmatch(scalar.text)
        total = int(match[1]) * (1000 if match[2] == "s" else 1) if match else -1
        if not low <= total <= high:
            raise ValueError(f"{shown(scalar.text)} is not a duration such as 300ms, from {low}ms to {high}ms")
        return total

    return read


def host(scalar: Scalar) -> Prefix:
    """One address as a prefix, written with or without its /32 or /128."""
    interface = parse_interface(scalar.text)
    prefix = interface.address.host_prefix
    if interface.length != prefix.length:
        raise ValueError(f"{scalar.text} is more than one address; write {prefix}")
    return prefix


def of_version(version: int) -> Callable[[Scalar], Address]:
    """A reader of bare addresses of one IP version."""
    return lambda scalar: _checked(parse_address(scalar.text), version)


def interface_of_version(version: int) -> Callable[[Scalar], InterfaceAddress]:
    """A reader of addresses with or without a mask, of one IP version."""

    def read(scalar: Scalar) -> InterfaceAddress:
        interface = parse_interface(scalar.text)
        _checked(interface.address, version)
        return interface

    return read


def _checked(address: Address, version: int) -> Address:
    if address.version != version:
        raise Wrong(f"{address} is IPv{address.version}, and this is for IPv{version}", "family")
    return address
