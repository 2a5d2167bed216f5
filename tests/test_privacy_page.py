"""The Privacy page and its routes: a yes is explicit and complete, a no is one click, and the line under the box is true."""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from privacy import policy
from privacy.policy.words import LANGUAGES, words
from privacy.web.chip import ONLY_YOU
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.hub.accounts import Org
from tests.support.sharing_stage import Person, SharingStage, sharing_stage

CANARY = "the heron counts to seventeen"
NUMBERS = itertools.count()
SMALL = "host/parley-acme__small"
WILL_GO = "This goes into the dataset for acme, 3 days after the last message at the earliest; nobody has access yet."


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharingStage]:
    """Three days must pass before anything leaves."""
    with sharing_stage(tmp_path_factory.mktemp("waiting")) as stage:
        with stage.visitor(None) as nobody:
            nobody.wait_for(lambda: SMALL in nobody.get("state")["nobody_in"])
        yield stage


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharingStage]:
    """What is agreed to leaves at once."""
    with sharing_stage(tmp_path_factory.mktemp("prompt"), QUIET_HOURS="0") as stage:
        yield stage


@pytest.fixture
def ada(waiting: SharingStage) -> Iterator[Person]:
    """Somebody new for each test."""
    with waiting.visitor(f"ada-{next(NUMBERS)}") as person:
        yield person


# A yes


def test_nothing_is_preset(ada: Person):
    state = ada.get("state")
    assert {found["name"]: found["state"] for found in state["recipients"]} == {"acme": "unset", "lab": "unset"}
    assert state["can_share"] and not any(found["sharing"] for found in state["recipients"])
    found = ada.get("shared")
    assert found["rows"] == found["waiting"] == []


def test_a_yes_is_to_one_recipient_by_name(ada: Person):
    ada.grant("acme")
    assert (ada.state("acme"), ada.state("lab")) == ("granted", "unset")


def test_the_text_names_what_it_must(ada: Person):
    """Recipient, dataset, licence, quiet period, age, and what cannot be recalled: with the figures in force."""
    text = next(found["policy"]["html"] for found in ada.get("state")["recipients"] if found["name"] == "acme")
    for needed in (
        "acme",
        "Small",
        "host/parley-acme__small",
        "cc-by-4.0",
        "3 days",
        "18 or older",
        "cannot be recalled",
    ):
        assert needed in text
    assert "{" not in text


COERCED: tuple[tuple[str, Any], ...] = (
    *((name, missing) for name in ("recipient", "policy_version", "policy_hash", "language", "age_affirmed", "purposes", "unframed")
      for missing in ("absent", None)),
    ("language", "pl"), ("language", "xx"), ("language", ""), ("unframed", "9999999999.00"), ("unframed", "no token"),
    ("age_affirmed", False), ("age_affirmed", "true"), ("age_affirmed", "false"), ("age_affirmed", 1), ("age_affirmed", [True]),
    ("recipient", ""), ("recipient", ["acme"]), ("recipient", "nobody"), ("recipient", "*"),
    ("policy_version", 1), ("policy_version", "0"), ("policy_hash", "0" * 64), ("policy_hash", ""),
    ("purposes", []), ("purposes", "training"), ("purposes", ["training"]), ("purposes", ["training", "evaluation", "sale"]),
    ("more", True), ("conversation", None),
)  # fmt: skip


@pytest.mark.parametrize(("field", "value"), COERCED, ids=lambda value: repr(value)[:20])
def test_a_yes_that_is_incomplete_or_of_another_type_is_none(ada: Person, field: str, value: Any):
    said = ada.agreement()
    if value == "absent":
        del said[field]
    else:
        said[field] = value
    answer = ada.post("grant", said)
    assert answer.status_code in (403, 404, 409, 422) and answer.json()["error"]["message"]
    assert ada.state("acme") == "unset"


@pytest.mark.parametrize("body", [None, {}, [], "yes", {"recipient": "acme"}])
def test_a_form_that_says_little_is_no_yes(ada: Person, body: Any):
    assert ada.post("grant", body).status_code == 422
    assert ada.client.post("/api/privacy/grant", data=ada.agreement()).status_code == 422
    assert ada.state("acme") == "unset"


def test_who_did_not_sign_in_cannot_share_and_is_told_why(waiting: SharingStage):
    with waiting.visitor(None) as nobody:
        id = nobody.say("hello")
        state = nobody.get("state")
        assert not state["can_share"] and "Sign in" in state["reason"]
        refused = nobody.post("grant", nobody.agreement())
        assert refused.status_code == 401 and "could not take it back" in refused.json()["error"]["message"]
        assert nobody.get("chip", conversation=id)["sentence"] == ONLY_YOU


def test_members_of_managed_organisations_are_off_and_told_why(waiting: SharingStage):
    with waiting.visitor("clerk", [Org("bigcorp", plan="enterprise")]) as clerk:
        state = clerk.get("state")
        assert not state["can_share"] and "organisation" in state["reason"]
        assert clerk.post("grant", clerk.agreement()).status_code == 403
        assert clerk.state("acme") == "blocked"


def test_a_key_agrees_to_nothing_and_may_withdraw(ada: Person, waiting: SharingStage):
    ada.grant()
    said = ada.agreement("lab")
    secret = ada.client.post("/api/keys", json={"name": "k"}).json()["secret"]
    with waiting.visitor(None) as program:
        program.client.headers["Authorization"] = f"Bearer {secret}"
        assert program.post("grant", said).status_code == 403
        assert program.post("withdraw", {"recipient": "acme"}).status_code == 200
    assert (ada.state("acme"), ada.state("lab")) == ("withdrawn", "unset")


# A no


def test_one_word_takes_everything_back(ada: Person):
    ada.grant("acme")
    ada.grant("lab")
    assert ada.post("withdraw", {}).status_code == 422
    assert ada.post("withdraw", {"recipient": None}).json() == {"rows": 0}
    assert (ada.state("acme"), ada.state("lab")) == ("withdrawn", "withdrawn")


def test_a_no_to_one_leaves_the_other(ada: Person):
    ada.grant("acme")
    ada.grant("lab")
    ada.post("withdraw", {"recipient": "lab"})
    assert (ada.state("acme"), ada.state("lab")) == ("granted", "withdrawn")


def said(person: Person) -> list[str]:
    """The kinds of all that the person ever chose."""
    archive = zipfile.ZipFile(io.BytesIO(person.client.get("/api/privacy/everything.zip").content))
    return [event["kind"] for event in json.loads(archive.read("consent.json"))]


def test_following_the_account_where_it_does_already_records_nothing_and_leaves_the_share_as_it_is(ada: Person):
    ada.grant()
    id = ada.say("hello")
    for _ in range(2):
        assert ada.post("conversation", {"id": id, "choice": "inherit"}).json() == {"choice": "inherit"}
    assert said(ada) == ["grant"]
    assert [row["conversation"] for row in ada.get("shared")["waiting"]] == [id]
    for choice in ("private", "inherit", "inherit"):
        assert ada.post("conversation", {"id": id, "choice": choice}).json() == {"choice": choice}
    assert said(ada) == ["grant", "deny", "withdraw"]
    assert ada.get("shared")["waiting"] == [], "what was said before it was private stays so"


def test_a_no_said_twice_takes_nothing_else_back(ada: Person):
    """It is written down each time: another machine may have heard a yes in between."""
    ada.grant("acme")
    ada.grant("lab")
    kept, private = ada.say("hello"), ada.say("not this")
    for _ in range(2):
        assert ada.post("withdraw", {"recipient": "lab"}).json() == {"rows": 0}
        assert ada.post("withdraw-api", {"recipient": "acme"}).status_code == 200
        assert ada.post("conversation", {"id": private, "choice": "private"}).json() == {"choice": "private"}
    assert said(ada) == ["grant", "grant", *["withdraw", "withdraw", "deny"] * 2]
    assert (ada.state("acme"), ada.state("lab")) == ("granted", "withdrawn")
    assert [row["conversation"] for row in ada.get("shared")["waiting"]] == [kept]


def test_a_conversation_is_its_owners_alone(ada: Person, waiting: SharingStage):
    id = ada.say("hello")
    with waiting.visitor("bob") as bob:
        for choice in ("private", "inherit"):
            assert bob.post("conversation", {"id": id, "choice": choice}).status_code == 404
        for path in ("preview", "chip"):
            assert bob.client.get(f"/api/privacy/{path}", params={"conversation": id}).status_code == 404
    assert ada.post("conversation", {"id": id, "choice": "open"}).status_code == 422
    assert ada.post("conversation", {"id": id}).status_code == 422


# The line under the box


def test_the_line_under_the_box_is_true_at_every_step(ada: Person):
    assert ada.get("chip", model="acme/small")["sentence"] == ONLY_YOU
    before = ada.say("before the yes")
    ada.grant("acme")
    assert ada.get("chip", model="acme/small")["sentence"] == WILL_GO
    assert ada.get("chip", model="lab/large")["sentence"] == ONLY_YOU
    assert ada.get("chip", model="nameless")["sentence"] == ONLY_YOU
    id = ada.say("after the yes")
    chip = ada.get("chip", conversation=id)
    assert chip["sentence"] == "This conversation goes into the dataset for acme in 3 days; nobody has access yet."
    assert chip["who"] == ["acme"] and chip["when"] and chip["can_take_back"] and not chip["shared"]
    assert "acme" in ada.get("chip", conversation=id, model="nameless")["sentence"]
    assert ada.get("chip", conversation=before, model="nameless")["sentence"] == ONLY_YOU
    assert ada.post("conversation", {"id": id, "choice": "private"}).json() == {"choice": "private"}
    chip = ada.get("chip", conversation=id)
    assert (chip["sentence"], chip["when"], chip["can_take_back"]) == (ONLY_YOU, None, False)


def test_distances_in_words():
    assert [words("en").distance(s) for s in (-1, 20, 90, 5_400, 100_000, 259_200)] == [
        "within minutes", "in 1 minute", "in 2 minutes", "in 2 hours", "in 28 hours", "in 3 days",
    ]  # fmt: skip


def test_what_waits_for_its_time_is_listed_with_it(ada: Person):
    ada.say("before the yes")
    ada.grant()
    id = ada.say("I am jan@example.com")
    (row,) = ada.get("shared")["waiting"]
    assert (row["recipient"], row["conversation"]) == ("acme", id)
    assert row["when"] == ada.get("chip", conversation=id)["when"]
    assert row["messages"][0]["content"] == "I am [EMAIL_1]"
    ada.post("conversation", {"id": id, "choice": "private"})
    assert ada.get("shared")["waiting"] == []


# Preview, and the share of one conversation


def test_the_preview_is_what_would_leave_and_a_share_covers_exactly_that(ada: Person):
    id = ada.say(f"I am at jan@example.com, {CANARY}")
    ada.say("and this is for the others", "lab/large", id)
    found = ada.get("preview", conversation=id)
    assert {row["recipient"] for row in found["rows"]} == {"acme", "lab"}
    row = next(row for row in found["rows"] if row["recipient"] == "acme")
    assert row["messages"][0] == {"role": "user", "content": f"I am at [EMAIL_1], {CANARY}"}
    assert row["redactions"] == [{"type": "EMAIL", "count": 1}]
    text = found["texts"]["acme"]
    said = {"id": id, "choice": "share", "recipient": "acme", "answers": row["answers"], "age_affirmed": True,
            "policy_version": text["version"], "policy_hash": text["sha256"], "purposes": list(policy.PURPOSES),
            "language": text["language"], "unframed": ada.unframed()}  # fmt: skip
    other = next(row for row in found["rows"] if row["recipient"] == "lab")
    for changed in (
        {"answers": []},
        {"answers": other["answers"]},
        {"age_affirmed": False},
        {"policy_hash": ada.agreement()["policy_hash"]},
    ):
        assert ada.post("conversation", {**said, **changed}).status_code in (409, 422)
    assert ada.get("preview", conversation=id)["choice"] == "inherit"
    assert ada.post("conversation", said).json() == {"choice": "share"}
    assert ada.state("acme") == "unset"
    assert ada.get("chip", conversation=id)["who"] == ["acme"]
    assert ada.post("conversation", {"id": id, "choice": "inherit"}).json() == {"choice": "inherit"}
    assert ada.get("chip", conversation=id)["sentence"] == ONLY_YOU


# All the way


def git_finds(stage: SharingStage, dataset: str, text: str) -> bool:
    """Whether any object of the bare repository, or any large file of the Hub, holds the text."""
    repo = stage.hub.repo_path("dataset", dataset)
    names = subprocess.run(
        ["git", "-C", str(repo), "cat-file", "--batch-all-objects", "--batch"], check=True, capture_output=True
    ).stdout
    return text.encode() in names


def test_a_row_goes_out_and_comes_back(prompt: SharingStage):
    """Published after the yes, listed as it left, taken back with one click, and out of the dataset."""
    with prompt.visitor("eve") as eve:
        eve.grant()
        id = eve.say(f"{CANARY}, write to eve@example.org")
        (row,) = eve.wait_for(lambda: [row for row in eve.get("shared")["rows"] if row["state"] == "published"])
        assert row["messages"][0]["content"] == f"{CANARY}, write to [EMAIL_1]"
        assert (row["dataset"], row["recipient"], row["conversation"]) == ("host/parley-acme__small", "acme", id)
        chip = eve.get("chip", conversation=id)
        assert chip["shared"] and chip["can_take_back"]
        assert chip["sentence"].startswith(
            ("acme can read this conversation", "This conversation is in the dataset for acme")
        )
        with prompt.visitor("mallory") as mallory:
            theirs = mallory.get("shared")
            assert theirs["rows"] == theirs["waiting"] == []
            assert mallory.post("remove", {"row": row["row"]}).status_code == 404
        assert eve.post("remove", {"row": row["row"]}).json() == {"row": row["row"], "conversation": id}
        (gone,) = eve.wait_for(lambda: [row for row in eve.get("shared")["rows"] if row["state"] == "retracted"])
        assert gone["messages"] is None and gone["retracted_in"]
        assert eve.get("chip", conversation=id)["sentence"] == ONLY_YOU
        assert not git_finds(prompt, "host/parley-acme__small", gone["row"] + ".")
        eve.wait_for(lambda: eve.get("state")["saving"]["state"] == "saved")


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth")


def signed_in(browser: Browser, stage: SharingStage, name: str, viewport: dict[str, int]) -> Page:
    stage.hub.add_user(name)
    stage.hub.oauth.answer = name
    page = browser.new_context(viewport=viewport).new_page()
    page.complaints = []
    page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(f"{stage.url}/login?next=/privacy")
    page.wait_for_selector("html[data-privacy=ready]")
    return page


@pytest.mark.parametrize(("name", "viewport"), [("desk", DESKTOP), ("phone", PHONE)])
def test_from_off_to_on_and_back_in_the_browser(
    browser: Browser, waiting: SharingStage, tmp_path: Path, name: str, viewport: dict[str, int]
):
    page = signed_in(browser, waiting, f"zoe-{name}", viewport)
    switch = page.get_by_role("switch", name="acme")
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(page.locator("#summary")).to_have_text("Only you can read your conversations.")
    page.screenshot(path=tmp_path / "off.png", full_page=True)
    switch.click()
    yes = page.get_by_role("button", name="Yes, share")
    expect(yes).to_be_disabled()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be recalled")
    page.screenshot(path=tmp_path / "asked.png")
    page.get_by_role("button", name="Not now").click()
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    expect(page.get_by_label("I am 18 or older.")).not_to_be_checked()
    expect(page.get_by_role("checkbox")).to_have_count(2)  # nothing about what programs send
    page.get_by_label("I am 18 or older.").check()
    expect(yes).to_be_disabled()
    expect(page.get_by_role("dialog")).to_contain_text("health, faith, politics")
    page.get_by_label("what nobody else should know").check()
    yes.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(page.get_by_role("switch", name="lab")).to_have_attribute("aria-checked", "false")
    page.get_by_role("switch", name="lab").click()
    expect(page.get_by_role("checkbox")).to_have_count(1)  # what to think of was said before the first yes
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#summary")).to_contain_text("3 days after the conversation last changed")
    page.screenshot(path=tmp_path / "on.png", full_page=True)
    assert no_sideways_scroll(page)
    page.goto(waiting.url)
    page.wait_for_selector("html[data-parley=ready]")
    expect(page.locator("#p-readers-say")).to_have_text(WILL_GO)
    page.get_by_label("Message", exact=True).fill("Hello there")
    page.keyboard.press("Enter")
    expect(page.locator("#p-readers-say")).to_contain_text("This conversation goes into the dataset for acme in 3 days")
    page.screenshot(path=tmp_path / "chip.png")
    elsewhere = page.context.new_page()
    elsewhere.goto(f"{waiting.url}/privacy")
    expect(elsewhere.locator("#rows li[data-state=waiting]")).to_contain_text("still here, leaves on")
    elsewhere.screenshot(path=tmp_path / "waiting.png", full_page=True)
    elsewhere.close()
    page.get_by_role("button", name="Keep private").click()
    expect(page.locator("#p-readers-say")).to_have_text(ONLY_YOU)
    expect(page.get_by_role("button", name="Keep private")).to_be_hidden()
    page.locator("#p-readers-say a").click()
    page.wait_for_selector("html[data-privacy=ready]")
    expect(page.get_by_role("button", name="Keep private")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#one-rows")).to_contain_text("Hello there")
    page.screenshot(path=tmp_path / "one.png", full_page=True)
    assert no_sideways_scroll(page)
    page.get_by_role("switch", name="acme").click()
    expect(page.get_by_role("switch", name="acme")).to_have_attribute("aria-checked", "false")
    expect(page.locator("#taken")).to_contain_text("Taken back.")
    assert page.complaints == []


def test_an_open_tab_hears_of_a_change_in_another_and_asks_again_by_itself(browser: Browser, waiting: SharingStage):
    with waiting.visitor("tab") as tab:
        tab.grant()
    page = signed_in(browser, waiting, "tab", DESKTOP)
    page.clock.install()
    page.goto(waiting.url)
    says = page.locator("#p-readers-say")
    expect(says).to_have_text(WILL_GO)
    elsewhere = page.context.new_page()
    elsewhere.goto(f"{waiting.url}/privacy")
    elsewhere.get_by_role("switch", name="acme").click()
    expect(says).to_have_text(ONLY_YOU)
    with waiting.visitor("tab") as tab:  # on another machine, from which no message comes
        tab.grant()
        expect(says).to_have_text(ONLY_YOU)
        page.clock.fast_forward(61_000)
        expect(says).to_have_text(WILL_GO)


def test_an_open_tab_asks_again_when_something_leaves(browser: Browser, waiting: SharingStage):
    page = signed_in(browser, waiting, "soon", DESKTOP)
    page.clock.install()
    seen = {"when": time.time() + 50, "who": ["acme"], "can_take_back": True}
    told = ["acme can read it.", "acme will be able to read it."]
    page.route("**/api/privacy/chip*", lambda route: route.fulfill(json={**seen, "sentence": told[-1]}))
    page.goto(waiting.url)
    expect(page.locator("#p-readers-say")).to_have_text(told[-1])
    told.pop()
    page.clock.fast_forward(55_000)
    expect(page.locator("#p-readers-say")).to_have_text(told[-1])


def test_the_page_of_one_conversation_does_not_leave_out_the_host_that_answers(browser: Browser, waiting: SharingStage):
    page = signed_in(browser, waiting, "host-of", DESKTOP)

    def with_another_host(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, body=answer.text().replace('<div id="others">', '<div id="others">Somebody answers.')
        )

    sentences = [ONLY_YOU, "acme in 3 days; until then only you."]
    found = {"who": [], "when": None, "can_take_back": False}
    page.route("**/privacy?*", with_another_host)
    page.route("**/api/privacy/chip*", lambda route: route.fulfill(json={**found, "sentence": sentences[0]}))
    page.route(
        "**/api/privacy/preview*", lambda route: route.fulfill(json={"choice": "inherit", "rows": [], "texts": {}})
    )
    while sentences:
        page.goto(f"{waiting.url}/privacy?conversation=made-up")
        expect(page.locator("#one-says")).to_contain_text(re.compile("where a model runs elsewhere", re.IGNORECASE))
        sentences.pop(0)
    assert page.complaints == []


def let_in(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "nobody_in": []}


def test_my_shared_data_in_the_browser(browser: Browser, prompt: SharingStage, tmp_path: Path):
    with prompt.visitor("ivy") as ivy:
        ivy.grant()
        ivy.say("Reach me at ivy@example.org")
        (row,) = ivy.wait_for(lambda: [row for row in ivy.get("shared")["rows"] if row["state"] == "published"])
        ivy.wait_for(lambda: SMALL in ivy.get("state")["nobody_in"])
    page = signed_in(browser, prompt, "ivy", DESKTOP)
    expect(page.locator("#summary")).to_contain_text(
        "1 row of yours is in the dataset for acme; nobody has access yet."
    )
    page.route("**/api/privacy/state*", lambda route: route.fulfill(json=let_in(route.fetch().json())))
    page.reload()
    expect(page.locator("#summary")).to_contain_text("acme can read 1 row of yours.")
    receipt = page.locator("#rows .receipt")
    receipt.locator("summary").click()
    for whole in (row["row"], row["hash"], row["consent_hash"], row["dataset"], row["published_in"]):
        expect(receipt.locator("pre")).to_contain_text(whole)
    page.locator("#rows details").first.click()
    expect(page.locator("#rows mark")).to_have_text("[EMAIL_1]")
    page.screenshot(path=tmp_path / "shared.png", full_page=True)
    page.get_by_role("button", name="Take back everything").click()
    expect(page.locator("#taken")).to_contain_text("1 row leaves")
    expect(page.locator("#taken")).to_contain_text("Copies that others already made cannot be recalled.")
    expect(page.locator("#rows li")).to_have_attribute("data-state", "retracted", timeout=180_000)
    expect(page.locator("#rows li")).to_contain_text("taken back, out of the history too")
    expect(page.locator("#summary")).to_have_text("Only you can read your conversations.")
    assert page.complaints == []


@pytest.mark.parametrize(("name", "viewport"), [("desk", DESKTOP), ("phone", PHONE)])
def test_the_line_says_that_nobody_has_access_to_what_was_shared_and_to_what_follows(
    browser: Browser, prompt: SharingStage, tmp_path: Path, name: str, viewport: dict[str, int]
):
    with prompt.visitor(f"unread-{name}") as unread:
        unread.grant()
        unread.wait_for(lambda: SMALL in unread.get("state")["nobody_in"])
    page = signed_in(browser, prompt, f"unread-{name}", viewport)
    page.goto(prompt.url)
    says = page.locator("#p-readers-say")
    expect(says).to_have_text(
        "This goes into the dataset for acme, soon after the last message; nobody has access yet."
    )
    page.get_by_label("Message", exact=True).fill("Hello there")
    page.keyboard.press("Enter")
    with prompt.visitor(f"unread-{name}") as unread:
        unread.wait_for(lambda: [row for row in unread.get("shared")["rows"] if row["state"] == "published"])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(says).to_have_text(
        "This conversation is in the dataset for acme; nobody has access yet."
        " What you write next follows, soon after the last message."
    )
    assert no_sideways_scroll(page)
    page.screenshot(path=tmp_path / "unread.png")
    page.get_by_role("button", name="Keep private").click()
    expect(says).not_to_contain_text("is in the dataset")
    expect(says).not_to_contain_text("can still read")
    assert page.complaints == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_preview_shows_all_of_the_row_with_what_was_said_about_its_answers(
    browser: Browser, waiting: SharingStage, language: str
):
    say = words(language)
    with waiting.visitor(f"rater-{language}") as rater:
        rater.grant()
        id = rater.say("What is [LIST_1]?")
        (answer,) = [
            m["id"] for m in rater.client.get(f"/api/conversations/{id}").json()["messages"] if m["role"] == "assistant"
        ]
        said = {"rating": "down", "reasons": ["wrong"], "comment": "ask me@home.example"}
        assert rater.client.put(f"/api/answers/{answer}/feedback", json=said).status_code == 200
    page = signed_in(browser, waiting, f"rater-{language}", PHONE)
    page.goto(f"{waiting.url}/privacy?lang={language}&conversation={id}")
    page.locator("#rows li summary").first.click()
    for shown in (page.locator("#one-rows li"), page.locator("#rows li")):
        expect(shown).to_contain_text(say("rated_down", 1))
        expect(shown).to_contain_text(f"{say('reason_wrong')} – ask [EMAIL_1]")
        expect(shown.locator("mark")).to_have_text(["[EMAIL_1]"])
        shown.get_by_text(say("row_rest")).click()
        expect(shown.locator("pre")).to_contain_text('"licence": "cc-by-4.0"')
    assert no_sideways_scroll(page)
    assert page.complaints == []


STAYS = {
    "en": ("Kept here: it quotes the system prompt", "Kept here: it has words that the operator"),
    "pl": ("Zostaje tutaj: przytacza instrukcje systemowe", "Zostaje tutaj: są w nim słowa, których operator"),
    "fr": ("Reste ici : les instructions système", "Reste ici : il s'y trouve des mots que l'exploitant"),
}


def test_the_owner_of_a_row_that_stays_sees_why(browser: Browser, tmp_path: Path):
    secret = "You sell lamps and never say what the lamps cost to make."
    with sharing_stage(tmp_path / "stage", QUIET_HOURS="0", SHARE_BLOCKED=CANARY) as stage:
        with stage.visitor("mia") as mia:
            mia.grant()
            quotes = mia.say(f"You told me: {secret}", system_prompt=secret)
            canary = mia.say(f"I heard that {CANARY}")
            mia.wait_for(lambda: len(mia.get("shared")["rows"]) == 2)
            found = mia.get("shared")["rows"]
            reasons = {quotes: "instruction", canary: "blocked"}
            assert {row["conversation"]: row["kept_back"] for row in found} == reasons
            assert all((row["state"], row["messages"]) == ("quarantined", None) for row in found)
            for chat, reason in reasons.items():
                (row,) = mia.get("preview", conversation=chat)["rows"]
                assert (row["kept_back"], row["messages"]) == (reason, None)
        page = signed_in(browser, stage, "mia", PHONE)
        for language, sentences in STAYS.items():
            for chat, sentence in zip((quotes, canary), sentences):
                page.goto(f"{stage.url}/privacy?lang={language}&conversation={chat}")
                expect(page.locator("#one-rows .reason")).to_contain_text(sentence)
                expect(page.locator("#one-rows button")).to_be_disabled()
                expect(page.locator("#rows")).to_contain_text(sentence)
            assert no_sideways_scroll(page)
        assert page.complaints == []


def test_without_an_account_the_page_says_why_and_offers_to_sign_in(browser: Browser, waiting: SharingStage):
    page = browser.new_context().new_page()
    page.goto(f"{waiting.url}/privacy")
    page.wait_for_selector("html[data-privacy=ready]")
    expect(page.locator("#reason")).to_contain_text("could not take it back")
    expect(page.locator("#reason a")).to_have_attribute("href", "/login?next=%2Fprivacy")
    for switch in page.get_by_role("switch").all():
        expect(switch).to_be_disabled()


UNDO = {
    "en": ("Undo", "They are back."),
    "fr": ("Annuler", "Elles sont de retour."),
    "pl": ("Cofnij", "Są z powrotem."),
}


def test_deleting_everything_can_be_undone_and_asks_anew(browser: Browser, waiting: SharingStage):
    page = signed_in(browser, waiting, "una", DESKTOP)
    with waiting.visitor("una") as una:
        una.say("keep me")
        for language, (undo, back) in UNDO.items():
            say = words(language)
            page.goto(f"{waiting.url}/privacy?lang={language}")
            page.wait_for_selector("html[data-privacy=ready]")
            page.get_by_role("button", name=say("delete_all")).click()
            page.get_by_role("button", name=say("delete_sure")).click()
            expect(page.locator("#deleted")).to_contain_text(say("deleted", 1))
            assert una.client.get("/api/conversations").json()["items"] == []
            page.get_by_role("button", name=undo).click()
            expect(page.locator("#deleted")).to_have_text(back)
            assert len(una.client.get("/api/conversations").json()["items"]) == 1
            expect(page.get_by_role("button", name=say("delete_all"))).to_be_enabled()
    assert page.complaints == []


@pytest.mark.parametrize("language", UNDO)
def test_no_text_says_that_deleting_conversations_cannot_be_undone_at_all(language: str):
    said = words(language)
    seconds = {"en": "ten seconds", "fr": "dix secondes", "pl": "dziesięć sekund"}[language]
    assert seconds in said("yours_lead")
    assert not re.search("for good|définitiv|na zawsze", said("delete_sure"))
