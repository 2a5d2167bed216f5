"""The list: its pages, pins and the archive, and deleting with a way back."""

from __future__ import annotations

import pytest

from chat.feedback import Feedback, FeedbackBook
from chat.stored import NotFound
from tests.support.listing import AUTHOR, OTHER, OWNER, store_in, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path):
    store = await store_in(tmp_path)
    yield store
    store.db.close()


async def listed(store, owner=OWNER, **which) -> list[str]:
    items, _ = await store.conversations(owner, **which)
    return [item.id for item in items]


async def test_the_pinned_come_first_and_each_page_goes_on_where_the_last_one_ended(store):
    ids = [await turn(store, f"number {n}") for n in range(9)]
    for id in (ids[2], ids[5]):
        await store.arrange(OWNER, id, pinned=True)
    expected = [ids[5], ids[2], *(id for id in reversed(ids) if id not in (ids[2], ids[5]))]
    seen, key = [], None
    while True:
        items, key = await store.conversations(OWNER, key, limit=2)
        seen += [item.id for item in items]
        if key is None:
            break
    assert seen == expected


async def test_a_page_of_the_list_is_read_from_the_index_in_order(store):
    """Else the time it takes grows with the list."""
    await turn(store, "one")
    plans: list[str] = []

    def explain(db):
        sql = (
            "SELECT * FROM conversations AS c WHERE owner = ? AND archived = ? AND (pinned, updated_at, c.id) < (?, ?, ?)"
            " AND deletes_at IS NULL ORDER BY pinned DESC, updated_at DESC, c.id DESC LIMIT 51"
        )
        plans.extend(row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", (OWNER, 0, 1, 5.0, "x")))

    await store.db.read(explain)
    assert len(plans) == 1 and "conversations_listed (owner=? AND archived=? AND" in plans[0], plans


@pytest.mark.parametrize("key", ["nonsense", "1:2", "1:x:y", "a:b:c:d", ":::", "99999999999999999999:1:x"])
async def test_what_is_no_key_is_refused(store, key):
    with pytest.raises(ValueError, match=r"unpack|convert|begins"):
        await store.conversations(OWNER, key)


async def test_the_archived_are_a_list_of_their_own(store):
    kept, put_away = await turn(store, "one"), await turn(store, "two")
    await store.arrange(OWNER, put_away, archived=True)
    assert (await listed(store), await listed(store, archived=True)) == ([kept], [put_away])
    assert (await store.conversation(OWNER, put_away)).archived
    await store.arrange(OWNER, put_away, archived=False)
    assert await listed(store, archived=True) == []


async def test_pinning_and_archiving_is_no_change_of_the_conversation_but_is_saved(store):
    id = await turn(store, "one")
    before = await store.conversation(OWNER, id)
    after = await store.arrange(OWNER, id, pinned=True)
    assert after.updated_at == before.updated_at and after.revision == before.revision + 1
    assert (await store.arrange(OWNER, id, pinned=True)).revision == after.revision, "nothing changed"


async def test_only_its_owner_arranges_or_deletes_a_conversation(store):
    id, other = await turn(store, "one"), await turn(store, "two", owner=OTHER)
    for attempt in (
        store.arrange(OTHER, id, pinned=True),
        store.hide(OTHER, [other, id], 10),
        store.rename(OTHER, id, "stolen", by="model"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await listed(store, OTHER) == [other], "hidden all or none"
    deletion = await store.hide(OWNER, [id], 10)
    with pytest.raises(NotFound):
        await store.bring_back(OTHER, deletion.id)


async def test_the_models_title_does_not_replace_the_owners(store):
    id = await turn(store, "one")
    assert (await store.rename(OWNER, id, "By the model", by="model")).title == "By the model"
    await store.rename(OWNER, id, "Mine")
    found = await store.rename(OWNER, id, "By the model again", by="model")
    assert (found.title, found.title_by) == ("Mine", "visitor")


async def test_what_is_being_deleted_is_nowhere_and_comes_back_whole(store):
    id, other = await turn(store, "one"), await turn(store, "two")
    _, (prompt, answer), _ = await store.branch(OWNER, id)
    before = await store.conversation(OWNER, id)
    deletion = await store.hide(OWNER, [id], 100)
    assert (deletion.conversations, deletion.running) == (1, ())
    assert await listed(store) == [other]
    for attempt in (
        store.conversation(OWNER, id),
        store.branch(OWNER, id),
        store.message(OWNER, prompt.id),
        store.rename(OWNER, id, "no"),
        store.arrange(OWNER, id, pinned=True),
        store.hide(OWNER, [id], 100),
        store.begin_turn(OWNER, id, "more", AUTHOR, "", "page"),
        store.begin_retry(OWNER, answer.id, AUTHOR),
        store.choose(OWNER, answer.id),
        store.begin_continue(OWNER, answer.id),
        store.begin_turn(OWNER, id, "other", AUTHOR, "", "page", beside=prompt.id),
        FeedbackBook(store.db, store.clock).give(OWNER, answer.id, Feedback("up")),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await store.bring_back(OWNER, deletion.id) == 1
    assert await store.conversation(OWNER, id) == before


async def test_for_sharing_a_deletion_counts_as_a_change_until_it_is_final_or_taken_back(store):
    """So nothing new leaves in these seconds, whatever the quiet period; and what is public stays until it is final."""
    id = await turn(store, "one")
    changed = "SELECT conversation_updated_at FROM finished_turn"
    before = await store.db.read(lambda db: db.execute(changed).fetchone()[0])
    deletion = await store.hide(OWNER, [id], 100)
    assert await store.db.read(lambda db: db.execute(changed).fetchone()[0]) == deletion.until
    await store.bring_back(OWNER, deletion.id)
    assert await store.db.read(lambda db: db.execute(changed).fetchone()[0]) == before


async def test_a_deletion_is_final_when_its_time_is_over(store):
    id, other = await turn(store, "one"), await turn(store, "two")
    deletion = await store.hide(OWNER, [id], 5)
    assert await store.finish_deletions() == 0, "its time is not over"
    store.clock.now += 10
    with pytest.raises(NotFound):
        await store.bring_back(OWNER, deletion.id)
    assert await store.finish_deletions() == 1
    tombstones = await store.db.read(
        lambda db: [tuple(row) for row in db.execute("SELECT conversation FROM tombstones")]
    )
    assert tombstones == [(id,)]
    assert await listed(store) == [other]


async def test_everything_is_deleted_with_its_running_answers_named(store):
    await turn(store, "one")
    _, _, running = await store.begin_turn(OWNER, None, "two", AUTHOR, "", "page")
    theirs = await turn(store, "three", owner=OTHER)
    deletion = await store.hide(OWNER, None, 100)
    assert (deletion.conversations, deletion.running) == (2, (running.id,))
    assert (await listed(store), await listed(store, OTHER)) == ([], [theirs])
    assert (await store.hide(OWNER, None, 100)).conversations == 0, "the first deletion keeps its own way back"
    assert await store.bring_back(OWNER, deletion.id) == 2


async def test_many_are_deleted_in_steps(store):
    ids = [await turn(store, f"{n}") for n in range(5)]
    await store.hide(OWNER, ids, 0)
    assert [await store.finish_deletions(limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_deleting_for_good_takes_what_is_being_deleted_as_well(store):
    await store.hide(OWNER, [await turn(store, "one")], 100)
    assert await store.delete(OWNER) == (1, [])
