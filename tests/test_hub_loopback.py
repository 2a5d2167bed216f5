"""The loopback Hub, driven by the unmodified clients."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils import httpx as client_http

from tests.support.hub import LoopbackHub, Org

# The client's own upload of large files trips over its own HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "ada/chats"
CANARY = "a sentence that nobody else wrote"


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """One server for the file; every test has users of its own name space by `hub`."""
    with LoopbackHub(tmp_path_factory.mktemp("hub"), clock=Clock()) as hub:
        yield hub


@pytest.fixture
def hub(running: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """The server with no repositories, faults or switches left over."""
    # Read at import by the client, from a variable that another test file's import may have come before.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    disable_progress_bars()
    for kind in ("model", "dataset", "space"):
        for repo in running.repos.all(kind):
            running.repos.delete(repo)
    for note in running.root.rglob("*.moved"):
        note.unlink()
    running.faults.clear()
    running.requests.clear()
    running.squash_keeps_old = False
    running.commits_per_hour = None
    running.oauth.answer = None
    return running


@pytest.fixture
def ada(hub: LoopbackHub) -> HfApi:
    """The API as ada, who has a private dataset."""
    api = HfApi(endpoint=hub.endpoint, token=hub.add_user("ada"))
    api.create_repo(REPO, repo_type="dataset", private=True)
    return api


def stranger(hub: LoopbackHub, name: str = "mallory") -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.add_user(name))


def head(api: HfApi, repo: str = REPO) -> str:
    return api.repo_info(repo, repo_type="dataset").sha


def commit(api: HfApi, files: dict[str, bytes | None], parent: str | None = None, repo: str = REPO) -> str:
    """Commits the files (None deletes) and returns the commit's id."""
    operations = [
        CommitOperationDelete(path) if content is None else CommitOperationAdd(path, content)
        for path, content in files.items()
    ]
    return api.create_commit(
        repo, operations, commit_message="Write", repo_type="dataset", parent_commit=parent
    ).oid


def read(api: HfApi, path: str, folder: Path, **options: str) -> bytes:
    found = api.hf_hub_download(REPO, path, repo_type="dataset", cache_dir=folder, **options)
    return Path(found).read_bytes()


def git(hub: LoopbackHub, *arguments: str) -> str:
    command = ["git", "-C", str(hub.repo_path("dataset", REPO)), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def git_finds(hub: LoopbackHub, text: str) -> bool:
    """Whether the text is in any object of the repository, reachable or not."""
    oids = [line.split()[0] for line in git(hub, "cat-file", "--batch-all-objects", "--batch-check").splitlines()]
    return any(text in git(hub, "cat-file", "-p", oid) for oid in oids)


def parquet(words: list[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": words}), buffer)
    return buffer.getvalue()


def answered(hub: LoopbackHub, fragment: str) -> list[int | None]:
    return [entry.status for entry in hub.requests if fragment in entry.path]


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


# Accounts


def test_whoami_names_the_user_the_role_and_the_organisations(hub: LoopbackHub) -> None:
    token = hub.add_user("grace", orgs=[Org("acme", role="read", plan="enterprise")])
    found = HfApi(endpoint=hub.endpoint, token=token).whoami()
    assert (found["name"], found["auth"]["accessToken"]["role"]) == ("grace", "write")
    org = found["orgs"][0]
    assert (org["name"], org["roleInOrg"], org["isEnterprise"]) == ("acme", "read", True)


def test_a_revoked_token_is_refused_at_once(hub: LoopbackHub, ada: HfApi) -> None:
    hub.revoke(str(ada.token))
    with pytest.raises(HfHubHTTPError) as error:
        ada.whoami()
    assert status_of(error) == 401


# Repositories


def test_a_new_repository_has_a_first_commit_and_its_visibility(hub: LoopbackHub, ada: HfApi) -> None:
    info = ada.dataset_info(REPO)
    assert (info.private, info.author, [file.rfilename for file in info.siblings]) == (True, "ada", [".gitattributes"])
    assert git(hub, "log", "--format=%s %an", "main").strip() == "initial commit ada"


def test_creating_a_repository_twice_is_a_conflict_that_names_its_address(hub: LoopbackHub, ada: HfApi) -> None:
    url = ada.create_repo(REPO, repo_type="dataset", exist_ok=True)
    assert (url.repo_id, str(url)) == (REPO, f"{hub.endpoint}/datasets/{REPO}")
    with pytest.raises(HfHubHTTPError) as error:
        ada.create_repo(REPO, repo_type="dataset")
    assert status_of(error) == 409


def test_a_private_repository_does_not_exist_for_a_stranger(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"a.txt": b"mine"})
    nobody = HfApi(endpoint=hub.endpoint, token=False)
    for api, status in ((stranger(hub), 404), (nobody, 401)):
        for ask in (api.dataset_info, api.list_repo_refs, api.list_repo_commits, api.list_repo_files):
            with pytest.raises(RepositoryNotFoundError) as error:
                ask(REPO) if ask == api.dataset_info else ask(REPO, repo_type="dataset")
            assert status_of(error) == status
        assert not list(api.list_datasets(author="ada"))
        direct = httpx.get(f"{hub.endpoint}/datasets/{REPO}/resolve/main/a.txt", headers=api._build_hf_headers())
        assert direct.status_code == status
        assert "mine" not in direct.text


def test_a_repository_made_public_is_readable_and_still_not_writable_by_others(hub: LoopbackHub, ada: HfApi) -> None:
    ada.update_repo_settings(REPO, private=False, repo_type="dataset")
    mallory = stranger(hub)
    assert mallory.dataset_info(REPO).private is False
    with pytest.raises(HfHubHTTPError) as error:
        commit(mallory, {"a.txt": b"x"})
    assert status_of(error) == 403


def test_a_read_token_and_a_reading_member_cannot_write(hub: LoopbackHub) -> None:
    writer = HfApi(endpoint=hub.endpoint, token=hub.add_user("lin", orgs=[Org("acme")]))
    writer.create_repo("acme/data", repo_type="dataset", private=True)
    reading = [hub.add_token("lin", role="read"), hub.add_user("ole", orgs=[Org("acme", role="read")])]
    for token in reading:
        api = HfApi(endpoint=hub.endpoint, token=token)
        assert api.dataset_info("acme/data").private
        with pytest.raises(HfHubHTTPError) as error:
            commit(api, {"a.txt": b"x"}, repo="acme/data")
        assert status_of(error) == 403


def test_a_gated_repository_shows_itself_but_not_its_files(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    commit(ada, {"a.txt": b"mine"})
    ada.update_repo_settings(REPO, private=False, gated="manual", repo_type="dataset")
    mallory = stranger(hub)
    assert mallory.dataset_info(REPO).gated == "manual"
    with pytest.raises(GatedRepoError):
        read(mallory, "a.txt", tmp_path)
    assert read(ada, "a.txt", tmp_path) == b"mine"


def test_a_moved_repository_answers_under_both_names_until_the_old_one_is_taken(hub: LoopbackHub, ada: HfApi) -> None:
    sha = head(ada)
    ada.move_repo(REPO, "ada/kept", repo_type="dataset")
    assert head(ada, "ada/kept") == sha
    assert ada.dataset_info(REPO).id == "ada/kept"
    ada.create_repo(REPO, repo_type="dataset")
    assert ada.dataset_info(REPO).id == REPO


def test_a_deleted_repository_is_gone_from_the_disk(hub: LoopbackHub, ada: HfApi) -> None:
    ada.delete_repo(REPO, repo_type="dataset")
    assert not hub.repo_path("dataset", REPO).exists()
    ada.delete_repo(REPO, repo_type="dataset", missing_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        ada.delete_repo(REPO, repo_type="dataset")


def test_a_repository_name_cannot_leave_the_folder(hub: LoopbackHub, ada: HfApi) -> None:
    headers = ada._build_hf_headers()
    for name in ("..", "../../x", "a/../../x", ".git", "x.git"):
        answer = httpx.post(f"{hub.endpoint}/api/repos/create", json={"name": name, "type": "dataset"}, headers=headers)
        assert answer.status_code == 404
    assert httpx.get(f"{hub.endpoint}/api/datasets/%2e%2e/%2e%2e", headers=headers).status_code == 404


def test_a_models_information_tells_its_config_and_size(hub: LoopbackHub, ada: HfApi) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(24)
    card = b"---\nlicense: mit\nlanguage:\n- en\npipeline_tag: text-generation\ntags:\n- chat\n---\n# Tiny\n"
    ada.create_repo("ada/tiny", repo_type="model")
    ada.create_commit("ada/tiny", [
        CommitOperationAdd("config.json", b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'),
        CommitOperationAdd("README.md", card),
        CommitOperationAdd("model.safetensors", weights),
    ], commit_message="Write")
    info = ada.model_info("ada/tiny", files_metadata=True)
    assert info.config == {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    assert (info.safetensors.total, info.safetensors.parameters) == (12, {"BF16": 12})
    assert (info.card_data.license, info.pipeline_tag, info.tags) == ("mit", "text-generation", ["chat"])
    large = next(file for file in info.siblings if file.rfilename == "model.safetensors")
    assert (large.size, large.lfs.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())
    assert ada.get_safetensors_metadata("ada/tiny").parameter_count == {"BF16": 12}


def test_a_card_whose_metadata_is_not_yaml_is_refused(ada: HfApi) -> None:
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(ada, {"README.md": b"---\na: [\n---\n"})


# Commits


def test_a_commit_adds_replaces_and_deletes_and_git_shows_it(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"users/00/a.jsonl": b"1\n", "users/00/b.jsonl": b"2\n", "gone.txt": b"3"})
    sha = commit(ada, {"users/00/a.jsonl": b"1\n2\n", "gone.txt": None})
    assert git(hub, "rev-parse", "main").strip() == sha
    assert git(hub, "ls-tree", "-r", "--name-only", sha).split() == [
        ".gitattributes", "users/00/a.jsonl", "users/00/b.jsonl"
    ]
    assert git(hub, "show", f"{sha}:users/00/a.jsonl") == "1\n2\n"


def test_a_commit_on_an_old_parent_is_refused_and_changes_nothing(hub: LoopbackHub, ada: HfApi) -> None:
    old = head(ada)
    new = commit(ada, {"a.txt": b"1"}, parent=old)
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"2"}, parent=old)
    assert status_of(error) == 412
    assert head(ada) == new


def test_of_concurrent_commits_on_one_parent_exactly_one_wins(hub: LoopbackHub, ada: HfApi) -> None:
    parent, barrier = head(ada), threading.Barrier(6)

    def write(number: int) -> int:
        barrier.wait()
        try:
            commit(ada, {f"{number}.txt": b"x"}, parent=parent)
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(write, range(6))) == [200] + [412] * 5
    assert git(hub, "rev-list", "--count", "main").strip() == "2"


def test_concurrent_commits_without_a_parent_all_arrive(hub: LoopbackHub, ada: HfApi) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: commit(ada, {f"{number}.txt": b"x"}), range(12)))
    assert len(ada.list_repo_files(REPO, repo_type="dataset")) == 13


def test_an_add_that_changes_nothing_makes_no_commit_and_a_delete_of_nothing_is_not_found(ada: HfApi) -> None:
    sha = commit(ada, {"a.txt": b"1"})
    assert commit(ada, {"a.txt": b"1"}) == sha
    with pytest.raises(EntryNotFoundError):
        commit(ada, {"b.txt": None})
    with pytest.raises(EntryNotFoundError):
        commit(ada, {"folder/": None})


@pytest.mark.parametrize("path", ["a.txt/b.txt", "users", "../x", ".git/config", "a//b"])
def test_a_path_that_git_could_not_hold_is_refused(hub: LoopbackHub, ada: HfApi, path: str) -> None:
    commit(ada, {"a.txt": b"1", "users/a.jsonl": b"2"})
    lines = [
        {"key": "header", "value": {"summary": "Write"}},
        {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
    ]
    answer = httpx.post(
        f"{hub.endpoint}/api/datasets/{REPO}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers=ada._build_hf_headers(),
    )
    assert answer.status_code == 400
    assert git(hub, "rev-list", "--count", "main").strip() == "2"


def test_a_missing_branch_and_a_missing_file_say_so(ada: HfApi, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        ada.dataset_info(REPO, revision="nowhere")
    with pytest.raises(EntryNotFoundError):
        read(ada, "nothing.txt", tmp_path)
    with pytest.raises(EntryNotFoundError):
        list(ada.list_repo_tree(REPO, "nowhere", repo_type="dataset"))


def test_branches_tags_and_pull_requests_are_refs_of_their_own(hub: LoopbackHub, ada: HfApi) -> None:
    first = head(ada)
    ada.create_branch(REPO, branch="side", repo_type="dataset")
    ada.create_tag(REPO, tag="v1", repo_type="dataset")
    ada.upload_file(
        path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=REPO, repo_type="dataset", revision="side"
    )
    proposed = ada.upload_file(
        path_or_fileobj=b"y", path_in_repo="b.txt", repo_id=REPO, repo_type="dataset", create_pr=True
    )
    assert proposed.pr_revision == "refs/pr/1"
    refs = ada.list_repo_refs(REPO, repo_type="dataset", include_pull_requests=True)
    assert {ref.name for ref in refs.branches} == {"main", "side"}
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", first)]
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]
    assert head(ada) == first
    assert "b.txt" in ada.list_repo_files(REPO, repo_type="dataset", revision="refs/pr/1")
    ada.delete_branch(REPO, branch="side", repo_type="dataset")
    ada.delete_tag(REPO, tag="v1", repo_type="dataset")
    assert len(ada.list_repo_refs(REPO, repo_type="dataset").branches) == 1


def test_the_commits_of_a_branch_are_listed_newest_first_over_pages(ada: HfApi) -> None:
    written = [commit(ada, {"a.txt": str(number).encode()}) for number in range(55)]
    listed = ada.list_repo_commits(REPO, repo_type="dataset")
    assert [item.commit_id for item in listed[:55]] == written[::-1]
    assert (len(listed), listed[-1].title, listed[0].authors) == (56, "initial commit", ["ada"])


def test_the_commit_quota_is_an_hour_long_and_comes_without_headers(hub: LoopbackHub, ada: HfApi) -> None:
    hub.commits_per_hour = 2
    for number in range(2):
        commit(ada, {"a.txt": str(number).encode()})
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"x"})
    assert status_of(error) == 429
    assert "ratelimit" not in error.value.response.headers
    hub.clock.now += 3601
    commit(ada, {"a.txt": b"x"})


# Listings and downloads


def test_a_tree_of_more_than_a_page_is_listed_whole_once(hub: LoopbackHub, ada: HfApi) -> None:
    names = {f"users/{number % 256:02x}/{number}.jsonl" for number in range(2300)}
    commit(ada, dict.fromkeys(names, b"{}\n"))
    hub.requests.clear()
    found = list(ada.list_repo_tree(REPO, recursive=True, repo_type="dataset"))
    files = [entry.path for entry in found if hasattr(entry, "blob_id")]
    assert sorted(files) == sorted(names | {".gitattributes"})
    assert len(answered(hub, "/tree/")) == 3
    top = [entry.path for entry in ada.list_repo_tree(REPO, repo_type="dataset")]
    assert top == [".gitattributes", "users"]
    assert len(list(ada.list_repo_tree(REPO, "users/00", repo_type="dataset"))) == 9


def test_expanded_entries_name_the_commit_that_changed_them_last(ada: HfApi) -> None:
    first = commit(ada, {"a.txt": b"1", "d/b.txt": b"1"})
    second = commit(ada, {"d/b.txt": b"2"})
    found = {entry.path: entry for entry in ada.list_repo_tree(REPO, recursive=True, expand=True, repo_type="dataset")}
    assert {path: found[path].last_commit.oid for path in ("a.txt", "d", "d/b.txt")} == {
        "a.txt": first, "d": second, "d/b.txt": second
    }


def test_paths_info_leaves_out_what_is_not_there(ada: HfApi) -> None:
    commit(ada, {"a b/ü.txt": b"12", "data.parquet": parquet(["x"])})
    found = ada.get_paths_info(REPO, ["a b/ü.txt", "a b", "data.parquet", "nothing"], repo_type="dataset")
    assert {entry.path for entry in found} == {"a b/ü.txt", "a b", "data.parquet"}
    large = next(entry for entry in found if entry.path == "data.parquet")
    assert large.lfs.sha256 == hashlib.sha256(parquet(["x"])).hexdigest()


def test_a_download_is_pinned_to_its_commit(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    old = commit(ada, {"a b/ü.txt": b"old"})
    commit(ada, {"a b/ü.txt": b"new"})
    assert read(ada, "a b/ü.txt", tmp_path, revision=old) == b"old"
    assert read(ada, "a b/ü.txt", tmp_path) == b"new"
    folder = Path(ada.snapshot_download(REPO, repo_type="dataset", cache_dir=tmp_path))
    assert (folder / "a b" / "ü.txt").read_bytes() == b"new"


@pytest.mark.parametrize(("wanted", "status", "part"), [
    ("bytes=2-4", 206, b"234"), ("bytes=7-", 206, b"789"), ("bytes=-2", 206, b"89"), ("bytes=10-", 416, b""),
])
def test_part_of_a_file_can_be_asked_for(hub: LoopbackHub, ada: HfApi, wanted: str, status: int, part: bytes) -> None:
    commit(ada, {"a.txt": b"0123456789"})
    headers = {**ada._build_hf_headers(), "Range": wanted}
    answer = httpx.get(f"{hub.endpoint}/datasets/{REPO}/resolve/main/a.txt", headers=headers)
    assert (answer.status_code, answer.content) == (status, part)


# Large files


def test_a_parquet_file_is_stored_as_a_large_file_and_comes_from_the_other_port(
    hub: LoopbackHub, ada: HfApi, tmp_path: Path
) -> None:
    content = parquet(["x", "y"])
    sha = commit(ada, {"data/train.parquet": content})
    assert git(hub, "show", f"{sha}:data/train.parquet").startswith("version https://git-lfs.github.com/spec/v1\n")
    answer = httpx.head(f"{hub.endpoint}/datasets/{REPO}/resolve/main/data/train.parquet",
                        headers=ada._build_hf_headers())
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(hub.files_endpoint)
    assert answer.headers["x-linked-size"] == str(len(content))
    assert answer.headers["x-linked-etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert read(ada, "data/train.parquet", tmp_path) == content


def test_a_large_file_that_is_there_already_is_not_uploaded_again(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"a.parquet": parquet(["x"])})
    hub.requests.clear()
    commit(ada, {"b.parquet": parquet(["x"])})
    assert [entry.method for entry in hub.requests if entry.path.startswith("/lfs/")] == []


def test_binary_content_and_text_above_the_limit_become_large_files(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"picture.xyz": b"\x00\x01", "long.txt": b"x" * 10_000_001, "short.txt": b"x"})
    found = {entry.path: entry.lfs for entry in ada.list_repo_tree(REPO, repo_type="dataset")}
    assert [name for name, lfs in found.items() if lfs] == ["long.txt", "picture.xyz"]


def test_an_address_of_a_large_file_needs_its_signature_and_expires(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"a.parquet": parquet(["x"])})
    url = f"{hub.endpoint}/datasets/{REPO}/resolve/main/a.parquet"
    signed = httpx.head(url, headers=ada._build_hf_headers()).headers["location"]
    assert httpx.get(signed).status_code == 200
    assert httpx.put(signed, content=b"x").status_code == 403
    assert httpx.get(signed.partition("?")[0]).status_code == 403
    hub.clock.now += 3601
    assert httpx.get(signed).status_code == 403


def test_a_commit_cannot_name_a_large_file_that_was_never_uploaded(hub: LoopbackHub, ada: HfApi) -> None:
    lines = [
        {"key": "header", "value": {"summary": "Write"}},
        {"key": "lfsFile", "value": {"path": "a.parquet", "algo": "sha256", "oid": "0" * 64, "size": 3}},
    ]
    answer = httpx.post(
        f"{hub.endpoint}/api/datasets/{REPO}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers=ada._build_hf_headers(),
    )
    assert answer.status_code == 400


# Taking back


def test_after_a_squash_git_finds_nothing_of_what_was_deleted(hub: LoopbackHub, ada: HfApi) -> None:
    old = commit(ada, {"a.txt": CANARY.encode(), "b.txt": b"stays"})
    commit(ada, {"a.txt": None})
    assert git_finds(hub, CANARY)
    ada.super_squash_history(REPO, repo_type="dataset")
    assert not git_finds(hub, CANARY)
    assert git(hub, "show", "main:b.txt") == "stays"
    assert git(hub, "rev-list", "--count", "main").strip() == "1"
    with pytest.raises(RevisionNotFoundError):
        ada.dataset_info(REPO, revision=old)


def test_a_hub_that_keeps_old_commits_still_answers_them_after_a_squash(
    hub: LoopbackHub, ada: HfApi, tmp_path: Path
) -> None:
    hub.squash_keeps_old = True
    old = commit(ada, {"a.txt": CANARY.encode()})
    commit(ada, {"a.txt": None})
    ada.super_squash_history(REPO, repo_type="dataset")
    assert git_finds(hub, CANARY)
    assert read(ada, "a.txt", tmp_path, revision=old) == CANARY.encode()


def test_another_ref_keeps_its_own_copy_through_a_squash(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"a.txt": CANARY.encode()})
    ada.create_tag(REPO, tag="v1", repo_type="dataset")
    commit(ada, {"a.txt": None})
    ada.super_squash_history(REPO, repo_type="dataset")
    assert git_finds(hub, CANARY)


def test_a_large_file_outlives_the_squash_until_it_is_deleted_for_good(hub: LoopbackHub, ada: HfApi) -> None:
    commit(ada, {"a.parquet": parquet([CANARY]), "b.parquet": parquet(["stays"])})
    commit(ada, {"a.parquet": None})
    ada.super_squash_history(REPO, repo_type="dataset")
    doomed = [file for file in ada.list_lfs_files(REPO, repo_type="dataset") if file.filename == "a.parquet"]
    assert len(doomed) == 1
    stored = hub.repo_path("dataset", REPO) / "lfs"
    assert any(CANARY.encode() in path.read_bytes() for path in stored.rglob("*") if path.is_file())
    ada.permanently_delete_lfs_files(REPO, doomed, repo_type="dataset")
    assert not any(CANARY.encode() in path.read_bytes() for path in stored.rglob("*") if path.is_file())
    assert [file.filename for file in ada.list_lfs_files(REPO, repo_type="dataset")] == ["b.parquet"]


def test_deleting_a_large_file_rewrites_the_history_without_its_pointer(
    hub: LoopbackHub, ada: HfApi, tmp_path: Path
) -> None:
    commit(ada, {"data/a.parquet": parquet([CANARY]), "b.txt": b"1"})
    commit(ada, {"b.txt": b"2"})
    doomed = list(ada.list_lfs_files(REPO, repo_type="dataset"))
    ada.permanently_delete_lfs_files(REPO, doomed, repo_type="dataset")
    assert git(hub, "log", "--all", "--format=%H", "--", "data/a.parquet") == ""
    assert not git_finds(hub, doomed[0].file_oid)
    assert git(hub, "rev-list", "--count", "main").strip() == "3"
    assert read(ada, "b.txt", tmp_path) == b"2"


def test_a_large_file_that_no_commit_ever_named_is_listed_and_can_be_deleted(hub: LoopbackHub, ada: HfApi) -> None:
    hub.faults.add(r"/commit/", status=500)
    with pytest.raises(HfHubHTTPError):
        commit(ada, {"a.parquet": parquet([CANARY])})
    left = list(ada.list_lfs_files(REPO, repo_type="dataset"))
    assert [file.ref for file in left] == [None]
    ada.permanently_delete_lfs_files(REPO, left, repo_type="dataset")
    assert list(ada.list_lfs_files(REPO, repo_type="dataset")) == []


# Faults


def test_a_commit_whose_answer_is_lost_has_been_applied(hub: LoopbackHub, ada: HfApi) -> None:
    old = head(ada)
    hub.faults.add(r"/commit/", method="POST", drop=True, when="after")
    with pytest.raises((client_http.TransportError, ConnectionError)):
        commit(ada, {"a.txt": b"1"}, parent=old)
    assert git(hub, "show", "main:a.txt") == "1"
    assert answered(hub, "/commit/") == [None]
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"b.txt": b"1"}, parent=old)
    assert status_of(error) == 412


def test_a_commit_dropped_before_it_took_effect_changes_nothing(hub: LoopbackHub, ada: HfApi) -> None:
    old = head(ada)
    hub.faults.add(r"/commit/", drop=True)
    with pytest.raises((client_http.TransportError, ConnectionError)):
        commit(ada, {"a.txt": b"1"}, parent=old)
    assert head(ada) == old
    commit(ada, {"a.txt": b"1"}, parent=old)


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_a_failing_status_can_come_before_or_after_the_effect(
    hub: LoopbackHub, ada: HfApi, when: str, applied: bool
) -> None:
    old = head(ada)
    hub.faults.add(r"/commit/", status=503, when=when)
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"1"})
    assert status_of(error) == 503
    assert (head(ada) != old) is applied


def test_a_delayed_answer_comes_after_the_client_gave_up(hub: LoopbackHub, ada: HfApi) -> None:
    url, headers = f"{hub.endpoint}/api/datasets/{REPO}/branch/side", ada._build_hf_headers()
    hub.faults.add(r"/branch/", delay=1.0, when="after")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json={}, headers=headers, timeout=0.2)
    assert len(ada.list_repo_refs(REPO, repo_type="dataset").branches) == 2


def test_a_token_can_be_revoked_in_the_middle_of_an_upload(hub: LoopbackHub, ada: HfApi) -> None:
    hub.faults.add(r"/commit/", revoke=True)
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.parquet": parquet(["x"])})
    assert status_of(error) == 401
    assert git(hub, "rev-list", "--count", "main").strip() == "1"


def test_another_writer_can_come_between_reading_and_committing(hub: LoopbackHub, ada: HfApi) -> None:
    old = head(ada)
    hub.faults.add(r"/commit/", do=lambda: commit(ada, {"other.txt": b"1"}))
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"1"}, parent=old)
    assert status_of(error) == 412


def test_faults_skip_count_and_draw_by_seed(hub: LoopbackHub, ada: HfApi) -> None:
    second = hub.faults.add(r"whoami", status=500, skip=1)
    answers = [httpx.get(f"{hub.endpoint}/api/whoami-v2", headers=ada._build_hf_headers()).status_code for _ in range(3)]
    assert (answers, second.hits) == ([200, 500, 200], 1)
    some = hub.faults.add(r"whoami", status=500, times=None, rate=0.35)
    for _ in range(60):
        httpx.get(f"{hub.endpoint}/api/whoami-v2", headers=ada._build_hf_headers())
    assert 5 < some.hits < 40


def test_a_stopped_hub_comes_back_at_the_same_address_with_everything(tmp_path: Path, hub: LoopbackHub) -> None:
    own = LoopbackHub(tmp_path).start()
    api = HfApi(endpoint=own.endpoint, token=own.add_user("ada"))
    api.create_repo(REPO, repo_type="dataset")
    own.stop()
    with pytest.raises((client_http.TransportError, ConnectionError)):
        api.dataset_info(REPO)
    own.start()
    try:
        assert api.dataset_info(REPO).id == REPO
    finally:
        own.stop()


# Signing in


CALLBACK = "http://127.0.0.1:7860/login/callback"


def sign_in(hub: LoopbackHub, verifier: str, **changes: str) -> httpx.Response:
    """Goes through consent at once as ada, and redeems the code with `changes` to what is right."""
    hub.oauth.add_client("app", "secret", [CALLBACK])
    hub.oauth.answer = "ada"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    sent = httpx.get(f"{hub.endpoint}/oauth/authorize", params={
        "client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid profile",
        "state": "s1", "code_challenge": challenge, "code_challenge_method": "S256",
    })
    assert sent.status_code == 303
    back = parse_qs(urlsplit(sent.headers["location"]).query)
    assert back["state"] == ["s1"]
    form = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": CALLBACK,
            "code_verifier": verifier, "client_id": "app", "client_secret": "secret", **changes}
    answer = httpx.post(f"{hub.endpoint}/oauth/token", data=form)
    again = httpx.post(f"{hub.endpoint}/oauth/token", data=form)
    assert again.status_code in {400, 401}, "a code works once"
    return answer


def test_signing_in_tells_who_it_is_and_opens_nothing_private(hub: LoopbackHub, ada: HfApi) -> None:
    hub.add_user("ada", orgs=[Org("acme", plan="team")])
    token = sign_in(hub, "v" * 43).json()["access_token"]
    found = httpx.get(f"{hub.endpoint}/oauth/userinfo", headers={"Authorization": f"Bearer {token}"}).json()
    assert (found["preferred_username"], found["name"], found["orgs"][0]["plan"]) == ("ada", "ada", "team")
    assert "email" not in found
    api = HfApi(endpoint=hub.endpoint, token=token)
    assert api.whoami()["name"] == "ada"
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(REPO)


@pytest.mark.parametrize("changes", [
    {"client_secret": "wrong"}, {"client_id": "other"}, {"code": "made up"}, {"redirect_uri": "http://evil.test/"},
    {"code_verifier": "w" * 43}, {"grant_type": "password"},
])
def test_a_code_is_redeemed_only_by_whom_it_was_given_to(
    hub: LoopbackHub, ada: HfApi, changes: dict[str, str]
) -> None:
    assert sign_in(hub, "v" * 43, **changes).status_code in {400, 401}


def test_consent_can_be_asked_of_a_person_and_be_refused(hub: LoopbackHub, ada: HfApi) -> None:
    hub.oauth.add_client("app", "secret", [CALLBACK])
    query = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "state": "<s>"}
    shown = httpx.get(f"{hub.endpoint}/oauth/authorize", params=query)
    assert "Continue as ada" in shown.text
    assert "<s>" not in shown.text
    refused = httpx.post(f"{hub.endpoint}/oauth/authorize", data={**query, "answer": "refuse"})
    assert "error=access_denied" in refused.headers["location"]
    elsewhere = httpx.get(f"{hub.endpoint}/oauth/authorize", params={**query, "redirect_uri": "http://evil.test/"})
    assert elsewhere.status_code == 400


def test_the_providers_addresses_can_be_discovered(hub: LoopbackHub) -> None:
    found = httpx.get(f"{hub.endpoint}/.well-known/openid-configuration").json()
    assert found["token_endpoint"] == f"{hub.endpoint}/oauth/token"


# Whole clients, in processes of their own: the address is read when they are imported


def run_client(hub: LoopbackHub, token: str, folder: Path, code: str) -> str:
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_datasets_pushes_and_loads(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    code = """
from datasets import Dataset, load_dataset
Dataset.from_dict({"text": ["one", "two"], "n": [1, 2]}).push_to_hub("ada/pushed", private=True)
found = load_dataset("ada/pushed", split="train")
print(found["text"], found["n"])
Dataset.from_dict({"text": ["three"], "n": [3]}).push_to_hub("ada/pushed")
print(load_dataset("ada/pushed", split="train")["text"])
print(load_dataset("ada/chats", data_files="users/**/*.jsonl", split="train").sort("id")["id"])
print(list(load_dataset("ada/pushed", split="train", streaming=True))[0]["n"])
"""
    commit(ada, {f"users/{n:02x}/{n}.jsonl": json.dumps({"id": n}).encode() + b"\n" for n in range(5)})
    shown = run_client(hub, str(ada.token), tmp_path, code)
    assert shown.split("\n")[:4] == ["Column(['one', 'two']) Column([1, 2])", "Column(['three'])",
                                     "Column([0, 1, 2, 3, 4])", "3"]
    assert ada.dataset_info("ada/pushed").private


def test_the_file_system_of_the_client_reads_and_writes(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    code = """
from huggingface_hub import HfFileSystem
fs = HfFileSystem()
with fs.open("datasets/ada/chats/a.txt", "w") as file:
    file.write("0123456789")
with fs.open("datasets/ada/chats/a.txt", "rb") as file:
    file.seek(4)
    print(file.read(3))
print(fs.ls("datasets/ada/chats", detail=False))
fs.rm("datasets/ada/chats/a.txt")
print(fs.exists("datasets/ada/chats/a.txt"))
"""
    shown = run_client(hub, str(ada.token), tmp_path, code).splitlines()
    assert shown == [
        "b'456'", "['datasets/ada/chats/.gitattributes', 'datasets/ada/chats/a.txt']", "False"
    ]


def test_the_hub_runs_by_itself_and_tells_how_to_use_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.hub", "--root", str(tmp_path / "repos"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        endpoint = lines[0].split()[5].rstrip(",")
        token = next(line for line in lines if "HF_TOKEN" in line).split("=")[1].split()[0]
        assert HfApi(endpoint=endpoint, token=token).whoami()["name"] == "demo"
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        process.stdout.close()


def test_what_is_asked_for_is_logged_without_what_was_said(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    commit(ada, {"a.txt": CANARY.encode(), "a.parquet": parquet([CANARY])})
    assert read(ada, "a.parquet", tmp_path)
    logged = repr(hub.requests)
    assert CANARY not in logged
    assert "signature" not in logged
    assert str(ada.token) not in logged
    assert ("POST", f"/api/datasets/{REPO}/commit/main", 200) in [
        (entry.method, entry.path, entry.status) for entry in hub.requests
    ]


def test_a_bad_request_says_what_is_wrong(ada: HfApi) -> None:
    commit(ada, {"d/a.txt": b"1"})
    with pytest.raises(BadRequestError, match="A folder stands where"):
        commit(ada, {"d": b"2"})
