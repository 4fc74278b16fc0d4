"""Cluster files as text, for tests."""

from __future__ import annotations

from textwrap import dedent

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.core.intent import read
from bgpctl.core.intent.tree import Mapping, Scalar, Sequence, Tree
from bgpctl.ports import Loaded
from bgpctl.store.yaml import BadYaml, documents

FILE = "c.yaml"

SAMPLE = """\
calico_backend: bird          # bird (BGP, spoken by ExaBGP) | vxlan (no BGP at all) | none
asNumber: 64512
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, natOutgoing: true, blockSize: 26}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26], labels: {rack: a}}
  b1: {address: 10.1.0.4/24, blocks: [10.244.4.0/26], labels: {rack: b}}
mesh: true
peers:
  tor-a: {ip: 10.0.0.254, asNumber: 65001, nodes: "rack == 'a'", passwordFile: secrets/tor-a}
"""


def load(text: str, file: str = FILE) -> Loaded:
    try:
        return read(documents(dedent(text), file))
    except BadYaml as bad:
        return (bad.problem,)


def good(text: str) -> Intent:
    loaded = load(text)
    assert isinstance(loaded, Intent), "\n".join(map(str, loaded))
    return loaded


def bad(text: str) -> tuple[Problem, ...]:
    loaded = load(text)
    assert not isinstance(loaded, Intent)
    return loaded


def seen(problems: tuple[Problem, ...], severity: Severity = Severity.ERROR) -> list[tuple[int, int, str]]:
    return [(p.place.line, p.place.column, p.rule) for p in problems if p.severity is severity]


def plain(tree: Tree) -> object:
    """The document as another reader of YAML sees it."""
    match tree:
        case Mapping(items=items):
            return {key: plain(item) for key, item in items.items()}
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Scalar(value=value):
            return value
