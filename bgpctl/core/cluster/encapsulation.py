"""
The identity of each encapsulation: its name, Calico's words for it, its number in BGP, and the table of all.

An encapsulation is one value here, one in `core/fabric` (how it behaves) and one in `kernel` (what it asks of Linux).
Everything else finds it in these three tables, by the name.

Refuses to know: how an encapsulation behaves (core/fabric), how the kernel is made to do it (kernel).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

T = TypeVar("T")


class Mode(enum.Enum):
    """When a pool encapsulates: Calico's word for both of its modes."""

    NEVER = "Never"
    CROSS_SUBNET = "CrossSubnet"
    ALWAYS = "Always"


@dataclass(frozen=True, slots=True, order=True)
class Encapsulation:
    """
    How a packet crosses the underlay. Two are the same if their names are.

    Attributes:
        name: as in the cluster file's `accepts`, in views and in names of options.
        title: its name in Calico's operator, and in messages.
        tunnel_type: IANA's BGP Tunnel Encapsulation Attribute Tunnel Type (RFC 9012), None without one.
        by_bgp: the blocks of its pools are learned by BGP, otherwise from the list of members.
        versions: the IP versions that it carries, over an underlay of the same version.
        ethernet: it carries Ethernet frames, so that each end has a MAC.
    """

    name: str
    title: str = field(compare=False)
    tunnel_type: int | None = field(compare=False)
    by_bgp: bool = field(compare=False)
    versions: tuple[int, ...] = field(compare=False)
    ethernet: bool = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Encapsulation:
        """The encapsulation of this name. Raises ValueError with the reason."""
        if text not in ENCAPSULATIONS:
            raise ValueError(f"no encapsulation {text}; there are {', '.join(ENCAPSULATIONS)}")
        return ENCAPSULATIONS[text]

    def __str__(self) -> str:
        return self.name

    def word(self, mode: Mode) -> str:
        """The operator's word for it in this mode, as in a pool's `encapsulation`."""
        return f"{self.title}{mode.value}" if mode is Mode.CROSS_SUBNET else self.title

    def label(self, version: int) -> str:
        """A short name for its tunnel of one IP version."""
        return self.name if version == 4 else f"{self.name}{version}"


class Table(Mapping[str, T]):
    """
    A value per encapsulation, by its name, in the order of registration.

    Tables are filled as modules are imported. A program that adds an encapsulation registers it before anything reads
    the cluster file.
    """

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @contextmanager
    def registered(self, name: str, entry: T) -> Iterator[None]:
        """Have one entry more while the block runs. Raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"there is an encapsulation {name} already")
        self._entries[name] = entry
        try:
            yield
        finally:
            del self._entries[name]


IPIP: Final = Encapsulation("ipip", "IPIP", tunnel_type=7, by_bgp=True, versions=(4,), ethernet=False)
VXLAN: Final = Encapsulation("vxlan", "VXLAN", tunnel_type=8, by_bgp=False, versions=(4, 6), ethernet=True)
DIRECT: Final = Encapsulation("direct", "None", tunnel_type=None, by_bgp=True, versions=(4, 6), ethernet=False)
"""No encapsulation at all."""

ENCAPSULATIONS: Final = Table({item.name: item for item in (IPIP, VXLAN, DIRECT)})


def tunnels() -> Mapping[str, Encapsulation]:
    """All by their names, but for DIRECT."""
    return {name: item for name, item in ENCAPSULATIONS.items() if item is not DIRECT}


def words() -> Mapping[str, tuple[Encapsulation, Mode]]:
    """The meaning of each of the operator's words."""
    return {
        item.word(mode): (item, mode)
        for item in ENCAPSULATIONS.values()
        for mode in ((Mode.NEVER,) if item == DIRECT else (Mode.ALWAYS, Mode.CROSS_SUBNET))
    }
