"""The app's side of a storage bucket, against the loopback Hub and the unmodified client."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import httpx as transport

from chat.dataset_repo import Denied, Doubtful, Unreachable
from chat.hub_bucket import HubBucket
from tests.support.backing import in_folder
from tests.support.hub.testing import CANARY, clean_hub, running_hub  # noqa: F401

BUCKET = "ada/wal"


@pytest.fixture
def bucket(hub) -> HubBucket:
    bucket = HubBucket(hub.endpoint, hub.add_user("ada"), BUCKET)
    bucket.create()
    return bucket


def test_what_is_written_is_read_and_what_is_deleted_is_gone(bucket, hub):
    bucket.apply({"a/1.jsonl": CANARY.encode(), "a/2.jsonl": b"\x00\xff", "b/3.jsonl": b""}, [])
    assert bucket.paths() == ["a/1.jsonl", "a/2.jsonl", "b/3.jsonl"]
    assert bucket.read(["a/1.jsonl", "b/3.jsonl", "nowhere"]) == {"a/1.jsonl": CANARY.encode(), "b/3.jsonl": b""}
    bucket.apply({"c/4.jsonl": b"4"}, ["a/1.jsonl", "nowhere"])
    assert bucket.paths() == ["a/2.jsonl", "b/3.jsonl", "c/4.jsonl"]
    assert bucket.read([]) == {}


def test_more_than_a_batch_of_the_client_is_one_of_ours(bucket):
    bucket.apply({f"a/{number}": b"%d" % number for number in range(250)}, [])
    assert len(bucket.paths()) == 250
    assert bucket.read([f"a/{number}" for number in range(250)])["a/77"] == b"77"


def test_it_is_made_private_and_making_it_twice_changes_nothing(bucket, hub):
    assert bucket.visibility() == "private"
    assert bucket.owned()
    bucket.apply({"a": b"1"}, [])
    bucket.create()
    assert bucket.paths() == ["a"]
    HfApi(endpoint=hub.endpoint, token=hub.add_token("ada")).update_bucket_settings(BUCKET, private=False)
    assert bucket.visibility() == "public"
    stranger = HubBucket(hub.endpoint, hub.add_user("mallory"), BUCKET)
    assert (stranger.visibility(), stranger.owned()) == ("public", False)
    with pytest.raises(Denied, match="HF_TOKEN may not write to ada/wal"):
        stranger.apply({"a": b"2"}, [])


def test_one_that_is_not_there_is_none(bucket, hub):
    assert HubBucket(hub.endpoint, hub.add_token("ada"), "ada/other").visibility() is None
    assert HubBucket(hub.endpoint, hub.add_user("mallory"), BUCKET).visibility() is None
    HfApi(endpoint=hub.endpoint, token=hub.add_token("ada")).delete_bucket(BUCKET)
    with pytest.raises(Denied, match="The Hub has no bucket ada/wal any more"):
        bucket.apply({"a": b"1"}, [])
    with pytest.raises(Denied, match="The Hub has no bucket ada/wal any more"):
        bucket.paths()


def test_a_revoked_token_says_what_to_do(bucket, hub):
    token = hub.add_token("ada")
    revoked = HubBucket(hub.endpoint, token, BUCKET)
    revoked.apply({"a": b"1"}, [])
    hub.revoke(token)
    for act in (revoked.visibility, revoked.paths, lambda: revoked.apply({"b": b"2"}, []), lambda: revoked.read(["a"])):
        with pytest.raises(Denied, match="does not accept HF_TOKEN: it is wrong, expired or revoked"):
            act()


@pytest.mark.parametrize(
    "error", [RuntimeError("text"), OSError("text"), transport.ReadTimeout("text"), ValueError("text")]
)
def test_what_may_have_been_applied_is_doubtful_and_quotes_nothing(bucket, error):
    def fail() -> None:
        raise error

    with pytest.raises(Doubtful) as raised:
        bucket._transfer(fail)
    assert "text" not in str(raised.value)


def test_a_batch_of_which_some_failed_is_doubtful(bucket):
    with pytest.raises(Doubtful, match="1 objects could not be written to ada/wal"):
        bucket.apply({"a": b"1", "../b": b"2"}, [])
    assert bucket.paths() == ["a"]


def test_nobody_there_is_unreachable():
    with pytest.raises(Unreachable, match="cannot be reached"):
        HubBucket("http://127.0.0.1:9", "hf_x", BUCKET).visibility()


def test_what_a_killed_app_was_reading_goes_at_the_next_start(bucket, hub, tmp_path):
    """The client reads into files. A deletion could not reach what stays of them."""
    folder = tmp_path / "reading"
    bucket.apply({"a": CANARY.encode()}, [])
    token = hub.add_token("ada")
    first = HubBucket(hub.endpoint, token, BUCKET, folder)
    assert first.read(["a"])["a"] == CANARY.encode() and not in_folder(tmp_path, CANARY)
    (folder / "left").mkdir()
    (folder / "left" / "0").write_bytes(CANARY.encode())
    again = HubBucket(hub.endpoint, token, BUCKET, folder)
    assert not in_folder(tmp_path, CANARY)
    assert again.read(["a"])["a"] == CANARY.encode()


def test_no_text_stays_on_this_disk(bucket, tmp_path, monkeypatch):
    """Neither in the temporary folder nor in a cache of the client's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the system's has those of whoever else reads a bucket now
    canary = f"{CANARY} {tmp_path}"  # what other tests leave in that cache is theirs
    bucket.apply({"a": canary.encode() * 100}, [])
    assert bucket.read(["a"])["a"] == canary.encode() * 100
    assert list(tmp_path.iterdir()) == []
    assert not in_folder(Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "xet", canary)
