"""The settings panel and the model picker."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.support.fake_backend import MODELS, FakeBackend
from tests.support.page import answers, ready, say, slider


def test_settings_begin_with_the_models_defaults_and_travel_with_the_turn(page: Page, backend: FakeBackend) -> None:
    page.get_by_role("button", name="Settings").click()
    expect(slider(page, "Temperature")).to_have_value("0.3")
    expect(slider(page, "Max tokens")).to_have_value("512")
    slider(page, "Temperature").fill("1.2")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("System prompt").fill("Speak like a pirate.")
    say(page, "Hello")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello")
    turn = backend.turns[0]
    assert turn["params"] == {**MODELS[0]["defaults"], "temperature": 1.2, "seed": 7}
    assert turn["system_prompt"] == "Speak like a pirate."


def test_settings_are_remembered_for_each_conversation(page: Page, backend: FakeBackend) -> None:
    page.get_by_role("button", name="Settings").click()
    slider(page, "Top-k").fill("40")
    say(page, "Hello")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello")
    page.get_by_role("button", name="New chat").first.click()
    expect(slider(page, "Top-k")).to_have_value("0")
    page.locator("#p-conversations a").first.click()
    expect(slider(page, "Top-k")).to_have_value("40")
    page.reload()
    ready(page)
    page.get_by_role("button", name="Settings").click()
    expect(slider(page, "Top-k")).to_have_value("40")
    page.get_by_role("button", name="Back to this model's defaults").click()
    expect(slider(page, "Top-k")).to_have_value("0")


def test_a_setting_that_was_emptied_is_sent_as_it_was_before(page: Page, backend: FakeBackend) -> None:
    page.get_by_role("button", name="Settings").click()
    slider(page, "Temperature").fill("")
    say(page, "Hello")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello")
    assert backend.turns[0]["params"] == MODELS[0]["defaults"]
    expect(slider(page, "Temperature")).to_have_value("0.3")


def test_a_model_is_chosen_from_the_list_and_answers_the_next_turn(page: Page, backend: FakeBackend) -> None:
    page.locator("#p-model").click()
    page.get_by_role("button", name=re.compile("Poet 7B")).click()
    expect(page.locator("#p-model")).to_contain_text("Poet 7B")
    expect(page.locator("#p-start-card")).to_contain_text("example-lab")
    say(page, "Hello")
    expect(answers(page).locator(".who")).to_have_text("Poet 7B")
    assert backend.turns[0]["model"] == "poet"
    assert backend.turns[0]["params"]["temperature"] == 1.1


def test_a_model_that_cannot_run_here_says_why_and_cannot_be_chosen(page: Page) -> None:
    page.locator("#p-model").click()
    entry = page.get_by_role("button", name=re.compile("Llama 2 70B"))
    expect(entry).to_contain_text("Needs 140 GiB of GPU memory; this machine has no GPU.")
    entry.click(force=True)
    expect(page.locator("#p-models")).to_be_visible()
    expect(page.locator("#p-model")).to_contain_text("Parley Starter")


def test_a_dialog_gives_the_focus_back(page: Page) -> None:
    page.locator("#p-model").click()
    expect(page.locator("#p-models :focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#p-model")).to_be_focused()
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#p-close-settings")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#p-open-settings")).to_be_focused()
