"""What a tab does while an answer is being written, after a reload, and when its conversation goes in another tab."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page import WIDTHS, Visitor, answered, answers, ready
from tests.support.sharing_stage import SharingStage, sharing_stage

WORDS = "a b c d e f g h."
GONE = "This conversation was deleted in another tab or on another device."


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[SharingStage]:
    with sharing_stage(tmp_path_factory.mktemp("elsewhere"), SHARE_NAMESPACE="") as stage:
        yield stage


@pytest.fixture(params=WIDTHS)
def visitor(request: pytest.FixtureRequest, browser: Browser, stage: SharingStage) -> Iterator[Visitor]:
    visitor = Visitor(browser, stage.url, **WIDTHS[request.param])
    yield visitor
    visitor.context.close()
    assert visitor.thrown == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.locator("#p-send").click()
    expect(page.locator(".said").last).to_have_text(text)


def turn(page: Page, text: str) -> None:
    say(page, text)
    answered(page)


def with_two_versions(page: Page) -> None:
    turn(page, "/say One.")
    answers(page).first.get_by_role("button", name="Write the answer anew").click()
    expect(answers(page).first.locator(".count")).to_have_text("2/2")
    answered(page)


def running(page: Page) -> None:
    say(page, f"/hold after=3 {WORDS}")
    expect(answers(page).last.locator(".md")).to_have_text("a b c")


def test_while_an_answer_is_written_an_arrow_says_that_it_waits_and_asks_nothing(visitor: Visitor, stage: SharingStage):
    page = visitor.open()
    with_two_versions(page)
    running(page)
    asked: list[str] = []
    page.on("request", lambda request: request.method == "POST" and asked.append(request.url))
    held = [
        answers(page).first.get_by_role("button", name="Previous version of the answer"),
        answers(page).first.get_by_role("button", name="Write the answer anew"),
    ]
    for button in held:
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_have_attribute("title", "Possible once the answer is written: wait for it, or press Stop.")
        button.click(force=True)  # Playwright waits for what says that it is disabled
        expect(page.locator("#p-toast")).to_contain_text("once the answer is written")
        page.locator("#p-toast").evaluate("e => e.hidden = true")
    expect(page.locator("#p-problem")).to_be_hidden()
    assert asked == []
    reload_and_look(page, held[0])
    stage.engine.release()
    answered(page)
    for button in held:
        expect(button).not_to_have_attribute("aria-disabled", "true")
    expect(held[0]).to_have_attribute("title", "Previous version")
    held[0].click()
    expect(answers(page).first.locator(".count")).to_have_text("1/2")
    expect(page.locator(".said")).to_have_count(1)


def reload_and_look(page: Page, arrow: Any) -> None:
    page.reload()
    ready(page)
    expect(arrow).to_have_attribute("aria-disabled", "true")


def test_what_another_tab_began_is_shown_instead_of_a_refusal(visitor: Visitor, stage: SharingStage):
    """This tab has not heard of it: it sleeps, say."""
    page = visitor.open()
    with_two_versions(page)
    other = visitor.blank()
    other.add_init_script("window.BroadcastChannel = class { postMessage() {} }")
    other.goto(page.url)
    ready(other)
    expect(answers(other)).to_have_count(1)
    running(other)
    answers(page).first.get_by_role("button", name="Previous version of the answer").click()
    page.bring_to_front()
    expect(page.locator("#p-toast")).to_contain_text("An answer is still being written here.")
    expect(answers(page).last.locator(".md")).to_have_text("a b c")
    expect(page.locator("#p-problem")).to_be_hidden()
    stage.engine.release()
    answered(page)
    assert page.locator(".said").all_inner_texts() == ["/say One.", f"/hold after=3 {WORDS}"]


def pick(page: Page, label: str) -> None:
    page.locator("#p-model").click()
    page.locator("#p-models").get_by_role("button", name=label, exact=False).first.click()
    expect(page.locator("#p-model-name")).to_have_text(label)


def test_a_model_that_was_chosen_and_not_used_yet_is_still_chosen_after_a_reload(visitor: Visitor):
    page = visitor.open()
    turn(page, "/say One.")
    expect(page.locator("#p-model-name")).to_have_text("Small")
    pick(page, "Large")
    page.reload()
    ready(page)
    expect(page.locator("#p-model-name")).to_have_text("Large")
    url = page.url
    page.goto(visitor.url + "/")  # away from it, and back
    ready(page)
    pick(page, "Nameless")
    page.goto(url)
    ready(page)
    expect(page.locator("#p-model-name")).to_have_text("Large")
    turn(page, "/say Two.")
    expect(answers(page).last.locator(".who")).to_have_text("Large")
    pick(page, "Small")
    turn(page, "/say Three.")
    page.reload()
    ready(page)
    expect(page.locator("#p-model-name")).to_have_text("Small")
    assert "parley:choice" not in page.evaluate("JSON.stringify({...sessionStorage})"), "it is the conversation's now"


def test_a_model_that_an_address_names_does_not_undo_what_was_chosen_since(visitor: Visitor):
    page = visitor.open("/?model=lab/large")
    expect(page.locator("#p-model-name")).to_have_text("Large")
    pick(page, "Small")
    page.reload()
    ready(page)
    expect(page.locator("#p-model-name")).to_have_text("Small")


def delete_in_list(page: Page) -> None:
    if page.get_by_role("button", name="Conversations", exact=True).is_visible():
        page.get_by_role("button", name="Conversations", exact=True).click()
    row = page.locator("#p-conversations li").first
    row.hover()
    with page.expect_response(
        lambda found: found.request.method in ("DELETE", "POST") and "/api/conversations" in found.url
    ):
        row.get_by_role("button", name="Delete").click()


@pytest.mark.parametrize("how", ["in the list", "on the Privacy page", "while it is answered", "on another device"])
def test_a_conversation_that_another_tab_deleted_goes_from_this_one_at_once(
    visitor: Visitor, stage: SharingStage, how: str
):
    page = visitor.open()
    turn(page, "/say One.")
    if how == "while it is answered":
        running(page)
    page.get_by_label("Message", exact=True).fill("half a thought")
    other = visitor.blank()
    if how == "on another device":
        other.add_init_script("window.BroadcastChannel = class { postMessage() {} }")
    if how == "on the Privacy page":
        other.goto(f"{visitor.url}/privacy")
        other.wait_for_selector("html[data-privacy=ready]")
        other.get_by_role("button", name="Delete all conversations").click()
        other.get_by_role("button", name="Yes, delete all of them").click()
        expect(other.locator("#deleted")).to_contain_text("deleted")
    else:
        other.goto(page.url)
        ready(other)
        delete_in_list(other)
    if how == "on another device":
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # it is looked at again
    page.bring_to_front()
    expect(page.locator("#p-problem")).to_have_text(GONE)
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#p-start")).to_be_visible()
    expect(page.locator("#p-conversations li")).to_have_count(0)
    expect(page.get_by_label("Message", exact=True)).to_have_value("half a thought")
    assert "#c=" not in page.url
    stage.engine.release()
    turn(page, "/say A new one.")
    assert page.locator(".said").all_inner_texts() == ["/say A new one."]


def test_what_is_restored_in_one_tab_is_in_the_list_of_the_other(visitor: Visitor):
    page = visitor.open()
    turn(page, "/say One.")
    other = visitor.blank()
    other.goto(page.url)
    ready(other)
    delete_in_list(other)
    page.bring_to_front()
    expect(page.locator("#p-conversations li")).to_have_count(0)
    other.bring_to_front()
    other.get_by_role("button", name="Undo").click()
    expect(answers(other)).to_have_count(1)
    page.bring_to_front()
    expect(page.locator("#p-conversations li")).to_have_count(1)
