"""The search, over the real app: by Ctrl-K and by touch, and that a hit opens at its message."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.app_process import AppProcess, wait_until
from tests.support.browser import DESKTOP, PHONE
from tests.support.page import Visitor, no_sideways_scroll, ready


class Talker(Visitor):
    """A visitor whose conversations are written beforehand, over the page's own routes."""

    def turn(self, text: str, conversation: str | None = None) -> str:
        body = {"conversation": conversation, "text": text}
        sent = self.context.request.post(f"{self.url}/api/turns", data=body, headers={"X-Parley": "1"}).json()
        done = self.context.request.get(f"{self.url}/api/answers/{sent['answer']['id']}/live").text()
        assert '"done"' in done
        return sent["conversation"]["id"]


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visitor(request: pytest.FixtureRequest, browser: Browser, real_app: AppProcess) -> Iterator[Talker]:
    visitor = Talker(browser, real_app.url, viewport=request.param)
    yield visitor
    visitor.context.close()


def look_for(page: Page, text: str) -> None:
    """Open the search as one does there, and type."""
    if page.viewport_size["width"] < 800:
        page.get_by_role("button", name="Conversations", exact=True).click()
        page.get_by_role("button", name="Search", exact=True).click()
    else:
        page.keyboard.press("Control+K")
    expect(page.get_by_label("Search your conversations")).to_be_focused()
    page.keyboard.type(text)


def found(page: Page, text: str, count: int) -> None:
    """Look for what was just said, once it is in the index: that is up to half a second behind."""
    indexed = """async ([text, count]) => {
        const headers = {"X-Parley": "1", "Content-Type": "application/json"};
        const answer = await fetch("/api/search", {method: "POST", headers, body: JSON.stringify({query: text})});
        return (await answer.json()).hits.filter((hit) => hit.message).length === count;
    }"""
    page.wait_for_function(indexed, arg=[text, count], polling=100)
    box = page.get_by_label("Search your conversations")
    box.fill("")
    box.fill(text)
    expect(page.locator("#p-search-results a")).to_have_count(count)


def test_a_hit_far_up_opens_the_conversation_at_that_message(visitor: Talker) -> None:
    id = visitor.turn("/say a <b>bold</b> capybara & friends")
    for number in range(24):
        visitor.turn(f"/say filler number {number}", id)
    visitor.turn("/say something else")
    page = visitor.open()
    look_for(page, "capybara fri")
    found(page, "capybara fri", 2)
    results = page.locator("#p-search-results")
    expect(results.locator("mark").first).to_have_text("capybara")
    expect(results.locator("b")).to_have_count(0)
    expect(results).to_contain_text("<b>bold</b> capybara & friends")
    assert no_sideways_scroll(page)
    results.get_by_role("link", name=re.compile("^Answer:")).click()
    expect(page.locator("#p-search")).to_be_hidden()
    hit = page.locator(".turn.pointed")
    expect(hit).to_be_in_viewport()
    expect(hit).to_contain_text("capybara")
    expect(page.locator(".turn")).to_have_count(50)
    assert "capybara" not in page.url
    assert visitor.thrown == []


def test_a_hit_in_the_open_conversation_is_shown_and_the_keyboard_is_enough(visitor: Talker) -> None:
    id = visitor.turn("/say first quokka")
    visitor.turn("/say second quokka", id)
    page = visitor.open(f"/#c={id}")
    expect(page.locator(".turn")).to_have_count(4)
    look_for(page, "second quo")
    found(page, "second quo", 2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.pointed")).to_contain_text("second quokka")
    page.keyboard.press("Control+K")
    expect(page.get_by_label("Search your conversations")).to_have_value("")


def test_whoever_is_quicker_than_the_answer_keeps_the_keyboard(visitor: Talker) -> None:
    id = visitor.turn("/say first wombat")
    visitor.turn("/say second wombat", id)
    page = visitor.open()
    look_for(page, "second wom")
    found(page, "second wom", 2)
    waiting: list[Route] = []
    page.route("**/api/search", lambda route: waiting.append(route))
    page.get_by_label("Search your conversations").fill("second wombat")
    wait_until(lambda: page.evaluate("0") or waiting)
    page.keyboard.press("ArrowDown")
    before = page.locator("#p-search-results [data-before]")
    page.locator("#p-search-results li").evaluate_all("all => all.forEach((one) => one.dataset.before = '')")
    waiting[-1].continue_()
    expect(before).to_have_count(0)
    expect(page.locator("#p-search-results a").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#p-search")).to_be_hidden()
    expect(page.locator(".turn")).to_have_count(4)


def test_what_is_deleted_archived_or_of_others_and_what_is_no_query(
    visitor: Talker, browser: Browser, real_app: AppProcess
) -> None:
    visitor.turn("/say the axolotl")
    page = visitor.open()
    look_for(page, '"*( AND NOT')
    expect(page.locator("#p-search-status")).to_have_text("Nothing found.")
    found(page, "axolotl", 2)
    page.keyboard.press("Escape")
    expect(page.locator("#p-search")).to_be_hidden()
    other = Talker(browser, real_app.url)
    stranger = other.open()
    look_for(stranger, "axolotl")
    expect(stranger.locator("#p-search-status")).to_have_text("Nothing found.")
    other.context.close()
    if page.viewport_size["width"] > 800:
        page.locator("#p-conversations li").first.hover()
    page.get_by_role("button", name=re.compile("^Delete: ")).first.click()
    expect(page.locator("#p-toast")).to_contain_text("deleted")
    page.reload()
    ready(page)
    look_for(page, "axolotl")
    expect(page.locator("#p-search-status")).to_have_text("Nothing found.")
