"""Gates, requests for access, and discussions of the loopback Hub, driven by the Hub's own client."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.support.hub import LoopbackHub
from tests.support.hub.testing import (  # noqa: F401
    REPO,
    ada_api,
    clean_hub,
    commit,
    read,
    running_hub,
    status_of,
    stranger,
)


def test_a_gated_repository_shows_itself_but_not_its_files(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    commit(ada, {"a.txt": b"mine"})
    ada.update_repo_settings(REPO, private=False, gated="manual", repo_type="dataset")
    mallory = stranger(hub)
    assert mallory.dataset_info(REPO).gated == "manual"
    with pytest.raises(GatedRepoError):
        read(mallory, "a.txt", tmp_path)
    assert read(ada, "a.txt", tmp_path) == b"mine"


def test_access_to_a_gated_repository_is_asked_for_granted_listed_and_taken_back(
    hub: LoopbackHub, ada: HfApi, tmp_path: Path
) -> None:
    commit(ada, {"a.txt": b"mine"})
    ada.update_repo_settings(REPO, private=False, gated="manual", repo_type="dataset")
    mallory = stranger(hub)
    asked = httpx.post(f"{hub.endpoint}/datasets/{REPO}/ask-access", headers=mallory._build_hf_headers())
    assert asked.status_code == 200
    pending = list(ada.list_pending_access_requests(REPO, repo_type="dataset"))
    assert [(request.username, request.status) for request in pending] == [("mallory", "pending")]
    with pytest.raises(GatedRepoError):
        read(mallory, "a.txt", tmp_path)
    ada.accept_access_request(REPO, request_id=pending[0].request_id, repo_type="dataset")
    assert read(mallory, "a.txt", tmp_path) == b"mine"
    ada.reject_access_request(REPO, "mallory", repo_type="dataset", rejection_reason=None)
    with pytest.raises(GatedRepoError):
        read(mallory, "a.txt", tmp_path / "empty")
    grace = stranger(hub, "grace")
    ada.grant_access(REPO, "grace", repo_type="dataset")
    accepted = list(ada.list_accepted_access_requests(REPO, repo_type="dataset"))
    assert [request.username for request in accepted] == ["grace"]
    assert read(grace, "a.txt", tmp_path) == b"mine"
    for status in ("pending", "accepted"):
        with pytest.raises(HfHubHTTPError) as error:
            list(mallory._list_access_requests(REPO, status, repo_type="dataset"))
        assert status_of(error) == 403


def test_a_gate_that_opens_by_itself_opens_for_whoever_asked(hub: LoopbackHub, ada: HfApi, tmp_path: Path) -> None:
    commit(ada, {"a.txt": b"mine"})
    ada.update_repo_settings(REPO, private=False, gated="auto", repo_type="dataset")
    mallory = stranger(hub)
    with pytest.raises(GatedRepoError):
        read(mallory, "a.txt", tmp_path)
    httpx.post(f"{hub.endpoint}/datasets/{REPO}/ask-access", headers=mallory._build_hf_headers()).raise_for_status()
    assert read(mallory, "a.txt", tmp_path) == b"mine"
    assert list(ada.list_pending_access_requests(REPO, repo_type="dataset")) == []
    ada.cancel_access_request(REPO, "mallory", repo_type="dataset")
    assert [one.username for one in ada.list_pending_access_requests(REPO, repo_type="dataset")] == ["mallory"]
    ada.reject_access_request(REPO, "mallory", repo_type="dataset", rejection_reason="Not today.")
    assert [one.username for one in ada.list_rejected_access_requests(REPO, repo_type="dataset")] == ["mallory"]
    ada.update_repo_settings(REPO, gated=False, repo_type="dataset")
    assert read(mallory, "a.txt", tmp_path / "again") == b"mine"
    with pytest.raises(HfHubHTTPError) as error:
        ada.grant_access(REPO, "mallory", repo_type="dataset")
    assert status_of(error) == 400


def test_access_to_a_private_repository_cannot_be_granted_by_its_gate(hub: LoopbackHub, ada: HfApi) -> None:
    ada.update_repo_settings(REPO, gated="manual", repo_type="dataset")
    grace = stranger(hub, "grace")
    ada.grant_access(REPO, "grace", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        grace.dataset_info(REPO)


def test_discussions_are_opened_answered_closed_and_listed(hub: LoopbackHub, ada: HfApi) -> None:
    opened = ada.create_discussion(REPO, "Rows were taken back", description="Three today.", repo_type="dataset")
    ada.comment_discussion(REPO, opened.num, "Their history too.", repo_type="dataset")
    ada.change_discussion_status(REPO, opened.num, "closed", repo_type="dataset")
    found = ada.get_discussion_details(REPO, opened.num, repo_type="dataset")
    said = [event.content for event in found.events if event.type == "comment"]
    assert (found.status, found.author, said) == ("closed", "ada", ["Three today.", "Their history too."])
    for number in range(11):
        ada.create_discussion(REPO, f"Number {number}", repo_type="dataset")
    listed = list(ada.get_repo_discussions(REPO, repo_type="dataset"))
    assert [discussion.num for discussion in listed] == list(range(12, 0, -1))
    with pytest.raises(RepositoryNotFoundError):
        stranger(hub).get_discussion_details(REPO, 1, repo_type="dataset")
