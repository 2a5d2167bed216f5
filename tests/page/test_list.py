"""The list of conversations, and a long conversation."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import DESKTOP, PHONE
from tests.support.fake_backend import FakeBackend
from tests.support.page import Visitor, answers, no_sideways_scroll, ready, say

DAY = 86400


def lists(page: Page, *titles: str) -> None:
    """Wait until the list has these and no others."""
    expect(page.locator("#p-conversations li a")).to_have_text(list(titles))


def show_list(page: Page) -> None:
    """On a phone the list is behind a button."""
    if page.viewport_size["width"] < 800:
        page.get_by_role("button", name="Conversations", exact=True).click()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def screen(request: pytest.FixtureRequest) -> dict[str, int]:
    return request.param


def test_conversations_are_grouped_by_date_and_opened(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.now = backend.now // DAY * DAY + DAY / 2  # noon: nothing is of yesterday because it has become midnight
    backend.conversation("Fresh", turns=[("Hi", "Hello **you**.")])
    backend.conversation("Of yesterday", age=DAY)
    backend.conversation("Some days ago", age=4 * DAY)
    backend.conversation("Weeks ago", age=20 * DAY)
    backend.conversation("Old", age=200 * DAY, turns=[("Hi", "Long ago.")])
    kept = backend.conversation("Important", age=400 * DAY)
    backend.conversations[kept]["pinned"] = True
    visitor = visit(timezone_id="UTC")
    page = visitor.blank()
    page.clock.set_fixed_time(backend.now)
    page.goto(visitor.url)
    ready(page)
    month = re.compile(r"^\w+ \d{4}$")
    headings = ["Pinned", "Today", "Yesterday", "Previous 7 days", "Previous 30 days", month]
    expect(page.locator("#p-conversations h2")).to_have_text(headings)
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


def test_a_title_that_the_model_writes_appears_by_itself(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    id = backend.conversation("First words of it", turns=[("Hi", "Hello.")])
    backend.titling.add(id)
    page = visit().open(f"/#c={id}")
    expect(page.locator("#p-title")).to_have_text("First words of it")
    backend.conversations[id]["title"] = "Llamas"
    backend.titling.clear()
    expect(page.get_by_role("link", name="Llamas")).to_be_visible()
    expect(page).to_have_title("Llamas · Parley")


def test_a_conversation_is_pinned_and_archived_and_comes_back(
    visit: Callable[..., Visitor], backend: FakeBackend, screen: dict[str, int]
) -> None:
    backend.conversation("Newer")
    id = backend.conversation("Older", age=3 * DAY)
    page = visit(viewport=screen).open()
    show_list(page)
    page.get_by_role("link", name="Older").hover()
    page.get_by_role("button", name="More: Older").click()
    page.get_by_role("menuitem", name="Pin").click()
    expect(page.locator("#p-conversations h2").first).to_have_text("Pinned")
    lists(page, "Older", "Newer")
    assert backend.conversations[id]["pinned"]
    page.get_by_role("button", name="More: Older").click()
    page.get_by_role("menuitem", name="Archive").click()
    expect(page.locator("#p-toast")).to_contain_text("1 conversation archived.")
    lists(page, "Newer")
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator("#p-archive-head")).to_be_visible()
    expect(page.get_by_role("link", name="Older")).to_be_visible()
    assert no_sideways_scroll(page)
    page.get_by_role("link", name="Older").hover()
    page.get_by_role("button", name="More: Older").click()
    page.get_by_role("menuitem", name="Unarchive").click()
    page.get_by_role("button", name="Back to the list").click()
    expect(page.get_by_role("link", name="Older")).to_be_visible()


def test_the_menu_of_a_row_is_worked_with_the_keyboard(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.conversation("Talk")
    page = visit().open()
    page.get_by_role("button", name="More: Talk").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Pin")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Archive")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#p-row-menu")).to_be_hidden()
    expect(page.get_by_role("button", name="More: Talk")).to_be_focused()


def test_a_list_in_which_nothing_changed_is_not_drawn_anew(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    """Else the keyboard would lose its place each time that the page looks for what was said elsewhere."""
    backend.me |= {"signed_in": True, "name": "ada"}
    backend.conversation("Talk")
    visitor = visit()
    page = visitor.blank()
    page.clock.install()
    page.goto(visitor.url)
    ready(page)
    page.get_by_role("button", name="More: Talk").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Pin")).to_be_focused()
    with page.expect_response("**/api/conversations"):
        page.clock.fast_forward(20_000)
    backend.conversation("Said on the phone")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="More: Talk")).to_be_focused()
    page.clock.fast_forward(20_000)
    expect(page.get_by_role("link", name="Said on the phone")).to_be_visible()
    expect(page.get_by_role("button", name="More: Talk")).to_be_focused()


def test_a_deleted_conversation_is_left_and_can_be_brought_back(
    visit: Callable[..., Visitor], backend: FakeBackend, screen: dict[str, int]
) -> None:
    id = backend.conversation("Secret", turns=[("Hi", "Hello.")])
    backend.conversation("Other", age=60)
    page = visit(viewport=screen).open(f"/#c={id}")
    show_list(page)
    page.get_by_role("link", name="Secret").hover()
    page.get_by_role("button", name="Delete: Secret").click()
    expect(page.locator(".turn")).to_have_count(0)
    lists(page, "Other")
    expect(page.locator("#p-toast")).to_contain_text("1 conversation deleted.")
    assert id not in backend.conversations
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="Secret")).to_be_visible()
    expect(answers(page).locator(".md")).to_have_text("Hello.")
    expect(page.locator("#p-toast")).to_be_hidden()


def test_the_way_back_goes_when_its_time_is_over(visit: Callable[..., Visitor], backend: FakeBackend) -> None:
    backend.conversation("Secret")
    page = visit().open()
    page.clock.install()
    page.get_by_role("link", name="Secret").hover()
    page.get_by_role("button", name="Delete: Secret").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.clock.fast_forward(10_000)
    expect(page.locator("#p-toast")).to_be_hidden()


def test_several_are_selected_deleted_and_brought_back(
    visit: Callable[..., Visitor], backend: FakeBackend, screen: dict[str, int]
) -> None:
    for number in range(5):
        backend.conversation(f"Talk {number}", age=60 * number)
    page = visit(viewport=screen).open()
    show_list(page)
    page.get_by_role("button", name="Select", exact=True).click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    page.get_by_label("Talk 1").check()
    page.get_by_label("Talk 3").check()
    expect(page.locator("#p-picked-count")).to_have_text("2 selected")
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#p-toast")).to_contain_text("2 conversations deleted.")
    expect(page.locator("#p-picked")).to_be_hidden()
    lists(page, "Talk 0", "Talk 2", "Talk 4")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#p-conversations li")).to_have_count(5)
    page.get_by_role("button", name="Select", exact=True).click()
    page.get_by_role("button", name="All shown").click()
    expect(page.locator("#p-picked-count")).to_have_text("5 selected")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#p-picked")).to_be_hidden()


def test_all_that_is_shown_is_not_all_there_is_and_the_page_says_so(
    visit: Callable[..., Visitor], backend: FakeBackend, screen: dict[str, int]
) -> None:
    for number in range(35):
        backend.conversation(f"Talk {number}", age=60 * number)
    page = visit(viewport=screen).open()
    show_list(page)
    page.get_by_role("button", name="Select", exact=True).click()
    page.get_by_role("button", name="All shown").click()
    count = page.locator("#p-picked-count")
    expect(count).to_have_text("30 selected; older ones are not shown, and not selected")
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Show older conversations").click()
    expect(page.locator("#p-conversations li")).to_have_count(35)
    expect(count).to_have_text("30 selected")
    page.get_by_role("button", name="All shown").click()
    expect(count).to_have_text("35 selected")


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


def test_a_turn_lets_go_of_what_stands_far_above_and_it_comes_back_on_demand(
    visit: Callable[..., Visitor], backend: FakeBackend
) -> None:
    """Each message on the page costs the browser while an answer is drawn."""
    id = backend.conversation("Long", turns=[(f"Prompt {n}", f"Answer {n}.") for n in range(60)])
    page = visit().open(f"/#c={id}")
    earlier = page.get_by_role("button", name="Show earlier messages")
    for count in (80, 120):
        earlier.click(force=True)
        expect(page.locator(".turn")).to_have_count(count)
    expect(earlier).to_be_hidden()
    say(page, "One more")
    expect(answers(page).last.locator(".md")).to_have_text("You said: One more")
    expect(page.locator(".turn")).to_have_count(41)
    expect(answers(page).last).to_be_in_viewport()
    earlier.click(force=True)
    expect(page.locator(".turn")).to_have_count(81)
    expect(page.get_by_text("Prompt 21", exact=True)).to_be_attached()
