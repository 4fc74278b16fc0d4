"""From YAML text to located trees: what YAML may do, and what it may not do to us."""

import time

import pytest
import yaml

from bgpctl.core.cluster.problems import Place
from bgpctl.core.intent.tree import Mapping, Scalar, Sequence
from bgpctl.store import yaml as store
from bgpctl.store.yaml import BadYaml, documents
from tests.documents import plain


@pytest.fixture(params=["SafeLoader", "CSafeLoader"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML has two parsers, with limits of their own; an installation may have the slow one only."""
    monkeypatch.setattr(store, "_LOADER", getattr(yaml, request.param))


def place(line: int, column: int) -> Place:
    return Place("c.yaml", line, column)


def only(text: str) -> Mapping:
    (tree,) = documents(text, "c.yaml")
    assert isinstance(tree, Mapping)
    return tree


def test_every_node_and_every_key_has_its_place() -> None:
    tree = only("a:\n  b: [1, two]\n")
    inner = tree.items["a"]
    assert isinstance(inner, Mapping)
    items = inner.items["b"]
    assert isinstance(items, Sequence)
    assert (tree.keys["a"], inner.keys["b"], items.place) == (place(1, 1), place(2, 3), place(2, 6))
    assert items.items == (Scalar(place(2, 7), 1, "1"), Scalar(place(2, 10), "two", "two"))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("'5'", "5"),
        ("026", "026"),
        ("0x1A", "0x1A"),
        ("10:30", "10:30"),
        ("9" * 5000, "9" * 5000),
        ("1.10", "1.10"),
        ("true", True),
        ("no", False),
        ("'no'", "no"),
        ("~", None),
        ("", None),
        ("''", ""),
        ("2026-01-01", "2026-01-01"),
        ("!!str 5", "5"),
        ("!!int five", "five"),
    ],
)
def test_scalars_are_typed_and_nothing_is_guessed(written: str, value: object) -> None:
    assert plain(only(f"a: {written}")) == {"a": value}


def test_a_key_is_always_text() -> None:
    assert list(only("{no: 1, 5: 2, ~: 3}").items) == ["no", "5", "~"]


def test_own_keys_win_over_merged_ones_and_the_first_merged_over_the_second() -> None:
    tree = only("one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nall: {c: 3, <<: [*one, *two]}\n")
    assert plain(tree.items["all"]) == {"a": 1, "b": 1, "c": 3}
    assert tree.repeated == ()


def test_the_first_of_two_equal_keys_stays_and_the_second_is_reported() -> None:
    tree = only("a: 1\nb: 2\na: 3\n")
    assert plain(tree) == {"a": 1, "b": 2}
    assert tree.repeated == (("a", place(3, 1)),)


def test_a_stream_holds_several_documents() -> None:
    assert [plain(tree) for tree in documents("a: 1\n---\n---\nb: 2\n...\n", "c.yaml")] == [{"a": 1}, None, {"b": 2}]


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "line", "column", "rule"),
    [
        ("", 1, 1, "empty"),
        ("# nothing\n---\n", 1, 1, "empty"),
        ("a:\n\tb: 1", 2, 1, "yaml"),
        ("a: [1,\n2\n", 3, 1, "yaml"),
        ("a: 'x", 1, 6, "yaml"),
        ("a: *b", 1, 4, "yaml"),
        ("ä: 1\nb: x\x00y", 2, 5, "yaml"),
        ("a: !!python/object:os.system x", 1, 4, "yaml"),
        ("a: !!set {x}", 1, 4, "yaml"),
        ("{{ a }}: 1", 1, 1, "yaml"),
        ("a: &a [*a]", 1, 4, "yaml"),
        ("a: &a {<<: *a}", 1, 4, "yaml"),
        ("a: {<<: 5}", 1, 9, "yaml"),
        ("[" * 100_000, 1, 65, "yaml"),
        ("a: [1]\n\u2028b: " + "[" * 100_000, 3, 67, "yaml"),
        ("- " * 5_000, 1, 129, "yaml"),
        ("? " * 5_000, 1, 129, "yaml"),
    ],
)
def test_an_unreadable_document_is_reported_with_its_place(text: str, line: int, column: int, rule: str) -> None:
    with pytest.raises(BadYaml) as caught:
        documents(text, "c.yaml")
    assert (caught.value.problem.place, caught.value.problem.rule) == (place(line, column), rule)


def bomb(item: str) -> str:
    return "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {item.replace('_', ','.join([f'*a{n - 1}'] * 10))}\n" for n in range(1, 30)
    )


@pytest.mark.parametrize(
    "text",
    [
        bomb("[_]"),
        bomb("{<<: [_]}"),
        "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)),
    ],
)
def test_aliases_that_grow_without_end_are_refused_at_once(text: str) -> None:
    start_s = time.process_time()
    with pytest.raises(BadYaml, match="aliases expanded"):
        documents(text, "c.yaml")
    assert time.process_time() - start_s < 2


def test_a_scalar_of_a_megabyte_is_read() -> None:
    assert plain(only("a: " + "x" * 1_000_000)) == {"a": "x" * 1_000_000}
