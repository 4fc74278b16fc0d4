"""
Cluster files as texts: read, understood, and sent to an agent as a proposal.

A proposal is the texts themselves and not their names: an agent may read files that the operator may not, and under
systemd it does not see his home.

Refuses to know: the keys of a cluster file (core/intent), how files are changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import read
from bgpctl.core.intent.tree import Tree
from bgpctl.ports import Loaded, NotPossibleNow, Proposal
from bgpctl.store.change import Contents
from bgpctl.store.yaml import BadYaml, documents

Texts: TypeAlias = tuple[str | Problem, ...]
"""Of each file; a problem where it cannot be read."""


def load(paths: Sequence[Path]) -> Loaded:
    """The intent of some files together, or all their problems."""
    return understand(paths, read_texts(paths))


def read_texts(paths: Sequence[Path]) -> Texts:
    """The texts of some files."""
    return tuple(map(_text, paths))


def understand(paths: Sequence[Path], texts: Sequence[str | Problem]) -> Loaded:
    """The intent that files with these texts make; paths of other files in them are as seen from the file."""
    trees: list[Tree] = []
    problems: list[Problem] = []
    for path, text in zip(paths, texts, strict=True):
        if isinstance(text, Problem):
            problems.append(text)
            continue
        try:
            trees += documents(text, str(path))
        except BadYaml as bad:
            problems.append(bad.problem)
    # With a file that cannot be read, the rest would only seem wrong.
    return tuple(sorted(problems)) or read(trees)


def _text(path: Path) -> str | Problem:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Problem(Place(str(path), 1, 1), "", f"cannot be read: {error.strerror}", "unreadable")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        return Problem(Place(str(path), line, column), "", f"is not UTF-8 text: {error.reason}", "unreadable")


def proposal_of(texts: Texts) -> Proposal:
    """Good texts as a store is proposed them."""
    return Proposal(json.dumps([text for text in texts if isinstance(text, str)]))


def contents_of(proposal: Proposal, names: Sequence[str]) -> Contents:
    """The texts that a proposal has for the files with these names. Raises NotPossibleNow."""
    try:
        found = json.loads(proposal)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise NotPossibleNow("the content is the new cluster files, as a JSON list of texts")
    if len(found) != len(names):
        raise NotPossibleNow(f"this agent reads {count(len(names), 'file')}: {', '.join(names)}")
    return tuple(found)
