"""No key is dropped in silence: a stray one, wherever it is put, is a problem there or a remark about its object."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place
from bgpctl.core.intent import read
from bgpctl.core.intent.tree import Mapping, Scalar, Sequence, Tree
from bgpctl.store.yaml import documents
from tests.samples import CALICO, QUIET, REMARKED, SHORT

STRAY = Place("stray.yaml", 7, 7)
MEANT_FOR_ANY_KEY = ("labels", "secondary", "annotations", "metadata", "status")
"""Labels are the operator's; the others have one remark as a whole."""
DOCUMENTS = [tree for text in (SHORT, CALICO, *QUIET, *REMARKED) for tree in documents(text, "c.yaml")]


def with_stray_keys(tree: Tree) -> Iterator[Tree]:
    """The tree with a stray key in each of its mappings, one at a time."""
    match tree:
        case Mapping(items=items, keys=keys):
            stray: Tree = Scalar(STRAY, 1, "1")
            yield Mapping(tree.place, {**items, "stray": stray}, {**keys, "stray": STRAY})
            for key, value in items.items():
                if key not in MEANT_FOR_ANY_KEY:
                    yield from (Mapping(tree.place, {**items, key: child}, keys) for child in with_stray_keys(value))
        case Sequence(items=members):
            for index, member in enumerate(members):
                for child in with_stray_keys(member):
                    yield Sequence(tree.place, (*members[:index], child, *members[index + 1 :]))
        case Scalar():
            pass


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_stray_key_is_reported_wherever_it_is(document: Tree) -> None:
    plain = read([document])
    before = set(plain.remarks if isinstance(plain, Intent) else plain)
    for changed in with_stray_keys(document):
        found = read([changed])
        problems = set(found.remarks if isinstance(found, Intent) else found)
        about_stray = any(problem.place == STRAY for problem in problems)
        # `Kind/name.spec.key` is `spec.key` in its document; `kind` has the remark about a whole kind.
        whole = {problem.path.split(".", 1)[-1] for problem in before if problem.rule == "no-effect"}
        path = next(_paths(changed, ""))
        assert about_stray or "kind" in whole or any(f".{part}." in f".{path.replace('[', '.[')}." for part in whole), (
            path
        )


def _paths(tree: Tree, path: str) -> Iterator[str]:
    match tree:
        case Mapping(items=items):
            for key, value in items.items():
                here = f"{path}.{key}" if path else key
                if value.place == STRAY:
                    yield here
                yield from _paths(value, here)
        case Sequence(items=members):
            for index, member in enumerate(members):
                yield from _paths(member, f"{path}[{index}]")
        case Scalar():
            pass
