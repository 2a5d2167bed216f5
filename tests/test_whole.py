"""The whole product as a visitor meets it: `python app.py` in an empty environment, its own vLLM, a real browser.

The tests are one story on one app, in this order; the engine starts with it and once more after it was killed.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect

from tests.support.app_process import AppProcess, wait_until
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.scripted_engine import ScriptedEngine

ENGINE_PATIENCE = 300.0  # seconds for vLLM to come up on a busy machine
CANARY = "marmalade-zeppelin"
LONG_QUESTION = "What is this Space, who reads what I write, and how do I delete it?"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole") / "data"


@pytest.fixture(scope="module")
def app(data_dir: Path) -> Iterator[AppProcess]:
    with AppProcess(data_dir, forked=False) as app:
        yield app


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser, app: AppProcess) -> Page:
    """One visitor, who stays for the whole story."""
    page = browser.new_context(viewport=DESKTOP).new_page()
    page.goto(app.url)
    page.wait_for_selector("html[data-parley=ready]")
    return page


def status(app: AppProcess) -> str:
    with urlopen(f"{app.url}/api/status", timeout=60) as answer:
        return json.load(answer)["stage"]


def processes_of(app: AppProcess, marker: str) -> dict[int, str]:
    """The processes whose command line names this app's own runtime folder, or who are below one that does: their
    command lines by process id."""
    parents, found, commands = {}, set(), {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = parent
        commands[int(folder.name)] = command
        if marker in command and int(folder.name) != app.process.pid:
            found.add(int(folder.name))
    grew = True
    while grew:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        found |= below
        grew = bool(below)
    return {pid: commands[pid] for pid in found}


def send_to_engine(app: AppProcess, data_dir: Path, what: signal.Signals) -> bool:
    """Send a signal to every process below the guard; False where there was none."""
    engine = [pid for pid, command in processes_of(app, str(data_dir / "run")).items() if "guard.py" not in command]
    for pid in engine:
        os.kill(pid, what)
    return bool(engine)


def set_temperature(page: Page, value: str) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").last.fill(value)
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")


def say(page: Page, text: str) -> None:
    """Send a message, and return once its answer has a place on the page."""
    answers = page.locator(".turn.answer").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".turn.answer")).to_have_count(answers + 1)


def last_answer(page: Page):
    return page.locator(".turn.answer").last


def settled(page: Page) -> str:
    """Wait until the last answer is over, and return its text."""
    expect(last_answer(page).locator(".foot")).to_be_visible(timeout=ENGINE_PATIENCE * 1000)
    return last_answer(page).locator(".md").inner_text()


def test_the_page_is_up_before_the_engine_and_a_message_sent_meanwhile_is_answered(app: AppProcess, page: Page):
    assert status(app) != "ready", "vLLM cannot be up yet: the page would have waited for it"
    say(page, f"Hello! My word is {CANARY}.")
    expect(last_answer(page).locator(".waiting")).to_contain_text(re.compile("start|load|warm", re.I))
    assert len(settled(page).split()) >= 4
    assert status(app) == "ready"


def test_the_starter_answers_readably(page: Page):
    set_temperature(page, "0")
    say(page, "What does temperature do?")
    assert re.search(r"random|predictable|adventur|likel|creativ", settled(page), re.I)


def test_gradio_client_gets_the_answer_whole_and_streamed(app: AppProcess):
    client = Client(app.url, verbose=False)
    try:
        whole = client.predict("What is this Space?", api_name="/chat")
        assert len(whole.split()) >= 4
        pieces = list(client.submit(LONG_QUESTION, seed=1, api_name="/chat"))
        assert pieces[-1].startswith(pieces[0])
    finally:
        client.close()


def test_an_engine_killed_in_mid_answer_is_said_to_be_gone_comes_back_and_answers_again(
    app: AppProcess, page: Page, data_dir: Path
):
    set_temperature(page, "2")
    again = last_answer(page).get_by_role("button", name="Try again")
    for number in range(30):
        say(page, f"Tell me everything, part {number}.")
        expect(last_answer(page).locator(".md")).to_contain_text(re.compile(r"\w"), timeout=ENGINE_PATIENCE * 1000)
        send_to_engine(app, data_dir, signal.SIGSTOP)
        if page.get_by_role("button", name="Stop").is_visible():
            send_to_engine(app, data_dir, signal.SIGKILL)
            settled(page)
            if again.is_visible():
                break
        # The starter had said all it had to say before it could be caught in the middle.
        send_to_engine(app, data_dir, signal.SIGCONT)
    expect(again).to_be_visible()
    # At once, whether its end has been noticed or not: the new answer waits for the next start.
    again.click()
    # The new answer takes the place of the broken one.
    expect(again).to_have_count(0)
    assert len(settled(page).split()) >= 1


def test_what_was_said_is_in_no_log(app: AppProcess):
    output = app.output()
    assert "Parley is on http" in output
    assert CANARY not in output


def test_after_kill_9_no_engine_is_left_and_the_conversation_is_there_again(
    app: AppProcess, browser: Browser, page: Page, data_dir: Path
):
    assert processes_of(app, str(data_dir / "run")), "the engine must have been running"
    app.kill()
    wait_until(lambda: not processes_of(app, str(data_dir / "run")))
    with ScriptedEngine() as engine, AppProcess(data_dir, port=app.port, ENGINE_URL=engine.url):
        page.reload()
        page.wait_for_selector("html[data-parley=ready]")
        expect(page.locator(".turn").first).to_contain_text(CANARY)

        phone = browser.new_context(viewport=PHONE, storage_state=page.context.storage_state()).new_page()
        phone.goto(app.url)
        phone.wait_for_selector("html[data-parley=ready]")
        phone.get_by_role("button", name=re.compile("menu|conversations", re.I)).first.click()
        expect(phone.get_by_role("link", name=re.compile(CANARY)).or_(phone.get_by_text(CANARY)).first).to_be_visible()
