"""
Calico's label selectors: `all()`, `has(k)`, `k == 'v'`, `k in {'v', 'w'}`, `&&`, `||`, `!`, parentheses, and more.

Refuses to know: the selected objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

Labels: TypeAlias = Mapping[str, str]
Selector: TypeAlias = Callable[[Labels], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>'[^']*'|"[^"]*")
    | (?P<op>==|!=|&&|\|\||[!(){},])
    | (?P<phrase>not\s+in\b|starts\s+with\b|ends\s+with\b)
    | (?P<word>[A-Za-z0-9_./-]+)
    )""",
    re.VERBOSE,
)
_MAX_DEPTH: Final = 50


class SelectorError(ValueError):
    """The text is no selector; the message has the position and the reason."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


@lru_cache(maxsize=1024)
def parse(text: str) -> Selector:
    """
    A predicate on labels. The empty text selects everything, as in Calico.

    Raises:
        SelectorError: with the column, counted from 1.
    """
    tokens = _tokens(text)
    if not tokens:
        return lambda _: True
    parser = _Parser(text, tokens)
    selector = parser.either(0)
    parser.end()
    return selector


def names_global(text: str) -> bool:
    """True if a valid selector contains `global()`, which Calico takes in policies and not for nodes."""
    tokens = _tokens(text)
    return any(token[:2] == ("word", "global") and after[:2] == ("op", "(") for token, after in pairwise(tokens))


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            at = len(text) - len(text[position:].lstrip())
            raise SelectorError(f"column {at + 1}: {text[at]!r} has no meaning in a selector")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return tokens


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[_Token]
    index: int = 0

    def either(self, depth: int) -> Selector:
        parts = [self.both(depth)]
        while self.accept("||"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else lambda labels: any(part(labels) for part in parts)

    def both(self, depth: int) -> Selector:
        parts = [self.term(depth)]
        while self.accept("&&"):
            parts.append(self.term(depth))
        return parts[0] if len(parts) == 1 else lambda labels: all(part(labels) for part in parts)

    def term(self, depth: int) -> Selector:
        if depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        if self.accept("!"):
            inner = self.term(depth + 1)
            return lambda labels: not inner(labels)
        if self.accept("("):
            inner = self.either(depth + 1)
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Selector:
        key = self.take("word", "a label name").text
        if key in {"all", "global", "has"} and self.accept("("):
            return self.call(key)
        operator = self.next()
        match operator.text if operator.kind != "phrase" else " ".join(operator.text.split()):
            case "==":
                value = self.value()
                return lambda labels: labels.get(key) == value
            case "!=":
                value = self.value()
                return lambda labels: labels.get(key) != value
            case "in":
                values = self.values()
                return lambda labels: key in labels and labels[key] in values
            case "not in":
                values = self.values()
                return lambda labels: labels.get(key) not in values
            case "contains":
                value = self.value()
                return lambda labels: key in labels and value in labels[key]
            case "starts with":
                value = self.value()
                return lambda labels: labels.get(key, "").startswith(value) and key in labels
            case "ends with":
                value = self.value()
                return lambda labels: labels.get(key, "").endswith(value) and key in labels
            case _:
                self.index -= 1
                raise self.error("a comparison such as == 'value' is needed")

    def call(self, name: str) -> Selector:
        if name != "has":
            self.expect(")")
            return lambda _: True
        key = self.take("word", "a label name").text
        self.expect(")")
        return lambda labels: key in labels

    def value(self) -> str:
        return self.take("text", "a value in quotes").text[1:-1]

    def values(self) -> frozenset[str]:
        self.expect("{")
        found: list[str] = []
        if not self.accept("}"):
            found.append(self.value())
            while self.accept(","):
                found.append(self.value())
            self.expect("}")
        return frozenset(found)

    def accept(self, text: str) -> bool:
        if self.index < len(self.tokens) and self.tokens[self.index][:2] == ("op", text):
            self.index += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"{text} is needed")

    def take(self, kind: str, what: str) -> _Token:
        if self.index >= len(self.tokens) or self.tokens[self.index].kind != kind:
            raise self.error(f"{what} is needed")
        return self.next()

    def next(self) -> _Token:
        if self.index >= len(self.tokens):
            raise self.error("something is missing")
        self.index += 1
        return self.tokens[self.index - 1]

    def end(self) -> None:
        if self.index < len(self.tokens):
            raise self.error("&& or || is needed")

    def error(self, message: str) -> SelectorError:
        at = self.tokens[self.index].at if self.index < len(self.tokens) else len(self.text)
        return SelectorError(f"column {at + 1}: {message}")
