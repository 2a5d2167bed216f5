"""What is written while it is not known what somebody took back is covered by no older yes."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from unittest.mock import Mock

import pytest

from privacy.consent import Consent
from privacy.ledger import Choice
from privacy.mine import outlook
from privacy.saved import files as saved_files
from privacy.unread import close_unread, open_unread
from privacy.web.desk import Desk
from tests.support.sharing_world import ALPHA, World, shown
from tests.test_sharing import agreed, dug_up, texts

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "data")
    yield world
    world.close()


async def unread(world):
    await world.db.write(lambda db: open_unread(db, world.clock()))


async def read(world):
    world.clock.now += 10
    await world.db.write(lambda db: close_unread(db, world.clock()))


async def next_turn(world, owner):
    return (await world.db.read(lambda db: outlook(db, owner, None, ALPHA, world.rules, world.clock()))).next_turn


async def forget(world, noted):
    """Not `noted`: as a version kept turns that did not note under which yes they were written. The dates decide."""
    if not noted:
        await world.db.write(lambda db: db.execute("UPDATE messages SET agreed = NULL"))


@pytest.mark.parametrize("noted", [True, False])
async def test_an_older_yes_covers_what_came_before_and_after_but_not_what_came_meanwhile(world, noted):
    owner = await agreed(world)
    chat = await world.say(owner, "before")
    await unread(world)
    assert not await next_turn(world, owner)
    await world.say(owner, "meanwhile", conversation=chat)
    await read(world)
    world.clock.now += 1
    assert await next_turn(world, owner)
    await world.say(owner, "after", conversation=chat)
    await forget(world, noted)
    await world.turn()
    assert [text for text in texts(world) if "answers" not in text] == ["after", "before"]
    assert not dug_up(world, "meanwhile")


@pytest.mark.parametrize("known", [True, False])
async def test_that_a_conversation_follows_the_account_is_written_down_where_it_is_not_known_to(world, known):
    """A share of it may be in what was not read yet, and ends with this."""
    owner = await agreed(world)
    chat = await world.say(owner, "hello")
    consent = Consent(world.db, world.clock, world.rules.terms)
    others = {each.name: Mock() for each in fields(Desk)}
    desk = Desk(**{**others, "consent": consent, "restored": lambda: known})
    await desk.record(owner, Choice("withdraw", None, chat), shown())
    assert len(await consent.events(owner)) == (1 if known else 2)


async def test_a_share_of_what_was_written_meanwhile_covers_it(world):
    owner = await world.person()
    await unread(world)
    chat = await world.say(owner, "meanwhile")
    await read(world)
    await world.choose(owner, "grant", "acme", chat, await world.answers(owner, chat))
    await world.turn()
    assert "meanwhile" in texts(world)


@pytest.mark.parametrize("noted", [True, False])
async def test_on_yet_another_disk_it_is_still_not_covered(world, tmp_path, noted):
    """The first machine ended while nothing was known; what was written there came back with the conversations."""
    owner = await agreed(world)
    await unread(world)
    await world.say(owner, "meanwhile")
    await forget(world, noted)
    saved = await world.db.read(saved_files)
    other = await world.elsewhere(tmp_path / "other", saved)
    try:
        await unread(other)
        await other.say(owner, "and on the second")
        await read(other)
        await other.say(owner, "known")
        await forget(other, noted)
        await other.turn()
        assert not dug_up(other, "meanwhile") and not dug_up(other, "and on the second") and "known" in texts(other)
        third = await other.elsewhere(tmp_path / "third", await other.db.read(saved_files))
        assert not third.repos["ada/parley-acme__alpha"].limbo
        await third.turn(0)
        assert not dug_up(third, "meanwhile") and "known" in texts(third)
        third.close()
    finally:
        other.close()


async def test_the_round_notes_by_itself_from_when_until_when(world):
    """From the start, before anybody is served, until everything is restored; and again when it no longer is."""
    owner = await agreed(world)
    sharing, restored = world.sharing(), asyncio.Event()
    await sharing.begin()
    await world.say(owner, "at the start")
    task = asyncio.create_task(sharing.run(restored, 3600.0, lambda _: None))
    await asyncio.sleep(0.05)
    assert not await next_turn(world, owner)
    world.clock.now += 1
    restored.set()
    async with asyncio.timeout(180):
        while not await next_turn(world, owner):
            await asyncio.sleep(0.01)
            world.clock.now += 1
    await world.say(owner, "known")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await world.turn()
    assert "known" in texts(world) and not dug_up(world, "at the start")
