"""Words for the search: the same ones are made of what is kept and of what is looked for.

A word is a run of letters and digits without case and accents; scripts that put no spaces between words are taken
character by character. In the index each word begins with its owner's, so that one person's search reads that person's
words alone: nobody else's make it slower, or answer it.

What is in the index is taken out by making its words again: whoever changes them here must have the index made anew.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_QUERY = 400  # characters that are looked at
MOST_WORDS = 16
LONGEST_WORD = 64  # characters of a word that count
SHORTEST_BEGINNING = 2  # characters of the word being typed before it counts as a beginning
OWNER_CHARACTERS = 12
SNIPPET = 160  # characters

# Thai to Burmese, Khmer, and Chinese and Japanese.
_ALONE = (
    "\u0e01-\u0ec6\u1000-\u102a\u103f-\u104f\u1780-\u17b3\u2e80-\u2fd5\u3005-\u3007\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Marks that stand within a word and are no letters to `re`.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0980-\u0dff"
)
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}_])[\w{_MARKS}])+")
_PLAIN_WORD = re.compile("[0-9a-z]+")
_NOT_IN_A_TOKEN = re.compile(r"[\x00-\x2f\x3a-\x60\x7b-\x7f]")
_WITHOUT_STROKE = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe"})
_PART = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')


def fold(word: str) -> str:
    """A word without case, accents and width; "" where nothing is left."""
    if word.isascii():
        return word.lower()[:LONGEST_WORD]
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    kept = "".join(letter for letter in plain if unicodedata.category(letter)[0] != "M")
    return _NOT_IN_A_TOKEN.sub("", kept.translate(_WITHOUT_STROKE))[:LONGEST_WORD]


def places(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of `text`, folded, each with where it begins and ends."""
    for found in _WORD.finditer(text):
        if folded := fold(found[0]):
            yield folded, found.start(), found.end()


def words(text: str) -> list[str]:
    """The words of `text`, folded, in order."""
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _PLAIN_WORD.findall(text.lower())]
    return [folded for found in _WORD.findall(text) if (folded := fold(found))]


def tokens(owner: str, text: str) -> str:
    """What the index is given for `text` of `owner`."""
    mark = owner[:OWNER_CHARACTERS]
    return " ".join([mark + word for word in words(text)])


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: phrases of one word or more, all of which must be there; of `begun` ones the last word is the
    beginning of one."""

    phrases: tuple[tuple[str, ...], ...]
    begun: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def match(self, owner: str) -> str:
        """The expression for the index. It holds no character of the query but those of words."""
        mark = owner[:OWNER_CHARACTERS]
        return " AND ".join(
            '"' + " ".join(mark + word for word in phrase) + '"' + ("*" if at in self.begun else "")
            for at, phrase in enumerate(self.phrases)
        )


def parse(text: str) -> Query:
    """Words, "phrases in quotation marks" and beginnings*; the word being typed is a beginning. No text is an error."""
    text = text[:LONGEST_QUERY].replace("“", '"').replace("”", '"').replace("„", '"')
    phrases: list[tuple[str, ...]] = []
    begun, room = set(), MOST_WORDS
    for part in _PART.finditer(text):
        quoted, star, bare = part.groups()
        phrase = tuple(words(bare or quoted or ""))[:room]
        if not phrase:
            continue
        room -= len(phrase)
        typing = bare is not None and part.end() == len(text) and len(phrase[-1]) >= SHORTEST_BEGINNING
        if star or typing or (bare or "").endswith("*"):
            begun.add(len(phrases))
        phrases.append(phrase)
        if not room:
            break
    return Query(tuple(phrases), frozenset(begun))


def marked(text: str, query: Query, around: int | None = SNIPPET) -> list[tuple[str, bool]]:
    """`text`, cut to about `around` characters where the query is found first (None: all of it), as pieces in order;
    those that are found are True."""
    found = _found(list(places(text)), query)
    start, end = 0, len(text)
    if around is not None and len(text) > around:
        first = found[0][0] if found else 0
        start = max(0, min(first - around // 4, len(text) - around))
        end = min(len(text), start + around)
        # Whole words at both ends, where there are spaces.
        if start and (space := text.find(" ", start, min(first, start + 20))) >= 0:
            start = space + 1
        if end < len(text) and (space := text.rfind(" ", max(start, end - 20), end)) > 0:
            end = space
    pieces: list[tuple[str, bool]] = [("…", False)] if start else []
    at = start
    for begin, stop in found:
        if begin < at or stop > end:
            continue
        pieces += [(text[at:begin], False), (text[begin:stop], True)]
        at = stop
    pieces += [(text[at:end], False), ("…" if end < len(text) else "", False)]
    return [piece for piece in pieces if piece[0]]


def _found(given: list[tuple[str, int, int]], query: Query) -> list[tuple[int, int]]:
    """Where the phrases of `query` stand, in order and without overlap."""
    spans = set()
    for at, phrase in enumerate(query.phrases):
        last = len(phrase) - 1
        for first in range(len(given) - last):
            if all(
                given[first + n][0] == word
                or (n == last and at in query.begun and given[first + n][0].startswith(word))
                for n, word in enumerate(phrase)
            ):
                spans.add((given[first][1], given[first + last][2]))
    kept: list[tuple[int, int]] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
