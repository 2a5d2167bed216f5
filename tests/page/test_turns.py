"""A turn on the chat page: sent, shown while it is written, stopped, picked up again, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from chat.web.page import assets_path
from chat.web.render import render
from tests.support.browser import PHONE
from tests.support.fake_backend import FakeBackend
from tests.support.page import LONG, RICH, Visitor, answers, go_offline, ready, say


def rename(page: Page, title: str) -> None:
    page.get_by_role("link", name=title, exact=True).hover()
    page.get_by_role("button", name=f"Rename: {title}").click()
    page.get_by_label("New name").fill("Another")
    page.keyboard.press("Enter")


def remove(page: Page, title: str) -> None:
    page.get_by_role("link", name=title, exact=True).hover()
    page.get_by_role("button", name=f"Delete: {title}").click()


# A turn


def test_a_prompt_is_answered_and_the_conversation_is_listed(page: Page, backend: FakeBackend) -> None:
    say(page, "Hello there")
    expect(page.locator(".said")).to_have_text("Hello there")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello there")
    expect(page.locator("#p-conversations")).to_contain_text("Hello there")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    assert "#c=" in page.url


def test_enter_sends_and_shift_enter_makes_a_line(page: Page, backend: FakeBackend) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    assert backend.turns == []
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text("one\ntwo")
    expect(answers(page).locator(".md")).to_contain_text("You said")
    assert backend.turns[0]["text"] == "one\ntwo"


def test_on_a_phone_enter_makes_a_line_and_the_button_sends(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True).open()
    box = page.get_by_label("Message", exact=True)
    box.tap()
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    expect(box).to_have_value("one\ntwo")
    assert backend.turns == []
    page.get_by_role("button", name="Send").tap()
    expect(answers(page).locator(".md")).to_contain_text("You said")
    assert backend.turns[0]["text"] == "one\ntwo"


def test_enter_that_ends_a_composition_does_not_send(page: Page, backend: FakeBackend) -> None:
    box = page.get_by_label("Message", exact=True)
    box.fill("こんにちは")
    page.evaluate(
        """() => document.getElementById("p-prompt").dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))"""
    )
    box.press_sequentially("!")
    page.keyboard.press("Enter")
    expect(answers(page).locator(".md")).to_contain_text("You said")
    assert [turn["text"] for turn in backend.turns] == ["こんにちは!"]


def test_an_answer_is_on_the_page_while_it_is_being_written(page: Page, backend: FakeBackend) -> None:
    backend.answers["hold"] = RICH
    say(page, "hold")
    expect(answers(page).locator(".md strong").first).to_have_text("words")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    backend.release()
    expect(answers(page).locator("td").last).to_have_text("5")
    expect(answers(page).locator("math")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_stop_keeps_exactly_what_was_shown(page: Page, backend: FakeBackend) -> None:
    backend.answers["hold"] = "one two three four five six seven eight"
    say(page, "hold")
    expect(answers(page).locator(".md")).to_have_text("one two three four")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_contain_text("Stopped.")
    expect(answers(page).locator(".md")).to_have_text("one two three four")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_escape_stops_an_answer(page: Page, backend: FakeBackend) -> None:
    say(page, "hold this answer please")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(answers(page)).to_contain_text("Stopped.")


def test_a_refresh_in_mid_answer_picks_it_up_where_it_is(page: Page, backend: FakeBackend) -> None:
    backend.answers["hold"] = LONG
    say(page, "hold")
    expect(answers(page).locator(".md")).to_contain_text("Paragraph 10")
    page.reload()
    ready(page)
    expect(answers(page).locator(".md")).to_contain_text("Paragraph 10")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    backend.release()
    expect(answers(page).locator(".md p")).to_have_count(41)


def test_a_second_tab_reads_the_same_running_answer(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    visitor = visit()
    first = visitor.open()
    backend.answers["hold"] = "one two three four five six"
    say(first, "hold")
    expect(answers(first).locator(".md")).to_have_text("one two three")
    second = visitor.open()
    second.locator("#p-conversations a").first.click()
    expect(answers(second).locator(".md")).to_have_text("one two three")
    backend.release()
    for tab in (first, second):
        expect(answers(tab).locator(".md")).to_have_text("one two three four five six")


def test_a_lost_connection_goes_on_from_where_it_was(page: Page, backend: FakeBackend) -> None:
    backend.answers["hold"] = " ".join(str(n) for n in range(60))
    say(page, "hold")
    expect(answers(page).locator(".md")).to_contain_text("28 29")
    backend.drop_streams = 2  # of what comes after these words
    backend.release()
    expect(answers(page).locator(".md")).to_have_text(backend.answers["hold"])
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert backend.drop_streams == 0


def test_an_answer_that_settles_moves_nothing(page: Page, backend: FakeBackend) -> None:
    """The finished blocks stay to the pixel, and the page does not jump, when the server's final form takes over."""
    backend.answers["hold the end"] = "First.\n\n- a\n- b\n\n```py\nx\n```\n\nThe last paragraph of it all."
    measure = """() => [...document.querySelectorAll('.turn.answer .md > :not(.tail), .turn.answer .tail > *')]
        .map((e) => [e.tagName, Math.round(e.getBoundingClientRect().top)])"""
    height = "document.querySelector('.turn.answer').getBoundingClientRect().height"
    say(page, "hold the end")
    expect(answers(page).locator(".tail")).to_have_text("The last paragraph of it all.")
    running = (page.evaluate(measure), page.evaluate(height))
    backend.release()
    expect(answers(page).locator(".foot")).to_be_visible()
    assert (page.evaluate(measure), page.evaluate(height)) == running


@pytest.mark.parametrize(
    "text",
    [
        "Two lines with **bold**\nand `code`",
        "- one\n- two **b**\n- three",
        "1. one\n2. two\n3. three",
        "# Title\n\nText",
        "```python\ndef f(x):\n\treturn x\n```",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "> quoted\n> more",
        "a\n\n---\n\nb",
    ],
)
def test_the_sketch_of_unsettled_text_is_as_high_as_the_settled_block(page: Page, text: str) -> None:
    heights = page.evaluate(
        """async ([text, html, assets]) => {
            const { Tail } = await import(`${assets}/tail.js`);
            const measure = (fill) => {
                const body = document.createElement("div");
                body.className = "md";
                document.getElementById("p-thread").append(body);
                fill(body);
                return body.getBoundingClientRect().height;
            };
            const tail = new Tail();
            for (const character of text) tail.append(character);
            return [measure((body) => body.append(tail.element)), measure((body) => (body.innerHTML = html))];
        }""",
        [text, render(text), assets_path()],
    )
    assert heights[0] == heights[1] > 0


def test_reading_above_is_not_disturbed_by_new_text(page: Page, backend: FakeBackend) -> None:
    backend.answers["hold"] = LONG
    say(page, "hold")
    expect(answers(page).locator(".md")).to_contain_text("Paragraph 15")
    page.locator("#p-scroll").hover()
    page.mouse.wheel(0, -5000)
    page.wait_for_function("document.getElementById('p-scroll').scrollTop === 0")
    backend.release()
    expect(answers(page).locator(".md")).to_contain_text("Paragraph 39")
    assert page.evaluate("document.getElementById('p-scroll').scrollTop") == 0
    page.get_by_label("Go to the newest message").click()
    expect(answers(page).locator(".md > p").last).to_be_in_viewport()


# What goes wrong


def test_a_refused_prompt_returns_to_the_box_with_the_reason_above_it(page: Page, backend: FakeBackend) -> None:
    backend.refuse = "The engine has too many requests now. Try again in a minute."
    say(page, "Do not lose me")
    expect(page.locator("#p-problem")).to_have_text("The engine has too many requests now. Try again in a minute.")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Do not lose me")
    expect(page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(answers(page).locator(".md")).to_have_text("You said: Do not lose me")
    expect(page.locator("#p-problem")).to_be_hidden()


def test_a_prompt_survives_a_server_that_is_gone(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    page = visitor.open()
    go_offline(page)
    say(page, "Do not lose me")
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Do not lose me")


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda page: page.locator("#p-more").click(), id="older conversations"),
        pytest.param(lambda page: page.locator("#p-earlier").click(), id="earlier messages"),
        pytest.param(lambda page: page.get_by_role("link", name="Short", exact=True).click(), id="open"),
        pytest.param(lambda page: rename(page, "Short"), id="rename"),
        pytest.param(lambda page: remove(page, "Short"), id="delete"),
        pytest.param(lambda page: page.get_by_role("button", name="Keep").click(), id="keep"),
        pytest.param(lambda page: page.get_by_role("button", name="Sign out").click(), id="sign out"),
        pytest.param(lambda page: say(page, "Hello"), id="send"),
    ],
)
def test_whatever_fails_says_so_and_throws_nothing(
    visit: Callable[..., Visitor], backend: FakeBackend, act: Callable[[Page], None]
) -> None:
    id = backend.conversation("Long", turns=[(f"Prompt {n}", f"Answer {n}.") for n in range(30)])
    backend.conversation("Short", turns=[("Hi", "Hello.")])
    for n in range(40):
        backend.conversation(f"Old {n}", age=1000 + n)
    backend.me |= {"signed_in": True, "name": "ada", "offer": {"conversations": 3}}
    visitor = visit()
    page = visitor.open(f"/#c={id}")
    expect(page.locator(".turn")).to_have_count(40)
    go_offline(page)
    act(page)
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    assert visitor.thrown == []


def test_a_list_that_cannot_be_read_after_a_claim_says_so(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.me |= {"signed_in": True, "name": "ada", "offer": {"conversations": 3}}
    visitor = visit()
    page = visitor.open()
    page.route("**/api/conversations", lambda route: route.abort())
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    assert visitor.thrown == []


def test_an_engine_that_cannot_be_asked_about_says_so(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    visitor = visit()
    page = visitor.open()
    go_offline(page)
    page.locator("#p-model").click()
    page.get_by_role("button", name=re.compile("Poet 7B")).click()
    expect(page.locator("#p-engine")).to_contain_text("cannot be reached")
    visitor.context.set_offline(False)
    expect(page.locator("#p-engine")).to_be_hidden()


def test_what_was_typed_survives_a_reload(page: Page) -> None:
    page.get_by_label("Message", exact=True).fill("half a thought")
    page.reload()
    ready(page)
    expect(page.get_by_label("Message", exact=True)).to_have_value("half a thought")


def test_a_failed_answer_says_why_and_can_be_tried_again(page: Page, backend: FakeBackend) -> None:
    say(page, "fail after a few words please")
    expect(page.get_by_role("alert").filter(has_text="The engine stopped in mid-answer")).to_be_visible()
    expect(answers(page).locator(".md")).to_have_text("You said: fail")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page).locator(".md")).to_have_text("You said: again")
    expect(answers(page)).to_have_count(1)


def test_an_engine_that_starts_is_reported_and_the_prompt_is_answered_when_it_is_up(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.status = {"stage": "starting", "detail": "Parley Starter is starting: loading the weights."}
    page = visit().open()
    expect(page.locator("#p-engine")).to_have_text("Parley Starter is starting: loading the weights.")
    say(page, "Are you up?")
    expect(answers(page).locator(".waiting")).to_have_text("Parley Starter is starting: loading the weights.")
    backend.status = {"stage": "ready", "detail": ""}
    expect(answers(page).locator(".md")).to_have_text("You said: Are you up?")
    expect(page.locator("#p-engine")).to_be_hidden()


def test_a_link_to_a_conversation_that_is_gone_says_so(visit: Callable[..., Visitor]) -> None:
    page = visit().open("/#c=nowhere")
    expect(page.locator("#p-problem")).to_contain_text("no such conversation")
    expect(page.locator("#p-start")).to_be_visible()
