"""Conversations in SQLite. Every method names the owner it works for; another owner's conversation does not exist for it.

A turn is a prompt (a user message) and one or more answers (assistant messages whose parent it is); a branch is a path of
parents. `Conversation.leaf` ends the kept branch. What is done with whole conversations stands in `chat/lists.py`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from chat.conversation import Message, Written
from chat.lists import Lists
from chat.stored import (
    ANCESTORS,
    AnswerRunning,
    Author,
    NotFound,
    State,
    StoredConversation,
    StoredMessage,
    Surface,
    as_message,
    dump,
    new_id,
    one_conversation,
    one_message,
    siblings_of,
)

PAGE_OF_MESSAGES = 40


class Store(Lists):
    """The turns of conversations, beside what `Lists` does with whole ones."""

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
                    (id, owner, title_from(text), author.model, system_prompt, dump(author.params), now, now),
                )
            found = one_conversation(db, owner, id)
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
            old = one_message(db, owner, answer)
            if old.role != "assistant":
                raise NotFound
            found = one_conversation(db, owner, old.conversation)
            prompt = one_message(db, owner, old.parent)
            new = _insert_answer(db, prompt, author, now)
            _keep_only_branch(db, found.id, new.id)
            return _advance(db, found, author, found.system_prompt, new.id, now), prompt, new

        return await self.db.write(write)

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
    ) -> bool:
        """Settle a running answer. False: it is no longer there (deleted meanwhile) or was settled before."""
        now = self.clock()
        new = Written(written) if isinstance(written, str) else written

        def write(db: sqlite3.Connection) -> bool:
            changed = db.execute(
                "UPDATE messages SET content = ?, reasoning = ?, reasoning_seconds = ?, state = ?, finish_reason = ?,"
                " error = ?, settled_at = ? WHERE id = ? AND state = 'running'",
                (new.text, new.reasoning, new.reasoning_seconds, state, finish_reason, error, now, answer),
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

    async def branch(
        self, owner: str, id: str, before: str | None = None, limit: int = PAGE_OF_MESSAGES
    ) -> tuple[StoredConversation, list[StoredMessage], str | None]:
        """The newest `limit` messages of the kept branch (or those above the message `before`), oldest first, and the id
        to ask for what stands above them (None: nothing)."""

        def read(db: sqlite3.Connection):
            found = one_conversation(db, owner, id)
            start = found.leaf
            if before is not None:
                anchor = one_message(db, owner, before)
                if anchor.conversation != id:
                    raise NotFound
                start = anchor.parent
            rows = db.execute(ANCESTORS, {"start": start, "limit": limit}).fetchall()
            messages = [as_message(row) for row in reversed(rows)]
            messages = [replace(message, siblings=siblings_of(db, message)) for message in messages]
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


def title_from(text: str, length: int = 60) -> str:
    """The first words of a prompt, in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + "…"


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
            dump(message.params) if message.params else None,
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
    return replace(answer, siblings=siblings_of(db, answer))


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
        (leaf, author.model, dump(author.params), system_prompt, now, found.id),
    )
    return one_conversation(db, found.owner, found.id)
