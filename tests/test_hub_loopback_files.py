"""The loopback Hub, driven by the unmodified client: large files, taking back, faults."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.utils import httpx as client_http

from tests.support.app_process import wait_until
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import (  # noqa: F401
    CANARY,
    REPO,
    UPLOAD_WARNING,
    ada_api,
    answered,
    clean_hub,
    commit,
    git,
    git_finds,
    head,
    parquet,
    post_commit,
    read,
    running_hub,
    status_of,
)

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)


# Large files


def test_a_parquet_file_is_stored_as_a_large_file_and_comes_from_the_other_port(
    hub: LoopbackHub, ada: HfApi, tmp_path: Path
) -> None:
    content = parquet(["x", "y"])
    sha = commit(ada, {"data/train.parquet": content})
    assert git(hub, "show", f"{sha}:data/train.parquet").startswith("version https://git-lfs.github.com/spec/v1\n")
    answer = httpx.head(
        f"{hub.endpoint}/datasets/{REPO}/resolve/main/data/train.parquet", headers=ada._build_hf_headers()
    )
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


def test_an_upload_must_have_the_content_that_it_named(hub: LoopbackHub, ada: HfApi) -> None:
    oid = hashlib.sha256(b"right").hexdigest()
    answer = httpx.post(
        f"{hub.endpoint}/datasets/{REPO}.git/info/lfs/objects/batch",
        json={"operation": "upload", "objects": [{"oid": oid, "size": 5}]},
        headers=ada._build_hf_headers(),
    )
    upload = answer.json()["objects"][0]["actions"]["upload"]["href"]
    assert [httpx.put(upload, content=content).status_code for content in (b"wrong", b"right")] == [400, 200]


def test_a_commit_cannot_name_a_large_file_that_was_never_uploaded(hub: LoopbackHub, ada: HfApi) -> None:
    answer = post_commit(hub, ada, ("lfsFile", {"path": "a.parquet", "algo": "sha256", "oid": "0" * 64, "size": 3}))
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
        httpx.post(url, json={}, headers=headers, timeout=httpx.Timeout(60, read=0.2))
    wait_until(lambda: len(ada.list_repo_refs(REPO, repo_type="dataset").branches) == 2)


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
    client = httpx.Client(base_url=hub.endpoint, headers=ada._build_hf_headers())
    answers = [client.get("/api/whoami-v2").status_code for _ in range(3)]
    assert (answers, second.hits) == ([200, 500, 200], 1)
    some = hub.faults.add(r"whoami", status=500, times=None, rate=0.35)
    for _ in range(60):
        client.get("/api/whoami-v2")
    client.close()
    assert 5 < some.hits < 40


def test_a_stopped_hub_comes_back_at_the_same_address_with_everything(tmp_path: Path, hub: LoopbackHub) -> None:
    own = LoopbackHub(tmp_path).start()
    api = HfApi(endpoint=own.endpoint, token=own.add_user("ada"))
    api.create_repo(REPO, repo_type="dataset")
    own.stop()
    with pytest.raises((client_http.TransportError, ConnectionError)):
        api.dataset_info(REPO)
    with own:
        assert api.dataset_info(REPO).id == REPO
    with LoopbackHub(tmp_path) as other:
        assert HfApi(endpoint=other.endpoint, token=False).dataset_info(REPO).author == "ada"
