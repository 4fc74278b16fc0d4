import pytest

from bgpctl.core.cluster.selector import SelectorError, parse

NODE = {"rack": "a", "role": "edge", "example.com/zone": "eu-west-1", "in": "x"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("  ", True),
        ("all()", True),
        ("global()", True),
        ("has(rack)", True),
        ("has(row)", False),
        ("!has(row)", True),
        ("rack == 'a'", True),
        ('rack == "a"', True),
        ("rack=='b'", False),
        ("rack != 'b'", True),
        ("row == ''", False),
        ("row != 'a'", True),
        ("rack in {'a', 'b'}", True),
        ("rack in {}", False),
        ("row in {'a'}", False),
        ("rack not in {'a'}", False),
        ("row not in {'a'}", True),
        ("rack not   in {'b'}", True),
        ("in in {'x'}", True),
        ("example.com/zone contains 'west'", True),
        ("row contains ''", False),
        ("example.com/zone starts with 'eu'", True),
        ("example.com/zone ends with '-1'", True),
        ("row starts with ''", False),
        ("row ends with ''", False),
        ("!rack == 'a'", False),
        ("!!has(rack)", True),
        ("rack == 'b' && has(row) || role == 'edge'", True),
        ("rack == 'b' && (has(row) || role == 'edge')", False),
        ("has(row) || has(rack) && has(nothing)", False),
        ('role == "it\'s"', False),
    ],
)
def test_a_selector_selects_as_calico_does(text: str, *, selected: bool) -> None:
    assert parse(text)(NODE) is selected


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("rack = 'a'", 6),
        ("rack ==", 8),
        ("rack == a", 9),
        ("rack == 'a", 9),
        ("rack == 'a' rack == 'b'", 13),
        ("rack == 'a' &&", 15),
        ("(rack == 'a'", 13),
        ("has(", 5),
        ("all", 4),
        ("rack in 'a'", 9),
        ("rack in {'a',}", 14),
        ("rack in {'a' 'b'}", 14),
        ("'a' == rack", 1),
        ("rack like 'a'", 6),
        ("(" * 100, 52),
    ],
)
def test_a_bad_selector_is_refused_with_the_column(text: str, column: int) -> None:
    with pytest.raises(SelectorError, match=rf"^column {column}: "):
        parse(text)
