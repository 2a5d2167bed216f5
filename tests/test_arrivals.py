"""Whoever comes while everything is brought back gets theirs first, and waits for nobody else's."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chat.arrivals import WORKERS, Arrivals
from chat.dataset_repo import Unreachable
from tests.support.backing import HookedRepo, Machine, owner_of
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio
PATHS = [f"{owner}/{part}" for owner in "abcdefghijk" for part in range(2)]


class Files:
    """Reads each of `paths` as long as it takes for `go` to be set again, and notes the order."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.go = asyncio.Event()

    async def take(self, path: str, gently: bool) -> None:
        self.read.append(f"{path}{' gently' if gently else ''}")
        if gently:
            await self.go.wait()


async def turn_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_comes_goes_first_and_each_is_read_once():
    coming, files = Arrivals(lambda path: path[0], head_start=3.0), Files()
    coming.begin()
    early = asyncio.create_task(coming.of("d", 30))
    await turn_of_the_loop()
    taking = asyncio.create_task(coming.take(PATHS, files.take))
    assert await early
    assert files.read == ["d/0", "d/1"]  # the others only after a moment
    async with asyncio.timeout(180):
        while len(files.read) < 2 + WORKERS:
            await asyncio.sleep(0.05)
    assert set(files.read[2:]) <= {f"{path} gently" for path in PATHS}
    files.go.set()
    await taking
    coming.end()
    assert sorted(name.partition(" ")[0] for name in files.read) == sorted(PATHS)


async def test_nobody_waits_where_nothing_is_brought_back_and_nobody_for_ever():
    coming, files = Arrivals(lambda path: path[0]), Files()
    assert await coming.of("a", 0)
    coming.begin()
    assert not await coming.of("a", 0.01)  # which files there are is not known yet
    taking = asyncio.create_task(coming.take(["b/0"], lambda path, gently: asyncio.sleep(60)))
    await turn_of_the_loop()
    assert await coming.of("z", 0)  # there is nothing of theirs
    assert not await coming.of("b", 0.01)
    waiting = asyncio.create_task(coming.of("b", 30))
    await turn_of_the_loop()
    taking.cancel()
    coming.end()  # the Hub is gone, for instance
    assert await waiting
    assert files.read == []


async def test_what_fails_ends_it_with_what_was_wrong():
    async def fail(path: str, gently: bool) -> None:
        raise Unreachable("The Hub is gone.")

    with pytest.raises(Unreachable):
        await Arrivals(lambda path: path[0]).take(PATHS, fail)


async def test_once_everything_was_here_nothing_is_slow_any_more():
    files = Files()
    files.go.set()
    await Arrivals(lambda path: path[0]).take(PATHS, files.take)
    assert sorted(files.read) == sorted(PATHS)


class Slow(HookedRepo):
    """Of what people said, that of one alone comes until `go_on` is set."""

    def __init__(self, repo: MemoryRepo, soon: str, go_on: threading.Event) -> None:
        super().__init__(repo)
        self.soon, self.go_on = soon, go_on

    def read(self, path: str, revision: str) -> bytes:
        if path.startswith("users/") and self.soon not in path:
            self.go_on.wait(180)
        return self.repo.read(path, revision)


async def test_a_returning_visitors_list_does_not_wait_for_the_others(tmp_path):
    repo = MemoryRepo("ada/chats")
    machine = Machine(tmp_path / "disk0", HookedRepo(repo))
    for number in range(60):
        await machine.turn(owner_of(number), None, f"question {number}")
    await machine.backup.flush()
    machine.close()
    last, go_on = max(owner_of(number) for number in range(60)), threading.Event()
    again = Machine(tmp_path / "disk1", Slow(repo, last, go_on))
    pulling = asyncio.create_task(again.backup.pull())
    try:
        await again.backup.owners_back.wait()
        assert await again.backup.arrivals.of(last, 180)
        assert len((await again.store.conversations(last))[0]) == 1
        assert await again.figure("SELECT count(*) FROM conversations") == 1
    finally:
        go_on.set()
    await pulling
    assert await again.figure("SELECT count(*) FROM conversations") == 60
    again.close()
