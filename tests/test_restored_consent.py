"""What was agreed to, and taken back, comes back as it was said, wherever and under whatever owner it was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.backup import Backup
from chat.backup_rows import set_state
from chat.dataset_repo import FolderRepo
from chat.db import MIGRATIONS, Database
from chat.store import Store
from privacy import MIGRATIONS as PRIVACY_MIGRATIONS
from privacy.consent import Consent, Terms
from privacy.extra import saved_parts
from privacy.ledger import Choice
from privacy.mine import shared_rows
from tests.support.fakes import TickingClock
from tests.support.sharing_world import World, shown

pytestmark = pytest.mark.anyio


class Disk:
    """An app's disk with ledger and backup; several share the folder that stands for the dataset."""

    def __init__(self, folder: Path, name: str, clock: TickingClock) -> None:
        self.db = Database.open(folder / name, migrations={**MIGRATIONS, "privacy": PRIVACY_MIGRATIONS})
        self.backup = Backup(Store(self.db, clock), FolderRepo(folder / "dataset"), clock, extras=saved_parts(self.db))
        self.consent = Consent(self.db, clock, Terms())

    async def signs_in(self, owner: str, at: float, hub_id: str = "hub-1") -> str:
        await self.db.write(lambda db: db.execute("INSERT INTO owners VALUES (?, 'account', ?, ?)", (owner, at, at)))
        row = (owner, hub_id)
        await self.db.write(lambda db: db.execute("INSERT INTO accounts VALUES (?, ?, 'grace', '[]', 5.0)", row))
        return owner

    async def says(self, owner: str, kind: str) -> None:
        await self.consent.record(owner, Choice(kind, "acme"), shown())


@pytest.fixture
def disks(tmp_path):
    clock, made = TickingClock(), []

    def make() -> Disk:
        made.append(Disk(tmp_path, f"disk{len(made)}", clock))
        return made[-1]

    yield make
    for disk in made:
        disk.db.close()


@pytest.mark.parametrize("times", [(1.0, 50.0), (50.0, 1.0)])
async def test_a_withdrawal_on_an_empty_disk_before_it_was_read_counts_after_it_was(disks, times):
    """Two owners stand for one account then; what either of them said, the one that stays has said."""
    first, second = disks(), disks()
    stays = ("b" if times[0] < times[1] else "c") * 32
    await first.says(await first.signs_in("b" * 32, times[0]), "grant")
    await first.backup.flush()
    await second.says(await second.signs_in("c" * 32, times[1]), "withdraw")
    await second.backup.pull()
    assert await second.consent.account_state(stays, "acme") == "withdrawn"
    assert [event.kind for event in await second.consent.events(stays)] == ["grant", "withdraw"]
    await second.backup.flush()
    third = disks()
    await third.backup.pull()
    await first.backup.pull()
    for disk in (first, third):
        assert await disk.consent.account_state(stays, "acme") == "withdrawn"
        assert await disk.consent.verify() == []
    await third.says(stays, "grant")
    assert await third.consent.account_state(stays, "acme") == "granted"


async def test_a_withdrawal_while_only_the_owners_are_back_counts_with_what_comes_back_after_it(disks):
    first, second = disks(), disks()
    await first.says(await first.signs_in("b" * 32, 1.0), "grant")
    await first.backup.flush()
    await second.says(await second.signs_in("b" * 32, 1.0), "withdraw")
    await second.backup.pull()
    assert [event.kind for event in await second.consent.events("b" * 32)] == ["grant", "withdraw"]


async def test_of_owners_that_are_joined_one_after_the_other_everything_said_is_the_last_ones(disks):
    """d says no and becomes c; c becomes b; then a file still names d."""
    first, second, third = disks(), disks(), disks()
    await second.signs_in("c" * 32, 20.0)
    await second.backup.flush()
    await third.says(await third.signs_in("d" * 32, 30.0), "withdraw")
    await third.backup.pull()
    await first.says(await first.signs_in("b" * 32, 10.0), "grant")
    await first.backup.flush()
    await third.backup.pull()
    await third.db.write(
        lambda db: db.execute("INSERT INTO subjects (owner, subject) VALUES (?, ?)", ("d" * 32, "e" * 32))
    )
    owners = await third.db.read(lambda db: {row["owner"] for row in db.execute("SELECT owner FROM subjects")})
    assert owners == {"b" * 32}


async def test_rows_of_owners_that_are_joined_are_planned_once_and_all_of_them_are_shown_and_taken_back(tmp_path):
    """The account was agreed to under two owners, each with a row out; then they are one."""
    world = World(tmp_path)
    owners = [await world.person(), await world.person()]
    for owner in owners:
        await world.choose(owner, "grant", "acme")
        await world.say(owner, "Say hello")
    await world.turn()
    await world.db.write(lambda db: set_state(db, f"became:{owners[1]}", owners[0]))
    await world.db.write(lambda db: db.execute("UPDATE conversations SET owner = ?", (owners[0],)))
    planned, _ = await world.turn()
    rows = await world.db.read(lambda db: shared_rows(db, owners[0]))
    assert ([row.state for row in rows], planned.publish, planned.retract) == (["published", "published"], 0, 0)
    await world.say(owners[0], "Say hello again")
    planned, _ = await world.turn()
    assert planned.publish == 1
    await world.choose(owners[0], "withdraw", "acme")
    planned, _ = await world.turn()
    assert (planned.retract, planned.stopped) == (3, None)
    world.close()


async def test_a_choice_that_is_not_saved_yet_waits(disks):
    disk = disks()
    owner = await disk.signs_in("b" * 32, 1.0)
    await disk.backup.flush()
    assert (await disk.backup.figures()).backlog == 0
    await disk.says(owner, "grant")
    assert (await disk.backup.figures()).backlog > 0
    await disk.backup.flush()
    assert (await disk.backup.figures()).backlog == 0
    row = ("ada/parley", "alpha", "acme", 1.0)
    await disk.db.write(lambda db: db.execute("INSERT INTO sharing_datasets VALUES (?, ?, ?, ?)", row))
    assert (await disk.backup.figures()).backlog > 0
