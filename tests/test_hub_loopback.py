"""The loopback Hub, driven by the unmodified client: accounts, repositories, commits, listings."""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import RateLimitInfo

from tests.support.hub import LoopbackHub, Org
from tests.support.hub.testing import (  # noqa: F401
    REPO,
    UPLOAD_WARNING,
    ada_api,
    answered,
    clean_hub,
    commit,
    git,
    head,
    parquet,
    post_commit,
    read,
    running_hub,
    status_of,
    stranger,
)

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)


# Accounts


def test_whoami_names_the_user_the_role_and_the_organisations(hub: LoopbackHub) -> None:
    token = hub.add_user("grace", orgs=[Org("acme", role="read", plan="enterprise")])
    found = HfApi(endpoint=hub.endpoint, token=token).whoami()
    assert (found["name"], found["auth"]["accessToken"]["role"]) == ("grace", "write")
    org = found["orgs"][0]
    assert (org["name"], org["roleInOrg"], org["isEnterprise"]) == ("acme", "read", True)


def test_a_revoked_token_is_refused_at_once(hub: LoopbackHub, ada: HfApi) -> None:
    ada.update_repo_settings(REPO, private=False, repo_type="dataset")
    hub.revoke(str(ada.token))
    with pytest.raises(HfHubHTTPError) as error:
        ada.whoami()
    assert status_of(error) == 401
    with pytest.raises(HfHubHTTPError) as error:  # for what a stranger may read, too
        ada.dataset_info(REPO)
    assert (status_of(error), type(error.value)) == (401, HfHubHTTPError)


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


def test_a_moved_repository_answers_under_both_names_until_the_old_one_is_taken(hub: LoopbackHub, ada: HfApi) -> None:
    sha = head(ada)
    ada.move_repo(REPO, "ada/kept", repo_type="dataset")
    assert head(ada, "ada/kept") == sha
    assert ada.dataset_info(REPO).id == "ada/kept"
    ada.create_repo(REPO, repo_type="dataset")
    assert ada.dataset_info(REPO).id == REPO
    ada.delete_repo(REPO, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        ada.dataset_info(REPO)


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
    ada.create_commit(
        "ada/tiny",
        [
            CommitOperationAdd("config.json", b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'),
            CommitOperationAdd("README.md", card),
            CommitOperationAdd("model.safetensors", weights),
        ],
        commit_message="Write",
    )
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
        ".gitattributes",
        "users/00/a.jsonl",
        "users/00/b.jsonl",
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


def test_an_add_that_changes_nothing_makes_no_commit_and_a_delete_of_nothing_is_not_found(
    hub: LoopbackHub, ada: HfApi
) -> None:
    sha = commit(ada, {"a.txt": b"1"})
    assert commit(ada, {"a.txt": b"1"}) == sha
    again = post_commit(hub, ada, ("file", {"path": "a.txt", "content": "MQ==", "encoding": "base64"}))
    assert again.json()["commitOid"] == sha
    with pytest.raises(EntryNotFoundError):
        commit(ada, {"b.txt": None})
    with pytest.raises(EntryNotFoundError):
        commit(ada, {"folder/": None})


@pytest.mark.parametrize("path", ["a.txt/b.txt", "users", "../x", ".git/config", "a//b"])
def test_a_path_that_git_could_not_hold_is_refused(hub: LoopbackHub, ada: HfApi, path: str) -> None:
    commit(ada, {"a.txt": b"1", "users/a.jsonl": b"2"})
    answer = post_commit(hub, ada, ("file", {"path": path, "content": "eA==", "encoding": "base64"}))
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
    ada.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=REPO, repo_type="dataset", revision="side")
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
    with pytest.raises(HfHubHTTPError) as error:
        ada.delete_branch(REPO, branch="main", repo_type="dataset")
    assert status_of(error) == 403


def test_the_commits_of_a_branch_are_listed_newest_first_over_pages(ada: HfApi) -> None:
    written = [commit(ada, {"a.txt": str(number).encode()}) for number in range(55)]
    listed = ada.list_repo_commits(REPO, repo_type="dataset")
    assert [item.commit_id for item in listed[:55]] == written[::-1]
    assert (len(listed), listed[-1].title, listed[0].authors) == (56, "initial commit", ["ada"])


def test_the_commit_quota_is_an_hour_long_and_comes_without_headers(hub: LoopbackHub, ada: HfApi) -> None:
    hub.limits.commits_per_hour = 2
    for number in range(2):
        commit(ada, {"a.txt": str(number).encode()})
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"x"})
    assert status_of(error) == 429
    assert "ratelimit" not in error.value.response.headers
    hub.clock.now += 3601
    commit(ada, {"a.txt": b"x"})


def test_each_class_of_requests_has_its_own_window_and_says_how_much_is_left(hub: LoopbackHub, ada: HfApi) -> None:
    sha = commit(ada, {"a.txt": b"1"})
    hub.limits.requests = {"api": 2, "resolvers": 1}
    url, headers = f"{hub.endpoint}/datasets/{REPO}/resolve/{sha}/a.txt", ada._build_hf_headers()
    first, second = httpx.get(url, headers=headers), httpx.get(url, headers=headers)
    assert (first.status_code, second.status_code) == (200, 429)
    assert parse_ratelimit_headers(first.headers) == RateLimitInfo("resolvers", 0, 300, 1, 300)
    head(ada), head(ada)
    hub.clock.now += 245
    with pytest.raises(HfHubHTTPError, match="'api' rate limit.\nRetry after 55 seconds \\(0/2 requests") as error:
        head(ada)
    assert status_of(error) == 429
    assert stranger(hub).whoami()["name"] == "mallory"
    hub.clock.now += 55
    assert head(ada) == sha


def test_a_used_up_commit_quota_shows_requests_that_are_left(hub: LoopbackHub, ada: HfApi) -> None:
    # The headers of the other limit stand there, and must not be taken for the reason.
    hub.limits.commits_per_hour, hub.limits.requests = 0, {"api": 100}
    with pytest.raises(HfHubHTTPError) as error:
        commit(ada, {"a.txt": b"x"})
    assert "Retry after" not in str(error.value) and "commits (0 per hour)" in str(error.value)
    assert parse_ratelimit_headers(error.value.response.headers).remaining > 0


# Listings and downloads


def test_a_tree_of_more_than_a_page_is_listed_whole_once(hub: LoopbackHub, ada: HfApi) -> None:
    names = {f"users/{number % 8:02x}/{number}.jsonl" for number in range(1200)}
    commit(ada, dict.fromkeys(names, b"{}\n"))
    hub.requests.clear()
    found = list(ada.list_repo_tree(REPO, recursive=True, repo_type="dataset"))
    files = [entry.path for entry in found if hasattr(entry, "blob_id")]
    assert sorted(files) == sorted(names | {".gitattributes"})
    assert answered(hub, "/tree/") == [200, 200]
    top = [entry.path for entry in ada.list_repo_tree(REPO, repo_type="dataset")]
    assert top == [".gitattributes", "users"]
    assert len(list(ada.list_repo_tree(REPO, "users/00", repo_type="dataset"))) == 150


def test_expanded_entries_name_the_commit_that_changed_them_last(ada: HfApi) -> None:
    first = commit(ada, {"a.txt": b"1", "d/b.txt": b"1"})
    second = commit(ada, {"d/b.txt": b"2"})
    found = {entry.path: entry for entry in ada.list_repo_tree(REPO, recursive=True, expand=True, repo_type="dataset")}
    assert {path: found[path].last_commit.oid for path in ("a.txt", "d", "d/b.txt")} == {
        "a.txt": first,
        "d": second,
        "d/b.txt": second,
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


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=10-", 416, b""),
    ],
)
def test_part_of_a_file_can_be_asked_for(hub: LoopbackHub, ada: HfApi, wanted: str, status: int, part: bytes) -> None:
    commit(ada, {"a.txt": b"0123456789"})
    headers = {**ada._build_hf_headers(), "Range": wanted}
    answer = httpx.get(f"{hub.endpoint}/datasets/{REPO}/resolve/main/a.txt", headers=headers)
    assert (answer.status_code, answer.content) == (status, part)
