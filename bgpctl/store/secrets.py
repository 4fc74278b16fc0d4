"""
Files with passwords that cluster files name, and that are not there.

Refuses to know: which node needs which of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.problems import Place, Problem, Severity
from bgpctl.core.intent.draft import beside
from bgpctl.core.intent.tree import Mapping, Scalar, Tree
from bgpctl.core.intent.tree import Sequence as Listed
from bgpctl.store.yaml import documents

_KEYS: Final = ("passwordFile", "nodeMeshPasswordFile")


def missing(
    paths: Sequence[Path], texts: Sequence[str], files: Collection[str], severity: Severity = Severity.ERROR
) -> tuple[Problem, ...]:
    """
    A problem where a valid text names one of `files` that does not exist. One that this user may not see might, and
    is no problem.
    """
    if not files:
        return ()
    found: list[Problem] = []
    for path, text in zip(paths, texts, strict=True):
        for tree in documents(text, str(path)):
            for place, at, file in _named(tree, ""):
                if file in files and (problem := _problem(Path(file))):
                    found.append(Problem(place, at, problem, "file-missing", severity))
    return tuple(sorted(set(found)))


def _named(tree: Tree, path: str) -> Iterator[tuple[Place, str, str]]:
    """Where each file is named, the path there, and the file as seen from it."""
    match tree:
        case Mapping():
            for key, value in tree.items.items():
                under = f"{path}.{key}" if path else key
                if key in _KEYS and isinstance(value, Scalar) and (file := beside(value.place, value.text)):
                    yield value.place, under, file
                else:
                    yield from _named(value, under)
        case Listed():
            for index, item in enumerate(tree.items):
                yield from _named(item, f"{path}[{index}]")
        case Scalar():
            pass


def _problem(file: Path) -> str | None:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no file {file}"
    except (OSError, ValueError):
        return None
    return f"{file} is a directory, and no file" if file.is_dir() else None
