"""
A lab's graph as a picture: a column for each segment, routers above, a line for each session and tunnel.

Refuses to know: where the graph came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final, NamedTuple

from bgpctl.lab.graph import Graph, Kind, Line, Part

_WIDTH, _GAP, _TOP = 190, 90, 120
"""Of a column, between columns, above them; all in pixels."""
_LINE, _PAD = 16, 10
_ROUTER_HEIGHT: Final = 44
_COLOURS: Final = {Kind.SESSION: "#2a7de1", Kind.TUNNEL: "#2e9e5b"}
_DOWN: Final = "#d33333"
_BEND: Final = {Kind.SESSION: 34, Kind.TUNNEL: 58}
"""How far a line between parts of one column goes to the side."""


class _Box(NamedTuple):
    x: int
    y: int
    height: int

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def svg(graph: Graph) -> str:
    """The text of an SVG file."""
    boxes = dict(_boxes(graph))
    width = max(len(graph.segments), 1) * (_WIDTH + _GAP) + _GAP
    height = max((box.y + box.height for box in boxes.values()), default=_TOP) + 60
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, *_drawn(graph, boxes, width, height), "</svg>"]) + "\n"


def _drawn(graph: Graph, boxes: Mapping[str, _Box], width: int, height: int) -> Iterator[str]:
    yield f'<rect width="{width}" height="{height}" fill="white"/>'
    yield _text(_GAP, 24, f"lab {graph.lab}", "font-size='16' font-weight='bold'")
    for place, (name, subnets) in enumerate(graph.segments.items()):
        x = _column(place) - _PAD
        deep = height - _TOP - 50
        yield f'<rect x="{x}" y="{_TOP}" width="{_WIDTH + 2 * _PAD}" height="{deep}" rx="8" fill="#f2f4f7"/>'
        yield _text(x + _PAD, _TOP + 18, f"{name} {subnets}", "font-size='12' fill='#555'")
    yield from _uplinks(graph, boxes)
    for line in graph.lines:
        if all(end in boxes for end in line.ends):
            yield _curve(line, *(boxes[end] for end in line.ends))
    for part in graph.parts:
        if part.name in boxes:
            yield from _part(part, boxes[part.name])
    yield from _legend(height - 20)


def _column(place: int) -> int:
    return _GAP + place * (_WIDTH + _GAP)


def _boxes(graph: Graph) -> Iterator[tuple[str, _Box]]:
    """Parts on one segment below each other in its column; those on several above all columns."""
    below = dict.fromkeys(graph.segments, _TOP + 30)
    above = 0
    for part in graph.parts:
        if len(part.segments) == 1:
            place = list(graph.segments).index(part.segments[0])
            height = _height(part)
            yield part.name, _Box(_column(place), below[part.segments[0]], height)
            below[part.segments[0]] += height + 2 * _LINE
        elif part.segments:
            places = [list(graph.segments).index(name) for name in part.segments]
            middle = (_column(min(places)) + _column(max(places))) // 2
            yield part.name, _Box(middle + above * (_WIDTH + _PAD), 40, _ROUTER_HEIGHT)
            above += 1


def _height(part: Part) -> int:
    return _PAD + _LINE * len(_words(part)) + _PAD // 2


def _words(part: Part) -> list[str]:
    state = f" ({part.state})" if part.state else ""
    return [f"{part.name}{state}", *part.addresses, *(f"{name} {address}" for name, address in part.workloads)]


def _uplinks(graph: Graph, boxes: Mapping[str, _Box]) -> Iterator[str]:
    for part in graph.parts:
        for name in part.segments if len(part.segments) > 1 else ():
            x = _column(list(graph.segments).index(name)) + _WIDTH // 2
            box = boxes[part.name]
            yield f'<path d="M {box.x + _WIDTH // 2} {box.y + box.height} L {x} {_TOP}" stroke="#999" fill="none"/>'


def _part(part: Part, box: _Box) -> Iterator[str]:
    colour = _DOWN if part.state in {"silent", "degraded"} else "#444"
    where = f'x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="5"'
    yield f'<rect {where} fill="white" stroke="{colour}"/>'
    for number, words in enumerate(_words(part)):
        how = "font-size='13' font-weight='bold'" if not number else "font-size='11'"
        yield _text(box.x + _PAD, box.y + _PAD // 2 + _LINE * (number + 1) - 3, words, how)


def _curve(line: Line, one: _Box, other: _Box) -> str:
    """Beside a column between its own parts, else from side to side."""
    bend, shift = _BEND[line.kind], 6 if line.kind is Kind.TUNNEL else -6
    if one.x == other.x:
        x = one.x + _WIDTH
        path = (
            f"M {x} {one.middle + shift} C {x + bend} {one.middle} {x + bend} {other.middle} {x} {other.middle + shift}"
        )
    else:
        left, right = sorted((one, other))
        ends = left.x + _WIDTH, left.middle + shift, right.x, right.middle + shift
        path = f"M {ends[0]} {ends[1]} C {ends[0] + bend} {ends[1]} {ends[2] - bend} {ends[3]} {ends[2]} {ends[3]}"
    colour = _COLOURS[line.kind] if line.up else _DOWN
    dashes = "" if line.up else ' stroke-dasharray="5 4"'
    title = escape(f"{line.label} {line.ends[0]} - {line.ends[1]}{'' if line.up else ', down'}")
    return f'<path d="{path}" stroke="{colour}" stroke-width="1.6" fill="none"{dashes}><title>{title}</title></path>'


def _legend(y: int) -> Iterator[str]:
    words = ((_COLOURS[Kind.SESSION], "BGP session"), (_COLOURS[Kind.TUNNEL], "tunnel"), (_DOWN, "down"))
    for number, (colour, text) in enumerate(words):
        x = _GAP + number * 130
        yield f'<path d="M {x} {y - 4} L {x + 24} {y - 4}" stroke="{colour}" stroke-width="2"/>'
        yield _text(x + 30, y, text, "font-size='11'")


def _text(x: int, y: int, words: str, how: str) -> str:
    return f'<text x="{x}" y="{y}" {how}>{escape(words)}</text>'
