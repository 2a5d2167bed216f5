"""What was chosen comes back from the bucket whole, in whatever order its objects are read; until it is, nothing is compared."""

from __future__ import annotations

import asyncio
import json
from itertools import permutations

import pytest

from chat.write_ahead import LOOK_EVERY, WriteAhead
from privacy.extra import saved_parts
from privacy.saved import files, restore
from tests.support.hub.testing import CANARY
from tests.support.memory_bucket import MemoryBucket
from tests.support.sharing_world import HOUR, World

pytestmark = pytest.mark.anyio

YES, OTHER_YES, NO = ("grant", "acme"), ("grant", "globex"), ("withdraw", None)


class Disk:
    """A world with a bucket, whose dataset `catch_up` reads: `saved`, files of ledger and outbox."""

    def __init__(self, world: World, bucket: MemoryBucket) -> None:
        self.world, self.bucket, self.saved, self.reports = world, bucket, {}, []
        world.use(quiet=0.0)
        ready = asyncio.Event()
        ready.set()
        self.ahead = WriteAhead(
            world.db,
            bucket,
            world.clock,
            extras=saved_parts(world.db),
            ready=ready,
            report=self.reports.append,
            catch_up=self.catch_up,
        )

    async def catch_up(self) -> None:
        await self.world.db.write(lambda db: restore(db, self.saved))

    async def chosen(self, owner: str, kind: str, recipient: str | None = None) -> str:
        """The path of the object that holds what was just chosen, and nothing else of the ledger."""
        before = set(self.bucket.objects)
        await self.world.choose(owner, kind, recipient)
        await self.ahead.flush()
        (path,) = {path for path in self.bucket.objects if "/extra-" in path} - before
        return path

    async def look(self) -> None:
        """As often as the app does until nothing more is due."""
        self.world.clock.now += LOOK_EVERY
        await self.ahead._turn()
        if self.ahead._rests_on_more.is_set():
            await self.ahead._read_dataset()
            await self.ahead._turn()

    @property
    def known(self) -> bool:
        return self.ahead.taken_over.is_set()

    async def events(self) -> int:
        return await self.world.db.read(lambda db: db.execute("SELECT count(*) FROM consent_events").fetchone()[0])

    async def publishes(self, text: str) -> bool:
        """Whether a turn of sharing, whatever is asked of it, shares this text."""
        sharing = self.world.sharing()
        if self.known:
            await sharing.all_is_here(self.world.clock())
        await sharing.turn(restored=self.ahead.taken_over.is_set)
        return any(text in repo.everything() for repo in self.world.repos.values())


@pytest.fixture
def disks(tmp_path):
    """An old disk, and what makes a new one with its conversations and what the dataset holds."""
    old, made = Disk(World(tmp_path / "old"), MemoryBucket(objects={})), []

    async def lost(saved) -> Disk:
        old.world.clock.now += HOUR
        new = Disk(await old.world.elsewhere(tmp_path / f"new{len(made)}", saved), old.bucket)
        made.append(new)
        return new

    yield old, lost
    for disk in (old, *made):
        disk.world.close()


def named(bucket: MemoryBucket, paths: list[str], order: tuple[int, ...]) -> list[str]:
    """The objects at `paths`, given names that are read in `order`."""
    names = [f"{path.partition('/')[0]}/extra-{rank:024x}.jsonl" for path, rank in zip(paths, order, strict=True)]
    contents = [bucket.objects.pop(path) for path in paths]
    bucket.objects |= dict(zip(names, contents, strict=True))
    return names


def broken(bucket: MemoryBucket, path: str, how: str) -> None:
    """Make the object at `path` one that cannot be taken over."""
    line = json.loads(bucket.objects[path])
    events = {name: text for name, text in line["lines"].items() if "ledger" in name}
    worse = {
        "no event": f'{{"text": "{CANARY}"}}\n',
        "no object": "3\n",
        "too large a number": "".join(events.values()).replace('"number": ', '"number": 9' + "9" * 30),
        "another chain": "".join(events.values()).replace('"number": ', '"number": 7'),
        "newer": '{"format": 99}\n',
    }
    if how == "damaged":
        bucket.objects[path] = b"{"
    else:
        bucket.objects[path] = json.dumps({**line, "lines": dict.fromkeys(events, worse[how])}).encode() + b"\n"


ORDERS = [
    (chosen, order)
    for chosen in ((OTHER_YES, NO), (OTHER_YES, YES, NO), (NO, OTHER_YES, NO))
    for order in permutations(range(len(chosen)))
]


@pytest.mark.parametrize(("chosen", "order"), ORDERS)
async def test_a_no_is_known_before_anything_is_compared_in_whatever_order_its_objects_are_read(disks, chosen, order):
    old, lost = disks
    owner = await old.world.person()
    await old.chosen(owner, *YES)
    saved = await old.world.db.read(files)
    await old.world.say(owner, "remember the heron")
    paths = [await old.chosen(owner, *choice) for choice in chosen]
    named(old.bucket, paths, order)
    new = await lost(saved)
    await new.ahead.look()
    assert (new.known, await new.events(), new.reports, new.ahead.problem) == (True, 1 + len(chosen), [], None)
    assert not await new.publishes("heron")


async def test_what_is_still_agreed_to_is_shared_from_the_new_disk(disks):
    """So that the test above finds something where a no is missed."""
    old, lost = disks
    owner = await old.world.person()
    await old.chosen(owner, *YES)
    saved = await old.world.db.read(files)
    await old.world.say(owner, "remember the heron")
    named(old.bucket, [await old.chosen(owner, *choice) for choice in (OTHER_YES, ("withdraw", "globex"))], (1, 0))
    new = await lost(saved)
    await new.ahead.look()
    assert await new.publishes("heron")


@pytest.mark.parametrize("how", ["damaged", "no event", "no object", "too large a number", "another chain", "newer"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_an_object_of_the_ledger_that_cannot_be_read_keeps_new_rows_back_and_no_other_object(disks, how, order):
    """Whoever it is of may have said no in it. Everybody else's noes are taken over meanwhile."""
    old, lost = disks
    one, other = await old.world.person(), await old.world.person()
    await old.chosen(one, *YES)
    saved = await old.world.db.read(files)
    await old.world.say(one, "remember the heron")
    paths = [await old.chosen(*choice) for choice in ((one, *NO), (other, *YES), (other, *NO))]
    unread, *_ = named(old.bucket, paths, order)
    broken(old.bucket, unread, how)
    new = await lost(saved)
    await new.look()
    assert (new.known, await new.events()) == (False, 3)
    assert not await new.publishes("heron")
    assert unread in new.ahead.problem and old.bucket.id in new.ahead.problem
    assert "not everything is back" in new.ahead.problem
    assert ("newer Parley" in new.ahead.problem) == (how == "newer")
    await new.look()
    assert new.reports == [new.ahead.problem] and CANARY not in repr(new.reports)
    figures = await new.ahead.figures()
    assert (figures.kind, figures.restored) == ("file", False)
    # Whoever runs it has taken it away: what it held is given up.
    del old.bucket.objects[unread]
    await new.look()
    assert (new.known, new.ahead.problem) == (True, None)
    assert await new.publishes("heron")


async def test_a_damaged_deletion_keeps_new_rows_back(disks):
    old, lost = disks
    old.bucket.objects[f"{'0' * 16}/tombstone-{'1' * 24}.jsonl"] = b"{"
    new = await lost({})
    await new.look()
    assert not new.known and "tombstone" in new.ahead.problem


async def test_a_damaged_conversation_keeps_no_row_of_others_back(disks):
    old, lost = disks
    old.bucket.objects[f"{'0' * 16}/conversation-{'1' * 24}.jsonl"] = b"{"
    new = await lost({})
    await new.look()
    assert new.known and "conversation" in new.ahead.problem


async def test_what_follows_an_event_that_went_to_the_dataset_meanwhile_alarms_nobody(disks):
    """Another machine saved the first choice, and its object went, after this one had read the dataset."""
    old, lost = disks
    owner = await old.world.person()
    new = await lost({})
    await new.look()
    first = await old.chosen(owner, *YES)
    new.saved = await old.world.db.read(files)
    await old.chosen(owner, *NO)
    del old.bucket.objects[first]
    heard = []
    new.ahead.taken_over.clear = lambda: heard.append("cleared")
    new.world.clock.now += LOOK_EVERY
    running = asyncio.create_task(new.ahead.run())
    while await new.events() < 2 and not running.done():
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert (new.known, heard, await new.events(), new.reports) == (True, [], 2, [])


async def test_what_follows_an_event_that_is_nowhere_keeps_new_rows_back_until_it_is_there(disks):
    old, lost = disks
    owner = await old.world.person()
    new = await lost({})
    await new.look()
    assert new.known
    first = await old.chosen(owner, *YES)
    await old.chosen(owner, *NO)
    content = old.bucket.objects.pop(first)
    await new.look()
    assert (new.known, await new.events(), len(new.reports)) == (False, 0, 1)
    old.bucket.objects[first] = content
    await new.look()
    assert (new.known, await new.events(), new.ahead.problem) == (True, 2, None)
