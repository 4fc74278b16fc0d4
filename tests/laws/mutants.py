"""Cluster and lab files gone wrong: right ones, changed as text, as bytes or as trees."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import strategies as st

from bgpctl.store.yaml import documents
from tests.documents import SAMPLE, plain
from tests.samples import CALICO, QUIET, REMARKED, SHORT

TOPOLOGIES: Final = Path(__file__).parents[2] / "topologies"
LABS: Final = tuple(file.read_text(encoding="utf-8") for file in sorted(TOPOLOGIES.rglob("*.yaml")))
CORPUS: Final = (SAMPLE, SHORT, CALICO, *QUIET, *REMARKED, *LABS)

Position = tuple[Any, Any]
"""A container and the key or index of one of its values."""

_TREES: Final = [[plain(tree) for tree in documents(text, "")] for text in CORPUS]


def _deep(levels: int) -> object:
    tree: object = "x"
    for level in range(levels):
        tree = [tree] if level % 2 else {"a": tree}
    return tree


_JUNK: Final[list[object]] = [
    *(None, True, False, 0, 1, -1, 5, 65536, 10**30, 1.5, [], {}, [[]], [None], {"": None}, [5], {"name": 5}),
    *("", "~", "no", "x", "\0", "\t", "\u2028", "Always", "all()", "has(", "10.0.0.1", "10.0.0.0/8", "::/0", "1:2"),
    *("9" * 400, "a" * 300, "10.0.0.1:99999", "[fd00::1]:1", "120s", "kind", _deep(30), _deep(200)),
]


@st.composite
def trees(draw: st.DrawFn) -> list[Any]:
    """The documents of a right file, a few of its values and keys changed."""
    found = deepcopy(draw(st.sampled_from(_TREES)))
    for _ in range(draw(st.integers(1, 3))):
        found = draw(_edited(found))
    return found


@st.composite
def _edited(draw: st.DrawFn, found: list[Any]) -> list[Any]:
    positions = list(_positions(found))
    container, key = draw(st.sampled_from(positions)) if positions else (found, 0)
    match draw(st.sampled_from(["junk", "rename", "drop", "again", "swap", "graft", "wrap", "append"])):
        case "junk" if positions:
            container[key] = deepcopy(draw(st.sampled_from(_JUNK)))
        case "rename" if isinstance(container, dict):
            name = str(key)
            container[draw(st.sampled_from([f"{name}x", name[:-1], name.lower(), *_KEYS]))] = container.pop(key)
        case "drop" if positions:
            del container[key]
        case "again" if positions:
            found.append(deepcopy(found[0]))
        case "swap" if positions:
            other, there = draw(st.sampled_from(positions))
            container[key], other[there] = deepcopy(other[there]), deepcopy(container[key])
        case "graft" if positions:
            container[key] = deepcopy(draw(st.sampled_from(_VALUES)))
        case "wrap" if positions:
            container[key] = draw(st.sampled_from([[container[key]], {"kind": container[key]}]))
        case _:
            found += deepcopy(draw(st.sampled_from(_TREES)))
    return found


def _positions(tree: Any) -> Iterator[Position]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _positions(tree[key])


_VALUES: Final = [container[key] for documents_ in _TREES for container, key in _positions(documents_)]
_KEYS: Final = sorted(
    {key for documents_ in _TREES for container, key in _positions(documents_) if isinstance(key, str)}
)


def written(found: list[Any], *, flow: bool | None = None) -> str:
    """As YAML text."""
    return str(yaml.safe_dump_all(found, default_flow_style=flow, sort_keys=False))


# Text and bytes ------------------------------------------------------------------------------------------------

_WORDS: Final = (
    *("\t", "\n", " ", "  ", "-", "- ", ":", ": ", ",", "[", "]", "{", "}", "'", '"', "#", "|", ">", "?", "%", "@"),
    *("&a ", "*a", "<<: ", "<<: *a", "!!int ", "!!binary ", "!!set ", "!x ", "---\n", "...\n", "%YAML 9.9\n---\n", "~"),
    *("\x00", "\x85", "\u2028", "\ud800", "\ufeff", "\r", "\r\n", "é", "\U0001f600", "[" * 80, "{a: " * 80),
    *("''", "no", "5", "-1", "1e9", "0/0", "/33", "::", "9" * 50, "1:30", "0x1f", ".inf", "2026-01-01", "=", "? a"),
    *("ipipMode: Always", "kind: List", "kind: Node", "items: [5]", "metadata: {}", "spec: 5", "segments: {}"),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A right file with words put in, and characters taken out or doubled."""
    text = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        length, copies = draw(st.integers(0, 40)), draw(st.sampled_from([0, 0, 0, 2]))
        text = text[:at] + draw(st.sampled_from(_WORDS)) + text[at : at + length] * copies + text[at + length :]
    return text


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A right file with bytes changed, or in another encoding."""
    text = draw(st.sampled_from(CORPUS))
    content = bytearray(text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"]))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content) - 1))
        content[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content)
