"""One turn from text to saved answer: what is kept, what the engine is asked, and what a mistake leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chat.conversation import Message, SamplingParams, Written
from chat.db import Database
from chat.engines.errors import EngineUnavailable, PromptTooLong
from chat.generation import Generations
from chat.models.catalog import Catalog, ModelEntry, UnknownModel
from chat.service import CRASHED, LONGEST_PROMPT, SHUT_DOWN, BadInput, ChatService
from chat.store import Store
from chat.stored import CannotContinue, NotFound
from tests.support.fakes import FakeEngine, FakePool, TickingClock

pytestmark = pytest.mark.anyio

OWNER, OTHER = "1" * 32, "2" * 32
SMALL = ModelEntry("small", label="Small", context=2048, defaults=SamplingParams(temperature=0.2, max_tokens=512))
LARGE = ModelEntry("large", label="Large", context=8192)
HUGE = ModelEntry("huge", label="Huge")
SERVED = ModelEntry("served", kind="tgi", label="Served")


@pytest.fixture
async def app(tmp_path):
    db = Database.open(tmp_path)
    for owner in (OWNER, OTHER):
        await db.write(lambda c, id=owner: c.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (id,)))
    store, engine = Store(db, TickingClock()), FakeEngine()
    pool = FakePool(engine)
    service = ChatService(
        store,
        Catalog((SMALL, LARGE, HUGE, SERVED), "small"),
        pool,
        Generations(store.checkpoint, lambda: 0.0),
        {"huge": "Needs 140 GiB of GPU memory."},
    )
    yield SimpleNamespace(service=service, store=store, engine=engine, pool=pool)
    await service.stop()
    db.close()


async def say(app, text: str, answer: str = "ok", conversation: str | None = None, **choices):
    app.engine.scripts.append([answer])
    found, _, running = await app.service.send(OWNER, conversation, text, **choices)
    await app.service.generations.get(running.id).wait()
    return found, await app.store.message(OWNER, running.id)


async def shown(app, answer: str, text: str) -> None:
    """Wait until `text` has been sent out."""
    generation = app.service.generations.get(answer)
    async for _ in generation.changes():
        if generation.text == text:
            return


async def test_a_turn_is_answered_and_kept(app):
    found, answer = await say(app, "Hello", "Hi there.")
    assert (answer.content, answer.state, answer.finish_reason) == ("Hi there.", "done", "stop")
    assert app.engine.asked[0].messages == [Message("user", "Hello")]
    assert answer.params == SMALL.defaults, "nothing was chosen, so the model's own defaults hold"


async def test_the_engine_reads_the_system_prompt_and_the_conversation_so_far(app):
    found, _ = await say(app, "My name is Ada.", "Hello Ada.", system_prompt="Be brief.")
    await say(app, "Who am I?", "Ada.", found.id)
    assert app.engine.asked[1].messages == [
        Message("system", "Be brief."),
        Message("user", "My name is Ada."),
        Message("assistant", "Hello Ada."),
        Message("user", "Who am I?"),
    ]


async def test_settings_are_remembered_with_the_conversation(app):
    found, _ = await say(app, "one", params={"temperature": 1.5, "seed": 7})
    _, answer = await say(app, "two", conversation=found.id)
    assert (answer.params.temperature, answer.params.seed) == (1.5, 7)


async def test_another_model_may_go_on_with_its_own_defaults(app):
    found, _ = await say(app, "one", params={"temperature": 1.5})
    _, answer = await say(app, "two", conversation=found.id, model="large")
    assert (answer.model, answer.params) == ("large", LARGE.defaults)


async def test_owners_do_not_share_a_prefix_cache(app):
    await say(app, "one")
    app.engine.scripts.append(["ok"])
    _, _, other = await app.service.send(OTHER, None, "one")
    await app.service.generations.get(other.id).wait()
    first, second = (asked.cache_salt for asked in app.engine.asked)
    assert first != second
    assert OWNER not in first


async def test_stop_frees_the_engine_and_keeps_what_was_sent_out(app):
    app.engine.scripts.append(["so far", asyncio.Event()])
    _, _, running = await app.service.send(OWNER, None, "go")
    await shown(app, running.id, "so far")
    answer = await app.service.stop_answer(OWNER, running.id)
    assert (answer.content, answer.state) == ("so far", "stopped")
    assert app.engine.freed == 1


async def test_a_message_sent_while_the_engine_starts_waits_and_is_answered(app):
    app.pool.up.clear()
    app.engine.scripts.append(["at last"])
    _, _, running = await app.service.send(OWNER, None, "hello?")
    generation = app.service.generations.get(running.id)
    async for _ in generation.changes():
        if generation.status == "Loading the weights.":
            break
    app.pool.up.set()
    await generation.wait()
    assert (await app.store.message(OWNER, running.id)).content == "at last"


async def test_stop_while_the_engine_starts(app):
    app.pool.up.clear()
    _, _, running = await app.service.send(OWNER, None, "hello?")
    assert (await app.service.stop_answer(OWNER, running.id)).state == "stopped"
    assert not app.engine.asked


async def test_an_engine_that_dies_leaves_prompt_and_words_and_a_retry_answers(app):
    app.engine.scripts += [["half", EngineUnavailable("It went away. Try again.")], ["whole"]]
    found, _, running = await app.service.send(OWNER, None, "go", params={"seed": 5})
    await app.service.generations.get(running.id).wait()
    broken = await app.store.message(OWNER, running.id)
    assert (broken.content, broken.state, broken.error) == ("half", "interrupted", "It went away. Try again.")

    _, _, again = await app.service.retry(OWNER, running.id)
    await app.service.generations.get(again.id).wait()
    answer = await app.store.message(OWNER, again.id)
    assert (answer.content, answer.siblings) == ("whole", (running.id, again.id))
    assert app.engine.asked[1].messages == [Message("user", "go")], "the broken answer is not part of the question"
    assert answer.params.seed is None, "with the same seed it would only repeat itself"


async def test_asked_before_it_is_known_that_the_engine_has_gone_the_answer_waits_for_it(app):
    app.pool.gone = True
    app.engine.scripts += [[EngineUnavailable("Nobody is there.")], ["whole"]]
    _, _, running = await app.service.send(OWNER, None, "go")
    await app.service.generations.get(running.id).wait()
    answer = await app.store.message(OWNER, running.id)
    assert (answer.content, answer.state) == ("whole", "done")

    app.engine.scripts += [[EngineUnavailable("Nobody is there.")], ["whole"]]
    generation = app.service.ask(OWNER, "go", None, {}, "")
    assert (await generation.wait()).state == "done"
    assert generation.text == "whole"


async def test_an_engine_that_goes_again_at_the_same_prompt_is_not_waited_for_twice(app):
    """The prompt may be what ends it."""
    app.pool.gone = True
    app.engine.scripts += [[EngineUnavailable("Gone.")], [EngineUnavailable("Gone again.")]]
    _, _, running = await app.service.send(OWNER, None, "go")
    await app.service.generations.get(running.id).wait()
    assert (await app.store.message(OWNER, running.id)).error == "Gone again."


async def test_an_engine_that_is_there_and_does_not_answer_is_not_asked_again(app):
    app.engine.scripts += [[EngineUnavailable("It did not answer in time.")]]
    _, _, running = await app.service.send(OWNER, None, "go")
    await app.service.generations.get(running.id).wait()
    assert (await app.store.message(OWNER, running.id)).error == "It did not answer in time."


async def test_older_messages_make_room_when_the_conversation_exceeds_the_context(app):
    found, _ = await say(app, "a" * 900, "b" * 900)
    await say(app, "c" * 900, "d" * 900, found.id)
    app.engine.scripts += [[PromptTooLong("Small", 2500, 2048)], ["fits"]]
    _, _, running = await app.service.send(OWNER, found.id, "e" * 900)
    await app.service.generations.get(running.id).wait()
    assert (await app.store.message(OWNER, running.id)).content == "fits"
    before, after = (len(asked.messages) for asked in app.engine.asked[-2:])
    assert after < before
    assert app.engine.asked[-1].messages[-1] == Message("user", "e" * 900)


async def test_a_message_beyond_the_context_says_so_and_is_not_lost(app):
    app.engine.scripts.append([PromptTooLong("Small", 5000, 2048)])
    found, prompt, running = await app.service.send(OWNER, None, "long " * 500)
    await app.service.generations.get(running.id).wait()
    answer = await app.store.message(OWNER, running.id)
    assert answer.state == "failed"
    assert answer.error.startswith("This is 5,000 tokens long; Small reads at most 2,048.")
    assert (await app.store.message(OWNER, prompt.id)).content == "long " * 500


async def test_a_message_beyond_the_context_does_not_block_those_after_it(app):
    """It joins the next prompt, as an unanswered one does, and must make room like any older message."""
    app.engine.scripts.append([PromptTooLong("Small", 5000, 2048)])
    found, _, failed = await app.service.send(OWNER, None, "長" * 3000)
    await app.service.generations.get(failed.id).wait()
    app.engine.scripts += [[PromptTooLong("Small", 5000, 2048)], ["fits"]]
    _, _, running = await app.service.send(OWNER, found.id, "short")
    await app.service.generations.get(running.id).wait()
    assert (await app.store.message(OWNER, running.id)).content == "fits"
    assert app.engine.asked[-1].messages == [Message("user", "short")]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"text": " \n "}, "The message is empty"),
        ({"text": "x" * (LONGEST_PROMPT + 1)}, "at most 200,000 fit"),
        ({"params": {"temperature": 3}}, "temperature must be between 0 and 2, not 3"),
        ({"params": {"temprature": 1}}, "Unknown sampling parameter 'temprature'"),
        ({"params": {"top_k": 1.5}}, "top_k must be a whole number"),
        ({"params": {"temperature": True}}, "temperature must be a number"),
        ({"params": {"temperature": float("nan")}}, "temperature must be between"),
        ({"params": {"top_k": float("inf")}}, "top_k must be a whole number, not inf"),
        ({"params": {"top_k": float("nan")}}, "top_k must be a whole number, not nan"),
        ({"params": {"seed": 10**400}}, "seed must be between 0 and .*, not a number of that length"),
        ({"params": {"temperature": -(10**5000)}}, "temperature must be between 0 and 2, not a number of that length"),
        ({"text": "cut \ud83d"}, "characters that cannot be kept"),
        ({"system_prompt": "\udc00"}, "characters that cannot be kept"),
        ({"conversation": "\udc00"}, "characters that cannot be kept"),
        ({"system_prompt": "x" * 20_001}, "at most 20,000 fit"),
        ({"model": "huge"}, "Huge cannot be used here: Needs 140 GiB of GPU memory. Pick another model."),
    ],
)
async def test_bad_input_is_named_and_keeps_nothing(app, wrong, sentence):
    with pytest.raises(BadInput, match=sentence):
        await app.service.send(OWNER, **{"conversation": None, "text": "hello", **wrong})
    assert await app.store.conversations(OWNER) == ([], None)


async def test_an_unknown_model_keeps_nothing(app):
    with pytest.raises(UnknownModel):
        await app.service.send(OWNER, None, "hello", model="smal")
    assert await app.store.conversations(OWNER) == ([], None)


async def test_another_owner_can_do_nothing_with_a_conversation(app):
    found, answer = await say(app, "mine")
    for attempt in (
        app.service.send(OTHER, found.id, "intruder"),
        app.service.retry(OTHER, answer.id),
        app.service.stop_answer(OTHER, answer.id),
        app.service.delete(OTHER, found.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_deleting_stops_the_running_answer_which_writes_nothing_after(app):
    app.engine.scripts.append(["secret", asyncio.Event()])
    found, _, running = await app.service.send(OWNER, None, "go")
    await shown(app, running.id, "secret")
    assert await app.service.delete(OWNER, found.id) == 1
    assert app.engine.freed == 1
    left = await app.store.db.read(lambda db: db.execute("SELECT count(*) FROM messages").fetchone()[0])
    assert left == 0


async def test_all_conversations_of_one_owner_are_deleted(app):
    await say(app, "one")
    await say(app, "two")
    app.engine.scripts.append(["kept"])
    await app.service.send(OTHER, None, "mine")
    assert await app.service.delete(OWNER) == 2
    assert len((await app.store.conversations(OTHER))[0]) == 1


async def test_after_a_crash_the_running_answer_is_interrupted(app):
    app.engine.scripts.append(["so far", asyncio.Event()])
    _, _, running = await app.service.send(OWNER, None, "go")
    await app.store.checkpoint({running.id: Written("so far")})
    await app.service.start()
    answer = await app.store.message(OWNER, running.id)
    assert (answer.content, answer.state, answer.error) == ("so far", "interrupted", CRASHED)


async def test_at_shutdown_running_answers_keep_what_was_sent_out(app):
    app.engine.scripts.append(["so far", asyncio.Event()])
    _, _, running = await app.service.send(OWNER, None, "go")
    await shown(app, running.id, "so far")
    await app.service.stop()
    answer = await app.store.message(OWNER, running.id)
    assert (answer.content, answer.error) == ("so far", SHUT_DOWN)


async def test_a_question_asked_from_outside_is_kept_nowhere(app):
    app.engine.scripts.append(["between us"])
    generation = app.service.ask(OWNER, "canary", None, {}, "")
    await generation.wait()
    assert generation.text == "between us"
    kept = await app.store.db.read(lambda db: db.execute("SELECT count(*) FROM messages").fetchone()[0])
    assert kept == 0


async def test_sent_again_after_a_lost_answer_a_prompt_does_not_stand_twice(app):
    gate = asyncio.Event()
    app.engine.scripts.append([gate, "ok"])
    found, prompt, running = await app.service.send(OWNER, None, "Hello", key="made by the page")
    again = await app.service.send(OWNER, None, "Hello", key="made by the page")
    assert [part.id for part in again] == [found.id, prompt.id, running.id]
    gate.set()
    await app.service.generations.get(running.id).wait()
    *_, answer = await app.service.send(OWNER, None, "Hello", key="made by the page")
    assert (answer.id, answer.content) == (running.id, "ok")
    assert len(app.engine.asked) == 1
    app.engine.scripts.append(["ok"])
    other, *_ = await app.service.send(OTHER, None, "Hello", key="made by the page")
    assert other.id != found.id, "a key is its owner's"


async def test_two_that_come_at_once_with_one_key_are_one(app):
    app.engine.scripts.append(["ok"])
    (first, *_), (second, *_) = await asyncio.gather(
        *(app.service.send(OWNER, None, "Hello", key="made by the page") for _ in range(2))
    )
    assert first.id == second.id
    assert len((await app.store.conversations(OWNER))[0]) == 1


async def ended(app, answer: str) -> None:
    if generation := app.service.generations.get(answer):
        await generation.wait()


async def cut_off(app, *, model: str | None = None):
    """A stopped answer "one two "."""
    app.engine.scripts.append(["one two ", asyncio.Event()])
    found, _, running = await app.service.send(OWNER, None, "count", model)
    await shown(app, running.id, "one two ")
    return found, await app.service.stop_answer(OWNER, running.id)


async def test_a_cut_off_answer_goes_on_where_it_was(app):
    found, old = await cut_off(app)
    app.engine.scripts.append([" three"])
    conversation, running = await app.service.continue_answer(OWNER, old.id)
    assert (running.id, running.state, running.content, conversation.running) == (old.id, "running", "one two ", old.id)
    await ended(app, old.id)
    answer = await app.store.message(OWNER, old.id)
    assert (answer.content, answer.state, answer.finish_reason) == ("one two three", "done", "stop")
    assert app.engine.asked[-1].messages == [Message("user", "count"), Message("assistant", "one two")]
    assert app.engine.asked[-1].continue_last
    assert app.engine.asked[-1].params == old.params


async def test_stopped_again_it_keeps_what_was_shown_before_and_since(app):
    _, old = await cut_off(app)
    app.engine.scripts.append([" three", asyncio.Event()])
    await app.service.continue_answer(OWNER, old.id)
    await shown(app, old.id, "one two three")
    answer = await app.service.stop_answer(OWNER, old.id)
    assert (answer.content, answer.state) == ("one two three", "stopped")


async def test_where_not_a_word_comes_the_answer_is_again_what_it_was(app):
    _, old = await cut_off(app)
    app.engine.scripts.append([EngineUnavailable("It went away. Try again.")])
    await app.service.continue_answer(OWNER, old.id)
    await ended(app, old.id)
    answer = await app.store.message(OWNER, old.id)
    assert (answer.content, answer.state, answer.error) == ("one two ", "stopped", None)


async def test_an_engine_that_dies_after_some_words_leaves_them(app):
    _, old = await cut_off(app)
    app.engine.scripts.append([" three", EngineUnavailable("It went away. Try again.")])
    await app.service.continue_answer(OWNER, old.id)
    await ended(app, old.id)
    answer = await app.store.message(OWNER, old.id)
    assert (answer.content, answer.state, answer.error) == ("one two three", "interrupted", "It went away. Try again.")


async def test_what_cannot_be_gone_on_with_is_refused_with_a_reason_and_stays(app):
    _, old = await cut_off(app, model="served")
    with pytest.raises(CannotContinue, match="Served cannot go on with a cut-off answer"):
        await app.service.continue_answer(OWNER, old.id)
    _, old = await cut_off(app)
    app.service.catalog = Catalog((replace(SMALL, revision="newer"),), "small")
    with pytest.raises(CannotContinue, match="Small has changed since this answer"):
        await app.service.continue_answer(OWNER, old.id)
    with pytest.raises(NotFound):
        await app.service.continue_answer(OTHER, old.id)
    assert (await app.store.message(OWNER, old.id)) == old


async def test_the_answer_says_how_much_its_model_did_not_read(app):
    found, _ = await say(app, "a" * 3000, "b" * 3000)
    _, answer = await say(app, "now?", conversation=found.id)
    assert answer.omitted == 2
    _, answer = await say(app, "now?", conversation=found.id, model="large")
    assert answer.omitted == 0
