"""A deletion reaches everything: after the purge no byte of the text is on the Hub or on the machine, and its owner sees when."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from tests.support.app_process import AppProcess
from tests.support.backing import in_folder, in_git
from tests.support.sharing_stage import Person, SharingStage, sharing_stage

CANARY = "qxz heron marmalade 4711"
WORD = "qxzqxz4711"


def saved(person: Person) -> bool:
    return person.get("state")["saving"]["state"] == "saved"


def deletions(person: Person) -> list[dict]:
    return person.client.get("/api/deletions").json()["items"]


def anywhere(stage: SharingStage, folder: Path, text: str) -> bool:
    """In any object of the datasets' repositories, reachable or not, or any file of the machine: disk, caches, output."""
    repositories = list((folder / "hub" / "datasets").rglob("*.git"))
    assert repositories
    return any(in_git(path, text) for path in repositories) or in_folder(folder, text) or text in stage.app.output()


def test_after_the_purge_no_byte_of_it_is_anywhere_and_its_owner_sees_when(tmp_path: Path):
    folder = tmp_path / "stage"
    with sharing_stage(folder, HF_HOME=str(folder / "home")) as stage, stage.visitor("ada") as ada:
        for text in (f"{CANARY} {WORD}", f"again {WORD}"):
            ada.say(text)
        kept = ada.say("this one stays")
        ada.wait_for(lambda: saved(ada))
        assert anywhere(stage, folder, WORD)
        gone = [item["id"] for item in ada.client.get("/api/conversations").json()["items"] if item["id"] != kept]
        for id in gone:
            assert ada.client.delete(f"/api/conversations/{id}").status_code == 200
        assert sum(found["conversations"] for found in deletions(ada)) == 2
        ada.wait_for(lambda: all(found["purged_at"] for found in deletions(ada)))
        for found in deletions(ada):
            assert found["deleted_at"] <= found["purged_at"]
        ada.wait_for(lambda: not in_folder(folder / "data", WORD))
        assert not anywhere(stage, folder, WORD) and not anywhere(stage, folder, CANARY)
        assert anywhere(stage, folder, "this one stays")
        with stage.visitor("grace") as grace:
            assert deletions(grace) == []


def test_a_hub_that_keeps_old_versions_readable_is_told_to_the_operator_and_nothing_is_called_deleted(tmp_path: Path):
    with sharing_stage(tmp_path / "stage") as stage, stage.visitor("ada") as ada:
        stage.hub.squash_keeps_old = True
        id = ada.say(WORD)
        ada.wait_for(lambda: saved(ada))
        ada.client.delete(f"/api/conversations/{id}")
        ada.wait_for(lambda: "python -m chat.rotate" in ada.get("state")["saving"]["sentence"])
        assert [found["purged_at"] for found in deletions(ada)] == [None]
        assert "python -m chat.rotate" in stage.app.output()


def test_two_apps_on_one_dataset_show_the_same_and_one_of_them_purges(tmp_path: Path):
    """A Space's new version starts before its old one has ended."""
    with sharing_stage(tmp_path / "stage") as stage, stage.visitor("ada") as ada:
        first = ada.say("said to the old one")
        ada.grant("acme")
        ada.wait_for(lambda: saved(ada))
        stage.hub.oauth.add_client("parley", "secret", [f"{stage.url}/login/callback", "http://127.0.0.1:1/x"])
        with AppProcess(tmp_path / "new", **stage.environ) as app:
            stage.hub.oauth.add_client("parley", "secret", [f"{app.url}/login/callback", f"{stage.url}/login/callback"])
            with SharingStage(app, stage.hub, stage.environ).visitor("ada") as again:

                def titles(person: Person) -> set[str]:
                    return {item["title"] for item in person.client.get("/api/conversations").json()["items"]}

                again.wait_for(lambda: titles(again) == {"said to the old one"})
                again.wait_for(lambda: again.state("acme") == "granted")
                again.say("said to the new one")
                ada.wait_for(lambda: titles(ada) == {"said to the old one", "said to the new one"})
                again.client.delete(f"/api/conversations/{first}")
                ada.wait_for(lambda: titles(ada) == {"said to the new one"})
                for person in (ada, again):
                    person.wait_for(lambda person=person: deletions(person) and deletions(person)[0]["purged_at"])
                # When it was purged is said by the one that did, and heard by the other.
                ada.wait_for(lambda: deletions(ada) == deletions(again))
        api = HfApi(endpoint=stage.hub.endpoint, token=stage.environ["HF_TOKEN"])
        assert "lease.json" in api.list_repo_files("host/kept", repo_type="dataset")
