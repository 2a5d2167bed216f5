"""The ledger and the outbox among the files that chat's backup keeps, which knows nothing of what they say."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from chat.db import Database
from chat.formats import BadFile
from privacy import saved
from privacy.forgetting import to_purge
from privacy.squashing import to_squash
from privacy.untold import is_untold


@dataclass(frozen=True, slots=True)
class SavedPart:
    """The files below `prefix`, as `chat.backup.Extra` asks for them. The ledger comes back before what rests on it."""

    db: Database
    prefix: str

    async def files(self) -> dict[str, bytes]:
        found = await self.db.read(saved.files)
        return {path: content for path, content in found.items() if path.startswith(self.prefix)}

    async def merge(self, files: Mapping[str, bytes]) -> None:
        try:
            await self.db.write(lambda db: saved.restore(db, files))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, sqlite3.Error):
            # Not the error's own words: they may quote the file.
            raise BadFile(
                f"A file of {self.prefix} cannot be read. It is left as it is: correct it where it is kept."
            ) from None


def saved_parts(db: Database) -> tuple[SavedPart, ...]:
    """In the order in which they must come back."""
    return SavedPart(db, "consent/"), SavedPart(db, "sharing/")


def waits_to_leave(db: sqlite3.Connection) -> bool:
    """Whether there is anything to do that only the holder of the lease may."""
    rows = db.execute("SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'publish')").fetchone()[0]
    return bool(rows) or takes_back(db) or is_untold(db) or bool(to_purge(db))


def takes_back(db: sqlite3.Connection) -> bool:
    """Whether a push has anything to take out of a dataset or of its history."""
    rows = db.execute("SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'retract')").fetchone()[0]
    return bool(rows) or bool(to_squash(db))
