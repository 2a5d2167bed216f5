"""Safe: what was put in the bucket comes back on an empty disk with what the dataset holds, and what was deleted does not."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
from contextlib import closing

import pytest

from chat.bucket import BucketOfOneSpace
from chat.conversation import Written
from chat.dataset_repo import Denied, Doubtful, FolderRepo, Unreachable
from chat.feedback import Feedback, FeedbackBook
from chat.formats import SavedMessage
from chat.keeping import Keeping
from chat.purged import recent
from chat.retrying import LONGEST_WAIT
from chat.search import index_some
from chat.write_ahead import LOOK_EVERY, PublicBucket, WriteAhead
from chat.write_ahead_formats import replica_and_kind
from tests.support.backing import AUTHOR, HookedRepo, Machine, owner_of
from tests.support.hub.testing import CANARY
from tests.support.memory_bucket import MemoryBucket

pytestmark = pytest.mark.anyio


class Safe(Machine):
    """A machine with a bucket. `clock` ticks a second at each look, so every look at the bucket is a real one."""

    def with_bucket(self, bucket: MemoryBucket, extras=()) -> Safe:
        self.bucket, self.ready = bucket, asyncio.Event()
        self.ahead = WriteAhead(
            self.db, bucket, self.clock, extras=extras, ready=self.ready, report=self.reports.append
        )
        return self

    async def restore(self) -> None:
        """As a start does: the dataset first, then the bucket."""
        await self.backup.pull()
        self.ready.set()
        await self.look()

    async def look(self) -> None:
        self.clock.now += LOOK_EVERY
        await self.ahead.flush()


class World:
    def __init__(self, folder) -> None:
        self.folder, self.machines, self.bucket = folder, [], MemoryBucket()

    def machine(self, extras=()) -> Safe:
        number = len(self.machines)
        repo = HookedRepo(FolderRepo(self.folder / "dataset"))
        machine = Safe(self.folder / f"disk{number}", repo, options={"extras": extras}).with_bucket(self.bucket, extras)
        self.machines.append(machine)
        return machine

    async def restored(self, extras=()) -> Safe:
        machine = self.machine(extras)
        await machine.restore()
        return machine


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    for machine in world.machines:
        machine.close()


async def messages(machine: Machine, conversation: str) -> list[str]:
    sql = "SELECT content FROM messages WHERE conversation = ? ORDER BY depth"
    return await machine.db.read(lambda db: [row[0] for row in db.execute(sql, (conversation,))])


async def test_what_is_safe_comes_back_on_an_empty_disk_though_the_dataset_never_had_it(world):
    machine = await world.restored()
    first = await machine.turn(owner_of(1), None, "one")
    await machine.turn(owner_of(1), first, "two")
    await machine.turn(owner_of(2), None, "three")
    assert await machine.backup.state(first) == "kept here"
    await machine.ahead.flush()
    assert await machine.backup.state(first) == "safe"
    again = await world.restored()
    assert await again.everything() == await machine.everything()
    assert await again.backup.state(first) == "safe"


async def test_dataset_and_bucket_together_hold_all_of_it(world):
    """The bucket has the changes alone: they fit what the dataset had when they were made, or has by now."""
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "heron")
    await machine.backup.flush()
    await machine.turn(owner_of(1), conversation, "two")
    await machine.store.rename(owner_of(1), conversation, "A title")
    await machine.ahead.flush()
    assert not world.bucket.holds("heron")
    again = await world.restored()
    assert await messages(again, conversation) == ["heron", "An answer.", "two", "An answer."]
    assert await again.everything() == await machine.everything()


async def rated(machine: Machine, conversation: str) -> list[tuple]:
    sql = "SELECT rating, comment FROM feedback JOIN messages AS m ON m.id = answer WHERE conversation = ? ORDER BY m.depth"
    return await machine.db.read(lambda db: [tuple(row) for row in db.execute(sql, (conversation,))])


@pytest.mark.parametrize("saved_before", [True, False])
async def test_a_rating_that_is_safe_comes_back_on_an_empty_disk_as_it_was_last(world, saved_before):
    """Given, changed, and taken back; each on its own, when the answer has long been in the bucket or in the dataset."""
    machine, owner = await world.restored(), owner_of(1)
    book = FeedbackBook(machine.db, machine.clock)
    found = await machine.turn(owner, None, "one")
    await machine.ahead.flush()
    if saved_before:
        await machine.backup.flush()
    _, (_, answer), _ = await machine.store.branch(owner, found)
    for rating in (Feedback("up", ("clear",), "Good."), Feedback("down", comment="No."), None):
        await (book.give(owner, answer.id, rating) if rating else book.remove(owner, answer.id))
        assert await machine.backup.state(found) == "kept here"
        await machine.ahead.flush()
        assert await machine.backup.state(found) == "safe"
        again = await world.restored()
        assert await rated(again, found) == ([(rating.rating, rating.comment)] if rating else [])
        assert await again.everything() == await machine.everything()


@pytest.mark.parametrize("first", [0, 1])
async def test_whatever_copy_came_furthest_the_rating_is_the_newest_one(world, first):
    """One machine has more of the answer; the other, which rated it, more changes. Whichever hears of the other first."""
    machine, owner = await world.restored(), owner_of(1)
    await machine.owner(owner)
    found, _, running = await machine.store.begin_turn(owner, None, "one", AUTHOR, "", "page")
    await machine.store.checkpoint({running.id: Written("half an ans")})
    await machine.backup.flush()
    other = await world.restored()
    book = FeedbackBook(other.db, other.clock)
    for rating in ("up", "up", "down"):
        await book.give(owner, running.id, Feedback(rating))
    await machine.store.finish_turn(running.id, "half an answer and the rest", "done", "stop")
    for each in (world.machines[first], world.machines[1 - first], world.machines[first], await world.restored()):
        await each.look()
    for each in world.machines:
        assert await messages(each, found.id) == ["one", "half an answer and the rest"]
        assert await rated(each, found.id) == [("down", "")]


async def test_what_does_not_travel_makes_no_message_unsafe_again(world):
    """That it was put into the index of the search, or left the kept branch; everything else of a message does."""
    machine, owner = await world.restored(), owner_of(1)
    found = await machine.turn(owner, None, "one")
    await machine.ahead.flush()
    while await machine.db.write(index_some):
        pass
    _, (_, answer), _ = await machine.store.branch(owner, found)
    _, _, other = await machine.store.begin_retry(owner, answer.id, AUTHOR)
    assert await machine.figure("SELECT group_concat(message) FROM unsafe_messages") == other.id
    sql = await machine.figure("SELECT sql FROM sqlite_master WHERE name = 'unsafe_message_changed'")
    named = set(
        re.search(r"UPDATE OF (.*?) ON messages", sql, re.DOTALL)[1].replace("\n", " ").replace(",", " ").split()
    )
    assert named == SavedMessage.model_fields.keys() - {"id", "feedback"}


async def test_the_list_says_of_each_where_it_is(world):
    machine, owner = await world.restored(), owner_of(1)
    saved, archived = [await machine.turn(owner, None, text) for text in ("one", "two")]
    await machine.store.arrange(owner, archived, archived=True)
    await machine.backup.flush()
    safe = await machine.turn(owner, None, "three")
    await machine.store.rename(owner, archived, "Another title")
    await machine.ahead.flush()
    here = await machine.turn(owner, None, "four")
    listed, _ = await machine.store.conversations(owner)
    assert {one.id: one.where for one in listed} == {saved: "saved", safe: "safe", here: "kept here"}
    listed, _ = await machine.store.conversations(owner, archived=True)
    assert [(one.id, one.where) for one in listed] == [(archived, "safe")]


async def test_an_object_is_as_large_as_what_changed_and_not_as_the_conversation(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "x" * 50_000)
    await machine.ahead.flush()
    world.bucket.written.clear()
    for number in range(3):
        await machine.turn(owner_of(1), conversation, f"short {number}")
        await machine.ahead.flush()
    assert max(world.bucket.written) < 3_000


async def test_objects_go_when_the_dataset_holds_what_they_do(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.ahead.flush()
    assert world.bucket.holds(CANARY)
    await machine.backup.flush()
    await machine.ahead.flush()
    assert world.bucket.objects == {}
    assert await machine.backup.state(conversation) == "saved"


async def test_what_was_deleted_leaves_the_bucket_and_stays_deleted(world):
    """Though the dataset still has it, and never heard of the deletion."""
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    stays = await machine.turn(owner_of(1), None, "stays")
    await machine.backup.flush()
    await machine.turn(owner_of(1), conversation, CANARY)
    await machine.ahead.flush()
    assert world.bucket.holds(CANARY)
    await machine.store.delete(owner_of(1), conversation)
    assert (await machine.ahead.figures()).backlog == 1
    await machine.ahead.flush()
    assert not world.bucket.holds(CANARY)
    again = await world.restored()
    assert {row[0] for row in (await again.everything())["conversations"]} == {stays}
    await again.backup.flush()
    assert (await again.everything())["tombstones"]
    await again.look()
    assert world.bucket.objects == {}


@pytest.mark.parametrize("by", ["bucket", "dataset"])
async def test_a_deletion_is_called_safe_from_a_lost_disk_once_another_place_knows_of_it(world, by):
    """Before, the page says that it would come back; and so it does."""
    machine, owner = await world.restored(), owner_of(1)
    conversation = await machine.turn(owner, None, "said and saved")
    await machine.backup.flush()

    async def survives() -> bool:
        (deletion,) = await machine.db.read(lambda db: recent(db, owner))
        return deletion.survives

    async def on_another_disk() -> bool:
        other = await world.restored()
        return bool((await other.everything())["conversations"])

    await machine.store.hide(owner, [conversation], 10.0)
    assert not await survives(), "it can be undone still"
    await machine.store.delete(owner, conversation)
    assert not await survives() and await on_another_disk()
    await (machine.ahead if by == "bucket" else machine.backup).flush()
    assert await survives() and not await on_another_disk()


async def test_a_deletion_is_not_called_purged_while_an_object_may_hold_it(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.ahead.flush()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.flush()
    await machine.backup.purge()
    assert await machine.figure("SELECT purged_at FROM tombstones") is None
    await machine.ahead.flush()
    await machine.backup.purge()
    assert await machine.figure("SELECT purged_at FROM tombstones") is not None


async def test_a_deletion_is_not_called_purged_while_another_disks_object_holds_it(world):
    """The dataset has it since, and that disk did not come to remove its object; this one has not looked for a while."""
    machine, other = await world.restored(), await world.restored()
    Keeping(machine.backup, machine.ahead, outlives=True)
    conversation = await other.turn(owner_of(1), None, CANARY)
    await other.ahead.flush()
    await other.backup.flush()
    await machine.backup.pull()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.flush()

    def away() -> None:
        raise Unreachable("The bucket is away.")

    world.bucket.hooks["paths"] = away
    with pytest.raises(Unreachable):
        await machine.backup.purge()
    assert await machine.figure("SELECT purged_at FROM tombstones") is None
    await machine.backup.purge()
    assert await machine.figure("SELECT purged_at FROM tombstones") is not None
    assert not world.bucket.holds(CANARY)


async def test_what_reaches_the_bucket_while_the_history_is_rewritten_goes_before_anything_is_called_purged(world):
    """Another machine that knows of no deletion yet, or a client that asks once more: a squash takes its time."""
    machine, other = await world.restored(), await world.restored()
    Keeping(machine.backup, machine.ahead, outlives=True)
    conversation = await other.turn(owner_of(1), None, CANARY)
    await other.ahead.flush()
    late = dict(world.bucket.objects)
    await other.backup.flush()
    await machine.backup.pull()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.flush()
    machine.repo.after["squash"] = lambda: world.bucket.objects.update(late)
    await machine.backup.purge()
    assert await machine.figure("SELECT purged_at FROM tombstones") is not None
    assert late and not world.bucket.holds(CANARY)


async def test_a_machine_that_hears_late_of_a_purge_calls_nothing_purged_that_an_object_of_its_own_holds(world):
    """It was cut off while another deleted and purged, and put its copy into the bucket before it read of that."""
    machine, late = await world.restored(), await world.restored()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    await late.backup.pull()
    await late.turn(owner_of(1), conversation, "and more")
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.flush()
    await machine.backup.purge()
    await machine.backup.flush()
    await late.ahead.flush()
    await late.backup.pull()
    (told,) = await late.db.read(lambda db: recent(db, owner_of(1)))
    assert told.purged_at is None
    await late.ahead.flush()
    (told,) = await late.db.read(lambda db: recent(db, owner_of(1)))
    assert told.purged_at is not None and not world.bucket.holds("and more")


def lost() -> None:
    raise Doubtful("The answer was lost.")


@pytest.mark.parametrize("when", ["hooks", "after"])
async def test_a_lost_answer_makes_nothing_look_safe_and_loses_nothing(world, when):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "one")
    getattr(world.bucket, when)["apply"] = lost
    with pytest.raises(Doubtful):
        await machine.ahead.flush()
    assert await machine.backup.state(conversation) == "kept here"
    await machine.ahead.flush()
    assert await machine.backup.state(conversation) == "safe"
    await machine.look()
    # Nothing is there twice, and nothing that nobody knows of.
    assert sum(replica_and_kind(path)[1] == "conversation" for path in world.bucket.objects) == 1
    assert set(world.bucket.objects) == set(await machine.db.read(lambda db: [row[0] for row in db.execute("SELECT path FROM write_ahead_objects")]))  # fmt: skip


async def test_an_object_that_arrives_after_it_was_given_up_does_not_stay(world):
    """Its conversation may be deleted by then."""
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    late = {}
    world.bucket.hooks["apply"] = lambda: (late.update(world.bucket.objects), lost())
    with pytest.raises(Doubtful):
        await machine.ahead.flush()
    path = await machine.figure("SELECT path FROM write_ahead_objects WHERE kind = 'conversation'")
    await machine.store.delete(owner_of(1), conversation)
    await machine.look()
    world.bucket.objects[path] = CANARY.encode()
    await machine.look()
    assert not world.bucket.holds(CANARY)


async def test_what_a_disk_put_after_the_snapshot_that_it_is_put_back_to_is_taken_over(world):
    """The disk does not know of it any more, and it was called safe."""
    machine = await world.restored()
    first = await machine.turn(owner_of(1), None, "one")
    await machine.ahead.flush()
    disk = world.folder / f"disk{len(world.machines)}"
    disk.mkdir()
    with closing(sqlite3.connect(disk / "parley.db")) as snapshot:
        await machine.db.read(lambda db: db.backup(snapshot))
    await machine.turn(owner_of(1), first, "two")
    second = await machine.turn(owner_of(1), None, "three")
    await machine.ahead.flush()
    again = await world.restored()
    await again.look()
    assert await again.everything() == await machine.everything()
    assert [await again.backup.state(each) for each in (first, second)] == ["safe", "safe"]


async def test_a_bucket_that_is_emptied_or_deleted_makes_nothing_look_safer_than_it_is(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "one")
    for _ in range(2):
        await machine.turn(owner_of(1), conversation, "more")
        await machine.ahead.flush()
    deleted = await machine.turn(owner_of(1), None, "two")
    await machine.store.delete(owner_of(1), deleted)
    await machine.ahead.flush()
    for left in ({}, None):
        world.bucket.objects = left
        seen = []
        world.bucket.hooks["apply"] = lambda seen=seen: seen.append(machine.backup.state(conversation))
        await machine.look()
        assert await seen[0] in ("kept here", "safe")
        assert await machine.backup.state(conversation) == "safe"
        again = await world.restored()
        assert await again.everything() == await machine.everything()


async def test_what_the_dataset_lost_is_put_whole(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    await machine.turn(owner_of(1), conversation, "two")
    await machine.ahead.flush()
    repo = FolderRepo(world.folder / "dataset")
    repo.commit({}, [path for path in repo.paths("users/", repo.head())], repo.head(), "Empty it")
    await machine.backup.pull()
    await machine.ahead.flush()
    again = await world.restored()
    assert await messages(again, conversation) == ["one", "An answer.", "two", "An answer."]


async def test_a_conversation_that_moved_to_an_account_is_safe_as_the_accounts(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.ahead.flush()
    await machine.owner("a" * 32, "account")
    await machine.db.write(
        lambda db: db.execute("UPDATE conversations SET owner = ?, revision = revision + 1", ("a" * 32,))
    )
    assert await machine.backup.state(conversation) == "kept here"
    await machine.ahead.flush()
    again = await world.restored()
    assert (await again.store.conversation("a" * 32, conversation)).owner == "a" * 32
    assert await messages(again, conversation) == ["one", "An answer."]


async def test_whoever_opens_it_can_open_it_on_the_new_disk(world):
    """A session that the dataset never had comes back, and one that was ended does not."""
    machine = await world.restored()
    for key in (b"s" * 32, b"t" * 32):
        await machine.owner(owner_of(1))
        await machine.db.write(
            lambda db, key=key: db.execute(
                "INSERT INTO sessions VALUES (?, ?, 'cookie', 1.0, 2.0, 9e9)", (key, owner_of(1))
            )
        )
    await machine.turn(owner_of(1), None, "one")
    await machine.ahead.flush()
    await machine.db.write(lambda db: db.execute("DELETE FROM sessions WHERE token_hash = ?", (b"t" * 32,)))
    await machine.ahead.flush()
    again = await world.restored()
    assert (await again.everything())["sessions"] == (await machine.everything())["sessions"]
    await again.backup.flush()
    assert (await (await world.restored()).everything())["sessions"] == (await machine.everything())["sessions"]


async def test_an_answer_that_was_running_comes_back_as_cut_off(world):
    machine = await world.restored()
    await machine.owner(owner_of(1))
    found, _, running = await machine.store.begin_turn(owner_of(1), None, "one", AUTHOR, "", "page")
    await machine.ahead.flush()
    again = await world.restored()
    assert (await again.store.message(owner_of(1), running.id)).state == "interrupted"
    # The machine that wrote it goes on after all, and its whole answer wins.
    await machine.store.finish_turn(running.id, "the whole answer", "done", "stop")
    await machine.ahead.flush()
    await again.look()
    assert await messages(again, found.id) == ["one", "the whole answer"]


async def test_two_machines_take_over_from_each_other_and_neither_resurrects_what_the_other_deleted(world):
    one, two = await world.restored(), await world.restored()
    shared = await one.turn(owner_of(1), None, "said to one")
    gone = await two.turn(owner_of(2), None, CANARY)
    await one.ahead.flush()
    await two.ahead.flush()
    for _ in range(2):
        await one.look()
        await two.look()
    assert await one.everything() == await two.everything()
    await two.turn(owner_of(1), shared, "said to two")
    await one.store.delete(owner_of(2), gone)
    for _ in range(2):
        await one.look()
        await two.look()
    assert await one.everything() == await two.everything()
    assert await messages(one, shared) == ["said to one", "An answer.", "said to two", "An answer."]
    assert not world.bucket.holds(CANARY)
    for machine in (one, two, one, two):
        await machine.backup.pull()
        await machine.backup.flush()
        await machine.look()
    assert world.bucket.objects == {}
    assert await (await world.restored()).everything() == await one.everything()


class Ledger:
    """Another part's append-only file, marked as stale by hand."""

    prefix = "consent/"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.merged: list[dict[str, bytes]] = []

    async def files(self) -> dict[str, bytes]:
        return {"consent/a.jsonl": "".join(f"{line}\n" for line in self.lines).encode()}

    async def merge(self, files) -> None:
        self.merged.append(dict(files))
        for line in files.get("consent/a.jsonl", b"").decode().splitlines():
            if line not in self.lines:
                self.lines.append(line)

    async def append(self, machine: Machine, line: str) -> None:
        self.lines.append(line)
        await machine.db.write(
            lambda db: db.execute(
                "INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1"
            )
        )


async def test_a_no_is_safe_at_once_and_only_what_is_new_travels(world):
    ledger, back = Ledger(), Ledger()
    machine = await world.restored([ledger])
    await ledger.append(machine, "granted")
    await machine.ahead.flush()
    world.bucket.written.clear()
    await ledger.append(machine, "withdrawn")
    await machine.ahead.flush()
    assert [
        content for content in world.bucket.objects.values() if b"withdrawn" in content and b"granted" in content
    ] == []
    await world.restored([back])
    assert set(back.lines) == {"granted", "withdrawn"}
    await machine.backup.flush()
    await machine.ahead.flush()
    assert world.bucket.objects == {}


async def test_what_other_disks_wrote_waits_until_the_dataset_was_read(world):
    """A change does not fit a conversation that is not back yet."""
    machine = await world.restored()
    await machine.turn(owner_of(1), None, "one")
    await machine.ahead.flush()
    again = world.machine()
    await again.look()
    assert (await again.everything())["conversations"] == []
    again.ready.set()
    await again.ahead.flush()
    assert await again.everything() == await machine.everything()


async def test_a_change_that_fits_nothing_is_left_and_told_once(world):
    machine = await world.restored()
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    await machine.turn(owner_of(1), conversation, CANARY)
    await machine.ahead.flush()
    world.folder = world.folder / "elsewhere"
    world.folder.mkdir()
    again = await world.restored()
    await again.look()
    assert len([report for report in again.reports if "fits nothing" in report]) == 1
    assert CANARY not in repr(again.reports)
    assert world.bucket.holds(CANARY)
    assert "fits nothing" in again.ahead.problem


@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"format":99}\n', b"\xff\n"])
async def test_a_damaged_object_is_left_as_it_is_and_the_rest_comes_back(world, content):
    machine = await world.restored()
    await machine.turn(owner_of(1), None, "one")
    await machine.ahead.flush()
    path = f"{'0' * 16}/conversation-{'1' * 24}.jsonl"
    world.bucket.objects |= {path: content, "something else": b"left alone"}
    again = await world.restored()
    assert await again.everything() == await machine.everything()
    assert world.bucket.objects[path] == content and "something else" in world.bucket.objects
    assert path in again.ahead.problem


# Who may read it


async def test_a_public_bucket_gets_nothing_and_stops_the_app_where_it_is_ones_own(world):
    world.bucket.objects, world.bucket.seen_by = {}, "public"
    machine = world.machine()
    await machine.turn(owner_of(1), None, CANARY)
    with pytest.raises(Denied, match="is public, so nothing is written there. Make it private"):
        await machine.look()
    assert world.bucket.objects == {}
    with pytest.raises(PublicBucket, match="ada/wal would keep private conversations, but it is public"):
        machine.ahead.refuse_public()
    world.bucket.mine = False
    machine.ahead.refuse_public()
    world.bucket.seen_by = "private"
    await machine.look()
    assert world.bucket.holds(CANARY)
    world.bucket.seen_by, before = "public", dict(world.bucket.objects)
    await machine.turn(owner_of(1), None, "more")
    with pytest.raises(Denied):
        await machine.look()
    assert world.bucket.objects == before


async def test_a_duplicate_neither_reads_nor_writes_the_originals_bucket(world):
    world.bucket.objects = {}
    original, duplicate = BucketOfOneSpace(world.bucket, "ada/parley"), BucketOfOneSpace(world.bucket, "bob/parley")
    machine = world.machine().with_bucket(original)
    await machine.turn(owner_of(1), None, CANARY)
    await machine.restore()
    assert world.bucket.holds(CANARY)
    before = dict(world.bucket.objects)
    other = world.machine().with_bucket(duplicate)
    other.ready.set()
    with pytest.raises(Denied, match="belongs to the Space ada/parley, and this is bob/parley"):
        await other.look()
    assert (await other.everything())["conversations"] == []
    assert world.bucket.objects == before


# What goes wrong


async def test_what_fails_is_told_counted_and_tried_again(world):
    machine = await world.restored()
    await machine.turn(owner_of(1), None, "one")

    def revoked() -> None:
        raise Denied("The token is revoked. Set another.")

    world.bucket.hooks["apply"] = revoked
    await machine.ahead._turn()
    figures = await machine.ahead.figures()
    assert (figures.problem, figures.failures, figures.backlog) == (
        "The token is revoked. Set another.",
        {"denied": 1},
        1,
    )
    assert figures.oldest > 0
    machine.clock.now += LONGEST_WAIT
    await machine.ahead._turn()
    figures = await machine.ahead.figures()
    assert (figures.problem, figures.backlog, figures.oldest) == (None, 0, 0.0)
    assert figures.objects == len(world.bucket.objects)


async def test_without_a_bucket_what_waits_does_not_pile_up(world):
    machine = world.machine()
    for _ in range(3):
        conversation = await machine.turn(owner_of(1), None, "one")
        await machine.backup.flush()
    assert await machine.figure("SELECT count(*) FROM unsafe_messages") == 0
    await machine.turn(owner_of(1), conversation, "two")
    await machine.store.delete(owner_of(1))
    assert await machine.figure("SELECT count(*) FROM unsafe_messages") == 0


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_called_safe_or_saved_is_there_after_the_disk_is_lost(world, seed):
    """Random turns, deletions, saves and puts, some of which get lost on the way, and disks that are lost in between."""
    draw = random.Random(seed)
    machine = await world.restored()
    live: dict[str, list[str]] = {}  # id -> texts that were safe or saved when last asked
    said: dict[str, list[str]] = {}
    deleted: set[str] = set()  # safely
    for step in range(120):
        act = draw.choices(["turn", "put", "save", "delete", "lose"], [10, 6, 2, 2, 1])[0]
        if draw.random() < 0.2:
            getattr(world.bucket, draw.choice(["hooks", "after"]))["apply"] = lost
        try:
            if act == "turn":
                id = draw.choice([None, *said]) if said else None
                text = f"text {seed} {step}"
                id = await machine.turn(owner_of(1 + step % 3) if id is None else said[id][0], id, text)
                said.setdefault(
                    id, [(await machine.figure(f"SELECT owner FROM conversations WHERE id = '{id}'"))]
                ).append(text)
            elif act == "put":
                await machine.look()
            elif act == "save":
                await machine.backup.flush()
            elif act == "delete" and said:
                id = draw.choice(list(said))
                await machine.store.delete(said.pop(id)[0], id)
                live.pop(id, None)
                await machine.ahead.flush()
                deleted.add(id)
            elif act == "lose":
                machine = await world.restored()
                there = {row[0] for row in (await machine.everything())["conversations"]}
                assert not there & deleted
                for id, texts in live.items():
                    assert set(texts) <= set(await messages(machine, id)), (step, id)
                said = {id: [said[id][0], *(await messages(machine, id))[::2]] for id in said if id in there}
        except Doubtful:
            pass
        for id in said:
            if await machine.backup.state(id) != "kept here":
                live[id] = said[id][1:]
