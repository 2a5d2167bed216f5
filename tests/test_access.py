"""The page says that nobody has access yet where that is so, and never where it is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.dataset_repo import Unreachable
from privacy.access import FRESH, Access
from privacy.mine import outlook
from privacy.policy.words import words
from privacy.web.chip import chip
from tests.support.memory_repo import Faulty, MemoryRepo
from tests.support.sharing_world import ALPHA, World

pytestmark = pytest.mark.anyio


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
    access = Access(world.db, world.open_repo, world.clock)
    assert await access.nobody_in() == frozenset(), "before the first look nothing is promised"
    await access.look()
    assert await access.nobody_in() == {"acme"}
    seen = await world.db.read(lambda db: outlook(db, world.owner, world.chat, ALPHA, world.rules, world.clock()))
    for language, part in (
        ("en", "nobody has access yet"),
        ("pl", "nikt nie ma jeszcze"),
        ("fr", "personne n'y a encore accès"),
    ):
        said = chip(seen, world.chat, 0, world.clock(), words(language), await access.nobody_in())
        assert part in said["sentence"] and said["shared"] and said["can_take_back"]
    dataset(world).seen_by = "gated"
    dataset(world).let_in = set()
    await access.look()
    assert await access.nobody_in() == {"acme"}


async def test_once_somebody_is_let_in_or_it_is_not_known_any_more_nothing_is_promised(world: World):
    access = Access(world.db, world.open_repo, world.clock)
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
