"""What visitors hear of saving: how far everything is, and of whatever is wrong, in dataset and bucket alike, its kind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chat.dataset_repo import Denied, RepoError, TooMany, Unreachable
from chat.keeping import Keeping
from chat.write_ahead import WriteAhead
from tests.support.backing import Machine, owner_of
from tests.support.memory_bucket import MemoryBucket
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio

KINDS: list[tuple[RepoError, str]] = [
    (Unreachable("No answer."), "unreachable"),
    (Denied("Not allowed."), "denied"),
    (TooMany("Used up."), "quota"),
]


@pytest.fixture
def machine(tmp_path: Path):
    machine = Machine(tmp_path, MemoryRepo("ada/chats"))
    yield machine
    machine.close()


def keeping_of(machine: Machine, outlives: bool = True) -> Keeping:
    ready = asyncio.Event()
    ready.set()
    ahead = WriteAhead(machine.db, MemoryBucket(objects={}), machine.clock, ready=ready)
    return Keeping(machine.backup, ahead, outlives)


async def test_it_is_kept_here_then_safe_then_saved(machine: Machine):
    keeping = keeping_of(machine)
    await machine.backup.flush()
    assert await keeping.told() == {"outlives": True, "state": "saved", "sentence": "Kept here, and saved in the private dataset."}  # fmt: skip
    await machine.turn(owner_of(1), None, "new")
    assert (await keeping.told())["state"] == "kept here"
    await keeping.ahead.flush()
    assert (await keeping.told())["state"] == "safe"
    await machine.backup.flush()
    assert (await keeping.told())["state"] == "saved"


async def test_without_the_hub_it_is_a_folder(machine: Machine):
    await machine.backup.flush()
    told = await Keeping(machine.backup, None, outlives=False).told()
    assert told == {"outlives": False, "state": "saved", "sentence": "Kept here, and saved in the folder beside the database."}  # fmt: skip


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=[kind for _, kind in KINDS])
@pytest.mark.parametrize("where", ["dataset", "bucket"])
async def test_what_is_wrong_with_either_is_told_by_its_kind(machine: Machine, where: str, error: RepoError, kind: str):
    keeping = keeping_of(machine)
    await machine.backup.flush()
    for waits in (False, True):
        if waits:
            await machine.turn(owner_of(1), None, "new")
        (machine.backup if where == "dataset" else keeping.ahead).failed(error)
        told = await keeping.told()
        assert (told["where"], told["kind"]) == (where, kind)
        assert str(error) in told["problem"] and told["problem"] in told["sentence"]
        # With the bucket away, what the dataset has is saved all the same.
        assert told["state"] == ("saved" if where == "bucket" and not waits else "kept here")


async def test_of_two_the_datasets_problem_is_told(machine: Machine):
    keeping = keeping_of(machine)
    keeping.ahead.failed(Denied("Not allowed."))
    machine.backup.failed(Unreachable("No answer."))
    told = await keeping.told()
    assert (told["where"], told["kind"]) == ("dataset", "unreachable")


async def test_an_object_that_cannot_be_read_is_a_file(machine: Machine):
    keeping = keeping_of(machine)
    keeping.ahead.bucket.objects = {f"{'0' * 16}/conversation-{'1' * 24}.jsonl": b"{"}
    await keeping.ahead.look()
    assert keeping.ahead.problem and (await keeping.told())["kind"] == "file"
