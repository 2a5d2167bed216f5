"""The start beside a Hub that does not answer: the page waits for it a moment only, and nothing is kept in public for that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from chat.backup import PublicDataset
from chat.dataset_repo import Unreachable
from chat.keeping import Keeping
from chat.write_ahead import WriteAhead
from tests.support.app_process import AppProcess, wait_until
from tests.support.backing import Machine
from tests.support.hub import LoopbackHub
from tests.support.memory_bucket import MemoryBucket
from tests.support.memory_repo import MemoryRepo

LONG = 300.0  # seconds after which whoever still waits here has waited for a Hub that hangs


class Hanging:
    """Answers nobody until `answers` is set. `asked`: how many wait; `outwaited`: whether anybody waited for it to the end."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)
        self.outwaited = False

    def __call__(self) -> None:
        self.asked.release()
        self.outwaited |= not self.answers.wait(LONG)


class HangingRepo(MemoryRepo):
    def __init__(self, hanging: Hanging) -> None:
        super().__init__("ada/chats")
        self.hanging = hanging

    def visibility(self):
        self.hanging()
        return super().visibility()


class HangingBucket(MemoryBucket):
    hanging: Hanging

    def visibility(self):
        self.hanging()
        return super().visibility()


@pytest.fixture(name="hanging")
def a_hanging_hub() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.answers.set()


def keeping_of(tmp_path: Path, repo: MemoryRepo, bucket: MemoryBucket | None) -> tuple[Keeping, Machine]:
    machine = Machine(tmp_path, repo)
    ahead = WriteAhead(machine.db, bucket, machine.clock) if bucket else None
    return Keeping(machine.backup, ahead, outlives=True), machine


@pytest.mark.parametrize("with_bucket", [False, True])
def test_a_hub_that_hangs_is_asked_once_for_all_and_not_waited_for(hanging: Hanging, with_bucket: bool, tmp_path: Path):
    bucket = HangingBucket()
    bucket.hanging = hanging
    keeping, machine = keeping_of(tmp_path, HangingRepo(hanging), bucket if with_bucket else None)
    keeping.check(0.05)
    assert "ada/chats has not answered yet" in machine.backup.problem and not hanging.outwaited
    assert len(machine.reports) == 1
    if with_bucket:
        assert "ada/wal has not answered yet" in keeping.ahead.problem
        for _ in range(2):  # both, before either had an answer
            assert hanging.asked.acquire(timeout=LONG)
    machine.close()


def test_whoever_starts_may_ask_the_hub_something_else_before_waiting_for_it(hanging: Hanging, tmp_path: Path):
    keeping, machine = keeping_of(tmp_path, HangingRepo(hanging), None)
    answered = keeping.ask(LONG)
    assert hanging.asked.acquire(timeout=LONG) and machine.backup.problem is None
    hanging.answers.set()
    answered()
    assert machine.backup.problem is None and not hanging.outwaited
    machine.close()


def test_what_a_hub_answers_after_it_was_given_up_changes_nothing(hanging: Hanging, tmp_path: Path):
    repo, told = HangingRepo(hanging), threading.Event()
    repo.create("card", private=False)
    repo.owned = lambda: told.set() or True  # asked last
    keeping, machine = keeping_of(tmp_path, repo, None)
    keeping.check(0.05)
    said = machine.backup.problem
    hanging.answers.set()
    assert told.wait(LONG)
    assert machine.backup.problem == said
    machine.close()


@pytest.mark.parametrize("where", ["dataset", "bucket"])
def test_what_is_public_stops_the_app_though_the_other_hangs(hanging: Hanging, where: str, tmp_path: Path):
    bucket, repo = HangingBucket(objects={}), HangingRepo(hanging)
    bucket.hanging = hanging
    if where == "dataset":
        repo = MemoryRepo("ada/chats")
        repo.create("card", private=False)
    else:
        bucket = MemoryBucket(objects={}, seen_by="public")
    keeping, machine = keeping_of(tmp_path, repo, bucket)
    with pytest.raises(PublicDataset, match="ada/chats" if where == "dataset" else "ada/wal"):
        keeping.check(LONG)
    assert not hanging.outwaited
    machine.close()


def test_a_hub_that_refuses_is_told_of_at_once(tmp_path: Path):
    repo = MemoryRepo("ada/chats")

    def refuse():
        raise Unreachable("The Hub cannot be reached.")

    repo.visibility = refuse
    keeping, machine = keeping_of(tmp_path, repo, None)
    keeping.check(LONG)
    assert "cannot be reached" in machine.backup.problem
    machine.close()


@pytest.mark.parametrize("bucket", ["", "host/wal"], ids=["without a bucket", "with a bucket"])
def test_the_page_is_up_before_the_hub_has_answered_anything(bucket: str, hanging: Hanging, tmp_path: Path):
    """The whole app. What the Hub is asked at the start is held back until the page is there."""
    with LoopbackHub(tmp_path / "hub") as hub:
        variables = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.add_user("host"),
            "STORE_DATASET": "host/kept",
            "ENGINE_URL": "http://127.0.0.1:9",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        hub.faults.add("^/api/(datasets|buckets)/", times=None, do=hanging)
        with AppProcess(tmp_path / "data", **variables, **({"WAL_BUCKET": bucket} if bucket else {})) as app:
            told = app.output()
            assert not hanging.outwaited
            hanging.answers.set()
            for id in ("host/kept", *([bucket] if bucket else [])):
                assert f"{id} has not answered yet" in told


def test_models_that_a_hanging_hub_did_not_tell_at_the_start_come_later_by_themselves(hanging: Hanging, tmp_path: Path):
    """The whole app. The page says meanwhile what is missing."""
    with LoopbackHub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.add_user("ada"))
        api.create_repo("ada/talker")
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="ada/talker")
        hub.faults.add("^/api/", times=None, do=hanging)
        variables = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.add_user("host"),
            "STORE_DATASET": "host/kept",
            "MODELS": "ada/talker",
            "ENGINE_URL": "http://127.0.0.1:9",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

        def talker(app: AppProcess) -> dict:
            listed = httpx.get(f"{app.url}/api/models").json()["models"]
            return next(model for model in listed if model["name"] == "ada/talker")

        with AppProcess(tmp_path / "data", **variables) as app:
            assert not hanging.outwaited
            assert "did not answer" in talker(app)["reason"] and "asked again" in talker(app)["reason"]
            assert "host/kept has not answered yet" in app.output()
            hanging.answers.set()
            wait_until(lambda: talker(app)["available"])
