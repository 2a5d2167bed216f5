"""`push()`: makes the sharing datasets what the outbox says. The one function that can write to a sharing dataset.

Network and no decisions; repeatable after a crash at any point:

    1. Every row to be published gets its shard, durably: from then on it counts as public.
    2. The private backup is flushed, so that a lost disk does not lose track of what is public.
    3. One commit per dataset: the shards concerned, whole; the tombstones; the card. Where rows went, the history is
       squashed and what it leaves is purged.
    4. Only then the rows are `published`, or `retracted`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chat.dataset_repo import Conflict, DatasetRepo, Doubtful, RepoError, Threads, blob_id
from chat.db import Database
from privacy.ledger import heads_hash
from privacy.outbox import Plan, plan
from privacy.rows import Rules
from privacy.shards import CARD, SHARDS, TOMBSTONES, CardFacts, card_bytes, shard_bytes, shard_path, tombstone_bytes

EVERY_SHARD = frozenset(shard_path(shard) for shard in range(SHARDS))
TRIES = 5  # commits that lose a race, or whose answer is lost, before this push gives up

PUBLIC_SETTING = (
    "The sharing dataset {} is open to everyone, and who agreed did so for the model's authors: nothing new goes there."
    " Make it private, or gate it by hand."
)
TEXT_MISSING = "Rows of the sharing dataset {} are not restored yet: it stays as it is until they are."


@dataclass(frozen=True, slots=True)
class Pushed:
    """`commits`: dataset -> its head now. `problems`: sentences for the operator; what they concern is tried again."""

    commits: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a dataset is to hold. `files`: path -> bytes, or None where nothing is to be; only of the shards concerned.
    `occupied`: the paths of all shards with a row. `sent`, `gone`: the rows that the files publish and take away."""

    dataset: str
    files: Mapping[str, bytes | None]
    occupied: frozenset[str]
    sent: tuple[str, ...]
    gone: tuple[str, ...]


async def push(
    db: Database,
    open_repo: Callable[[str], DatasetRepo],
    rules: Rules,
    *,
    clock: Callable[[], float],
    before_public: Callable[[], Awaitable[None]],
    holds_lease: Callable[[], bool],
    threads: Threads,
) -> Pushed:
    """Carry out what `plan()` wrote to the outbox, over every sharing dataset ever written.

    `open_repo(id)` gives a dataset; nothing else may get it. `before_public()` returns once outbox and ledger are in
    the private dataset; what it raises is raised here, and nothing was sent. A dataset that fails holds up no other.
    """
    if not holds_lease():
        return Pushed()
    datasets = await db.write(_intend)
    if not datasets:
        return Pushed()
    await before_public()
    commits: dict[str, str] = {}
    problems: list[str] = []
    for dataset in datasets:
        if not holds_lease():
            break
        try:
            commits[dataset] = await _push_one(db, open_repo(dataset), threads, dataset, rules, clock, problems)
        except (RepoError, _NotNow) as error:
            problems.append(str(error))
    return Pushed(commits, tuple(problems))


class _NotNow(Exception):
    """A dataset cannot be written from what is here; the sentence says why."""


def _intend(db: sqlite3.Connection) -> list[str]:
    """Give every row to be published its shard, and return the datasets that differ from the outbox."""
    db.execute(
        "UPDATE outbox SET shard = instr('0123456789abcdef', substr(row_id, 1, 1)) - 1"
        " WHERE state = 'publish' AND shard IS NULL AND row IS NOT NULL"
    )
    rows = db.execute(
        "SELECT DISTINCT dataset FROM outbox WHERE state IN ('publish', 'retract') AND shard IS NOT NULL ORDER BY 1"
    )
    return [row["dataset"] for row in rows]


async def _push_one(
    db: Database,
    repo: DatasetRepo,
    threads: Threads,
    dataset: str,
    rules: Rules,
    clock: Callable[[], float],
    problems: list[str],
) -> str:
    seen_by = await threads.run(repo.visibility)
    opened = seen_by == "public"
    if opened:
        problems.append(PUBLIC_SETTING.format(dataset))
    # A dataset that is new, or was deleted on the Hub, gets all of its shards and not only those that changed.
    snapshot = await db.read(lambda c: _snapshot(c, dataset, rules, every=seen_by is None, publish=not opened))
    head = await threads.run(_make_equal, repo, snapshot)
    if snapshot.gone:
        head = await threads.run(repo.squash, "Rows were withdrawn; the history is rewritten without them")
        await threads.run(repo.purge)
    now = clock()
    await db.write(lambda c: _settle(c, snapshot, head, now))
    return head


def _snapshot(db: sqlite3.Connection, dataset: str, rules: Rules, *, every: bool, publish: bool) -> Snapshot:
    live: dict[int, list[sqlite3.Row]] = defaultdict(list)
    gone: list[sqlite3.Row] = []
    removed: dict[str, str] = {}
    dirty: set[int] = set(range(SHARDS)) if every else set()
    for row in db.execute("SELECT * FROM outbox WHERE dataset = ? AND shard IS NOT NULL ORDER BY row_id", (dataset,)):
        if row["state"] in ("publish", "published"):
            if row["state"] == "published" or publish:
                live[row["shard"]].append(row)
        else:
            removed[row["row_id"]] = datetime.fromtimestamp(row["retract_at"], UTC).date().isoformat()
        if row["state"] == "retract":
            gone.append(row)
        if row["state"] in ("publish", "retract"):
            dirty.add(row["shard"])
    if any(row["row"] is None for shard in dirty for row in live.get(shard, ())):
        raise _NotNow(TEXT_MISSING.format(dataset))
    files: dict[str, bytes | None] = {}
    for shard in sorted(dirty):
        rows = [{**json.loads(row["row"]), "row_id": row["row_id"]} for row in live.get(shard, ())]
        files[shard_path(shard)] = shard_bytes(rows) if rows else None
    files[TOMBSTONES] = tombstone_bytes(removed) if removed else None
    everything = [row for rows in live.values() for row in rows]
    files[CARD] = _card(db, dataset, rules, everything, len(removed))
    return Snapshot(
        dataset,
        files,
        frozenset(shard_path(shard) for shard in live),
        tuple(row["row_id"] for row in everything if row["state"] == "publish"),
        tuple(row["row_id"] for row in gone),
    )


def _card(db: sqlite3.Connection, dataset: str, rules: Rules, rows: list[sqlite3.Row], removed: int) -> bytes:
    found = db.execute("SELECT model, recipient FROM sharing_datasets WHERE id = ?", (dataset,)).fetchone()
    texts = db.execute(
        "SELECT DISTINCT policy_version, text_hash FROM consent_events WHERE id IN"
        " (SELECT event FROM outbox WHERE dataset = ? AND state IN ('publish', 'published'))",
        (dataset,),
    )
    facts = CardFacts(
        model=found["model"],
        recipient=found["recipient"],
        licence=rules.licence,
        redaction=rules.redaction.version,
        texts={row["policy_version"]: row["text_hash"] for row in texts},
        languages=sorted({row["language"] for row in rows}),
        rows=len(rows),
        removed=removed,
        ledger=heads_hash(db),
    )
    return card_bytes(facts)


def _make_equal(repo: DatasetRepo, snapshot: Snapshot) -> str:
    """Commit what differs from the head, until nothing does; return that head. Shards that no row explains go too."""
    failure: RepoError = Doubtful(f"The sharing dataset {repo.id} did not settle: it is tried again later.")
    for _ in range(TRIES):
        try:
            head = repo.head() or repo.create((snapshot.files[CARD] or b"").decode())
            there = repo.files("", head)
            strange = {path: None for path in EVERY_SHARD & there.keys() - snapshot.occupied}
            wanted = {**strange, **snapshot.files}
            add = {path: new for path, new in wanted.items() if new is not None and there.get(path) not in _ids(new)}
            delete = [path for path, new in wanted.items() if new is None and path in there]
            if not add and not delete:
                return head
            return repo.commit(add, delete, head, "Rows that their authors agreed to share, and no others")
        except (Conflict, Doubtful) as error:
            # It may have been applied, or somebody else was quicker: the head tells, and what is equal is left alone.
            failure = error
    raise failure


def _ids(content: bytes) -> tuple[str, str]:
    """Git's ids under which these bytes may stand in a repository: as they are, or as the pointer to a large file."""
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    return blob_id(content), blob_id(pointer.encode())


def _settle(db: sqlite3.Connection, snapshot: Snapshot, head: str, now: float) -> None:
    """Write down what is public and what is out. A row that a plan decided against meanwhile stays on its way out."""
    db.executemany(
        "UPDATE outbox SET state = 'published', published_at = ?, published_in = ?"
        " WHERE row_id = ? AND state = 'publish'",
        [(now, head, row_id) for row_id in snapshot.sent],
    )
    db.executemany(
        "UPDATE outbox SET state = 'retracted', retracted_at = ?, retracted_in = ?"
        " WHERE row_id = ? AND state = 'retract'",
        [(now, head, row_id) for row_id in snapshot.gone],
    )


class _Stopped(Exception):
    """A plan between the backup and the first commit stopped."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.stopped)
        self.plan = plan


class Sharing:
    """The comparison as the app runs it: `turn` every so often, and at once after whatever takes something back."""

    def __init__(
        self,
        db: Database,
        rules: Rules,
        open_repo: Callable[[str], DatasetRepo],
        *,
        clock: Callable[[], float],
        before_public: Callable[[], Awaitable[None]],
        holds_lease: Callable[[], bool] = lambda: True,
    ) -> None:
        self.db, self.rules, self.clock = db, rules, clock
        self._open_repo, self._before_public, self._holds_lease = open_repo, before_public, holds_lease
        self._threads = Threads(1)
        self._one = asyncio.Lock()
        self._wake = asyncio.Event()

    async def run(self, restored: asyncio.Event, every: float, report: Callable[[str], None]) -> None:
        """Compare and carry out the difference every `every` seconds and on `hurry`, until cancelled.

        `report` hears, once each, the sentences about what is wrong; before `restored` is set nothing is, yet.
        """
        told: set[str] = set()
        while True:
            try:
                planned, pushed = await self.turn(restored=restored.is_set())
                wrong = {sentence for sentence in (planned.stopped, *planned.problems, *pushed.problems) if sentence}
            except RepoError as error:
                wrong = {str(error)}
            except Exception as error:
                # Not its message: that may quote somebody's text.
                wrong = {f"Sharing met an error of its own ({type(error).__name__}) and will try again."}
            for sentence in wrong - told if restored.is_set() else ():
                report(sentence)
            told = wrong
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._wake.wait()
            self._wake.clear()

    def hurry(self) -> None:
        """Compare at once: somebody took something back."""
        self._wake.set()

    async def turn(self, *, restored: bool) -> tuple[Plan, Pushed]:
        """Plan, and push what the plan, or one before it, left to do. One at a time."""

        async def back_up_and_look_again() -> None:
            await self._before_public()
            # The backup may have taken its time: what was taken back meanwhile is not to be sent.
            again = await plan(self.db, self.rules, now=self.clock(), restored=restored)
            if again.stopped:
                raise _Stopped(again)

        async with self._one:
            planned = await plan(self.db, self.rules, now=self.clock(), restored=restored)
            if planned.stopped:
                return planned, Pushed()
            try:
                pushed = await push(
                    self.db,
                    self._open_repo,
                    self.rules,
                    clock=self.clock,
                    before_public=back_up_and_look_again,
                    holds_lease=self._holds_lease,
                    threads=self._threads,
                )
            except _Stopped as stopped:
                return stopped.plan, Pushed()
            return planned, pushed
