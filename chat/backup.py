"""The backup: what is kept here goes to the private dataset, and comes back from it on an empty disk.

    pull     read every file of the head that differs from what this app last wrote or read, and merge it
    flush    commit what the dataset lacks, on top of the head that was pulled; note it as saved
    purge    rewrite the history, so that what was deleted is in no commit

Each may be broken off anywhere and done again: a commit whose answer was lost is found by the next pull, and what was
noted as saved is only ever what a commit holds. Nobody who sends a message waits for any of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chat import backup_rows as rows
from chat import formats
from chat.backup_outgoing import Batch, next_batch, record
from chat.backup_reader import READS_AT_ONCE, Extra, Reader
from chat.dataset_repo import Conflict, DatasetRepo, Denied, Doubtful, RepoError, Threads, blob_id
from chat.lease import PATH as LEASE
from chat.lease import Claim, Lease
from chat.purging import PURGE_AFTER, Purging
from chat.retrying import Retrying
from chat.slots import NoSlot, Slots
from chat.store import Store
from chat.stored import Where

LARGEST_BATCH = 2000  # owners in one commit
EARLY_AT = 200  # owners whose changes wait no longer than `SOONEST`
SOONEST = 30.0  # seconds between two ordinary commits
SOONEST_DELETION = 2.0  # seconds that deletions wait for each other
PATIENCE = 20.0  # seconds without an answer after which the page is told so
TRIES = 4
GONE = (
    "The dataset {} is no longer on the Hub. It is made again from what is kept on this machine. If it was deleted on "
    "purpose, stop the app and delete its DATA_DIR before the dataset."
)
MEANWHILE = "Conversations are kept on this machine meanwhile."


class PublicDataset(Exception):
    """The dataset that should keep conversations can be read by others; `str(error)` says what to do."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How far the backup is. `backlog`: conversations, deletions and changes of other parts that are not saved yet.
    `oldest`: seconds for which something has been kept here alone, at most. `problem`: a sentence with what to do, or
    None; `kind`: which of the failures that is, or "file" where one cannot be read. `restored`: whether all that the
    dataset holds has come back. `commits_left`: of the Hub's quota, None without one. `failures`: how many of each kind
    since the start, see `chat.retrying`."""

    backlog: int
    oldest: float
    problem: str | None
    kind: str | None
    restored: bool
    saved_at: float | None
    commits_left: int | None
    failures: Mapping[str, int]


class Backup:
    """Keeps `store` and `repo` alike. `every`: seconds between commits. `report` gets each new problem, once.

    `slots`: the quota that commits are made inside, which `repo` itself counts; None: there is none.
    `wants_lease`: whether another part has something to do that only the holder of `lease` may; `takes_back`: whether that
    is to take something back, which may use what of the quota is kept for it. `head_start`: seconds that the page has on an
    empty disk before conversations are brought back that nobody waits for.
    """

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
        slots: Slots | None = None,
        lease: Lease | None = None,
        wants_lease: Callable[[], Awaitable[bool]] | None = None,
        takes_back: Callable[[], Awaitable[bool]] | None = None,
        head_start: float = 0.0,
    ) -> None:
        self.repo = repo
        self.db = store.db
        self._clock = clock
        self._every = every
        self._extras = tuple(extras)
        self._report = report
        self._tick = tick
        self._threads = Threads(READS_AT_ONCE)
        self.lease = lease or Lease(clock)
        self._wanted_elsewhere, self._taken_back_elsewhere = wants_lease, takes_back
        self._reader = Reader(store.db, clock, self._threads, self._extras, report, self.lease, head_start)
        self._purging = Purging(store.db, clock, self._threads, self._reader, self.lease, purge_after, every)
        self.owners_back = self._reader.owners_back
        self.restored = self._reader.restored
        self.arrivals = self._reader.arrivals
        self.read = self._reader.read
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._hurried = False
        self._in_step = False  # with the head of the dataset, as far as this app knows
        self._slots = slots or Slots.unlimited(clock)
        self._retrying = Retrying(clock, report)
        self._last = 0.0  # when something was last tried
        self._waiting_since: float | None = None
        self._clean_at: float | None = None
        self._saved_at: float | None = None

    # -- what the app calls -----------------------------------------------------------------------------------------

    def refuse_public(self) -> None:
        """Raise `PublicDataset` where the dataset is the operator's own and others may read it, and `RepoError` where the
        Hub does not say. Blocks."""
        if self.repo.visibility() in ("public", "gated") and self.repo.owned():
            raise PublicDataset(
                f"The dataset {self.repo.id} would keep private conversations, but it is public. Make it private in its "
                "settings, or set STORE_DATASET to another name."
            )

    def failed(self, error: RepoError) -> None:
        """Note what went wrong: `problem` says it, and it is tried again."""
        self._retrying.failed(error)

    async def run(self) -> None:
        """Pull, flush and purge when it is time, until cancelled."""
        self._slots.restore(await self.db.read(lambda db: rows.state(db, "slots")))
        while True:
            await self._turn()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._wake.wait()
            self._wake.clear()

    def look_before_purging(self, look: Callable[[], Awaitable[None]]) -> None:
        """What was deleted may be somewhere else too. Once `look` returns, where it is has been noted, or it is gone."""
        self._purging.look = look

    def hurry(self) -> None:
        """Commit within seconds: somebody took something back."""
        self._hurried = True
        self._wake.set()

    async def flush(self, urgent: bool = False) -> None:
        """Return once everything that was kept here when this was called is in the dataset. Raises `RepoError`, also
        where a file that cannot be read keeps a deletion, or another part's files, from being written. `urgent`: the
        part of the quota that is kept for what people take back may be used."""
        async with self._lock:
            await self._persist(lambda: self._flush(urgent))
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
            await self._purging.at_once()
            await self._persist(lambda: self._flush(urgent=True))
            await self._persist(self._purge)

    @property
    def problem(self) -> str | None:
        """What is wrong and what to do, in one or two sentences; None where all is well."""
        return self._trouble()[0]

    def _trouble(self) -> tuple[str | None, str | None]:
        if self._retrying.problem:
            return f"{self._retrying.problem} {MEANWHILE}", self._retrying.kind
        if self._waiting_since is not None and self._clock() - self._waiting_since > PATIENCE:
            return f"{self.repo.id} has not answered for a while; it is waited for. {MEANWHILE}", "unreachable"
        return next(((why, "file") for why in self._reader.left.values()), (None, None))

    async def state(self, conversation: str) -> Where:
        """Where a conversation is, as it is now."""
        sql = (
            "SELECT CASE WHEN saved_revision >= revision THEN 'saved' WHEN safe_revision >= revision THEN 'safe'"
            " ELSE 'kept here' END FROM conversations WHERE id = ?"
        )
        row = await self.db.read(lambda db: db.execute(sql, (conversation,)).fetchone())
        return row[0] if row else "kept here"

    async def figures(self) -> Figures:
        waiting, now = await self.db.read(rows.waiting), self._clock()
        oldest = self._clean_at if self._clean_at is not None else waiting.oldest
        return Figures(
            waiting.backlog,
            max(0.0, now - oldest) if waiting.backlog and oldest is not None else 0.0,
            *self._trouble(),
            self.restored.is_set(),
            self._saved_at,
            self._slots.left,
            dict(self._retrying.counted),
        )

    # -- when -------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Do what is due. Whatever goes wrong is noted and tried again later."""
        now = self._clock()
        try:
            waiting = await self.db.read(rows.waiting)
            if not waiting:
                self._clean_at = now
            takes_lease = self.lease.would(await self._wants_lease())
            urgent = self._hurried or waiting.deletions > 0 or (takes_lease and await self._takes_back())
            if self._retrying.wait(now, urgent) > 0:
                return
            if self.lease.held() and await self._purging.is_due():
                await self.purge()
            elif self._due(waiting, now) or takes_lease:
                if waiting and self._in_step:
                    self._slots.check(urgent)
                await self._flush_now(now, urgent)
            else:
                return
        except NoSlot as error:
            # No failure: it goes on when there is room. Told where it takes long.
            if error.after > PATIENCE:
                self._retrying.failed(error)
        except Exception as error:
            self._retrying.failed(error)
        else:
            self._retrying.succeeded()

    async def _wants_lease(self) -> bool:
        """Whether there is a history to rewrite, or something that another part does."""
        return await self._purging.is_due() or (self._wanted_elsewhere is not None and await self._wanted_elsewhere())

    async def _takes_back(self) -> bool:
        """Whether it is to take something back."""
        return await self._purging.is_due() or (
            self._taken_back_elsewhere is not None and await self._taken_back_elsewhere()
        )

    async def _flush_now(self, now: float, urgent: bool) -> None:
        self._last, hurried, self._hurried = now, self._hurried, False
        try:
            async with self._lock:
                # What a file left unread holds up is told by `problem`, and is no reason to wait with the rest.
                await self._persist(lambda: self._flush(urgent))
        except BaseException:
            self._hurried = self._hurried or hurried
            raise

    def _due(self, waiting: rows.Waiting, now: float) -> bool:
        passed = now - self._last
        return (
            not self._in_step
            or self._hurried
            or (waiting.deletions > 0 and passed >= SOONEST_DELETION)
            or (waiting.owners >= EARLY_AT and passed >= min(SOONEST, self._every))
            or passed >= self._every
        )

    # -- how --------------------------------------------------------------------------------------------------------

    async def _persist(self, step: Callable[[], object]) -> None:
        """Take `step` again from the dataset's present head where another writer, or a lost answer, came between."""
        self._waiting_since = self._clock()
        try:
            for left in reversed(range(TRIES)):
                try:
                    await step()
                    return
                except (Conflict, Doubtful) as error:
                    self._in_step = False
                    if not left:
                        raise
                    self._retrying.count(error)
        finally:
            self._waiting_since = None

    async def _flush(self, urgent: bool) -> None:
        """Commit what the dataset lacked at one moment, which is after this was called, in as many commits as that needs.
        What changes meanwhile is left to the next flush, however fast it does."""
        private = looked = False
        began, rest = self._clock(), None
        while True:
            if not self._in_step:
                await self._catch_up()
                private = looked = True
            # Before the files: what changes meanwhile stays stale.
            now, stale_extras = self._clock(), await self.db.read(rows.stale_extras)
            began = now if rest is None else began
            extras = {
                extra.prefix: await extra.files()
                for extra in self._extras
                if not any(path.startswith(extra.prefix) for path in self._reader.left)
            }
            batch = await self.db.read(
                lambda db, extras=extras, rest=rest: next_batch(db, LARGEST_BATCH, extras, self._reader.left, rest)
            )
            batch.stale_extras = [mark for mark in stale_extras if mark[0] in extras]
            if not private:
                # Where the dataset was deleted there is another one to fill.
                self._in_step = private = await self._be_private()
            if not looked and self._in_step and not batch:
                looked, self._in_step = True, not await self._somebody_wrote()
            if not self._in_step:
                continue
            claim = self.lease.claim(await self._wants_lease(), riding=bool(batch.add or batch.delete))
            if batch or claim:
                await self._commit(batch, claim, urgent)
                looked = True
            if not batch.rest:
                self._saved_at, self._clean_at = self._clock(), began
                return
            rest = batch.rest

    async def _somebody_wrote(self) -> bool:
        head = await self._threads.run(self.repo.head)
        return head != await self.db.read(lambda db: rows.state(db, "head"))

    async def _commit(self, batch: Batch, claim: Claim | None, urgent: bool) -> None:
        head = await self.db.read(lambda db: rows.state(db, "head"))
        add = {**batch.add, LEASE: claim.content} if claim else batch.add
        if add or batch.delete:
            self._slots.check(urgent)
            message = f"Save {len(batch.add)} files, remove {len(batch.delete)}"
            head = await self._threads.run(self.repo.commit, add, batch.delete, head, message)

        def write(db: sqlite3.Connection) -> None:
            record(db, batch, head)
            if batch.tombstones:
                self._purging.after_deletions(db)
            if claim:
                rows.set_state(db, "lease", blob_id(claim.content))
            rows.set_state(db, "slots", self._slots.saved())

        await self.db.write(write)
        if claim:
            self.lease.applied(claim)

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
            if await self.db.read(lambda db: rows.state(db, "head")):
                self._report(GONE.format(self.repo.id))
            await self._threads.run(self.repo.create, formats.card())
        await self._reader.catch_up(self.repo)
        self._in_step = True
        await self._purging.after_reading()

    async def _purge(self) -> None:
        try:
            await self._purging.rewrite(self.repo, self._catch_up)
        except BaseException:
            # Squashing asks for no parent: what another writer committed just before is in the new head, unread here.
            self._in_step = False
            raise
