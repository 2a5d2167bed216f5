"""The page over the real app and a scripted engine, where the browser's own rules decide: frames, cookies, ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect
from starlette.responses import HTMLResponse

from tests.support.app_process import AppProcess
from tests.support.page import answers, ready, say
from tests.support.serving import serving

NOTHING = "cannot be seen from another tab"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def framing(real_app: AppProcess) -> Iterator[str]:
    """The address of another site's page that shows Parley in a frame: `localhost` is another site than 127.0.0.1."""
    inside = f'<!doctype html><iframe src="{real_app.url}" style="position:fixed;inset:0;width:100%;height:100%">'
    with serving(HTMLResponse(inside)) as url:
        yield url.replace("127.0.0.1", "localhost")


def framed(page: Page, address: str) -> FrameLocator:
    page.goto(address)
    frame = page.frame_locator("iframe")
    frame.locator("html[data-parley=ready]").wait_for()
    return frame


def test_in_another_sites_frame_without_cookies_a_message_is_answered_and_the_tab_is_named(
    context: BrowserContext, framing: str
) -> None:
    page = context.new_page()
    frame = framed(page, framing)
    expect(frame.locator("#p-bars")).to_contain_text("This conversation ends with the tab")
    frame.get_by_label("Message", exact=True).fill("Hello from a frame")
    frame.get_by_label("Message", exact=True).press("Enter")
    expect(frame.locator(".turn.answer .md")).to_have_text("A real answer by script.")
    expect(frame.locator(".turn.answer .foot")).to_be_visible()
    expect(frame.locator("#p-conversations")).to_contain_text("Hello from a frame")
    assert context.cookies() == []


def test_without_cookies_the_other_pages_open_beside_the_conversation(context: BrowserContext, framing: str) -> None:
    page = context.new_page()
    frame = framed(page, framing)
    frame.get_by_label("Message", exact=True).fill("Do not lose me")
    frame.get_by_label("Message", exact=True).press("Enter")
    expect(frame.locator(".turn.answer .foot")).to_be_visible()
    for link in ("About", "Parley", "Privacy"):
        with context.expect_page() as opened:
            frame.get_by_role("link", name=link, exact=True).click()
        opened.value.wait_for_load_state()
        assert opened.value.evaluate("window.opener") is None
    privacy = opened.value
    expect(privacy.locator("#deleted")).to_contain_text(NOTHING)
    privacy.get_by_role("button", name="Delete all conversations").click()
    privacy.get_by_role("button", name="Yes, delete all").click()
    expect(privacy.get_by_role("button", name=re.compile("elete all"))).to_be_hidden()
    expect(privacy.locator("#deleted")).to_contain_text(NOTHING)
    expect(frame.locator(".said")).to_have_text("Do not lose me")
    frame.get_by_label("Message", exact=True).fill("Still here?")
    frame.get_by_label("Message", exact=True).press("Enter")
    expect(frame.locator(".turn.answer .md")).to_have_count(2)


def test_two_apps_on_one_host_keep_their_conversations_apart(
    context: BrowserContext, real_app: AppProcess, tmp_path: Path, real_engine_url: str
) -> None:
    """Cookies ignore ports."""
    page = context.new_page()
    with AppProcess(tmp_path / "second", ENGINE_URL=real_engine_url) as second:
        for app in (real_app, second):
            page.goto(app.url)
            ready(page)
            say(page, f"Hello to port {app.port}")
            expect(answers(page).locator(".foot")).to_be_visible()
        for app in (real_app, second):
            page.goto(app.url)
            ready(page)
            expect(page.locator("#p-conversations")).to_contain_text(f"Hello to port {app.port}")
    assert {cookie["name"] for cookie in context.cookies()} == {f"parley-{app.port}" for app in (real_app, second)}
