"""The search: what is found, for whom, in which order, and that what was deleted leaves no word behind."""

from __future__ import annotations

import pytest

from chat import search
from chat.conversation import Written
from chat.scrub import scrub
from chat.words import parse
from tests.support.listing import AUTHOR, OTHER, OWNER, store_in, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path):
    store = await store_in(tmp_path)
    yield store
    store.db.close()


async def index(store) -> None:
    while await store.db.write(search.index_some):
        pass
    assert not await store.db.read(search.is_behind)


async def find(store, text, owner=OWNER, **page):
    await index(store)
    return await store.db.read(lambda db: search.find(db, owner, parse(text), **page))


async def found(store, text, owner=OWNER) -> list[str]:
    hits, _ = await find(store, text, owner)
    return [hit.content for hit in hits]


async def test_messages_and_titles_are_found_newest_first(store):
    first = await turn(store, "About llamas", "A llama is an animal.")
    await turn(store, "Something else", "Not a word of it.")
    await turn(store, "Another llama", "Yes.")
    await store.rename(OWNER, first, "Wool")
    assert await found(store, "llama ") == ["Another llama", "Another llama", "A llama is an animal."]
    assert await found(store, "wool") == ["Wool"]
    (hit,), _ = await find(store, "wool")
    assert (hit.conversation, hit.message, hit.role) == (first, None, None)


async def test_several_words_are_all_in_it_and_a_phrase_stands_as_it_is(store):
    await turn(store, "red apples and green pears", "ok")
    await turn(store, "green apples", "ok")
    assert set(await found(store, "green apples ")) == {"green apples", "red apples and green pears"}
    assert set(await found(store, '"green apples"')) == {"green apples"}
    assert set(await found(store, "pea")) == {"red apples and green pears"}


async def test_what_many_said_in_one_millisecond_is_found_and_costs_each_a_few_look_ups(store):
    """As after a restore of what was imported: times that are alike."""
    count = 600
    for number in range(count):
        await turn(store, f"herons {number}", "", owner=OWNER if number % 2 else OTHER)
    await store.db.write(lambda db: db.execute("UPDATE messages SET created_at = 1750000000.0"))
    await store.db.write(lambda db: db.execute("UPDATE conversations SET updated_at = 1750000000.0"))
    steps: list[str] = []
    await store.db.write(lambda db: db.set_trace_callback(steps.append))
    await index(store)
    await store.db.write(lambda db: db.set_trace_callback(None))
    assert len([step for step in steps if "search_entry =" in step and "EXISTS" in step]) < 20 * 2 * count
    hits, _ = await find(store, "herons ", limit=2 * count)
    assert len(hits) == count, "a message and a title each"


async def test_another_owners_words_are_not_found(store):
    await turn(store, "mine alone", owner=OTHER)
    assert await found(store, "mine") == []
    assert await found(store, "mine", OTHER)


async def test_what_is_running_is_found_once_it_has_settled(store):
    _, _, answer = await store.begin_turn(OWNER, None, "prompt", AUTHOR, "", "page")
    await store.checkpoint({answer.id: Written("half an aardvark")})
    assert await found(store, "aardvark") == []
    await store.finish_turn(answer.id, "a whole aardvark", "done")
    assert await found(store, "aardvark") == ["a whole aardvark"]


async def test_pages_go_on_where_the_last_one_ended(store):
    for number in range(7):
        await turn(store, f"zebra {number}", "ok")
    pages, before = [], None
    while True:
        hits, before = await find(store, "zebra", before=before, limit=3)
        pages.append([hit.entry for hit in hits])
        if before is None:
            break
    entries = [entry for page in pages for entry in page]
    assert len(entries) == 14 and entries == sorted(set(entries), reverse=True)


async def test_what_was_written_at_one_moment_is_all_found(store):
    for number in range(4):
        await turn(store, f"ostrich {number}", "ok")
    await store.db.write(lambda db: db.execute("UPDATE messages SET created_at = 5.0"))
    await store.db.write(lambda db: db.execute("UPDATE conversations SET updated_at = 5.0"))
    assert len(await found(store, "ostrich")) == 8


async def test_an_abandoned_branch_is_not_found(store):
    id = await turn(store, "prompt", "the platypus")
    _, (_, answer), _ = await store.branch(OWNER, id)
    _, _, new = await store.begin_retry(OWNER, answer.id, AUTHOR)
    await store.finish_turn(new.id, "the wombat", "done")
    assert await found(store, "platypus") == []
    assert await found(store, "wombat") == ["the wombat"]


async def test_a_conversation_being_deleted_is_not_found_and_one_that_comes_back_is(store):
    id = await turn(store, "the okapi", "ok")
    assert await found(store, "okapi")
    deletion = await store.hide(OWNER, [id], 100)
    assert await found(store, "okapi") == []
    await store.bring_back(OWNER, deletion.id)
    assert await found(store, "okapi")


async def test_a_new_title_takes_the_place_of_the_old_one(store):
    id = await turn(store, "prompt", "ok")
    await store.rename(OWNER, id, "Gnu")
    assert await found(store, "gnu") == ["Gnu"]
    await store.rename(OWNER, id, "Kudu")
    assert (await found(store, "gnu"), await found(store, "kudu")) == ([], ["Kudu"])


async def test_what_moves_to_another_owner_is_found_there_alone(store):
    id = await turn(store, "the ibex", "ok")
    assert len(await found(store, "ibex")) == 2
    await store.db.write(lambda db: db.execute("UPDATE conversations SET owner = ? WHERE id = ?", (OTHER, id)))
    assert await found(store, "ibex") == []
    assert len(await found(store, "ibex", OTHER)) == 2


async def test_the_index_agrees_with_what_is_kept_after_many_changes(store):
    """What is taken out of the index is told to it word by word: one word too many or too few and it is damaged."""
    ids = [await turn(store, f"prompt {number}", "Größe, 大きい; naïve ½ " * number) for number in range(30)]
    await index(store)
    for number, id in enumerate(ids):
        if number % 3 == 0:
            await store.delete(OWNER, id)
        elif number % 3 == 1:
            await store.rename(OWNER, id, f"Renamed {number}")
            await store.db.write(
                lambda db, id=id: db.execute(
                    "UPDATE messages SET content = 'something else ' || id WHERE conversation = ?", (id,)
                )
            )
        else:
            await store.db.write(
                lambda db, id=id: db.execute("UPDATE conversations SET owner = ? WHERE id = ?", (OTHER, id))
            )
    await index(store)
    await store.delete(OWNER)
    await store.delete(OTHER)
    check = "INSERT INTO search (search, rank) VALUES ('integrity-check', 0)"
    await store.db.write(lambda db: db.execute(check))
    assert (
        await store.db.read(lambda db: db.execute("SELECT count(*) FROM search('a* OR 1* OR 2*')").fetchone()[0]) == 0
    )


async def test_after_the_erasing_no_word_of_what_was_deleted_is_in_the_files(tmp_path):
    store = await store_in(tmp_path)
    kept = await turn(store, "a keepsake", "ok")
    gone = await turn(store, "prompt", "xylographically speaking")
    await index(store)
    await store.delete(OWNER, gone)
    assert await scrub(store.db)
    assert await found(store, "keepsake"), kept
    store.db.close()
    for file in tmp_path.iterdir():
        assert b"xylographically" not in file.read_bytes(), file.name
    assert any(b"keepsake" in file.read_bytes() for file in tmp_path.iterdir())
