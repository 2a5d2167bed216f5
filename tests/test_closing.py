"""Closing an account ends it on every machine, and no version of the private dataset says afterwards who it was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from chat.backup_incoming import merge_owner
from chat.backup_rows import owner_line, state
from chat.visitors.session_rows import insert_session, upsert_account
from chat.visitors.sessions import Sessions
from chat.visitors.visitor import HubUser
from privacy import policy
from privacy.closing import erase_closed
from privacy.extra import waits_to_leave
from privacy.forgetting import KEPT
from privacy.ledger import Choice, record
from tests.support.memory_repo import MemoryRepo
from tests.test_forgetting import NOW, Disk, disk  # noqa: F401

pytestmark = pytest.mark.anyio

NAME, HUB_ID = "qxznameqxz", "hub-id-42"
LATER = NOW + KEPT  # the lease of a machine that is gone is over


async def nobody(token: str) -> None:
    raise AssertionError("no Hub token comes here")


async def signed_in(machine: Disk) -> str:
    account = await machine.db.write(lambda db: upsert_account(db, HubUser(HUB_ID, NAME, ()), NOW))
    await machine.db.write(lambda db: insert_session(db, b"s" * 32, account.owner, "cookie", NOW))
    return account.owner


async def said(machine: Disk, owner: str, kind: str) -> str:
    event = await machine.db.write(lambda db: record(db, owner, Choice(kind), policy.without_text("page"), NOW))
    return event.subject


async def close(machine: Disk, owner: str) -> None:
    await Sessions(machine.db, machine.clock, nobody).close(owner)


async def purge_waits(machine: Disk) -> bool:
    return await machine.db.read(lambda db: state(db, "purge_at")) is not None


async def count(machine: Disk, *tables: str) -> list[int]:
    return await machine.db.read(
        lambda db: [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    )


async def later(make: Callable[[MemoryRepo], Disk], one: Disk) -> Disk:
    """A new disk, after the machine of `one` was lost."""
    two = make(one.repo)
    two.clock.now = LATER
    await two.save()
    return two


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_closed_account_leaves_the_history_though_it_had_no_conversation(disk, is_lost):  # noqa: F811
    one = disk()
    owner = await signed_in(one)
    await one.save()
    await close(one, owner)
    await close(one, owner)
    await one.save()
    assert NAME in one.repo.everything() and await purge_waits(one)
    two = await later(disk, one) if is_lost else one
    assert await purge_waits(two), "by itself, and soon"
    await two.backup.purge()
    assert not any(text in two.repo.everything() for text in (NAME, HUB_ID))
    await two.save()
    assert not await purge_waits(two)
    three = await later(disk, two)
    assert not await purge_waits(three)


async def test_an_account_whose_line_is_still_to_be_written_anew_is_not_called_purged(disk):  # noqa: F811
    one = disk()
    owner = await signed_in(one)
    await one.save()
    await close(one, owner)
    mark = "INSERT INTO stale_accounts VALUES (?, 9) ON CONFLICT DO UPDATE SET marks = marks + 1"
    await one.save()
    unpurged = "SELECT count(*) FROM tombstones WHERE purged_at IS NULL"

    async def look() -> None:
        await one.db.write(lambda db: db.execute(mark, (owner,)))

    one.backup.look_before_purging(look)
    await one.backup.purge()
    assert await one.db.read(lambda db: db.execute(unpurged).fetchone()[0]) == 1


@pytest.mark.parametrize("is_lost", [False, True])
async def test_whose_number_it_was_leaves_the_history_with_the_account(disk, is_lost):  # noqa: F811
    one = disk()
    owner = await signed_in(one)
    subject = await said(one, owner, "deny")
    await one.save()
    await said(one, owner, "delete")
    await close(one, owner)
    await one.save()
    await one.backup.purge()
    mapping = json.dumps({"owner": owner, "subject": subject})[1:]
    assert mapping in one.repo.everything(), "until nothing of it can be public any more"
    assert await one.db.write(erase_closed) == [owner]
    await one.save()
    assert mapping in one.repo.everything() and await one.db.read(waits_to_leave)
    two = await later(disk, one) if is_lost else one
    assert await two.db.read(waits_to_leave)
    await two.forget(LATER)
    assert not any(text in two.repo.everything() for text in (NAME, HUB_ID, mapping))
    assert subject in two.repo.everything(), "the events stay"
    await two.save()
    three = await later(disk, two)
    assert not await two.db.read(waits_to_leave) and not await three.db.read(waits_to_leave)


async def test_an_account_is_closed_on_the_other_machines_and_none_of_them_writes_it_anew(disk):  # noqa: F811
    one = disk()
    owner = await signed_in(one)
    await one.save()
    two = disk(one.repo)
    await two.save()
    assert await count(two, "accounts", "sessions") == [1, 1]
    await close(one, owner)
    await one.save()
    await two.save()
    assert await count(two, "accounts", "sessions") == [0, 0]
    await one.save()
    assert not any(NAME in content.decode() for content in one.repo.now().values())
    commits = one.repo.commits
    for machine in (one, two, one, two):
        await machine.save()
    assert one.repo.commits == commits, "they agree"


async def test_no_copy_brings_a_closed_account_back_and_whoever_signs_in_again_is_somebody_new(disk):  # noqa: F811
    one = disk()
    owner = await signed_in(one)
    copy = await one.db.read(lambda db: owner_line(db, owner))
    await one.save()
    await close(one, owner)
    again = await one.db.write(lambda db: upsert_account(db, HubUser(HUB_ID, NAME, ()), NOW + 1))
    await one.save()
    await one.backup.purge()
    assert again.owner != owner
    await one.db.write(lambda db: merge_owner(db, copy))
    owners = await one.db.read(lambda db: [row["owner"] for row in db.execute("SELECT owner FROM accounts")])
    assert owners == [again.owner] and await count(one, "sessions") == [0]
    await one.save()
    assert await purge_waits(one), "the copy may be in a commit"


async def test_who_signs_in_again_is_somebody_new_to_a_machine_that_hears_of_both_at_once(disk):  # noqa: F811
    one = disk()
    closed = await signed_in(one)
    await one.save()
    two = disk(one.repo)
    await two.save()
    await close(one, closed)
    again = await one.db.write(lambda db: upsert_account(db, HubUser(HUB_ID, NAME, ()), NOW + 1))
    conversation = await one.turn(again.owner, None, "I am back.")
    await one.save()
    await two.save()
    for machine in (one, two):
        found = await machine.everything()
        assert [row[0] for row in found["accounts"]] == [again.owner]
        assert [row[:2] for row in found["conversations"]] == [(conversation, again.owner)]


@pytest.mark.parametrize("first", ["closing", "turn"])
async def test_what_was_written_elsewhere_while_the_account_was_closed_goes_with_it(disk, first: str):  # noqa: F811
    """Nobody is left who could delete it. Whichever of the two is saved first."""
    one = disk()
    owner = await signed_in(one)
    await one.save()
    two = disk(one.repo)
    await two.save()
    await close(one, owner)
    await two.turn(owner, None, NAME)
    for machine in (one, two, one) if first == "closing" else (two, one, two):
        await machine.save()
    assert await count(one, "conversations") == await count(two, "conversations") == [0]
    assert not any(NAME in content.decode() for content in one.repo.now().values())
    assert await purge_waits(one) or await purge_waits(two)
    for machine in (one, two):
        machine.clock.now = LATER
        await machine.save()
        await machine.backup.purge()
        await machine.save()
    assert NAME not in one.repo.everything()
