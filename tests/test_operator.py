"""The operator sees how far everything is kept, in counts and sentences; nobody else does; never a word of a conversation."""

from __future__ import annotations

import signal
import sqlite3
from html import escape
from pathlib import Path

import httpx
from huggingface_hub import HfApi
from playwright.sync_api import expect

from tests.support.app_process import AppProcess
from tests.support.browser import chromium
from tests.support.hub.accounts import Org
from tests.support.sharing_stage import Person, SharingStage, sharing_stage


def saved(person: Person) -> bool:
    return person.get("state")["saving"]["state"] == "saved"


def nothing_waits(person: Person) -> bool:
    found = person.client.get("/api/operator").json()
    return found["saved"]["backlog"] == found["safe"]["backlog"] == 0


def well(person: Person) -> str:
    """The operator's page, once nothing is wrong any more: while a busy machine catches up it says that too."""
    return person.wait_for(lambda: "All is well." in (page := person.client.get("/operator").text) and page)


def test_the_operator_sees_counts_and_what_to_do_and_nobody_else_anything(tmp_path: Path):
    with sharing_stage(tmp_path / "stage", OPERATORS="ada,crew", WAL_BUCKET="host/wal") as stage:
        with stage.visitor("ada") as ada, stage.visitor("bob") as bob, stage.visitor(None) as nobody:
            ada.say("a word about herons")
            ada.wait_for(lambda: saved(ada))
            found = ada.client.get("/api/operator").json()
            assert (found["where"], found["bucket"], found["outlives_the_machine"]) == ("host/kept", "host/wal", True)
            ada.wait_for(lambda: nothing_waits(ada))
            assert 0 < found["saved"]["commits_left"] <= 40
            page = well(ada)
            assert "heron" not in page + str(found)
            assert bob.client.get("/api/operator").status_code == 403
            assert "OPERATORS" in bob.client.get("/operator").json()["error"]["message"]
            assert nobody.client.get("/api/operator").status_code == 401
        with stage.visitor("eve", [Org("crew")]) as eve:
            assert eve.client.get("/operator").status_code == 200
        with stage.visitor("ada") as ada:
            ada.wait_for(lambda: nothing_waits(ada))  # that they signed in is saved too
            stage.hub.revoke(stage.environ["HF_TOKEN"])
            ada.say("another word about herons")
            told = ada.wait_for(lambda: (f := ada.client.get("/api/operator").json())["saved"]["problem"] and f)
            assert "does not accept HF_TOKEN" in told["saved"]["problem"]
            assert told["saved"]["failures"]["denied"] >= 1 and told["saved"]["backlog"] == 1
            assert "does not accept HF_TOKEN" in ada.client.get("/operator").text


def test_what_is_wrong_with_sharing_is_told_to_the_operator_and_the_rows_are_counted(tmp_path: Path):
    variables = {"OPERATORS": "ada", "QUIET_HOURS": "0"}
    with sharing_stage(tmp_path / "stage", **variables) as stage, stage.visitor("ada") as ada:
        ada.grant()
        ada.say("a word about herons")
        ada.wait_for(lambda: [row for row in ada.get("shared")["rows"] if row["state"] == "published"])
        host = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        with stage.hub.guard.lifted():
            host.update_repo_settings("host/parley-acme__small", repo_type="dataset", private=False)
        ada.say("another word about herons")

        def shared() -> dict:
            return ada.client.get("/api/operator").json()["shared"]

        problem = ada.wait_for(
            lambda: next((p for p in shared()["problems"] if "small is open to everyone" in p), None)
        )
        (dataset,) = shared()["datasets"]
        assert (dataset["id"], dataset["published"]) == ("host/parley-acme__small", 1)
        page = ada.client.get("/operator").text
        assert escape(problem) in page and "All is well." not in page and "heron" not in page


def test_who_was_named_for_an_author_and_asks_is_let_in_and_stands_on_the_page(tmp_path: Path):
    variables = {"OPERATORS": "ada", "QUIET_HOURS": "0", "SHARE_READERS": "acme:grace,lab:mallory"}
    with sharing_stage(tmp_path / "stage", **variables) as stage, stage.visitor("ada") as ada:
        ada.grant()
        chat = ada.say("a word about herons")
        ada.wait_for(lambda: [row for row in ada.get("shared")["rows"] if row["state"] == "published"])
        ada.wait_for(lambda: "nobody has access yet" in ada.get("chip", conversation=chat)["sentence"])
        small = "host/parley-acme__small"
        host = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        with stage.hub.guard.lifted():
            host.update_repo_settings(small, repo_type="dataset", private=False, gated="manual")
        for name in ("grace", "mallory"):
            headers = {"authorization": f"Bearer {stage.hub.add_user(name)}"}
            httpx.post(f"{stage.hub.endpoint}/datasets/{small}/ask-access", headers=headers).raise_for_status()
        ada.wait_for(
            lambda: ada.client.get("/api/operator").json()["access"] == {"problems": [], "readers": {small: ["grace"]}}
        )
        page = well(ada)
        assert "<td>grace</td>" in page and "mallory" not in page
        assert "nobody has access yet" not in ada.get("chip", conversation=chat)["sentence"]


def test_a_failed_audit_stops_new_rows_and_what_it_found_is_told_to_the_operator_alone(tmp_path: Path):
    """Somebody was let in whom nobody named: the audit after the next push finds it."""
    variables = {"OPERATORS": "olga", "QUIET_HOURS": "0"}
    with (
        sharing_stage(tmp_path / "stage", **variables) as stage,
        stage.visitor("ada") as ada,
        stage.visitor("olga") as olga,
    ):

        def rows(state: str) -> list[str]:
            return [row["row"] for row in ada.get("shared")["rows"] if row["state"] == state]

        ada.grant()
        ada.say("a word about herons")
        (first,) = ada.wait_for(lambda: rows("published"))
        host = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        stage.hub.add_user("mallory")
        with stage.hub.guard.lifted():
            host.update_repo_settings("host/parley-acme__small", repo_type="dataset", private=False, gated="manual")
            host.grant_access("host/parley-acme__small", "mallory", repo_type="dataset")
        ada.say("another word about herons")
        (problem,) = olga.wait_for(lambda: olga.client.get("/api/operator").json()["shared"]["problems"])
        assert "The audit of what is shared found" in problem and "mallory can read it" in problem
        state = ada.get("state")
        assert state["held_up"] and "mallory" not in str(state) and "audit" not in str(state)
        page = olga.client.get("/operator").text
        assert escape(problem) in page and "All is well." not in page and "heron" not in page
        shared = rows("published")
        ada.say("a third word about herons")
        assert ada.post("remove", {"row": first}).status_code == 200
        ada.wait_for(lambda: rows("retracted") == [first])
        assert [row for row in shared if row != first] == rows("published"), (
            "what is taken back leaves, nothing new does"
        )


def test_the_operator_reads_what_people_reported_and_decides_it_on_the_page(tmp_path: Path):
    """Where nobody has a shell on the machine, as on a Space."""
    variables = {"OPERATORS": "olga", "QUIET_HOURS": "0"}
    with (
        sharing_stage(tmp_path / "stage", **variables) as stage,
        stage.visitor("ada") as ada,
        stage.visitor("olga") as olga,
        chromium() as browser,
    ):

        def rows(state: str) -> list[str]:
            return [row["row"] for row in ada.get("shared")["rows"] if row["state"] == state]

        def report(row: str) -> None:
            said = {"about": row, "reason": "It names <b>me</b>.", "contact": "me@home.example"}
            assert ada.client.post("/api/takedown", json=said).json()["hidden"]

        ada.grant()
        ada.say("a word about herons")
        (first,) = ada.wait_for(lambda: rows("published"))
        report(first)
        ada.wait_for(lambda: rows("retracted") == [first])
        assert "heron" not in str(olga.client.get("/api/operator/decisions").json())
        page = browser.new_page()
        stage.hub.oauth.answer = "olga"
        page.goto(f"{stage.url}/login?next=/operator")
        page.get_by_role("link", name="To decide: 1").click()
        expect(page.locator("#reports li")).to_contain_text("It names <b>me</b>.")
        page.get_by_role("button", name="It may be shared").click()
        expect(page.locator("main")).to_contain_text("Nothing waits for you.")
        (second,) = ada.wait_for(lambda: rows("published"))
        report(second)
        ada.wait_for(lambda: sorted(rows("retracted")) == sorted([first, second]))
        page.reload()
        page.get_by_role("button", name="Never share it again").click()
        expect(page.locator("main")).to_contain_text("Nothing waits for you.")
        well(olga)
        assert ada.get("chip", conversation=ada.get("shared")["rows"][0]["conversation"])["choice"] == "private"
        gone = {"report": "0" * 32, "decision": "upheld"}
        assert olga.client.post("/api/operator/reports", json=gone).status_code == 404
        for body in ({"report": "0" * 32}, {**gone, "decision": "yes"}, {**gone, "more": 1}):
            assert olga.client.post("/api/operator/reports", json=body).status_code == 422


def test_without_being_named_nobody_is_the_operator(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage, stage.visitor("host") as host:
        assert host.client.get("/api/operator").status_code == 403


ENDED = (0, -signal.SIGTERM)  # by itself; the server hands the signal on once it is done


def where(person: Person, id: str) -> str:
    return person.client.get(f"/api/conversations/{id}").json()["conversation"]["where"]


def test_a_conversation_is_kept_here_then_safe_then_saved_and_survives_at_each(tmp_path: Path):
    """The first machine saves once an hour, and is lost before."""
    with sharing_stage(tmp_path / "stage", WAL_BUCKET="host/wal", SYNC_SECONDS="3600") as stage:
        with stage.visitor("ada") as ada:
            ada.wait_for(lambda: saved(ada))
            id = ada.say("remember the heron")
            ada.wait_for(lambda: where(ada, id) == "safe")
            assert ada.get("state")["saving"]["state"] != "saved"
        stage.app.kill()
        with AppProcess(tmp_path / "new disk", port=stage.app.port, **{**stage.environ, "SYNC_SECONDS": "5"}) as new:
            with SharingStage(new, stage.hub, stage.environ).visitor("ada") as ada:
                found = ada.wait_for(lambda: ada.client.get("/api/conversations").json()["items"])
                assert [item["id"] for item in found] == [id] and found[0]["where"] != "kept here"
                assert "heron" in ada.client.get(f"/api/conversations/{id}").text
                ada.wait_for(lambda: where(ada, id) == "saved")
                ada.wait_for(lambda: not bucket_objects(stage))


def bucket_objects(stage: SharingStage) -> list[str]:

    api = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
    return [item.path for item in api.list_bucket_tree("host/wal", recursive=True) if item.type == "file"]


def test_sigterm_puts_and_saves_what_is_left(tmp_path: Path):
    with sharing_stage(tmp_path / "stage", WAL_BUCKET="host/wal", SYNC_SECONDS="3600") as stage:
        with stage.visitor("ada") as ada:
            ada.wait_for(lambda: saved(ada))
            id = ada.say("remember the heron")
            gone = ada.say("forget the heron")
            # For ten seconds it could be undone. The disk may not be there that long.
            assert ada.client.delete(f"/api/conversations/{gone}").status_code == 200
        assert stage.app.terminate() in ENDED
        database = sqlite3.connect(tmp_path / "stage" / "data" / "parley.db")
        assert database.execute(
            "SELECT saved_revision >= revision FROM conversations WHERE id = ?", (id,)
        ).fetchone() == (1,)
        assert database.execute("SELECT conversation, saved FROM tombstones").fetchall() == [(gone, 1)]
        database.close()
        assert bucket_objects(stage) == []


def level(person: Person, id: str) -> str | None:
    """Where it is, once that is elsewhere too."""
    found = where(person, id)
    return None if found == "kept here" else found


def test_sigterm_ends_in_time_though_the_hub_hangs_and_loses_nothing_that_was_safe(tmp_path: Path):
    with sharing_stage(tmp_path / "stage", WAL_BUCKET="host/wal", SYNC_SECONDS="3600") as stage:
        with stage.visitor("ada") as ada:
            ada.wait_for(lambda: saved(ada))
            # A save that was under way may take one along.
            while (id := ada.say("remember the heron")) and ada.wait_for(lambda id=id: level(ada, id)) == "saved":
                pass
            stage.hub.faults.add("", delay=300.0, times=None)
            ada.say("kept here alone")
        # Long before the Hub's five minutes are over.
        assert stage.app.terminate(180.0) in ENDED
        assert "Traceback" not in stage.app.output()
        stage.hub.faults.clear()
        assert bucket_objects(stage)


def test_nobody_who_talks_waits_for_a_hub_that_hangs(tmp_path: Path):
    """Every answer of the Hub takes five minutes, from the start on; the page, a turn and a deletion do without."""
    with sharing_stage(tmp_path / "stage", WAL_BUCKET="host/wal") as stage, stage.visitor(None) as nobody:
        nobody.client.timeout = httpx.Timeout(60)
        stage.hub.faults.add("", delay=300.0, times=None)
        first = nobody.say("one")
        for number in range(5):
            nobody.say(f"more {number}", conversation=first)
        second = nobody.say("two")
        assert where(nobody, second) == "kept here"
        assert nobody.client.delete(f"/api/conversations/{first}").json()["deleted"] == 1
        assert [item["id"] for item in nobody.client.get("/api/conversations").json()["items"]] == [second]
        assert nobody.client.get("/privacy").status_code == 200
