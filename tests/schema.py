"""The faults that the shipped schemas find in a file."""

from __future__ import annotations

from jsonschema import Draft202012Validator

from bgpctl.cli.schema import NAMES, bundled
from bgpctl.store.yaml import documents
from tests.documents import plain

VALIDATORS = {name: Draft202012Validator(bundled(name)) for name in NAMES}


def faults(name: str, text: str) -> list[str]:
    """The schema's objections to a file, each of its documents taken by itself, as editors do."""
    trees = [plain(tree) for tree in documents(text, "x.yaml")]
    return [f"{error.json_path}: {error.message}" for tree in trees for error in VALIDATORS[name].iter_errors(tree)]
