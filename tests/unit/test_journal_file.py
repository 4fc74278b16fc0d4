"""A journal in a file: it comes back whole, it is small, and nothing but a journal is read as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl.agent import journal_file
from bgpctl.agent.journal_file import BadJournal
from bgpctl.core.agent.events import Applied, KernelChanged, Observed
from bgpctl.core.bgp.speaker import SessionDown
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from tests.journals import is_faithful, lived
from tests.laws.events import EVENTS
from tests.stories.mesh import B1, converged


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(
        journal_file.dump(lived(*EVENTS, start=converged().state).record(), "1.2", "2026-11-23T10:00:00+00:00")
    )
    return path


def test_a_journal_from_a_file_can_be_replayed_too(tmp_path: Path) -> None:
    start = converged().state
    kept = lived(SessionDown(B1, "closed", notified=True), Observed(converged().kernel), Applied(()), start=start)
    (tmp_path / "journal.jsonl").write_bytes(journal_file.dump(kept.record(), "1.2", "2026-11-23T10:00:00+00:00"))
    _, found = journal_file.load(tmp_path / "journal.jsonl")
    assert found.entries == kept.record().entries
    assert is_faithful(found)


def test_the_header_names_schema_version_node_and_time(file: Path) -> None:
    assert json.loads(file.read_text().splitlines()[0]) == {
        "schema": "bgpctl/journal/v2",
        "version": "1.2",
        "node": "a1",
        "written": "2026-11-23T10:00:00+00:00",
        "entries": len(EVENTS),
    }
    header, record = journal_file.load(file)
    assert (header.node, header.entries) == ("a1", len(record.entries))


def test_derived_values_are_recomputed(file: Path) -> None:
    found, kept = journal_file.load(file)[1].start, converged().state
    assert found == kept
    assert found.intent.policy
    assert kept.intent.policy
    assert found.intent.policy.session_policies == kept.intent.policy.session_policies
    assert found.intent.policy.limit == kept.intent.policy.limit
    assert "policy" not in json.loads(file.read_text().splitlines()[1])["intent"]


def test_an_observation_is_written_as_its_changes(tmp_path: Path) -> None:
    routes = [Route(Prefix(4, (10 << 24) + number, 32)) for number in range(500)]
    large = Dataplane(routes=frozenset(routes))
    story = [Observed(replace(large, routes=large.routes - {route})) for route in routes[:20]]
    record = lived(Observed(large), *story, KernelChanged(), Observed(Dataplane())).record()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(journal_file.dump(record, "1.2", "2026-11-23T10:00:00+00:00"))
    assert journal_file.load(path)[1] == record
    lengths = [len(line) for line in path.read_text().splitlines()]
    assert max(lengths[3:23]) < 500
    assert lengths[2] > 10_000


def _line(number: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def changed(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join((*lines[: number - 1], change(lines[number - 1]), *lines[number:]))

    return changed


def _event(tree: dict[str, Any]) -> Callable[[str], str]:
    return _line(3, lambda line: json.dumps({**json.loads(line), "event": tree}) + "\n")


BAD: Final[Mapping[str, tuple[Callable[[str], str], str]]] = {
    "nothing": (lambda _: "", "1: the journal ends before this line"),
    "no JSON": (lambda _: "root:x:0:0\n", "1: the line is not JSON"),
    "other JSON": (lambda _: "[1]\n", "1: no journal that this version reads: it has no schema"),
    "an earlier schema": (lambda text: text.replace("/v2", "/v1", 1), "1: .* its schema is bgpctl/journal/v1, not"),
    "a later schema": (lambda text: text.replace("/v2", "/v3", 1), "1: .* its schema is bgpctl/journal/v3, not"),
    "no node": (lambda text: text.replace('"node":"a1",', "", 1), "1: Header needs node"),
    "a header alone": (_line(2, lambda _: ""), "2: State needs node|2: State has no field"),
    "a line cut short": (lambda text: text[:-9], rf"{len(EVENTS) + 2}: the line is not JSON: it is cut short"),
    "a line missing": (_line(8, lambda _: ""), rf"{len(EVENTS) + 2}: the journal ends before this line"),
    "a line too many": (lambda text: text + "{}\n", rf"{len(EVENTS) + 3}: more entries than the header counts"),
    "a class of elsewhere": (_event({"Popen": {}}), "3: event: unknown class Popen"),
    "a class where no other may be": (_event({"Route": {}}), "3: event: unknown class Route"),
    "a field of no class": (_event({"Woken": {"at_s": 1}}), "3: event.Woken: Woken has no field at_s"),
    "a field that is missing": (
        _event({"SessionDown": {"peer": "10.0.0.2"}}),
        "3: .*SessionDown needs notified, reason",
    ),
    "an address that is none": (_event({"SessionUp": {"peer": "10.0.0.256"}}), "3: event.SessionUp.peer: '10.0.0.256'"),
    "text for a number": (_event({"EndOfRib": {"peer": "::1", "version": "6"}}), "3: .*version: int expected, not 6"),
    "truth for a number": (_event({"EndOfRib": {"peer": "::1", "version": True}}), "3: .*: int expected, not True"),
    "a row too short": (
        _event({"Observed": {"dataplane": {"routes": [["::/0"]]}}}),
        r"3: .*routes\[0\]: Route of 9 items",
    ),
    "a value of no enum": (
        _event({"SessionDown": {"peer": "::1", "reason": "", "notified": True, "kind": "odd"}}),
        "3: .*kind: DownKind expected, not odd",
    ),
    "depth": (_line(3, lambda _: "[" * 100_000 + "\n"), "3: the line is nested too deeply"),
    "a number without end": (_line(3, lambda _: "1" * 10_000 + "\n"), "3: the line is not JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_journal_is_refused_with_file_line_and_rule(file: Path, case: str) -> None:
    change, rule = BAD[case]
    file.write_text(change(file.read_text()))
    with pytest.raises(BadJournal, match=rf"^{file}:{rule}"):
        journal_file.load(file)


def test_a_pickle_of_an_earlier_version_is_refused_with_a_reason(file: Path) -> None:
    file.write_bytes(b"\x80\x04N.")
    with pytest.raises(BadJournal, match=r"journal.jsonl:1: a pickle, .*: bgpctl agent journal$"):
        journal_file.load(file)


def test_a_line_too_long_is_not_even_parsed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "_LONGEST_LINE_BYTES", 1000)
    with pytest.raises(BadJournal, match=r":2: the line is longer than 1000 bytes"):
        journal_file.load(file)
