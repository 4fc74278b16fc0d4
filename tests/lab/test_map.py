"""The live map of a running lab, in a real browser: a packet that breaks, and a switch to its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bgpctl.cli.map_sources import LabSource
from bgpctl.lab.lab import Lab
from bgpctl.lab.switch import switch
from tests.browser import PROGRAM, browser
from tests.lab.rig import inside
from tests.lab.traffic import Silent
from tests.maps import SHOWN, Open, lines_of, maps
from tests.waiting import SLOWNESS, wait_until

TABLE = "add table inet f; add chain inet f F { type filter hook forward priority 0; }; add rule inet f F reject"


@pytest.fixture
def open_map(tmp_path: Path) -> Iterator[Open]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed: tools/system-packages test")
    with browser(tmp_path / "profile") as chromium, maps(chromium) as opened:
        yield opened


def test_a_lab_is_on_the_map_with_the_hop_that_breaks_and_a_switch_to_its_end(
    lab_of: Callable[[str], Lab], open_map: Open
) -> None:
    lab = lab_of("migration")
    source = LabSource(lab)
    page = open_map(source)
    document = source.map()
    assert {node["state"] for node in document["nodes"] if node["kind"] == "node"} == {"converged"}
    shown = page.evaluate(SHOWN)
    assert shown["pairs"] == lines_of(document)
    assert shown["places"] == ["a1", "a2", "b1", "b2", "core"]

    inside(lab, "b1", f"nft '{TABLE}'")
    for address in ("10.244.1.10", "10.244.3.10"):
        page.click(f"[data-address='{address}']")
    page.wait_for("document.querySelector('.mark.broken')?.dataset.at === 'b1'")
    panel = page.evaluate("document.querySelector('#tab-panel').innerText")
    assert "nft -a list table inet f" in panel
    inside(lab, "b1", "nft delete table inet f")
    page.press("Escape")

    done = threading.Thread(
        target=partial(switch, lab, "blue", "VXLANCrossSubnet", 20, Silent(), within_s=30 * SLOWNESS)
    )
    done.start()
    page.wait_for("[...document.querySelectorAll('[data-pair]')].some((i) => i.dataset.there === 'vxlan')", 60)
    done.join()
    across = [f"{a} {b}|vxlan|vxlan" for a in ("a1", "a2") for b in ("b1", "b2")]
    wait_until(lambda: set(across) <= set(lines_of(source.map())), within_s=30)
    wanted = json.dumps(json.dumps(lines_of(source.map()), separators=(",", ":")))
    page.wait_for(f"JSON.stringify(({SHOWN}).pairs) === {wanted}", 60)
    page.click("#tab-events")
    page.wait_for("document.querySelector('ol.events').innerText.includes('IPIP → VXLAN')")
