"""What keeps a row back for its owner's preview: it quotes the system prompt, has a phrase that the operator blocks, or was
flagged, which is to say that its owner called an answer in it harmful."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

KeptBack = Literal["redaction", "instruction", "blocked", "flagged"]  # redaction: it failed

FLAG = "harmful"  # the reason for a rating that flags an answer

SHORTEST_QUOTE = 20  # characters: a shorter system prompt says nothing that is not said anyway
WORDS = 8  # in a row, the same in a text and in the system prompt


def plain(text: str) -> str:
    """The text without what does not change what it says: case, width, spaces, invisible characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    visible = "".join(character for character in folded if unicodedata.category(character) != "Cf")
    return " ".join(visible.split())


def quotes(text: str, instruction: str) -> bool:
    """Whether `text` has `WORDS` words in a row of `instruction`, or all of a shorter one."""
    said, asked = plain(text).split(), plain(instruction).split()
    if len(" ".join(asked)) < SHORTEST_QUOTE:
        return False
    length = min(WORDS, len(asked))
    pieces = {tuple(asked[start : start + length]) for start in range(len(asked) - length + 1)}
    return any(tuple(said[start : start + length]) in pieces for start in range(len(said) - length + 1))


def reason_to_keep(texts: Iterable[str], instruction: str, blocked: Iterable[str]) -> KeptBack | None:
    """`blocked`: phrases of the operator's, canaries among them."""
    phrases = [plain(phrase) for phrase in blocked]
    for text in texts:
        if phrases and any(phrase in plain(text) for phrase in phrases if phrase):
            return "blocked"
        if instruction and quotes(text, instruction):
            return "instruction"
    return None
