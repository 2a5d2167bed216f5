"""What everybody may do: read the texts in their language, take everything away, close the account, report a row; and that a
page which another site covers agrees to nothing."""

from __future__ import annotations

import gc
import http.server
import io
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from privacy.policy.words import LANGUAGES, words
from privacy.web.everything import Tape
from privacy.web.framed import LIFETIME, Unframed
from privacy.web.reports import PER_CALLER
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.sharing_stage import SharingStage, sharing_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharingStage]:
    folder = tmp_path_factory.mktemp("rights")
    with sharing_stage(folder, QUIET_HOURS="0", MINIMUM_AGE="16", CONTACT="privacy@host.example") as stage:
        yield stage


# Language


def test_a_page_speaks_the_browsers_language_until_it_is_switched_and_keeps_that(stage: SharingStage):
    with stage.visitor(None) as nobody:
        client = nobody.client
        for accepted, expected in (("pl-PL,pl;q=0.9", "pl"), ("fr", "fr"), ("de", "en")):
            page = client.get("/privacy", headers={"Accept-Language": accepted})
            assert f'<html lang="{expected}">' in page.text
            assert words(expected)("mine_heading") in page.text
        assert '<html lang="fr">' in client.get("/terms", params={"lang": "fr"}, headers={"Accept-Language": "pl"}).text
        for path in ("/privacy", "/terms", "/takedown"):
            assert '<html lang="fr">' in client.get(path, headers={"Accept-Language": "pl"}).text
        assert '<html lang="fr">' in client.get("/privacy", params={"lang": "xx"}).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_have_what_must_stand_there(stage: SharingStage, language: str):
    with stage.visitor(None) as nobody:
        privacy = nobody.client.get("/privacy", params={"lang": language}).text
        terms = nobody.client.get("/terms", params={"lang": language}).text
    for needed in ("huggingface.co/privacy", "privacy@host.example", "host/kept", "2026", "16"):
        assert needed in privacy
    for needed in ("cc-by-4.0", "16", "privacy@host.example", "/takedown"):
        assert needed in terms
    assert "{" not in re.sub(r"<script.*?</script>", "", privacy + terms, flags=re.DOTALL)
    assert "| --- |" not in privacy and "<table>" in privacy


def test_a_yes_is_kept_with_the_language_and_the_hash_of_what_was_read(stage: SharingStage):
    with stage.visitor("polka") as polka:
        state = polka.client.get("/api/privacy/state", params={"lang": "pl"}).json()
        text = next(found["policy"] for found in state["recipients"] if found["name"] == "acme")
        assert "Jeśli się zgodzisz" in text["html"] and "16 lat" in text["html"]
        said = {**polka.agreement(), "policy_hash": text["sha256"], "language": "pl"}
        refused = polka.client.post("/api/privacy/grant", params={"lang": "pl"}, json={**said, "language": "fr"})
        assert refused.status_code == 409 and refused.json()["error"]["message"] == words("pl")("text_changed")
        assert polka.post("grant", said).status_code == 200
        events = json.loads(zip_of(polka.client)["consent.json"])
    assert [(event["kind"], event["language"], event["text_hash"]) for event in events] == [
        ("grant", "pl", text["sha256"])
    ]


# Everything of one's own


def test_an_archive_that_is_broken_off_ends_quietly(monkeypatch: pytest.MonkeyPatch):
    """The server stopped meanwhile, so nobody closes it: the collector finds it and its tape at once."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    archive: Any = zipfile.ZipFile(Tape(), "w")
    archive.writestr("one.txt", b"one")
    archive.itself = archive
    del archive
    gc.collect()
    assert complaints == []


def zip_of(client: httpx.Client) -> dict[str, bytes]:
    answer = client.get("/api/privacy/everything.zip")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return {name: archive.read(name) for name in archive.namelist()}


def test_one_click_gives_all_of_ones_own_and_nothing_of_anybody_else(stage: SharingStage):
    with stage.visitor("zed") as zed, stage.visitor("yan") as yan:
        yan.say("a heron of another")
        zed.grant()
        zed.say("reach me at zed@example.org, heron one")
        zed.say("heron two", "lab/large")
        zed.wait_for(lambda: [row for row in zed.get("shared")["rows"] if row["state"] == "published"])
        found = zip_of(zed.client)
        shared = zed.get("shared")["rows"]
    assert b"heron of another" not in b"".join(found.values())
    conversations = [json.loads(content) for name, content in found.items() if name.startswith("conversations/")]
    assert sorted(talk["messages"][0]["content"] for talk in conversations) == [
        "heron two",
        "reach me at zed@example.org, heron one",
    ]
    assert json.loads(found["account.json"])["name"] == "zed"
    assert [event["kind"] for event in json.loads(found["consent.json"])] == ["grant"]
    (row,) = json.loads(found["shared.json"])
    assert row["row_id"] == shared[0]["row"] and row["content"]["messages"][0]["content"].startswith(
        "reach me at [EMAIL_1]"
    )
    assert all("heron" not in name for name in found) and found["README.txt"]


def test_who_has_nothing_gets_an_archive_that_says_so(stage: SharingStage):
    with stage.visitor(None) as nobody:
        nobody.wait_for(lambda: nobody.get("state")["whole"])
        found = zip_of(nobody.client)
    assert set(found) == {"README.txt", "consent.json", "shared.json"}
    assert json.loads(found["consent.json"]) == json.loads(found["shared.json"]) == []


# Closing


def test_closing_the_account_deletes_takes_back_and_says_what_cannot_be_recalled(stage: SharingStage):
    with stage.visitor("leaver") as leaver:
        leaver.grant()
        leaver.say("the heron leaves")
        key = leaver.client.post("/api/keys", json={"name": "k"}).json()["secret"]
        (row,) = leaver.wait_for(lambda: [row for row in leaver.get("shared")["rows"] if row["state"] == "published"])
        for body in (None, {}, {"close": False}, {"close": "true"}, {"close": 1}):
            assert leaver.post("close", body).status_code == 422
        said = leaver.post("close", {"close": True}).json()
        assert said["rows"] == 1 and "cannot be recalled" in said["sentence"]
        assert leaver.client.get("/api/me").json()["signed_in"] is False
        assert leaver.client.get("/api/conversations", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    with stage.visitor("leaver") as again:
        assert again.client.get("/api/conversations").json()["items"] == []
        assert again.get("shared")["rows"] == [] and again.state("acme") == "unset", (
            "whoever comes back is somebody new"
        )
        again.wait_for(lambda: row["row"] in removed_rows(stage))


def removed_rows(stage: SharingStage) -> list[str]:
    """The rows that the dataset's tombstones name."""
    address = f"{stage.hub.endpoint}/datasets/host/parley-acme__small/resolve/main/tombstones.parquet"
    answer = httpx.get(address, headers={"Authorization": f"Bearer {stage.environ['HF_TOKEN']}"}, follow_redirects=True)
    return pq.read_table(io.BytesIO(answer.content))["row_id"].to_pylist() if answer.status_code == 200 else []


# Letting it rest


def test_letting_it_rest_takes_one_click_and_going_on_a_page_that_nobody_covers(stage: SharingStage):
    with stage.visitor("rester") as rester, stage.visitor(None) as nobody:
        rester.grant()
        assert rester.get("state")["paused"] is False
        key = rester.client.post("/api/keys", json={"name": "k"}).json()["secret"]
        nobody.client.headers["Authorization"] = f"Bearer {key}"
        assert nobody.post("pause", {}).json() == {"paused": True}
        assert nobody.post("resume", {"unframed": rester.unframed()}).status_code == 403
        assert rester.get("state")["paused"] and rester.get("chip", model="acme/small")["sentence"] == words("en")(
            "chip_only_you"
        )
        for body in ({}, {"unframed": ""}, {"unframed": "9.9"}, {"unframed": True}, {"paused": False}):
            assert rester.post("resume", body).status_code in (403, 422)
        assert rester.get("state")["paused"]
        assert rester.post("resume", {"unframed": rester.unframed()}).json() == {"paused": False}
        assert "acme" in rester.get("chip", model="acme/small")["sentence"]


# Reports


def test_anybody_reports_a_row_without_an_account_and_it_is_hidden(stage: SharingStage):
    with stage.visitor("told") as told, stage.visitor(None) as nobody:
        told.grant()
        told.say("somebody else's secret")
        (row,) = told.wait_for(lambda: [row for row in told.get("shared")["rows"] if row["state"] == "published"])
        for body in (
            {"about": row["row"]},
            {"about": " ", "reason": "x", "contact": ""},
            {"about": "x", "reason": "", "contact": ""},
        ):
            assert nobody.client.post("/api/takedown", json=body).status_code == 422
        said = {"about": f"row {row['row']}", "reason": "It is mine.", "contact": ""}
        answer = nobody.client.post("/api/takedown", params={"lang": "fr"}, json=said).json()
        assert answer["hidden"] and answer["sentence"] == words("fr")("report_hidden")
        (row,) = told.wait_for(lambda: [row for row in told.get("shared")["rows"] if row["state"] == "retracted"])
        assert row["reported"] == "open"
        other = {**said, "about": "https://parley.test/s/abc"}
        answers = [nobody.client.post("/api/takedown", json=other) for _ in range(PER_CALLER)]
        assert [answer.status_code for answer in answers] == [200] * (PER_CALLER - 1) + [429]
        assert not answers[0].json()["hidden"]


# Framed


def test_the_token_of_an_unframed_page_is_ours_fresh_and_for_documents(stage: SharingStage):
    now = [1000.0]
    unframed = Unframed(lambda: now[0])
    token = unframed.token()
    assert unframed.holds(token) and not Unframed(lambda: now[0]).holds(token)
    for forged in (
        "",
        ".",
        "9" * 12,
        "9" * 12 + "." + token.partition(".")[2],
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        "ż.ż",
    ):
        assert not unframed.holds(forged)
    now[0] += LIFETIME + 1
    assert not unframed.holds(token)
    with stage.visitor(None) as nobody:
        fetched = nobody.client.get("/privacy/unframed", headers={"Sec-Fetch-Dest": "empty"})
        assert fetched.status_code == 403 and "data-token" not in fetched.text
        shown = nobody.client.get("/privacy/unframed", headers={"Sec-Fetch-Dest": "iframe"})
        assert any("frame-ancestors 'self'" in policy for policy in shown.headers.get_list("content-security-policy"))


@contextmanager
def another_site(frame: str) -> Iterator[str]:
    """A page of another origin that shows ours in a frame. The same host, so that cookies still come along."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<iframe src="{frame}" width="1000" height="700"></iframe>'.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def signed_in(browser: Browser, stage: SharingStage, name: str, **context: Any) -> Page:
    stage.hub.add_user(name)
    stage.hub.oauth.answer = name
    page = browser.new_context(**context).new_page()
    page.goto(f"{stage.url}/login?next=/privacy")
    page.wait_for_selector("html[data-privacy=ready]")
    return page


def test_inside_another_site_consent_is_withdrawn_and_not_given(browser: Browser, stage: SharingStage):
    page = signed_in(browser, stage, "framed", viewport=DESKTOP)
    with stage.visitor("framed") as framed:
        framed.grant("lab")
    with another_site(f"{stage.url}/privacy") as address:
        page.goto(address)
        inside = page.frame_locator("iframe")
        switch = inside.get_by_role("switch", name="acme")
        switch.click()
        expect(inside.locator("#agree-problem")).to_contain_text("shown inside another site")
        expect(inside.locator("#agree-yes")).to_be_disabled()
        expect(inside.get_by_label("I am 16 or older.")).to_be_disabled()
        inside.get_by_role("button", name="Not now").click()
        inside.get_by_role("switch", name="lab").click()
        expect(inside.get_by_role("switch", name="lab")).to_have_attribute("aria-checked", "false")
    with stage.visitor("framed") as framed:
        assert (framed.state("acme"), framed.state("lab")) == ("unset", "withdrawn")


# In three languages, on a desk and on a phone


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "viewport"), [("desk", DESKTOP), ("phone", PHONE)])
def test_the_way_from_no_to_yes_and_back_in_every_language(
    browser: Browser, stage: SharingStage, tmp_path: Path, language: str, name: str, viewport: dict[str, int]
):
    say = words(language)
    page = signed_in(browser, stage, f"walk-{language}-{name}", viewport=viewport, locale=language)
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    assert page.locator("html").get_attribute("lang") == language
    expect(page.locator("#summary")).to_have_text(say("only_you"))
    page.screenshot(path=tmp_path / f"privacy-{language}-{name}.png", full_page=True)
    switch = page.get_by_role("switch", name="acme")
    switch.click()
    expect(page.get_by_role("dialog")).to_contain_text(say("sensitive"))
    page.screenshot(path=tmp_path / f"dialog-{language}-{name}.png")
    page.get_by_label(say("affirm_age", 16)).check()
    page.get_by_label(say("affirm_sensitive")).check()
    page.screenshot(path=tmp_path / f"dialog-end-{language}-{name}.png")
    page.get_by_role("button", name=say("yes_share")).click()
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(page.locator("#summary")).to_contain_text("acme")
    assert page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth")
    page.get_by_role("button", name=say("pause")).click()
    expect(page.locator("#summary")).to_contain_text(say("paused"))
    page.get_by_role("button", name=say("go_on")).click()
    expect(page.locator("#taken")).to_have_text(say("gone_on"))
    switch.click()
    expect(page.locator("#taken")).to_have_text(say("taken_back_none"))
    for path in ("/terms", "/takedown"):
        page.goto(stage.url + path)
        page.screenshot(path=tmp_path / f"{path[1:]}-{language}-{name}.png", full_page=True)
        assert page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth")
    assert complaints == []


def test_a_report_in_the_browser(browser: Browser, stage: SharingStage):
    page = browser.new_context(locale="pl").new_page()
    page.goto(f"{stage.url}/takedown?row={'a' * 32}")
    expect(page.locator("#about")).to_have_value("a" * 32)
    page.get_by_role("button", name="Wyślij").click()
    expect(page.locator("#told")).to_be_empty()
    page.locator("#reason").fill("To o mnie.")
    page.get_by_role("button", name="Wyślij").click()
    expect(page.locator("#told")).to_have_text(re.compile("Dziękujemy|zbyt wiele"))
