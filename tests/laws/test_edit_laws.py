"""An edit of some records has the answer of a whole reading: the same intent, problems, remarks and index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent import edit, fragment, index, load
from bgpctl.core.intent.draft import Draft
from bgpctl.core.intent.edit import Basis, edited
from bgpctl.core.intent.load import whole
from bgpctl.store.yaml import documents

_POOLS: Final = (
    "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN, blockSize: 26}}\n",
    "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLANCrossSubnet, nodeSelector: has(rack)}}\n",
    "pools: {blue: {cidr: 10.244.0.0/17, encapsulation: IPIP}, red: {cidr: 'fd00:244::/48', encapsulation: VXLAN}}\n",
    "pools: {blue: {cidr: 10.244.0.0/16, encapsulation: IPIP}, off: {cidr: 10.0.0.0/9, disabled: true}}\n",
    "pools: {blue: {cidr: 10.0.0.0/8, encapsulation: VXLAN}}\n",
)
_REST: Final = (
    "",
    "mesh: {enabled: false}\npeers: {tor: {ip: 10.0.0.3, asNumber: 64512, nodes: has(rack)}}\n",
    "peers: {a: {peerSelector: has(rack), nodes: n1}, b: {ip: 10.9.0.1, asNumber: 65009, nodes: has(rack)}}\n",
    "peers: {all: {ip: 10.9.0.1, asNumber: 65009}}\n",
    "kind: IPAMConfig\nmetadata: {name: default}\nspec: {strictAffinity: true, maxBlocksPerHost: 1}\n",
    "{kind: IPReservation, metadata: {name: r}, spec: {reservedCIDRs: [10.244.1.0/32]}}\n",
    "nodes: {far: {address: 10.7.0.1/24}, away: {address: 10.7.0.2/24, blocks: [10.244.9.0/26]}}\n",
)

_NAMES: Final = ("n1", "n2", "n3", "n4")
_ADDRESSES: Final = (
    *("10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24"),
    *("10.0.0.130/25", "10.0.1.1/16", "10.0.0.5", "10.0.0.0/24", "10.244.0.9/24", "nonsense"),
)
_BLOCKS: Final = ("10.244.1.0/26", "10.244.2.0/26", "10.244.2.64/26", "10.244.1.0/27", "10.9.0.0/26")
_HOSTS: Final = ("10.244.1.5", "10.244.2.1", "10.244.1.0", "10.9.0.1")
_OPTIONS: Final = (
    *("labels: {rack: a}", "address6: fd01::1/64", "address6: fd01::2/64", "accepts: [ipip]", "asNumber: 65001"),
    *("vxlanTunnelAddress: 10.244.1.9", "vxlanTunnelAddress: 10.244.7.7", "ipipTunnelAddress: 10.244.2.9"),
    *("vxlanTunnelMACAddress: '02:00:00:00:00:01'", "what: 1", "blocks: [10.244.1.0/26, 10.244.1.0/26]"),
)


@st.composite
def nodes(draw: st.DrawFn) -> str:
    """A node of the short form, mostly a right one."""
    name = draw(st.sampled_from(_NAMES))
    own = draw(st.sampled_from(_ADDRESSES[:4]) | st.sampled_from(_ADDRESSES))
    blocks = draw(st.lists(st.sampled_from(_BLOCKS[:3]) | st.sampled_from(_BLOCKS), max_size=2, unique=True))
    borrowed = draw(st.lists(st.sampled_from(_HOSTS), max_size=1))
    options = draw(st.lists(st.sampled_from(_OPTIONS), max_size=1))
    parts = [f"address: {own}", *options]
    parts += [f"blocks: [{', '.join(blocks)}]"] if blocks and not any("blocks" in item for item in options) else []
    parts += [f"borrowed: [{', '.join(borrowed)}]"] if borrowed else []
    return f"nodes: {{{name}: {{{', '.join(parts)}}}}}\n"


@st.composite
def resources(draw: st.DrawFn) -> str:
    """A node, or a block of one, as Calico writes it; of a node that is gone too."""
    name, block = draw(st.sampled_from((*_NAMES, "gone"))), draw(st.sampled_from(_BLOCKS))
    meta, own = f"metadata: {{name: {name}, uid: x}}", draw(st.sampled_from(_ADDRESSES))
    node = f"kind: Node\napiVersion: projectcalico.org/v3\n{meta}\nspec: {{bgp: {{ipv4Address: {own}}}}}\n"
    tunnelled = node.replace(own, f"{own}, ipv4IPIPTunnelAddr: {draw(st.sampled_from(_HOSTS))}")
    claim = f"kind: BlockAffinity\nmetadata: {{name: x}}\nspec: {{node: {name}, cidr: {block}, state: confirmed}}\n"
    held = f"kind: IPAMBlock\nmetadata: {{name: x}}\nspec: {{cidr: {block}, affinity: 'host:{name}'}}\n"
    return draw(st.sampled_from([node, tunnelled, claim, held]))


RECORDS = nodes() | nodes() | resources() | st.sampled_from((*_POOLS, *_REST))
EDITS = st.lists(
    st.dictionaries(st.integers(2, 7).map("k{}".format), st.none() | RECORDS | RECORDS, min_size=1, max_size=2),
    min_size=1,
    max_size=8,
)
CLUSTERS = st.tuples(st.sampled_from(_POOLS[:4]), st.sampled_from(_REST), EDITS)


def steps(
    cluster: tuple[str, str, Sequence[Mapping[str, str | None]]],
) -> Iterator[tuple[Basis | None, Basis | None, Any]]:
    """Of each edit its answer, and the basis and the answer of a whole reading."""
    pools, rest, edits = cluster
    known: dict[str, Draft] = {"k0": _fragment("k0", pools), **({"k1": _fragment("k1", rest)} if rest else {})}
    basis = whole(_ordered(known))[1]
    for changes in edits:
        gone = [known.pop(key) for key in changes if key in known]
        new = {key: _fragment(key, text) for key, text in sorted(changes.items()) if text}
        known.update(new)
        after = edited(basis, gone, [*new.values()]) if basis else None
        answer, anew = whole(_ordered(known))
        yield after, anew, answer
        basis = after or anew


def _fragment(key: str, text: str) -> Draft:
    (document,) = documents(text, f"/{key}.yaml")
    return fragment(document)


def _ordered(known: Mapping[str, Draft]) -> list[Draft]:
    return [draft for _, draft in sorted(known.items())]


def agrees(after: Basis | None, anew: Basis | None, answer: object) -> bool:
    """True if an edit has no answer, or the one of a whole reading, from which the next edit can start as well."""
    if after is None:
        return True
    if not isinstance(answer, Intent) or anew is None:
        return False
    same = after.intent == answer and after.intent.remarks == answer.remarks
    order = [*after.intent.allocations.by_node] == [*answer.allocations.by_node]
    return same and order and after.taken == anew.taken and _members(after) == _members(anew)


def _members(basis: Basis) -> Mapping[str, object]:
    """The order of the blocks decides about nothing."""
    found = {name: sorted(item.at.place for item in member.blocks) for name, member in basis.members.items()}
    return {name: (member._replace(blocks=()), found[name]) for name, member in basis.members.items()}


@given(CLUSTERS)
@settings(max_examples=150)
def test_an_edit_has_the_answer_of_a_whole_reading(cluster: Any) -> None:
    for after, anew, answer in steps(cluster):
        assert agrees(after, anew, answer)


@pytest.mark.parametrize("change", ["nodes: {n1: {address: 10.0.0.2/24, labels: {a: b}}}\n", None])
def test_an_edit_of_a_node_needs_no_whole_reading(change: str | None) -> None:
    start: Mapping[str, str | None] = {
        "k2": "nodes: {n1: {address: 10.0.0.1/24}}\n",
        "k3": "nodes: {n2: {address: 10.0.0.7/24}}\n",
    }
    more: Mapping[str, str | None] = {"k4": "nodes: {n3: {address: 10.0.0.8/24, blocks: [10.244.1.0/26]}}\n"}
    cluster = (_POOLS[0], _REST[-1], [start, more, {"k2": change}])
    assert all(after for after, _, _ in steps(cluster))


def test_the_index_of_a_whole_reading_only_spares_checks() -> None:
    for text in (*NODES, *_REST[1:]):
        fragments = [
            _fragment("k0", _POOLS[0]),
            _fragment("k1", _node("n1", "10.0.0.1/24", _WITH)),
            _fragment("k2", text),
        ]
        with patch.object(load, "index_of", lambda *_: None):
            answer = whole(fragments)[0]
        assert whole(fragments)[0] == answer


# Mutants: each part of the index, and each question to others, is needed ------------------------------------------


def _node(name: str, address: str, rest: str = "") -> str:
    return f"nodes: {{{name}: {{address: {address}{rest}}}}}\n"


_WITH: Final = ", blocks: [10.244.1.0/26], vxlanTunnelMACAddress: '02:00:00:00:00:01'"
NODES: Final = (
    _node("n2", "10.0.0.2/24", ", blocks: [10.244.1.0/26], vxlanTunnelAddress: 10.244.1.9"),
    _node("n2", "10.0.0.1/24"),
    _node("n2", "10.0.0.2/24", ", vxlanTunnelMACAddress: '02:00:00:00:00:01'"),
    _node("n2", "10.0.0.2/24", ", borrowed: [10.244.1.0]"),
    _node("n2", "10.0.1.2/16"),
    _node("n2", "10.0.0.2/24", ", blocks: [10.244.2.0/26, 10.244.2.0/26]"),
    _node("n2", "10.244.0.9/24"),
)
_holdings = index._holdings
MUTANTS: Final[Mapping[str, tuple[AbstractContextManager[object], str, str]]] = {
    # The mutant, what is said beside two nodes, and the second one after the edit.
    **{
        f"holding: {kind}": (
            patch.object(index, "_holdings", lambda *args, kind=kind: (x for x in _holdings(*args) if x[0] != kind)),
            "",
            node,
        )
        for kind, node in (("block", NODES[0]), ("address", NODES[1]), ("MAC over IPv4", NODES[2]))
    },
    "borrowed": (patch.object(index, "_holdings", lambda *_: ()), "", NODES[3]),
    "networks": (patch.object(index, "_networks", lambda _: ()), "", NODES[4]),
    "twice": (patch.object(index, "_has_twice", lambda _: False), "", NODES[5]),
    "others": (patch.object(edit, "_concerns_others", lambda *_: False), "", NODES[6]),
    "peers": (patch.object(edit, "_concerns", lambda *_: False), _REST[3], _node("n3", "10.0.0.3/24")),
    "selection": (
        patch.object(edit, "_selection", lambda *_: ()),
        "peers: {a: {ip: 10.9.0.1, asNumber: 65009, nodes: has(rack)}}\n",
        _node("n2", "10.0.0.2/24", ", labels: {rack: a}"),
    ),
    "kinds": (patch.object(edit, "_is_of_nodes", lambda _: True), "", _node("n2", "10.0.0.2/24") + "mtu: 1400\n"),
    "remarks": (patch.object(edit, "_found", lambda *_: []), "", _node("n2", "10.0.0.2/24", ", blocks: [10.9.0.0/26]")),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_an_index_or_a_question_that_is_left_out_is_found(name: str) -> None:
    mutant, rest, node = MUTANTS[name]
    fragments = [_fragment("k0", _POOLS[0]), _fragment("k1", _node("n1", "10.0.0.1/24", _WITH))]
    fragments += [_fragment("k2", _node("n4", "10.0.0.4/24")), *([_fragment("k4", rest)] if rest else [])]
    removed = [] if "n3" in node else [_fragment("k3", _node("n2", "10.0.0.2/24"))]
    basis = whole([*fragments, *removed])[1]
    assert basis
    added = _fragment("k3", node)
    answer, anew = whole([*fragments, added])
    assert agrees(edited(basis, removed, [added]), anew, answer)
    with mutant:
        assert not agrees(edited(basis, removed, [added]), anew, answer)
