"""How long conversations are kept, and the way back from deleting all of them, on the Privacy page of the real app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.test_search import Talker
from tests.support.app_process import AppProcess
from tests.support.browser import DESKTOP, PHONE
from tests.support.page import no_sideways_scroll


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visitor(request: pytest.FixtureRequest, browser: Browser, real_app: AppProcess) -> Iterator[Talker]:
    visitor = Talker(browser, real_app.url, viewport=request.param)
    yield visitor
    visitor.context.close()


def privacy_page(visitor: Talker) -> Page:
    page = visitor.blank()
    page.goto(f"{visitor.url}/privacy")
    return page


def test_a_visitor_chooses_for_how_many_days_and_takes_it_back(visitor: Talker) -> None:
    visitor.turn("/say hello")
    page = privacy_page(visitor)
    expect(page.locator("#keeping-says")).to_have_text("Your conversations stay until you delete them.")
    page.get_by_label("Delete mine").select_option(label="30 days after the last message")
    expect(page.locator("#keeping-told")).to_contain_text(
        "deleted at once and cannot be brought back. This page lists when it has left the backup too."
    )
    page.get_by_role("button", name="Yes, delete after 30 days").click()
    expect(page.locator("#keeping-says")).to_contain_text("deleted 30 days after their last message, as you chose")
    assert no_sideways_scroll(page)
    page.reload()
    expect(page.get_by_label("Delete mine")).to_have_value("30")
    page.get_by_label("Delete mine").select_option(label="when I delete them")
    expect(page.locator("#keeping-says")).to_have_text("Your conversations stay until you delete them.")
    assert visitor.thrown == []


def test_deleting_everything_can_be_undone_for_some_seconds(visitor: Talker) -> None:
    visitor.turn("/say one")
    visitor.turn("/say two")
    page = privacy_page(visitor)
    page.get_by_role("button", name="Delete all conversations").click()
    page.get_by_role("button", name="Yes, delete all of them").click()
    expect(page.locator("#deleted")).to_contain_text("2 conversations were deleted.")
    listed = f"{visitor.url}/api/conversations"
    assert visitor.context.request.get(listed).json()["items"] == []
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#deleted")).to_have_text("They are back.")
    assert len(visitor.context.request.get(listed).json()["items"]) == 2
    expect(page.get_by_role("button", name="Delete all conversations")).to_be_enabled()


SAID = {
    "en": (
        "Delete mine",
        "30 days after the last message",
        "Yes, delete after 30 days",
        "Your conversations are deleted 30 days after their last message, as you chose. "
        "Pinned and archived ones too; what was shared of them is taken back.",
    ),
    "fr": (
        "Supprimer les miennes",
        "30 jours après le dernier message",
        "Oui, supprimer après 30 jours",
        "Vos conversations sont supprimées 30 jours après leur dernier message, comme vous l'avez choisi. "
        "Celles qui sont épinglées ou archivées aussi ; ce qui en a été partagé est retiré.",
    ),
    "pl": (
        "Usuwaj moje",
        "30 dni po ostatniej wiadomości",
        "Tak, usuwaj 30 dni po ostatniej wiadomości",
        "Twoje rozmowy są usuwane 30 dni po ostatniej wiadomości, jak wybrano. "
        "Także przypięte i zarchiwizowane; to, co z nich udostępniono, jest wycofywane.",
    ),
}


@pytest.mark.parametrize("language", SAID)
def test_how_long_they_are_kept_is_told_in_the_pages_language(
    browser: Browser, real_app: AppProcess, language: str
) -> None:
    label, days, yes, says = SAID[language]
    visitor = Talker(browser, real_app.url)
    visitor.turn("/say hello")
    page = visitor.blank()
    page.goto(f"{visitor.url}/privacy?lang={language}")
    page.get_by_label(label).select_option(label=days)
    page.get_by_role("button", name=yes, exact=True).click()
    expect(page.locator("#keeping-says")).to_have_text(says)
    visitor.context.close()
