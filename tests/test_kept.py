"""The app with a Hub: what the Hub does wrong stops no conversation, and what was kept and agreed outlives the machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from app import sharing_rules
from chat.models.catalog import Catalog
from chat.settings import Settings
from privacy.web.chip import ONLY_YOU
from tests.support.app_process import AppProcess, free_port
from tests.support.sharing_stage import MODELS, Person, SharingStage, sharing_stage


def saved(person: Person) -> bool:
    return person.get("state")["saving"]["state"] == "saved"


def test_a_new_machine_has_the_conversations_and_the_consent_again(tmp_path: Path):
    """Found by the account alone: the old machine's disk is gone."""
    with sharing_stage(tmp_path / "stage") as stage:
        with stage.visitor("ada") as ada:
            before = ada.say("before any yes")
            ada.grant("acme")
            id = ada.say("remember the heron")
            ada.wait_for(lambda: saved(ada))
        stage.app.kill()
        with AppProcess(tmp_path / "new disk", port=stage.app.port, **stage.environ) as new:
            with SharingStage(new, stage.hub, stage.environ).visitor("ada") as ada:
                both = [id, before]
                ada.wait_for(
                    lambda: [item["id"] for item in ada.client.get("/api/conversations").json()["items"]] == both
                )
                assert "heron" in ada.client.get(f"/api/conversations/{id}").text
                # Their conversations come first, then what everybody agreed to.
                ada.wait_for(lambda: ada.state("acme") == "granted")
                assert ada.get("chip", conversation=id)["who"] == ["acme"]
            with closing(sqlite3.connect(tmp_path / "new disk" / "parley.db")) as db:
                prompts = dict(db.execute("SELECT content, agreed FROM messages WHERE role = 'user'"))
                (yes,) = db.execute("SELECT id FROM consent_events").fetchone()
            # What was written before the yes is told from what came after it, on every machine.
            assert prompts == {"before any yes": "", "remember the heron": f"{yes},"}


def test_the_chat_goes_on_without_its_hub_and_the_page_says_what_is_wrong(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage, stage.visitor("ada") as ada:
        ada.wait_for(lambda: saved(ada))
        stage.hub.stop()
        id = ada.say("nobody is there")
        problem = ada.wait_for(lambda: "cannot be reached" in (told := ada.get("state")["saving"]["sentence"]) and told)
        assert problem.startswith("Kept here; not saved")
        assert ada.get("state")["saving"]["kind"] == "unreachable"
        assert "cannot be reached" in stage.app.output() and "nobody is there" not in stage.app.output()
        stage.hub.start()
        ada.wait_for(lambda: saved(ada))
        assert "nobody is there" in ada.client.get(f"/api/conversations/{id}").text


def test_who_has_everything_here_deletes_all_of_it_though_the_hub_is_away(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage:
        with stage.visitor("ada") as ada:
            ada.say("about herons")
            ada.wait_for(lambda: saved(ada))
            cookies = ada.client.cookies
        stage.app.kill()
        stage.hub.stop()
        with AppProcess(stage.app.data_dir, port=stage.app.port, **stage.environ) as app:
            ada.client = httpx.Client(base_url=app.url, headers={"X-Parley": "1"}, cookies=cookies)
            with ada.client:
                assert ada.client.get("/api/privacy/everything.zip").content[:2] == b"PK"
                assert ada.client.delete("/api/conversations").json()["deleted"] == 1
                assert ada.client.get("/api/conversations").json()["items"] == []


def test_on_a_space_everything_is_marked_as_its_own_and_a_duplicate_touches_none_of_it(tmp_path: Path):
    """The whole way, with each repository marked: kept, shared, audited, taken back. Then a duplicate with its variables."""
    on_space = {"SPACE_ID": "host/parley", "HOST": "127.0.0.1", "QUIET_HOURS": "0"}
    with sharing_stage(tmp_path / "stage", **on_space) as stage:
        api = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        with stage.visitor("ada") as ada:
            ada.grant("acme")
            ada.say("about herons")
            ada.wait_for(lambda: [row for row in ada.get("shared")["rows"] if row["state"] == "published"])
            ada.wait_for(lambda: saved(ada))
            assert not ada.get("state")["held_up"]
            for id in ("host/kept", "host/parley-acme__small", "host/parley-audit"):
                ada.wait_for(lambda id=id: api.file_exists(id, "space.json", repo_type="dataset"))
                marked = Path(api.hf_hub_download(id, "space.json", repo_type="dataset", local_dir=tmp_path / id))
                assert "host/parley" in marked.read_text()
            ada.post("withdraw", {"recipient": None})
            ada.wait_for(lambda: {row["state"] for row in ada.get("shared")["rows"]} == {"retracted"})
            assert not ada.get("state")["held_up"]
        stage.app.terminate()  # what it does after the last row is out is done then
        before = {id: api.dataset_info(id).sha for id in ("host/kept", "host/parley-acme__small", "host/parley-audit")}
        with AppProcess(tmp_path / "copy", port=stage.app.port, **stage.environ | {"SPACE_ID": "eve/parley"}) as copy:
            with SharingStage(copy, stage.hub, stage.environ).visitor("eve") as eve:
                eve.say("in the duplicate")
                told = eve.wait_for(lambda: eve.get("state")["saving"].get("problem"))
                assert "belongs to the Space host/parley" in told and "remove STORE_DATASET" in told
        assert before == {id: api.dataset_info(id).sha for id in before}


def test_a_public_dataset_in_the_name_of_the_private_one_stops_the_app(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage:
        stage.app.terminate()
        api = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        api.create_repo("host/open", repo_type="dataset", private=False)
        variables = {**stage.environ, "STORE_DATASET": "host/open"}
        with AppProcess(tmp_path / "data", wait=False, **variables) as app:
            assert app.process.wait(60) == 1
            assert "it is public" in app.output() and "Traceback" not in app.output()


def test_without_a_token_a_folder_keeps_them_and_nobody_can_be_agreed_to(tmp_path: Path):
    with sharing_stage(tmp_path / "stage", HF_TOKEN="") as stage, stage.visitor("ada") as ada:
        assert ada.get("state")["recipients"] == []
        assert "not set up" in ada.get("state")["reason"]
        ada.say("hello")
        ada.wait_for(lambda: saved(ada))
        assert list((stage.app.data_dir / "dataset" / "users").rglob("*.jsonl"))


def test_until_all_is_back_nobody_is_told_who_reads_and_nobody_can_be_agreed_to(tmp_path: Path):
    """On an empty disk with a wrong HF_ENDPOINT nobody knows what was agreed to: the chat goes on, and says so."""
    with sharing_stage(tmp_path / "stage") as stage:
        with stage.visitor("ada") as ada:
            said = ada.agreement()
        stage.app.kill()
        wrong = {
            **stage.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}",
            "OPENID_PROVIDER_URL": stage.hub.endpoint,
        }
        with AppProcess(tmp_path / "new disk", port=stage.app.port, **wrong) as app:
            with SharingStage(app, stage.hub, wrong).visitor("ada") as ada:
                id = ada.say("where is the heron")
                chip = ada.get("chip", conversation=id)
                assert "being looked up" in chip["sentence"] and not chip["can_take_back"]
                assert ada.get("chip", model="acme/small")["sentence"] == chip["sentence"]
                state = ada.get("state")
                assert (state["known"], state["can_share"]) == (False, False) and "looked up" in state["reason"]
                assert {found["state"] for found in state["recipients"]} == {"unknown"}
                refused = ada.post("grant", said)
                assert refused.status_code == 503 and "looked up" in refused.json()["error"]["message"]
                assert ada.post("withdraw", {"recipient": None}).status_code == 200
                not_yet = [
                    ada.client.delete("/api/conversations"),
                    ada.post("close", {"close": True}),
                    ada.client.get("/api/privacy/everything.zip"),
                ]
                assert {answer.status_code for answer in not_yet} == {503}
                assert all("brought back here yet" in answer.json()["error"]["message"] for answer in not_yet)
                assert not ada.get("shared")["known"]
                assert ada.client.delete(f"/api/conversations/{id}").status_code == 200
                told = ada.wait_for(lambda: "cannot be reached" in (s := ada.get("state")["saving"]["sentence"]) and s)
                assert told.startswith("Kept here; not saved") and wrong["HF_ENDPOINT"] in told
                assert "heron" not in app.output() and "Traceback" not in app.output()


def test_a_hub_that_is_away_at_the_start_stops_nothing_and_gets_everything_later(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage:
        stage.app.kill()
        stage.hub.stop()
        with AppProcess(tmp_path / "new disk", port=stage.app.port, **stage.environ) as app:
            with SharingStage(app, stage.hub, stage.environ).visitor(None) as nobody:
                id = nobody.say("nobody is there")
                problem = nobody.wait_for(
                    lambda: "cannot be reached" in (s := nobody.get("state")["saving"]["sentence"]) and s
                )
                assert problem.startswith("Kept here; not saved")
                assert nobody.client.get("/privacy").status_code == 200
                stage.hub.start()
                nobody.wait_for(lambda: saved(nobody))
                assert nobody.get("state")["known"]
                assert nobody.get("chip", conversation=id)["sentence"] == ONLY_YOU
                assert "nobody is there" in nobody.client.get(f"/api/conversations/{id}").text
        api = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        files = [path for path in api.list_repo_files("host/kept", repo_type="dataset") if path.startswith("users/")]
        assert any("nobody is there" in Path(api.hf_hub_download("host/kept", path, repo_type="dataset", local_dir=tmp_path)).read_text() for path in files)  # fmt: skip


@pytest.mark.parametrize("missing", ["SHARE_NAMESPACE", "STORE_DATASET", "HF_TOKEN"])
def test_nobody_can_be_agreed_to_unless_the_ledger_outlives_the_disk(tmp_path: Path, missing: str):
    """What is public must be known again on an empty disk, or nobody could take it back."""
    models = tmp_path / "models.yaml"
    models.write_text(MODELS.format(url="http://127.0.0.1:9"))
    given = {"DATA_DIR": str(tmp_path), "MODELS_FILE": str(models)}
    given |= {"SHARE_NAMESPACE": "host", "STORE_DATASET": "host/kept", "HF_TOKEN": "hf_x"}

    def offered(environ: dict[str, str]) -> bool:
        settings = Settings.from_env(environ)
        return any(sharing_rules(settings, Catalog.load(settings.models_file)).authors.values())

    assert offered(given)
    assert not offered({name: value for name, value in given.items() if name != missing})
