"""Whoever comes while everything is brought back gets theirs first, and waits for nobody else's."""

from __future__ import annotations

import asyncio

import pytest

from chat.arrivals import Arrivals
from tests.support.backing import HookedRepo, Machine, owner_of
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio
PATHS = [f"{owner}/{part}" for owner in "abcde" for part in range(2)]


def arrivals() -> Arrivals:
    return Arrivals(lambda path: path[0])


async def test_who_comes_goes_first_and_each_is_read_once():
    coming = arrivals()
    coming.begin()
    late = asyncio.create_task(coming.of("d", 30))
    await asyncio.sleep(0)
    coming.expect(PATHS)
    order = coming.in_order(PATHS)
    read = [next(order)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    while not late.done() and (path := next(order, None)):
        read.append(path)
        coming.came(path)
        await asyncio.sleep(0)
    assert await late
    assert read[:3] == ["a/0", "d/0", "d/1"]
    rest = [*read, *order]
    assert sorted(rest) == sorted(PATHS)


async def test_nobody_waits_where_nothing_is_brought_back_and_nobody_for_ever():
    coming = arrivals()
    assert await coming.of("a", 0)
    coming.begin()
    assert not await coming.of("a", 0.01)  # which files there are is not known yet
    coming.expect(PATHS)
    assert await coming.of("z", 0)  # there is nothing of theirs
    assert not await coming.of("a", 0.01)
    waiting = asyncio.create_task(coming.of("b", 30))
    await asyncio.sleep(0)
    coming.end()  # the Hub is gone, for instance
    assert await waiting


async def test_a_returning_visitors_list_does_not_wait_for_the_others(tmp_path):
    repo = MemoryRepo("ada/chats")
    machine = Machine(tmp_path / "disk0", HookedRepo(repo))
    for number in range(60):
        await machine.turn(owner_of(number), None, f"question {number}")
    await machine.backup.flush()
    machine.close()
    again = Machine(tmp_path / "disk1", HookedRepo(repo))
    pulling = asyncio.create_task(again.backup.pull())
    await again.backup.owners_back.wait()
    last = max((owner_of(number) for number in range(60)), key=lambda owner: owner)
    assert await again.backup.arrivals.of(last, 30)
    assert len((await again.store.conversations(last))[0]) == 1
    assert await again.figure("SELECT count(*) FROM conversations") < 40
    await pulling
    assert await again.figure("SELECT count(*) FROM conversations") == 60
    again.close()
