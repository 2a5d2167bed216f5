"""Feedback on an answer: its owner gives, changes and takes it back; nobody else sees it; it goes with the answer."""

from __future__ import annotations

import pytest

from chat.conversation import SamplingParams
from chat.db import Database
from chat.feedback import LONGEST_COMMENT, REASONS, Feedback, FeedbackBook
from chat.store import Author, NotFound, Store
from chat.web.feedback import feedback_form
from tests.support.fakes import TickingClock

pytestmark = pytest.mark.anyio

OWNER, OTHER = "1" * 32, "2" * 32
AUTHOR = Author("starter", None, SamplingParams())


@pytest.fixture
def store(tmp_path):
    database = Database.open(tmp_path)
    for owner in (OWNER, OTHER):
        database.submit(
            lambda db, id=owner: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (id,))
        ).result()
    yield Store(database, TickingClock())
    database.close()


@pytest.fixture
def book(store):
    return FeedbackBook(store.db, store.clock)


async def answered(store: Store) -> tuple[str, str]:
    """The ids of a conversation and of its only answer."""
    found, _, running = await store.begin_turn(OWNER, None, "hi", AUTHOR, "", "page")
    await store.finish_turn(running.id, "Hello.", "done", "stop")
    return found.id, running.id


async def count(store: Store) -> int:
    return await store.db.read(lambda db: db.execute("SELECT count(*) FROM feedback").fetchone()[0])


async def test_a_rating_is_kept_changed_and_taken_back(store, book):
    found, answer = await answered(store)
    before = (await store.conversation(OWNER, found)).revision
    await book.give(OWNER, answer, Feedback("up", ("clear", "correct"), "Good."))
    assert await book.of(OWNER, [answer]) == {answer: Feedback("up", ("correct", "clear"), "Good.")}
    await book.give(OWNER, answer, Feedback("down", ("wrong",)))
    assert await book.of(OWNER, [answer]) == {answer: Feedback("down", ("wrong",))}
    await book.remove(OWNER, answer)
    assert (await book.of(OWNER, [answer]), await count(store)) == ({}, 0)
    after = await store.conversation(OWNER, found)
    assert after.revision == before + 3, "each change is one that the private dataset lacks"


async def test_another_owner_neither_sees_nor_changes_it(store, book):
    _, answer = await answered(store)
    await book.give(OWNER, answer, Feedback("up"))
    assert await book.of(OTHER, [answer]) == {}
    for attempt in (book.give(OTHER, answer, Feedback("down")), book.remove(OTHER, answer)):
        with pytest.raises(NotFound):
            await attempt
    assert await book.of(OWNER, [answer]) == {answer: Feedback("up")}


async def test_it_goes_with_its_conversation(store, book):
    found, answer = await answered(store)
    await book.give(OWNER, answer, Feedback("down", comment="private words"))
    await store.delete(OWNER, found)
    assert await count(store) == 0


async def test_an_answer_that_is_still_written_cannot_be_rated(store, book):
    _, _, running = await store.begin_turn(OWNER, None, "hi", AUTHOR, "", "page")
    with pytest.raises(ValueError, match="still being written"):
        await book.give(OWNER, running.id, Feedback("up"))
    assert await count(store) == 0


async def test_a_prompt_cannot_be_rated(store, book):
    _, prompt, _ = await store.begin_turn(OWNER, None, "hi", AUTHOR, "", "page")
    with pytest.raises(NotFound):
        await book.give(OWNER, prompt.id, Feedback("up"))


@pytest.mark.parametrize(
    ("rating", "reasons", "comment", "sentence"),
    [
        ("sideways", (), "", "up or down"),
        ("up", ("wrong",), "", "The reasons for up are"),
        ("down", ("made_up",), "", "The reasons for down are"),
        ("up", (), "x" * (LONGEST_COMMENT + 1), "at most 2,000 fit"),
    ],
)
def test_what_is_not_on_the_list_or_too_long_is_refused_in_a_sentence(rating, reasons, comment, sentence):
    with pytest.raises(ValueError, match=sentence):
        Feedback(rating, reasons, comment)


async def test_a_reason_of_another_version_is_kept_and_not_shown(store, book):
    _, answer = await answered(store)
    sql = "INSERT INTO feedback VALUES (?, 'up', '[\"clear\", \"shiny\"]', '', 1.0)"
    await store.db.write(lambda db: db.execute(sql, (answer,)))
    assert await book.of(OWNER, [answer]) == {answer: Feedback("up", ("clear",))}


async def test_privacy_reads_it_through_its_view(store, book):
    found, answer = await answered(store)
    await book.give(OWNER, answer, Feedback("up", ("clear",), "Good."))
    sql = "SELECT conversation, owner, model, rating, comment FROM answer_feedback NATURAL JOIN (SELECT answer_id FROM finished_turn)"
    rows = await store.db.read(lambda db: [tuple(row) for row in db.execute(sql)])
    assert rows == [(found, OWNER, "starter", "up", "Good.")]


def test_the_form_offers_every_reason_and_the_limit():
    form = feedback_form()
    assert all(f'data-reason="{name}"' in form for names in REASONS.values() for name in names)
    assert f'maxlength="{LONGEST_COMMENT}"' in form
