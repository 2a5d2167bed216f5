"""What stands in and under an answer, over the real app and a scripted engine: reasoning and feedback, as people use them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.app_process import AppProcess, release
from tests.support.browser import DESKTOP, PHONE
from tests.support.page import Visitor, answers, go_offline, no_sideways_scroll, ready, slider

SIZES = [
    pytest.param({"viewport": DESKTOP}, id="desktop"),
    pytest.param({"viewport": PHONE, "has_touch": True, "is_mobile": True}, id="phone"),
]


@pytest.fixture
def come(browser: Browser, real_app: AppProcess) -> Iterator[Callable[..., Visitor]]:
    """Another visitor of the real app, with an account of nobody else's."""
    visitors: list[Visitor] = []

    def come(**context: Any) -> Visitor:
        visitors.append(Visitor(browser, real_app.url, **context))
        return visitors[-1]

    yield come
    for visitor in visitors:
        assert visitor.thrown == []
        visitor.context.close()


def ask(page: Page, text: str) -> None:
    """Enter makes a line on a phone, so the button sends."""
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def again(page: Page) -> None:
    page.reload()
    ready(page)


def settled(page: Page, count: int = 1) -> None:
    expect(answers(page).locator(".foot")).to_have_count(count)


# Reasoning


@pytest.mark.parametrize("size", SIZES)
def test_thoughts_are_folded_timed_and_opened_with_a_click(come: Callable[..., Visitor], size: dict[str, Any]) -> None:
    page = come(**size).open()
    ask(page, "/reasoning thoughts=First_this,_then_that. The answer is **four**.")
    settled(page)
    fold = answers(page).locator("summary")
    expect(fold).to_have_text(re.compile(r"^Thought for (a moment|\d+ s)$"))
    took = fold.inner_text()
    expect(page.get_by_text("First this, then that.")).to_be_hidden()
    expect(answers(page).locator(".md strong")).to_have_text("four")
    fold.click()
    expect(page.get_by_text("First this, then that.")).to_be_visible()
    assert no_sideways_scroll(page)
    again(page)
    expect(answers(page).locator("summary")).to_have_text(took)
    answers(page).locator("summary").press("Enter")
    expect(page.get_by_text("First this, then that.")).to_be_visible()
    expect(answers(page).locator(".md")).to_have_text("The answer is four.")


def test_a_fold_opened_while_it_thinks_stays_open_and_the_time_is_that_of_thinking(
    come: Callable[..., Visitor], real_engine_url: str
) -> None:
    page = come().open()
    ask(page, "/reasoning hold=1 interval=1.2 thoughts=one_two_three_four Done.")
    answers(page).locator("summary").click()
    expect(answers(page).locator(".thoughts")).to_have_text("one two three four")
    expect(answers(page).locator("summary")).to_have_text("Thinking")
    release(real_engine_url)
    settled(page)
    expect(answers(page).locator("summary")).to_have_text(re.compile(r"^Thought for ([2-9]|\d\d+) s$"))
    expect(answers(page).locator(".thoughts")).to_be_visible()
    expect(answers(page).locator(".thoughts")).to_have_text("one two three four")


def test_stop_while_it_thinks_keeps_the_thoughts_that_were_shown(come: Callable[..., Visitor]) -> None:
    page = come().open()
    ask(page, "/reasoning stall=1 thoughts=half_a_thought")
    expect(answers(page).locator("summary")).to_have_text("Thinking")
    answers(page).locator("summary").click()
    expect(answers(page).locator(".thoughts")).to_have_text("half a thought")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page)).to_contain_text("Stopped.")
    expect(answers(page).locator("summary")).to_contain_text("Thought for")
    again(page)
    answers(page).locator("summary").click()
    expect(answers(page).locator(".thoughts")).to_have_text("half a thought")


def test_a_refresh_while_it_thinks_shows_all_thoughts(come: Callable[..., Visitor]) -> None:
    page = come().open()
    ask(page, "/reasoning stall=1 thoughts=half_a_thought")
    expect(answers(page).locator("summary")).to_have_text("Thinking")
    again(page)
    expect(answers(page).locator("summary")).to_have_text("Thinking")
    answers(page).locator("summary").click()
    expect(answers(page).locator(".thoughts")).to_have_text("half a thought")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answers(page)).to_contain_text("Stopped.")


def test_think_tags_that_somebody_wrote_are_text(come: Callable[..., Visitor]) -> None:
    """The visitor's in a prompt, and a model's without a parser."""
    page = come().open()
    ask(page, "/say <think>not a thought</think> and more")
    settled(page)
    expect(page.locator(".said")).to_have_text("/say <think>not a thought</think> and more")
    expect(answers(page).locator(".md")).to_have_text("<think>not a thought</think> and more")
    expect(page.locator(".reasoning")).to_have_count(0)


# Feedback


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_is_rated_changed_and_the_rating_taken_back(
    come: Callable[..., Visitor], size: dict[str, Any]
) -> None:
    page = come(**size).open()
    ask(page, "/say An answer to rate.")
    settled(page)
    good, bad = page.get_by_role("button", name="Good answer"), page.get_by_role("button", name="Bad answer")
    good.click()
    form = page.get_by_role("form", name="What was good?")
    form.get_by_role("button", name="Clear", exact=True).click()
    form.get_by_label("Comment").fill("Short <b>and</b> right.")
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()
    again(page)
    expect(good).to_have_attribute("aria-pressed", "true")
    good.click()
    expect(form.get_by_role("button", name="Clear", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(form.get_by_label("Comment")).to_have_value("Short <b>and</b> right.")
    assert no_sideways_scroll(page)
    bad.click()
    worse = page.get_by_role("form", name="What went wrong?")
    expect(worse.get_by_label("Comment")).to_have_value("Short <b>and</b> right.")
    worse.get_by_role("button", name="Not correct").click()
    worse.get_by_role("button", name="Save").click()
    again(page)
    expect(good).to_have_attribute("aria-pressed", "false")
    expect(bad).to_have_attribute("aria-pressed", "true")
    bad.click()
    expect(worse.get_by_role("button", name="Not correct")).to_have_attribute("aria-pressed", "true")
    worse.get_by_role("button", name="Remove rating").click()
    expect(bad).to_have_attribute("aria-pressed", "false")
    again(page)
    expect(bad).to_have_attribute("aria-pressed", "false")


def test_a_thumb_counts_without_saying_more_and_escape_closes_the_form(come: Callable[..., Visitor]) -> None:
    page = come().open()
    ask(page, "/say An answer to rate.")
    settled(page)
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("form")).to_be_visible()
    expect(page.get_by_role("button", name="Not correct")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("form")).to_have_count(0)
    expect(page.get_by_role("button", name="Bad answer")).to_be_focused()
    again(page)
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")


def test_a_rating_that_cannot_be_kept_says_so_and_is_not_shown_as_kept(come: Callable[..., Visitor]) -> None:
    visitor = come()
    page = visitor.open()
    ask(page, "/say An answer to rate.")
    settled(page)
    go_offline(page)
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")


def test_nobody_else_sees_or_changes_a_rating(come: Callable[..., Visitor]) -> None:
    page = come().open()
    ask(page, "/say Mine alone.")
    settled(page)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("form")).to_be_visible()
    id = answers(page).get_attribute("data-id")
    stranger = come().open()
    ask(stranger, "/say Another one.")
    settled(stranger)
    told = stranger.evaluate(
        """async (id) => (await fetch(`/api/answers/${id}/feedback`, {method: "PUT", body: '{"rating": "down"}',
            headers: {"X-Parley": "1", "Content-Type": "application/json"}})).status""",
        id,
    )
    assert told == 404
    again(page)
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")


# Settings


def settings(page: Page) -> None:
    if not page.evaluate("document.body.classList.contains('p-settings-open')"):
        page.get_by_role("button", name="Settings", exact=True).click()


def new_chat(page: Page, phone: bool) -> None:
    if phone:
        page.get_by_role("button", name="Close the settings").click()
        page.locator("#p-new-phone").click()
    else:
        page.locator("#p-new").click()


@pytest.mark.parametrize("size", SIZES)
def test_settings_and_system_prompt_are_remembered_for_a_conversation_after_a_reload(
    come: Callable[..., Visitor], size: dict[str, Any]
) -> None:
    page = come(**size).open()
    settings(page)
    slider(page, "Temperature").fill("1.3")
    page.get_by_label("System prompt").fill("Speak like a pirate.")
    page.get_by_role("button", name="Close the settings").click()
    ask(page, "/say Aye.")
    settled(page)
    again(page)
    settings(page)
    expect(slider(page, "Temperature")).to_have_value("1.3")
    expect(page.get_by_label("System prompt")).to_have_value("Speak like a pirate.")
    new_chat(page, "is_mobile" in size)
    settings(page)
    expect(slider(page, "Temperature")).to_have_value("0.7")
    expect(page.get_by_label("System prompt")).to_have_value("")


@pytest.mark.parametrize("size", SIZES)
def test_a_visitors_own_default_begins_every_new_conversation_until_it_is_forgotten(
    come: Callable[..., Visitor], size: dict[str, Any]
) -> None:
    visitor = come(**size)
    page = visitor.open()
    settings(page)
    slider(page, "Top-k").fill("40")
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_role("button", name=re.compile("^Use as my default for ")).click()
    expect(page.locator("#p-own-say")).to_contain_text("begin with your own settings")
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Close the settings").click()
    ask(page, "/say One.")
    settled(page)
    # On another page of the same visitor, and after a reload: the server has it.
    page = visitor.open()
    settings(page)
    expect(slider(page, "Top-k")).to_have_value("40")
    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")
    page.get_by_role("button", name="Back to this model's defaults").click()
    expect(slider(page, "Top-k")).to_have_value("0")
    page.get_by_role("button", name="Forget mine").click()
    expect(page.locator("#p-own-say")).to_contain_text("begin with the model's own settings")
    expect(page.get_by_role("button", name="Forget mine")).to_be_hidden()
    page = visitor.open()
    settings(page)
    expect(slider(page, "Top-k")).to_have_value("0")
    expect(page.get_by_label("System prompt")).to_have_value("")
    assert come(**size).open().evaluate("fetch('/api/defaults').then((r) => r.json())") == {"defaults": {}}


def test_a_default_that_cannot_be_kept_says_so(come: Callable[..., Visitor]) -> None:
    visitor = come()
    page = visitor.open()
    settings(page)
    go_offline(page)
    page.get_by_role("button", name=re.compile("^Use as my default for ")).click()
    expect(page.locator("#p-own-say")).to_contain_text("cannot be reached")
    expect(page.get_by_role("button", name="Forget mine")).to_be_hidden()
