"""Which runs of the app may have been told something that they did not save: in the private dataset a file says of each that
it runs, and the commit with the last that it was told takes that file away.

    running/<disk>/<run>     nothing but that it is there

Where an empty disk is filled, or one that was put back to a snapshot, and such a file of another run is there, a disk may be
lost, and with it what somebody took back in its last seconds. For one quiet period nothing new leaves then: whoever said no
sees that it does not hold, and says it again. A run that is well reads that it was taken for lost, and goes on under another
name, in the commit with all that it was told; nobody waits for it any more.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping

from chat.backup_rows import saved_files
from chat.db import Database
from privacy.notes import note, set_note

PREFIX = "running/"
MARK = b'{"format": 1}\n'
DISK = "disk"  # the note of this disk's name
FILLED = "filled"  # the note that it was looked for lost runs when this disk was filled


class Running:
    """This run's side, and what `chat.backup` asks of an `Extra`. `quiet`: seconds."""

    prefix = PREFIX

    def __init__(self, db: Database, clock: Callable[[], float], quiet: float) -> None:
        self._db, self._clock, self._quiet = db, clock, quiet
        self._runs = False

    async def begin(self) -> None:
        """Before anybody is served: from the next commit on it is known that this run may be told something."""
        self._runs = True
        await self._db.write(_new_run)

    async def stop(self) -> None:
        """Nobody is served any more: the next commit has all that this run was told."""
        self._runs = False
        await self._db.write(_mark_stale)

    async def files(self) -> dict[str, bytes]:
        if self._runs and await self._db.read(_is_taken_for_lost):
            await self._db.write(_new_run)
        return dict.fromkeys(await self._db.read(lambda db: _marks(db, self._runs, self._clock() - self._quiet)), MARK)

    async def merge(self, files: Mapping[str, bytes]) -> None:
        """That they are there is all they say, and the backup knows it."""


def find_lost(db: sqlite3.Connection, now: float) -> None:
    """All that the private dataset holds is here: note which runs are lost, if this disk was empty, or forgot runs of its own."""
    filled, disk = note(db, FILLED), note(db, DISK)
    for path in saved_files(db, PREFIX):
        _, its_disk, run = path.split("/")
        if not _is_own(db, run) and (filled is None or its_disk == disk):
            db.execute("INSERT OR IGNORE INTO lost_runs VALUES (?, ?)", (run, now))
    set_note(db, FILLED, "yes")


def held_until(db: sqlite3.Connection, quiet: float, now: float) -> float | None:
    """Until when, Unix seconds, nothing new leaves, since what somebody took back may be lost; None: it may leave."""
    found = [row["found_at"] for path in saved_files(db, PREFIX) for row in [_lost(db, path.split("/")[-1])] if row]
    until = max(found, default=float("-inf")) + quiet
    return until if now < until else None


def _marks(db: sqlite3.Connection, runs: bool, before: float) -> list[str]:
    """Which files are to be there: those of others, without them that were taken for lost by `before`, and this run's."""
    found = []
    for path in saved_files(db, PREFIX):
        run = path.split("/")[-1]
        lost = _lost(db, run)
        if not _is_own(db, run) and (lost is None or lost["found_at"] > before):
            found.append(path)
    return found + [f"{PREFIX}{note(db, DISK)}/{_run(db)}"] * runs


def _new_run(db: sqlite3.Connection) -> None:
    if note(db, DISK) is None:
        set_note(db, DISK, secrets.token_hex(8))
    db.execute("INSERT INTO runs (id) VALUES (?)", (secrets.token_hex(8),))
    _mark_stale(db)


def _mark_stale(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO stale_extras (prefix) VALUES (?) ON CONFLICT DO UPDATE SET marks = marks + 1", (PREFIX,))


def _run(db: sqlite3.Connection) -> str:
    return db.execute("SELECT id FROM runs ORDER BY number DESC LIMIT 1").fetchone()["id"]


def _is_own(db: sqlite3.Connection, run: str) -> bool:
    return db.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone() is not None


def _lost(db: sqlite3.Connection, run: str) -> sqlite3.Row | None:
    return db.execute("SELECT found_at FROM lost_runs WHERE id = ?", (run,)).fetchone()


def _is_taken_for_lost(db: sqlite3.Connection) -> bool:
    return _lost(db, _run(db)) is not None
