"""What owners do with whole conversations, and what follows by itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from chat.engines.engine import Delta
from chat.generation import Ending, Generations
from chat.library import Library
from chat.retention import DAY
from chat.service import BadInput
from chat.stored import NotFound
from tests.support.listing import AUTHOR, OTHER, OWNER, store_in, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(tmp_path):
    store = await store_in(tmp_path)
    generations = Generations(store.checkpoint, lambda: 0.0)
    reports: list[str] = []
    library = Library(store, generations, report=reports.append)
    yield SimpleNamespace(store=store, library=library, generations=generations, reports=reports)
    await generations.stop_all(Ending("stopped"))
    store.db.close()


def with_days(app, days) -> Library:
    return Library(app.store, app.generations, retention_days=days)


async def listed(app, owner=OWNER) -> list[str]:
    return [item.id for item in (await app.store.conversations(owner))[0]]


async def test_what_was_said_is_found_after_the_next_round(app):
    id = await turn(app.store, "the narwhal")
    await app.library.tidy()
    query, hits, following = await app.library.find(OWNER, "narwhal ")
    assert {hit.conversation for hit in hits} == {id} and query and following is None
    assert (await app.library.find(OTHER, "narwhal"))[1] == []
    assert (await app.library.find(OWNER, '"*(AND'))[1] == []


async def test_deleting_stops_the_running_answer_and_undo_brings_back_what_was_written(app):
    found, _, answer = await app.store.begin_turn(OWNER, None, "prompt", AUTHOR, "", "page")

    async def words(_):
        yield Delta("some words")
        await asyncio.Event().wait()

    async def settle(written, ending):
        return await app.store.finish_turn(answer.id, written, ending.state)

    generation = app.generations.start(answer.id, words, settle)
    while not generation.pieces:
        await asyncio.sleep(0.001)
    deletion = await app.library.delete(OWNER, [found.id])
    assert app.generations.get(answer.id) is None
    assert await listed(app) == []
    assert await app.library.undo(OWNER, deletion.id) == 1
    message = await app.store.message(OWNER, answer.id)
    assert (message.content, message.state) == ("some words", "stopped")


async def test_a_deletion_is_final_after_its_time(app):
    id = await turn(app.store, "one")
    deletion = await app.library.delete(OWNER, [id])
    await app.library.tidy()
    assert await app.store.db.read(lambda db: db.execute("SELECT count(*) FROM conversations").fetchone()[0]) == 1
    app.store.clock.now += app.library.undo_seconds
    await app.library.tidy()
    assert await app.store.db.read(lambda db: db.execute("SELECT count(*) FROM conversations").fetchone()[0]) == 0
    with pytest.raises(NotFound):
        await app.library.undo(OWNER, deletion.id)


async def tombstones(app) -> list:
    return await app.store.db.read(lambda db: db.execute("SELECT conversation FROM tombstones").fetchall())


async def test_a_deletion_and_the_way_back_from_it_survive_a_restart(app):
    one, two = [await turn(app.store, text) for text in ("one", "two")]
    first = await app.library.delete(OWNER, [one])
    await app.library.delete(OWNER, [two])
    again = Library(app.store, app.generations)
    await again.start()
    assert await listed(app) == [] and await again.undo(OWNER, first.id) == 1
    assert await listed(app) == [one]
    app.store.clock.now += again.undo_seconds
    await Library(app.store, app.generations).start()
    assert len(await tombstones(app)) == 1


async def test_a_clock_that_was_set_back_before_a_restart_makes_the_way_back_no_longer(app):
    await app.library.delete(OWNER, [await turn(app.store, "one")])
    app.store.clock.now -= DAY
    again = Library(app.store, app.generations)
    await again.start()
    app.store.clock.now += again.undo_seconds
    await again.tidy()
    assert len(await tombstones(app)) == 1


async def test_what_could_still_be_undone_is_deleted_for_good_at_the_end_of_an_app_whose_disk_may_go(app):
    await app.library.delete(OWNER, [await turn(app.store, "one")])
    await app.library.finish()
    assert len(await tombstones(app)) == 1


async def test_the_operators_days_hold_for_everyone(app):
    old = await turn(app.store, "old")
    pinned = await turn(app.store, "old and pinned")
    await app.store.arrange(OWNER, pinned, pinned=True)
    theirs = await turn(app.store, "theirs", owner=OTHER)
    app.store.clock.now += 3 * DAY
    new = await turn(app.store, "new")
    library = with_days(app, 2)
    await library.tidy()
    assert (await listed(app), await listed(app, OTHER)) == ([new], [])
    tombstones = await app.store.db.read(
        lambda db: {row[0] for row in db.execute("SELECT conversation FROM tombstones")}
    )
    assert tombstones == {old, pinned, theirs}


@pytest.mark.parametrize(
    ("operator", "chosen", "days"), [(None, None, None), (30, None, 30), (None, 7, 7), (30, 7, 7), (7, 30, 7)]
)
async def test_the_shorter_of_the_two_holds(app, operator, chosen, days):
    library = with_days(app, operator)
    if chosen:
        await library.keep_for(OWNER, chosen)
    assert (await library.retention(OWNER)).days == days
    conversation = await turn(app.store, "one")
    if days is None:
        app.store.clock.now += 10_000 * DAY
    else:
        app.store.clock.now += (days - 0.01) * DAY
        await library.tidy()
        assert await listed(app) == [conversation], "its time is not over"
        app.store.clock.now += 0.05 * DAY
    await library.tidy()
    assert await listed(app) == ([conversation] if days is None else [])


async def test_a_choice_holds_for_its_owner_alone_and_can_be_taken_back(app):
    mine, theirs = await turn(app.store, "mine"), await turn(app.store, "theirs", owner=OTHER)
    await app.library.keep_for(OWNER, 1)
    await app.library.keep_for(OWNER, None)
    await app.library.keep_for(OTHER, 1)
    app.store.clock.now += 2 * DAY
    await app.library.tidy()
    assert (await listed(app), await listed(app, OTHER)) == ([mine], [])
    assert theirs


async def test_a_conversation_in_which_an_answer_is_written_is_not_too_old(app):
    await app.store.begin_turn(OWNER, None, "prompt", AUTHOR, "", "page")
    app.store.clock.now += 9 * DAY
    await with_days(app, 1).tidy()
    assert len(await listed(app)) == 1


@pytest.mark.parametrize("days", [0, -1, 3651])
async def test_days_out_of_range_are_refused_with_what_is_possible(app, days):
    with pytest.raises(BadInput, match="1 to 3650 days"):
        await app.library.keep_for(OWNER, days)


@pytest.mark.parametrize(
    ("title", "sentence"), [("  ", "at least one character"), ("x" * 201, "at most 200"), ("\ud83d", "cannot be kept")]
)
async def test_a_title_that_cannot_be_is_refused(app, title, sentence):
    id = await turn(app.store, "one")
    with pytest.raises(BadInput, match=sentence):
        await app.library.rename(OWNER, id, title)


async def test_too_many_at_once_are_refused(app):
    with pytest.raises(BadInput, match="at most 1000"):
        await app.library.delete(OWNER, ["x"] * 1001)


async def test_what_fails_in_the_background_is_told_once_and_tried_again(app):
    await app.store.db.write(lambda db: db.execute("ALTER TABLE retention RENAME TO elsewhere"))
    app.store.clock.now += 700
    task = asyncio.create_task(app.library.run())
    while not app.reports:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert app.reports == ["What is due could not be deleted or indexed (OperationalError); it is tried again."]
