"""`push()`: makes the sharing datasets what the outbox says. The one function that can write to a sharing dataset.

Network and no decisions; repeatable after a crash at any point:

    1. Every row to be published gets its shard, durably: from then on it counts as public.
    2. The private backup is flushed, so that a lost disk does not lose track of what is public.
    3. Per dataset, and again for every try: read its head, plan once more, and commit what differs: the shards concerned,
       whole; the tombstones; the card. What was taken back before that moment is not sent.
    4. Where rows went, the history is squashed and what that leaves is purged.
    5. Only then the rows are `published`, or `retracted`; then the audit repository says so, and a discussion that rows went.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from chat.dataset_repo import DatasetRepo, Denied, RepoError
from chat.slots import NoSlot
from privacy.evidence import HEADS, Evidence, audit_id, evidence, known_files, tell_head, told
from privacy.head import Head, Strange, look, read
from privacy.notes import UNAUDITED, UNTOLD, note, set_note
from privacy.shards import CARD, EVERY_SHARD, FEEDBACK
from privacy.snapshot import Snapshot, ids_of, snapshot_of
from privacy.squashing import squashed, to_squash
from privacy.strays import HEAD, NOT_OURS, UNWRITTEN, check_ours, find_strays
from privacy.trying import LeaseLost, Tools, attempt, check_lease, until_settled
from privacy.untold import is_untold, lost_rows

PUBLIC_SETTING = (
    "The sharing dataset {} is open to everyone, and who agreed did so for the model's authors: nothing new goes there."
    " Make it private, or gate it by hand."
)
TEXT_MISSING = (
    "The text of some rows of the sharing dataset {} is neither here nor there any more, so they are left out of it."
)
SAID_MISSING = "What was said about some rows of the sharing dataset {} is neither here nor there any more, so it is left out of it."
ANNOUNCED = "Rows were withdrawn on {}"
ANNOUNCEMENT = (
    "People who had shared rows of this dataset took them back. The dataset and its history no longer hold them;"
    " `tombstones.parquet` lists their ids. If you have a copy, remove those rows from it and from what you made of it,"
    " and load the newest revision from now on."
)
CALLER = "parley-sharing-push"  # how it alone names itself to the Hub
SQUASHED = "squashed {}"  # the note of the commit that a squash of this dataset left


@dataclass(frozen=True, slots=True)
class Pushed:
    """`commits`: dataset -> its head now. `problems`: sentences for the operator; what they concern is tried again.
    `finished`: False where the lease was lost before all of it was done. `told`: the audit repository says what became of
    the rows, so that an audit may go by it."""

    commits: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    finished: bool = True
    told: bool = False


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
        problems += [str(NoSlot(wait))] if await tools.db.read(waits) else []
    datasets = await tools.db.write(lambda db: _intend(db, publish))
    owes = await tools.db.read(is_untold)
    if not datasets and not owes:
        return Pushed(problems=tuple(problems))
    tools.slots.check(urgent=True)
    await tools.before_public()
    finished, told = True, False
    try:
        # What may be public is in the audit repository before it is public; without that nothing new is.
        if publish and not await _tell(tools, False, problems):
            publish, datasets = False, await tools.db.read(lambda db: _different(db, False))
        for dataset in datasets:
            leaves = dataset in await tools.db.read(lambda db: _different(db, False))
            step = partial(_push_one, tools, dataset, publish, leaves, problems)
            if head := await attempt(tools, dataset, leaves, problems, step):
                commits[dataset] = head
        told = bool(commits or owes) and await _tell(tools, True, problems)
        if told and await _announce(tools, problems):
            await tools.db.write(lambda db: set_note(db, UNTOLD, None))
    except LeaseLost:
        finished = False
    return Pushed(commits, tuple(dict.fromkeys(problems)), finished, told)


async def _tell(tools: Tools, urgent: bool, problems: list[str]) -> bool:
    """Make the audit repository say what is here; whether it does."""
    id = await tools.db.read(lambda db: audit_id(db, tools.rules))
    if id is None:
        return True

    async def tell() -> bool:
        await until_settled(tools, id, urgent, lambda: _tell_once(tools, tools.open_to_write(id)))
        return True

    return bool(await attempt(tools, id, urgent, problems, tell))


async def _tell_once(tools: Tools, repo: DatasetRepo) -> None:
    head = await tools.threads.run(repo.head)
    there = await tools.threads.run(repo.files, "", head) if head else {}
    if there.keys() - UNWRITTEN - {CARD} and HEADS not in there and not await tools.db.read(known_files):
        raise Denied(NOT_OURS.format(repo.id))
    now = tools.clock()
    new = await tools.db.read(lambda db: evidence(db, there, tools.rules.texts, now))
    await tools.db.write(lambda db: tell_head(db, new, now))
    await tools.threads.run(_write_evidence, repo, head, there, new)
    ids = {path: ids_of(content) for path, content in new.files.items()}
    await tools.db.write(lambda db: told(db, new, ids))


def _write_evidence(repo: DatasetRepo, head: str | None, there: Mapping[str, str], new: Evidence) -> None:
    if head is None:
        head = repo.create(new.files[CARD].decode())
        there = repo.files("", head)
    add = {path: content for path, content in new.files.items() if there.get(path) not in ids_of(content)}
    delete = [path for path in there if path not in new.all and path not in UNWRITTEN]
    if add or delete:
        repo.commit(add, delete, head, "What was agreed to, and what is shared")


async def _announce(tools: Tools, problems: list[str]) -> bool:
    """One discussion a day in each dataset that lost rows: without names, and without how many. Whether all are made that
    can be."""
    done = True
    for dataset, since in await tools.db.read(lost_rows):
        try:
            await tools.threads.run(tools.open_to_write(dataset).announce, ANNOUNCED.format(since), ANNOUNCEMENT)
        except RepoError as error:
            problems.append(str(error))
            done = done and isinstance(error, Denied)
        else:
            await tools.db.write(lambda db, dataset=dataset, since=since: set_note(db, f"announced {dataset}", since))
    return done


def waits(db: sqlite3.Connection) -> bool:
    """Whether there are new rows to send."""
    return bool(db.execute("SELECT 1 FROM outbox WHERE state = 'publish' AND row IS NOT NULL").fetchone())


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


async def _push_one(tools: Tools, dataset: str, publish: bool, urgent: bool, problems: list[str]) -> str:
    db, threads = tools.db, tools.threads
    repo = tools.open_to_write(dataset)

    async def write() -> tuple[bool, Snapshot, str]:
        head = await threads.run(look, repo)
        await check_ours(tools, repo, dataset, head)
        strange = await find_strays(tools, repo, dataset, head, problems)
        opened = head.seen_by == "public"
        snapshot = await _decide(tools, repo, dataset, head, strange, publish and not opened)
        check_lease(tools)
        return opened, snapshot, await threads.run(_make_equal, repo, head, strange, snapshot)

    opened, snapshot, id = await until_settled(tools, dataset, urgent, write)
    if opened:
        problems.append(PUBLIC_SETTING.format(dataset))
    if snapshot.missing:
        problems.append((SAID_MISSING if snapshot.missing == {FEEDBACK} else TEXT_MISSING).format(dataset))
    if snapshot.squash:
        check_lease(tools)
        # What was squashed already, and only could not be purged, costs no second commit.
        if id != await db.read(lambda c: note(c, SQUASHED.format(dataset))):
            id = await threads.run(repo.squash, "Rows were withdrawn; the history is rewritten without them")
            await db.write(lambda c: set_note(c, SQUASHED.format(dataset), id))
        await threads.run(repo.purge)
    now = tools.clock()
    await db.write(lambda c: _settle(c, snapshot, id, now))
    return id


async def _decide(
    tools: Tools, repo: DatasetRepo, dataset: str, head: Head, strange: Strange, publish: bool
) -> Snapshot:
    """What the dataset shall hold, as it is decided now: nothing but the commit comes after this."""
    # A dataset that is new, or was deleted on the Hub, gets all of its shards and not only those that changed.
    shards = EVERY_SHARD if head.id is None else tuple(strange.shards)

    async def decide(there: Head) -> Snapshot:
        may_publish = await tools.look_again() and publish
        return await tools.db.read(
            lambda c: snapshot_of(c, dataset, tools.rules, publish=may_publish, strange=shards, there=there)
        )

    snapshot = await decide(head)
    if snapshot.missing:
        snapshot = await decide(await tools.threads.run(read, repo, head, snapshot.missing))
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
    set_note(db, HEAD.format(snapshot.dataset), head)
    set_note(db, UNTOLD, "yes")
    set_note(db, UNAUDITED, "yes")
    if snapshot.squash:
        squashed(db, snapshot.dataset)
        db.execute("UPDATE strays SET gone_at = ? WHERE dataset = ? AND gone_at IS NULL", (now, snapshot.dataset))
    for path, content in snapshot.files.items():
        db.execute("DELETE FROM pushed_files WHERE dataset = ? AND path = ?", (snapshot.dataset, path))
        ids = ids_of(content) if content is not None else ()
        db.executemany("INSERT INTO pushed_files VALUES (?, ?, ?)", [(snapshot.dataset, path, id) for id in ids])
