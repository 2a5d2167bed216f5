"""One function alone can write to a sharing dataset: the Hub of these tests refuses everybody else, whatever their token
allows, and in the whole app nobody else can call themselves by its name."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from chat.dataset_repo import Denied
from chat.hub import HubRepo
from privacy.push import CALLER
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub, status_of  # noqa: F401
from tests.support.memory_repo import WRITES
from tests.support.sharing_world import World

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET, AUDIT = "ada/parley-acme__alpha", "ada/parley-audit"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
async def shared(tmp_path: Path, hub: LoopbackHub, ada: HfApi):
    """A world with a row in a sharing dataset, put there by the push."""
    world = World(tmp_path / "data", lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER))
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "for acme alone")
    _, pushed = await world.turn()
    assert set(pushed.commits) == {DATASET} and not pushed.problems and world.audited() == []
    yield world
    world.close()


def state(hub: LoopbackHub, dataset: str) -> tuple[str, str]:
    """All references and all settings: whatever is written to a dataset changes one of them."""
    path = hub.repo_path("dataset", dataset)
    refs = subprocess.run(["git", "-C", str(path), "show-ref"], check=True, capture_output=True, text=True).stdout
    return refs, (path / "hub.json").read_text()


def _commit(api: HfApi, id: str, **options: object) -> None:
    api.create_commit(id, [CommitOperationAdd("a.txt", b"x")], commit_message="m", repo_type="dataset", **options)


def _put_large(api: HfApi, id: str) -> None:
    api.preupload_lfs_files(id, [CommitOperationAdd("a.parquet", b"PAR1\0x")], repo_type="dataset")


def _ask(api: HfApi, method: str, path: str, body: object) -> None:
    answer = httpx.request(method, f"{api.endpoint}{path}", json=body, headers=api._build_hf_headers())
    if answer.is_error:
        raise HfHubHTTPError("refused", response=answer)


WAYS: dict[str, Callable[[HfApi, str], object]] = {
    "commit": _commit,
    "commit of a deletion": lambda api, id: api.create_commit(
        id, [CommitOperationDelete("README.md")], commit_message="m", repo_type="dataset"
    ),
    "pull request": lambda api, id: _commit(api, id, create_pr=True),
    "commit past the client": lambda api, id: _ask(api, "POST", f"/api/datasets/{id}/commit/main", {}),
    "commit to a spelled-out name": lambda api, id: _ask(
        api, "POST", f"/api/datasets/{id.replace('-', '%2D')}/commit/main", {}
    ),
    "upload of a large file": _put_large,
    "batch of large files": lambda api, id: _ask(
        api, "POST", f"/datasets/{id}.git/info/lfs/objects/batch", {"operation": "upload", "objects": []}
    ),
    "deletion of large files": lambda api, id: _ask(
        api, "POST", f"/api/datasets/{id}/lfs-files/batch", {"deletions": {"sha": ["0" * 64]}}
    ),
    "squash": lambda api, id: api.super_squash_history(id, repo_type="dataset"),
    "deletion": lambda api, id: api.delete_repo(id, repo_type="dataset"),
    "move": lambda api, id: api.move_repo(id, "ada/elsewhere", repo_type="dataset"),
    "move onto its name": lambda api, id: api.move_repo("ada/chats", f"{id}-2", repo_type="dataset"),
    "creation": lambda api, id: api.create_repo(f"{id}-2", repo_type="dataset"),
    "creation without a namespace": lambda api, id: _ask(
        api, "POST", "/api/repos/create", {"type": "dataset", "name": "parley-2"}
    ),
    "visibility": lambda api, id: api.update_repo_settings(id, repo_type="dataset", private=False),
    "gate": lambda api, id: api.update_repo_settings(id, repo_type="dataset", gated="auto"),
    "grant of access": lambda api, id: api.grant_access(id, "mallory", repo_type="dataset"),
    "branch": lambda api, id: api.create_branch(id, branch="more", repo_type="dataset"),
    "deletion of a branch": lambda api, id: api.delete_branch(id, branch="more", repo_type="dataset"),
    "tag": lambda api, id: api.create_tag(id, tag="more", repo_type="dataset"),
    "deletion of a tag": lambda api, id: api.delete_tag(id, tag="more", repo_type="dataset"),
    "discussion": lambda api, id: api.create_discussion(id, "A title", repo_type="dataset"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_the_hub_refuses_whoever_else_writes_to_a_sharing_dataset_with_the_same_token(shared, hub, ada, way):
    for dataset in (DATASET, AUDIT):
        before = state(hub, dataset)
        with pytest.raises(HfHubHTTPError) as refused:
            WAYS[way](ada, dataset)
        assert status_of(refused) == 403 and state(hub, dataset) == before
        assert not hub.repo_path("dataset", f"{dataset}-2").exists()
    assert not hub.repo_path("dataset", "ada/parley-2").exists()


async def test_the_hub_refuses_a_git_push_to_a_sharing_dataset(shared, hub, ada, tmp_path):
    before = state(hub, DATASET)
    clone = tmp_path / "clone"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "clone", "-q", str(hub.repo_path("dataset", DATASET)), str(clone)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "m"], cwd=clone, check=True)
    for ending in ("", ".git"):
        url = f"{hub.endpoint}/datasets/{DATASET}{ending}".replace("//", f"//ada:{ada.token}@")
        command = [*git, "push", url, "HEAD:refs/heads/main"]
        environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        told = subprocess.run(command, cwd=clone, capture_output=True, text=True, env=environ)
        assert told.returncode and "403" in told.stderr and state(hub, DATASET) == before


@pytest.mark.parametrize("call", sorted(WRITES))
async def test_the_app_itself_cannot_write_by_any_other_client_of_its_own(shared, hub, ada, call):
    """What plans, audits, looks over and lets in opens datasets without the name of the push."""
    repo = HubRepo(hub.endpoint, str(ada.token), DATASET)
    ways = {
        "create": lambda: HubRepo(hub.endpoint, str(ada.token), f"{DATASET}-2").create("card"),
        "commit": lambda: repo.commit({"a.txt": b"x"}, (), repo.head(), "m"),
        "squash": lambda: repo.squash("m"),
        "purge": lambda: repo.purge(),
        "announce": lambda: repo.announce("A title", "words"),
    }
    if call == "purge":
        with hub.guard.lifted():
            ada.create_branch(DATASET, branch="more", repo_type="dataset")
    before = state(hub, DATASET)
    with pytest.raises(Denied):
        ways[call]()
    assert state(hub, DATASET) == before


async def test_reading_and_asking_for_access_are_not_refused(shared, hub, ada):
    repo = HubRepo(hub.endpoint, str(ada.token), DATASET)
    files = repo.files("", repo.head())
    assert repo.history() and all(repo.read(path, repo.head()) for path in files)
    assert ada.get_paths_info(DATASET, list(files), repo_type="dataset")
    with hub.guard.lifted():
        ada.update_repo_settings(DATASET, repo_type="dataset", private=False, gated="manual")
    grace = {"authorization": f"Bearer {hub.add_user('grace')}"}
    httpx.post(f"{hub.endpoint}/datasets/{DATASET}/ask-access", headers=grace).raise_for_status()
    repo.accept({"grace"})
    assert repo.readers() == {"grace"}


def test_in_the_sources_only_the_push_tells_a_repository_to_change():
    """And only `Access` answers who asks; only `app.py` gives the push its name, and only the push opens what it writes to."""
    calls: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for path in [*(ROOT / "privacy").rglob("*.py"), ROOT / "app.py"]:
        here = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                calls.setdefault(node.attr, set()).add(here)
            elif isinstance(node, ast.ImportFrom) and node.module == "privacy.push":
                for alias in node.names:
                    names.setdefault(alias.name, set()).add(here)
    calls["purge"].discard("app.py")  # has the private dataset's backup purge, which is no repository
    assert {name: calls.get(name, set()) for name in WRITES} == {name: {"privacy/push.py"} for name in WRITES}
    assert calls["accept"] == {"privacy/access.py"}
    assert names["CALLER"] == {"app.py"}
    assert calls["open_to_write"] == {"privacy/push.py"}
