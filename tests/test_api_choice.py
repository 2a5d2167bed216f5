"""What is sent with API keys is shared by a choice of its own, off until it is made: no yes on the page brings it along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from privacy.consent import Standpoint
from privacy.ledger import Choice, ConsentRefused, record
from privacy.shards import rows_in
from tests.support.browser import PHONE, chromium
from tests.support.sharing_stage import Person, SharingStage, sharing_stage
from tests.support.sharing_world import ALPHA, BETA, World, shown

SMALL = "host/parley-acme__small"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


async def choose_api(world: World, owner: str, kind: str, recipient: str = "acme", version: str = "1") -> None:
    world.clock.now += 1
    said = replace(shown(version), surface="api")
    await world.db.write(lambda db: record(db, owner, Choice(kind, recipient), said, world.clock()))


async def states(world: World, owner: str) -> tuple[str, str]:
    def read(db: Any) -> tuple[str, str]:
        at = Standpoint(db, owner, world.rules.terms, world.clock())
        return at.account_state("acme"), at.account_state("acme", "api")

    return await world.db.read(read)


def said_in(world: World) -> list[list[str]]:
    """The messages of each row that is public."""
    found = []
    for repo in world.repos.values():
        for path, content in repo.now().items():
            if path.startswith("data/"):
                found += [[message["content"] for message in row["messages"]] for row in rows_in(content) or ()]
    return sorted(found)


@pytest.mark.anyio
async def test_neither_yes_brings_the_other_and_a_no_on_the_page_ends_both(world: World):
    owner = await world.person()
    assert await states(world, owner) == ("unset", "unset")
    await world.choose(owner, "grant", "acme")
    assert await states(world, owner) == ("granted", "unset")
    await choose_api(world, owner, "grant")
    assert await states(world, owner) == ("granted", "granted")
    await choose_api(world, owner, "withdraw")
    assert await states(world, owner) == ("granted", "withdrawn")
    await world.choose(owner, "withdraw", "acme")
    await choose_api(world, owner, "grant")
    assert await states(world, owner) == ("withdrawn", "granted")
    await world.choose(owner, "withdraw")
    assert await states(world, owner) == ("withdrawn", "withdrawn")


@pytest.mark.anyio
async def test_of_calls_what_came_after_their_own_yes_leaves_each_a_row_by_itself(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "call before", surface="api")
    await choose_api(world, owner, "grant")
    for text in ("call one", "call two"):
        await world.say(owner, text, conversation=chat, surface="api")
    await world.say(owner, "typed", conversation=chat)
    await world.say(owner, "for the other one", BETA, chat, surface="api")
    await world.turn()
    assert said_in(world) == [[text, f"{ALPHA} answers: {text}"] for text in ("call one", "call two", "typed")]
    assert world.audited() == []
    await choose_api(world, owner, "withdraw")
    await world.turn(0)
    assert said_in(world) == [["typed", f"{ALPHA} answers: typed"]]
    assert world.audited() == []


@pytest.mark.anyio
async def test_a_yes_for_calls_shares_nothing_that_was_typed_and_a_share_no_call(world: World):
    owner = await world.person()
    await choose_api(world, owner, "grant")
    chat = await world.say(owner, "typed")
    await world.turn()
    assert said_in(world) == []
    await choose_api(world, owner, "withdraw")
    await world.say(owner, "call", conversation=chat, surface="api")
    await world.choose(owner, "grant", "acme", chat, await world.answers(owner, chat))
    await world.turn()
    assert said_in(world) == [["typed", f"{ALPHA} answers: typed"]]


@pytest.mark.anyio
async def test_a_yes_for_calls_ends_as_every_other(world: World):
    """Private wins, and an organisation is out."""
    managed = await world.person(managed=True)
    with pytest.raises(ConsentRefused):
        await choose_api(world, managed, "grant")
    owner = await world.person()
    await choose_api(world, owner, "grant")
    chat = await world.say(owner, "call", surface="api")
    await world.choose(owner, "deny", conversation=chat)
    await world.turn()
    assert said_in(world) == []


# The app


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharingStage]:
    with sharing_stage(tmp_path_factory.mktemp("api"), QUIET_HOURS="0") as stage:
        yield stage


def yes(ada: Person) -> dict[str, Any]:
    """All that a yes for calls must say."""
    text = next(found["api"]["policy"] for found in ada.get("state")["recipients"] if found["name"] == "acme")
    return {
        **ada.agreement(),
        "policy_version": text["version"],
        "policy_hash": text["sha256"],
        "own_text": True,
    }


def api_state(ada: Person) -> str:
    return next(found["api"]["state"] for found in ada.get("state")["recipients"] if found["name"] == "acme")


def test_a_call_is_shared_after_its_own_yes_and_not_before(stage: SharingStage):
    with stage.visitor("ada") as ada:
        ada.grant()
        key = ada.client.post("/api/keys", json={"name": "mine"}).json()["secret"]
        with stage.visitor(None) as program:
            program.client.headers["Authorization"] = f"Bearer {key}"
            program.say("the call before")
            agreed = yes(ada)
            for wrong in ({"own_text": False}, {"own_text": "true"}, {"policy_hash": ada.agreement()["policy_hash"]}):
                assert ada.post("grant-api", {**agreed, **wrong}).status_code in (409, 422)
            assert ada.post("grant-api", {k: v for k, v in agreed.items() if k != "own_text"}).status_code == 422
            assert ada.post("grant", {**agreed, "own_text": True}).status_code == 422
            assert program.post("grant-api", agreed).status_code == 403
            assert api_state(ada) == "unset"
            assert ada.post("grant-api", agreed).json() == {"recipient": "acme", "state": "granted"}
            program.say("the call after")
            ada.say("typed")

            def published() -> list[str]:
                rows = [row for row in ada.get("shared")["rows"] if row["state"] == "published"]
                return sorted(row["messages"][0]["content"] for row in rows)

            ada.wait_for(lambda: published() == ["the call after", "typed"])
            assert program.post("withdraw-api", {"recipient": "acme"}).json() == {
                "recipient": "acme",
                "state": "withdrawn",
            }
            ada.wait_for(lambda: published() == ["typed"])
            assert ada.state("acme") == "granted"


@pytest.mark.parametrize("language", ["en", "pl", "fr"])
def test_its_switch_stands_below_the_authors_and_asks_whose_text_it_is(stage: SharingStage, language: str):
    too = {"en": "Also what my programs send", "pl": "Także to, co moje programy", "fr": "Aussi ce que mes programmes"}
    name = f"bob-{language}"
    with stage.visitor(name) as bob:
        bob.grant()
    stage.hub.oauth.answer = name
    with chromium() as browser:
        page = browser.new_context(viewport=PHONE).new_page()
        page.goto(f"{stage.url}/login?next=/privacy")
        page.goto(f"{stage.url}/privacy?lang={language}")
        switch = page.get_by_role("switch", name=too[language])
        expect(switch).to_have_attribute("aria-checked", "false")
        switch.click()
        expect(page.locator("#agree-text")).to_contain_text("API")
        page.locator("#agree-age").check()
        expect(page.locator("#agree-yes")).to_be_disabled()
        page.locator("#agree-own").check()
        page.locator("#agree-yes").click()
        expect(switch).to_have_attribute("aria-checked", "true")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "false")
        expect(page.get_by_role("switch", name="acme")).to_have_attribute("aria-checked", "true")
