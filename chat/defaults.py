"""What a visitor's new conversations with a model begin with: sampling settings and a system prompt, where they said so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chat.conversation import SamplingParams
from chat.db import Database


@dataclass(frozen=True, slots=True)
class OwnDefault:
    params: SamplingParams
    system_prompt: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"params": self.params.as_dict(), "system_prompt": self.system_prompt}


class OwnDefaults:
    """One per owner and model. `clock` gives unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock

    async def of(self, owner: str) -> dict[str, OwnDefault]:
        """By the model's name. One that this version's ranges no longer allow counts as none."""
        sql = "SELECT model, params, system_prompt FROM own_defaults WHERE owner = ? AND params IS NOT NULL ORDER BY model"
        found = {}
        for row in await self._db.read(lambda db: db.execute(sql, (owner,)).fetchall()):
            with suppress(ValueError):
                params = SamplingParams.from_mapping(json.loads(row["params"]))
                found[row["model"]] = OwnDefault(params, row["system_prompt"])
        return found

    async def set(self, owner: str, model: str, default: OwnDefault) -> None:
        await self._keep(owner, model, json.dumps(default.params.as_dict()), default.system_prompt)

    async def forget(self, owner: str, model: str) -> None:
        """The text is gone; that it was forgotten stays, so that no older copy of it comes back."""
        await self._keep(owner, model, None, "")

    async def _keep(self, owner: str, model: str, params: str | None, system_prompt: str) -> None:
        now = self._clock()

        def write(db: sqlite3.Connection) -> None:
            # Nothing is noted of somebody who is not kept, or never had one.
            known = db.execute("SELECT 1 FROM own_defaults WHERE owner = ? AND model = ?", (owner, model)).fetchone()
            if params is not None or known:
                db.execute(
                    "INSERT OR REPLACE INTO own_defaults (owner, model, params, system_prompt, set_at)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (owner, model, params, system_prompt, now),
                )

        await self._db.write(write)


def move(db: sqlite3.Connection, old: str, new: str) -> None:
    """What an owner set goes to another one, who keeps their own where both set one."""
    db.execute("UPDATE OR IGNORE own_defaults SET owner = ? WHERE owner = ?", (new, old))
    db.execute("DELETE FROM own_defaults WHERE owner = ?", (old,))
