"""Conversations in SQLite. Every method names the owner it works for; another owner's conversation does not exist for it.

A turn is a prompt (a user message) and one or more answers (assistant messages whose parent it is); a branch is a path of
parents. `Conversation.leaf` ends the kept branch.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from chat.conversation import Message, Role, SamplingParams
from chat.db import Database

State = Literal["running", "done", "stopped", "interrupted", "failed"]
Surface = Literal["page", "api", "import"]
Where = Literal["kept here", "safe", "saved"]

PAGE_OF_CONVERSATIONS = 50
PAGE_OF_MESSAGES = 40


class NotFound(Exception):
    """No such conversation or message, or it is another owner's: the caller cannot tell which."""


class AnswerRunning(Exception):
    """The conversation already has an answer being written."""


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
    messages above it on its branch. `siblings`: ids, oldest first, itself among them."""

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
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes an answer: model, its revision, and how it draws."""

    model: str
    revision: str | None
    params: SamplingParams


def new_id() -> str:
    """128 random bits as 32 hex digits. Never reused, and tells nothing about time or order."""
    return secrets.token_hex(16)


class Store:
    """`clock` gives Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self.db = db
        self.clock = clock

    # -- turns ------------------------------------------------------------------------------------------------------

    async def begin_turn(
        self, owner: str, conversation: str | None, text: str, author: Author, system_prompt: str, surface: Surface
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Keep a prompt and its empty, running answer, at the end of the kept branch; `conversation` None starts one.

        Raises `NotFound`, `AnswerRunning`.
        """
        now = self.clock()

        def write(db: sqlite3.Connection):
            id = conversation or new_id()
            if conversation is None:
                db.execute(
                    "INSERT INTO conversations (id, owner, title, model, system_prompt, params, created_at, updated_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (id, owner, title_from(text), author.model, system_prompt, _dump(author.params), now, now),
                )
            found = _conversation(db, owner, id)
            prompt = StoredMessage(
                new_id(), id, found.leaf, "user", text, now, surface, depth=_depth_below(db, found.leaf)
            )
            _insert(db, prompt)
            answer = _insert_answer(db, prompt, author, now)
            return _advance(db, found, author, system_prompt, answer.id, now), prompt, answer

        return await self.db.write(write)

    async def begin_retry(
        self, owner: str, answer: str, author: Author
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Keep a new running answer beside `answer`, by `author`; the kept branch now ends with it.

        Returns the conversation, the prompt and the new answer. Raises `NotFound`, `AnswerRunning`.
        """
        now = self.clock()

        def write(db: sqlite3.Connection):
            old = _message(db, owner, answer)
            if old.role != "assistant":
                raise NotFound
            found = _conversation(db, owner, old.conversation)
            prompt = _message(db, owner, old.parent)
            new = _insert_answer(db, prompt, author, now)
            _keep_only_branch(db, found.id, new.id)
            return _advance(db, found, author, found.system_prompt, new.id, now), prompt, new

        return await self.db.write(write)

    async def checkpoint(self, texts: dict[str, str]) -> None:
        """Keep what running answers (by id) have written so far, so that a crash loses a second of text at most."""
        await self.db.write(
            lambda db: db.executemany(
                "UPDATE messages SET content = ? WHERE id = ? AND state = 'running'",
                [(text, id) for id, text in texts.items()],
            )
        )

    async def finish_turn(
        self, answer: str, text: str, state: State, finish_reason: str | None = None, error: str | None = None
    ) -> bool:
        """Settle a running answer. False: it is no longer there (deleted meanwhile) or was settled before."""
        now = self.clock()

        def write(db: sqlite3.Connection) -> bool:
            changed = db.execute(
                "UPDATE messages SET content = ?, state = ?, finish_reason = ?, error = ?, settled_at = ?"
                " WHERE id = ? AND state = 'running'",
                (text, state, finish_reason, error, now, answer),
            ).rowcount
            if changed:
                db.execute(
                    "UPDATE conversations SET revision = revision + 1, updated_at = max(updated_at, ?) "
                    "WHERE id = (SELECT conversation FROM messages WHERE id = ?)",
                    (now, answer),
                )
            return bool(changed)

        return await self.db.write(write)

    async def interrupt_running(self, error: str) -> int:
        """Settle every answer that a crash left running, with the text logged so far. Returns how many."""
        now = self.clock()

        def write(db: sqlite3.Connection) -> int:
            db.execute(
                "UPDATE conversations SET revision = revision + 1"
                " WHERE id IN (SELECT conversation FROM messages WHERE state = 'running')"
            )
            return db.execute(
                "UPDATE messages SET state = 'interrupted', error = ?, settled_at = ? WHERE state = 'running'",
                (error, now),
            ).rowcount

        return await self.db.write(write)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def conversations(
        self, owner: str, before: str | None = None, limit: int = PAGE_OF_CONVERSATIONS
    ) -> tuple[list[StoredConversation], str | None]:
        """One page, newest first, and the key of the next (None: no more). `before` is such a key.

        Raises `ValueError` when `before` is no key.
        """
        at, id = _page_key(before) if before else (float("inf"), "")

        def read(db: sqlite3.Connection):
            rows = db.execute(
                f"{SELECT_CONVERSATION} WHERE owner = ? AND (updated_at, c.id) < (?, ?) "
                "ORDER BY updated_at DESC, c.id DESC LIMIT ?",
                (owner, at, id, limit + 1),
            ).fetchall()
            items = [_as_conversation(row) for row in rows[:limit]]
            return items, f"{items[-1].updated_at!r}:{items[-1].id}" if len(rows) > limit else None

        return await self.db.read(read)

    async def conversation(self, owner: str, id: str) -> StoredConversation:
        return await self.db.read(lambda db: _conversation(db, owner, id))

    async def message(self, owner: str, id: str) -> StoredMessage:
        return await self.db.read(lambda db: _message(db, owner, id))

    async def branch(
        self, owner: str, id: str, before: str | None = None, limit: int = PAGE_OF_MESSAGES
    ) -> tuple[StoredConversation, list[StoredMessage], str | None]:
        """The newest `limit` messages of the kept branch (or those above the message `before`), oldest first, and the id
        to ask for what stands above them (None: nothing)."""

        def read(db: sqlite3.Connection):
            found = _conversation(db, owner, id)
            start = found.leaf
            if before is not None:
                anchor = _message(db, owner, before)
                if anchor.conversation != id:
                    raise NotFound
                start = anchor.parent
            rows = db.execute(ANCESTORS, {"start": start, "limit": limit}).fetchall()
            messages = [_as_message(row) for row in reversed(rows)]
            messages = [replace(message, siblings=_siblings(db, message)) for message in messages]
            return found, messages, messages[0].id if messages and messages[0].parent else None

        return await self.db.read(read)

    async def context(self, prompt: StoredMessage, characters: int) -> list[Message]:
        """The newest messages of the branch that ends with `prompt`, oldest first, of about `characters` in all.

        Reads no more rows than it returns, so a long conversation costs what fits and no more. Roles alternate and the
        first is a user's, as chat templates demand: prompts that never got a word of answer join the one that follows.
        """

        def read(db: sqlite3.Connection) -> list[Message]:
            taken: list[Message] = []
            room = characters
            for row in db.execute(ANCESTORS, {"start": prompt.id, "limit": -1}):
                role, content = row["role"], row["content"]
                if taken and room < len(content):
                    break
                room -= len(content)
                if taken and taken[-1].role == role:
                    taken[-1] = Message(role, f"{content}\n\n{taken[-1].content}")
                elif content:
                    taken.append(Message(role, content))
            if taken[-1].role == "assistant":
                taken.pop()
            return taken[::-1]

        return await self.db.read(read)

    # -- changing ---------------------------------------------------------------------------------------------------

    async def rename(self, owner: str, id: str, title: str) -> StoredConversation:
        def write(db: sqlite3.Connection) -> StoredConversation:
            db.execute(
                "UPDATE conversations SET title = ?, revision = revision + 1 WHERE id = ? AND owner = ?",
                (title, id, owner),
            )
            return _conversation(db, owner, id)

        return await self.db.write(write)

    async def delete(self, owner: str, id: str | None = None) -> tuple[int, list[str]]:
        """Delete one conversation, or with None all of the owner's. A tombstone stands in its place for ever.

        Returns how many there were and the ids of their running answers: from here on those can write nothing, and the
        caller stops them. Raises `NotFound` where `id` is given and not the owner's.
        """
        now = self.clock()
        which, values = "owner = ?", [owner]
        if id is not None:
            which, values = "owner = ? AND id = ?", [owner, id]

        def write(db: sqlite3.Connection) -> tuple[int, list[str]]:
            running = db.execute(
                "SELECT id FROM messages WHERE state = 'running' AND "
                f"conversation IN (SELECT id FROM conversations WHERE {which})",
                values,
            ).fetchall()
            db.execute(
                "INSERT INTO tombstones (conversation, owner, deleted_at)"
                f" SELECT id, owner, ? FROM conversations WHERE {which}",
                [now, *values],
            )
            deleted = db.execute(f"DELETE FROM conversations WHERE {which}", values).rowcount
            if id is not None and not deleted:
                raise NotFound
            return deleted, [row["id"] for row in running]

        return await self.db.write(write)


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


def title_from(text: str, length: int = 60) -> str:
    """The first words of a prompt, in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + "…"


def _page_key(key: str) -> tuple[float, str]:
    at, _, id = key.partition(":")
    return float(at), id


def _dump(params: SamplingParams) -> str:
    return json.dumps(params.as_dict())


def _as_conversation(row: sqlite3.Row) -> StoredConversation:
    return StoredConversation(**{**dict(row), "params": SamplingParams(**json.loads(row["params"]))})


def _as_message(row: sqlite3.Row) -> StoredMessage:
    params = SamplingParams(**json.loads(row["params"])) if row["params"] else None
    return StoredMessage(**{**dict(row), "params": params, "kept": bool(row["kept"])})


def _conversation(db: sqlite3.Connection, owner: str, id: str) -> StoredConversation:
    row = db.execute(f"{SELECT_CONVERSATION} WHERE c.id = ? AND owner = ?", (id, owner)).fetchone()
    if row is None:
        raise NotFound
    return _as_conversation(row)


def _message(db: sqlite3.Connection, owner: str, id: str | None) -> StoredMessage:
    row = db.execute(
        "SELECT m.* FROM messages AS m JOIN conversations AS c ON c.id = m.conversation WHERE m.id = ? AND c.owner = ?",
        (id, owner),
    ).fetchone()
    if row is None:
        raise NotFound
    message = _as_message(row)
    return replace(message, siblings=_siblings(db, message))


def _siblings(db: sqlite3.Connection, message: StoredMessage) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT id FROM messages WHERE conversation = ? AND parent IS ? ORDER BY created_at, rowid",
        (message.conversation, message.parent),
    )
    return tuple(row["id"] for row in rows)


def _insert(db: sqlite3.Connection, message: StoredMessage) -> None:
    db.execute(
        "INSERT INTO messages (id, conversation, parent, role, content, created_at, surface, model, model_revision, params,"
        " state, depth) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.id,
            message.conversation,
            message.parent,
            message.role,
            message.content,
            message.created_at,
            message.surface,
            message.model,
            message.model_revision,
            _dump(message.params) if message.params else None,
            message.state,
            message.depth,
        ),
    )


def _insert_answer(db: sqlite3.Connection, prompt: StoredMessage, author: Author, now: float) -> StoredMessage:
    running = db.execute(
        "SELECT 1 FROM messages WHERE conversation = ? AND state = 'running'", (prompt.conversation,)
    ).fetchone()
    if running:
        raise AnswerRunning
    answer = StoredMessage(
        new_id(),
        prompt.conversation,
        prompt.id,
        "assistant",
        "",
        now,
        model=author.model,
        model_revision=author.revision,
        params=author.params,
        state="running",
        depth=prompt.depth + 1,
    )
    _insert(db, answer)
    return replace(answer, siblings=_siblings(db, answer))


def _depth_below(db: sqlite3.Connection, parent: str | None) -> int:
    row = db.execute("SELECT depth FROM messages WHERE id = ?", (parent,)).fetchone()
    return row["depth"] + 1 if row else 0


def _keep_only_branch(db: sqlite3.Connection, conversation: str, leaf: str) -> None:
    """Mark as kept what stands on the branch that ends with `leaf`. Touches this conversation alone."""
    db.execute(
        "WITH RECURSIVE up AS (SELECT id, parent FROM messages WHERE id = :leaf"
        " UNION ALL SELECT m.id, m.parent FROM messages AS m JOIN up ON m.id = up.parent)"
        " UPDATE messages SET kept = NOT kept WHERE conversation = :conversation AND kept <> (id IN (SELECT id FROM up))",
        {"leaf": leaf, "conversation": conversation},
    )


def _advance(
    db: sqlite3.Connection, found: StoredConversation, author: Author, system_prompt: str, leaf: str, now: float
) -> StoredConversation:
    db.execute(
        "UPDATE conversations SET leaf = ?, model = ?, params = ?, system_prompt = ?, revision = revision + 1, updated_at = ?"
        " WHERE id = ?",
        (leaf, author.model, _dump(author.params), system_prompt, now, found.id),
    )
    return _conversation(db, found.owner, found.id)
