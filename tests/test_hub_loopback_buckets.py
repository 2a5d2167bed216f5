"""The storage buckets of the loopback Hub, driven by the Hub's own client and hf_xet as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketBatchError, BucketNotFoundError, HfHubHTTPError

from tests.support.hub import LoopbackHub
from tests.support.hub.testing import CANARY, ada_api, answered, clean_hub, running_hub, status_of, stranger

__all__ = ["ada_api", "clean_hub", "running_hub"]

BUCKET = "ada/wal"


@pytest.fixture
def wal(ada: HfApi) -> HfApi:
    """The API as ada, who has a private bucket."""
    ada.create_bucket(BUCKET, private=True)
    return ada


def put(api: HfApi, files: dict[str, bytes], delete: tuple[str, ...] = ()) -> None:
    api.batch_bucket_files(BUCKET, add=[(content, path) for path, content in files.items()], delete=list(delete))


def get(api: HfApi, folder: Path, *paths: str) -> list[bytes]:
    targets = [(path, folder / str(number)) for number, path in enumerate(paths)]
    api.download_bucket_files(BUCKET, targets, raise_on_missing_files=True)
    return [target.read_bytes() for _, target in targets]


def bucket_holds(hub: LoopbackHub, text: str) -> bool:
    """Whether the text is in any byte that the bucket's folder has."""
    return any(text.encode() in path.read_bytes() for path in hub.bucket_path(BUCKET).rglob("*") if path.is_file())


def test_what_is_put_comes_back_byte_for_byte(wal: HfApi, tmp_path: Path) -> None:
    files = {
        "a/empty": b"",
        "a/small.jsonl": CANARY.encode(),
        "a/again.jsonl": CANARY.encode(),
        "b/words": b"the same words, over and over. " * 30_000,
        "b/noise": os.urandom(400_000),
        "b/floats": b"".join(number.to_bytes(4, "little") for number in range(100_000)),
    }
    put(wal, files)
    assert get(wal, tmp_path, *files) == list(files.values())
    info = wal.bucket_info(BUCKET)
    assert (info.private, info.total_files, info.size) == (True, 6, sum(map(len, files.values())))


def test_a_later_write_replaces_and_parts_sent_before_are_not_sent_again(wal: HfApi, tmp_path: Path) -> None:
    noise = os.urandom(600_000)
    put(wal, {"x": noise})
    put(wal, {"x": noise + b"tail", "y": noise})
    assert get(wal, tmp_path, "x", "y") == [noise + b"tail", noise]


def test_the_listing_knows_files_folders_and_prefixes(wal: HfApi) -> None:
    put(wal, {"log/1": b"1", "log/2": b"2", "logs.txt": b"3", "top": b"4"})
    every = {item.path: item for item in wal.list_bucket_tree(BUCKET, recursive=True)}
    assert set(every) == {"log/1", "log/2", "logs.txt", "top"}
    assert every["top"].size == 1 and every["top"].uploaded_at is not None
    assert [(item.path, item.type) for item in wal.list_bucket_tree(BUCKET)] == [
        ("log", "directory"), ("logs.txt", "file"), ("top", "file"),
    ]  # fmt: skip
    assert [item.path for item in wal.list_bucket_tree(BUCKET, "log/")] == ["log/1", "log/2"]
    assert [item.path for item in wal.list_bucket_tree(BUCKET, "log", recursive=True)] == ["log/1", "log/2", "logs.txt"]
    assert [item.path for item in wal.get_bucket_paths_info(BUCKET, ["top", "nowhere"])] == ["top"]


def test_a_long_listing_comes_in_pages(wal: HfApi, hub: LoopbackHub) -> None:
    put(wal, {f"{number:04}": b"same" for number in range(1_000)})
    put(wal, {"last": b"same"})
    assert len(list(wal.list_bucket_tree(BUCKET, recursive=True))) == 1_001
    assert answered(hub, "/tree") == [200, 200]


def test_what_is_deleted_is_in_no_byte_of_the_bucket(wal: HfApi, hub: LoopbackHub) -> None:
    put(wal, {"one": CANARY.encode() * 2_000, "two": b"something else " * 10})
    assert bucket_holds(hub, CANARY)
    put(wal, {}, delete=("one",))
    assert not bucket_holds(hub, CANARY) and bucket_holds(hub, "something else")
    put(wal, {}, delete=("one",))  # again, after an answer that was lost


def test_what_was_uploaded_but_never_named_is_in_no_byte_of_the_bucket(wal: HfApi, hub: LoopbackHub) -> None:
    hub.faults.add("/batch$", method="POST", status=403)
    with pytest.raises(HfHubHTTPError):
        put(wal, {"one": CANARY.encode()})
    assert not bucket_holds(hub, CANARY)


def test_a_lost_answer_of_a_batch_may_hide_that_it_was_applied(wal: HfApi, hub: LoopbackHub, tmp_path: Path) -> None:
    # The client asks again by itself; the same batch twice is the same as once.
    hub.faults.add("/batch$", method="POST", drop=True, when="after")
    put(wal, {"one": b"1"})
    assert answered(hub, "/batch") == [None, 200]
    assert get(wal, tmp_path, "one") == [b"1"]


def test_a_batch_names_what_it_could_not_do_and_does_the_rest(wal: HfApi, hub: LoopbackHub) -> None:
    with pytest.raises(BucketBatchError) as error:
        wal.batch_bucket_files(BUCKET, add=[(b"1", "one"), (b"2", "../two")])
    assert [failure["path"] for failure in error.value.failures] == ["../two"]
    assert [item.path for item in wal.list_bucket_tree(BUCKET)] == ["one"]


def test_a_batch_can_be_told_to_have_failed_in_part(wal: HfApi, hub: LoopbackHub) -> None:
    report = {"success": False, "processed": 1, "succeeded": 0, "failed": [{"path": "one", "error": "Busy"}]}
    hub.faults.add("/batch$", method="POST", status=422, body=report, when="after")
    with pytest.raises(BucketBatchError) as error:
        put(wal, {"one": b"1"})
    assert error.value.failures == report["failed"]
    assert [item.path for item in wal.list_bucket_tree(BUCKET)] == ["one"]


def test_a_copy_needs_no_upload(wal: HfApi, hub: LoopbackHub, tmp_path: Path) -> None:
    put(wal, {"one": b"1"})
    wal.copy_files(f"hf://buckets/{BUCKET}/one", f"hf://buckets/{BUCKET}/two")
    put(wal, {}, delete=("one",))
    assert get(wal, tmp_path, "two") == [b"1"]


def test_nobody_else_sees_a_private_bucket(wal: HfApi, hub: LoopbackHub, tmp_path: Path) -> None:
    put(wal, {"one": b"1"})
    mallory = stranger(hub)
    for attempt in (
        lambda: mallory.bucket_info(BUCKET),
        lambda: list(mallory.list_bucket_tree(BUCKET)),
        lambda: get(mallory, tmp_path, "one"),
        lambda: put(mallory, {"one": b"2"}),
        lambda: mallory.delete_bucket(BUCKET),
    ):
        # hf_xet says of a refused token route what it likes.
        with pytest.raises((BucketNotFoundError, RuntimeError, OSError)):
            attempt()
    wal.update_bucket_settings(BUCKET, private=False)
    assert get(mallory, tmp_path, "one") == [b"1"]
    with pytest.raises(HfHubHTTPError) as refused:
        mallory.batch_bucket_files(BUCKET, delete=["one"])
    assert status_of(refused) == 403


def test_a_token_that_was_revoked_or_may_only_read_writes_nothing(wal: HfApi, hub: LoopbackHub) -> None:
    put(wal, {"one": b"1"})
    reader = HfApi(endpoint=hub.endpoint, token=hub.add_token("ada", role="read"))
    with pytest.raises((HfHubHTTPError, RuntimeError, OSError)):
        put(reader, {"two": b"2"})
    hub.faults.add("/batch$", revoke=True)
    with pytest.raises(HfHubHTTPError) as refused:
        put(wal, {"two": b"2"})
    assert status_of(refused) == 401
    owner = HfApi(endpoint=hub.endpoint, token=hub.add_token("ada"))
    assert [item.path for item in owner.list_bucket_tree(BUCKET)] == ["one"]


def test_a_bucket_is_made_found_moved_and_deleted(ada: HfApi, hub: LoopbackHub, tmp_path: Path) -> None:
    assert ada.create_bucket("wal", private=True).bucket_id == BUCKET
    with pytest.raises(HfHubHTTPError) as taken:
        ada.create_bucket(BUCKET)
    assert status_of(taken) == 409
    assert ada.create_bucket(BUCKET, exist_ok=True).bucket_id == BUCKET
    put(ada, {"one": b"1"})
    assert [bucket.id for bucket in ada.list_buckets()] == [BUCKET]
    assert list(stranger(hub).list_buckets("ada")) == []
    ada.move_bucket(BUCKET, "ada/other")
    with pytest.raises(BucketNotFoundError):
        ada.bucket_info(BUCKET)
    assert ada.bucket_info("ada/other").total_files == 1
    ada.delete_bucket("ada/other")
    ada.delete_bucket("ada/other", missing_ok=True)
    assert not hub.bucket_path("ada/other").exists()
