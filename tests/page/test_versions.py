"""What people do with the messages of a conversation, over the real app and a scripted engine that shows itself as vLLM:
edit, write anew, step between versions, go on, at desktop and phone width, with reloads and second tabs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.app_process import AppProcess, engine_process, release, wait_until
from tests.support.browser import DESKTOP, PHONE
from tests.support.page import Visitor, answered, answers, go_offline, ready

WIDTHS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with engine_process("--owned-by", "vllm") as url:
        yield url


@pytest.fixture(scope="module")
def app(engine: str, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("versions") / "data", ENGINE_URL=engine) as app:
        yield app


@pytest.fixture(params=WIDTHS)
def visitor(request: pytest.FixtureRequest, browser: Browser, app: AppProcess) -> Iterator[Visitor]:
    visitor = Visitor(browser, app.url, **WIDTHS[request.param])
    yield visitor
    visitor.context.close()
    assert visitor.thrown == []


@pytest.fixture
def wide(browser: Browser, app: AppProcess) -> Iterator[Visitor]:
    visitor = Visitor(browser, app.url)
    yield visitor
    visitor.context.close()
    assert visitor.thrown == []


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.locator("#p-send").click()


def turn(page: Page, text: str) -> None:
    say(page, text)
    expect(page.locator(".said").last).to_have_text(text)
    answered(page)


def edit(page: Page, prompt: Locator, text: str) -> None:
    prompt.hover()
    prompt.get_by_role("button", name="Edit the message").click()
    page.get_by_label("Edited message").fill(text)
    prompt.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Edited message")).to_have_count(0)
    answered(page)


def shows(page: Page, *texts: str) -> None:
    """Wait until these stand there and no others."""
    expect(page.locator(".said, .answer .md")).to_have_text(list(texts), use_inner_text=True)


def reloaded(page: Page) -> None:
    page.reload()
    ready(page)
    expect(answers(page).last).to_be_visible()


def test_an_edited_prompt_stands_beside_the_old_one_and_a_reload_shows_what_was_shown(visitor: Visitor) -> None:
    page = visitor.open()
    turn(page, "/say One.")
    turn(page, "/say Two.")
    first, second = page.locator(".prompt").nth(0), page.locator(".prompt").nth(1)
    edit(page, second, "/say Better.")
    shows(page, "/say One.", "One.", "/say Better.", "Better.")
    expect(second.locator(".count")).to_have_text("2/2")
    second.get_by_role("button", name="Previous version of the message").click()
    expect(answers(page).last.locator(".md")).to_have_text("Two.")
    expect(second.locator(".count")).to_have_text("1/2")
    reloaded(page)
    shows(page, "/say One.", "One.", "/say Two.", "Two.")
    edit(page, first, "/say Uno.")
    shows(page, "/say Uno.", "Uno.")
    first.get_by_role("button", name="Previous version").click()
    expect(page.locator(".said")).to_have_count(2)
    shows(page, "/say One.", "One.", "/say Two.", "Two.")  # below it, what was shown last


def test_an_answer_written_anew_stands_beside_the_old_one(visitor: Visitor) -> None:
    page = visitor.open()
    turn(page, "/clock tokens=3 first=0.01")  # every answer names its time
    turn(page, "/say Two.")
    first = answers(page).first
    before = first.locator(".md").inner_text()
    first.get_by_role("button", name="Write the answer anew").click()
    expect(page.locator(".said")).to_have_count(1)
    expect(first.locator(".count")).to_have_text("2/2")
    answered(page)
    after = first.locator(".md").inner_text()
    assert after != before
    first.get_by_role("button", name="Previous version of the answer").click()
    expect(first.locator(".md")).to_have_text(before)
    expect(page.locator(".said")).to_have_count(2)
    first.get_by_role("button", name="Next version of the answer").click()
    expect(first.locator(".md")).to_have_text(after)
    reloaded(page)
    shows(page, "/clock tokens=3 first=0.01", after)


def test_stepping_moves_nothing_above_and_keeps_the_keyboard_where_it_is(wide: Visitor) -> None:
    page = wide.open()
    for number in range(8):
        turn(page, f"/say Number {number}. " + "Some more words for the height of it. " * 8)
    prompt = page.locator(".prompt").nth(4)
    edit(page, prompt, "/say Another.")
    arrow = prompt.get_by_role("button", name="Previous version")
    before = prompt.bounding_box()["y"]
    arrow.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_count(8)
    assert abs(prompt.bounding_box()["y"] - before) < 2
    expect(prompt.get_by_role("button", name="Next version")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_count(5)


def test_an_edit_can_be_left_and_an_unsent_one_says_why(wide: Visitor) -> None:
    page = wide.open()
    turn(page, "/say One.")
    prompt = page.locator(".prompt").first
    prompt.hover()
    prompt.get_by_role("button", name="Edit the message").click()
    page.keyboard.press("Escape")
    expect(prompt.locator(".said")).to_be_visible()
    expect(prompt.get_by_role("button", name="Edit the message")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Edited message").fill("/say Uno.")
    go_offline(page)
    page.keyboard.press("Enter")
    expect(prompt.get_by_role("alert")).to_contain_text("cannot be reached")
    wide.context.set_offline(False)
    prompt.get_by_role("button", name="Send").click()
    expect(page.locator(".said")).to_have_text("/say Uno.")
    expect(prompt.locator(".count")).to_have_text("2/2")


def cut_off(page: Page, words: str = "One two **three** four five six seven eight.") -> str:
    """Stop an answer in its middle; what was shown."""
    say(page, f"/hold after=3 {words}")
    expect(answers(page).last.locator(".md")).to_contain_text("three")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page).last).to_contain_text("Stopped.")
    return answers(page).last.locator(".md").inner_text()


def test_stop_keeps_what_was_shown_and_continue_goes_on_from_there(visitor: Visitor) -> None:
    page = visitor.open()
    before = cut_off(page)
    reloaded(page)
    assert answers(page).last.locator(".md").inner_text() == before, "kept, to the letter"
    seen: list[str] = page.evaluate("window.seen = []")
    page.evaluate(
        """() => new MutationObserver(() => window.seen.push(document.querySelector(".answer .md").innerText))
            .observe(document.querySelector(".answer .md"), {childList: true, subtree: true, characterData: true})"""
    )
    page.get_by_role("button", name="Continue").click()
    expect(answers(page).last.locator(".md")).to_have_text("One two three four five six seven eight.")
    answered(page)
    seen = [text for text in page.evaluate("window.seen")]
    assert seen, "it was shown while it was written"
    assert all(text.startswith(before.rstrip()) for text in seen), "what stood there never left the page"
    expect(page.get_by_role("button", name="Continue")).to_have_count(0)
    answers(page).last.locator(".who").click()
    expect(answers(page).last.locator(".made")).to_contain_text("once")


def until_logged(app: AppProcess, word: str) -> None:
    """A crash loses no more than what was written in the last second."""
    with closing(sqlite3.connect(f"file:{app.data_dir / 'parley.db'}?mode=ro", uri=True)) as db:
        wait_until(
            lambda: db.execute(
                "SELECT max(instr(content, ?)) FROM messages WHERE state = 'running'", (word,)
            ).fetchone()[0]
        )


def test_after_a_crash_what_was_logged_is_there_with_continue(browser: Browser, engine: str, tmp_path: Path) -> None:
    """`kill -9` in mid-answer, and in the middle of going on with it."""
    words = " ".join(f"w{number}" for number in range(60)) + "."
    visitor = None
    for known, said in ((None, "w4"), ("w4", "w24"), ("w24", None)):
        with AppProcess(tmp_path / "data", port=getattr(visitor, "port", None), ENGINE_URL=engine) as app:
            if visitor is None:
                visitor = Visitor(browser, app.url)
                visitor.port = app.port
                page = visitor.open()
                say(page, f"/hold after=5,25 {words}")
            else:
                reloaded(page)
                expect(page.get_by_role("alert").filter(has_text="restarted")).to_be_visible()
                kept = answers(page).last.locator(".md").inner_text()
                assert kept.strip() == words[: words.index(known) + len(known)]
                page.get_by_role("button", name="Continue").click()
            if said:
                expect(answers(page).last.locator(".md")).to_contain_text(said)
                until_logged(app, said)
                app.kill()
            else:
                expect(answers(page).last.locator(".md")).to_have_text(words)
    visitor.context.close()


def test_a_second_tab_follows_what_happens_in_the_first(wide: Visitor, engine: str) -> None:
    first = wide.open()
    turn(first, "/say One.")
    second = wide.open(first.url.removeprefix(wide.url))
    expect(answers(second).locator(".md")).to_have_text("One.")
    say(first, "/hold after=3 a b c d e f g h i j k.")
    for tab in (first, second):
        tab.bring_to_front()  # in the background a tab is drawn once a second
        expect(answers(tab).last.locator(".md")).to_contain_text("a b c")
        expect(tab.get_by_role("button", name="Stop")).to_be_visible()
    release(engine)
    for tab in (second, first):
        tab.bring_to_front()
        expect(answers(tab).last.locator(".md")).to_have_text("a b c d e f g h i j k.")
        answered(tab)
    edit(first, first.locator(".prompt").last, "/say Edited.")
    expect(answers(second).last.locator(".md")).to_have_text("Edited.")
    second.bring_to_front()
    second.locator(".prompt").last.get_by_role("button", name="Previous version").click()
    expect(answers(first).last.locator(".md")).to_have_text("a b c d e f g h i j k.")


def test_a_prompt_whose_answer_got_lost_on_the_way_stands_once(wide: Visitor) -> None:
    """The server had it; the page did not hear so, and sends it again by itself."""
    page = wide.open()
    lost = []

    def lose(route) -> None:
        if lost:
            route.fallback()
        else:
            lost.append(route.fetch().status)
            route.abort("connectionreset")

    page.route("**/api/turns", lose)
    say(page, "/say Once.")
    expect(answers(page).locator(".md")).to_have_text("Once.")
    answered(page)
    assert lost == [200]
    expect(page.locator(".said")).to_have_count(1)
    expect(page.locator("#p-conversations li")).to_have_count(1)
    reloaded(page)
    shows(page, "/say Once.", "Once.")


def test_sent_again_by_hand_and_after_a_reload_it_still_stands_once(wide: Visitor) -> None:
    page = wide.open()
    turn(page, "/say One.")

    def lose(route) -> None:
        route.fetch()
        route.abort("connectionreset")

    page.route("**/api/turns", lose)
    say(page, "/say Two.")
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    page.unroute("**/api/turns")
    reloaded(page)
    expect(page.get_by_label("Message", exact=True)).to_have_value("/say Two.")
    shows(page, "/say One.", "One.", "/say Two.", "Two.")
    with page.expect_response("**/api/turns"):
        page.locator("#p-send").click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    expect(page.locator(".said")).to_have_count(2)
    shows(page, "/say One.", "One.", "/say Two.", "Two.")


def test_each_answer_says_who_wrote_it_and_how(visitor: Visitor) -> None:
    page = visitor.open()
    turn(page, "/say One.")
    who = answers(page).last.locator(".who")
    expect(who).to_have_text(re.compile("127.0.0.1"))
    who.click()
    expect(who).to_have_attribute("aria-expanded", "true")
    expect(answers(page).last.locator(".made")).to_contain_text("Temperature")
    expect(answers(page).last.locator(".made")).to_contain_text("Revision")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    who.click()
    expect(answers(page).last.locator(".made")).to_have_count(0)


# A long conversation


def test_a_long_conversation_opens_at_its_end_says_from_where_the_model_reads_and_shows_earlier_messages_in_place(
    visitor: Visitor, app: AppProcess
) -> None:
    page = visitor.open()
    page.evaluate(
        """async () => {
            const headers = {"X-Parley": "1", "Content-Type": "application/json"};
            const send = async (text, conversation) => {
                const made = await (await fetch("/api/turns", {method: "POST", headers, body: JSON.stringify({text, conversation})})).json();
                await (await fetch(`/api/answers/${made.answer.id}/live`)).text();
                return made.conversation.id;
            };
            let id = null;
            for (let n = 0; n < 60; n++) id = await send(`/say Answer ${n}: ${"some words ".repeat(30)}`, id);
            location.hash = `c=${id}`;
        }"""
    )
    expect(page.locator(".turn")).to_have_count(40)
    expect(answers(page).last).to_be_in_viewport()
    expect(page.locator(".reads-from")).to_have_count(0)
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator(".turn")).to_have_count(80)
    line = page.locator(".reads-from")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("The model reads from here; what stands above did not fit.")
    assert line.evaluate("e => e.nextElementSibling.classList.contains('prompt')"), "a turn is read whole"
    top = page.locator(".turn").first
    top.scroll_into_view_if_needed()
    before = top.bounding_box()["y"]
    page.locator("#p-earlier").evaluate("e => e.click()")
    expect(page.locator(".turn")).to_have_count(120)
    moved = page.locator(".turn").nth(40).bounding_box()["y"]
    assert abs(moved - before) < 3, "what was being read stays where it is"
    turn(page, "/say And on.")
    expect(page.locator(".turn")).to_have_count(41)
    expect(answers(page).last).to_be_in_viewport()


# Temporary chats


def test_a_temporary_chat_says_so_is_in_no_list_and_is_gone_when_it_is_closed(visitor: Visitor) -> None:
    page = visitor.open()
    asked: list[tuple[str, str]] = []
    page.on("request", lambda request: asked.append((request.method, request.url.removeprefix(visitor.url))))
    page.get_by_role("button", name="Temporary chat").click()
    expect(page.locator("#p-readers-say")).to_have_text("Temporary: not stored anywhere, gone when you close it.")
    turn(page, "/say Between us.")
    before = cut_off(page)
    page.get_by_role("button", name="Continue").click()
    expect(answers(page).last.locator(".md")).to_have_text("One two three four five six seven eight.")
    answered(page)
    assert answers(page).last.locator(".md").inner_text().startswith(before.rstrip())
    edit(page, page.locator(".prompt").first, "/say Edited.")
    page.locator(".prompt").first.get_by_role("button", name="Previous version").click()
    expect(page.locator(".said")).to_have_count(2)
    expect(page.locator("#p-title")).to_have_text("Temporary chat")
    expect(page.locator("#p-conversations")).to_contain_text("will be listed here")
    expect(page.get_by_role("button", name="Good answer")).to_have_count(0)
    assert "#c=" not in page.url
    assert not [path for method, path in asked if method != "GET" and not path.startswith("/api/temporary/")]
    stored = page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "say" not in stored
    ids = [path.split("/")[4] for _, path in asked if path.startswith("/api/temporary/answers/")]
    page.reload()
    ready(page)
    expect(page.locator("#p-start")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator("#p-readers-say")).to_have_text("Only you can read this conversation.")
    gone = page.evaluate("id => fetch(`/api/temporary/answers/${id}/live`).then(a => a.status)", ids[0])
    assert gone == 404


def test_leaving_a_temporary_chat_for_another_closes_it(wide: Visitor) -> None:
    page = wide.open()
    turn(page, "/say Kept.")
    page.get_by_role("button", name="New chat").first.click()
    page.get_by_role("button", name="Temporary chat").click()
    turn(page, "/say Brief.")
    with page.expect_request(lambda request: request.method == "DELETE" and "/api/temporary/" in request.url):
        page.locator("#p-conversations a").first.click()
    expect(answers(page).locator(".md")).to_have_text("Kept.")
    expect(page.get_by_role("button", name="Temporary chat")).to_be_hidden()
    turn(page, "/say Kept too.")
    reloaded(page)
    shows(page, "/say Kept.", "Kept.", "/say Kept too.", "Kept too.")
