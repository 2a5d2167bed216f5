"""A disk that is put back to a snapshot: what was said on it before and after is everybody's, and no chain forks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from privacy.consent import Standpoint
from privacy.ledger import events_of, subjects_of, verify_chains
from privacy.unread import close_unread
from privacy.verify import main as verify
from tests.support.hub.testing import Clock
from tests.support.memory_repo import MemoryRepo
from tests.support.sharing_world import ALPHA, DB, QUIET
from tests.test_replicas_shared import Replica, settle

pytestmark = pytest.mark.anyio


class Disks:
    """Machines on one private dataset. `start(name)`: a process on the disk of that name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.private, self.public = MemoryRepo("ada/chats"), {}
        self.running: dict[str, Replica] = {}

    async def start(self, name: str) -> Replica:
        found = self.running[name] = Replica(self.folder / name, self.private, self.public, self.clock)
        await found.here.begin()
        # Not the time in which it is looked up shall decide what is covered here.
        await found.db.write(lambda db: close_unread(db, self.clock()))
        return found

    def stop(self, name: str) -> Path:
        self.running.pop(name).close()
        return self.folder / name / DB

    async def with_snapshot(self, name: str) -> Replica:
        shutil.copy(self.stop(name), self.folder / "snapshot")
        return await self.start(name)

    async def put_back(self, name: str) -> Replica:
        shutil.copy(self.folder / "snapshot", self.stop(name))
        return await self.start(name)


@pytest.fixture
def disks(tmp_path):
    disks = Disks(tmp_path)
    yield disks
    for name in list(disks.running):
        disks.stop(name)


async def said(replica: Replica, owner: str) -> list[tuple[str, str | None]]:
    found = await replica.db.read(lambda db: events_of(db, *subjects_of(db, owner)))
    return [(event.kind, event.recipient) for event in found]


async def state(replica: Replica, owner: str, recipient: str) -> str:
    return await replica.db.read(
        lambda db: Standpoint(db, owner, replica.rules.terms, replica.clock()).account_state(recipient)
    )


async def test_a_disk_put_back_to_a_snapshot_forks_no_chain(disks, capsys):
    """What is said after that, before anything was read, and what had been said meanwhile: both are kept, on all machines."""
    one, two = await disks.start("one"), await disks.start("two")
    ada = await one.person()
    await one.choose(ada, "grant", "acme")
    await settle(one, two)
    one = await disks.with_snapshot("one")
    await one.choose(ada, "grant", "globex")
    await settle(one, two)
    one = await disks.put_back("one")
    await one.choose(ada, "withdraw", "acme")
    await settle(one, two, one)
    for machine in (one, two):
        assert sorted(await said(machine, ada)) == [("grant", "acme"), ("grant", "globex"), ("withdraw", "acme")]
        assert [await state(machine, ada, name) for name in ("acme", "globex")] == ["withdrawn", "granted"]
        assert await machine.db.read(verify_chains) == []
        assert machine.backup.problem is None
    assert verify([str(disks.folder / "one")], {}) == 0 == verify([str(disks.folder / "two")], {})
    assert "3 events in 3 chains" in capsys.readouterr().out


@pytest.mark.parametrize("after_the_snapshot", ["withdraw", "deny"])
async def test_a_yes_of_a_disk_put_back_does_not_undo_a_no_that_it_has_forgotten(disks, after_the_snapshot):
    one = await disks.start("one")
    ada = await one.person()
    await one.choose(ada, "grant", "acme")
    await settle(one)
    one = await disks.with_snapshot("one")
    await one.choose(ada, after_the_snapshot, "acme")
    await settle(one)
    one = await disks.put_back("one")
    await one.choose(ada, "grant", "acme")
    await one.say(ada, "remember the heron", model=ALPHA)
    await settle(one)
    assert await state(one, ada, "acme") == {"withdraw": "withdrawn", "deny": "denied"}[after_the_snapshot]
    one.clock.now += QUIET
    await settle(one)
    await one.here.turn(restored=lambda: True)
    assert "heron" not in "".join(dataset.everything() for dataset in disks.public.values())
    await one.choose(ada, "grant", "acme")
    await one.say(ada, "and the egret", model=ALPHA)
    one.clock.now += QUIET
    await one.plan()
    await settle(one)
    await one.here.turn(restored=lambda: True)
    everything = "".join(dataset.everything() for dataset in disks.public.values())
    assert "egret" in everything and "heron" not in everything
    assert one.audited() == []


async def test_a_restart_alone_is_no_reason_to_compare_everything_anew(disks):
    """It has another name for its chains then, and the times of the former one are still its own."""
    one = await disks.start("one")
    ada = await one.person()
    await one.choose(ada, "grant", "acme")
    await one.say(ada, "remember the heron", model=ALPHA)
    await one.plan()
    noted = "SELECT conversation, basis FROM compared"
    before = await one.db.read(lambda db: [tuple(row) for row in db.execute(noted)])
    disks.stop("one")
    one = await disks.start("one")
    await one.plan()
    assert before and before == await one.db.read(lambda db: [tuple(row) for row in db.execute(noted)])
