"""YAML that people write, read strictly, with the line of every key (YAML 1.2's plain values: ``no`` and ``22:00`` and ``+30…`` are texts).

Refused, each with its line: a key that is there twice, a key that is no text, tags (``!!python/…``), NaN and infinity, and documents that
grow without bound through their aliases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from connector.errors import Problem

Path = tuple[str | int, ...]

_MOST_NODES = 200_000
_DEEPEST = 100
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: Mapping[str, object] = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:" + name for name in ("bool", "int", "float", "null", "str", "timestamp", "value", "merge")})
_TAG_OF_TEXT = "tag:yaml.org,2002:str"
_LONGEST_NUMBER = 30


@dataclass(slots=True)
class Source:
    """One YAML document: its data, and where each part of it stands."""

    name: str  # as it appears before the line number
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    blocks: set[Path] = field(default_factory=set)  # texts that begin on the line after their key
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: Path, line: int = 0) -> str:
        """``rules.yaml:12`` of the part, or of the nearest part around it. ``line`` counts from 1 within a text of several lines."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                below = 0 if not line or length < len(path) else line - (path not in self.blocks)
                return f"{self.name}:{self.lines[path[:length]] + below}"
        return f"{self.name}:1"


def read_yaml(text: str, name: str) -> Source:
    """Parse one document. What is wrong is in ``problems``; never raises."""
    source = Source(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source.problems.append(Problem(f"{name}:{line}", f"this is no YAML: {error.problem or error.context}"))
        return source
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        source.problems.append(Problem(f"{name}:1", f"this is no YAML: {what}"))
        return source
    try:
        source.data = None if node is None else _Reader(source).value(node, ())
    except _TooLargeError:
        source.problems.append(Problem(f"{name}:1", "the document is too large or too deep", "an alias may hold itself"))
    return source


class _TooLargeError(Exception):
    """Too many or too deep nodes, aliases followed."""


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 - any YAML
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(inner, (*path, index)) for index, inner in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        shared: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be a text")
            elif key == "<<" and key_node.style is None:
                shared |= self._shared(value_node, path)
            elif key in result:
                self._problem(key_node, f"{key} is here twice", "the second would silently replace the first")
            else:
                self._source.lines[(*path, key)] = key_node.start_mark.line + 1
                result[key] = self.value(value_node, (*path, key))
        return {**shared, **result}

    def _shared(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """What ``<<: *anchor`` brings in."""
        value = self.value(node, path)
        parts = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if isinstance(part, dict):
                merged |= part
            else:
                self._problem(node, "<<: takes a mapping")
        return merged

    def _scalar(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 - any scalar
        text: str = node.value
        if node.tag not in _PLAIN_TAGS:
            self._problem(node, f"the tag {node.tag} is not allowed here")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            self._problem(
                node, "half a character: \\ud800 to \\udfff stand for nothing alone", r"write the character itself, or \U0001F600"
            )
        if isinstance(node, yaml.ScalarNode) and node.style is not None:
            if node.style in "|>":
                self._source.blocks.add(path)
            return text
        return text if node.tag == _TAG_OF_TEXT else self._plain(node, text)

    def _plain(self, node: yaml.Node, text: str) -> Any:  # noqa: ANN401 - any scalar
        if text.lower() in _WORDS and (text.islower() or text.istitle() or text.isupper() or text in _WORDS):
            return _WORDS[text.lower()]
        if text.lower() in {".nan", ".inf", "-.inf", "+.inf"}:
            self._problem(node, "not a number and infinity are not allowed here")
            return None
        if len(text) > _LONGEST_NUMBER:
            return text
        if _INT.fullmatch(text):
            return self._whole(node, int(text))
        if not _FLOAT.fullmatch(text):
            return text
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self._problem(node, "the number is too large")
        return number

    def _whole(self, node: yaml.Node, number: int) -> int:
        if not -(2**63) <= number < 2**64:
            self._problem(node, "the number is too large", "write it in quotes if it is a text")
        return number

    def _problem(self, node: yaml.Node, what: str, hint: str = "") -> None:
        self._source.problems.append(Problem(f"{self._source.name}:{node.start_mark.line + 1}", what, hint))
