"""The live map in a real browser: it shows the document alone, explains by two clicks, and shows a switch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.browser import Page
from tests.maps import SHOWN, Open, lines_of, pairs_of
from tests.topologies import TOPOLOGIES
from tests.ui.sources import BROKEN, Breaking, Kept, Scripted, changed, of_file, switch, topology

INTERACTIVE_S = 2.0
"""Of a processor: this machine may be busy with something else."""
EVERY = sorted(path.stem for path in TOPOLOGIES.glob("*.yaml"))
NAMES = EVERY if os.environ.get("BGPCTL_TEST_MAP") else ["cross-subnet", "vxlan", "calico-neighbours", "dual-stack"]


def shown_steps(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('ol.steps .text')].map((item) => item.textContent)")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_map_is_the_document(open_map: Open, name: str) -> None:
    source = topology(name)
    document = source.map()
    page = open_map(source)
    shown = page.evaluate(SHOWN)
    assert shown["racks"] == sorted(rack["name"] for rack in document["racks"])
    assert shown["places"] == sorted(node["name"] for node in document["nodes"])
    if page.evaluate("document.querySelector('.tile') === null"):
        assert shown["workloads"] == sorted(item["address"] for node in document["nodes"] for item in node["workloads"])
        assert shown["pairs"] == lines_of(document)
    page.click("#as-table")
    rows = page.evaluate("[...document.querySelectorAll('[data-row]')].map((item) => item.dataset.row)")
    assert rows == [node["name"] for node in document["nodes"]]


def test_two_clicks_on_workloads_explain_there_and_back_on_the_map(open_map: Open) -> None:
    source = topology("cross-subnet")
    page = open_map(source)
    page.click("[data-address='10.244.1.10']")
    page.click("[data-address='10.244.3.10']")
    page.wait_for("document.querySelector('.way')?.dataset.outcome === 'delivered'")
    body = source.explain("10.244.1.10", "10.244.3.10", 84)
    assert body["back"]
    steps = [
        step["text"] for part in (body["there"], body["back"]) for step in [*part["steps"], {"text": part["because"]}]
    ]
    assert shown_steps(page) == steps
    hops = page.evaluate(
        "[...document.querySelectorAll('.way [data-from]')].map((i) => `${i.dataset.from} ${i.dataset.to}`)"
    )
    assert sorted(hops) == ["a1 b1", "b1 a1"]
    assert page.evaluate("document.querySelector('.way .badge').textContent") == "IPIP"
    page.press("Escape")
    page.wait_for("document.querySelector('.way') === null")


NOTE = "[...document.querySelectorAll('.mark > text:not(.sign)')].map((item) => item.textContent).join(' ')"


def test_the_hop_where_it_breaks_is_marked_with_the_reason_and_the_next_command(open_map: Open) -> None:
    page = open_map(Breaking(topology("cross-subnet"), "b1"))
    for end in ("10.244.1.10", "10.244.3.10"):
        page.click(f"[data-address='{end}']")
    page.wait_for("document.querySelector('.mark.broken')?.dataset.at === 'b1'")
    assert page.evaluate(NOTE) == f"breaks here: {Breaking.because} next: {Breaking.next}"
    panel = page.evaluate("document.querySelector('#tab-panel').innerText")
    assert f"Breaks at b1: {Breaking.because}" in panel
    assert Breaking.next in panel
    page.click("#swap")
    page.wait_for("document.querySelector('#from').value === 'web-b1'")


def test_a_class_of_failures_that_verify_finds_is_shown_on_the_map(open_map: Open, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    source = of_file(path)
    (first, *_) = source.verify()["classes"]
    missing = source.explain(first["source"], first["destination"], 84)["there"]["missing"]
    page = open_map(source)
    page.wait_for("document.querySelector('#tab-verify .number')?.textContent === '2'")
    page.click("#tab-verify")
    text = page.evaluate("document.querySelector('ul.classes').innerText")
    assert first["because"] in text
    assert first["next"] in text
    page.click("ul.classes button")
    page.wait_for("document.querySelector('.mark.unknown') !== null")
    assert page.evaluate("document.querySelector('.place.marked').dataset.place") == first["node"]
    assert page.evaluate(NOTE) == f"{missing['text']} next: {missing['next']}"


def test_a_switch_of_the_encapsulation_is_seen_step_by_step_to_its_end(open_map: Open) -> None:
    ground = topology("cross-subnet")
    documents = switch(ground.map())
    source = Scripted(ground, documents)
    page = open_map(source)
    directions = "[...document.querySelectorAll('[data-pair]')].flatMap((i) => [i.dataset.there, i.dataset.back])"
    assert page.evaluate(f"{directions}.filter((by) => by === 'vxlan').length") == 0
    for number in (5, 9, len(documents) - 1):
        source.now = number
        expected = lines_of(documents[number])
        page.wait_for(f"JSON.stringify(({SHOWN}).pairs) === {json.dumps(json.dumps(expected, separators=(',', ':')))}")
    assert page.evaluate(f"{directions}.filter((by) => by === 'vxlan').length") == 8
    assert page.evaluate("document.querySelectorAll('.pair.changed').length") == 4
    page.click("#tab-events")
    events = page.evaluate("[...document.querySelectorAll('ol.events li')].map((i) => i.innerText)")
    assert sum("IPIP → VXLAN" in line for line in events) == 8
    assert sum("is converged" in line for line in events) == 4


def test_a_node_that_is_not_well_has_its_reason_and_a_path_that_is_not_proven_a_cross(open_map: Open) -> None:
    ground = topology("cross-subnet")
    ill = changed(
        ground.map(),
        "a1",
        state="degraded",
        health="bad",
        why=["no probe reply from b1 by tunl0"],
        unproven={"b1": "unreachable"},
    )
    page = open_map(Scripted(ground, [ill]))
    assert page.evaluate("document.querySelector('[data-place=a1] .sign').textContent") == "!"
    assert page.evaluate("[...document.querySelectorAll('.pair:has(.cross)')].map((i) => i.dataset.pair)") == ["a1 b1"]
    page.click("#tab-problems")
    panel = page.evaluate("document.querySelector('#tab-panel').innerText")
    assert "no probe reply from b1 by tunl0" in panel
    assert "the path to b1 is not proven: unreachable" in panel


def test_the_keyboard_alone_explains_a_packet_and_clears_it(open_map: Open) -> None:
    page = open_map(topology("cross-subnet"))
    page.evaluate("document.querySelector('#zoom-fit').focus()")
    page.press("Tab")
    focused = "document.activeElement.getAttribute('data-key')"
    page.wait_for(f"{focused} !== null")
    seen = {page.evaluate(focused)}
    for key in ("ArrowUp", "ArrowLeft", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.press(key)
        seen.add(page.evaluate(focused))
    assert len(seen) > 4
    for address in ("10.244.1.10", "10.244.4.10"):
        page.evaluate(f"document.querySelector(\"[data-address='{address}']\").focus()")
        page.press("Enter")
    page.wait_for("document.querySelector('.way') !== null")
    assert page.evaluate(focused) == "10.244.4.10"
    assert "delivered" in page.evaluate("document.querySelector('#status').textContent")
    page.press("Escape")
    page.wait_for("document.querySelector('.way') === null")
    page.evaluate("document.querySelector('#tab-path').focus()")
    page.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-node"


def test_a_search_finds_a_node_by_its_address_and_brings_it_into_sight(open_map: Open, many: Kept) -> None:
    page = open_map(many)
    page.press("/")
    page.type("10.7.0.9/")
    page.press("Enter")
    page.wait_for("document.querySelector('.chosen')?.dataset.place === 'r07-n08'")
    assert page.evaluate("document.activeElement.getAttribute('data-key')") == "r07-n08"
    lines = page.evaluate("document.querySelectorAll('[data-pair]').length")
    assert lines == 199


def test_200_nodes_are_shown_as_racks_and_bundles_within_two_seconds(open_map: Open, many: Kept) -> None:
    document = many.map()
    page = open_map(many)
    took_s = page.processor_s()
    assert took_s < INTERACTIVE_S, f"{took_s} s of a processor until it can be used"
    shown = page.evaluate(SHOWN)
    assert shown["places"] == sorted(node["name"] for node in document["nodes"])
    racks = {node["name"]: node["racks"][0] for node in document["nodes"]}
    bundles: dict[str, int] = {}
    for ends in pairs_of(document):
        a, b = sorted(racks[name] for name in ends)
        if a != b:
            bundles[f"{a} {b}"] = bundles.get(f"{a} {b}", 0) + 1
    assert shown["bundles"] == sorted(f"{key}|{number}" for key, number in bundles.items())
    for name in ("r00-n00", "r09-n19"):
        page.click(f"[data-place={name}] .button")
    page.wait_for("document.querySelector('.way')?.dataset.outcome === 'delivered'")


@pytest.mark.parametrize(("is_large", "width", "dark"), [(False, 1280, False), (False, 390, True), (True, 390, False)])
def test_nothing_is_wider_than_the_screen(
    open_map: Open, many: Kept, width: int, *, is_large: bool, dark: bool
) -> None:
    page = open_map(many if is_large else topology("cross-subnet"), width, 800, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
