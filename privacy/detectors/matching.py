"""What a detector is: something that finds a pattern, and a check that the value found is one.

A pattern is RE2 over Latin-1 bytes: no backtracking, so no text makes it slow. In the copy 0xE9 stands for any letter of an
alphabet beyond ASCII and 0x00 for what an earlier detector took; no pattern matches that byte, a square bracket, or a
placeholder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import re2
from stdnum.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class Finding:
    """`start` and `end` in the plain copy; `canonical`: one spelling for all that mean the same, "" for the value itself."""

    kind: str
    start: int
    end: int
    canonical: str = ""


@dataclass(slots=True)
class Budget:
    """How many telephone numbers are still looked up in one text. Beyond it every candidate counts as found, so a text
    made to be slow loses more of its digits instead."""

    lookups: int = 2_000

    def spend(self) -> bool:
        self.lookups -= 1
        return self.lookups >= 0


Detector = Callable[[bytes, Budget], Iterator[Finding]]
# Given the value and the budget: "" (it is none) or its canonical spelling.
Check = Callable[[str, Budget], str]


def compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile(pattern.encode("latin-1"), options)


def matching(kind: str, pattern: str, check: Check | None = None, before: str = "", after: str = "") -> Detector:
    """A detector of `pattern`; where it has a group, the first that matched is the value.

    `before`, `after`: characters that must not touch the value. A candidate that fails is looked at again from its next
    character on.
    """
    expression = compiled(pattern)
    groups = expression.groups
    stops_before, stops_after = frozenset(before.encode()), frozenset(after.encode())

    def find(data: bytes, budget: Budget) -> Iterator[Finding]:
        at = 0
        while (match := expression.search(data, at)) is not None:
            group = next((number for number in range(1, groups + 1) if match.start(number) >= 0), 0)
            start, end = match.start(group), match.end(group)
            touched = (start and data[start - 1] in stops_before) or (end < len(data) and data[end] in stops_after)
            value = "" if touched else data[start:end].decode("latin-1")
            canonical = (check(value, budget) if check else value.lower()) if value else ""
            if canonical:
                yield Finding(kind, start, end, canonical)
                at = max(end, match.start() + 1)
            else:
                at = match.start() + 1

    return find


def digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def valid(module, strip: str = " -./") -> Check:
    """A check by a module of python-stdnum."""

    def check(value: str, _: Budget) -> str:
        plain = value.upper().translate({ord(letter): None for letter in strip})
        try:
            module.validate(plain)
        except ValidationError:
            return ""
        return plain

    return check
