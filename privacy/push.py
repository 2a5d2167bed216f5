"""`push()`: makes the sharing datasets what the outbox says. The one function that can write to a sharing dataset.

Network and no decisions; repeatable after a crash at any point:

    1. Every row to be published gets its shard, durably: from then on it counts as public.
    2. The private backup is flushed, so that a lost disk does not lose track of what is public.
    3. Per dataset, and again for every try: read its head, plan once more, and commit what differs: the shards concerned,
       whole; the tombstones; the card. What was taken back before that moment is not sent.
    4. Where rows went, the history is squashed and what that leaves is purged.
    5. Only then the rows are `published`, or `retracted`.

What stands in a dataset and in no outbox was put there by another hand, or by an outbox that is lost. Nobody is known to
have agreed to it: it is noted, and backed up, as a stray, and goes the way of a retracted row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chat.dataset_repo import Conflict, DatasetRepo, Doubtful, RepoError, Threads
from chat.db import Database
from chat.slots import NoSlot, Slots
from privacy.evidence import Evidence, audit_id, evidence, tell_head, told
from privacy.head import Head, Strange, look, read, strange_in, written
from privacy.notes import note, set_note
from privacy.rows import Rules
from privacy.shards import CARD
from privacy.snapshot import EVERY_SHARD, Snapshot, ids_of, snapshot_of
from privacy.squashing import must_squash, squashed, to_squash

TRIES = 5  # commits that lose a race, or whose answer is lost, before this push gives up

PUBLIC_SETTING = (
    "The sharing dataset {} is open to everyone, and who agreed did so for the model's authors: nothing new goes there."
    " Make it private, or gate it by hand."
)
TEXT_MISSING = (
    "The text of some rows of the sharing dataset {} is neither here nor there any more, so they are left out of it."
)
STRAYS = (
    "The sharing dataset {} held {} that nothing here explains: by another hand, or from an outbox that is lost."
    " It is taken out of the dataset and its history. If you do not know where it came from, change HF_TOKEN."
)
ANNOUNCED = "Rows were withdrawn on {}"
ANNOUNCEMENT = (
    "People who had shared rows of this dataset took them back. The dataset and its history no longer hold them;"
    " `tombstones.parquet` lists their ids. If you have a copy, remove those rows from it and from what you made of it,"
    " and load the newest revision from now on."
)
NOT_EVIDENCE = (".gitattributes", "space.json")
UNSETTLED = "The sharing dataset {} did not settle: it is tried again later."


@dataclass(frozen=True, slots=True)
class Pushed:
    """`commits`: dataset -> its head now. `problems`: sentences for the operator; what they concern is tried again.
    `finished`: False where the lease was lost before all of it was done."""

    commits: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Tools:
    """What a push works with. `before_public()` returns once outbox and ledger are in the private dataset; what it raises
    is raised by the push, and nothing more was sent. `look_again()` plans, and says whether new rows may leave. `slots`:
    the quota that every commit is made inside, which `open_repo`'s datasets count."""

    db: Database
    open_repo: Callable[[str], DatasetRepo]
    rules: Rules
    clock: Callable[[], float]
    before_public: Callable[[], Awaitable[None]]
    look_again: Callable[[], Awaitable[bool]]
    holds_lease: Callable[[], bool]
    threads: Threads
    slots: Slots


async def push(tools: Tools, *, publish: bool = True) -> Pushed:
    """Carry out what `plan()` wrote to the outbox, over every sharing dataset ever written. A dataset that fails holds up
    no other. `publish` False: rows leave, and none is added; so it is, too, where the quota of commits has only left
    what is kept for taking back. Raises `NoSlot` where it has not even that."""
    if not tools.holds_lease():
        return Pushed(finished=False)
    commits: dict[str, str] = {}
    problems: list[str] = []
    if publish and (wait := tools.slots.wait()):
        publish = False
        problems.append(str(NoSlot(wait)))
    datasets = await tools.db.write(lambda db: _intend(db, publish))
    if not datasets:
        return Pushed(problems=tuple(problems))
    tools.slots.check(urgent=True)
    await tools.before_public()
    # What may be public is in the audit repository before it is public; without that nothing new is.
    if publish and not await _tell(tools, problems):
        publish, datasets = False, await tools.db.read(lambda db: _different(db, False))
    finished = True
    for dataset in datasets:
        if not tools.holds_lease():
            finished = False
            break
        try:
            tools.slots.check(urgent=dataset in await tools.db.read(lambda db: _different(db, False)))
            commits[dataset] = await _push_one(tools, dataset, publish, problems)
        except RepoError as error:
            problems.append(str(error))
    if commits:
        await _tell(tools, problems)
        await _announce(tools, problems)
    return Pushed(commits, tuple(dict.fromkeys(problems)), finished)


async def _tell(tools: Tools, problems: list[str]) -> bool:
    """Make the audit repository say what is here; whether it does."""
    id = await tools.db.read(lambda db: audit_id(db, tools.rules))
    if id is None:
        return True
    failure: RepoError = Doubtful(UNSETTLED.format(id))
    for _ in range(TRIES):
        try:
            repo = tools.open_repo(id)
            head = await tools.threads.run(repo.head)
            there = await tools.threads.run(repo.files, "", head) if head else {}
            now = tools.clock()
            new = await tools.db.read(lambda db, there=there, now=now: evidence(db, there, now))
            await tools.db.write(lambda db, new=new, now=now: tell_head(db, new, now))
            await tools.threads.run(_write_evidence, repo, head, there, new)
            ids = {path: ids_of(content) for path, content in new.files.items()}
            await tools.db.write(lambda db, new=new, ids=ids: told(db, new, ids))
            return True
        except (Conflict, Doubtful) as error:
            failure = error
        except RepoError as error:
            failure = error
            break
    problems.append(str(failure))
    return False


def _write_evidence(repo: DatasetRepo, head: str | None, there: Mapping[str, str], new: Evidence) -> None:
    if head is None:
        head = repo.create(new.files[CARD].decode())
        there = repo.files("", head)
    add = {path: content for path, content in new.files.items() if there.get(path) not in ids_of(content)}
    delete = [path for path in there if path not in new.all and path not in NOT_EVIDENCE]
    if add or delete:
        repo.commit(add, delete, head, "What was agreed to, and what is shared")


async def _announce(tools: Tools, problems: list[str]) -> None:
    """One discussion a day in each dataset that lost rows: without names, and without how many."""
    day = datetime.fromtimestamp(tools.clock(), UTC).date().isoformat()
    for dataset, since in await tools.db.read(_lost_rows):
        try:
            await tools.threads.run(tools.open_repo(dataset).announce, ANNOUNCED.format(since), ANNOUNCEMENT)
            await tools.db.write(lambda db, dataset=dataset: set_note(db, f"announced {dataset}", day))
        except RepoError as error:
            problems.append(str(error))


def _lost_rows(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """(dataset, day) of those that lost rows on a day later than the one that was announced last."""
    rows = db.execute(
        "SELECT dataset, max(day) AS day FROM ("
        " SELECT dataset, date(retracted_at, 'unixepoch') AS day FROM outbox WHERE state = 'retracted'"
        " UNION ALL SELECT dataset, date(gone_at, 'unixepoch') FROM strays WHERE gone_at IS NOT NULL) GROUP BY dataset"
    )
    return [
        (row["dataset"], row["day"]) for row in rows if (note(db, f"announced {row['dataset']}") or "") < row["day"]
    ]


def _intend(db: sqlite3.Connection, publish: bool) -> list[str]:
    """Give every row to be published its shard, and return the datasets that differ from the outbox."""
    if publish:
        db.execute(
            "UPDATE outbox SET shard = instr('0123456789abcdef', substr(row_id, 1, 1)) - 1"
            " WHERE state = 'publish' AND shard IS NULL AND row IS NOT NULL"
        )
    return _different(db, publish)


def _different(db: sqlite3.Connection, publish: bool) -> list[str]:
    rows = db.execute(
        "SELECT DISTINCT dataset FROM outbox WHERE (state = 'retract' OR (? AND state = 'publish')) AND shard IS NOT NULL",
        (publish,),
    )
    return sorted({row["dataset"] for row in rows} | to_squash(db))


async def _push_one(tools: Tools, dataset: str, publish: bool, problems: list[str]) -> str:
    db, threads = tools.db, tools.threads
    repo = tools.open_repo(dataset)
    failure: RepoError = Doubtful(UNSETTLED.format(dataset))
    for _ in range(TRIES):
        try:
            head = await threads.run(look, repo)
            strange = await _strange(tools, repo, dataset, head, problems)
            opened = head.seen_by == "public"
            snapshot = await _decide(tools, repo, dataset, head, strange, publish and not opened)
            id = await threads.run(_make_equal, repo, head, strange, snapshot)
            break
        except (Conflict, Doubtful) as error:
            # It may have been applied, or somebody else was quicker: the head tells, and what is equal is left alone.
            failure = error
    else:
        raise failure
    if opened:
        problems.append(PUBLIC_SETTING.format(dataset))
    if snapshot.missing:
        problems.append(TEXT_MISSING.format(dataset))
    if snapshot.squash:
        id = await threads.run(repo.squash, "Rows were withdrawn; the history is rewritten without them")
        await threads.run(repo.purge)
    now = tools.clock()
    await db.write(lambda c: _settle(c, snapshot, id, now))
    return id


async def _strange(tools: Tools, repo: DatasetRepo, dataset: str, head: Head, problems: list[str]) -> Strange:
    """What of the dataset is not from here; before it is returned, that is noted and in the private dataset."""
    known = await tools.db.read(lambda c: written(c, dataset))
    head = await tools.threads.run(read, repo, head, head.unknown(known))
    strange = await tools.db.read(lambda c: strange_in(c, dataset, head))
    if strange.foreign:
        now = tools.clock()
        await tools.db.write(lambda c: _note_strays(c, dataset, strange, now))
        await tools.before_public()
        count = len(strange.rows)
        sentence = STRAYS.format(dataset, f"{count} row{'s' * (count != 1)}" if count else "something")
        problems += [sentence] if sentence not in problems else []
    return strange


async def _decide(
    tools: Tools, repo: DatasetRepo, dataset: str, head: Head, strange: Strange, publish: bool
) -> Snapshot:
    """What the dataset shall hold, as it is decided now: nothing but the commit comes after this."""
    may_publish = await tools.look_again() and publish

    # A dataset that is new, or was deleted on the Hub, gets all of its shards and not only those that changed.
    shards = EVERY_SHARD if head.id is None else tuple(strange.shards)
    snapshot = await tools.db.read(lambda c: snapshot_of(c, dataset, tools.rules, publish=may_publish, strange=shards))
    if snapshot.missing:
        there = await tools.threads.run(read, repo, head, snapshot.missing)
        await tools.look_again()
        snapshot = await tools.db.read(
            lambda c: snapshot_of(c, dataset, tools.rules, publish=may_publish, strange=shards, found=there.rows)
        )
    return snapshot


def _make_equal(repo: DatasetRepo, head: Head, strange: Strange, snapshot: Snapshot) -> str:
    """Commit what differs from the head, in one commit, and return the head. Shards that no row explains go too."""
    id = head.id or repo.create((snapshot.files[CARD] or b"").decode())
    there = head.files or repo.files("", id)
    nothing = {path: None for path in {*EVERY_SHARD, *strange.others} & there.keys() - snapshot.occupied}
    wanted = {**nothing, **snapshot.files}
    add = {path: new for path, new in wanted.items() if new is not None and there.get(path) not in ids_of(new)}
    delete = [path for path, new in wanted.items() if new is None and path in there]
    if not add and not delete:
        return id
    return repo.commit(add, delete, id, "Rows that their authors agreed to share, and no others")


def _note_strays(db: sqlite3.Connection, dataset: str, strange: Strange, now: float) -> None:
    must_squash(db, dataset, now)
    # One that came back keeps the time when it first went: replicas would not agree on another.
    db.executemany(
        "INSERT OR IGNORE INTO strays VALUES (?, ?, ?, NULL)",
        [(dataset, row_id, now) for row_id in sorted(strange.rows)],
    )


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
    if snapshot.squash:
        squashed(db, snapshot.dataset)
        db.execute("UPDATE strays SET gone_at = ? WHERE dataset = ? AND gone_at IS NULL", (now, snapshot.dataset))
    for path, content in snapshot.files.items():
        db.execute("DELETE FROM pushed_files WHERE dataset = ? AND path = ?", (snapshot.dataset, path))
        ids = ids_of(content) if content is not None else ()
        db.executemany("INSERT INTO pushed_files VALUES (?, ?, ?)", [(snapshot.dataset, path, id) for id in ids])
