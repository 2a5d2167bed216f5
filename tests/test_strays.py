"""What stands in a sharing dataset and in no outbox leaves head and history, with a tombstone, and is told."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from chat.dataset_repo import Denied
from chat.hub import HubRepo
from privacy.push import CALLER
from privacy.saved import files as saved_files
from privacy.shards import SHARDS, shard_bytes, shard_path
from privacy.sharing import LOOK
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub  # noqa: F401
from tests.support.memory_repo import Crash, Faulty
from tests.support.sharing_world import World
from tests.test_sharing import agreed, dug_up, published, rows, texts, tombstones
from tests.test_sharing_hub import dug_up as dug_up_in_git
from tests.test_sharing_hub import git

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET = "ada/parley-acme__alpha"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "data")
    yield world
    world.close()


@pytest.fixture
def on_hub(tmp_path, hub: LoopbackHub, ada: HfApi):
    world = World(tmp_path / "data", lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER))
    yield world
    world.close()


def stray(row: dict, row_id: str, text: str) -> dict:
    return {**row, "row_id": row_id, "messages": [{**row["messages"][0], "content": text}]}


def taken(files: dict[str, bytes]) -> tuple[str, list[dict]]:
    path = next(path for path in sorted(files) if path.startswith("data/"))
    return path, pq.read_table(io.BytesIO(files[path])).to_pylist()


async def test_a_foreign_row_beside_ours_is_in_no_object_of_the_repository_after_a_push(on_hub, hub, ada):
    """By another hand, into a shard of ours that the push has another reason to write, or none."""
    owner = await agreed(on_hub)
    await on_hub.say(owner, "ours")
    await on_hub.turn()
    path = next(path for path in ada.list_repo_files(DATASET, repo_type="dataset") if path.startswith("data/"))
    repo = HubRepo(hub.endpoint, str(ada.token), DATASET)
    (row,) = pq.read_table(io.BytesIO(repo.read(path, repo.head()))).to_pylist()
    added = shard_bytes([row, stray(row, "f" * 32, "from another hand")])
    with hub.guard.lifted():
        ada.create_commit(DATASET, [CommitOperationAdd(path, added)], commit_message="by hand", repo_type="dataset")
    assert dug_up_in_git(hub, DATASET, "from another hand")
    await on_hub.say(owner, "and more")
    _, pushed = await on_hub.turn()
    assert "1 row that nothing here explains" in pushed.problems[0]
    assert not dug_up_in_git(hub, DATASET, "from another hand")
    assert dug_up_in_git(hub, DATASET, "ours") and dug_up_in_git(hub, DATASET, "and more")
    assert dug_up_in_git(hub, DATASET, "f" * 32), "its tombstone"
    assert git(hub, DATASET, "rev-list", "--count", "--all").strip() == b"1"
    await on_hub.say(owner, "and still more")
    _, pushed = await on_hub.turn()
    assert not pushed.problems, "told once"
    assert dug_up_in_git(hub, DATASET, "f" * 32), "and remembered"


async def test_rows_of_a_lost_outbox_leave_with_a_tombstone_each(world, tmp_path):
    owner, _ = await published(world, "nobody knows", "who wrote these")
    old = {row["row_id"] for row in rows(world)}
    other = World(tmp_path / "other", beside=world)
    try:
        owner = await agreed(other)
        await other.say(owner, "written later")
        _, pushed = await other.turn()
        assert "2 rows that nothing here explains" in pushed.problems[0]
        assert not dug_up(other, "nobody knows") and not dug_up(other, "who wrote these")
        assert set(tombstones(other)) == old and "written later" in texts(other)
        assert other.audited() == []
    finally:
        other.close()


async def test_a_changed_text_of_a_known_row_and_a_file_of_another_name_leave_too(world):
    owner, _ = await published(world, "as it was")
    repo = world.repos[DATASET]
    path, found = taken(repo.now())
    changed = shard_bytes([{**found[0], "messages": [{**found[0]["messages"][0], "content": "put into a mouth"}]}])
    beside = shard_bytes([stray(found[0], "e" * 32, "beside it")])
    repo.commit({path: changed, "data/more.parquet": beside, "data/notes.parquet": b"PAR1 no"}, (), None, "by hand")
    await world.say(owner, "and more")
    await world.turn()
    for text in ("put into a mouth", "beside it", "PAR1 no"):
        assert not dug_up(world, text), text
    assert "as it was" in texts(world) and tombstones(world) == ["e" * 32]
    assert all(path in {shard_path(n) for n in range(SHARDS)} for path in repo.now() if path.startswith("data/"))


async def test_a_row_that_somebody_put_back_leaves_again(world):
    owner, (chat, _) = await published(world, "taken back", "stays")
    repo = world.repos[DATASET]
    before = repo.now()
    await world.store.delete(owner, chat)
    await world.turn(0)
    repo.commit({path: content for path, content in before.items() if path.startswith("data/")}, (), None, "revert")
    assert dug_up(world, "taken back")
    await world.say(owner, "more")
    await world.turn()
    assert not dug_up(world, "taken back") and len(tombstones(world)) == 1


async def test_what_is_put_into_a_dataset_where_nothing_else_changes_is_found_and_leaves(world):
    await published(world, "stays")
    sharing, repo = world.sharing(), world.repos[DATASET]
    await sharing.turn(restored=lambda: True)
    path, found = taken(repo.now())
    repo.commit({path: shard_bytes([*found, stray(found[0], "f" * 32, "strange")])}, (), None, "by hand")
    world.clock.now += LOOK
    await sharing.turn(restored=lambda: True)
    await sharing.turn(restored=lambda: True)
    assert not dug_up(world, "strange") and "stays" in texts(world) and tombstones(world) == ["f" * 32]


async def test_a_stray_that_comes_back_on_another_day_is_announced_again(world):
    owner, _ = await published(world, "stays")
    repo = world.repos[DATASET]
    for day in range(2):
        path, found = taken(repo.now())
        repo.commit({path: shard_bytes([*found, stray(found[0], "f" * 32, "strange")])}, (), None, "by hand")
        await world.say(owner, f"more {day}")
        await world.turn()
        await world.turn(0)
        assert not dug_up(world, "strange")
    assert len(repo.announced) == 2


async def test_a_dataset_of_somebody_s_own_under_the_name_is_left_alone(world):
    owner = await agreed(world)
    await world.say(owner, "mine")
    own = {"README.md": b"# My own data", "data/train.parquet": b"PAR1 mine PAR1"}
    repo = world.in_memory(DATASET)
    repo.create("# My own data")
    repo.commit(own, (), None, "by hand")
    _, pushed = await world.turn()
    assert "set SHARE_PREFIX to another name" in pushed.problems[0]
    assert repo.now() == own and await world.states() == ["publish"]
    world.repos.clear()  # it was renamed
    await world.turn(0)
    assert "mine" in texts(world)


async def test_an_audit_repository_that_somebody_else_made_is_left_alone(world):
    owner = await agreed(world)
    await world.say(owner, "mine")
    repo = world.in_memory("ada/parley-audit")
    repo.create("# My own audit")
    repo.commit({"mine.csv": b"1,2"}, (), None, "by hand")
    before = repo.now()
    _, pushed = await world.turn()
    assert "ada/parley-audit holds something that is not from here" in pushed.problems[0]
    assert repo.now() == before and not world.repos


async def test_a_dataset_whose_creation_was_cut_off_is_ours(world):
    owner = await agreed(world)
    await world.say(owner, "mine")
    repo = world.in_memory(DATASET)
    repo._add({".gitattributes": b"*.parquet filter=lfs"})
    _, pushed = await world.turn()
    assert not pushed.problems and "mine" in texts(world) and "README.md" in repo.now()


async def test_what_another_machine_shares_while_a_dataset_is_looked_at_is_no_stray(world):
    owner, _ = await published(world, "stays")
    repo = world.repos[DATASET]
    repo.commit({"README.md": repo.now()["README.md"] + b"\n"}, (), None, "by hand")
    path, found = taken(repo.now())

    async def another_shares():
        repo.commit({path: shard_bytes([*found, stray(found[0], "f" * 32, "theirs")])}, (), None, "of the other one")

    await world.sharing(before_public=another_shares).turn(restored=lambda: True)
    assert not await world.db.read(lambda db: db.execute("SELECT * FROM strays").fetchall())


async def test_what_cannot_be_purged_is_squashed_once(world):
    owner, (chat, _) = await published(world, "canary-1", "stays")
    repo, may_purge = world.repos[DATASET], False

    def refuse(name, before):
        if name == "purge" and before and not may_purge:
            raise Denied("A pull request holds it.")

    world.open_repo = lambda id: Faulty(world.in_memory(id), refuse)
    await world.store.delete(owner, chat)
    await world.turn(0)
    commits = repo.commits
    for _ in range(5):
        _, pushed = await world.turn(0)
        assert "pull request" in pushed.problems[0]
    assert repo.commits == commits
    may_purge = True
    await world.turn(0)
    assert not dug_up(world, "canary-1") and "retracted" in await world.states()


async def strayed(world):
    """A stray is there, and a push is due."""
    owner, _ = await published(world, "stays")
    repo = world.repos[DATASET]
    path, found = taken(repo.now())
    repo.commit({path: shard_bytes([*found, stray(found[0], "f" * 32, "strange")])}, (), None, "by hand")
    await world.say(owner, "more")


@pytest.mark.parametrize("call", ["commit", "squash", "purge"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_stray_leaves_though_a_push_crashes_on_the_way_and_its_disk_is_lost(world, tmp_path, call, before):
    """What the private dataset was told before the commit is enough."""
    saved: dict[str, bytes] = {}
    await strayed(world)

    def strike(name, is_before):
        if (name, is_before) == (call, before):
            raise Crash

    async def back_up():
        saved.clear()
        saved.update(await world.db.read(saved_files))

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    world.clock.now += 80 * 3600
    with pytest.raises(Crash):
        await world.sharing(before_public=back_up).turn(restored=lambda: True)
    other = await world.elsewhere(tmp_path / "other", saved)
    try:
        _, pushed = await other.turn(0)
        assert not dug_up(other, "strange") and "stays" in texts(other)
        assert tombstones(other) == ["f" * 32], pushed.problems
    finally:
        other.close()


async def test_a_tombstone_that_no_outbox_knows_is_kept(world, tmp_path):
    owner, (chat,) = await published(world, "gone")
    await world.store.delete(owner, chat)
    await world.turn(0)
    (gone,) = tombstones(world)
    other = World(tmp_path / "other", beside=world)
    try:
        await other.say(await agreed(other), "new")
        await other.turn()
        assert tombstones(other) == [gone]
    finally:
        other.close()


async def test_nothing_of_a_stray_is_told_but_how_many(world):
    await strayed(world)
    _, pushed = await world.turn()
    assert "strange" not in json.dumps(pushed.problems)
    assert pa.Table.from_pylist(rows(world)).num_rows == 2
