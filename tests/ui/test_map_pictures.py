"""
The pictures of docs/how-to/map.md, made from the page. `BGPCTL_PICTURES=docs` writes them there (`make pictures`).

Pictures of two machines differ by their fonts, so only that each can be made, and is no blank page, is tested.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import Page
from tests.maps import Open
from tests.ui.sources import Breaking, Kept, topology

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "map.md"
MOST_BYTES = 250_000


def followed(page: Page, one: str, other: str) -> Page:
    for address in (one, other):
        page.click(f"[data-address='{address}']")
    page.wait_for("document.querySelector('.way') !== null")
    return page


def path(open_map: Open, _many: Kept) -> Page:
    return followed(open_map(topology("cross-subnet"), 1180, 640), "10.244.1.10", "10.244.3.10")


def racks(open_map: Open, many: Kept) -> Page:
    return open_map(many, 1180, 760)


def broken(open_map: Open, _many: Kept) -> Page:
    return followed(open_map(Breaking(topology("cross-subnet"), "b1"), 1180, 640), "10.244.1.10", "10.244.3.10")


def phone(open_map: Open, _many: Kept) -> Page:
    return followed(open_map(topology("cross-subnet"), 390, 780, dark=True), "10.244.1.10", "10.244.3.10")


PICTURES: dict[str, Callable[[Open, Kept], Page]] = {
    "map-path.png": path,
    "map-200.png": racks,
    "map-broken.png": broken,
    "map-phone.png": phone,
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_guide_can_be_made(open_map: Open, many: Kept, tmp_path: Path, name: str) -> None:
    page = PICTURES[name](open_map, many)
    page.evaluate("document.querySelector('#map').scrollIntoView({block: 'nearest'})")
    made = tmp_path / name
    page.screenshot(made)
    content = made.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert (width, height) == tuple(page.evaluate("[innerWidth, innerHeight]"))
    assert 15_000 < len(content) < MOST_BYTES
    if directory := os.environ.get("BGPCTL_PICTURES"):
        (Path(directory) / name).write_bytes(content)


def test_the_guide_shows_these_pictures_and_each_is_there() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(\.\./([^)]+)\)", GUIDE.read_text())
    assert sorted(shown) == sorted(PICTURES)
    assert all((GUIDE.parent.parent / name).is_file() for name in shown)
