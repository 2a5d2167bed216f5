"""The chat page in a real browser, over scripted routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from chat.web.page import assets_path
from chat.web.render import render
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.fake_backend import MODELS, FakeBackend, Server

LONG = "One.\n\n" + "\n\n".join(f"Paragraph {n} with some words in it." for n in range(40))
RICH = """First **words**.

- one
- two

```python
def f(x):
\treturn x  # a line of code that is rather long and goes on beyond the width of a phone for certain
```

| a column | another column | a third column | a fourth column | a fifth one |
|---|---|---|---|---:|
| wide words | wide words | wide words | wide words | 5 |

The last paragraph, with \\(x^2\\)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(FakeBackend())
    yield server
    server.stop()


@pytest.fixture
def backend(server: Server) -> FakeBackend:
    server.backend.reset()
    return server.backend


class Visitor:
    """A browser of their own, and what it asked for and complained about."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(**{"viewport": DESKTOP, **context})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.outside: list[str] = []
        self.complaints: list[str] = []

    def open(self, address: str = "/") -> Page:
        page = self.context.new_page()
        page.on("request", lambda request: self._asked(request.url))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.url + address)
        ready(page)
        return page

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.outside.append(url)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)


@pytest.fixture
def visit(browser: Browser, server: Server, backend: FakeBackend) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def visit(**context: object) -> Visitor:
        visitors.append(Visitor(browser, server.url, **context))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def page(visit: Callable[..., Visitor]) -> Page:
    return visit().open()


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-parley=ready]")


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answers(page: Page):
    return page.locator(".turn.answer")


def no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth")


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
    assert backend.turns[0]["text"] == "one\ntwo"


def test_enter_that_ends_a_composition_does_not_send(page: Page, backend: FakeBackend) -> None:
    page.get_by_label("Message", exact=True).fill("こんにちは")
    page.evaluate(
        """() => document.getElementById("p-prompt").dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))"""
    )
    page.wait_for_timeout(100)
    assert backend.turns == []


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
    backend.drop_streams = 2
    backend.answers["count"] = " ".join(str(n) for n in range(60))
    say(page, "count")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(answers(page).locator(".md")).to_have_text(backend.answers["count"])
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
    visitor.context.set_offline(True)
    say(page, "Do not lose me")
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Do not lose me")


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


# Settings and models


def slider(page: Page, name: str):
    return page.get_by_label(f"number input for {name}")


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
    assert page.evaluate("document.activeElement.closest('dialog').id") == "p-models"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "p-model"
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate("document.activeElement.id") == "p-close-settings"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "p-open-settings"


# The list


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


# What a message may do


def test_nothing_in_a_message_or_a_title_becomes_markup(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    evil = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script><form><input></form>'
    id = backend.conversation(evil, turns=[(evil, evil)])
    page = visit().open(f"/#c={id}")
    backend.answers[evil] = evil + "\n\n" + evil
    say(page, evil)
    expect(answers(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator("#parley :is(.turn, #p-nav) :is(img, script, form, input)").count() == 0


def test_a_tab_stays_a_tab_and_code_is_copied_to_the_character(page: Page, backend: FakeBackend) -> None:
    backend.answers["a\tb"] = "```python\nif x:\n\treturn\t1\n```"
    say(page, "a\tb")
    assert backend.turns == [] or backend.turns[0]["text"] == "a\tb"
    expect(answers(page).locator(".hl-k").first).to_be_visible()
    assert page.locator(".said").evaluate("e => e.textContent") == "a\tb"
    page.get_by_role("button", name="Copy the code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "if x:\n\treturn\t1\n"


def test_right_to_left_text_finds_its_direction(page: Page, backend: FakeBackend) -> None:
    backend.answers["שלום"] = "שלום עולם"
    say(page, "שלום")
    expect(answers(page).locator(".md p")).to_be_visible()
    for place in (".said", ".answer .md p"):
        assert page.locator(place).evaluate("e => getComputedStyle(e).direction") == "rtl"


# The frame


def test_the_page_asks_no_other_host_and_keeps_its_own_content_policy(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    visitor = visit()
    backend.answers["pictures"] = "![a](https://example.org/a.png) [b](https://example.org)"
    page = visitor.open()
    say(page, "pictures")
    expect(answers(page).locator(".md a")).to_have_count(2)
    page.get_by_role("button", name="Settings").click()
    page.locator("#p-model").click()
    page.wait_for_timeout(500)
    assert visitor.outside == []
    assert visitor.complaints == []


def test_every_control_has_a_name(page: Page, backend: FakeBackend) -> None:
    say(page, "Hello")
    expect(answers(page).locator(".foot")).to_be_visible()
    page.get_by_role("button", name="Settings").click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("#parley :is(button, input, textarea, select, a)")].filter((e) => {
            const labels = [...(e.labels ?? [])].map((label) => label.textContent).join("");
            const label = e.getAttribute("aria-label") || e.textContent.trim() || labels;
            return !label && e.type !== "hidden";
        }).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_finished_answer_is_announced_once(page: Page, backend: FakeBackend) -> None:
    page.evaluate(
        """() => { window.said = []; new MutationObserver(() => {
            const text = document.getElementById("p-announce").textContent; if (text) window.said.push(text);
        }).observe(document.getElementById("p-announce"), {childList: true, characterData: true, subtree: true}); }"""
    )
    say(page, "Hello there")
    page.wait_for_function("window.said.length > 0")
    assert [text.strip() for text in page.evaluate("window.said")] == ["Parley Starter: You said: Hello there"]


def test_the_page_says_who_reads_and_that_this_is_a_machine(page: Page) -> None:
    expect(page.get_by_text("You are talking to an AI; it may be wrong.")).to_be_visible()
    expect(page.get_by_text("Only you can read this conversation.")).to_be_visible()


def test_colours_follow_the_system_until_the_visitor_chooses(visit: Callable[..., Visitor]) -> None:
    page = visit(color_scheme="dark").open()
    background = "getComputedStyle(document.getElementById('parley')).backgroundColor"
    assert page.evaluate(background) == "rgb(25, 25, 24)"
    page.get_by_role("button", name="Light colours").click()
    page.reload()
    ready(page)
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert page.evaluate("document.body.classList.contains('dark')") is False


def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    id = backend.conversation("W" * 300, turns=[("x" * 500, RICH), ("Hi", "https://example.org/" + "a" * 300)])
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True).open(f"/#c={id}")
    expect(answers(page).locator("table")).to_be_visible()
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Settings").click()
    expect(slider(page, "Temperature")).to_be_in_viewport()
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Close the settings").click()
    page.locator("#p-model").click()
    assert no_sideways_scroll(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Conversations").click()
    expect(page.locator("#p-nav")).to_be_in_viewport()
    page.locator("#p-new").click()
    expect(page.locator("#p-start")).to_be_visible()
    expect(page.locator("#p-nav")).not_to_be_in_viewport()


# Who is asking


def test_without_cookies_the_session_lives_in_memory_and_the_page_says_so(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.me["cookie"] = False
    page = visit().open()
    expect(page.locator("#p-bars")).to_contain_text(
        "This conversation ends with the tab: your browser blocks our cookie here. Open in a full page"
    )
    say(page, "Hello")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello")
    (sent,) = [headers for method, path, headers in backend.requests if path == "/api/turns"]
    assert sent["x-parley-session"] == "only-in-memory" and sent["x-parley"] == "1"
    assert "only-in-memory" not in str(page.context.storage_state())


def test_a_newcomer_whose_cookie_comes_back_needs_no_session_in_memory(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.newcomer = True
    page = visit().open()
    expect(page.locator("#p-bars")).to_be_empty()
    say(page, "Hello")
    expect(answers(page).locator(".md")).to_have_text("You said: Hello")
    assert all("x-parley-session" not in headers for _, _, headers in backend.requests)


def test_signing_in_offers_the_conversations_of_this_browser(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.me |= {"signed_in": True, "name": "ada", "offer": {"conversations": 3}}
    page = visit().open()
    expect(page.locator("#p-bars")).to_contain_text("Keep the 3 conversations from this browser?")
    expect(page.locator("#p-account")).to_contain_text("ada")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#p-bars")).to_be_empty()
    assert ("POST", "/api/offers/claim") in [(method, path) for method, path, _ in backend.requests]


def test_a_visitor_without_an_account_finds_the_sign_in_link(page: Page) -> None:
    assert page.get_by_role("link", name="Sign in").get_attribute("href") == "/login"


# The plain pages


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/models", "Needs 140 GiB of GPU memory; this machine has no GPU."),
        ("/about", "You are talking to an AI; it may be wrong."),
        ("/privacy", "Only you can read your conversations."),
    ],
)
def test_the_plain_pages_are_readable_without_scripts(
    visit: Callable[..., Visitor], path: str, sentence: str
) -> None:
    visitor = visit(java_script_enabled=False, viewport=PHONE)
    page = visitor.context.new_page()
    page.goto(visitor.url + path)
    expect(page.get_by_role("main")).to_contain_text(sentence)
    assert no_sideways_scroll(page)


def test_the_privacy_page_deletes_everything_after_asking(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.conversation("One")
    backend.conversation("Two")
    visitor = visit()
    page = visitor.context.new_page()
    page.goto(visitor.url + "/privacy")
    page.get_by_role("button", name="Delete all conversations").click()
    assert len(backend.conversations) == 2
    page.get_by_role("button", name="Yes, delete all of them for good").click()
    expect(page.get_by_role("status")).to_have_text("2 conversations were deleted.")
    assert backend.conversations == {}
