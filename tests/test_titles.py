"""Titles by the model: when one is asked for, which are taken, and that nothing waits for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chat.engines.errors import EngineUnavailable
from chat.generation import Generations
from chat.library import Library
from chat.models.catalog import Catalog, ModelEntry
from chat.service import ChatService
from chat.titles import Titles, title_of
from tests.support.fakes import FakeEngine, FakePool
from tests.support.listing import OWNER, store_in

pytestmark = pytest.mark.anyio

MODEL = ModelEntry("m", label="M", context=2048)


@pytest.fixture
async def app(tmp_path):
    store, engine = await store_in(tmp_path), FakeEngine()
    pool = FakePool(engine)
    generations = Generations(store.checkpoint, lambda: 0.0)
    titles = Titles(store, pool, lambda owner: f"salt of {owner}")
    entries = (MODEL, replace(MODEL, name="untitled", titles=False), replace(MODEL, name="thinks", reasoning=True))
    service = ChatService(store, Catalog(entries, "m"), pool, generations, {}, titles)
    library = Library(store, generations, titles)
    yield SimpleNamespace(service=service, store=store, engine=engine, titles=titles, library=library)
    await service.stop()
    store.db.close()


async def say(app, text, title, conversation=None, **choices):
    """A turn to its end; `title` is what the engine says when it is asked for one."""
    app.engine.scripts += [["an answer"], [title]]
    found, _, answer = await app.service.send(OWNER, conversation, text, **choices)
    if generation := app.service.generations.get(answer.id):
        await generation.wait()
    await app.titles.wait()
    return await app.store.conversation(OWNER, found.id)


async def test_the_model_names_a_new_conversation(app):
    found = await say(app, "How do I knit a scarf for a llama?", "Knitting for llamas\n")
    assert (found.title, found.title_by) == ("Knitting for llamas", "model")
    asked = app.engine.asked[1]
    assert "scarf" in asked.messages[0].content and asked.params.max_tokens <= 32
    assert asked.cache_salt == f"salt of {OWNER}"


async def test_nonsense_leaves_the_first_words(app):
    found = await say(app, "How do I knit?", "the the the the the")
    assert (found.title, found.title_by) == ("How do I knit?", "words")


async def test_an_engine_that_fails_leaves_the_first_words(app):
    found = await say(app, "How do I knit?", EngineUnavailable("Gone. Start it."))
    assert found.title == "How do I knit?"


@pytest.mark.parametrize("choices", [{"model": "untitled"}, {"model": "thinks"}, {"surface": "api"}])
async def test_none_is_asked_for_where_the_catalogue_says_so_of_a_reasoning_model_and_by_a_program(app, choices):
    await say(app, "How do I knit?", "Knitting", **choices)
    assert len(app.engine.asked) == 1


async def test_only_the_first_turn_asks(app):
    found = await say(app, "one", "A title")
    app.engine.scripts.clear()
    await say(app, "two", "Another title", found.id)
    assert len(app.engine.asked) == 3
    assert (await app.store.conversation(OWNER, found.id)).title == "A title"


async def test_the_answer_waits_for_no_title_and_the_title_comes_while_it_is_written(app):
    go_on = asyncio.Event()
    app.engine.scripts += [["first words", go_on, "the rest"], ["A title"]]
    found, _, answer = await app.service.send(OWNER, None, "prompt")
    assert found.id in app.titles
    await app.titles.wait()
    assert (await app.store.conversation(OWNER, found.id)).title == "A title"
    assert app.service.generations.get(answer.id), "the answer is still being written"
    go_on.set()


async def test_no_title_is_asked_for_before_the_answer_has_begun(app):
    go_on = asyncio.Event()
    app.engine.scripts += [[go_on, "words"], ["A title"]]
    await app.service.send(OWNER, None, "prompt")
    while not app.engine.asked:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert len(app.engine.asked) == 1
    go_on.set()
    await app.titles.wait()
    assert len(app.engine.asked) == 2


@pytest.mark.parametrize("how", ["stop", "delete", "rename", "erase"])
async def test_a_title_is_given_up_with_stop_delete_and_a_name_by_its_owner(app, how):
    never = asyncio.Event()
    app.engine.scripts += [["words", never], [never, "A title"]]
    found, _, answer = await app.service.send(OWNER, None, "prompt")
    while len(app.engine.asked) < 2:
        await asyncio.sleep(0.001)
    if how == "stop":
        await app.service.stop_answer(OWNER, answer.id)
    elif how == "delete":
        await app.library.delete(OWNER, [found.id])
    elif how == "erase":
        await app.service.delete(OWNER)
    else:
        await app.library.rename(OWNER, found.id, "Mine")
    await app.titles.wait()
    assert found.id not in app.titles
    assert app.engine.freed >= 1, "the engine has let go of the request"
    never.set()
    if how == "rename":
        assert (await app.store.conversation(OWNER, found.id)).title == "Mine"


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Knitting for llamas", "Knitting for llamas"),
        ('"Knitting for llamas."', "Knitting for llamas"),
        ("**Title: Knitting for llamas**", "Knitting for llamas"),
        ("Tytuł: Łódź nocą", "Łódź nocą"),
        ("日本の歴史", "日本の歴史"),
        ("", None),
        ("…", None),
        ("42", None),
        ("x", None),
        ("word " * 11, None),
        ("x" * 61, None),
        ("Sure! A title for you", None),
        ("I'm sorry, I cannot", None),
        ("Here is a title:", None),
        ("the the cat", None),
        ("cat dog cat dog cat dog", None),
        ("hahahahahahaha", None),
        ("aaaaaaa", None),
        ("One line\nand another", None),
        ("<think> knitting", None),
        ("See https://example.org", None),
        ("bell\x07bell tower", None),
    ],
)
def test_a_title_looks_like_one(said, title):
    assert title_of(said) == title
