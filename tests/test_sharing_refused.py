"""Sharing that the Hub refuses, in the whole app: the chat goes on, page and log say what to do, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import Browser, expect

from privacy.policy.words import LANGUAGES, words
from tests.support.browser import PHONE, chromium
from tests.support.hub.accounts import Org
from tests.support.sharing_stage import Person, SharingStage, sharing_stage

WORD = "herons"


def shares(stage: SharingStage, ada: Person) -> None:
    ada.grant()
    ada.say(f"about {WORD}")


def told(stage: SharingStage, ada: Person, sentence: str) -> None:
    """The log says it, and the page that something is wrong; neither quotes anybody; the chat goes on."""
    ada.wait_for(lambda: sentence in stage.app.output())
    ada.wait_for(lambda: ada.get("state")["held_up"])  # once the turn that found it is over
    assert WORD not in stage.app.output()
    ada.say("and still it answers")
    assert "published" not in {row["state"] for row in ada.get("shared")["rows"]}


def arrives(ada: Person) -> None:
    ada.wait_for(lambda: "published" in {row["state"] for row in ada.get("shared")["rows"]})
    ada.wait_for(lambda: not ada.get("state")["held_up"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[SharingStage]:
    """The datasets' namespace is not the token's."""
    with sharing_stage(tmp_path / "stage", QUIET_HOURS="0", SHARE_NAMESPACE="crew") as stage:
        yield stage


def test_a_token_that_may_not_write_in_the_namespace_is_named_and_the_row_waits(elsewhere: SharingStage):
    with elsewhere.visitor("ada") as ada:
        shares(elsewhere, ada)
        told(elsewhere, ada, "HF_TOKEN")
        elsewhere.hub.add_user("host", [Org("crew")])
        arrives(ada)


@pytest.mark.parametrize("language", LANGUAGES)
def test_visitors_hear_that_sharing_is_held_up_and_what_that_means_for_them_and_no_more(
    browser: Browser, elsewhere: SharingStage, language: str
):
    """What is wrong is the operator's business. A row that was stopped on its way is not said to be read by anybody."""
    say = words(language)
    with elsewhere.visitor("ada") as ada:
        shares(elsewhere, ada)
        told(elsewhere, ada, "HF_TOKEN")
        # What was said last is on its way as well: of a row that is not, the page says less.
        ada.wait_for(lambda: [row["sent"] for row in ada.get("shared")["rows"]] == [True, True])
    page = browser.new_context(viewport=PHONE).new_page()
    held_up = page.locator("#held-up")
    for name, is_told in ((None, False), ("ada", True)):
        if name:
            elsewhere.hub.oauth.answer = name
            page.goto(f"{elsewhere.url}/login?next=/privacy")
        page.goto(f"{elsewhere.url}/privacy?lang={language}")
        page.wait_for_selector("html[data-privacy=ready]")
        if is_told:
            expect(held_up).to_have_text(say("sharing_problem"))
        else:
            expect(held_up).to_be_hidden()
        assert not re.search("HF_TOKEN|crew/parley-audit|Hub|quota", page.locator("body").inner_text())
    page.get_by_role("button", name=say("take_back_from", who="acme")).first.click()
    expect(page.locator("#taken")).to_have_text(f"{say('taken_back_row')} {say('no_recall')}")
    row = page.locator("#rows li[data-state=retract]").first
    expect(row).to_contain_text(say("row_stopped"))
    expect(row.get_by_role("button")).to_have_count(0)


def test_somebody_elses_public_datasets_under_the_names_are_left_as_they_are(elsewhere: SharingStage):
    api = HfApi(endpoint=elsewhere.hub.endpoint, token=elsewhere.hub.add_user("crew"))
    names = ("crew/parley-acme__small", "crew/parley-audit")
    with elsewhere.hub.guard.lifted():
        for name in names:
            api.create_repo(name, repo_type="dataset", private=False)
    before = {name: api.dataset_info(name).sha for name in names}
    with elsewhere.visitor("ada") as ada:
        shares(elsewhere, ada)
        told(elsewhere, ada, "crew/parley-")
    assert before == {name: api.dataset_info(name).sha for name in names}


def test_a_hub_that_fails_for_the_shared_datasets_alone_is_told_and_the_row_arrives_later(tmp_path: Path):
    with sharing_stage(tmp_path / "stage", QUIET_HOURS="0") as stage, stage.visitor("ada") as ada:
        fault = stage.hub.faults.add("parley-", status=503, times=None)
        shares(stage, ada)
        told(stage, ada, "has trouble of its own (503)")
        stage.hub.faults.remove(fault)
        arrives(ada)
