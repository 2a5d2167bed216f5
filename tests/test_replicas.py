"""Two apps, each with a disk of its own, on one dataset: whatever is done on either ends the same on both and on the Hub."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from chat import formats
from chat.dataset_repo import Conflict, Doubtful
from chat.lease import PATH
from chat.store import AnswerRunning, NotFound
from tests.support.backing import AUTHOR, HookedRepo, Machine, owner_of
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio


class Replicas:
    """`machines` on one dataset, which loses answers and races as `draw` says."""

    def __init__(self, folder: Path, draw: random.Random | None = None, count: int = 2) -> None:
        self.repo, self.draw, self.folder = MemoryRepo("ada/chats"), draw, folder
        self.machines = [self.machine(f"disk{number}") for number in range(count)]

    def machine(self, name: str) -> Machine:
        repo = HookedRepo(self.repo)
        if self.draw:
            trouble = {"after": Doubtful("The answer was lost."), "hooks": Conflict("Somebody else wrote.")}

            def strike(when: str) -> None:
                getattr(repo, when)["commit"] = lambda: strike(when)
                if self.draw.random() < 0.2:
                    raise trouble[when]

            strike_later = {when: (lambda when=when: strike(when)) for when in trouble}
            repo.hooks["commit"], repo.after["commit"] = strike_later["hooks"], strike_later["after"]
        return Machine(self.folder / name, repo, options={"every": 1.0, "purge_after": 50.0})

    async def settle(self) -> None:
        """Until nobody has anything to say: four rounds are enough for two to hear of everything and answer it."""
        if self.draw:
            self.draw.random = lambda: 1.0  # nothing goes wrong any more
        for _ in range(4):
            for machine in self.machines:
                await machine.backup.flush()

    async def changes_when_nothing_happens(self) -> set[str]:
        """Paths that are written though nobody did anything; who holds the lease may change."""
        before = self.repo.now()
        await self.settle()
        return {path for path, content in self.repo.now().items() if before.get(path) != content} - {PATH}

    def on_the_hub(self) -> str:
        return "".join(content.decode() for content in self.repo.now().values())


@pytest.fixture
def replicas(tmp_path):
    found = Replicas(tmp_path)
    yield found
    for machine in found.machines:
        machine.close()


async def act(machine: Machine, draw: random.Random, number: int) -> None:
    """One thing that somebody does at a page."""
    owner = owner_of(draw.randrange(3))
    store = machine.store
    found, _ = await store.conversations(owner) if await machine.owner(owner) else ([], None)
    one = draw.choice(found).id if found else None
    kind = draw.choice(["turn", "turn", "turn", "more", "more", "retry", "rename", "delete", "sign out", "key", "all"])
    try:
        if kind == "turn" or one is None:
            await machine.turn(owner, None, f"question {number}", f"answer {number}")
        elif kind == "more":
            await machine.turn(owner, one, f"question {number}", f"answer {number}")
        elif kind == "retry":
            _, messages, _ = await store.branch(owner, one)
            _, _, answer = await store.begin_retry(owner, messages[-1].id, AUTHOR)
            await store.finish_turn(answer.id, f"another {number}", draw.choice(["done", "stopped"]))
        elif kind == "rename":
            await store.rename(owner, one, f"title {number}")
        elif kind == "delete":
            await store.delete(owner, one)
        elif kind == "all" and draw.random() < 0.1:
            await store.delete(owner)
        elif kind == "sign out":
            key = bytes.fromhex(owner) + bytes([draw.randrange(2)]) * 16
            new = "INSERT OR IGNORE INTO sessions VALUES (?, ?, 'cookie', 1.0, 2.0, 9e9)"
            sql, values = draw.choice([(new, (key, owner)), ("DELETE FROM sessions WHERE token_hash = ?", (key,))])
            await machine.db.write(lambda db: db.execute(sql, values))
        elif kind == "key":
            await machine.owner("a" * 32, "account")
            new = "INSERT OR IGNORE INTO api_keys VALUES (?, ?, ?, 'my key', 1.0, NULL, 7.0)"
            await machine.db.write(lambda db: db.execute(new, (b"k" * 32, "e" * 16, "a" * 32)))
            if draw.random() < 0.5:
                now = machine.clock()
                end = "UPDATE api_keys SET revoked_at = ? WHERE revoked_at IS NULL"
                await machine.db.write(lambda db: db.execute(end, (now,)))
    except (NotFound, AnswerRunning):
        pass  # deleted, or running, elsewhere


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_done_on_either_both_and_the_hub_end_alike(tmp_path, seed):
    draw = random.Random(seed)
    replicas = Replicas(tmp_path, draw)
    try:
        for number in range(60):
            machine = draw.choice(replicas.machines)
            await act(machine, draw, number)
            if draw.random() < 0.4:
                await asyncio.gather(*(each.backup._turn() for each in replicas.machines))
            if draw.random() < 0.1:
                machine.clock.now += draw.uniform(0, 500)
        await replicas.settle()
        one, two = replicas.machines
        ends = await one.everything()
        assert await two.everything() == ends
        deleted = {row[0] for row in ends["tombstones"]}
        assert deleted.isdisjoint(row[0] for row in ends["conversations"])
        fresh = replicas.machine("fresh")
        replicas.machines.append(fresh)
        await fresh.backup.pull()
        assert await fresh.everything() == ends
        assert await replicas.changes_when_nothing_happens() == set()
    finally:
        for machine in replicas.machines:
            machine.close()


async def test_what_one_committed_the_other_shows_without_having_anything_to_commit(replicas):
    one, two = replicas.machines
    running = asyncio.create_task(two.backup.run())
    conversation = await one.turn(owner_of(1), None, "said to one")
    await one.backup.flush()
    async with asyncio.timeout(180):
        while not await two.figure("SELECT count(*) FROM conversations"):
            await asyncio.sleep(0.01)
    running.cancel()
    assert (await two.store.conversation(owner_of(1), conversation)).title == "said to one"


async def test_an_answer_that_is_being_written_is_not_cut_off_by_the_replica_that_only_read_of_it(replicas):
    """The new version starts while the old one still answers: it takes the answer for cut off, and says so."""
    one, two = replicas.machines
    await one.owner(owner_of(1))
    _, _, answer = await one.store.begin_turn(owner_of(1), None, "question", AUTHOR, "", "page")
    await one.backup.flush()
    await two.backup.flush()
    await two.backup.flush()
    assert (await two.store.message(owner_of(1), answer.id)).state == "interrupted"
    await one.backup.pull()
    await one.backup.flush()
    assert await one.store.finish_turn(answer.id, "the whole answer", "done", "stop")
    await replicas.settle()
    for machine in replicas.machines:
        found = await machine.store.message(owner_of(1), answer.id)
        assert (found.state, found.content) == ("done", "the whole answer")
    assert await one.everything() == await two.everything()


async def test_an_answer_that_ends_after_its_conversation_was_deleted_elsewhere_writes_nothing(replicas):
    one, two = replicas.machines
    conversation = await one.turn(owner_of(1), None, "question")
    await replicas.settle()
    _, _, answer = await one.store.begin_turn(owner_of(1), conversation, "another", AUTHOR, "", "page")
    await two.store.delete(owner_of(1), conversation)
    await two.backup.flush()
    await one.backup.flush()
    assert not await one.store.finish_turn(answer.id, "too late", "done", "stop")
    await replicas.settle()
    assert await one.everything() == await two.everything()
    assert (await one.everything())["conversations"] == []
    assert "too late" not in replicas.on_the_hub() and "question" not in replicas.on_the_hub()


async def test_the_same_deletion_on_both_is_of_the_last_time_it_was_made(replicas):
    one, two = replicas.machines
    conversation = await one.turn(owner_of(1), None, "question")
    await replicas.settle()
    two.clock.now = one.clock.now - 100
    for machine in (one, two):
        await machine.store.delete(owner_of(1), conversation)
    await replicas.settle()
    last = await two.figure("SELECT deleted_at FROM tombstones")
    assert await one.figure("SELECT deleted_at FROM tombstones") == last
    assert f'"deleted_at":{last}' in replicas.repo.now()[formats.tombstone_path(conversation)].decode()
    assert await replicas.changes_when_nothing_happens() == set()


async def test_a_history_that_somebody_rewrote_is_read_and_what_it_lacks_written_again(replicas):
    """Put back to before a deletion: what was deleted leaves again, and is purged again."""
    one, _ = replicas.machines
    gone = await one.turn(owner_of(1), None, "to be deleted")
    await one.turn(owner_of(1), None, "this one stays")
    await replicas.settle()
    old = dict(replicas.repo.now())
    await one.store.delete(owner_of(1), gone)
    await one.turn(owner_of(2), None, "written since")
    await one.backup.purge()
    await replicas.settle()
    assert await one.figure("SELECT purged_at FROM tombstones") is not None
    replicas.repo.kept.clear()
    replicas.repo._add(old)
    await replicas.settle()
    assert "to be deleted" not in replicas.on_the_hub() and "written since" in replicas.on_the_hub()
    one, two = replicas.machines
    assert await one.everything() == await two.everything()
    assert {row[2] for row in (await one.everything())["conversations"]} == {"this one stays", "written since"}
    assert await one.figure("SELECT purged_at < deleted_at FROM tombstones")
    await one.backup.purge()
    assert "to be deleted" not in replicas.repo.everything()


async def test_a_dataset_that_is_deleted_is_made_again_and_the_operator_told_what_to_do(replicas):
    one, two = replicas.machines
    await one.turn(owner_of(1), None, "question")
    await replicas.settle()
    replicas.repo.kept.clear()
    for machine in (one, two):
        await machine.backup._turn()
    await replicas.settle()
    assert "question" in replicas.on_the_hub()
    assert "no longer on the Hub" in one.reports[-1] and "delete its DATA_DIR" in one.reports[-1]
    assert (one.backup.problem, two.backup.problem) == (None, None)
    await one.turn(owner_of(1), None, "another")
    replicas.repo.kept.clear()
    await one.backup.flush()
    assert "another" in replicas.on_the_hub()
