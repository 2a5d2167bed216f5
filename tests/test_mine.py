"""The line under the box, from the database to the sentence: it names who reads, who no longer does, and what follows."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from chat.dataset_repo import Unreachable
from chat.feedback import Feedback, FeedbackBook
from privacy.mine import outlook, preview, shared_rows, waiting_rows
from privacy.outbox import plan
from privacy.rows import Redaction
from privacy.web.chip import ONLY_YOU, chip
from tests.support.sharing_world import ALPHA, BETA, QUIET, World, redact

pytestmark = pytest.mark.anyio

LATER = "3 days after the last message at the earliest"
ACME = "acme can read part of this conversation."
GOING = "Being taken back from {}; until that is done they can still read it."


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


async def seen(world: World, owner: str, chat: str | None, model: str = ALPHA) -> dict[str, Any]:
    found = await world.db.read(lambda db: outlook(db, owner, chat, model, world.rules, world.clock()))
    return chip(found, chat, world.rules, world.clock())


async def both(world: World) -> tuple[str, str]:
    """Somebody whose conversation acme and globex each have a row of."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.choose(owner, "grant", "globex")
    chat = await world.say(owner, "for acme")
    await world.say(owner, "for globex", BETA, chat)
    await world.turn()
    return owner, chat


async def test_what_was_shared_stays_with_its_reader_whatever_model_is_selected(world: World):
    """A no to acme says nothing about globex's row, and one to globex nothing about acme's."""
    owner, chat = await both(world)
    await world.choose(owner, "withdraw", "acme")
    for _ in range(2):  # before the next plan, and after it
        for model in (ALPHA, BETA):
            found = await seen(world, owner, chat, model)
            follows = f" What you write next follows, {LATER}." if model == BETA else ""
            said = f"globex can read part of this conversation. {GOING.format('acme')}{follows}"
            assert (found["sentence"], found["can_take_back"]) == (said, True)
        await plan(world.db, world.rules, now=world.clock(), restored=True)
    await world.turn(0)
    found = await seen(world, owner, chat)
    assert (found["sentence"], found["who"]) == ("globex can read part of this conversation.", ["globex"])


async def test_a_row_that_its_reader_keeps_is_not_said_to_be_taken_back(world: World):
    """The model selected is by somebody who was told no: what the others have stays, and can be taken back."""
    owner, chat = await both(world)
    await world.choose(owner, "withdraw", "globex")
    await world.turn(0)
    found = await seen(world, owner, chat, BETA)
    assert (found["state"], found["sentence"], found["can_take_back"]) == ("withdrawn", ACME, True)


async def test_what_is_all_on_its_way_out_cannot_be_taken_back_again(world: World):
    owner, chat = await both(world)
    await world.choose(owner, "deny", conversation=chat)
    for _ in range(2):
        found = await seen(world, owner, chat)
        assert (found["sentence"], found["can_take_back"]) == (GOING.format("acme and globex"), False)
        await plan(world.db, world.rules, now=world.clock(), restored=True)
    await world.turn(0)
    assert (await seen(world, owner, chat))["sentence"] == ONLY_YOU


async def test_what_is_written_next_is_spoken_of_where_something_was_shared(world: World):
    owner, chat = await both(world)
    await world.choose(owner, "withdraw", "globex")
    await world.turn(0)
    assert (await seen(world, owner, chat))["sentence"] == f"{ACME} What you write next follows, {LATER}."
    await world.choose(owner, "grant", "globex")
    found = await seen(world, owner, chat, BETA)
    assert found["sentence"] == f"{ACME} globex will be able to read what you write next, {LATER}."
    assert found["who"] == ["acme", "globex"]
    await world.say(owner, "more for acme", conversation=chat)
    assert (await seen(world, owner, chat))["sentence"] == (
        f"{ACME} More of it follows in 3 days. What you write next follows, {LATER}."
    )
    await world.say(owner, "and for globex", BETA, chat)
    said = (await seen(world, owner, chat, "nobody/knows"))["sentence"]
    assert said == f"{ACME} acme and globex will be able to read more of it in 3 days."


async def test_a_yes_after_a_no_promises_nothing_that_was_taken_back(world: World):
    """What leaves next goes to the reader from whom the rest is being taken back, and both are said."""
    owner, chat = await both(world)
    await world.choose(owner, "withdraw", "acme")
    await world.choose(owner, "withdraw", "globex")
    await world.choose(owner, "grant", "acme")
    found = await seen(world, owner, chat)
    assert (
        found["sentence"]
        == f"{GOING.format('acme and globex')} acme will be able to read what you write next, {LATER}."
    )
    assert found["can_take_back"]


async def test_what_waits_for_one_reader_says_who_may_read_what_comes_next(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.choose(owner, "grant", "globex")
    chat = await world.say(owner, "for acme")
    waits = "acme will be able to read this conversation in 3 days; until then only you."
    assert (await seen(world, owner, chat))["sentence"] == waits
    found = await seen(world, owner, chat, BETA)
    assert found["sentence"] == f"{waits} globex will be able to read what you write next, {LATER}."


async def test_a_row_that_nobody_saw_arrive_is_stopped_and_not_said_to_be_read(world: World):
    """Its shard was chosen, and the private dataset was away: nothing was sent, and after a lost answer nobody knows."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "for acme")
    world.clock.now += QUIET
    for before_public, sent in ((None, False), (away, True)):
        if before_public is None:
            await plan(world.db, world.rules, now=world.clock(), restored=True)
        else:
            with pytest.raises(Unreachable):
                await world.sharing(before_public=before_public).turn(restored=lambda: True)
        (row,) = await world.db.read(lambda db: shared_rows(db, owner))
        assert (row.state, row.sent) == ("publish", sent)
    await world.choose(owner, "deny", conversation=chat)
    stopped = "Stopped on its way to acme; what may have arrived is being taken out."
    for _ in range(2):  # before the next plan, and after it
        found = await seen(world, owner, chat)
        assert (found["sentence"], found["can_take_back"], found["who"]) == (stopped, False, ["acme"])
        await plan(world.db, world.rules, now=world.clock(), restored=True)
    (row,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert (row.state, row.published_at) == ("retract", None)
    await world.turn(0)
    assert (await seen(world, owner, chat))["sentence"] == ONLY_YOU


async def away() -> None:
    raise Unreachable("The connection is gone.")


async def test_a_row_whose_conversation_went_another_way_is_going_and_the_new_one_coming(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "first")
    await world.turn()
    await world.retry(owner, chat, "said anew")
    found = await seen(world, owner, chat, "nobody/knows")
    assert found["sentence"] == f"{GOING.format('acme')} acme will be able to read more of it in 3 days."
    assert found["when"] == pytest.approx(world.clock() + QUIET, abs=60)


@pytest.mark.parametrize("show", ["preview", "waiting"])
async def test_nobody_waits_in_the_database_while_a_preview_is_redacted(world: World, show: str):
    """Redaction may take seconds: it reads first, and prepares when the transaction is over."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "I am jan@example.com")
    threads: list[str] = []

    def redact_there(text: str, placeholders: Any) -> Any:
        threads.append(threading.current_thread().name)
        return redact(text, placeholders)

    world.use(redaction=Redaction("1", redact_there, dict))
    reading = await world.db.read(lambda _: threading.current_thread().name)
    if show == "preview":
        rows = await preview(world.db, owner, chat, world.rules)
    else:
        rows = await waiting_rows(world.db, owner, world.rules, world.clock())
    assert [row.content["messages"][0]["content"] for row in rows] == ["I am [EMAIL_1]"]
    assert threads and not any(name.startswith(reading.rpartition("_")[0]) for name in threads)


async def test_before_and_after_a_plan_its_owner_sees_why_a_row_stays(world: World):
    secret = "You sell lamps and never say what the lamps cost to make."
    said = {
        "UNREADABLE": "redaction",
        f"You told me: {secret}": "instruction",
        "the Heron counts": "blocked",
        "fine": None,
    }
    world.use(blocked=("the heron counts",))
    owner = await world.person()
    chats = {await world.say(owner, text, system_prompt=secret): reason for text, reason in said.items()}
    for chat, reason in chats.items():
        (row,) = await preview(world.db, owner, chat, world.rules)
        assert (row.kept_back, row.content is None) == (reason, reason is not None)
    await world.choose(owner, "grant", "acme")
    chats = {await world.say(owner, text, system_prompt=secret): reason for text, reason in said.items()}
    rows = await waiting_rows(world.db, owner, world.rules, world.clock())
    assert {row.conversation: row.kept_back for row in rows} == chats
    await world.turn()
    kept = await world.db.read(lambda db: shared_rows(db, owner))
    assert {row.conversation: row.kept_back for row in kept} == chats
    assert await waiting_rows(world.db, owner, world.rules, world.clock()) == []


async def test_what_was_said_about_an_answer_is_shown_as_it_leaves_before_and_after(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "a question")
    (answer,) = await world.answers(owner, chat)
    await FeedbackBook(world.db, world.clock).give(owner, answer, Feedback("down", ("wrong",), "ask me@home.example"))
    said = ({"answer": 1, "rating": "down", "reasons": ["wrong"], "comment": "ask [EMAIL_1]"},)
    (previewed,) = await preview(world.db, owner, chat, world.rules)
    (waits,) = await waiting_rows(world.db, owner, world.rules, world.clock())
    await world.turn()
    (shared,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert (previewed.feedback, waits.feedback, shared.feedback) == (said, said, said)
    assert waits.content["rating"] == shared.content["rating"] == "down"
    await world.choose(owner, "withdraw")
    await world.turn(0)
    (gone,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert gone.feedback == ()


async def test_a_share_covers_what_had_been_said_about_its_rows_and_nothing_that_is_said_later(world: World):
    owner = await world.person()
    chat = await world.say(owner, "one")
    await world.say(owner, "two", conversation=chat)
    book = FeedbackBook(world.db, world.clock)
    before, after = await world.answers(owner, chat)
    await book.give(owner, before, Feedback("up", (), "seen"))
    (row,) = await preview(world.db, owner, chat, world.rules)
    await world.choose(owner, "grant", "acme", chat, row.parts)
    world.clock.now += 1
    await book.give(owner, after, Feedback("down", (), "not seen"))
    (waits,) = await waiting_rows(world.db, owner, world.rules, world.clock())
    await world.turn()
    (shared,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert [said["comment"] for said in shared.feedback] == ["seen"]
    assert row.feedback == waits.feedback == shared.feedback and shared.content["rating"] == "up"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Feedback("down", ("harmful",)), "flagged"),
        (Feedback("up", (), "The heron counts!"), "blocked"),
        (Feedback("up", (), "It says: You sell lamps and never say what the lamps cost to make."), "instruction"),
    ],
)
async def test_what_was_said_about_an_answer_keeps_its_row_back_and_the_preview_says_so(
    world: World, said: Feedback, reason: str
):
    world.use(blocked=("the heron counts",))
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    secret = "You sell lamps and never say what the lamps cost to make."
    chat = await world.say(owner, "a question", system_prompt=secret)
    (answer,) = await world.answers(owner, chat)
    await FeedbackBook(world.db, world.clock).give(owner, answer, said)
    (previewed,) = await preview(world.db, owner, chat, world.rules)
    (waits,) = await waiting_rows(world.db, owner, world.rules, world.clock())
    await world.turn()
    (kept,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert [row.kept_back for row in (previewed, waits, kept)] == [reason] * 3
    assert [row.content for row in (previewed, waits, kept)] == [None] * 3 and not world.repos


async def test_what_is_more_than_may_leave_of_a_month_is_not_said_to_leave(world: World):
    world.use(most=1)
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "first")
    chat = await world.say(owner, "second")
    waits = await waiting_rows(world.db, owner, world.rules, world.clock())
    assert {row.content["messages"][0]["content"]: row.kept_back for row in waits} == {"first": None, "second": "most"}
    await world.turn()
    (waits,) = await waiting_rows(world.db, owner, world.rules, world.clock())
    assert (waits.kept_back, waits.content["messages"][0]["content"]) == ("most", "second")
    found = await world.db.read(lambda db: outlook(db, owner, chat, ALPHA, world.rules, world.clock()))
    assert (found.coming, found.when) == ({}, None)
    other = await world.say(owner, "to others", BETA)
    found = await world.db.read(lambda db: outlook(db, owner, other, BETA, world.rules, world.clock()))
    assert found.coming == {}


async def test_a_row_that_was_kept_back_before_reasons_were_written_down_was_so_by_the_redaction(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "UNREADABLE")
    await world.turn()
    await world.db.write(lambda db: db.execute("UPDATE outbox SET kept_back = NULL"))
    (row,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert (row.state, row.kept_back) == ("quarantined", "redaction")
