"""The audit notices everything that is public and should not be, or not as it is."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chat.hub import HubRepo
from privacy.audit import audit, main
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub  # noqa: F401
from tests.support.sharing_world import World

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET = "ada/parley-acme__alpha"


@pytest.fixture
async def world(tmp_path):
    """Two rows are public, one was taken back."""
    world = World(tmp_path)
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chats = [await world.say(owner, f"word {n}") for n in range(3)]
    await world.turn()
    await world.store.delete(owner, chats[0])
    await world.turn(0)
    world.owner = owner
    yield world
    world.close()


async def audited(world):
    return await world.db.read(lambda db: audit(db, world.in_memory, world.rules, world.clock()))


def shard(world):
    files = world.repos[DATASET].now()
    path = next(path for path in files if path.startswith("data/"))
    return path, pq.read_table(io.BytesIO(files[path]))


def put(world, path, table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    world.repos[DATASET].commit({path: buffer.getvalue()}, (), None, "by hand")


async def test_after_a_push_nothing_is_wrong(world):
    assert await audited(world) == []


async def test_a_row_that_nobody_planned_is_named(world):
    path, table = shard(world)
    strange = {**table.to_pylist()[0], "row_id": "f" * 32}
    put(world, path, pa.concat_tables([table, pa.Table.from_pylist([strange], schema=table.schema)]))
    assert await audited(world) == [f"{DATASET}: row {'f' * 32} is in no outbox."]


async def test_a_row_that_was_changed_is_named(world):
    path, table = shard(world)
    rows = [{**row, "finish_reason": "length"} for row in table.to_pylist()]
    put(world, path, pa.Table.from_pylist(rows, schema=table.schema))
    assert all("is not as it was published" in sentence for sentence in await audited(world))
    assert len(await audited(world)) == len(rows)


async def test_a_missing_row_and_a_missing_tombstone_are_named(world):
    path, table = shard(world)
    world.repos[DATASET].commit({}, (path, "tombstones.parquet"), None, "by hand")
    found = await audited(world)
    assert sum("is not there" in sentence for sentence in found) == table.num_rows
    assert sum("has no tombstone" in sentence for sentence in found) == 1


async def test_a_row_that_came_back_is_named(world):
    _path, table = shard(world)
    gone = next(row["row_id"] for row in await world.outbox() if row["state"] == "retracted")
    back = {**table.to_pylist()[0], "row_id": gone}
    put(world, "data/again.parquet", pa.Table.from_pylist([back], schema=table.schema))
    assert await audited(world) == [f"{DATASET}: row {gone} is there and counts as retracted."]


async def test_a_withdrawal_that_no_plan_has_seen_yet_is_named(world):
    await world.choose(world.owner, "withdraw")
    assert sum("not covered" in sentence for sentence in await audited(world)) == 2
    await world.turn(0)
    assert await audited(world) == []


async def test_a_strange_file_an_open_dataset_and_a_rewritten_ledger_are_named(world):
    world.repos[DATASET].commit({"notes.txt": b"hello"}, (), None, "by hand")
    world.repos[DATASET].seen_by = "public"

    def forge(db):
        db.execute("DROP TRIGGER consent_events_are_never_changed")
        db.execute("UPDATE consent_events SET language = 'xx'")

    await world.db.write(forge)
    found = " ".join(await audited(world))
    assert "notes.txt" in found and "open to everyone" in found and "is not what was written" in found


async def test_the_command_proves_it_against_a_hub_and_ends_with_1_on_anything_else(tmp_path, hub, ada, capsys):
    world = World(tmp_path, lambda id: HubRepo(hub.endpoint, str(ada.token), id))
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "a private word")
    await world.turn()
    environ = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": str(ada.token)}
    assert main([str(tmp_path)], environ, world.clock()) == 0
    await world.choose(owner, "withdraw")
    assert main([str(tmp_path)], environ, world.clock()) == 1
    assert main([str(tmp_path)], {**environ, "HF_TOKEN": "hf_wrong"}, world.clock()) == 2
    assert main([str(tmp_path / "nowhere")], environ, world.clock()) == 2
    world.close()
    assert "private word" not in "".join(capsys.readouterr())
