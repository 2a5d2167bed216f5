"""Reads YAML and remembers on which line everything stands, so that a mistake can name its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

Where = tuple[str | int, ...]


class NotYaml(ValueError):
    """The text is no YAML. `line` counts from 1; `str(error)` says what is wrong there."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """`data`: what the text says. `lines`: the line (from 1) of each key and list item, by its path.

    `mistakes`: (line, sentence) for what YAML would accept in silence: keys written twice, aliases.
    """

    data: Any
    lines: dict[Where, int] = field(default_factory=dict)
    mistakes: tuple[tuple[int, str], ...] = ()

    def line(self, where: Where) -> int:
        """The line of `where`, or of the nearest thing around it that has one."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def read(text: str) -> Document:
    """Plain values only (no tags of other types). Raises `NotYaml`."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None)
        lines: dict[Where, int] = {(): root.start_mark.line + 1}
        mistakes: list[tuple[int, str]] = []
        data = _value(loader, root, (), lines, mistakes, frozenset())
        return Document(data, lines, tuple(mistakes))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context
        raise NotYaml(mark.line + 1 if mark else 1, f"not readable as YAML: {what}.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml(line, f"not readable as YAML: the character {chr(error.character)!r} is not allowed.") from None
    except (ValueError, RecursionError) as error:
        raise NotYaml(1, f"not readable as YAML: {error}.") from None
    finally:
        if loader is not None:
            loader.dispose()


def _value(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    where: Where,
    lines: dict[Where, int],
    mistakes: list[tuple[int, str]],
    around: frozenset[int],
) -> Any:
    if id(node) in around:  # an alias to something it stands in would never end
        mistakes.append(
            (node.start_mark.line + 1, "an alias (*name) stands inside what it names; write the value out.")
        )
        return None
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_object(node)
    inside = around | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        items = []
        for at, item in enumerate(node.value):
            lines[(*where, at)] = item.start_mark.line + 1
            items.append(_value(loader, item, (*where, at), lines, mistakes, inside))
        return items
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            mistakes.append((line, "a key must be a single word."))
            continue
        key = str(key_node.value)
        if key in found:
            first = lines[(*where, key)]
            mistakes.append((line, f"the key {key!r} is written twice (first on line {first}); keep one."))
            continue
        lines[(*where, key)] = line
        found[key] = _value(loader, value_node, (*where, key), lines, mistakes, inside)
    return found
