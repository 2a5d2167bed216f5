"""A segment is what one model answered in one go on the kept branch, under one consent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from privacy import redaction
from privacy.rows import Redaction, dataset_id, prepare
from privacy.segments import PASTED, cut, find, turns_of
from tests.support.sharing_world import ALPHA, BETA, RULES, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


async def turns(world, owner, conversation):
    return await world.db.read(lambda db: turns_of(db, owner, conversation))


def shapes(segments):
    return [(segment.model, len(segment.turns)) for segment in segments]


async def talk(world, models, owner=None):
    owner = owner or await world.person()
    chat = None
    for n, model in enumerate(models):
        chat = await world.say(owner, f"question {n}", model, chat)
    return owner, chat


async def test_a_segment_ends_where_another_model_answers(world):
    owner, chat = await talk(world, [ALPHA, ALPHA, BETA, ALPHA])
    found = cut(await turns(world, owner, chat), lambda turn: True)
    assert shapes(found) == [(ALPHA, 2), (BETA, 1), (ALPHA, 1)]
    assert [segment.context_omitted for segment in found] == [False, True, True]


async def test_a_segment_ends_where_the_revision_the_consent_or_a_left_out_turn_says_so(world):
    owner, chat = await talk(world, [ALPHA] * 4)
    whole = await turns(world, owner, chat)
    assert shapes(cut(whole, lambda turn: turn.position < 4 or None)) == [(ALPHA, 2)]
    assert shapes(cut(whole, lambda turn: turn.position // 4)) == [(ALPHA, 2), (ALPHA, 2)]
    assert shapes(cut(whole, lambda turn: True, taken={whole[1].answer_id})) == [(ALPHA, 1), (ALPHA, 2)]
    other = [*whole[:2], replace(whole[2], model_revision="r2"), whole[3]]
    assert shapes(cut(other, lambda turn: True)) == [(ALPHA, 2), (ALPHA, 1), (ALPHA, 1)]
    assert shapes(cut([whole[0], whole[2]], lambda turn: True)) == [(ALPHA, 1), (ALPHA, 1)]


async def test_a_pasted_text_is_an_attachment_and_does_not_leave(world):
    owner = await world.person()
    chat = await world.say(owner, "short")
    await world.say(owner, "x" * (PASTED + 1), conversation=chat)
    await world.say(owner, "x" * PASTED, conversation=chat)
    found = cut(await turns(world, owner, chat), lambda turn: True)
    assert [(len(s.turns), s.attachments_omitted) for s in found] == [(1, 0), (1, 1)]


async def test_an_edit_or_a_retry_inside_ends_a_segment_and_going_on_does_not(world):
    owner, chat = await talk(world, [ALPHA, ALPHA])
    segment = cut(await turns(world, owner, chat), lambda turn: True)[0]
    await world.say(owner, "more", conversation=chat)
    later = await turns(world, owner, chat)
    assert find(later, segment.answers, True).digest() == segment.digest()
    await world.retry(owner, chat, "another answer")
    assert find(await turns(world, owner, chat), segment.answers, True).digest() == segment.digest()
    owner, chat = await talk(world, [ALPHA, ALPHA])
    segment = cut(await turns(world, owner, chat), lambda turn: True)[0]
    await world.retry(owner, chat, "another answer")
    assert find(await turns(world, owner, chat), segment.answers, True) is None


async def test_titles_system_prompts_and_abandoned_answers_are_in_no_row(world):
    owner = await world.person()
    chat = await world.say(owner, "the question", answer="ABANDONED", system_prompt="SYSTEM")
    await world.store.rename(owner, chat, "TITLE")
    await world.retry(owner, chat, "the answer")
    (segment,) = cut(await turns(world, owner, chat), lambda turn: True)
    row = prepare(segment, "1", ("training",), RULES).content
    assert [message["content"] for message in row["messages"]] == ["the question", "the answer"]
    assert not any(word in repr(row) + repr(segment) for word in ("ABANDONED", "SYSTEM", "TITLE"))
    assert segment.context_omitted, "a system prompt was context"


async def test_a_row_says_who_wrote_what_and_what_was_replaced(world):
    owner = await world.person()
    chat = await world.say(owner, "I am a@b.example and c@d.example", answer="Hello a@b.example")
    row = prepare(cut(await turns(world, owner, chat), lambda turn: True)[0], "1", ("training",), RULES).content
    assert [m["content"] for m in row["messages"]] == ["I am [EMAIL_1] and [EMAIL_2]", "Hello [EMAIL_1]"]
    assert [(m["synthetic"], m["generator"]) for m in row["messages"]] == [(False, None), (True, f"{ALPHA}@r1")]
    assert row["redactions"] == [{"type": "email", "count": 3}]


async def test_what_cannot_be_redacted_is_kept_back(world):
    owner = await world.person()
    chat = await world.say(owner, "UNREADABLE")
    assert prepare(cut(await turns(world, owner, chat), lambda turn: True)[0], "1", ("t",), RULES).content is None


async def test_the_apps_own_redaction_numbers_placeholders_through_a_whole_row(world):
    rules = replace(RULES, redaction=Redaction(redaction.VERSION, redaction.redact, redaction.Placeholders))
    owner = await world.person()
    chat = await world.say(owner, "I am ada@home.example", answer="Hello ada@home.example")
    await world.say(owner, "and bob@work.example", conversation=chat, answer="Noted, ada@home.example")
    (segment,) = cut(await turns(world, owner, chat), lambda turn: True)
    row = prepare(segment, "1", ("training",), rules).content
    said = [message["content"] for message in row["messages"]]
    first = said[0].removeprefix("I am ")
    assert said[1:] == [f"Hello {first}", said[2], f"Noted, {first}"]
    assert "example" not in repr(row) and first not in said[2]
    assert sum(found["count"] for found in row["redactions"]) == 4


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("acme/alpha", "ada/parley-acme__alpha"),
        ("parley-starter", "ada/parley-parley-starter"),
        ("a--b..c/d e", "ada/parley-a-b.c__d_e"),
        ("x" * 200, f"ada/parley-{'x' * 73}-{'c2a908d98f5d'}"),
    ],
)
def test_a_sharing_datasets_name_is_one_that_the_hub_accepts(model, name):
    from huggingface_hub.utils import validate_repo_id

    found = dataset_id(RULES, model)
    validate_repo_id(found)
    assert found.startswith(name[:60])
    assert len(found.partition("/")[2]) <= 96
