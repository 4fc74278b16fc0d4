"""The drawing of a lab, in the terminal and as a picture, from a graph with every kind of part and line."""

from __future__ import annotations

import re
from xml.parsers.expat import ParserCreate

from rich.console import Console

from bgpctl.cli.lab_graph import drawing
from bgpctl.lab.graph import Graph, Kind, Line, Part
from bgpctl.lab.graph_svg import svg

GRAPH = Graph(
    "mine",
    {"rack-a": "10.0.0.0/24", "rack-b": "fd00::/64"},
    (
        Part("core", ("10.0.0.254", "fd00::fe"), ("rack-a", "rack-b"), "runs bird"),
        Part("a1", ("10.0.0.1",), ("rack-a",), "converged", (("web", "10.244.1.10"), ("db", "10.244.1.11"))),
        Part("a2", ("10.0.0.2",), ("rack-a",), "silent"),
        Part("b1", ("fd00::1",), ("rack-b",), "degraded"),
        Part("lost", ("192.0.2.1",), (), None),
    ),
    (
        Line(Kind.SESSION, ("a1", "a2"), "bgp", up=True),
        Line(Kind.SESSION, ("a1", "b1"), "bgp", up=False),
        Line(Kind.SESSION, ("192.0.2.9", "a1"), "bgp", up=False),
        Line(Kind.TUNNEL, ("a1", "b1"), "vxlan", up=True),
    ),
)


def drawn(width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(drawing(GRAPH))
    return captured.get()


def test_each_part_is_below_its_segment_with_its_workloads_and_lines_and_those_of_several_below_all() -> None:
    assert (
        drawn(80)
        == """\
mine
├── rack-a 10.0.0.0/24
│   ├── a1 10.0.0.1 converged
│   │   ├── web 10.244.1.10
│   │   ├── db 10.244.1.11
│   │   ├── bgp with a2
│   │   ├── bgp down with b1, 192.0.2.9
│   │   └── vxlan with b1
│   └── a2 10.0.0.2 silent
│       └── bgp with a1
├── rack-b fd00::/64
│   └── b1 fd00::1 degraded
│       ├── bgp down with a1
│       └── vxlan with a1
├── core 10.0.0.254, fd00::fe on rack-a and rack-b runs bird
└── lost 192.0.2.1
"""
    )


def test_a_drawing_wraps_in_a_narrow_terminal() -> None:
    assert max(map(len, drawn(30).splitlines())) <= 30


def test_the_picture_is_well_formed_and_has_every_part_and_each_line_between_parts() -> None:
    text = svg(GRAPH)
    ParserCreate().Parse(text, True)
    assert re.findall("<title>(.*?)</title>", text) == ["bgp a1 - a2", "bgp a1 - b1, down", "vxlan a1 - b1"]
    for words in ("core (runs bird)", "a1 (converged)", "web 10.244.1.10", "b1 (degraded)", "rack-b fd00::/64"):
        assert f">{words}</text>" in text
    assert text.count("stroke-dasharray") == 1


def test_names_cannot_break_the_picture() -> None:
    odd = Graph("<&>", {"s<1>": "&"}, (Part("<b>", ("1",), ("s<1>",), '"'),), ())
    ParserCreate().Parse(svg(odd), True)


def test_boxes_of_one_segment_do_not_cover_each_other_and_lie_inside_the_picture() -> None:
    text = svg(GRAPH)
    (width, height) = map(int, re.findall(r'^<svg [^>]* width="(\d+)" height="(\d+)"', text)[0])
    boxes = [
        tuple(map(int, box))
        for box in re.findall(r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" rx="5"', text)
    ]
    assert len(boxes) == 4
    for x, y, wide, high in boxes:
        assert x + wide <= width
        assert y + high <= height
        others = [box for box in boxes if box != (x, y, wide, high)]
        assert not any(x < ox + ow and ox < x + wide and y < oy + oh and oy < y + high for ox, oy, ow, oh in others)
