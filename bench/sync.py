"""What saving costs: commits an hour, bytes and requests per changed conversation, each against a tenth of it.

The hour is played through on a clock of its own, with a repository in memory and the app's own quota; requests are
counted on the loopback Hub, with the unmodified client.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.campaign import record
from bench.report import Table, calibration
from chat import formats
from chat.backup import Backup
from chat.db import Database
from chat.hub import HubRepo
from chat.hub_bucket import HubBucket
from chat.repo_guards import Counted
from chat.slots import QUOTA, Slots
from chat.store import Store
from chat.write_ahead import WriteAhead
from tests.support.backing import AUTHOR, owner_of
from tests.support.hub import LoopbackHub
from tests.support.memory_bucket import MemoryBucket
from tests.support.memory_repo import MemoryRepo

USERS = (100, 1000)
CHANGED = (20, 200)
OWNED = (10, 100, 1000)
MORE = 40  # turns of each
EVERY = 300.0  # seconds between two messages of a user, on average
HOUR = 3600
TEXT = "herons nest near still water where the reeds hide them from the evening wind " * 5  # 385 characters


class Clock:
    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


class Weighed(MemoryRepo):
    """Counts the bytes that commits send."""

    sent = 0

    def commit(self, add: Mapping[str, bytes], delete: Sequence[str], parent: str | None, message: str) -> str:
        self.sent += sum(map(len, add.values()))
        del self.kept[:-1]
        return super().commit(add, delete, parent, message)


async def turn(store: Store, owner: str, conversation: str | None) -> str:
    found, _, running = await store.begin_turn(owner, conversation, TEXT, AUTHOR, "", "page")
    await store.finish_turn(running.id, TEXT, "done", "stop")
    return found.id


async def own(db: Database, count: int) -> list[str]:
    owners = [owner_of(number) for number in range(1, count + 1)]
    sql = "INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)"
    await db.write(lambda connection: connection.executemany(sql, [(owner,) for owner in owners]))
    return owners


async def hour(folder: Path, users: int) -> tuple[int, int, float, float, float]:
    """(turns, commits, longest age in seconds of anything unsaved, bytes per changed conversation, CPU seconds)."""
    clock, draw = Clock(), random.Random(1)
    db = Database.open(folder)
    store, repo, slots = Store(db, clock), Weighed("bench/kept"), Slots(clock)
    backup = Backup(store, Counted(repo, slots), clock, slots=slots)
    owners, opened, turns, changed, oldest = await own(db, users), {}, 0, 0, 0.0
    await backup.pull()
    first, cpu = repo.commits, time.process_time()
    unsaved = "SELECT count(*) FROM conversations WHERE revision > saved_revision"
    try:
        for _ in range(HOUR):
            clock.now += 1
            now = [owner for owner in owners if draw.random() < 1 / EVERY]
            ids = await asyncio.gather(*(turn(store, owner, opened.get(owner)) for owner in now))
            opened |= dict(zip(now, ids, strict=True))
            turns += len(now)
            waiting = (await db.read(lambda connection: connection.execute(unsaved).fetchone()))[0]
            before = repo.commits
            await backup._turn()
            changed += waiting if repo.commits > before else 0
            oldest = max(oldest, (await backup.figures()).oldest)
    finally:
        db.close()
    return turns, repo.commits - first, oldest, repo.sent / max(1, changed), time.process_time() - cpu


async def requests(folder: Path, hub: LoopbackHub, token: str, changed: int) -> tuple[float, float, float]:
    """Requests per changed conversation, of as many owners at once: to the dataset, to the bucket, and to the storage
    behind the bucket, which is another host and asked about each object."""
    db, clock = Database.open(folder), time.time
    store = Store(db, clock)
    backup = Backup(store, HubRepo(hub.endpoint, token, f"bench/kept-{changed}"), clock)
    ahead = WriteAhead(db, HubBucket(hub.endpoint, token, f"bench/wal-{changed}"), clock)
    try:
        owners = await own(db, changed)
        await backup.pull()
        await backup.flush()
        await ahead.flush()
        await asyncio.gather(*(turn(store, owner, None) for owner in owners))
        before = len(hub.requests)
        await ahead.flush()
        between = len(hub.requests)
        await backup.flush()
        storage = sum(not request.path.startswith("/api/") for request in hub.requests[before:between])
        counts = (len(hub.requests) - between, between - before - storage, storage)
        return tuple(count / changed for count in counts)
    finally:
        db.close()


async def size(folder: Path, owned: int) -> tuple[float, float]:
    """Bytes to the dataset and to the bucket for one more turn of an owner with so many conversations: the mean of some, each
    saved on its own, since one that fills its file sends two."""
    db, clock = Database.open(folder), time.time
    store, repo, bucket = Store(db, clock), Weighed("bench/kept"), MemoryBucket(objects={})
    backup, ahead = Backup(store, repo, clock), WriteAhead(db, bucket, clock)
    try:
        (owner,) = await own(db, 1)
        conversations = [await turn(store, owner, None) for _ in range(owned)]
        await backup.flush()
        await ahead.flush()
        repo.sent, written, draw = 0, 0, random.Random(1)
        for _ in range(MORE):
            bucket.written.clear()
            await turn(store, owner, draw.choice(conversations))
            await ahead.flush()
            await backup.flush()
            written += bucket.written[0]
        return repo.sent / MORE, written / MORE
    finally:
        db.close()


def main() -> str:
    return record("sync", measure, "make bench ARGS=sync")


def measure() -> str:
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # of the dataset; a bucket always uses it
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the disk is not what is measured
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        hours = [asyncio.run(hour(folder / f"hour{users}", users)) for users in USERS]
        sizes = [asyncio.run(size(folder / f"size{owned}", owned)) for owned in OWNED]
        with LoopbackHub(folder / "hub") as hub:
            token = hub.add_user("bench")
            asked = [asyncio.run(requests(folder / f"asked{changed}", hub, token, changed)) for changed in CHANGED]
    tables = "\n".join(map(str, (_of_hours(hours), _of_requests(asked), _of_sizes(sizes))))
    return f"{tables}\nOne JSON dump of a chunk in this run: {calibration():.4f} ms."


def _of_hours(hours: list[tuple[int, int, float, float, float]]) -> Table:
    table = Table(
        f"An hour in which each user sends a message every {EVERY / 60:.0f} minutes ({QUOTA} commits are allowed)",
        ("active users", "messages", "commits an hour", "longest unsaved", "kB per changed conversation", "CPU"),
    )
    for users, (turns, commits, oldest, sent, cpu) in zip(USERS, hours, strict=True):
        table.add(users, turns, commits, f"{oldest:.0f} s", sent / 1000, f"{cpu:.0f} s")
    (small, large) = hours
    table.add("growth", *(b / a for a, b in zip(small, large, strict=True)))
    return table


def _of_requests(asked: list[tuple[float, float, float]]) -> Table:
    table = Table(
        "Requests per changed conversation, of as many owners in one save",
        ("changed", "to the dataset", "to the bucket", "to its storage"),
    )
    for changed, figures in zip(CHANGED, asked, strict=True):
        table.add(changed, *figures)
    table.add("growth", *(b / a for a, b in zip(*asked, strict=True)))
    return table


def _of_sizes(sizes: list[tuple[float, float]]) -> Table:
    table = Table(
        f"Bytes for one more turn of an owner with so many conversations (a file is rolled over at {formats.PART_BYTES // 1000} kB)",
        ("conversations", "to the dataset", "to the bucket"),
    )
    for owned, figures in zip(OWNED, sizes, strict=True):
        table.add(owned, *map(round, figures))
    for small, large in itertools.pairwise(sizes):
        table.add("growth", *(b / a for a, b in zip(small, large, strict=True)))
    return table
