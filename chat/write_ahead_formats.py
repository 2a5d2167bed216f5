"""What a write-ahead object holds: one line, of a kind that its name tells. Pure: values in, bytes out.

    <replica>/conversation-<random>.jsonl    what changed of a conversation: all of it but messages that did not change
    <replica>/owner-<random>.jsonl           as a line of accounts/
    <replica>/tombstone-<random>.jsonl       as a line of tombstones/
    <replica>/extra-<random>.jsonl           lines that are new in files of another part

The formats and their numbers are those of `chat.formats`.
"""

from __future__ import annotations

import re

from chat import formats
from chat.formats import SavedConversation, SavedOwner, SavedTombstone

_PATH = re.compile(r"([0-9a-f]{16})/(conversation|owner|tombstone|extra)-[0-9a-f]{24}\.jsonl")


class SavedChange(SavedConversation):
    """A conversation without the messages that stand elsewhere, so its messages are no tree of their own."""

    def _is_a_tree(self) -> SavedChange:
        return self


class SavedLines(formats.Line):
    """New lines of other parts' files, by path."""

    format: int = formats.FORMAT
    lines: dict[str, str]


KINDS = {"conversation": SavedChange, "owner": SavedOwner, "tombstone": SavedTombstone, "extra": SavedLines}


def replica_and_kind(path: str) -> tuple[str, str] | None:
    """Who wrote an object, and which of `KINDS` it is; None for any other path."""
    found = _PATH.fullmatch(path)
    return (found[1], found[2]) if found else None
