"""What the page shows, to whom, and what a message may not do to it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE
from tests.support.fake_backend import FakeBackend
from tests.support.page import RICH, Visitor, answers, no_sideways_scroll, ready, say, slider


def choose(page: Page, model: str) -> None:
    page.locator("#p-model").click()
    page.get_by_role("button", name=re.compile(f"^{model}")).click()


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
    expect(page.locator("#p-models")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert visitor.outside == []
    assert (visitor.complaints, visitor.thrown) == ([], [])


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


def test_the_line_names_another_host_that_answers_and_one_that_answered_before(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.models[1]["answered_by"] = "engine.example.org"
    page = visit().open()
    line = page.locator("#p-readers-say")
    expect(line).to_have_text("Only you can read this conversation.")
    choose(page, "Poet 7B")
    expect(line).to_have_text("Only you, and engine.example.org, which answers.")
    say(page, "Hello")
    expect(answers(page).locator(".foot")).to_be_visible()
    choose(page, "Parley Starter")
    expect(line).to_have_text("Only you, and engine.example.org, which answered before.")
    page.get_by_role("button", name="New chat").first.click()
    expect(line).to_have_text("Only you can read this conversation.")
    page.locator("#p-conversations a").first.click()
    page.reload()
    ready(page)
    expect(line).to_have_text("Only you, and engine.example.org, which answered before.")  # the choice is remembered


def test_the_privacy_page_names_the_models_that_another_host_answers(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.models[1]["answered_by"] = "engine.example.org"
    visitor = visit()
    page = visitor.blank()
    page.goto(visitor.url + "/privacy")
    main = page.get_by_role("main")
    expect(main).to_contain_text("Poet 7B: only you, and engine.example.org, which answers.")
    expect(main).not_to_contain_text("Only you can read your conversations.")
    expect(main).not_to_contain_text("or with anyone else")


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


def test_without_cookies_every_link_that_leaves_the_page_opens_beside_it(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    """The session is in the page's memory alone."""
    backend.me["cookie"] = False
    page = visit().open()
    page.locator("#p-model").click()
    staying = """() => [...document.querySelectorAll("#parley a:not([href^='#'])")]
        .filter((a) => !(a.target === "_blank" && a.relList.contains("noopener")))
        .map((a) => a.outerHTML)"""
    assert page.evaluate(staying) == []
    backend.me["cookie"] = True
    assert visit().open().evaluate(staying) != []


# The plain pages


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/models", "Needs 140 GiB of GPU memory; this machine has no GPU."),
        ("/about", "You are talking to an AI; it may be wrong."),
        ("/privacy", "Only you can read your conversations."),
    ],
)
def test_the_plain_pages_are_readable_without_scripts(visit: Callable[..., Visitor], path: str, sentence: str) -> None:
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
    page.get_by_role("button", name="Yes, delete all of them").click()
    expect(page.get_by_role("status")).to_contain_text("2 conversations were deleted.")
    assert backend.conversations == {}


def test_delete_all_does_not_wait_for_an_answer_about_something_else(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    backend.conversation("One")
    visitor = visit()
    page = visitor.context.new_page()
    page.route("**/api/retention", lambda route: None)  # never answered
    page.goto(visitor.url + "/privacy")
    page.get_by_role("button", name="Delete all conversations").click()
    page.get_by_role("button", name="Yes, delete all of them").click()
    expect(page.get_by_role("status")).to_contain_text("1 conversation was deleted.")


def test_the_privacy_page_of_a_tab_that_has_no_conversations_says_what_it_cannot_see(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    visitor = visit()
    page = visitor.blank()
    page.goto(visitor.url + "/privacy")
    expect(page.get_by_role("status")).to_contain_text("cannot be seen from another tab")
    page.get_by_role("button", name="Delete all conversations").click()
    page.get_by_role("button", name="Yes, delete all of them").click()
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("status")).to_contain_text("cannot be seen from another tab")
