"""What users do on one machine, one action at a time; each acknowledged one is told to `note`."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from chat.store import AnswerRunning, NotFound
from tests.support.backing import AUTHOR, Machine, owner_of

OWNERS = 8
ACTIONS = {"turn": 60, "begin": 5, "end": 8, "retry": 6, "rename": 7, "delete": 12, "delete all": 1}
# What an action tells: ("trying" | "write", text, conversation) or ("deleting" | "delete", text, conversation): what is about
# to be done, as the process may end before it can say that it was, and what was acknowledged. A deletion's text is all that
# goes with it.
Note = Callable[[str, str, str], None]


class Users:
    """Users of one machine. `prefix` begins every text they write, so that no two are alike anywhere."""

    def __init__(self, machine: Machine, prefix: str, note: Note) -> None:
        self._machine = machine
        self._prefix = prefix
        self._note = note
        self._texts = 0
        self._running: list[tuple[str, str]] = []  # answer, conversation
        self._creating = asyncio.Lock()  # or a new conversation would be deleted with all the others, unsaid

    async def act(self, rng: random.Random) -> str:
        """Do one thing that is drawn; returns what it was."""
        (action,) = rng.choices(list(ACTIONS), list(ACTIONS.values()))
        owner = owner_of(rng.randrange(OWNERS))
        chosen = rng.random()
        found, _ = await self._machine.store.conversations(owner)
        conversation = found[int(chosen * len(found))].id if found else None
        try:
            await self._act(action, owner, conversation, rng)
        except (AnswerRunning, NotFound):
            return "refused"
        return action

    async def _act(self, action: str, owner: str, conversation: str | None, rng: random.Random) -> None:
        store = self._machine.store
        if action == "end":
            if self._running:
                answer, of = self._running.pop(rng.randrange(len(self._running)))
                await self._end(answer, of)
        elif conversation is None or action in ("turn", "begin"):
            new = conversation is None or rng.random() < 0.4
            await self._turn(owner, None if new else conversation, ended=action != "begin")
        elif action == "retry":
            _, messages, _ = await store.branch(owner, conversation)
            _, _, answer = await store.begin_retry(owner, messages[-1].id, AUTHOR)
            await self._end(answer.id, conversation)
        elif action == "rename":
            title = self._text("title")
            self._note("trying", title, conversation)
            await store.rename(owner, conversation, title)
        else:
            await self._delete(owner, conversation if action == "delete" else None)

    async def _turn(self, owner: str, conversation: str | None, ended: bool) -> None:
        await self._machine.owner(owner)
        text = self._text("prompt")
        async with self._creating:
            found, _, answer = await self._machine.store.begin_turn(owner, conversation, text, AUTHOR, "", "page")
            self._note("write", text, found.id)
        if ended:
            await self._end(answer.id, found.id)
        else:
            self._running.append((answer.id, found.id))

    async def _end(self, answer: str, conversation: str) -> None:
        text = self._text("answer")
        self._note("trying", text, conversation)
        if await self._machine.store.finish_turn(answer, text, "done", "stop"):
            self._note("write", text, conversation)

    async def _delete(self, owner: str, conversation: str | None) -> None:
        def ids(db: Any) -> list[str]:
            return [row[0] for row in db.execute("SELECT id FROM conversations WHERE owner = ?", (owner,))]

        async with self._creating:
            doomed = [conversation] if conversation else await self._machine.db.read(ids)
            for id in doomed:
                self._note("deleting", "\n".join(await self._machine.db.read(partial(_texts, id))), id)
            await self._machine.store.delete(owner, conversation)
        for id in doomed:
            self._note("delete", "", id)

    def _text(self, kind: str) -> str:
        self._texts += 1
        return f"<{self._prefix}-{self._texts}-{kind}>"


def _texts(conversation: str, db: sqlite3.Connection) -> list[str]:
    rows = db.execute(
        "SELECT content FROM messages WHERE conversation = ? UNION SELECT title FROM conversations WHERE id = ?",
        (conversation, conversation),
    )
    return [row[0] for row in rows]
