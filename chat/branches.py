"""The branches of a conversation: which one is kept, and how answers are gone on with or written beside others.

`messages.kept` marks what stands on the kept branch and nothing else: privacy/ reads it. Whatever changes the leaf to
anything but a child of the last one calls `keep_only_branch` in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from chat.db import Database
from chat.lists import Lists
from chat.stored import (
    ANCESTORS,
    Agreed,
    AnswerRunning,
    Author,
    CannotContinue,
    NotFound,
    StoredConversation,
    StoredMessage,
    as_message,
    dump,
    in_both,
    new_id,
    one_conversation,
    one_message,
    siblings_of,
)

PAGE_OF_MESSAGES = 40
LONGEST_PAGE = 400  # messages, where a branch is shown from one of its messages on

NOT_THE_LAST = "Only the newest answer of what is shown can be continued. Try again writes this one anew."
NOT_CUT_OFF = "This answer is complete: there is nothing to continue."
NO_WORD_YET = "This answer has no word yet that could be continued. Try again writes it anew."


class Branches(Lists):
    """Reading a branch, going on with its end, and changing to another."""

    def __init__(
        self, db: Database, clock: Callable[[], float], agreed: Agreed = lambda db, owner, conversation: None
    ) -> None:
        super().__init__(db, clock)
        self.agreed = agreed

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
            return found, *_page(db, start, limit)

        return await self.db.read(read)

    async def choose(self, owner: str, message: str) -> tuple[StoredConversation, list[StoredMessage], str | None]:
        """Keep the branch through `message`: the one that was shown last, or where none ever was, the newest.

        Returns what `branch` does, from `message` on where that is no more than `LONGEST_PAGE`. Raises `NotFound`,
        `AnswerRunning`.
        """
        now = self.clock()

        def write(db: sqlite3.Connection):
            chosen = one_message(db, owner, message)
            found = one_conversation(db, owner, chosen.conversation)
            if found.running:
                raise AnswerRunning
            leaf = _end_below(db, chosen)
            if leaf != found.leaf:
                keep_only_branch(db, found, leaf)
                # What is kept is what may be shared: like any change it begins the quiet period anew.
                db.execute(
                    "UPDATE conversations SET leaf = ?, revision = revision + 1, updated_at = max(updated_at, ?) WHERE id = ?",
                    (leaf, now, found.id),
                )
                found = one_conversation(db, owner, found.id)
            depth = db.execute("SELECT depth FROM messages WHERE id = ?", (leaf,)).fetchone()["depth"]
            length = depth - chosen.depth + 1
            limit = max(PAGE_OF_MESSAGES, length) if length <= LONGEST_PAGE else PAGE_OF_MESSAGES
            return found, *_page(db, leaf, limit)

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
            new = insert_answer(db, prompt, author, now, self.agreed(db, owner, found.id))
            keep_only_branch(db, found, new.id)
            return advance(db, found, author, found.system_prompt, new.id, now), prompt, new

        return await self.db.write(write)

    async def begin_continue(self, owner: str, answer: str) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Mark a cut-off answer, the end of the kept branch, as running again. Nothing of its text changes.

        Returns the conversation, the prompt, and the answer as it was. Raises `NotFound`, `AnswerRunning`, `CannotContinue`.
        """
        now = self.clock()

        def write(db: sqlite3.Connection):
            old = one_message(db, owner, answer)
            if old.role != "assistant":
                raise NotFound
            found = one_conversation(db, owner, old.conversation)
            if found.running:
                raise AnswerRunning
            if found.leaf != old.id:
                raise CannotContinue(NOT_THE_LAST)
            if old.state == "done" and old.finish_reason != "length":
                raise CannotContinue(NOT_CUT_OFF)
            if not old.content:
                raise CannotContinue(NO_WORD_YET)
            db.execute(
                "UPDATE messages SET state = 'running', finish_reason = NULL, error = NULL, continued = continued + 1,"
                " agreed = ? WHERE id = ?",
                (in_both(old.agreed, self.agreed(db, owner, found.id)), old.id),
            )
            db.execute(
                "UPDATE conversations SET revision = revision + 1, updated_at = max(updated_at, ?) WHERE id = ?",
                (now, found.id),
            )
            return one_conversation(db, owner, found.id), one_message(db, owner, old.parent), old

        return await self.db.write(write)


def insert(db: sqlite3.Connection, message: StoredMessage) -> None:
    db.execute(
        "INSERT INTO messages (id, conversation, parent, role, content, created_at, surface, model, model_revision, params,"
        " state, depth, agreed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            message.agreed,
        ),
    )


def insert_answer(
    db: sqlite3.Connection, prompt: StoredMessage, author: Author, now: float, agreed: str | None
) -> StoredMessage:
    """Raises `AnswerRunning`."""
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
        agreed=in_both(prompt.agreed, agreed),
    )
    insert(db, answer)
    return replace(answer, siblings=siblings_of(db, answer))


def keep_only_branch(db: sqlite3.Connection, found: StoredConversation, leaf: str) -> None:
    """Mark as kept what stands on the branch that ends with `leaf`, and when the rest left it. Touches this conversation
    alone, and all of it, so that a flag that was ever wrong is right again."""
    db.execute(
        "WITH RECURSIVE up AS (SELECT id, parent FROM messages WHERE id = :leaf"
        " UNION ALL SELECT m.id, m.parent FROM messages AS m JOIN up ON m.id = up.parent)"
        " UPDATE messages SET kept = NOT kept, left_at = iif(kept, :revision, left_at)"
        " WHERE conversation = :conversation AND kept <> (id IN (SELECT id FROM up))",
        {"leaf": leaf, "conversation": found.id, "revision": found.revision},
    )


def advance(
    db: sqlite3.Connection, found: StoredConversation, author: Author, system_prompt: str, leaf: str, now: float
) -> StoredConversation:
    """End the kept branch with `leaf`, and remember what the next turn will use."""
    db.execute(
        "UPDATE conversations SET leaf = ?, model = ?, params = ?, system_prompt = ?, revision = revision + 1,"
        " updated_at = max(updated_at, ?)"
        " WHERE id = ?",
        (leaf, author.model, dump(author.params), system_prompt, now, found.id),
    )
    return one_conversation(db, found.owner, found.id)


def _page(db: sqlite3.Connection, leaf: str | None, limit: int) -> tuple[list[StoredMessage], str | None]:
    rows = db.execute(ANCESTORS, {"start": leaf, "limit": limit}).fetchall()
    messages = [as_message(row) for row in reversed(rows)]
    messages = [replace(message, siblings=siblings_of(db, message)) for message in messages]
    return messages, messages[0].id if messages and messages[0].parent else None


def _end_below(db: sqlite3.Connection, message: StoredMessage) -> str:
    """The end of the branch below `message`, going down by what is kept, was shown last, or is newest."""
    rows = db.execute(
        "WITH RECURSIVE down (id) AS (SELECT :id UNION ALL SELECT (SELECT id FROM messages WHERE conversation = :conversation"
        " AND parent = down.id ORDER BY kept DESC, left_at DESC, created_at DESC, rowid DESC LIMIT 1)"
        " FROM down WHERE down.id IS NOT NULL) SELECT id FROM down WHERE id IS NOT NULL",
        {"id": message.id, "conversation": message.conversation},
    )
    return [row["id"] for row in rows][-1]
