"""Conversations in SQLite: turns, branches, pages, and that another owner's do not exist."""

from __future__ import annotations

import sqlite3

import pytest

from chat.conversation import Message, SamplingParams, Written
from chat.db import Database
from chat.store import AnswerRunning, Author, NotFound, Store, title_from

pytestmark = pytest.mark.anyio

OWNER, OTHER = "1" * 32, "2" * 32
AUTHOR = Author("starter", None, SamplingParams(temperature=0.2))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
async def store(tmp_path):
    database = Database.open(tmp_path)
    store = Store(database, Clock())
    for owner in (OWNER, OTHER):
        await database.write(
            lambda db, id=owner: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (id,))
        )
    yield store
    database.close()


async def a_turn(store: Store, conversation: str | None, text: str, answer: str, owner: str = OWNER):
    found, prompt, running = await store.begin_turn(owner, conversation, text, AUTHOR, "", "page")
    await store.finish_turn(running.id, answer, "done", "stop")
    return found, prompt, await store.message(owner, running.id)


async def test_a_turn_is_kept_with_who_answered_and_how(store):
    found, prompt, running = await store.begin_turn(OWNER, None, "Hello there", AUTHOR, "Be brief.", "page")
    assert (found.title, found.system_prompt, found.running) == ("Hello there", "Be brief.", running.id)
    assert (prompt.surface, running.state, running.content) == ("page", "running", "")
    assert await store.finish_turn(running.id, "Hi.", "done", "stop")
    answer = await store.message(OWNER, running.id)
    assert (answer.content, answer.state, answer.model, answer.params) == ("Hi.", "done", "starter", AUTHOR.params)
    assert (await store.conversation(OWNER, found.id)).running is None


async def test_turns_follow_each_other_on_one_branch(store):
    found, *_ = await a_turn(store, None, "one", "first")
    await a_turn(store, found.id, "two", "second")
    _, messages, earlier = await store.branch(OWNER, found.id)
    assert [m.content for m in messages] == ["one", "first", "two", "second"]
    assert earlier is None


async def test_a_retry_stands_beside_the_answer_and_is_what_is_shown(store):
    found, prompt, first = await a_turn(store, None, "one", "first")
    _, same_prompt, second = await store.begin_retry(OWNER, first.id, AUTHOR)
    await store.finish_turn(second.id, "second", "done")
    assert same_prompt.id == prompt.id
    assert (await store.message(OWNER, first.id)).siblings == (first.id, second.id)
    _, messages, _ = await store.branch(OWNER, found.id)
    assert [m.content for m in messages] == ["one", "second"]


async def test_one_answer_at_a_time_in_a_conversation(store):
    found, *_ = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    with pytest.raises(AnswerRunning):
        await store.begin_turn(OWNER, found.id, "two", AUTHOR, "", "page")
    _, messages, _ = await store.branch(OWNER, found.id)
    assert [m.content for m in messages] == ["one", ""], "the refused turn leaves nothing behind"


async def test_the_settled_answer_is_settled_once(store):
    """An engine that still writes after Stop changes nothing."""
    _, _, running = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    assert await store.finish_turn(running.id, "shown", "stopped")
    assert not await store.finish_turn(running.id, "shown and more", "done")
    await store.checkpoint({running.id: Written("shown and more")})
    assert (await store.message(OWNER, running.id)).content == "shown"


async def test_a_crash_leaves_the_text_logged_so_far_marked_interrupted(store):
    _, _, running = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    await store.checkpoint({running.id: Written("so far")})
    assert await store.interrupt_running("The app was restarted.") == 1
    answer = await store.message(OWNER, running.id)
    assert (answer.content, answer.state, answer.error) == ("so far", "interrupted", "The app was restarted.")


async def test_another_owner_finds_nothing(store):
    found, prompt, answer = await a_turn(store, None, "mine", "yours")
    for attempt in (
        store.conversation(OTHER, found.id),
        store.branch(OTHER, found.id),
        store.message(OTHER, answer.id),
        store.rename(OTHER, found.id, "stolen"),
        store.delete(OTHER, found.id),
        store.begin_turn(OTHER, found.id, "intruder", AUTHOR, "", "page"),
        store.begin_retry(OTHER, answer.id, AUTHOR),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await store.conversations(OTHER) == ([], None)
    assert await store.delete(OTHER) == (0, [])
    assert (await store.conversation(OWNER, found.id)).title == "mine"


async def test_a_page_of_messages_cannot_start_in_another_conversation(store):
    first, *_ = await a_turn(store, None, "one", "first")
    _, _, elsewhere = await a_turn(store, None, "two", "second")
    with pytest.raises(NotFound):
        await store.branch(OWNER, first.id, before=elsewhere.id)


async def test_conversations_come_newest_first_in_pages_without_gaps(store):
    made = [(await a_turn(store, None, f"conversation {n}", "ok"))[0].id for n in range(7)]
    seen, key = [], None
    while True:
        items, key = await store.conversations(OWNER, key, limit=3)
        seen += [item.id for item in items]
        if key is None:
            break
    assert seen == made[::-1]


async def test_a_long_branch_opens_at_its_newest_messages(store):
    found, *_ = await a_turn(store, None, "turn 0", "answer 0")
    for n in range(1, 30):
        await a_turn(store, found.id, f"turn {n}", f"answer {n}")
    _, messages, earlier = await store.branch(OWNER, found.id, limit=10)
    assert [m.content for m in messages][-1] == "answer 29"
    assert len(messages) == 10
    _, before, _ = await store.branch(OWNER, found.id, before=earlier, limit=10)
    assert before[-1].id == messages[0].parent


async def test_a_conversation_of_two_thousand_messages_is_deleted_whole(store):
    """A cascade up the branch would exceed SQLite's trigger depth of 1,000."""
    found, *_ = await a_turn(store, None, "turn", "answer")
    for _ in range(1000):
        await a_turn(store, found.id, "turn", "answer")
    await store.delete(OWNER, found.id)
    left = await store.db.read(lambda db: db.execute("SELECT count(*) FROM messages").fetchone()[0])
    assert left == 0


async def test_the_context_is_the_newest_that_fits(store):
    found, *_ = await a_turn(store, None, "a" * 100, "b" * 100)
    await a_turn(store, found.id, "c" * 100, "d" * 100)
    _, prompt, _ = await store.begin_turn(OWNER, found.id, "e" * 100, AUTHOR, "", "page")
    assert (await store.context(prompt, 350)).messages == [
        Message("user", "c" * 100),
        Message("assistant", "d" * 100),
        Message("user", "e" * 100),
    ]
    assert (await store.context(prompt, 0)).messages == [Message("user", "e" * 100)], (
        "the prompt itself is never left out"
    )


async def test_the_context_begins_with_a_prompt(store):
    """Chat templates refuse a history that begins with an answer."""
    found, *_ = await a_turn(store, None, "a" * 100, "b" * 100)
    _, prompt, _ = await store.begin_turn(OWNER, found.id, "c" * 100, AUTHOR, "", "page")
    assert (await store.context(prompt, 200)).messages == [Message("user", "c" * 100)]


async def test_a_prompt_without_an_answer_joins_the_next_one(store):
    """Chat templates refuse two prompts in a row, and the visitor did say both."""
    found, _, failed = await store.begin_turn(OWNER, None, "My name is Ada.", AUTHOR, "", "page")
    await store.finish_turn(failed.id, "", "failed", error="The engine is gone.")
    _, prompt, _ = await store.begin_turn(OWNER, found.id, "What is my name?", AUTHOR, "", "page")
    assert (await store.context(prompt, 1000)).messages == [Message("user", "My name is Ada.\n\nWhat is my name?")]


async def test_the_cost_of_the_context_does_not_grow_with_the_conversation(store):
    found, *_ = await a_turn(store, None, "turn", "answer")
    for _ in range(200):
        await a_turn(store, found.id, "turn", "answer")
    _, prompt, _ = await store.begin_turn(OWNER, found.id, "now", AUTHOR, "", "page")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(db: sqlite3.Connection) -> None:
        db.set_progress_handler(count, 1)

    for _reader in range(8):
        await store.db.read(watch)
    assert len((await store.context(prompt, 20)).messages) < 6
    assert steps < 2_000


async def test_deleting_tells_which_answers_were_running(store):
    found, _, running = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    assert await store.delete(OWNER, found.id) == (1, [running.id])
    assert not await store.finish_turn(running.id, "too late", "done")
    with pytest.raises(NotFound):
        await store.message(OWNER, running.id)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET surface = 'page' WHERE role = 'assistant'",
        "UPDATE messages SET model = NULL WHERE role = 'assistant'",
        "UPDATE messages SET state = 'failed' WHERE role = 'assistant'",
        "UPDATE messages SET parent = NULL WHERE role = 'assistant'",
        "UPDATE messages SET conversation = (SELECT max(id) FROM conversations) WHERE role = 'assistant'",
        "UPDATE conversations SET leaf = 'nowhere'",
        "UPDATE conversations SET params = '{'",
        "DELETE FROM owners",
    ],
)
async def test_the_schema_refuses_states_that_cannot_be(store, statement):
    await a_turn(store, None, "one", "first")
    await a_turn(store, None, "two", "second")
    with pytest.raises(sqlite3.IntegrityError):
        await store.db.write(lambda db: db.execute(statement))


def test_a_title_is_the_first_words_in_one_line():
    assert title_from("  Hello\n\tthere  ") == "Hello there"
    assert title_from("word " * 30) == "word " * 11 + "word…"
    assert len(title_from("x" * 500)) <= 61


async def finished(store: Store) -> list[tuple]:
    sql = "SELECT prompt, answer, position, surface, model, conversation, owner FROM finished_turn ORDER BY position"
    return [tuple(row) for row in await store.db.read(lambda db: db.execute(sql).fetchall())]


async def kept(store: Store) -> set[str]:
    rows = await store.db.read(lambda db: db.execute("SELECT content FROM messages WHERE kept = 1").fetchall())
    return {row["content"] for row in rows}


async def test_a_retry_keeps_the_branch_it_is_on_and_no_other(store):
    """The flag follows the leaf, forth and back."""
    found, _, first = await a_turn(store, None, "one", "first")
    await a_turn(store, found.id, "two", "second")
    untouched, _, _ = await a_turn(store, None, "elsewhere", "untouched")
    _, _, again = await store.begin_retry(OWNER, first.id, AUTHOR)
    await store.finish_turn(again.id, "first again", "done", "stop")
    assert await kept(store) == {"one", "first again", "elsewhere", "untouched"}
    await a_turn(store, found.id, "three", "third")
    assert await kept(store) == {"one", "first again", "three", "third", "elsewhere", "untouched"}


async def test_finished_turns_are_those_settled_on_the_kept_branch(store):
    found, _, first = await a_turn(store, None, "one", "first")
    _, _, again = await store.begin_retry(OWNER, first.id, AUTHOR)
    await store.finish_turn(again.id, "first again", "stopped")
    _, _, running = await store.begin_turn(OWNER, found.id, "two", AUTHOR, "", "api")
    assert await finished(store) == [("one", "first again", 1, "page", "starter", found.id, OWNER)]
    await store.finish_turn(running.id, "second", "done", "stop")
    await a_turn(store, found.id, "three", "")
    assert [(row[1], row[2], row[3]) for row in await finished(store)] == [
        ("first again", 1, "page"),
        ("second", 3, "api"),
    ]


async def test_failed_and_interrupted_answers_are_no_finished_turns(store):
    found, _, failed = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    await store.finish_turn(failed.id, "half", "failed", error="The engine is gone.")
    _, _, running = await store.begin_turn(OWNER, found.id, "two", AUTHOR, "", "page")
    before = await store.conversation(OWNER, found.id)
    await store.interrupt_running("Restarted.")
    assert await finished(store) == []
    assert (await store.conversation(OWNER, found.id)).revision == before.revision + 1
    assert (await store.message(OWNER, running.id)).settled_at is not None


async def test_a_deleted_conversation_leaves_a_tombstone_and_never_comes_back(store):
    found, *_ = await a_turn(store, None, "one", "first")
    await store.delete(OWNER, found.id)
    rows = await store.db.read(lambda db: db.execute("SELECT conversation, owner, saved FROM tombstones").fetchall())
    assert [tuple(row) for row in rows] == [(found.id, OWNER, 0)]
    with pytest.raises(sqlite3.IntegrityError, match="was deleted"):
        await store.db.write(
            lambda db: db.execute(
                "INSERT INTO conversations (id, owner, title, model, params, created_at, updated_at)"
                " VALUES (?, ?, 't', 'm', '{}', 1, 1)",
                (found.id, OWNER),
            )
        )


async def test_every_change_makes_a_conversation_unsaved(store):
    found, *_ = await a_turn(store, None, "one", "first")
    saved = "UPDATE conversations SET saved_revision = revision"
    await store.db.write(lambda db: db.execute(saved))
    assert (await store.conversation(OWNER, found.id)).where == "saved"
    await store.rename(OWNER, found.id, "Another title")
    assert (await store.conversation(OWNER, found.id)).where == "kept here"
