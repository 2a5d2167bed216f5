"""The mark by the title says where the open conversation is, and never more than the server does."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import DESKTOP, PHONE
from tests.support.page import say


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_the_mark_follows_what_the_server_says_and_tells_it_in_words(visit, backend, viewport):
    id = backend.conversation("Herons", turns=[("Hello", "Hi.")])
    backend.conversations[id]["where"] = "kept here"
    page = visit(viewport=viewport).open(f"/#c={id}")
    mark, words = page.locator("#p-kept"), page.locator("#p-kept-words")
    expect(mark).to_have_attribute("title", "Kept here: on the disk of this server, and nowhere else yet.")
    expect(words).to_be_hidden()
    mark.click()
    expect(words).to_have_text("Kept here: on the disk of this server, and nowhere else yet.")
    page.keyboard.press("Escape")
    expect(words).to_be_hidden()
    backend.conversations[id]["where"] = "safe"
    expect(page.get_by_label("Safe: a copy is in private storage elsewhere")).to_be_visible()
    backend.conversations[id]["where"] = "saved"
    expect(page.get_by_label("Saved: in the private dataset.")).to_be_visible()


def test_a_new_chat_has_no_mark_and_what_was_just_sent_is_no_more_than_kept_here(page):
    expect(page.locator("#p-kept")).to_be_hidden()
    say(page, "Hello")
    expect(page.get_by_label("Kept here: on the disk of this server")).to_be_visible()
