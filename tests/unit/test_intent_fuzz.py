"""Whatever stands in a cluster file, the answer is an intent or located problems."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster import Intent
from tests.documents import FILE, SAMPLE, load
from tests.unit.test_intent_forms import CALICO, SHORT

WORDS = (
    *(
        "\t",
        "\n",
        " ",
        "  ",
        "-",
        "- ",
        ":",
        ": ",
        ",",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "#",
        "|",
        ">",
        "?",
        "%",
        "@",
        "\x00",
    ),
    *(
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "!x ",
        "---\n",
        "~",
        "''",
        "no",
        "5",
        "-1",
        "1e9",
        "0/0",
        "/33",
        "::",
        "\ud800",
        "\ufeff",
    ),
    *("kind: IPAMBlock", "kind: Installation", "kind: FelixConfiguration", "apiVersion: v1\n", "has(", "10.244.0.0/26"),
    *("ipipMode: Always", "vxlanMode: Always", "kind: List", "kind: Node", "items: [5]", "metadata: {}", "spec: 5"),
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(WORDS)), min_size=1, max_size=6)


def edited(text: str, edits: list[tuple[float, int, str]]) -> str:
    for where, removed, word in edits:
        at = int(where * len(text))
        text = text[:at] + word + text[at + removed :]
    return text


@settings(max_examples=400)
@given(st.sampled_from((SAMPLE, SHORT, CALICO)), EDITS)
@example(SAMPLE, [(0.0, 10_000, "kind: {}")])
@example(SAMPLE, [(0.0, 10_000, "kind: List\nitems: &a [{kind: List, items: []}, *a]")])
@example(SAMPLE, [(0.0, 10_000, "metadata: 5\nkind: Node")])
def test_a_mutilated_file_gives_an_intent_or_problems_with_places(
    text: str, edits: list[tuple[float, int, str]]
) -> None:
    changed = edited(text, edits)
    loaded = load(changed)
    if isinstance(loaded, Intent):
        return
    assert loaded == tuple(sorted(set(loaded)))
    lines = changed.count("\n") + 2
    for problem in loaded:
        assert problem.place.file == FILE
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1
        assert problem.rule
        assert problem.message.isprintable()
