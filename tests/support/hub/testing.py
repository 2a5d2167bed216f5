"""Fixtures and helpers of the tests that drive the loopback Hub with the Hub's own clients.

from tests.support.hub.testing import ada_api, clean_hub, running_hub   # makes the fixtures `ada`, `hub`, `running`
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from .server import LoopbackHub

REPO = "ada/chats"
CANARY = "a sentence that nobody else wrote"
# The client's own upload of large files trips over its own HTTP library.
UPLOAD_WARNING = "ignore:Use 'content=:DeprecationWarning"


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="running", scope="module")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """One server for a file's tests."""
    with LoopbackHub(tmp_path_factory.mktemp("hub"), clock=Clock()) as hub:
        yield hub


@pytest.fixture(name="hub")
def clean_hub(running: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """The server with no repositories, faults or switches left over."""
    # Read from the environment when the client is imported, which another test file may have done before.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    disable_progress_bars()
    running.reset()
    return running


@pytest.fixture(name="ada")
def ada_api(hub: LoopbackHub) -> HfApi:
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
    return api.create_commit(repo, operations, commit_message="Write", repo_type="dataset", parent_commit=parent).oid


def post_commit(hub: LoopbackHub, api: HfApi, *operations: tuple[str, dict[str, Any]]) -> httpx.Response:
    """A commit as it goes over the wire, past what the client would notice or leave out itself."""
    lines = [("header", {"summary": "Write"}), *operations]
    return httpx.post(
        f"{hub.endpoint}/api/datasets/{REPO}/commit/main",
        content="\n".join(json.dumps({"key": key, "value": value}) for key, value in lines),
        headers=api._build_hf_headers(),
    )


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
    """The statuses of the logged requests whose path has the fragment."""
    return [entry.status for entry in hub.requests if fragment in entry.path]


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code
