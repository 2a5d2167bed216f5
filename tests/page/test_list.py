"""The list of conversations, and a long conversation."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.fake_backend import FakeBackend
from tests.support.page import Visitor, answers


def test_conversations_are_grouped_by_day_and_opened(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.conversation("Fresh", turns=[("Hi", "Hello **you**.")])
    backend.conversation("Old", age=200 * 86400, turns=[("Hi", "Long ago.")])
    page = visit().open()
    headings = page.locator("#p-conversations h2").all_text_contents()
    assert headings[0] == "Today" and re.match(r"\w+ \d{4}", headings[1])
    page.get_by_role("link", name="Old").click()
    expect(answers(page).locator(".md")).to_have_text("Long ago.")
    page.go_back()
    expect(page.locator("#p-start")).to_be_visible()


def test_a_conversation_is_renamed_in_place(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    id = backend.conversation("Old name", turns=[("Hi", "Hello.")])
    page = visit().open(f"/#c={id}")
    page.get_by_role("link", name="Old name").hover()
    page.get_by_role("button", name="Rename: Old name").click()
    page.get_by_label("New name").fill("A better name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="A better name")).to_be_visible()
    expect(page).to_have_title("A better name · Parley")
    assert backend.conversations[id]["title"] == "A better name"


def test_deleting_asks_first_and_leaves_the_conversation(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    id = backend.conversation("Secret", turns=[("Hi", "Hello.")])
    page = visit().open(f"/#c={id}")
    page.get_by_role("link", name="Secret").hover()
    page.get_by_role("button", name="Delete: Secret").click()
    page.get_by_role("button", name="Cancel").click()
    assert id in backend.conversations
    page.get_by_role("button", name="Delete: Secret").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#p-start")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    assert id not in backend.conversations


def test_a_long_conversation_opens_at_its_end_and_shows_the_rest_on_demand(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    id = backend.conversation("Long", turns=[(f"Prompt {n}", f"Answer {n}.") for n in range(50)])
    page = visit().open(f"/#c={id}")
    expect(page.locator(".turn")).to_have_count(40)
    expect(answers(page).last).to_be_in_viewport()
    page.locator("#p-scroll").hover()
    page.mouse.wheel(0, -20000)
    first = page.locator(".turn").first
    expect(first).to_be_in_viewport()
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".turn")).to_have_count(80)
    expect(page.get_by_text("Prompt 30", exact=True)).to_be_in_viewport()
    page.get_by_role("button", name="Show earlier messages").click(force=True)
    expect(page.locator(".turn")).to_have_count(100)
    expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()
