"""What a visitor's new conversations begin with: set, forgotten, kept apart by owner, and moved with them."""

from __future__ import annotations

import pytest

from chat.conversation import SamplingParams
from chat.db import Database
from chat.defaults import OwnDefault, OwnDefaults, move
from tests.support.fakes import TickingClock

pytestmark = pytest.mark.anyio

OWNER, OTHER = "1" * 32, "2" * 32
BRIEF = OwnDefault(SamplingParams(temperature=0.1, seed=3), "Be brief.")
LOUD = OwnDefault(SamplingParams(temperature=1.9), "SHOUT.")


@pytest.fixture
def defaults(tmp_path):
    database = Database.open(tmp_path)
    for owner in (OWNER, OTHER):
        sql = "INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)"
        database.submit(lambda db, sql=sql, id=owner: db.execute(sql, (id,))).result()
    yield OwnDefaults(database, TickingClock())
    database.close()


async def rows(defaults: OwnDefaults) -> list[tuple]:
    sql = "SELECT owner, model, params, system_prompt FROM own_defaults"
    return await defaults._db.read(lambda db: [tuple(row) for row in db.execute(sql)])


async def test_one_is_kept_for_each_owner_and_model(defaults):
    await defaults.set(OWNER, "starter", LOUD)
    await defaults.set(OWNER, "starter", BRIEF)
    await defaults.set(OWNER, "poet", LOUD)
    assert await defaults.of(OWNER) == {"starter": BRIEF, "poet": LOUD}
    assert await defaults.of(OTHER) == {}


async def test_a_forgotten_one_leaves_no_text(defaults):
    await defaults.set(OWNER, "starter", BRIEF)
    await defaults.forget(OWNER, "starter")
    await defaults.forget(OWNER, "poet")
    assert await defaults.of(OWNER) == {}
    assert await rows(defaults) == [(OWNER, "starter", None, "")], "that it was forgotten beats an older copy"


async def test_what_an_owner_set_moves_and_the_other_ones_own_stays(defaults):
    await defaults.set(OWNER, "starter", BRIEF)
    await defaults.set(OWNER, "poet", BRIEF)
    await defaults.set(OTHER, "poet", LOUD)
    await defaults._db.write(lambda db: move(db, OWNER, OTHER))
    assert await defaults.of(OTHER) == {"starter": BRIEF, "poet": LOUD}
    assert await defaults.of(OWNER) == {}


async def test_they_go_with_their_owner(defaults):
    await defaults.set(OWNER, "starter", BRIEF)
    await defaults._db.write(lambda db: db.execute("DELETE FROM owners WHERE id = ?", (OWNER,)))
    assert await rows(defaults) == []


async def test_one_that_the_ranges_no_longer_allow_counts_as_none(defaults):
    sql = "INSERT INTO own_defaults VALUES (?, 'starter', '{\"temperature\": 99}', '', 1.0)"
    await defaults._db.write(lambda db: db.execute(sql, (OWNER,)))
    assert await defaults.of(OWNER) == {}
