"""What is typed, pressed and clicked before the page is ready for it, twice, or while the server says nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.app_process import wait_until
from tests.support.fake_backend import FakeBackend
from tests.support.page import WIDTHS, Visitor, answered, answers, ready, say

Visit = Callable[..., Visitor]
SIZES = pytest.mark.parametrize("size", WIDTHS.values(), ids=WIDTHS)
MODELS = "**/api/models"


@contextmanager
def held(page: Page, what: str) -> Iterator[list[Route]]:
    """Within this context what the page asks for at such an address does not come; after it, it does."""
    routes: list[Route] = []
    holding = True

    def hold(route: Route) -> None:
        if holding:
            routes.append(route)
        else:
            route.continue_()

    page.route(what, hold)
    yield routes
    holding = False
    for route in routes:
        route.continue_()


@contextmanager
def coming_up(visitor: Visitor, what: str, address: str = "/") -> Iterator[Page]:
    """A page that what it asks for at such an address does not reach in this context; after it, it does."""
    page = visitor.blank()
    with held(page, what):
        page.goto(visitor.url + address, wait_until="commit")
        yield page


@contextmanager
def opening(page: Page, known: str) -> Iterator[None]:
    """Within this context the conversation is being opened; after it, it comes."""
    with held(page, f"**/api/conversations/{known}"):
        open_known(page)
        yield


def open_known(page: Page) -> None:
    page.get_by_role("link", name="Known", exact=True).click()


def looked_at_meanwhile(page: Page) -> None:
    """Send something, and look at another conversation before it has arrived."""
    say(page, "On its way")
    open_known(page)
    expect(page.locator(".said")).to_have_text(["Hi"])


def new_chat(page: Page) -> None:
    page.get_by_role("button", name="New chat").first.click()


def look_again(page: Page) -> None:
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def box(page: Page) -> Locator:
    return page.get_by_label("Message", exact=True)


def asked(page: Page, routes: list[Route], times: int = 1) -> None:
    """Wait until the page has asked for what is held so often."""
    # Playwright tells of requests while it is waited for something of the page.
    wait_until(lambda: page.evaluate("0") or len(routes) >= times)


def choose(page: Page, model: str) -> None:
    page.locator("#p-model").click()
    page.get_by_role("dialog", name="Models").get_by_role("button", name=model).click()


@pytest.fixture
def known(backend: FakeBackend) -> str:
    return backend.conversation("Known", turns=[("Hi", "Hello.")])


# Before the page is up


@SIZES
@pytest.mark.parametrize("address", ["/", "/#c={}"], ids=["new", "known"])
@pytest.mark.parametrize("what", ["**/main.js", MODELS])
def test_what_is_typed_before_the_page_is_up_stays(
    visit: Visit, known: str, what: str, address: str, size: dict
) -> None:
    with coming_up(visit(**size), what, address.format(known)) as page:
        box(page).press_sequentially("half a thought")
    ready(page)
    expect(box(page)).to_have_value("half a thought")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.reload()
    ready(page)
    expect(box(page)).to_have_value("half a thought")


def test_what_is_typed_before_the_page_is_up_follows_what_stood_there(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open()
    box(page).fill("a draft")
    with held(page, "**/main.js"):
        page.reload(wait_until="commit")
        expect(box(page)).to_have_value("")
        box(page).press_sequentially("more")
    ready(page)
    expect(box(page)).to_have_value("a draft\nmore")


def test_what_is_sent_before_the_page_knows_its_models_goes_as_it_would_later(
    visit: Visit, backend: FakeBackend
) -> None:
    with coming_up(visit(), MODELS) as page:
        box(page).press_sequentially("Hello there")
        expect(page.locator("#p-send")).to_be_enabled()
        page.keyboard.press("Enter")
        expect(page.locator("#p-send")).to_be_disabled()
        page.keyboard.press("Enter")
    ready(page)
    expect(answers(page).locator(".md")).to_have_text("You said: Hello there")
    expect(page.locator(".said")).to_have_text(["Hello there"])
    assert [(turn["text"], turn["model"]) for turn in backend.turns] == [("Hello there", "starter")]
    assert "#c=" in page.url


def test_the_models_that_were_asked_for_before_they_are_known_are_shown_when_they_are(visit: Visit) -> None:
    with coming_up(visit(), MODELS) as page:
        expect(page.locator("#p-send svg")).to_be_visible()
        page.locator("#p-model").click()
        expect(page.get_by_role("dialog", name="Models")).to_be_visible()
    expect(page.get_by_role("dialog", name="Models").get_by_role("button", name="Poet 7B")).to_be_visible()


def test_what_was_found_before_the_models_are_known_opens_with_its_own(visit: Visit, known: str) -> None:
    with coming_up(visit(), MODELS) as page:
        expect(page.locator("#p-send svg")).to_be_visible()
        page.evaluate(f"location.hash = 'c={known}'")
    expect(answers(page)).to_have_count(1)
    expect(page.locator("#p-model-name")).to_have_text("Parley Starter")


# While a conversation is opened


def test_what_is_sent_while_a_conversation_is_opened_goes_there(visit: Visit, known: str, backend: FakeBackend) -> None:
    page = visit().open()
    with opening(page, known):
        say(page, "And now?")
        expect(page.locator("#p-send")).to_be_disabled()
    expect(page.locator(".said")).to_have_text(["Hi", "And now?"])
    answered(page)
    assert [turn["conversation"] for turn in backend.turns] == [known]


def test_where_a_conversation_could_not_be_opened_sending_opens_it_first(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open()
    page.route(f"**/api/conversations/{known}", lambda route: route.abort())
    open_known(page)
    expect(page.locator("#p-problem")).to_contain_text("cannot be reached")
    say(page, "And now?")
    expect(page.locator("#p-send")).to_be_enabled()
    expect(box(page)).to_have_value("And now?")
    assert backend.turns == []
    page.unroute(f"**/api/conversations/{known}")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text(["Hi", "And now?"])
    answered(page)
    assert [turn["conversation"] for turn in backend.turns] == [known]


def test_what_was_typed_for_a_conversation_that_is_gone_stays_in_the_box(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open()
    with opening(page, known):
        say(page, "And now?")
        del backend.conversations[known]
    expect(page.locator("#p-problem")).to_contain_text("no such conversation")
    expect(box(page)).to_have_value("And now?")
    assert backend.turns == []


def test_a_new_chat_asked_for_while_a_conversation_is_opened_is_begun(visit: Visit, known: str) -> None:
    page = visit().open()
    with opening(page, known):
        new_chat(page)
        expect(page).to_have_url(re.compile("/$"))
        expect(page.locator("#p-start")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)


def test_a_model_chosen_while_a_conversation_is_opened_answers_next(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open()
    with opening(page, known):
        choose(page, "Poet 7B")
    expect(page.locator(".said")).to_have_text(["Hi"])
    say(page, "And now?")
    answered(page)
    assert [turn["model"] for turn in backend.turns] == ["poet"]


def test_a_model_chosen_for_the_next_turn_stays_when_another_machine_goes_on(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open(f"/#c={known}")
    choose(page, "Poet 7B")
    backend._message(known, "user", "From the phone")
    backend._message(known, "assistant", "Heard.", state="done", html="<p>Heard.</p>")
    backend.conversations[known]["revision"] += 1
    look_again(page)
    expect(answers(page).last.locator(".md")).to_have_text("Heard.")
    expect(page.locator("#p-model-name")).to_have_text("Poet 7B")
    say(page, "And now?")
    answered(page)
    assert [turn["model"] for turn in backend.turns] == ["poet"]


def test_a_comment_that_is_being_typed_stays_when_another_machine_goes_on(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open(f"/#c={known}")
    answers(page).get_by_role("button", name="Good answer").click()
    comment = page.locator(".feedback textarea")
    comment.press_sequentially("Because")
    backend.conversations[known]["revision"] += 1
    backend._message(known, "user", "From the phone")
    with page.expect_response(f"**/api/conversations/{known}"):
        look_again(page)
    comment.press_sequentially(" it is")
    expect(comment).to_have_value("Because it is")


# Twice, or too soon


def test_a_new_chat_begun_at_once_after_the_first_prompt_is_one(visit: Visit, backend: FakeBackend) -> None:
    page = visit().open()
    with held(page, "**/api/turns"):
        say(page, "On its way")
        new_chat(page)
        expect(page.locator(".turn")).to_have_count(0)
        box(page).press_sequentially("Something else")
    expect(page.get_by_role("link", name="On its way", exact=True)).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(answers(page).locator(".md")).to_have_text("You said: Something else")
    assert [turn["conversation"] for turn in backend.turns] == [None, None]


def test_a_new_chat_begun_while_a_prompt_is_on_its_way_has_an_empty_box(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open()
    with held(page, "**/api/turns"):
        looked_at_meanwhile(page)
        new_chat(page)
        expect(page.locator(".said")).to_have_count(0)
        expect(box(page)).to_have_value("")
        box(page).press_sequentially("Something else")
    expect(page.get_by_role("link", name="On its way", exact=True)).to_be_visible()
    expect(box(page)).to_have_value("Something else")
    page.reload()
    ready(page)
    expect(box(page)).to_have_value("Something else")


def test_a_prompt_that_failed_while_something_else_was_looked_at_is_in_its_box_again(
    visit: Visit, known: str, backend: FakeBackend
) -> None:
    page = visit().open()
    with held(page, "**/api/turns"):
        looked_at_meanwhile(page)
        backend.refuse = "Not now."
    expect(page.locator("#p-send")).to_be_disabled()
    new_chat(page)
    expect(box(page)).to_have_value("On its way")


def test_earlier_messages_that_are_asked_for_twice_stand_once(visit: Visit, backend: FakeBackend) -> None:
    id = backend.conversation("Long", turns=[(f"Prompt {n}", f"Answer {n}.") for n in range(30)])
    page = visit().open(f"/#c={id}")
    expect(page.locator(".turn")).to_have_count(40)
    with held(page, f"**/api/conversations/{id}?before=*"):
        page.locator("#p-earlier").dblclick()
    expect(page.locator(".turn")).to_have_count(60)
    expect(page.locator("#p-earlier")).to_be_hidden()


def test_trying_again_twice_at_once_tries_once(page: Page, backend: FakeBackend) -> None:
    say(page, "fail after a few words please")
    again = page.get_by_role("button", name="Try again")
    with held(page, "**/retry") as routes:
        again.dblclick()
        asked(page, routes)
    expect(answers(page).locator(".md")).to_have_text("You said: again")
    assert len(routes) == 1


def test_trying_again_here_does_not_wait_for_an_answer_to_that_elsewhere(page: Page, backend: FakeBackend) -> None:
    say(page, "fail here too please")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    new_chat(page)
    say(page, "fail after a few words please")
    with held(page, "**/retry") as routes:
        again.click()
        asked(page, routes)
        page.get_by_role("link", name="fail here too please").click()
        expect(page.locator(".said")).to_have_text(["fail here too please"])
        again.click()
        asked(page, routes, 2)
    expect(answers(page).locator(".md")).to_have_text("You said: again")


def test_a_conversation_deleted_with_two_clicks_is_deleted_once(visit: Visit, known: str) -> None:
    page = visit().open()
    page.get_by_role("link", name="Known", exact=True).hover()
    with held(page, f"**/api/conversations/{known}") as routes:
        page.get_by_role("button", name="Delete: Known").dblclick()
        asked(page, routes)
    expect(page.get_by_role("status").filter(has_text="1 conversation deleted.")).to_be_visible()
    expect(page.locator("#p-problem")).to_be_hidden()
    assert len(routes) == 1


# A server that says nothing


def test_the_list_says_that_it_is_empty_once_that_is_known(visit: Visit) -> None:
    with coming_up(visit(), "**/api/conversations") as page:
        expect(page.locator("#p-start")).to_be_visible()
        expect(page.locator("#p-conversations")).to_be_empty()
    expect(page.locator("#p-conversations")).to_have_text("Your conversations will be listed here.")


def test_a_prompt_that_is_not_answered_for_long_returns_to_the_box(page: Page) -> None:
    page.clock.install()
    with held(page, "**/api/turns") as routes:
        say(page, "Hello?")
        for times in (1, 2):  # it is sent once more by itself
            asked(page, routes, times)
            page.clock.run_for(31_000)
        expect(page.locator("#p-problem")).to_contain_text("does not answer")
        expect(box(page)).to_have_value("Hello?")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
