"""Docstrings and documents name what there is: files, exceptions, attributes. None begins with a question word."""

from __future__ import annotations

import ast
import builtins
import itertools
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("bgpctl", "tests", "bench", "tools")
LEADS: Final = re.compile(r"(What|Whether|Whoever|Those)\b")
FILE: Final = re.compile(r"`((?:[\w-]+/)*[\w-]+\.py)(?:: \w+)?`")
ATTRIBUTES: Final = re.compile(r"Attributes:\n((?:    .*\n?|\n)+)")

Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Docstring(NamedTuple):
    place: str
    text: str
    node: ast.AST


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True)
    return tuple(name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file())


@cache
def trees() -> dict[str, ast.Module]:
    """Every Python file of ours, programs without a suffix too."""
    found = {}
    for name in tracked():
        if name.split("/")[0] in CODE and (name.endswith(".py") or _is_program(ROOT / name)):
            found[name] = ast.parse((ROOT / name).read_text(encoding="utf-8"), name)
    return found


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().rstrip().endswith(b"python3")


def docstrings() -> Iterator[Docstring]:
    """Of modules, classes and functions, and the texts below constants and fields."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, Documented) and (text := ast.get_docstring(node)):
                yield Docstring(f"{name}:{getattr(node, 'lineno', 1)}", text, node)
            body = getattr(node, "body", None)
            for before, after in itertools.pairwise(body) if isinstance(body, list) else ():
                if isinstance(before, ast.Assign | ast.AnnAssign) and (below := _text(after)):
                    yield Docstring(f"{name}:{after.lineno}", below, after)


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value.strip()
    return None


def test_no_docstring_begins_with_a_question_word() -> None:
    assert [f"{doc.place}: {doc.text[:60]}" for doc in docstrings() if LEADS.match(doc.text)] == []


def test_every_file_that_is_named_exists() -> None:
    texts = [(doc.place, doc.text) for doc in docstrings()]
    texts += [(name, (ROOT / name).read_text()) for name in tracked() if name.endswith(".md")]
    there = "".join(f"/{name}\n" for name in tracked())
    missing = [f"{place}: {name}" for place, text in texts for name in FILE.findall(text) if f"/{name}\n" not in there]
    assert missing == []


def test_every_exception_that_a_docstring_raises_exists() -> None:
    known = {node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    known |= set(dir(builtins)) | {"BadParameter"}
    named = [(doc.place, name) for doc in docstrings() for name in _raised(doc.text)]
    assert len(named) > 100
    assert [f"{place}: {name}" for place, name in named if name not in known] == []


def _raised(text: str) -> Iterator[str]:
    for sentence in re.findall(r"Raises ([A-Z]\w+(?:, [A-Z]\w+)*)", text):
        yield from sentence.split(", ")
    for section in re.findall(r"^Raises:\n((?:    .*\n?)+)", text, re.MULTILINE):
        yield from re.findall(r"^    (\w+): ", section, re.MULTILINE)


def test_every_attribute_that_is_described_is_one() -> None:
    wrong = []
    for doc in docstrings():
        if isinstance(doc.node, ast.ClassDef) and (section := ATTRIBUTES.search(doc.text)):
            named = [
                name for line in re.findall(r"^    ([\w, ]+): ", section[1], re.MULTILINE) for name in line.split(", ")
            ]
            wrong += [f"{doc.place}: {name}" for name in named if name not in _attributes(doc.node)]
    assert wrong == []


def _attributes(cls: ast.ClassDef) -> set[str]:
    """Fields, and what a method sets on self."""
    fields = {
        item.target.id for item in cls.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    uses = {item.attr for item in ast.walk(cls) if isinstance(item, ast.Attribute)}
    return fields | uses | {item.name for item in cls.body if isinstance(item, ast.FunctionDef)}
