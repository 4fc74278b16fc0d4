"""
YAML text → located trees.

Refuses to know: what the documents mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bgpctl.core.intent.tree import Mapping, Scalar, Sequence, Tree
from bgpctl.core.model import Place, Problem

_MAX_NODES: Final = 1_000_000
"""Aliases are expanded; a file that grows beyond this is a bomb, or a mistake."""
_MAX_DEPTH: Final = 100
_PLAIN: Final = {"str", "int", "float", "bool", "null"}


class BadYaml(Exception):
    """The text is no YAML that we read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def documents(text: str, file: str) -> tuple[Tree, ...]:
    """
    All documents of one file.

    Raises:
        BadYaml: with the place of the first thing that cannot be read.
    """
    loader = yaml.SafeLoader(text)
    converter = _Converter(file, loader)
    try:
        return tuple(converter.tree(node, 0) for node in _compose(loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise BadYaml(Problem(place, "", f"not YAML: {said}", "yaml")) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not YAML: character {error.character!r} is not allowed"
        raise BadYaml(Problem(Place(file, line, 1), "", message, "yaml")) from error
    except RecursionError as error:
        raise BadYaml(Problem(Place(file, 1, 1), "", "nested too deeply", "yaml")) from error
    finally:
        loader.dispose()


def _compose(loader: yaml.SafeLoader) -> Iterator[Node]:
    while loader.check_node():
        node = loader.get_node()
        if node is not None:
            yield node


class _Converter:
    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._left = _MAX_NODES

    def tree(self, node: Node, depth: int) -> Tree:
        place = self._place(node)
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise BadYaml(Problem(place, "", "too large: aliases or nesting without end", "yaml"))
        match node:
            case ScalarNode():
                return self._scalar(node, place)
            case SequenceNode():
                return Sequence(place, tuple(self.tree(item, depth + 1) for item in node.value))
            case MappingNode():
                return self._mapping(node, place, depth)
            case _:
                raise BadYaml(Problem(place, "", "not a value", "yaml"))

    def _mapping(self, node: MappingNode, place: Place, depth: int) -> Mapping:
        self._refuse_repeated_keys(node)
        self._loader.flatten_mapping(node)
        items: dict[str, Tree] = {}
        keys: dict[str, Place] = {}
        for key, value in node.value:
            name = self._key(key)
            # Merged keys come first, so that the mapping's own ones win.
            items[name] = self.tree(value, depth + 1)
            keys[name] = self._place(key)
        return Mapping(place, items, keys)

    def _refuse_repeated_keys(self, node: MappingNode) -> None:
        seen: dict[str, Place] = {}
        for key, _ in node.value:
            name = self._key(key)
            if name in seen and name != "<<":
                message = f"key {name} is given twice, first at {seen[name]}"
                raise BadYaml(Problem(self._place(key), "", message, "duplicate-key"))
            seen[name] = self._place(key)

    def _key(self, key: Node) -> str:
        if not isinstance(key, ScalarNode):
            raise BadYaml(Problem(self._place(key), "", "a key is a single word", "yaml"))
        return str(key.value)

    def _scalar(self, node: ScalarNode, place: Place) -> Scalar:
        text = str(node.value)
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN:
            return Scalar(place, text, text)
        try:
            value = self._loader.construct_object(node)
        except (ConstructorError, ValueError):
            value = text
        return Scalar(place, value, text)

    def _place(self, node: Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)
