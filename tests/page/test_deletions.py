"""What was deleted stands on the Privacy page, without a word of it: when it left here, and then the backup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from privacy.policy.words import LANGUAGES, words
from tests.support.app_process import AppProcess
from tests.support.page import ready, say

WORD = "qxzheron"


@pytest.fixture
def app(real_engine_url: str, tmp_path: Path) -> Iterator[AppProcess]:
    """One that saves and purges every second."""
    with AppProcess(tmp_path / "data", ENGINE_URL=real_engine_url, SYNC_SECONDS="1") as app:
        yield app


def test_a_deletion_is_listed_with_its_time_and_then_with_that_of_the_backup(browser: Browser, app: AppProcess) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(app.url)
    ready(page)
    say(page, f"Remember the {WORD}")
    expect(page.locator("#p-conversations")).to_contain_text(WORD)
    [found] = page.evaluate("fetch('/api/conversations').then((answer) => answer.json())")["items"]
    page.goto(f"{app.url}/privacy")
    expect(page.locator("#deletions")).to_be_hidden()
    page.evaluate(f"fetch('/api/conversations/{found['id']}', {{method: 'DELETE', headers: {{'X-Parley': '1'}}}})")
    page.reload()
    listed = page.locator("#deletions li")
    expect(listed).to_have_text(
        re.compile(
            r"^A conversation, deleted here \d\d:\d\d( [AP]M)?, being deleted from the backup and its history\.$"
        )
    )
    expect(listed).to_have_text(
        re.compile(r"^A conversation, deleted here [^,]+, deleted from the backup [^,]+\.$"), timeout=200_000
    )
    assert WORD not in page.content()
    context.close()


FRAGILE = {"purged_at": None, "survives": False}
LEAVING = {"purged_at": None, "survives": True}
GONE = {"purged_at": 1_760_000_100.0, "survives": True}
CLOCK = r"[^,;()]+"
SAID = [
    ("en", 1, FRAGILE, "A conversation, deleted here {}; no other copy knows of that yet, so it would come back if this server were lost now."),
    ("en", 2, FRAGILE, "2 conversations, deleted here {}; no other copy knows of that yet, so they would come back if this server were lost now."),
    ("en", 2, LEAVING, "2 conversations, deleted here {}, being deleted from the backup and its history."),
    ("en", 2, GONE, "2 conversations, deleted here {}, deleted from the backup {}."),
    ("fr", 1, FRAGILE, "Une conversation, supprimée ici ({}) ; aucune autre copie ne le sait encore : elle reviendrait si ce serveur était perdu maintenant."),
    ("fr", 2, LEAVING, "2 conversations, supprimées ici ({}), en cours de suppression dans la sauvegarde et son historique."),
    ("fr", 1, GONE, "Une conversation, supprimée ici ({}), supprimée de la sauvegarde ({})."),
    ("pl", 1, GONE, "Rozmowa usunięta tutaj ({}), usunięta z kopii zapasowej ({})."),
    ("pl", 3, FRAGILE, "3 rozmowy usunięte tutaj ({}); żadna inna kopia jeszcze o tym nie wie, więc wróciłyby, gdyby ten serwer teraz przepadł."),
    ("pl", 5, LEAVING, "5 rozmów usuniętych tutaj ({}), usuwanych z kopii zapasowej i jej historii."),
    ("pl", 12, GONE, "12 rozmów usuniętych tutaj ({}), usuniętych z kopii zapasowej ({})."),
    ("pl", 22, LEAVING, "22 rozmowy usunięte tutaj ({}), usuwane z kopii zapasowej i jej historii."),
]  # fmt: skip


@contextmanager
def privacy_page(
    browser: Browser, url: str, language: str, answers: Mapping[str, Callable[[Route], Any]]
) -> Iterator[Page]:
    """In that language; what these paths answer is as given."""
    context = browser.new_context()
    page = context.new_page()
    for path, answer in answers.items():
        page.route(re.compile(rf"{path}(\?|$)"), answer)
    page.goto(f"{url}/privacy?lang={language}")
    expect(page.locator("html")).to_have_attribute("data-privacy", "ready")
    yield page
    context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_deletions_are_told_in_the_pages_language(browser: Browser, real_app: AppProcess, language: str) -> None:
    said = [(count, state, text) for spoken, count, state, text in SAID if spoken == language]
    items = [{"conversations": count, "deleted_at": 1_760_000_000.0, **state} for count, state, _ in said]
    answers = {"/api/deletions": lambda route: route.fulfill(json={"items": items})}
    with privacy_page(browser, real_app.url, language, answers) as page:
        lines = [re.compile("^" + re.escape(text).replace(r"\{\}", CLOCK) + "$") for _, _, text in said]
        expect(page.locator("#deletions li")).to_have_text(lines)
        label = {"en": "Deleted lately", "fr": "Supprimées récemment", "pl": "Ostatnio usunięte"}[language]
        expect(page.get_by_role("list", name=label)).to_be_visible()


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_far_everything_is_kept_is_told_in_the_pages_language(
    browser: Browser, real_app: AppProcess, language: str
) -> None:
    say, saving = words(language), {}

    def changed(route: Route) -> None:
        route.fulfill(body=json.dumps({**route.fetch().json(), "saving": saving}), content_type="application/json")

    def told(page: Page, is_so: Mapping[str, Any], sentence: str) -> None:
        saving.clear()
        saving.update(is_so)
        page.reload()
        expect(page.locator("#saving")).to_have_text(sentence)

    saving |= {"state": "saved", "outlives": True}
    with privacy_page(browser, real_app.url, language, {"/api/privacy/state": changed}) as page:
        for state in ("saved", "safe", "kept here"):
            told(page, {"state": state, "outlives": True}, say(f"saving_{state.replace(' ', '_')}"))
        told(page, {"state": "saved", "outlives": False}, say("saving_folder"))
        for kind in ("conflict", "doubtful", "unreachable", "quota", "denied", "own", "file"):
            wrong = {"outlives": True, "problem": "In English.", "kind": kind}
            why = say(f"saving_why_{kind}")
            told(page, {"state": "kept here", "where": "dataset", **wrong}, f"{say('saving_problem')} {why}")
            for state in ("saved", "kept here"):
                far = say("saving_" + state.replace(" ", "_"))
                said = f"{far} {say('saving_slower')} {why}"
                told(page, {"state": state, "where": "bucket", **wrong}, said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_deleting_all_says_is_in_the_pages_language(browser: Browser, real_app: AppProcess, language: str) -> None:
    """Also where it cannot be done: the server's own sentences are English."""
    refusal = {"error": {"code": "not_restored", "message": "In English."}}
    deleted = {"deleted": 5, "undo": {"id": "x" * 8, "seconds": 600}}
    late = {"error": {"code": "not_found", "message": "In English."}}
    answers = [lambda route: route.fulfill(status=503, json=refusal), lambda route: route.fulfill(json=deleted)]

    def removed(route: Route) -> None:
        if route.request.method == "DELETE":
            answers.pop(0)(route)
        else:
            route.continue_()

    paths = {"/api/conversations": removed, "/undo": lambda route: route.fulfill(status=404, json=late)}
    say = words(language)
    with privacy_page(browser, real_app.url, language, paths) as page:
        said = page.locator("#deleted")
        page.get_by_role("button", name=say("delete_all")).click()
        sure = page.get_by_role("button", name=say("delete_sure"))
        sure.click()
        refused = {"en": "Not all of your conversations", "fr": "n'ont pas encore toutes", "pl": "Nie wszystkie Twoje"}
        expect(said).to_contain_text(refused[language])
        sure.click()
        expect(said).to_contain_text(say("deleted", 5))
        page.locator("#undo").click()
        gone = {"en": "It is too late", "fr": "C'est trop tard", "pl": "Za późno"}
        expect(said).to_contain_text(gone[language])


def test_who_takes_all_back_before_the_page_has_drawn_it_can_delete_all_again(
    browser: Browser, real_app: AppProcess
) -> None:
    """On a slow line the page still asks what is true when Undo is clicked."""
    held: list[Route] = []
    slow = [False]

    def state(route: Route) -> None:
        held.append(route) if slow[0] else route.continue_()

    with privacy_page(browser, real_app.url, "en", {"/api/privacy/state": state}) as page:
        send = "fetch('/api/turns', {method: 'POST', body: '{\"text\": \"/say hello\"}', headers: HEADERS})"
        headers = "{'X-Parley': '1', 'Content-Type': 'application/json'}"
        assert page.evaluate(f"{send.replace('HEADERS', headers)}.then((answer) => answer.status)") == 200
        button = page.get_by_role("button", name="Delete all conversations")
        button.click()
        slow[0] = True
        page.get_by_role("button", name="Yes, delete all of them").click()
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#deleted")).to_have_text("They are back.")
        slow[0] = False
        with page.expect_response(re.compile("/api/privacy/shared")):
            for route in held:
                route.continue_()
        page.evaluate("new Promise((resolve) => setTimeout(resolve))")
        expect(button).to_be_enabled()
        expect(button).to_be_visible()
