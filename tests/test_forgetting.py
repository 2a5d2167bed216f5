"""What was written in a report, and where its writer can be answered, is not kept longer than the privacy text says."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from chat.backup import Backup
from chat.db import MIGRATIONS, Database
from chat.lease import Lease
from chat.scrub import scrub
from chat.store import Store
from privacy import MIGRATIONS as PRIVACY_MIGRATIONS
from privacy import forgetting, policy
from privacy.extra import saved_parts, waits_to_leave
from privacy.forgetting import KEPT, forget_reports, forget_written
from privacy.policy.words import LANGUAGES, words
from privacy.reports import decide, open_reports, report
from privacy.saved import files, restore
from tests.support.backing import Machine, in_folder
from tests.support.fakes import TickingClock
from tests.support.memory_repo import MemoryRepo
from tests.test_policy_texts import HOUSE

pytestmark = pytest.mark.anyio

ABOUT, REASON, CONTACT = "qxzaboutqxz", "qxzreasonqxz", "qxzcontact@home.example"
WRITTEN = (ABOUT, REASON, CONTACT)
NOW = 1_750_000_000.0


class Disk(Machine):
    """A machine whose backup knows the reports too."""

    def __post_init__(self) -> None:
        self.db = Database.open(self.folder, migrations={**MIGRATIONS, "privacy": PRIVACY_MIGRATIONS})
        self.store = Store(self.db, self.clock)
        lease, extras = Lease(self.clock, self.clock), saved_parts(self.db)
        self.backup = Backup(
            self.store,
            self.repo,
            self.clock,
            extras=extras,
            lease=lease,
            wants_lease=lambda: self.db.read(waits_to_leave),
        )

    async def complain(self, *written: str) -> str:
        found = await self.db.write(lambda db: report(db, *(written or WRITTEN), NOW))
        return found.id

    async def decide(self, id: str, at: float = NOW, decision: str = "rejected") -> None:
        await self.db.write(lambda db: decide(db, id, decision, at))

    async def save(self) -> None:
        await self.backup.pull()
        await self.backup.flush()

    async def forget(self, at: float) -> None:
        await forget_reports(self.db, at, self.save, self.backup.purge, self.backup.lease.held)

    async def written(self) -> list[tuple[str, str, str]]:
        sql = "SELECT about, reason, contact FROM reports ORDER BY about"
        return await self.db.read(lambda db: [tuple(row) for row in db.execute(sql)])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made: list[Disk] = []

    def make(repo: MemoryRepo | None = None) -> Disk:
        repo = repo or MemoryRepo("ada/kept")
        made.append(Disk(tmp_path / f"disk{len(made)}", repo, TickingClock(NOW)))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


async def test_what_was_written_is_erased_a_while_after_the_decision_and_the_decision_stays(disk):
    one = disk()
    decided, waiting = await one.complain(), await one.complain("another", "still open", CONTACT)
    await one.decide(decided)
    assert await one.db.write(lambda db: forget_written(db, NOW + KEPT - 1)) == 0
    assert await one.db.write(lambda db: forget_written(db, NOW + KEPT)) == 1
    assert await one.written() == [("-", "-", ""), ("another", "still open", CONTACT)]
    assert [found.id for found in await one.db.read(open_reports)] == [waiting]
    states = await one.db.read(lambda db: dict(map(tuple, db.execute("SELECT id, state FROM reports"))))
    assert states == {decided: "rejected", waiting: "open"}
    assert await one.db.write(lambda db: forget_written(db, NOW + 10 * KEPT)) == 0


async def test_no_byte_of_the_database_the_dataset_or_its_history_has_it_any_more(disk, tmp_path):
    one = disk()
    await one.decide(await one.complain())
    await one.save()
    await one.complain("another", "still open", "")
    await one.save()
    assert all(text in one.repo.everything() and in_folder(tmp_path, text) for text in WRITTEN)
    await one.forget(NOW + KEPT)
    assert not any(text in one.repo.everything() for text in WRITTEN) and "still open" in one.repo.everything()
    await scrub(one.db)
    assert not any(in_folder(tmp_path, text) for text in WRITTEN)
    commits = one.repo.commits
    await one.forget(NOW + KEPT + 1)
    assert one.repo.commits == commits, "once"


@pytest.mark.parametrize("at", ["save", "purge"])
async def test_what_was_cut_off_goes_on_the_next_time(disk, at):
    one = disk()
    await one.decide(await one.complain())
    await one.save()

    async def broken() -> None:
        raise ConnectionError

    ways = {"save": one.save, "purge": one.backup.purge, at: broken}
    with pytest.raises(ConnectionError):
        await forget_reports(one.db, NOW + KEPT, ways["save"], ways["purge"], one.backup.lease.held)
    assert CONTACT in one.repo.everything()
    await one.forget(NOW + KEPT + 1)
    assert CONTACT not in one.repo.everything()


@pytest.mark.parametrize("is_saved", [True, False], ids=["saved", "not saved"])
async def test_what_was_erased_on_a_disk_that_is_lost_leaves_the_history_once_and_for_all_machines(disk, is_saved):
    one = disk()
    await one.decide(await one.complain())
    await one.save()

    async def lost() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ways = (one.save, lost) if is_saved else (lost, lost)
        await forget_reports(one.db, NOW + KEPT, *ways, one.backup.lease.held)
    two = disk(one.repo)
    two.clock.now = NOW + 2 * KEPT  # the lease of the one that is gone is over
    await two.save()
    assert await two.db.read(waits_to_leave) == is_saved
    await two.forget(NOW + 2 * KEPT)
    assert await two.written() == [("-", "-", "")] and CONTACT not in two.repo.everything()
    await two.save()
    assert not await two.db.read(waits_to_leave)
    three = disk(two.repo)
    await three.save()
    assert await three.written() == [("-", "-", "")] and not await three.db.read(waits_to_leave)


async def test_a_machine_without_the_lease_asks_for_it_and_rewrites_nothing_until_it_has_it(disk):
    one = disk()
    await one.decide(await one.complain())
    await one.save()

    async def never() -> None:
        raise AssertionError("The lease is another's.")

    await forget_reports(one.db, NOW + KEPT, one.save, never, lambda: False)
    assert await one.written() == [("-", "-", "")] and await one.db.read(waits_to_leave)
    await one.forget(NOW + KEPT)
    assert CONTACT not in one.repo.everything() and not await one.db.read(waits_to_leave)


async def test_no_copy_brings_it_back_and_every_machine_hears_of_it_in_any_order(disk):
    one = disk()
    id = await one.complain()
    undecided = await one.db.read(files)
    await one.decide(id)
    decided = await one.db.read(files)
    await one.db.write(lambda db: forget_written(db, NOW + KEPT))
    erased = await one.db.read(files)
    for order in itertools.permutations((undecided, decided, erased)):
        other = disk()
        for copy in (*order, *order):
            await other.db.write(lambda db, copy=copy: restore(db, copy))
        assert await other.written() == [("-", "-", "")]
        assert not await other.db.read(open_reports)


async def test_the_database_lets_nobody_change_or_erase_what_waits_for_a_decision(disk):
    one = disk()
    id = await one.complain()
    erase = "UPDATE reports SET about = '-', reason = '-', contact = ''"
    with pytest.raises(sqlite3.IntegrityError, match="once it is decided"):
        await one.db.write(lambda db: db.execute(erase))
    await one.decide(id)
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        await one.db.write(lambda db: db.execute("UPDATE reports SET contact = 'x'"))
    await one.db.write(lambda db: db.execute(erase))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_privacy_text_says_how_long_with_the_figure_that_the_code_goes_by(language, monkeypatch):
    say = words(language)
    told = {"en": "{} after the decision", "fr": "{} après la décision", "pl": "{} decyzji"}[language]
    for days in (30, 7):
        monkeypatch.setattr(forgetting, "KEPT", days * 86400.0)
        kept = say.duration(days * 24.0, "after_" if language == "pl" else "")
        assert told.format(kept) in policy.for_everybody(language, HOUSE, "privacy").text


async def test_the_app_looks_every_hour_for_what_is_to_be_forgotten(disk, monkeypatch):
    one = disk()
    await one.decide(await one.complain())
    await one.save()
    calls = []

    class Whole:
        async def is_whole(self) -> bool:
            return True

    class Nobody:
        db = one.db

        async def expire(self, now: float) -> list[str]:
            return []

    async def forget() -> None:
        calls.append(await one.forget(NOW + KEPT))
        raise EndOfTest

    class EndOfTest(BaseException):
        pass

    with pytest.raises(EndOfTest):
        await app.expire_forever(Whole(), Nobody(), None, one.clock, forget)
    assert calls == [None] and CONTACT not in one.repo.everything()
