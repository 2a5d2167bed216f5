"""A copy without sign-in: the Privacy page says so, what follows, and what its operator has to set, and offers no link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from privacy.policy.words import LANGUAGES, words
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.sharing_stage import SharingStage, sharing_stage


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module", params=["sharing is set up", "nothing is"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharingStage]:
    more = {} if request.param == "sharing is set up" else {"SHARE_NAMESPACE": "", "STORE_DATASET": "", "HF_TOKEN": ""}
    with sharing_stage(tmp_path_factory.mktemp("stage"), OAUTH_CLIENT_ID="", **more) as stage:
        with stage.visitor(None) as nobody:
            nobody.wait_for(lambda: nobody.get("state")["known"])
        yield stage


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_that_there_is_none_and_who_can_change_that(
    browser: Browser, stage: SharingStage, language: str, viewport: dict[str, int]
):
    say = words(language)
    page = browser.new_page(viewport=viewport)
    page.goto(f"{stage.url}/privacy?lang={language}")
    page.wait_for_selector("html[data-privacy=ready]")
    expect(page.locator("#reason")).to_contain_text(say("no_sign_in"))
    for variable in ("hf_oauth: true", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"):
        expect(page.locator("#reason")).to_contain_text(variable)
    assert (say("not_set_up") in page.locator("#reason").inner_text()) != bool(stage.environ["SHARE_NAMESPACE"])
    assert page.locator("a[href^='/login']").count() == 0
    assert say("sign_in_to_share") not in page.locator("body").inner_text()
    for switch in page.get_by_role("switch").all():
        expect(switch).to_be_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_where_there_is_one_the_link_leads_back_to_what_was_looked_at(browser: Browser, tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage:
        with stage.visitor(None) as nobody:
            nobody.wait_for(lambda: nobody.get("state")["known"])
        page = browser.new_page()
        page.goto(f"{stage.url}/privacy?lang=fr&conversation=one")
        page.wait_for_selector("html[data-privacy=ready]")
        link = page.locator("#reason a")
        expect(link).to_have_attribute("href", "/login?next=%2Fprivacy%3Flang%3Dfr%26conversation%3Done")
        assert words("fr")("no_sign_in") not in page.locator("#reason").inner_text()
        page.context.close()
    with sharing_stage(tmp_path / "without", SHARE_NAMESPACE="") as stage, stage.visitor(None) as nobody:
        nobody.wait_for(lambda: nobody.get("state")["known"])
        found = nobody.get("state")
        assert (found["reason"], found["sign_in_url"]) == (words("en")("not_set_up"), None)
