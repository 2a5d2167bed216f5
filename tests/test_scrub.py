"""What was deleted is in no byte of the database's files: no page, no index, no log."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from chat.scrub import APART, MERGE_SHARE, rewrite, scrub, scrub_forever
from tests.support.backing import HookedRepo, Machine, files_below, in_folder, owner_of
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio
CANARY = "qxzheronqxz"
INDEX = """
    CREATE VIRTUAL TABLE "the words" USING fts5 (content, message UNINDEXED, tokenize = "unicode61");
    CREATE TRIGGER word_in AFTER INSERT ON messages
    BEGIN INSERT INTO "the words" VALUES (new.content, new.id); END;
    CREATE TRIGGER word_changed AFTER UPDATE OF content ON messages
    BEGIN UPDATE "the words" SET content = new.content WHERE message = new.id; END;
    CREATE TRIGGER word_out AFTER DELETE ON messages
    BEGIN DELETE FROM "the words" WHERE message = old.id; END;
"""


@pytest.fixture
async def machine(tmp_path):
    machine = Machine(tmp_path / "disk", HookedRepo(MemoryRepo("ada/chats")))
    await machine.db.alone(lambda db: db.executescript(INDEX))
    yield machine
    machine.close()


async def deleted_among_others(machine: Machine) -> None:
    """A conversation that is deleted, and others around it that stay; long enough for pages of its own."""
    gone = None
    for number in range(60):
        long = "heron " * 900 if number % 7 == 0 else ""
        text = f"{CANARY} {number} {long}" if number in (13, 14, 42) else f"Question {number} {long}"
        found = await machine.turn(owner_of(1), gone if number in (14, 42) else None, text, text)
        gone = found if number == 13 else gone
    await machine.store.delete(owner_of(1), gone)


async def test_after_scrubbing_no_byte_of_it_is_in_any_file(machine, tmp_path):
    await deleted_among_others(machine)
    assert in_folder(tmp_path, CANARY), "it would be there otherwise"
    assert await scrub(machine.db)
    assert not in_folder(tmp_path, CANARY)
    assert in_folder(tmp_path, "Question 59")
    words = 'SELECT count(*) FROM "the words" WHERE "the words" MATCH \'question\''
    assert await machine.figure(words) == 57 * 2


async def test_without_an_index_it_is_the_log_that_is_cut(tmp_path):
    machine = Machine(tmp_path / "disk", HookedRepo(MemoryRepo("ada/chats")))
    await deleted_among_others(machine)
    assert in_folder(tmp_path, CANARY)
    assert await scrub(machine.db)
    assert not in_folder(tmp_path, CANARY)
    machine.close()


async def test_a_deletion_before_a_crash_is_scrubbed_after_it(machine, tmp_path):
    await deleted_among_others(machine)
    machine.db.close()
    again = Machine(tmp_path / "disk", machine.repo)
    machine.db = again.db
    assert await again.figure("SELECT marks > done FROM scrubbing")
    assert await scrub(again.db)
    assert not in_folder(tmp_path, CANARY)
    assert await again.figure("SELECT marks = done FROM scrubbing")


async def test_a_reader_that_holds_the_log_is_waited_for_and_turns_go_on(machine, tmp_path):
    await deleted_among_others(machine)
    reader = sqlite3.connect(machine.db.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchone()
    assert not await scrub(machine.db)
    await machine.turn(owner_of(2), None, "meanwhile")
    reader.close()
    assert await scrub(machine.db)
    assert not in_folder(tmp_path, CANARY)


async def test_where_nothing_was_deleted_nothing_is_done(machine):
    assert await scrub(machine.db)
    await machine.turn(owner_of(1), None, "question")
    log = Path(f"{machine.db.path}-wal")
    size = log.stat().st_size
    assert size and await scrub(machine.db)
    assert log.stat().st_size == size


async def test_the_app_does_it_by_itself(machine, tmp_path):
    running = asyncio.create_task(scrub_forever(machine.db, tick=0.01))
    await deleted_among_others(machine)
    async with asyncio.timeout(180):
        while await machine.figure("SELECT marks > done FROM scrubbing"):
            await asyncio.sleep(0.01)
    running.cancel()
    assert not in_folder(tmp_path, CANARY)


async def moved_about(machine: Machine) -> list[str]:
    """Rows that grow amid others, so that pages are split and what is on them moves. Returns words of those deleted."""

    def write(db: sqlite3.Connection) -> list[str]:
        drawn, kept, gone = random.Random(1), {}, []
        db.execute("CREATE TABLE moved (id INTEGER PRIMARY KEY, content TEXT)")
        for number in range(3000):
            kept[number] = f"<{CANARY} {number}>"
            db.execute("INSERT INTO moved VALUES (?, '')", (number,))
            words = kept[number] + "y" * drawn.randrange(10, 400)
            db.execute("UPDATE moved SET content = ? WHERE id = ?", (words, number))
            if drawn.random() < 0.3:
                grows = drawn.choice(list(kept))
                db.execute("UPDATE moved SET content = content || ? WHERE id = ?", ("z" * 300, grows))
            if drawn.random() < 0.5:
                gone.append(kept.pop(goes := drawn.choice(list(kept))))
                db.execute("DELETE FROM moved WHERE id = ?", (goes,))
        db.execute("UPDATE scrubbing SET marks = marks + 1")
        return gone

    return await machine.db.write(write)


def found(folder: Path, words: list[str]) -> list[str]:
    content = b"".join(content for _, content in files_below(folder))
    return [each for each in words if each.encode() in content]


async def test_copies_that_sqlite_left_when_it_moved_rows_go_when_the_file_is_written_anew(machine, tmp_path):
    gone = await moved_about(machine)
    assert await scrub(machine.db)
    assert found(tmp_path, gone), "they would be there otherwise"
    assert await rewrite(machine.db)
    assert not found(tmp_path, gone)


async def test_the_file_is_written_anew_now_and_then_and_only_after_a_deletion(machine, tmp_path):
    now = [0.0]
    running = asyncio.create_task(scrub_forever(machine.db, tick=0.01, elapsed=lambda: now[0]))
    gone = await moved_about(machine)
    async with asyncio.timeout(180):
        while await machine.figure("SELECT marks > done FROM scrubbing"):
            await asyncio.sleep(0.01)
        assert found(tmp_path, gone)
        now[0] = APART
        while found(tmp_path, gone):
            await asyncio.sleep(0.01)
        # Nothing was deleted since, and whatever else was written is left alone.
        now[0] = 3 * APART
        await machine.turn(owner_of(1), None, "question")
        await asyncio.sleep(0.1)
        assert Path(f"{machine.db.path}-wal").stat().st_size
    running.cancel()


class Slow:
    """A clock on which merging takes `seconds` wherever there is something to merge, and a sleep that is noted and is over
    at once. After `last` of them it is cancelled."""

    def __init__(self, seconds: float, last: int) -> None:
        self.seconds, self.last, self.now, self.waits = seconds, last, 0.0, []

    def elapsed(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == self.last:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


class SlowDatabase:
    """Hands every call on to `db`, and takes the time of `slow` for each cut of the log."""

    def __init__(self, db, slow: Slow) -> None:
        self._db, self._slow = db, slow

    def __getattr__(self, name: str):
        return getattr(self._db, name)

    async def alone(self, fn):
        self._slow.now += self._slow.seconds
        return await self._db.alone(fn)


async def test_merging_takes_a_small_share_of_the_time_however_long_it_takes(machine, tmp_path):
    """What was deleted right after a merge that took long waits for its share; where nothing is merged, nothing waits."""
    await deleted_among_others(machine)
    slow = Slow(2.0, last=4)
    with pytest.raises(asyncio.CancelledError):
        await scrub_forever(SlowDatabase(machine.db, slow), tick=1.0, elapsed=slow.elapsed, sleep=slow.sleep)
    assert slow.waits == [1.0, 2.0 * MERGE_SHARE, 1.0, 1.0]
    assert not in_folder(tmp_path, CANARY)
