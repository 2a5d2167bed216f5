"""What of a conversation its model reads: what fits, by the engine's own count where it counts, and from where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat.conversation import Message, SamplingParams
from chat.db import Database
from chat.engines.engine import Delta
from chat.engines.errors import PromptTooLong
from chat.reading import Counts, Question, answer_to, fitting
from chat.store import Context, Store
from chat.stored import Author
from tests.support.fakes import FakeEngine, TickingClock

pytestmark = pytest.mark.anyio

OWNER = "1" * 32
AUTHOR = Author("small", None, SamplingParams(max_tokens=500))


@pytest.fixture
async def store(tmp_path):
    database = Database.open(tmp_path)
    await database.write(lambda db: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1, 1)", (OWNER,)))
    yield Store(database, TickingClock())
    database.close()


async def talk(store: Store, turns: int, conversation: str | None = None, omitted: int = 0, model: str = "small"):
    """`turns` turns of 200 characters each; the last answer was written without the first `omitted` messages."""
    author = Author(model, None, AUTHOR.params)
    for _ in range(turns):
        found, _, answer = await store.begin_turn(OWNER, conversation, "q" * 100, author, "", "page")
        conversation = found.id
        await store.finish_turn(answer.id, "a" * 100, "done", "stop", omitted=omitted)
    _, prompt, _ = await store.begin_turn(OWNER, conversation, "now?", author, "", "page")
    return prompt


def question(prompt, **more) -> Question:
    return Question(prompt, "small", AUTHOR.params, 1500, **more)  # 1,000 tokens for what is read


async def test_a_conversation_that_fits_is_read_whole_and_not_counted(store):
    engine = FakeEngine(tokens_each=1.0)
    found = await fitting(store, engine, question(await talk(store, 4)))
    assert (len(found.messages), found.omitted, engine.counted) == (9, 0, 0)


async def test_what_the_engine_counts_as_fitting_is_read_however_many_characters_it_has(store):
    engine = FakeEngine(tokens_each=0.25)
    found = await fitting(store, engine, question(await talk(store, 19)))
    assert (found.size, found.omitted) == (3804, 0)
    assert engine.counted == 1


@pytest.mark.parametrize("tokens_each", [0.25, 0.5, 1.0, 2.0])
async def test_the_oldest_messages_are_left_out_until_the_engine_counts_what_fits(store, tokens_each):
    engine = FakeEngine(tokens_each=tokens_each)
    asked = question(await talk(store, 60), system_prompt="s" * 100)
    found = await fitting(store, engine, asked)
    tokens = await engine.count(asked.messages(found.messages))
    assert 600 <= tokens <= 1000, "little of what fits is left out, and nothing is read that does not"
    assert found.messages[0].role == "user"
    assert found.omitted == 121 - len(found.messages)


async def test_an_engine_that_does_not_count_gets_what_is_estimated_to_fit(store):
    found = await fitting(store, FakeEngine(), question(await talk(store, 60)))
    assert 2000 <= found.size <= 3000


async def test_the_prompt_itself_is_read_whatever_it_has(store):
    _, prompt, _ = await store.begin_turn(OWNER, None, "x" * 50_000, AUTHOR, "", "page")
    found = await fitting(store, FakeEngine(tokens_each=1.0), question(prompt))
    assert [len(message.content) for message in found.messages] == [50_000]


async def test_the_next_turns_begin_with_the_same_message_while_that_fits(store):
    """The engine then finds what it read before in its cache, and the line on the page stays where it is."""
    engine = FakeEngine(tokens_each=0.5)
    prompt = await talk(store, 60)
    first = await fitting(store, engine, question(prompt))
    prompt = await talk_on(store, prompt, first.omitted)
    second = await fitting(store, engine, question(prompt))
    assert second.omitted == first.omitted
    assert len(second.messages) == len(first.messages) + 2


async def talk_on(store: Store, prompt, omitted: int):
    _, _, answer = await store.turn(OWNER, prompt.id)
    await store.finish_turn(answer.id, "a", "done", "stop", omitted=omitted)
    _, prompt, _ = await store.begin_turn(OWNER, prompt.conversation, "and now?", AUTHOR, "", "page")
    return prompt


async def test_the_turn_after_a_counted_one_is_not_counted_again_while_it_fits_for_certain(store):
    """However many tokens a character is: the count is exact again before it could be too much."""
    engine, counts = FakeEngine(tokens_each=0.9), Counts()
    prompt = await talk(store, 60)
    asked = 0
    for _ in range(40):
        _, _, answer = await store.turn(OWNER, prompt.id)
        now = question(prompt, answer=answer.id)
        before = engine.counted
        found = await fitting(store, engine, now, counts)
        asked += engine.counted > before
        assert await engine.count(now.messages(found.messages)) <= now.budget
        prompt = await talk_on(store, prompt, found.omitted)
    assert asked <= 15
    assert found.omitted > 100


async def test_what_the_engine_says_that_an_answer_took_is_not_counted(store):
    """Before every turn but those few at which the room is nearly used up."""
    engine, counts = FakeEngine(tokens_each=0.9), Counts()
    prompt = await talk(store, 60)
    counted = []
    for _ in range(40):
        _, _, answer = await store.turn(OWNER, prompt.id)
        now = question(prompt, answer=answer.id)
        before = engine.counted
        engine.scripts = [["a"]]
        found, *_ = [part async for part in answer_to(store, engine, now, "salt", counts)]
        counted.append(engine.counted > before)
        assert await engine.count(now.messages(found.messages)) <= now.budget
        prompt = await talk_on(store, prompt, found.omitted)
    assert counted[0], "nobody told of the turns before"
    assert sum(counted) <= 6
    assert found.omitted > 100


async def test_a_turn_after_an_answer_that_was_stopped_is_counted_from_the_turn_before(store):
    engine, counts = FakeEngine(tokens_each=0.5), Counts()
    prompt = await talk(store, 60)
    _, _, answer = await store.turn(OWNER, prompt.id)
    first = await fitting(store, engine, question(prompt, answer=answer.id), counts)
    before, prompt = engine.counted, await talk_on(store, prompt, first.omitted)
    assert len((await fitting(store, engine, question(prompt), counts)).messages) == len(first.messages) + 2
    assert engine.counted == before


class Forgetful(FakeEngine):
    """Its chat template renders the last messages only."""

    def _tokens(self, size: int) -> int:
        return 10


async def test_a_template_that_leaves_out_most_of_a_conversation_does_not_have_all_of_it_sent(store):
    engine, counts = Forgetful(), Counts()
    prompt = await talk(store, 60)
    for _ in range(5):
        _, _, answer = await store.turn(OWNER, prompt.id)
        now = question(prompt, answer=answer.id)
        engine.scripts = [["a"]]
        found, *_ = [part async for part in answer_to(store, engine, now, "salt", counts)]
        assert 4000 <= found.size <= 6 * now.budget
        await store.finish_turn(answer.id, "a" * 900, "done", "stop", omitted=found.omitted)
        _, prompt, _ = await store.begin_turn(OWNER, prompt.conversation, "and now?", AUTHOR, "", "page")


async def test_what_was_counted_for_another_branch_or_model_counts_for_nothing(store):
    engine, counts = FakeEngine(tokens_each=0.5), Counts()
    prompt = await talk(store, 60)
    _, _, answer = await store.turn(OWNER, prompt.id)
    first = await fitting(store, engine, question(prompt, answer=answer.id), counts)
    prompt = await talk_on(store, prompt, first.omitted)
    other = replace(question(prompt, answer="next"), model="large", context=15_000)
    assert (await fitting(store, engine, other, counts)).omitted == 0


async def test_another_model_reads_what_fits_itself(store):
    engine = FakeEngine(tokens_each=0.5)
    found = await fitting(store, engine, question(await talk(store, 60, omitted=118, model="smaller")))
    assert found.omitted < 110


async def test_where_the_engine_refuses_after_all_more_is_left_out_and_that_is_what_is_told(store):
    engine = FakeEngine([[PromptTooLong("Small", 4000, 1500)], ["fits"]])
    parts = [part async for part in answer_to(store, engine, question(await talk(store, 60)), "salt")]
    contexts = [part for part in parts if isinstance(part, Context)]
    assert contexts[0].omitted < contexts[1].omitted
    assert [len(asked.messages) for asked in engine.asked] == [len(found.messages) for found in contexts]
    assert parts[-2] == Delta("fits")


# Going on with a cut-off answer


@pytest.mark.parametrize(
    ("cut_off", "deltas", "together"),
    [
        ("one two", [" three"], "one two three"),
        ("one two ", [" three"], "one two three"),
        ("one.\n\n", ["\n", "\nTwo"], "one.\n\nTwo"),
        ("one.\n\n", ["\n", "Two"], "one.\n\nTwo"),
        ("one ", ["three"], "one three"),
        ("one\n", [" ", "x"], "one\n x"),
        ("x = [\n    ", ["\n", "    1"], "x = [\n    1"),
    ],
)
async def test_the_words_that_follow_join_what_was_shown_without_white_space_twice(store, cut_off, deltas, together):
    """What was shown stays byte for byte; the engine gets it without the space at its end, which templates strip or not."""
    engine = FakeEngine([deltas])
    asked = question(await talk(store, 1), cut_off=cut_off)
    parts = [part async for part in answer_to(store, engine, asked, "salt")]
    assert cut_off + "".join(part.text for part in parts if isinstance(part, Delta)) == together
    assert engine.asked[0].continue_last
    assert engine.asked[0].messages[-1] == Message("assistant", cut_off.rstrip())
