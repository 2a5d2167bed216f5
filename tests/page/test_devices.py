"""One account on a laptop and on a phone: an answer that was begun on one is followed, and found, on the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import DESKTOP, PHONE
from tests.support.page import Visitor, answered, answers, ready
from tests.support.sharing_stage import SharingStage, sharing_stage

WORDS = "One two three four five six."


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[SharingStage]:
    with sharing_stage(tmp_path_factory.mktemp("devices")) as stage:
        yield stage


@pytest.fixture
def laptop(browser: Browser, stage: SharingStage) -> Iterator[Visitor]:
    visitor = Visitor(browser, stage.url, viewport=DESKTOP)
    yield visitor
    visitor.context.close()
    assert visitor.thrown == []


@pytest.fixture
def phone(browser: Browser, stage: SharingStage) -> Iterator[Visitor]:
    visitor = Visitor(browser, stage.url, viewport=PHONE, has_touch=True, is_mobile=True)
    yield visitor
    visitor.context.close()
    assert visitor.thrown == []


def signed_in(stage: SharingStage, visitor: Visitor, name: str) -> Page:
    stage.hub.add_user(name)
    stage.hub.oauth.answer = name
    page = visitor.blank()
    page.goto(f"{stage.url}/login?next=/")
    ready(page)
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".said").last).to_have_text(text)


def test_an_answer_begun_on_a_laptop_is_followed_on_a_phone_after_the_lid_is_closed_and_found_later(
    stage: SharingStage, laptop: Visitor, phone: Visitor, browser: Browser
) -> None:
    page = signed_in(stage, laptop, "ada")
    say(page, f"/hold after=3 {WORDS}")
    expect(answers(page).locator(".md")).to_have_text("One two three")
    laptop.context.set_offline(True)
    page.close()
    page = signed_in(stage, phone, "ada")
    page.get_by_role("button", name="Conversations", exact=True).tap()
    page.locator("#p-conversations a").tap()
    expect(answers(page).locator(".md")).to_have_text("One two three")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    stage.engine.release()
    expect(answers(page).locator(".md")).to_have_text(WORDS)
    answered(page)
    page.reload()
    ready(page)
    expect(answers(page).locator(".md")).to_have_text(WORDS)
    laptop.context.set_offline(False)
    page = laptop.open()
    page.locator("#p-conversations a").click()
    expect(answers(page).locator(".md")).to_have_text(WORDS)


def test_a_phone_that_shows_the_conversation_sees_what_is_said_on_the_laptop_and_goes_on_from_there(
    stage: SharingStage, laptop: Visitor, phone: Visitor
) -> None:
    there = signed_in(stage, laptop, "bea")
    there.clock.install()
    there.reload()
    ready(there)
    say(there, "/say Before.")
    answered(there)
    here = signed_in(stage, phone, "bea")
    here.clock.install()
    here.goto(there.url)
    expect(answers(here).locator(".md")).to_have_text("Before.")
    say(there, f"/hold after=3 {WORDS}")
    expect(answers(there).last.locator(".md")).to_have_text("One two three")
    here.clock.fast_forward(30_000)
    expect(answers(here).last.locator(".md")).to_have_text("One two three")
    stage.engine.release()
    for page in (here, there):
        expect(answers(page).last.locator(".md")).to_have_text(WORDS)
    say(here, "/say After.")
    answered(here)
    expect(here.locator(".said")).to_have_text(["/say Before.", f"/hold after=3 {WORDS}", "/say After."])
    there.clock.fast_forward(30_000)
    expect(answers(there).last.locator(".md")).to_have_text("After.")
    assert there.locator(".said").all_inner_texts() == here.locator(".said").all_inner_texts()
