"""Branches: what is kept and shown when prompts are edited, answers retried, gone on with, and stepped between."""

from __future__ import annotations

import random

import pytest

from chat.conversation import SamplingParams, Written
from chat.db import Database
from chat.store import AlreadySent, Store
from chat.stored import AnswerRunning, Author, CannotContinue, NotFound
from tests.support.fakes import TickingClock

pytestmark = pytest.mark.anyio

OWNER, OTHER = "1" * 32, "2" * 32
AUTHOR = Author("starter", None, SamplingParams())


@pytest.fixture
async def store(tmp_path):
    database = Database.open(tmp_path)
    for owner in (OWNER, OTHER):
        await database.write(lambda db, id=owner: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1, 1)", (id,)))
    yield Store(database, TickingClock())
    database.close()


async def a_turn(store: Store, conversation: str | None, text: str, answer: str, **more):
    found, prompt, running = await store.begin_turn(OWNER, conversation, text, AUTHOR, "", "page", **more)
    await store.finish_turn(running.id, answer, "done", "stop")
    return found, prompt, running


async def shown(store: Store, conversation: str) -> list[str]:
    return [message.content for message in (await store.branch(OWNER, conversation))[1]]


async def kept(store: Store, conversation: str) -> set[str]:
    rows = await store.db.read(
        lambda db: db.execute(
            "SELECT content FROM messages WHERE kept AND conversation = ?", (conversation,)
        ).fetchall()
    )
    return {row["content"] for row in rows}


async def test_an_edited_prompt_stands_beside_the_old_one_with_an_answer_of_its_own(store):
    found, *_ = await a_turn(store, None, "one", "first")
    _, old, _ = await a_turn(store, found.id, "two", "second")
    await a_turn(store, found.id, "three", "third")
    _, new, _ = await a_turn(store, found.id, "two, better", "second, better", beside=old.id)
    assert (new.parent, new.depth, new.siblings) == (old.parent, old.depth, (old.id, new.id))
    assert await shown(store, found.id) == ["one", "first", "two, better", "second, better"]
    assert await kept(store, found.id) == {"one", "first", "two, better", "second, better"}


async def test_the_first_prompt_can_be_edited_too(store):
    found, first, _ = await a_turn(store, None, "one", "first")
    _, new, _ = await a_turn(store, found.id, "uno", "primo", beside=first.id)
    assert new.siblings == (first.id, new.id)
    assert await shown(store, found.id) == ["uno", "primo"]


async def test_a_prompt_is_edited_in_its_own_conversation_only(store):
    found, _, answer = await a_turn(store, None, "one", "first")
    elsewhere, prompt, _ = await a_turn(store, None, "two", "second")
    for conversation, beside in ((found.id, prompt.id), (None, prompt.id), (found.id, answer.id), (found.id, "f" * 32)):
        with pytest.raises(NotFound):
            await store.begin_turn(OWNER, conversation, "x", AUTHOR, "", "page", beside=beside)
    with pytest.raises(NotFound):
        await store.begin_turn(OTHER, found.id, "x", AUTHOR, "", "page", beside=prompt.id)
    assert len((await store.conversations(OWNER))[0]) == 2, "nothing is left of what was refused"


async def test_stepping_to_a_sibling_shows_what_was_shown_below_it_last(store):
    """Not simply the newest: of two answers below the old prompt, the one that was being read."""
    found, _, _ = await a_turn(store, None, "one", "first")
    _, two, second = await a_turn(store, found.id, "two", "second")
    _, _, again = await store.begin_retry(OWNER, second.id, AUTHOR)
    await store.finish_turn(again.id, "second again", "done", "stop")
    await store.choose(OWNER, second.id)
    await a_turn(store, found.id, "three", "third")
    _, deux, _ = await a_turn(store, found.id, "deux", "deuxième", beside=two.id)
    assert await shown(store, found.id) == ["one", "first", "deux", "deuxième"]
    before = await store.conversation(OWNER, found.id)

    changed, messages, earlier = await store.choose(OWNER, two.id)
    assert [message.content for message in messages] == ["one", "first", "two", "second", "three", "third"]
    assert await shown(store, found.id) == [message.content for message in messages], "a reload shows the same"
    assert await kept(store, found.id) == {message.content for message in messages}
    assert (earlier, changed.revision) == (None, before.revision + 1)
    assert changed.updated_at > before.updated_at, "what may be shared changed: the quiet period begins anew"

    _, messages, _ = await store.choose(OWNER, deux.id)
    assert [message.content for message in messages][-2:] == ["deux", "deuxième"]


async def test_what_is_kept_already_stays_as_it_is(store):
    found, prompt, _ = await a_turn(store, None, "one", "first")
    before = await store.conversation(OWNER, found.id)
    assert (await store.choose(OWNER, prompt.id))[0] == before


async def test_while_an_answer_is_written_nothing_else_is_chosen(store):
    found, _, first = await a_turn(store, None, "one", "first")
    await store.begin_retry(OWNER, first.id, AUTHOR)
    with pytest.raises(AnswerRunning):
        await store.choose(OWNER, first.id)


async def test_nobody_chooses_in_another_owners_conversation(store):
    _, prompt, answer = await a_turn(store, None, "one", "first")
    for attempt in (
        store.choose(OTHER, prompt.id),
        store.begin_continue(OTHER, answer.id),
        store.turn(OTHER, prompt.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_whatever_is_done_the_kept_messages_are_those_on_the_branch_that_is_shown(store):
    """Privacy reads the flags, people see the branch."""
    choose = random.Random(6)
    found, *_ = await a_turn(store, None, "start", "0")
    for step in range(60):
        ids = await store.db.read(
            lambda db: [tuple(row) for row in db.execute("SELECT id, role FROM messages ORDER BY rowid")]
        )
        id, role = choose.choice(ids)
        match choose.randrange(4):
            case 0:
                await a_turn(store, found.id, f"prompt {step}", f"answer {step}")
            case 1 if role == "user":
                await a_turn(store, found.id, f"prompt {step}", f"answer {step}", beside=id)
            case 2 if role == "assistant":
                _, _, again = await store.begin_retry(OWNER, id, AUTHOR)
                await store.finish_turn(again.id, f"answer {step}", "done", "stop")
            case _:
                _, messages, _ = await store.choose(OWNER, id)
                assert id in {message.id for message in messages}
        assert await kept(store, found.id) == set(await shown(store, found.id))


async def test_a_branch_is_shown_from_the_chosen_message_on_however_long_it_is(store):
    found, first, _ = await a_turn(store, None, "one", "first")
    for number in range(60):
        await a_turn(store, found.id, f"prompt {number}", f"answer {number}")
    _, new, _ = await a_turn(store, found.id, "uno", "primo", beside=first.id)
    _, messages, earlier = await store.choose(OWNER, first.id)
    assert (messages[0].id, len(messages), earlier) == (first.id, 122, None)


# Going on with a cut-off answer


@pytest.mark.parametrize(
    ("state", "reason", "error"),
    [("stopped", None, None), ("interrupted", None, "Restarted."), ("done", "length", None)],
)
async def test_a_cut_off_answer_runs_again_with_its_text(store, state, reason, error):
    found, prompt, answer = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    await store.finish_turn(answer.id, "so far", state, reason, error)
    _, same_prompt, old = await store.begin_continue(OWNER, answer.id)
    assert (same_prompt.id, old.state, old.content) == (prompt.id, state, "so far")
    running = await store.message(OWNER, answer.id)
    assert (running.state, running.content, running.finish_reason, running.error) == ("running", "so far", None, None)
    assert await store.finish_turn(answer.id, "so far and on", "done", "stop")
    done = await store.message(OWNER, answer.id)
    assert (done.content, done.state, done.continued, done.siblings) == ("so far and on", "done", 1, (answer.id,))


async def test_a_crash_while_it_is_gone_on_with_keeps_what_was_there(store):
    _, _, answer = await store.begin_turn(OWNER, None, "one", AUTHOR, "", "page")
    await store.finish_turn(answer.id, "so far", "stopped")
    await store.begin_continue(OWNER, answer.id)
    await store.interrupt_running("Restarted.")
    assert (await store.message(OWNER, answer.id)).content == "so far"
    await store.begin_continue(OWNER, answer.id)
    await store.checkpoint({answer.id: Written("so far and more")})
    await store.interrupt_running("Restarted.")
    assert (await store.message(OWNER, answer.id)).content == "so far and more"


async def test_what_cannot_be_gone_on_with_says_why(store):
    found, prompt, first = await a_turn(store, None, "one", "first")
    with pytest.raises(CannotContinue, match="complete"):
        await store.begin_continue(OWNER, first.id)
    with pytest.raises(NotFound):
        await store.begin_continue(OWNER, prompt.id)
    _, _, second = await store.begin_turn(OWNER, found.id, "two", AUTHOR, "", "page")
    with pytest.raises(AnswerRunning):
        await store.begin_continue(OWNER, second.id)
    await store.finish_turn(second.id, "", "stopped")
    with pytest.raises(CannotContinue, match="no word yet"):
        await store.begin_continue(OWNER, second.id)
    _, _, third = await store.begin_turn(OWNER, found.id, "three", AUTHOR, "", "page")
    await store.finish_turn(third.id, "half", "stopped")
    await a_turn(store, found.id, "four", "fourth")
    with pytest.raises(CannotContinue, match="newest answer"):
        await store.begin_continue(OWNER, third.id)


# Sent twice


async def test_a_prompt_of_one_id_stands_once(store):
    found, prompt, answer = await a_turn(store, None, "one", "first", prompt="a" * 32)
    assert prompt.id == "a" * 32
    for conversation in (None, found.id):
        with pytest.raises(AlreadySent):
            await store.begin_turn(OWNER, conversation, "one", AUTHOR, "", "page", prompt="a" * 32)
    assert await shown(store, found.id) == ["one", "first"]
    assert len((await store.conversations(OWNER))[0]) == 1
    conversation, again, same = await store.turn(OWNER, prompt.id)
    assert (conversation.id, again.id, same.id, same.state) == (found.id, prompt.id, answer.id, "done")
