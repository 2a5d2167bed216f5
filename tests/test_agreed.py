"""A turn is shared by the account's yes only if that was in force, there and then, when it was written: as the page said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chat.conversation import SamplingParams
from chat.formats import SavedConversation, SavedMessage, merge
from chat.store import Author
from privacy.comparison import covered
from privacy.consent import Standpoint, Terms
from privacy.mine import outlook
from privacy.pauses import pause, resume
from privacy.saved import files, restore
from privacy.segments import conversations_of
from privacy.unread import close_unread, open_unread
from tests.support.sharing_world import ALPHA, BETA, DAY, HOUR, World

pytestmark = pytest.mark.anyio
NOT_OF_A_PROMPT = ("surface", "model", "model_revision", "params", "state", "finish_reason", "error", "settled_at")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "here")
    yield world
    world.close()


async def shared(world: World, owner: str, *texts: str, recipient: str = "acme") -> list[bool]:
    """Whether a yes covers the turn with this prompt, one after another."""
    found = await world.db.read(lambda db: [turn for _, turns in conversations_of(db, owner) for turn in turns])
    by_prompt = {turn.prompt: turn for turn in found}

    def read(db) -> list[bool]:
        at = Standpoint(db, owner, world.rules.terms, world.clock())
        return [covered(at, recipient, by_prompt[text]) is not None for text in texts]

    return await world.db.read(read)


async def chip(world: World, owner: str):
    return await world.db.read(lambda db: outlook(db, owner, None, ALPHA, world.rules, world.clock()))


async def rest(world: World, owner: str, act=pause) -> None:
    await world.db.write(lambda db: act(db, owner, world.clock()))


@contextmanager
def clock_set(world: World, by: float) -> Iterator[None]:
    world.clock.now += by
    yield
    world.clock.now -= by


async def elsewhere(world: World, folder: Path) -> World:
    return await world.elsewhere(folder / "elsewhere", await world.db.read(files))


async def join(into: World, other: World) -> None:
    """The other machine's disk is read, and gone."""
    saved = await other.db.read(files)
    await into.db.write(lambda db: restore(db, saved))
    await into.take_in(other)
    other.close()


async def begun(world: World, owner: str, text: str, state: str = "stopped") -> tuple[str, str]:
    """A turn that was stopped: the conversation and the answer."""
    world.clock.now += 10
    author = Author(ALPHA, "r1", SamplingParams())
    found, _, running = await world.store.begin_turn(owner, None, text, author, "", "page")
    world.clock.now += 10
    await world.store.finish_turn(running.id, "so far", state, "stop")
    return found.id, running.id


async def go_on(world: World, owner: str, answer: str, text: str) -> None:
    await world.store.begin_continue(owner, answer)
    world.clock.now += 10
    await world.store.finish_turn(answer, text, "done", "stop")


async def left(world: World) -> str:
    """Everything that is, or was, about to leave."""
    return json.dumps([row["row"] for row in await world.outbox()])


# One machine


async def test_a_clock_set_back_makes_no_yes_retroactive(world: World):
    owner = await world.person()
    await world.say(owner, "before any yes")
    world.clock.now -= 2 * DAY
    await world.choose(owner, "grant", "acme")
    world.clock.now += 3 * DAY
    await world.say(owner, "after")
    assert await shared(world, owner, "before any yes", "after") == [False, True]


@pytest.mark.parametrize("kind", ["withdraw", "deny"])
async def test_a_clock_set_back_shares_nothing_that_is_written_between_a_no_and_the_next_yes(world: World, kind: str):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    await world.choose(owner, kind, "acme")
    world.clock.now -= DAY / 2
    await world.say(owner, "in between")
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    await world.say(owner, "after")
    assert await shared(world, owner, "in between", "after") == [False, True]


@pytest.mark.parametrize("back", [60, DAY / 2])
async def test_a_clock_set_back_shares_nothing_that_was_written_while_private(world: World, back: float):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "before")
    world.clock.now += DAY
    await world.choose(owner, "deny", None, chat)
    world.clock.now -= back
    await world.say(owner, "in private", conversation=chat)
    world.clock.now -= back
    await world.choose(owner, "withdraw", None, chat)
    world.clock.now += 2 * DAY
    await world.say(owner, "after", conversation=chat)
    assert await shared(world, owner, "in private", "after") == [False, True]


async def test_a_clock_set_back_dates_no_choice_for_a_conversation_before_what_stands_in_it(world: World):
    """Not where an answer was written anew in between, either. What was written before it was private stays so."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    chat = await world.say(owner, "before")
    world.clock.now -= DAY / 2
    await world.retry(owner, chat, "written anew")
    await world.choose(owner, "deny", None, chat)
    await world.choose(owner, "withdraw", None, chat)
    world.clock.now += DAY
    assert await shared(world, owner, "before") == [False]


async def test_a_clock_set_back_during_a_rest_shares_nothing_that_is_written_then(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    await world.say(owner, "before")
    await rest(world, owner)
    world.clock.now -= DAY / 2
    await world.say(owner, "at rest")
    await rest(world, owner, resume)
    world.clock.now += DAY
    await world.say(owner, "after")
    assert await shared(world, owner, "before", "at rest", "after") == [True, False, True]


async def test_nothing_that_is_written_under_a_stale_text_is_shared_though_the_clock_is_set_back(world: World):
    owner = await world.person()
    grant = await world.choose(owner, "grant", "acme", version="1")
    world.use(terms=Terms({"1": grant.at + 10 * DAY}))
    world.clock.now = grant.at + 11 * DAY
    await world.say(owner, "while stale")
    world.clock.now -= 2 * DAY
    await world.choose(owner, "grant", "acme", version="2")
    world.clock.now += 3 * DAY
    await world.say(owner, "after")
    assert await shared(world, owner, "while stale", "after") == [False, True]


async def test_nothing_that_is_written_while_it_is_looked_up_is_shared_though_the_clock_is_set_back(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    await world.db.write(lambda db: open_unread(db, world.clock()))
    world.clock.now -= DAY / 2
    assert not (await chip(world, owner)).next_turn
    await world.say(owner, "while it was looked up")
    await world.db.write(lambda db: close_unread(db, world.clock()))
    world.clock.now += 2 * DAY
    await world.say(owner, "after")
    assert await shared(world, owner, "while it was looked up", "after") == [False, True]


async def test_the_chip_promises_nothing_that_a_clock_which_was_ahead_would_not_let_leave(world: World):
    owner = await world.person()
    with clock_set(world, DAY):
        await world.choose(owner, "grant", "acme")
    said = await chip(world, owner)
    await world.say(owner, "by the right clock")
    assert [said.next_turn] == await shared(world, owner, "by the right clock") == [False]


@pytest.mark.parametrize("how", ["retry", "continue"])
@pytest.mark.parametrize("when", ["at rest", "withdrawn", "unread", "private", "stale"])
async def test_an_answer_that_is_written_while_nothing_is_shared_is_not_though_its_prompt_would_be(
    world: World, how: str, when: str
):
    owner = await world.person()
    grant = await world.choose(owner, "grant", "acme")
    chat, answer = await begun(world, owner, "before")
    world.clock.now += HOUR
    if when == "stale":
        world.use(terms=Terms({"1": grant.at + HOUR}))
    elif when == "at rest":
        await rest(world, owner)
    elif when == "unread":
        await world.db.write(lambda db: open_unread(db, world.clock()))
    else:
        await world.choose(owner, *(("withdraw", "acme") if when == "withdrawn" else ("deny", None, chat)))
    world.clock.now += HOUR
    if how == "retry":
        await world.retry(owner, chat, "written meanwhile")
    else:
        await go_on(world, owner, answer, "so far, and written meanwhile")
    world.clock.now += HOUR
    if when == "stale":
        await world.choose(owner, "grant", "acme", version="2")
    elif when == "at rest":
        await rest(world, owner, resume)
    elif when == "unread":
        await world.db.write(lambda db: close_unread(db, world.clock()))
    else:
        await world.choose(owner, *(("grant", "acme") if when == "withdrawn" else ("withdraw", None, chat)))
    await world.turn()
    assert "written meanwhile" not in await left(world)


async def test_an_answer_that_is_written_anew_or_gone_on_with_under_the_same_yes_is_shared(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat, answer = await begun(world, owner, "one")
    await go_on(world, owner, answer, "so far, and on")
    await world.say(owner, "two", conversation=chat)
    await world.retry(owner, chat, "another answer")
    await world.turn()
    assert "so far, and on" in await left(world) and "another answer" in await left(world)


# A share of a conversation


async def test_what_is_added_to_an_answer_after_its_share_is_shared_by_no_yes(world: World):
    owner = await world.person()
    chat, answer = await begun(world, owner, "tell me")
    await world.choose(owner, "grant", "acme", chat, (answer,))
    assert await shared(world, owner, "tell me") == [True]
    await world.turn()
    assert "so far" in await left(world)
    await go_on(world, owner, answer, "so far, and what nobody was shown")
    await world.turn()
    assert await shared(world, owner, "tell me") == [False]
    assert "nobody was shown" not in await left(world)
    assert world.audited() == []
    await world.choose(owner, "grant", "acme", chat, (f"{answer}.1",))
    await world.turn()
    assert "nobody was shown" in await left(world)
    assert world.audited() == []


async def test_an_answer_written_anew_after_a_share_leaves_to_nobody_else(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "globex")
    chat = await world.say(owner, "one")
    await world.choose(owner, "grant", "acme", chat, await world.answers(owner, chat))
    world.clock.now += DAY
    await world.retry(owner, chat, "added later, to another author", BETA)
    assert await shared(world, owner, "one", recipient="globex") == [False]


# Two machines


@pytest.mark.parametrize("behind", [0, DAY])
async def test_what_a_machine_writes_that_has_not_heard_of_the_yes_is_not_shared(
    world: World, tmp_path: Path, behind: float
):
    """Though it has heard something newer, and whatever the clocks say."""
    owner = await world.person()
    await world.choose(owner, "deny", "globex")
    other = await elsewhere(world, tmp_path)
    world.clock.now += 2 * DAY
    with clock_set(world, -behind):
        await world.choose(owner, "grant", "acme")
    world.clock.now += HOUR
    await other.choose(owner, "deny", "globex")
    assert not (await chip(other, owner)).next_turn
    await other.say(owner, "nobody reads this")
    await join(world, other)
    world.clock.now += DAY
    await world.say(owner, "this they do")
    assert await shared(world, owner, "nobody reads this", "this they do") == [False, True]


@pytest.mark.parametrize("way", ["withdraw", "rest", "private"])
async def test_what_is_written_while_it_is_taken_back_is_not_shared_after_a_clock_that_is_behind_opens_again(
    world: World, tmp_path: Path, way: str
):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += DAY
    chat = await world.say(owner, "first")

    async def close(machine: World) -> None:
        if way == "rest":
            await rest(machine, owner)
        else:
            await machine.choose(owner, *(("deny", None, chat) if way == "private" else ("withdraw", "acme")))

    async def reopen(machine: World) -> None:
        if way == "rest":
            await rest(machine, owner, resume)
        else:
            await machine.choose(owner, *(("withdraw", None, chat) if way == "private" else ("grant", "acme")))

    await close(world)
    other = await elsewhere(world, tmp_path)
    world.clock.now += DAY
    await world.choose(owner, "deny", "globex")
    await world.say(owner, "meanwhile", conversation=chat)
    world.clock.now += HOUR
    with clock_set(world, -DAY / 2):
        await reopen(other)
    await join(world, other)
    world.clock.now += DAY
    await world.say(owner, "after", conversation=chat)
    assert await shared(world, owner, "meanwhile", "after") == [False, True]


@pytest.mark.parametrize("behind", [0, HOUR])
@pytest.mark.parametrize("first", ["private", "not"])
async def test_a_private_that_a_machine_heard_is_not_undone_by_what_did_not_know_of_it(
    world: World, tmp_path: Path, first: str, behind: float
):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "first")
    await world.choose(owner, "deny", None, chat)
    other = await elsewhere(world, tmp_path)
    world.clock.now += DAY
    for said in ("private", "not") if first == "private" else ("not", "private"):
        if said == "private":
            with clock_set(world, -behind):
                await other.choose(owner, "deny", None, chat)
        else:
            await world.choose(owner, "withdraw", None, chat)
    await world.say(owner, "in private", conversation=chat)
    await join(world, other)

    async def choice() -> str:
        return await world.db.read(lambda db: Standpoint(db, owner, Terms(), world.clock()).conversation_choice(chat))

    assert (await choice(), await shared(world, owner, "in private")) == ("private", [False])
    await world.choose(owner, "withdraw", None, chat)
    assert await choice() == "inherit", "what knows of it lets it follow the account again"


async def test_a_new_answer_to_what_was_written_before_a_yes_is_covered_by_none(world: World, tmp_path: Path):
    """The prompt's machine is a day ahead, and is read after the yes."""
    owner = await world.person()
    other = await elsewhere(world, tmp_path)
    with clock_set(world, DAY):
        chat = await other.say(owner, "before any yes")
    await world.choose(owner, "grant", "acme")
    await join(world, other)
    await world.retry(owner, chat, "written after it")
    world.clock.now += 3 * DAY
    assert await shared(world, owner, "before any yes") == [False]


async def test_a_rest_holds_for_what_is_written_elsewhere_before_that_is_heard(world: World, tmp_path: Path):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    other = await elsewhere(world, tmp_path)
    world.clock.now += DAY
    await rest(world, owner)
    await other.say(owner, "at rest")
    world.clock.now += DAY
    await rest(world, owner, resume)
    await join(world, other)
    await world.say(owner, "after")
    assert await shared(world, owner, "at rest", "after") == [False, True]


async def test_a_rest_on_a_machine_that_has_not_read_who_that_is_is_one(world: World, tmp_path: Path):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    saved = await world.db.read(files)
    other = await world.elsewhere(tmp_path / "empty", {})
    await other.db.write(lambda db: open_unread(db, world.clock()))
    world.clock.now += 60
    await rest(other, owner)
    await other.db.write(lambda db: restore(db, saved))
    world.clock.now += 60
    await other.db.write(lambda db: close_unread(db, world.clock()))
    world.clock.now += 60
    await other.say(owner, "at rest")
    assert await shared(other, owner, "at rest") == [False]
    other.close()


# Organisations


async def test_who_joins_and_leaves_an_organisation_unnoticed_shares_nothing_of_the_time_between(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    for decides in (True, False):
        orgs = json.dumps([{"id": "o", "name": "bigcorp", "managed": decides}])
        await world.db.write(lambda db, orgs=orgs: db.execute("UPDATE accounts SET orgs = ?", (orgs,)))
        await world.say(owner, "of the company" if decides else "has left")
    assert await shared(world, owner, "of the company", "has left") == [False, True]


async def test_what_a_member_of_a_managed_organisation_writes_is_shared_by_no_yes_of_before_nor_is_what_came_before(
    world: World,
):
    """What joining took back does not come back when they leave: they are asked again."""
    owner = await world.person()

    async def managed(decides: bool) -> None:
        orgs = json.dumps([{"id": "o", "name": "bigcorp", "managed": decides}])
        await world.db.write(lambda db: db.execute("UPDATE accounts SET orgs = ?", (orgs,)))

    await world.choose(owner, "grant", "acme")
    await world.say(owner, "before")
    await world.turn()
    assert await world.states() == ["published"]
    await managed(True)
    assert (await chip(world, owner)).state == "blocked"
    await world.say(owner, "of the company")
    await world.turn()
    assert await world.states() == ["retracted"]
    await managed(False)
    assert (await chip(world, owner)).state == "withdrawn"
    await world.say(owner, "has left")
    await world.turn()
    assert await shared(world, owner, "before", "of the company", "has left") == [False] * 3
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "agreed again")
    assert await shared(world, owner, "before", "of the company", "agreed again") == [False, False, True]
    events = await world.db.read(
        lambda db: [tuple(row) for row in db.execute("SELECT kind FROM consent_events ORDER BY at")]
    )
    assert events == [("grant",), ("org_block",), ("grant",)], "written once"
    assert world.audited() == []


def test_two_copies_of_a_conversation_are_together_no_older_than_either():
    """A machine whose clock is behind went on with it; what is said about sharing is dated after both."""

    def message(id: str, at: float) -> SavedMessage:
        known = {"id": id * 32, "role": "user", "content": "", "created_at": at}
        return SavedMessage(**{**dict.fromkeys(("parent", *NOT_OF_A_PROMPT)), **known})

    def copy(revision: int, at: float, *messages: SavedMessage) -> SavedConversation:
        known = {"id": "c" * 32, "owner": "d" * 32, "title": "", "model": ALPHA, "system_prompt": "", "params": {}}
        own = {"leaf": messages[-1].id, "revision": revision, "created_at": 1.0, "updated_at": at, "messages": messages}
        return SavedConversation(**known, **own)

    first = message("1", 5.0)
    there, here = copy(2, 50.0, first, message("2", 50.0)), copy(3, 9.0, first, message("3", 9.0))
    assert merge(there, here) == merge(here, there)
    assert merge(there, here).updated_at == 50.0
