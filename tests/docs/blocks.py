"""
Blocks of documents: files and command lines with what they print.

A block `console` has commands after `$ ` and below each what it prints; a line `…` stands for any lines. A block `yaml`
or `ini` whose first line is a comment with a path is that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if not {"decisions", "_build"} & set(path.parts)),
)
COMMANDS: Final = "console"
CONTAINERS: Final = "sh"
"""Commands that need a container engine: tests/docker executes it."""
HOSTS: Final = "shell-session"
"""The same on several hosts, each command after `NAME# `, and below it what it prints: tests/nightly executes it."""
FILES: Final = frozenset({"yaml", "ini"})
KINDS: Final = frozenset(
    {COMMANDS, CONTAINERS, HOSTS, *FILES, "json", "text", "{toctree}", "{include} ../../ARCHITECTURE.md"}
)
EXECUTED: Final = "command blocks"
"""A test records so how many it has executed."""
ANY_LINES: Final = "…"

_PROMPTS: Final = (r"^()\$ ", r"^(host\d)# ")
_FENCE: Final = re.compile(r"^( *)```(.*?)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# (\S+\.(?:yaml|env|conf|container))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """`kind` is the word after the opening fence; `line` is that of the fence."""

    document: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The path of the file that the block shows."""
        named = _FILE.match(self.text) if self.kind in FILES else None
        return named[1] if named else None


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, what it prints, nothing if the document does not show it; and on which host."""

    text: str
    prints: tuple[str, ...]
    host: str = ""


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    return [
        Block(document, text.count("\n", 0, found.start()) + 1, found[2].strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block."""
    parts = re.split(_PROMPTS[block.kind == HOSTS], block.text, flags=re.MULTILINE)[1:]
    for host, part in zip(parts[::2], parts[1::2], strict=True):
        lines = part.rstrip("\n").split("\n")
        length = next(index for index, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield Command("\n".join(lines[:length]), tuple(lines[length:]), host)


_VARIES: Final = (
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\dZ", "DATE"),
    (r"\b[0-9a-f]{12}\b(?= )", "NUMBER"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d+(\.\d+)? m?s\b", "TIME"),
    (r"\b(\d+[dhms])+\b", "AGE"),
    (r"\d+ workload packets", "N workload packets"),
    (r"^\d+ packets sent", "N packets sent"),
    (r"\b0 of \d+ packets lost", "0 of N packets lost"),
    (r"^(\S+ \S+ v[46]) \d+ (\d+) (\d+)", r"\1 SENT \2 \3"),
    (r"^(\S+ (?:ipip|vxlan)) (?:bpf|kernel) (\S+ \d+ \S+ \S+ \S+) \d+ \d+ (?:\d+|-) ", r"\1 DRIVER \2 RX TX REFUSED "),
    (r"\bprocess \d+", "process PID"),
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\bdocker/[0-9a-f]{12}\b", "docker/ID"),
    (r"\bcali[0-9a-f]{11}\b", "caliID"),
    (r"\bnetns/[0-9a-f]{12}\b", "netns/ID"),
)


def same(lines: Sequence[str]) -> list[str]:
    """With what differs from run to run masked: times, counts of packets, and how wide columns are."""
    masked = []
    for line in lines:
        text = re.sub(r" +", " ", line).rstrip()
        for pattern, name in _VARIES:
            text = re.sub(pattern, name, text)
        masked.append(text)
    return masked


def shows(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """True if what a document shows was printed: the same lines in the same order, with gaps where it has `…`."""
    pattern = "".join(r"(.*\n)*?" if line == ANY_LINES else re.escape(f"{line}\n") for line in same(expected))
    return re.fullmatch(pattern, "\n".join([*same(printed), ""]).rstrip("\n") + "\n") is not None
