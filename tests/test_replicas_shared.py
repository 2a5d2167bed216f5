"""Two apps on one private dataset that share: each turn leaves once, and what is taken back on either is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.backup import Backup
from chat.lease import PATH, Lease
from privacy.extra import saved_parts, waits_to_leave
from privacy.outbox import plan
from tests.support.hub.testing import Clock
from tests.support.memory_repo import MemoryRepo, text_of
from tests.support.sharing_world import ALPHA, QUIET, World

pytestmark = pytest.mark.anyio


class Replica(World):
    """A world whose ledger and outbox are backed up, and that pushes only while it holds the lease."""

    def __init__(self, folder: Path, private: MemoryRepo, public: dict[str, MemoryRepo], clock: Clock) -> None:
        super().__init__(folder, lambda id: public.setdefault(id, MemoryRepo(id)))
        self.clock = self.store.clock = clock
        self.backup = Backup(
            self.store,
            private,
            clock,
            extras=saved_parts(self.db),
            lease=Lease(clock, clock),
            wants_lease=lambda: self.db.read(waits_to_leave),
        )
        self.here = self.sharing(before_public=self.backup.flush, holds_lease=self.backup.lease.held)

    async def plan(self) -> None:
        await plan(self.db, self.rules, now=self.clock(), restored=True)

    async def kept(self) -> list[tuple]:
        columns = "row_id, conversation, state, shard, published_at, retract_at, retracted_at, retracted_in"
        sql = f"SELECT {columns} FROM outbox ORDER BY row_id"
        return await self.db.read(lambda db: [tuple(row) for row in db.execute(sql)])


@pytest.fixture
def both(tmp_path):
    private, public, clock = MemoryRepo("ada/chats"), {}, Clock()
    one, two = (Replica(tmp_path / name, private, public, clock) for name in ("one", "two"))
    yield one, two, private, public
    one.close()
    two.close()


async def settle(*replicas: Replica) -> None:
    for _ in range(4):
        for replica in replicas:
            await replica.backup.flush()


async def test_turns_that_both_planned_leave_once_and_what_one_takes_back_the_other_removes(both):
    one, two, private, public = both
    ada = await one.person()
    await one.choose(ada, "grant", "acme")
    conversation = await one.say(ada, "remember the heron")
    await settle(one, two)
    one.clock.now += QUIET
    for replica in both[:2]:
        await replica.plan()
        assert await replica.states() == ["publish"]
    await one.backup.flush()  # takes the lease
    await two.backup.flush()
    assert one.backup.lease.held() and not two.backup.lease.held()
    await two.here.turn(restored=lambda: True)
    assert not public
    await one.here.turn(restored=lambda: True)
    await settle(one, two)
    await two.plan()
    assert await two.kept() == await one.kept()
    (dataset,) = [repo for id, repo in public.items() if not id.endswith("-audit")]
    assert (
        sum(text_of(content).count("remember the heron") for content in dataset.now().values()) == 2
    )  # and the answer

    await two.choose(ada, "withdraw", "acme")
    await two.backup.flush()
    await two.here.turn(restored=lambda: True)
    assert "remember the heron" in dataset.everything()
    await two.backup.flush()
    await one.backup.flush()
    assert [replica.backup.lease.held() for replica in (one, two)].count(True) == 1
    for replica in (one, two):
        await replica.here.turn(restored=lambda: True)
    assert "remember the heron" not in dataset.everything()
    await settle(one, two)
    assert await two.kept() == await one.kept()
    assert [row[1:3] for row in await two.kept()] == [(conversation, "retracted")]
    before = private.now()
    await settle(one, two)
    assert {path for path, content in private.now().items() if before.get(path) != content} <= {PATH}


async def test_a_push_reads_the_ledger_at_the_private_head_first(both):
    """A withdrawal that another replica committed is known before anything is sent."""
    one, two, _, public = both
    ada = await one.person()
    await one.choose(ada, "grant", "acme")
    await one.say(ada, "remember the heron", model=ALPHA)
    await settle(one, two)
    one.clock.now += QUIET
    await one.plan()
    await one.backup.flush()
    assert one.backup.lease.held()
    await two.choose(ada, "withdraw", "acme")
    await two.backup.flush()
    await one.here.turn(restored=lambda: True)
    assert "heron" not in "".join(dataset.everything() for dataset in public.values())
