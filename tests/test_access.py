"""The page says that nobody has access yet where that is so, and never where it is not known; who was named for an author's
datasets is let into those, and nobody else into any."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chat.dataset_repo import Unreachable
from privacy.access import FRESH, Access
from privacy.mine import outlook
from privacy.notes import FAILED, set_note
from privacy.outbox import plan
from privacy.policy.words import words
from privacy.web.chip import chip
from tests.support.memory_repo import Faulty, MemoryRepo
from tests.support.sharing_world import ALPHA, BETA, World

pytestmark = pytest.mark.anyio

ACME = "ada/parley-acme__alpha"


@pytest.fixture
async def world(tmp_path: Path):
    world = World(tmp_path)
    world.owner = await world.person()
    await world.choose(world.owner, "grant", "acme")
    world.chat = await world.say(world.owner, "told")
    await world.turn()
    yield world
    world.close()


def dataset(world: World) -> MemoryRepo:
    (repo,) = (repo for id, repo in world.repos.items() if "acme" in id)
    return repo


async def test_a_closed_dataset_that_nobody_was_let_into_is_read_by_nobody(world: World):
    access = Access(world.db, world.look_at, world.clock)
    assert await access.nobody_in() == frozenset(), "before the first look nothing is promised"
    await access.look()
    assert await access.nobody_in() == {ACME}
    seen = await world.db.read(lambda db: outlook(db, world.owner, world.chat, ALPHA, world.rules, world.clock()))
    for language, part in (
        ("en", "nobody has access yet"),
        ("pl", "nikt nie ma jeszcze"),
        ("fr", "personne n'y a encore accès"),
    ):
        said = chip(seen, world.chat, world.rules, world.clock(), words(language), await access.nobody_in())
        assert part in said["sentence"] and said["shared"] and said["can_take_back"]
    dataset(world).seen_by = "gated"
    dataset(world).let_in = set()
    await access.look()
    assert await access.nobody_in() == {ACME}


async def test_a_dataset_that_is_not_made_yet_is_read_by_nobody_unless_its_author_keeps_it(world: World):
    later, own = "ada/parley-globex__beta", "ada/parley-ada__own"
    access = Access(world.db, world.open_repo, world.clock, (), {later: "globex", own: "ada"})
    await access.look()
    assert await access.nobody_in() == {ACME, later}
    assert list(access.figures()["readers"]) == [ACME], "what is not there has no readers to name"


async def test_what_is_being_taken_back_from_a_closed_dataset_is_read_by_nobody(world: World):
    access = Access(world.db, world.open_repo, world.clock)
    await world.choose(world.owner, "deny", conversation=world.chat)
    for _ in range(2):  # before the next plan, and after it
        await access.look()
        seen = await world.db.read(lambda db: outlook(db, world.owner, world.chat, ALPHA, world.rules, world.clock()))
        said = chip(seen, world.chat, world.rules, world.clock(), nobody_in=await access.nobody_in())
        assert said["sentence"] == "Being taken out of the dataset for acme; nobody has access."
        await plan(world.db, world.rules, now=world.clock(), restored=True)


async def test_whoever_reads_one_dataset_of_an_author_does_not_read_the_others(world: World):
    world.use(authors={**world.rules.authors, BETA: "acme"})
    other = await world.say(world.owner, "to the other model", BETA)
    await world.turn()
    repo = world.repos["ada/parley-globex__beta"]
    repo.seen_by, repo.let_in = "gated", {"carol"}
    access = Access(world.db, world.open_repo, world.clock)
    await access.look()

    async def sentence(chat: str) -> str:
        seen = await world.db.read(
            lambda db: outlook(db, world.owner, chat, "nobody/knows", world.rules, world.clock())
        )
        return chip(seen, chat, world.rules, world.clock(), nobody_in=await access.nobody_in())["sentence"]

    assert await sentence(other) == "acme can read this conversation."
    assert await sentence(world.chat) == ("This conversation is in the dataset for acme; nobody has access yet.")


async def test_once_somebody_is_let_in_or_it_is_not_known_any_more_nothing_is_promised(world: World):
    access = Access(world.db, world.look_at, world.clock)
    await access.look()
    world.clock.now += FRESH + 1
    assert await access.nobody_in() == frozenset()
    dataset(world).seen_by = "gated"
    dataset(world).let_in = {"carol-of-acme"}
    await access.look()
    assert await access.nobody_in() == frozenset()


async def test_a_dataset_that_cannot_be_looked_at_counts_as_read(world: World):
    def strike(call: str, before: bool) -> None:
        raise Unreachable("away")

    access = Access(world.db, lambda id: Faulty(dataset(world), strike), world.clock)
    await access.look()
    assert await access.nobody_in() == frozenset()


READERS = ("acme:carol", "globex:dora", "eve")


async def test_who_was_named_for_an_author_and_asks_is_let_into_that_authors_datasets_and_nobody_else(world: World):
    await world.choose(world.owner, "grant", "globex")
    await world.say(world.owner, "for the other one", BETA)
    await world.turn()
    acme, globex = (world.repos[f"ada/parley-{name}"] for name in ("acme__alpha", "globex__beta"))
    for repo in (acme, globex):
        repo.seen_by, repo.asking = "gated", {"Carol", "dora", "eve", "mallory"}
    access = Access(world.db, world.look_at, world.clock, READERS)
    await access.look()
    assert (acme.let_in, globex.let_in) == ({"Carol"}, {"dora"})
    assert access.figures() == {"problems": [], "readers": {acme.id: ["Carol"], globex.id: ["dora"]}}
    assert await access.nobody_in() == frozenset()


@pytest.mark.parametrize("why", ["nobody is named", "it is private", "it is open to everyone", "an audit failed"])
async def test_nobody_is_let_in_where(world: World, why: str):
    repo = dataset(world)
    repo.seen_by = {"it is private": "private", "it is open to everyone": "public"}.get(why, "gated")
    repo.asking, repo.let_in = {"carol"}, set()
    if why == "an audit failed":
        await world.db.write(lambda db: set_note(db, FAILED, '["something"]'))
    access = Access(world.db, world.look_at, world.clock, () if why == "nobody is named" else READERS)
    await access.look()
    assert (repo.let_in, repo.asking) == (set(), {"carol"})
    assert access.figures() == {"problems": [], "readers": {repo.id: []}}


async def test_whatever_goes_wrong_the_next_look_comes_and_the_operator_is_told_without_a_word_of_anybody(world: World):
    errors = iter([ValueError("a private word"), KeyError("a private word"), None])
    error = next(errors)

    def open_repo(id: str) -> MemoryRepo:
        if error:
            raise error
        return dataset(world)

    access = Access(world.db, open_repo, world.clock)
    looking = asyncio.create_task(access.run(0.0))
    try:
        async with asyncio.timeout(60):
            for kind in ("ValueError", "KeyError"):
                while kind not in "".join(access.figures()["problems"]):
                    await asyncio.sleep(0)
                found = access.figures()
                assert found["readers"] == {dataset(world).id: None} and "word" not in str(found)
                assert await access.nobody_in() == frozenset()
                error = next(errors)
            while access.figures()["problems"]:
                await asyncio.sleep(0)
        assert await access.nobody_in() == {ACME}
    finally:
        looking.cancel()


async def test_a_database_that_cannot_be_read_does_not_end_it_either(world: World, monkeypatch):
    access = Access(world.db, world.look_at, world.clock)
    read, failing = world.db.read, True

    async def fails(fn):
        if failing:
            raise OSError("the disk")
        return await read(fn)

    monkeypatch.setattr(world.db, "read", fails)
    looking = asyncio.create_task(access.run(0.0))
    try:
        async with asyncio.timeout(60):
            while not access.figures()["problems"]:
                await asyncio.sleep(0)
            failing = False
            while access.figures()["problems"]:
                await asyncio.sleep(0)
        assert await access.nobody_in() == {ACME}
    finally:
        looking.cancel()
