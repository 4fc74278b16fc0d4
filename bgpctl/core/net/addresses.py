"""
Addresses and prefixes of both IP versions, MAC addresses, and the numbers that are easily taken for each other.

Addresses and prefixes come by the hundred thousand, so they are NamedTuples: they hash, compare and sort in C.

Refuses to know: what has an address.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Final, NamedTuple, NewType

Asn = NewType("Asn", int)


Vni = NewType("Vni", int)


Mac = NewType("Mac", str)
"""Lower case, colons: `66:f9:37:c3:7e:94`."""


_BITS: Final = {4: 32, 6: 128}


_OCTET: Final = "(0|[1-9][0-9]{0,2})"
_PLAIN_IPV4: Final = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/([0-9]{{1,2}}))?")


class _Plain(NamedTuple):
    """An IPv4 address, with or without a length."""

    value: int
    length: int | None


def _plain_ipv4(text: str) -> _Plain | None:
    """
    Plain texts, in a fraction of the time that `ipaddress` takes: 5,000 nodes have 10,000 of them. None for everything
    else: `ipaddress` has the rules, and the words for what breaks them.
    """
    match = _PLAIN_IPV4.fullmatch(text)
    if match is None:
        return None
    a, b, c, d = map(int, match.groups()[:4])
    length = None if match[5] is None else int(match[5])
    if max(a, b, c, d) > 255 or (length or 0) > 32:
        return None
    return _Plain(a << 24 | b << 16 | c << 8 | d, length)


class Address(NamedTuple):
    """An IPv4 or IPv6 address; `version` is 4 or 6."""

    version: int
    value: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`10.0.0.1` or `fd00::1`. Raises ValueError with the reason."""
        plain = _plain_ipv4(text)
        if plain and plain.length is None:
            return cls(4, plain.value)
        parsed = ipaddress.ip_address(text)
        return cls(parsed.version, int(parsed))

    @property
    def packed(self) -> bytes:
        return self.value.to_bytes(_BITS[self.version] // 8, "big")

    @property
    def host_prefix(self) -> Prefix:
        """The /32 or /128 that holds only this address."""
        return Prefix(self.version, self.value, _BITS[self.version])

    def __str__(self) -> str:
        value = self.value
        if self.version == 4:  # by hand, as a view of 50,000 routes writes four of them a route
            return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
        return str(ipaddress.IPv6Address(value))


class Prefix(NamedTuple):
    """A network without host bits: `10.244.1.0/26`."""

    version: int
    network: int
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Raises ValueError with the reason, also when host bits are set."""
        plain = _plain_ipv4(text)
        if plain and plain.length is not None and not plain.value & ((1 << (32 - plain.length)) - 1):
            return cls(4, plain.value, plain.length)
        parsed = ipaddress.ip_network(text)
        return cls(parsed.version, int(parsed.network_address), parsed.prefixlen)

    @property
    def first(self) -> Address:
        return Address(self.version, self.network)

    @property
    def size(self) -> int:
        """Number of addresses, the first and the last included."""
        return 1 << (_BITS[self.version] - self.length)

    def covers(self, other: Prefix) -> bool:
        """True if `other` is this prefix or a more specific one."""
        return (
            self.version == other.version
            and self.length <= other.length
            and other.network >> (_BITS[self.version] - self.length)
            == self.network >> (_BITS[self.version] - self.length)
        )

    def holds(self, address: Address) -> bool:
        return self.covers(address.host_prefix)

    def overlaps(self, other: Prefix) -> bool:
        """True if one covers the other."""
        shift = _BITS[self.version] - min(self.length, other.length)
        return self.version == other.version and self.network >> shift == other.network >> shift

    def nth(self, index: int) -> Address:
        """The address `index` places after the first. Raises ValueError outside the prefix."""
        if not 0 <= index < self.size:
            raise ValueError(f"{self} has no address number {index}")
        return Address(self.version, self.network + index)

    def __str__(self) -> str:
        network = self.network
        if self.version == 4:  # as in Address
            return f"{network >> 24}.{network >> 16 & 255}.{network >> 8 & 255}.{network & 255}/{self.length}"
        return f"{self.first}/{self.length}"


class InterfaceAddress(NamedTuple):
    """An address with the length of its network: `10.0.0.1/24`."""

    address: Address
    length: int

    @classmethod
    def parse(cls, text: str) -> InterfaceAddress:
        """Raises ValueError with the reason; a bare address is a host address (/32 or /128)."""
        plain = _plain_ipv4(text)
        if plain:
            return cls(Address(4, plain.value), 32 if plain.length is None else plain.length)
        parsed = ipaddress.ip_interface(text)
        return cls(Address(parsed.version, int(parsed.ip)), parsed.network.prefixlen)

    @property
    def network(self) -> Prefix:
        shift = _BITS[self.address.version] - self.length
        return Prefix(self.address.version, self.address.value >> shift << shift, self.length)

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


LINK_LOCAL: Final = Prefix.parse("fe80::/10")
"""IPv6 addresses that mean something on one link only."""


def vtep_mac(node: str) -> Mac:
    """The MAC of a node's VTEP: 0x66, then the first five octets of SHA-1(node name), as Calico derives it."""
    return Mac(
        ":".join(f"{octet:02x}" for octet in b"\x66" + hashlib.sha1(node.encode(), usedforsecurity=False).digest()[:5])
    )


def link_local(mac: Mac) -> Address:
    """The IPv6 link-local address that belongs to a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return Address(6, LINK_LOCAL.network + int.from_bytes(interface, "big"))
