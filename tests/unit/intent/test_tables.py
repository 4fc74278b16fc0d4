"""Tables of fields: one row reads, writes and describes a key."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Configuration, Filter, FilterRule, Node, Peer, Pool, Service
from bgpctl.core.intent.bgp import BGP_CONFIGURATION, BGP_PEER, NODE_BGP, NODE_SPEC
from bgpctl.core.intent.calico import KINDS
from bgpctl.core.intent.draft import Draft
from bgpctl.core.intent.felix import FELIX
from bgpctl.core.intent.field_kinds import BOOLEAN, NAME, TEXT, FieldKind, coded, integer, no_effect, several
from bgpctl.core.intent.fields import Fields, dns_name
from bgpctl.core.intent.filters import FILTER, RULES
from bgpctl.core.intent.kubernetes import CONFIG_DATA
from bgpctl.core.intent.nodes import short_node
from bgpctl.core.intent.pools import calico_pool, short_pool
from bgpctl.core.intent.services import SERVICE
from bgpctl.core.intent.shapes import ref
from bgpctl.core.intent.short import SETTINGS, SHORT_PEER
from bgpctl.core.intent.tables import Row, Table, always, read_only
from bgpctl.store.yaml import documents


@dataclass(frozen=True, slots=True)
class Cable:
    """A noun with a required attribute and three others."""

    name: str
    length: int = 80
    is_shielded: bool = False
    keys: tuple[str, ...] = ()
    side: str = "left"


CABLE = Table(
    (
        Row("name", NAME, "name", "What it is called.", needed=True),
        Row("length", integer(10, 200), "length", "In metres."),
        Row("shielded", BOOLEAN, "is_shielded"),
        Row("keys", several(dns_name, "name", ref("name")), "keys"),
        Row("plug", coded({"Left": "left", "Right": "right"}), "side"),
        Row(
            "left", FieldKind(lambda fields, key: "left" if fields.boolean(key) else None, BOOLEAN.shape, None), "side"
        ),
        Row("colour", no_effect("colours are for people", TEXT)),
    ),
    Cable,
    "a cable",
    "A wire between two ports.",
)


def read(text: str, table: Table = CABLE) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """The values of the one document, and (path, rule, message) of every remark about it."""
    draft = Draft()
    (tree,) = documents(text, "x.yaml")
    fields = Fields(tree, "", draft.problems)
    found = table.read(fields)
    fields.finish()
    return found, [(problem.path, problem.rule, problem.message) for problem in draft.problems.sorted()]


def test_values_stand_under_their_attributes_and_absent_ones_are_left_out() -> None:
    found, problems = read("{name: a, length: 90}")
    assert (found, problems) == ({"name": "a", "length": 90}, [])
    assert Cable(**found) == Cable("a", 90)


def test_a_wrong_value_an_absent_key_and_an_unknown_one_are_problems_where_they_stand() -> None:
    found, problems = read("{length: 5, depth: 3}")
    assert found == {}
    assert [(path, rule) for path, rule, _ in problems] == [
        ("", "missing"),
        ("length", "range"),
        ("depth", "unknown-key"),
    ]
    assert problems[0][2] == "a cable needs name"


def test_of_two_keys_for_one_attribute_the_first_row_counts() -> None:
    assert read("{name: a, left: true, plug: Right}")[0]["side"] == "right"
    assert read("{name: a, left: true}")[0]["side"] == "left"


def test_a_field_without_effect_is_checked_and_mentioned() -> None:
    assert [rule for _, rule, _ in read("{name: a, colour: red}")[1]] == ["no-effect"]
    assert [rule for _, rule, _ in read("{name: a, colour: []}")[1]] == ["type"]


def test_a_default_is_not_written_unless_its_row_wants_it() -> None:
    assert CABLE.write(Cable("a")) == {"name": "a"}
    assert CABLE.write(Cable("a", 90, is_shielded=True, keys=("k",), side="right")) == {
        "name": "a",
        "length": 90,
        "shielded": True,
        "keys": ["k"],
        "plug": "Right",
    }
    assert Table(always(CABLE.rows, "shielded"), Cable).write(Cable("a")) == {"name": "a", "shielded": False}


def test_a_value_that_the_noun_has_not_is_given_beside_it() -> None:
    assert CABLE.write(Cable("a"), length=100, side=None) == {"name": "a", "length": 100}


def test_a_row_that_is_only_read_is_never_written() -> None:
    assert Table(tuple(map(read_only, CABLE.rows)), Cable).write(Cable("a", 90)) == {}


def test_a_table_is_a_schema_with_descriptions_and_defaults() -> None:
    assert CABLE.shape() == {
        "description": "A wire between two ports.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"description": "What it is called.", "$ref": "#/$defs/name"},
            "length": {
                "description": "In metres.",
                "type": ["integer", "null"],
                "minimum": 10,
                "maximum": 200,
                "default": 80,
            },
            "shielded": {"type": ["boolean", "null"], "default": False},
            "keys": {"type": ["array", "null"], "items": {"$ref": "#/$defs/name"}},
            "plug": {"enum": ["Left", "Right", None], "default": "Left"},
            "left": {"type": ["boolean", "null"]},
            "colour": {"description": "No effect here: colours are for people.", "$ref": "#/$defs/text"},
        },
        "additionalProperties": False,
    }


FORMS: dict[str, list[tuple[type[Any], tuple[Table, ...]]]] = {
    "the short form": [
        (Pool, (short_pool(),)),
        (Node, (short_node(),)),
        (Peer, (SHORT_PEER,)),
        (Configuration, (SETTINGS,)),
        (Service, (SERVICE,)),
    ],
    "Calico's resources": [
        (Pool, (calico_pool(),)),
        (Node, (NODE_BGP, NODE_SPEC)),
        (Peer, (BGP_PEER,)),
        (Configuration, (CONFIG_DATA, BGP_CONFIGURATION, FELIX)),
    ],
    "both forms": [(Filter, (FILTER,)), (FilterRule, (RULES[4],)), (NodeAllocations, (short_node(),))],
}
ELSEWHERE = {
    # The name is the key above, or stands in the metadata as labels and annotations do; so do the keys for these.
    Pool: {"name", "encapsulation", "mode"},
    Node: {"name", "address", "address6", "labels", "accepts", "ttl_security"},
    Peer: {"name", "nodes", "remotes", "address", "port"},
    Filter: {"name"},
    FilterRule: {"add_communities", "prepend", "set_priority"},
    Configuration: {"pools", "nodes", "peers", "filters", "services"},
    Service: {"name", "nodes"},
    NodeAllocations: {"tunnel_addresses", "vtep_macs", "home"},
}
NOUNS = [pytest.param(*noun, id=f"{noun[0].__name__} in {form}") for form, nouns in FORMS.items() for noun in nouns]


@pytest.mark.parametrize(("noun", "tables"), NOUNS)
def test_every_attribute_of_a_noun_has_a_key_in_each_form(noun: type[Any], tables: tuple[Table, ...]) -> None:
    written = {row.attribute for table in tables for row in table.rows if row.kind.write}
    wanted = {item.name for item in dataclasses.fields(noun) if item.name != "place"}
    assert wanted - written - ELSEWHERE[noun] == set()


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_has_a_key_twice(kind: str) -> None:
    keys = KINDS[kind].spec.keys()
    assert len(keys) == len(set(keys))
