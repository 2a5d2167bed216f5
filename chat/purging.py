"""Rewriting the history of the private dataset, so that what was deleted from it is in no commit, and seeing that it is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from sqlite3 import Connection

from chat import backup_rows as rows
from chat.backup_reader import Reader
from chat.dataset_repo import Conflict, DatasetRepo, Denied, Threads, Unreachable
from chat.db import Database
from chat.lease import Lease

PURGE_AFTER = 600.0  # seconds that purges wait for each other
SOONEST = 30.0  # seconds after a deletion, at most
STILL_ANSWERS = (
    "The Hub still answers for versions of {} from before its history was rewritten, so what was deleted can still be read "
    "there. This is tried again; if it stays so, stop the app and run `python -m chat.rotate`."
)


class Purging:
    """`apart`: seconds that purges wait for each other; `soonest`: for other deletions. Only the holder of `lease` purges."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float],
        threads: Threads,
        reader: Reader,
        lease: Lease,
        apart: float,
        soonest: float = SOONEST,
    ) -> None:
        self._db, self._clock, self._threads = db, clock, threads
        self._reader, self._lease, self._apart = reader, lease, apart
        self.look = (
            _nowhere  # see what else may hold what was deleted, and have it go; where that fails, nothing is purged
        )
        self._soonest = min(SOONEST, soonest, apart)

    async def is_due(self) -> bool:
        purge_at = await self._db.read(lambda db: rows.state(db, "purge_at"))
        return purge_at is not None and float(purge_at) <= self._clock()

    async def at_once(self) -> None:
        """Make it due."""
        await self._db.write(lambda db: rows.set_state(db, "purge_at", "0.0"))

    def after_deletions(self, db: Connection) -> None:
        """Within the transaction that notes deletions as saved."""
        rows.schedule_purge(db, self._clock() + self._soonest, self._apart)

    async def after_reading(self) -> None:
        """Another replica may have purged, or deleted and not be there any more to purge. It goes first."""
        later = self._clock() + self._apart + SOONEST
        await self._db.write(lambda db: rows.reconsider_purge(db, later, self._apart))

    async def rewrite(self, repo: DatasetRepo, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Rewrite it now, and see that it is gone: only then are deletions called purged. Raises `RepoError`.

        `catch_up` reads the head that is there then.
        """

        await self.look()

        def begin(db: Connection) -> tuple[str, list[str]]:
            # Kept until it is seen to be gone: a squash that is broken off moves the head as well.
            old = rows.state(db, "unpurged") or rows.state(db, "head") or ""
            rows.set_state(db, "unpurged", old)
            return old, rows.to_purge(db, self._reader.left)

        old, going = await self._db.write(begin)
        if not self._lease.held():
            raise Unreachable(f"Another app works on {repo.id}; its history is rewritten after that.")
        try:
            head = await self._threads.run(repo.squash, "Keep no history")
            await self._threads.run(repo.purge)
            if old != head and await self._answers(repo, old):
                raise Denied(STILL_ANSWERS.format(repo.id))
        except Denied:
            # Somebody has to do something first: it is tried again then, and holds up nothing until then.
            later = repr(self._clock() + self._apart)
            await self._db.write(lambda db: rows.set_state(db, "purge_at", later))
            raise
        await catch_up()
        # Others wrote meanwhile: who knows of a deletion only now, or a call that was made twice.
        await self.look()
        now = self._clock()

        def end(db: Connection) -> None:
            # Meanwhile some of it may have come back.
            still = set(rows.to_purge(db, self._reader.left))
            rows.purged(db, [id for id in going if id in still], now)

        await self._db.write(end)

    async def _answers(self, repo: DatasetRepo, revision: str) -> bool:
        try:
            # A folder that is nowhere: what is asked is whether there is such a commit.
            await self._threads.run(repo.files, "no-such-folder/", revision)
        except Conflict:
            return False
        return True


async def _nowhere() -> None:
    """There is nothing else."""
