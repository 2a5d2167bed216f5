"""The loopback Hub: signing in, and whole clients in processes of their own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, RepositoryNotFoundError

from tests.support.hub import LoopbackHub, Org
from tests.support.hub.testing import (  # noqa: F401
    CANARY,
    REPO,
    UPLOAD_WARNING,
    ada_api,
    clean_hub,
    commit,
    parquet,
    read,
    running_hub,
)

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)


# Signing in


CALLBACK = "http://127.0.0.1:7860/login/callback"


def sign_in(hub: LoopbackHub, verifier: str, **changes: str) -> httpx.Response:
    """Goes through consent at once as ada, and redeems the code with `changes` to what is right."""
    hub.oauth.add_client("app", "secret", [CALLBACK])
    hub.oauth.add_client("another", "secret", [CALLBACK])
    hub.oauth.answer = "ada"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    sent = httpx.get(
        f"{hub.endpoint}/oauth/authorize",
        params={
            "client_id": "app",
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile",
            "state": "s1",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        },
    )
    assert sent.status_code == 303
    back = parse_qs(urlsplit(sent.headers["location"]).query)
    assert back["state"] == ["s1"]
    form = {
        "grant_type": "authorization_code",
        "code": back["code"][0],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
        "client_id": "app",
        "client_secret": "secret",
        **changes,
    }
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


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": "wrong"},
        {"client_id": "unknown"},
        {"client_id": "another"},
        {"code": "made up"},
        {"redirect_uri": "http://evil.test/"},
        {"code_verifier": "w" * 43},
        {"grant_type": "password"},
    ],
)
def test_a_code_is_redeemed_only_by_whom_it_was_given_to(hub: LoopbackHub, ada: HfApi, changes: dict[str, str]) -> None:
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
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": token,
        "HF_HOME": str(folder),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
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
    assert shown.split("\n")[:4] == [
        "Column(['one', 'two']) Column([1, 2])",
        "Column(['three'])",
        "Column([0, 1, 2, 3, 4])",
        "3",
    ]
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
    assert shown == ["b'456'", "['datasets/ada/chats/.gitattributes', 'datasets/ada/chats/a.txt']", "False"]


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
        assert process.wait(timeout=120) == 0
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
