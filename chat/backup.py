"""The backup: what is kept here goes to the private dataset, and comes back from it on an empty disk.

    pull     read every file of the head that differs from what this app last wrote or read, and merge it
    flush    commit what the dataset lacks, on top of the head that was pulled; note it as saved
    purge    rewrite the history, so that what was deleted is in no commit

Each may be broken off anywhere and done again: a commit whose answer was lost is found by the next pull, and what was
noted as saved is only ever what a commit holds. Nobody who sends a message waits for any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from chat import backup_rows as rows
from chat import formats
from chat.backup_outgoing import Batch, next_batch, record
from chat.backup_reader import READS_AT_ONCE, Extra, Reader
from chat.dataset_repo import Conflict, DatasetRepo, Denied, Doubtful, RepoError, Threads
from chat.store import Store

LARGEST_BATCH = 200  # owners in one commit
SOONEST = 30.0  # seconds between two ordinary commits: about 128 an hour are allowed, and deletions need some of them
SOONEST_DELETION = 2.0  # seconds that deletions wait for each other
LONGEST_WAIT = 300.0  # seconds between two tries of what fails
PATIENCE = 20.0  # seconds without an answer after which the page is told so
PURGE_AFTER = 600.0  # seconds that purges wait for each other
TRIES = 4
MEANWHILE = "Conversations are kept on this machine meanwhile."


class PublicDataset(Exception):
    """The dataset that should keep conversations can be read by others; `str(error)` says what to do."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How far the backup is. `backlog`: conversations, deletions and changes of other parts that are not saved yet.
    `oldest`: seconds for which something has been kept here alone, at most. `problem`: a sentence with what to do, or
    None. `restored`: whether all that the dataset holds has come back."""

    backlog: int
    oldest: float
    problem: str | None
    restored: bool
    saved_at: float | None


class Backup:
    """Keeps `store` and `repo` alike. `every`: seconds between commits. `report` gets each new problem, once."""

    def __init__(
        self,
        store: Store,
        repo: DatasetRepo,
        clock: Callable[[], float],
        *,
        every: float = 60.0,
        extras: Sequence[Extra] = (),
        report: Callable[[str], None] = lambda _: None,
        tick: float = 1.0,
        purge_after: float = PURGE_AFTER,
    ) -> None:
        self.repo = repo
        self._db = store.db
        self._clock = clock
        self._every = every
        self._extras = tuple(extras)
        self._report = report
        self._tick = tick
        self._purge_after = purge_after
        self._threads = Threads(READS_AT_ONCE)
        self._reader = Reader(store.db, clock, self._threads, self._extras, report)
        self.owners_back = self._reader.owners_back
        self.restored = self._reader.restored
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._hurried = False
        self._in_step = False  # with the head of the dataset, as far as this app knows
        self._failure: str | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last = 0.0  # when something was last tried
        self._waiting_since: float | None = None
        self._clean_at: float | None = None
        self._saved_at: float | None = None

    # -- what the app calls -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `PublicDataset` where the dataset is the operator's own and others may read it. Blocks; call it before
        serving. A Hub that does not answer is no reason to stop: it goes on, and `problem` says so."""
        try:
            if self.repo.visibility() in ("public", "gated") and self.repo.owned():
                raise PublicDataset(
                    f"The dataset {self.repo.id} would keep private conversations, but it is public. Make it private in "
                    "its settings, or set STORE_DATASET to another name."
                )
        except RepoError as error:
            self._failed(str(error))

    async def run(self) -> None:
        """Pull, flush and purge when it is time, until cancelled."""
        while True:
            await self._turn()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._wake.wait()
            self._wake.clear()

    def hurry(self) -> None:
        """Commit within seconds: somebody took something back."""
        self._hurried = True
        self._wake.set()

    async def flush(self) -> None:
        """Return once everything that was kept here when this was called is in the dataset. Raises `RepoError`, also
        where a file that cannot be read keeps a deletion, or another part's files, from being written."""
        async with self._lock:
            await self._persist(self._flush)
            for path, why in self._reader.left.items():
                if path.startswith(("tombstones/", *(extra.prefix for extra in self._extras))):
                    raise Denied(why)

    async def pull(self) -> None:
        """Bring in what the dataset holds and this app does not know. Raises `RepoError`."""
        async with self._lock:
            self._in_step = False
            await self._persist(self._catch_up)

    async def purge(self) -> None:
        """Rewrite the history of the dataset: what was deleted from it is then in no commit. Raises `RepoError`."""
        async with self._lock:
            await self._persist(self._flush)
            await self._persist(self._purge)

    @property
    def problem(self) -> str | None:
        """What is wrong and what to do, in one or two sentences; None where all is well."""
        if self._failure:
            return f"{self._failure} {MEANWHILE}"
        if self._waiting_since is not None and self._clock() - self._waiting_since > PATIENCE:
            return f"{self.repo.id} has not answered for a while; it is waited for. {MEANWHILE}"
        return next(iter(self._reader.left.values()), None)

    async def state(self, conversation: str) -> Literal["kept here", "saved"]:
        """Where a conversation is, as it is now."""
        sql = "SELECT saved_revision >= revision FROM conversations WHERE id = ?"
        row = await self._db.read(lambda db: db.execute(sql, (conversation,)).fetchone())
        return "saved" if row and row[0] else "kept here"

    async def figures(self) -> Figures:
        waiting, now = await self._db.read(rows.waiting), self._clock()
        oldest = self._clean_at if self._clean_at is not None else waiting.oldest
        return Figures(
            waiting.backlog,
            max(0.0, now - oldest) if waiting.backlog and oldest is not None else 0.0,
            self.problem,
            self.restored.is_set(),
            self._saved_at,
        )

    # -- when -------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Do what is due. Whatever goes wrong is noted and tried again later."""
        now = self._clock()
        if now < self._not_before:
            return
        try:
            purge_at = await self._db.read(lambda db: rows.state(db, "purge_at"))
            if purge_at is not None and float(purge_at) <= now:
                await self.purge()
            elif await self._due(now):
                self._last, self._hurried = now, False
                async with self._lock:
                    # What a file left unread holds up is told by `problem`, and is no reason to wait with the rest.
                    await self._persist(self._flush)
            else:
                return
        except RepoError as error:
            self._failed(str(error))
        except Exception as error:
            # Its message may quote what it stumbled over, and that may be anybody's text.
            self._failed(f"The backup met an error of its own ({type(error).__name__}) and will try again.")
        else:
            self._failure, self._failures = None, 0

    async def _due(self, now: float) -> bool:
        waiting, passed = await self._db.read(rows.waiting), now - self._last
        if not waiting:
            self._clean_at = now
        return (
            not self._in_step
            or self._hurried
            or (waiting.deletions > 0 and passed >= SOONEST_DELETION)
            or (waiting.owners >= LARGEST_BATCH and passed >= min(SOONEST, self._every))
            or passed >= self._every
        )

    def _failed(self, sentence: str) -> None:
        if sentence != self._failure:
            self._report(sentence)
        self._failure = sentence
        self._not_before = self._clock() + min(LONGEST_WAIT, 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)

    # -- how --------------------------------------------------------------------------------------------------------

    async def _persist(self, step: Callable[[], object]) -> None:
        """Take `step` again from the dataset's present head where another writer, or a lost answer, came between."""
        self._waiting_since = self._clock()
        try:
            for left in reversed(range(TRIES)):
                try:
                    await step()
                    return
                except (Conflict, Doubtful):
                    self._in_step = False
                    if not left:
                        raise
        finally:
            self._waiting_since = None

    async def _flush(self) -> None:
        private = False
        while True:
            if not self._in_step:
                await self._catch_up()
                private = True
            # Before the files: what changes meanwhile stays stale.
            stale_extras = await self._db.read(rows.stale_extras)
            extras = {
                extra.prefix: await extra.files()
                for extra in self._extras
                if not any(path.startswith(extra.prefix) for path in self._reader.left)
            }
            batch = await self._db.read(
                lambda db, extras=extras: next_batch(db, LARGEST_BATCH, extras, self._reader.left)
            )
            batch.stale_extras = [mark for mark in stale_extras if mark[0] in extras]
            if not batch:
                self._saved_at = self._clock()
                return
            if not private:
                await self._be_private()
                private = True
            await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        head = await self._db.read(lambda db: rows.state(db, "head"))
        if batch.add or batch.delete:
            message = f"Save {len(batch.add)} files, remove {len(batch.delete)}"
            head = await self._threads.run(self.repo.commit, batch.add, batch.delete, head, message)
        purge_at = self._clock() + self._purge_after
        await self._db.write(lambda db: record(db, batch, head, purge_at))

    async def _be_private(self) -> bool:
        """Whether the dataset is there. Raises `Denied` where others may read it: nothing is written then."""
        visibility = await self._threads.run(self.repo.visibility)
        if visibility in ("public", "gated"):
            raise Denied(
                f"The dataset {self.repo.id} is public, so no conversation is written there. Make it private in its "
                "settings, or set STORE_DATASET to a name of your own."
            )
        return visibility is not None

    async def _catch_up(self) -> None:
        if not await self._be_private():
            await self._threads.run(self.repo.create, formats.card())
        await self._reader.catch_up(self.repo)
        self._in_step = True

    async def _purge(self) -> None:
        await self._threads.run(self.repo.squash, "Keep no history")
        # Squashing asks for no parent: what another writer committed just before is in the new head, unread here.
        self._in_step = False
        try:
            await self._threads.run(self.repo.purge)
        except Denied:
            # Somebody has to do something first: it is tried again then, and holds up nothing until then.
            later = repr(self._clock() + self._purge_after)
            await self._db.write(lambda db: rows.set_state(db, "purge_at", later))
            raise
        await self._catch_up()
        await self._db.write(lambda db: rows.set_state(db, "purge_at", None))
