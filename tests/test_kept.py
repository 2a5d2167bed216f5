"""The app with a Hub: what the Hub does wrong stops no conversation, and what was kept and agreed outlives the machine."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from tests.support.app_process import AppProcess
from tests.support.sharing_stage import Person, SharingStage, sharing_stage


def saved(person: Person) -> bool:
    return person.get("state")["saving"]["state"] == "saved"


def test_a_new_machine_has_the_conversations_and_the_consent_again(tmp_path: Path):
    """Found by the account alone: the old machine's disk is gone."""
    with sharing_stage(tmp_path / "stage") as stage:
        with stage.visitor("ada") as ada:
            ada.grant("acme")
            id = ada.say("remember the heron")
            ada.wait_for(lambda: saved(ada))
        stage.app.kill()
        with AppProcess(tmp_path / "new disk", port=stage.app.port, **stage.environ) as new:
            with SharingStage(new, stage.hub, stage.environ).visitor("ada") as ada:
                found = ada.wait_for(lambda: ada.client.get("/api/conversations").json()["items"])
                assert [item["id"] for item in found] == [id]
                assert "heron" in ada.client.get(f"/api/conversations/{id}").text
                assert ada.state("acme") == "granted"
                assert ada.get("chip", conversation=id)["who"] == ["acme"]


def test_the_chat_goes_on_without_its_hub_and_the_page_says_what_is_wrong(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage, stage.visitor("ada") as ada:
        ada.wait_for(lambda: saved(ada))
        stage.hub.stop()
        id = ada.say("nobody is there")
        problem = ada.wait_for(lambda: "cannot be reached" in (told := ada.get("state")["saving"]["sentence"]) and told)
        assert problem.startswith("Kept here; not saved")
        assert "cannot be reached" in stage.app.output() and "nobody is there" not in stage.app.output()
        stage.hub.start()
        ada.wait_for(lambda: saved(ada))
        assert "nobody is there" in ada.client.get(f"/api/conversations/{id}").text


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
