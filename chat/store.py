"""Conversations in SQLite. Every method names the owner it works for; another owner's conversation does not exist for it.

A turn is a prompt (a user message) and one or more answers (assistant messages whose parent it is); a branch is a path of
parents. `Conversation.leaf` ends the kept branch. What is done with whole conversations stands in `chat/lists.py`.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace

from chat.branches import Branches, advance, insert, insert_answer, keep_only_branch
from chat.conversation import Message, Written
from chat.stored import (
    AnswerRunning,
    Author,
    NotFound,
    State,
    StoredConversation,
    StoredMessage,
    Surface,
    dump,
    new_id,
    one_conversation,
    one_message,
    siblings_of,
)

__all__ = [
    "AnswerRunning",
    "Author",
    "NotFound",
    "State",
    "Store",
    "StoredConversation",
    "StoredMessage",
    "Surface",
    "new_id",
]


# The end of a branch, newest first, until its characters exceed `room`. (SQLite counts them to a NUL at most.)
NEWEST = """
    WITH RECURSIVE up (parent, role, content, depth, model, omitted, size) AS (
        SELECT parent, role, content, depth, model, omitted, length(content) FROM messages WHERE id = :start
        UNION ALL
        SELECT m.parent, m.role, m.content, m.depth, m.model, m.omitted, up.size + length(m.content)
        FROM up JOIN messages AS m ON m.id = up.parent
        WHERE up.size <= :room AND m.depth >= :above
    )
    SELECT json_group_array(json_array(role, content, depth, model, omitted)) FROM up
"""


class AlreadySent(Exception):
    """A prompt of this id is kept already."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a model reads of a branch, oldest first. `omitted`: how many messages above were left out. `before`: the model
    of the answer before it, and how many were left out then."""

    messages: list[Message]
    omitted: int
    before: tuple[str, int] | None = None

    @property
    def size(self) -> int:
        """In characters."""
        return sum(len(message.content) for message in self.messages)


class Store(Branches):
    """The turns of conversations, beside what `Branches` and `Lists` do with them."""

    # -- turns ------------------------------------------------------------------------------------------------------

    async def begin_turn(
        self,
        owner: str,
        conversation: str | None,
        text: str,
        author: Author,
        system_prompt: str,
        surface: Surface,
        *,
        beside: str | None = None,
        prompt: str | None = None,
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Keep a prompt and its empty, running answer, at the end of the kept branch; `conversation` None starts one.

        `beside`: a prompt of the conversation; the new one becomes its sibling, and the kept branch ends with the new
        answer. `prompt`: the id of the new prompt, where it is known already. Raises `NotFound`, `AnswerRunning`,
        `AlreadySent`.
        """
        now = self.clock()

        def write(db: sqlite3.Connection):
            if prompt and db.execute("SELECT 1 FROM messages WHERE id = ?", (prompt,)).fetchone():
                raise AlreadySent
            id = conversation or new_id()
            if conversation is None:
                db.execute(
                    "INSERT INTO conversations (id, owner, title, model, system_prompt, params, created_at, updated_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (id, owner, title_from(text), author.model, system_prompt, dump(author.params), now, now),
                )
            found = one_conversation(db, owner, id)
            parent = found.leaf
            if beside:
                edited = one_message(db, owner, beside)
                if edited.conversation != id or edited.role != "user":
                    raise NotFound
                parent = edited.parent
            depth, agreed = _depth_below(db, parent), self.agreed(db, owner, id)
            new = StoredMessage(prompt or new_id(), id, parent, "user", text, now, surface, depth=depth, agreed=agreed)
            insert(db, new)
            answer = insert_answer(db, new, author, now, agreed)
            if beside:
                keep_only_branch(db, found, answer.id)
            new = replace(new, siblings=siblings_of(db, new))
            return advance(db, found, author, system_prompt, answer.id, now), new, answer

        return await self.db.write(write)

    async def turn(self, owner: str, prompt: str) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """A prompt with its conversation and its newest answer. Raises `NotFound`."""

        def read(db: sqlite3.Connection):
            found = one_message(db, owner, prompt)
            row = db.execute(
                "SELECT id FROM messages WHERE conversation = ? AND parent = ? ORDER BY kept DESC, created_at DESC",
                (found.conversation, prompt),
            ).fetchone()
            return one_conversation(db, owner, found.conversation), found, one_message(db, owner, row and row["id"])

        return await self.db.read(read)

    async def checkpoint(self, so_far: dict[str, Written]) -> None:
        """Keep what running answers (by id) have written so far, so that a crash loses a second of text at most."""
        await self.db.write(
            lambda db: db.executemany(
                "UPDATE messages SET content = ?, reasoning = ?, reasoning_seconds = ? WHERE id = ? AND state = 'running'",
                [(new.text, new.reasoning, new.reasoning_seconds, id) for id, new in so_far.items()],
            )
        )

    async def finish_turn(
        self,
        answer: str,
        written: str | Written,
        state: State,
        finish_reason: str | None = None,
        error: str | None = None,
        omitted: int | None = None,
    ) -> bool:
        """Settle a running answer. False: it is no longer there (deleted meanwhile) or was settled before.

        `omitted`: how many messages above it its model did not read; None: it was not asked."""
        now = self.clock()
        new = Written(written) if isinstance(written, str) else written

        def write(db: sqlite3.Connection) -> bool:
            changed = db.execute(
                "UPDATE messages SET content = ?, reasoning = ?, reasoning_seconds = ?, state = ?, finish_reason = ?,"
                " error = ?, settled_at = ?, omitted = coalesce(?, omitted) WHERE id = ? AND state = 'running'",
                (new.text, new.reasoning, new.reasoning_seconds, state, finish_reason, error, now, omitted, answer),
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

    async def message(self, owner: str, id: str) -> StoredMessage:
        return await self.db.read(lambda db: one_message(db, owner, id))

    async def context(self, prompt: StoredMessage, characters: int, above: int = 0) -> Context:
        """The newest messages of the branch that ends with `prompt`, oldest first, of about `characters` in all, without
        the first `above` of the branch.

        Reads one row more than it returns at most, so a long conversation costs what fits and no more. Roles alternate and the
        first is a user's, as chat templates demand: prompts that never got a word of answer join the one that follows.
        """

        def read(db: sqlite3.Connection) -> Context:
            taken: list[tuple[Message, int]] = []
            before: tuple[str, int] | None = None
            room = characters
            start = {"start": prompt.id, "room": characters, "above": above}
            # One row: between two the thread would have to come by Python's lock again, which the streams hold.
            [[rows]] = db.execute(NEWEST, start)
            for role, content, depth, model, omitted in json.loads(rows):
                if taken and (room < len(content) or depth < above):
                    break
                if role == "assistant" and before is None:
                    before = model, omitted
                room -= len(content)
                if taken and taken[-1][0].role == role:
                    taken[-1] = Message(role, f"{content}\n\n{taken[-1][0].content}"), depth
                elif content:
                    taken.append((Message(role, content), depth))
            if taken[-1][0].role == "assistant":
                taken.pop()
            return Context([message for message, _ in taken[::-1]], taken[-1][1], before)

        return await self.db.read(read)


def title_from(text: str, length: int = 60) -> str:
    """The first words of a prompt, in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + "…"


def _depth_below(db: sqlite3.Connection, parent: str | None) -> int:
    row = db.execute("SELECT depth FROM messages WHERE id = ?", (parent,)).fetchone()
    return row["depth"] + 1 if row else 0
