"""What was deleted stands on the Privacy page, without a word of it: when it left here, and then the backup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

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
