"""What the store's tables hold, as values, and how rows become them. Every look-up names the owner it is for."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from chat.conversation import Role, SamplingParams

State = Literal["running", "done", "stopped", "interrupted", "failed"]
Surface = Literal["page", "api", "import"]
Where = Literal["kept here", "safe", "saved"]
TitleBy = Literal["words", "model", "visitor"]  # the prompt's first words, the model, or its owner


class NotFound(Exception):
    """No such conversation or message, or it is another owner's: the caller cannot tell which."""


class AnswerRunning(Exception):
    """The conversation already has an answer being written."""


class CannotContinue(Exception):
    """This answer cannot be gone on with; `str(error)` says why and what to do."""


@dataclass(frozen=True, slots=True)
class StoredConversation:
    id: str
    owner: str
    title: str
    model: str
    system_prompt: str
    params: SamplingParams
    leaf: str | None
    revision: int
    created_at: float
    updated_at: float
    saved_revision: int = 0
    part: int | None = None
    pinned: bool = False
    archived: bool = False
    title_by: TitleBy = "words"
    safe_revision: int = 0
    running: str | None = None

    @property
    def where(self) -> Where:
        """Where all of it is, as it is now: in the private dataset, in write-ahead objects, or on this disk alone."""
        if self.saved_revision >= self.revision:
            return "saved"
        return "safe" if self.safe_revision >= self.revision else "kept here"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message. `model` to `error` are None on a prompt, `surface` on an answer. `kept`: on the kept branch. `depth`:
    messages above it on its branch. `agreed`: see `Agreed`. `reasoning`: of an answer, apart from its content. `siblings`: ids, oldest first, itself among them."""

    id: str
    conversation: str
    parent: str | None
    role: Role
    content: str
    created_at: float
    surface: Surface | None = None
    model: str | None = None
    model_revision: str | None = None
    params: SamplingParams | None = None
    state: State | None = None
    finish_reason: str | None = None
    error: str | None = None
    kept: bool = True
    depth: int = 0
    settled_at: float | None = None
    reasoning: str | None = None
    reasoning_seconds: float | None = None
    omitted: int = 0
    continued: int = 0
    left_at: int = 0
    agreed: str | None = None
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes an answer: model, its revision, and how it draws."""

    model: str
    revision: str | None
    params: SamplingParams


# What is agreed to of what an owner writes now in a conversation of theirs: ids, each followed by a comma; None: not asked.
# It is asked in the transaction that keeps a prompt or an answer, and kept with it.
Agreed = Callable[[sqlite3.Connection, str, str], str | None]


def in_both(one: str | None, other: str | None) -> str | None:
    """The ids that two messages were both agreed to under; None is no word about it."""
    if one is None or other is None:
        return other if one is None else one
    return "".join(f"{id}," for id in one.split(",") if id and f"{id}," in other)


def new_id() -> str:
    """128 random bits as 32 hex digits. Never reused, and tells nothing about time or order."""
    return secrets.token_hex(16)


SELECT_CONVERSATION = """
    SELECT c.*, (SELECT id FROM messages WHERE conversation = c.id AND state = 'running') AS running
    FROM conversations AS c
"""

# UNION ALL hands the rows on as it walks, so a reader that stops early has paid only for what it read.
ANCESTORS = """
    WITH RECURSIVE up AS (
        SELECT * FROM messages WHERE id = :start
        UNION ALL
        SELECT messages.* FROM messages JOIN up ON messages.id = up.parent
        LIMIT :limit
    )
    SELECT * FROM up
"""


# Columns that only the list and the search go by.
_OF_THE_LIST = ("deletion", "deletes_at", "title_entry")


def dump(params: SamplingParams) -> str:
    return json.dumps(params.as_dict())


def as_conversation(row: sqlite3.Row) -> StoredConversation:
    values = {name: row[name] for name in row.keys() if name not in _OF_THE_LIST}  # noqa: SIM118
    params = SamplingParams(**json.loads(row["params"]))
    flags = {"pinned": bool(row["pinned"]), "archived": bool(row["archived"])}
    return StoredConversation(**{**values, **flags, "params": params})


def as_message(row: sqlite3.Row) -> StoredMessage:
    params = SamplingParams(**json.loads(row["params"])) if row["params"] else None
    values = {name: row[name] for name in row.keys() if name != "search_entry"}  # noqa: SIM118
    return StoredMessage(**{**values, "params": params, "kept": bool(row["kept"])})


def one_conversation(db: sqlite3.Connection, owner: str, id: str) -> StoredConversation:
    row = db.execute(
        f"{SELECT_CONVERSATION} WHERE c.id = ? AND owner = ? AND deletes_at IS NULL", (id, owner)
    ).fetchone()
    if row is None:
        raise NotFound
    return as_conversation(row)


def one_message(db: sqlite3.Connection, owner: str, id: str | None) -> StoredMessage:
    row = db.execute(
        "SELECT m.* FROM messages AS m JOIN conversations AS c ON c.id = m.conversation"
        " WHERE m.id = ? AND c.owner = ? AND c.deletes_at IS NULL",
        (id, owner),
    ).fetchone()
    if row is None:
        raise NotFound
    message = as_message(row)
    return replace(message, siblings=siblings_of(db, message))


def siblings_of(db: sqlite3.Connection, message: StoredMessage) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT id FROM messages WHERE conversation = ? AND parent IS ? ORDER BY created_at, rowid",
        (message.conversation, message.parent),
    )
    return tuple(row["id"] for row in rows)
