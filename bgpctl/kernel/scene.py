"""
The links of a network namespace as they were observed last.

Refuses to know: how they are observed.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from bgpctl.core.net.objects import Link, LinkKind


@dataclass(frozen=True, slots=True)
class Scene:
    """By name, the links and their interface indexes."""

    indexes: Mapping[str, int]
    links: Mapping[str, Link]

    def index(self, name: str) -> int:
        """Raises OSError ENODEV if there is no such link."""
        if name not in self.indexes:
            raise OSError(errno.ENODEV, f"no link {name}")
        return self.indexes[name]

    def kind(self, name: str) -> LinkKind:
        """Raises OSError ENODEV if there is no such link."""
        self.index(name)
        return self.links[name].kind

    def index_or_0(self, name: str | None) -> int:
        """0 stands for no link at all. Raises OSError ENODEV if there is no such link."""
        return self.index(name) if name is not None else 0

    @property
    def names(self) -> Mapping[int, str]:
        return {index: name for name, index in self.indexes.items()}
