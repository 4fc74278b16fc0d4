"""
Prints the wings of the core as they stand: each with its files and the wings it knows, then arrows up and circles.

The order is read from the layer contract in setup.cfg, the arrows from the imports. import-linter refuses what is
wrong; this shows what there is. Exit code 1 if an arrow leads up or a circle is found.
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import grimp

ROOT: Final = Path(__file__).parents[1]
CORE: Final = "bgpctl.core"
_WIDTH: Final = 100

Arrows: TypeAlias = Mapping[str, frozenset[str]]
"""The names that each name imports, itself left out."""


def layers() -> tuple[tuple[str, ...], ...]:
    """The wings from the top layer down; those side by side must not know each other."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["importlinter:contract:core"]["layers"].split("\n")
    return tuple(tuple(name.strip() for name in line.split("|")) for line in lines if line.strip())


def between(imports: Iterable[tuple[str, str]], below: str) -> Arrows:
    """The arrows among the children of the package `below`."""
    found: dict[str, set[str]] = {}
    for importer, imported in imports:
        ends = child(importer, below), child(imported, below)
        for end in filter(None, ends):
            found.setdefault(end, set())
        if ends[0] and ends[1] and ends[0] != ends[1]:
            found[ends[0]].add(ends[1])
    return {name: frozenset(known) for name, known in found.items()}


def child(module: str, package: str) -> str:
    """The child of `package` that is `module` or holds it; empty for the package itself and for all outside it."""
    inside = module.removeprefix(f"{package}.")
    return inside.split(".")[0] if inside != module else ""


def upward(arrows: Arrows, order: tuple[tuple[str, ...], ...]) -> list[str]:
    """Arrows to a layer that is not below."""
    height = {name: -number for number, layer in enumerate(order) for name in layer}
    return [f"{a} -> {b}" for a, known in sorted(arrows.items()) for b in sorted(known) if height[b] >= height[a]]


def in_circles(arrows: Arrows) -> list[str]:
    """The names from which arrows lead back to them."""
    return sorted(name for name in arrows if name in reachable(arrows, name))


def reachable(arrows: Arrows, start: str) -> set[str]:
    """Everything that arrows lead to from `start`."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = arrows[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def wrapped(head: str, words: Iterable[str]) -> str:
    """The words after `head`, the lines below indented as far."""
    lines, line = [], head
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = " " * len(head)
        line += f" {word}"
    return "\n".join([*lines, line])


def main() -> int:
    """Print the picture."""
    graph = grimp.build_graph("bgpctl", cache_dir=None)
    imports = [(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)]
    order, arrows = layers(), between(imports, CORE)
    for layer in order:
        for wing in layer:
            files = sorted(graph.find_children(f"{CORE}.{wing}"))
            print(wrapped(f"{wing:10}", (name.rsplit(".", 1)[1] for name in files)))
            if arrows[wing]:
                print(wrapped(" " * 10 + " ->", (name for row in order for name in row if name in arrows[wing])))
    up = upward(arrows, order)
    packages = sorted({module.rsplit(".", 1)[0] for module in graph.modules if "." in module})
    circles = [
        f"{package}: {', '.join(found)}" for package in packages if (found := in_circles(between(imports, package)))
    ]
    count = sum(len(known) for known in arrows.values())
    print(f"{len(arrows)} wings, {count} arrows, {len(up)} up, {len(circles)} circles")
    print("\n".join([*up, *circles]), end="\n" if up or circles else "")
    return 1 if up or circles else 0


if __name__ == "__main__":
    sys.exit(main())
