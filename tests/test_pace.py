"""When saving happens: inside the quota, sooner for what somebody takes back, and truthfully told meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chat.backup import SOONEST_DELETION
from chat.dataset_repo import Denied, Doubtful, FolderRepo, Unreachable
from chat.keeping import Keeping
from chat.repo_guards import Counted
from chat.retrying import LONGEST_URGENT_WAIT, LONGEST_WAIT
from chat.slots import USED_UP, NoSlot, Slots
from tests.support.backing import HookedRepo, Machine, owner_of

pytestmark = pytest.mark.anyio


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def machine(tmp_path, clock):
    machine = machine_in(tmp_path, clock)
    await machine.backup._turn()
    yield machine
    machine.close()


def machine_in(folder: Path, clock: Clock, **options: Any) -> Machine:
    slots = Slots(clock)
    repo = HookedRepo(Counted(FolderRepo(folder / "dataset"), slots))
    machine = Machine(folder / "disk", repo, clock, {"slots": slots, "every": 60.0, **options})
    machine.slots = slots
    return machine


def use_up(slots: Slots) -> None:
    """All but what is kept for what people take back."""
    while slots.wait() == 0:
        slots.spend()


async def seconds(machine: Machine, clock: Clock, count: int) -> list[int]:
    """Let so many seconds pass; in which of them there was a commit."""
    committed = []
    for second in range(count):
        clock.now += 1
        machine.repo.calls.clear()
        await machine.backup._turn()
        if "commit" in machine.repo.calls:
            committed.append(second)
    return committed


async def test_what_changes_is_saved_once_a_minute_and_what_is_deleted_within_five_seconds(machine, clock):
    conversation = await machine.turn(owner_of(1), None, "one")
    (saved,) = await seconds(machine, clock, 70)
    await machine.turn(owner_of(1), conversation, "two")
    (again,) = await seconds(machine, clock, 62)
    assert 50 <= 70 - saved + again <= 61
    await machine.store.delete(owner_of(1), conversation)
    assert min(await seconds(machine, clock, 10)) < 5


async def test_what_is_taken_back_is_saved_within_five_seconds_though_the_hour_is_used_up(machine, clock):
    """The quota has some left that ordinary commits do not touch."""
    conversation = await machine.turn(owner_of(1), None, "one")
    await seconds(machine, clock, 70)
    use_up(machine.slots)
    for number in range(10):
        await machine.turn(owner_of(1), None, f"one of ten {number}")
        clock.now += 1
        machine.backup.hurry()
        machine.repo.calls.clear()
        await machine.backup._turn()
        assert "commit" in machine.repo.calls
    await machine.store.delete(owner_of(1), conversation)
    assert min(await seconds(machine, clock, 10)) < 5


@pytest.mark.parametrize("takes_back", [True, False])
async def test_what_another_part_takes_back_gets_the_lease_though_the_hour_is_used_up(tmp_path, clock, takes_back):
    """What it would publish waits for it, as for all ordinary commits."""

    async def wanted() -> bool:
        return True

    async def taken_back() -> bool:
        return takes_back

    machine = machine_in(tmp_path, clock, wants_lease=wanted, takes_back=taken_back)
    use_up(machine.slots)
    await seconds(machine, clock, 5)
    assert machine.backup.lease.held() is takes_back
    machine.close()


@pytest.mark.parametrize(("turn_every", "most"), [(None, 30), (60, 61), (90, 61)])
async def test_the_lease_rides_on_other_commits_and_costs_few_of_its_own(tmp_path, clock, turn_every, most):
    """An hour in which a push waits all the time; of commits with turns alone there would be 60 or 40."""

    async def wanted() -> bool:
        return True

    machine = machine_in(tmp_path, clock, wants_lease=wanted)
    await seconds(machine, clock, 5)
    committed, lapsed = 0, 0
    for second in range(3600):
        if turn_every and second % turn_every == 0:
            await machine.turn(owner_of(1), None, f"turn {second}")
        committed += len(await seconds(machine, clock, 1))
        lapsed += not machine.backup.lease.held()
    assert committed <= most and lapsed == 0
    machine.close()


async def test_a_history_is_rewritten_though_the_hour_is_used_up(machine, clock):
    conversation = await machine.turn(owner_of(1), None, "one")
    await seconds(machine, clock, 70)
    await machine.store.delete(owner_of(1), conversation)
    use_up(machine.slots)
    await seconds(machine, clock, 70)
    assert await machine.figure("SELECT purged_at FROM tombstones") is not None


async def test_ordinary_saving_waits_for_room_and_says_so(machine, clock):
    conversation = await machine.turn(owner_of(1), None, "one")
    use_up(machine.slots)
    for _ in range(5):
        machine.slots.spend()
    assert await seconds(machine, clock, 70) == []
    figures = await machine.backup.figures()
    assert figures.problem.startswith(USED_UP.partition(";")[0])
    assert figures.failures["quota"] >= 1 and figures.backlog == 1
    assert await machine.backup.state(conversation) == "kept here"
    assert await seconds(machine, clock, 600)
    assert (await machine.backup.figures()).problem is None
    assert await machine.backup.state(conversation) == "saved"


async def test_a_no_that_could_not_be_saved_at_once_stays_urgent(machine, clock):
    await seconds(machine, clock, 5)

    def away() -> None:
        raise Unreachable("Not now.")

    await machine.turn(owner_of(1), None, "one")
    machine.backup.hurry()
    for _ in range(8):
        machine.repo.hooks["visibility"] = away
        await seconds(machine, clock, 1)
        clock.now += LONGEST_URGENT_WAIT
    machine.repo.hooks.clear()
    # Not the next minute's, and not the five minutes' that ordinary failures end at.
    assert min(await seconds(machine, clock, 40)) <= LONGEST_URGENT_WAIT + 1 < LONGEST_WAIT


@pytest.mark.parametrize(
    ("error", "kind"), [(Unreachable("a"), "unreachable"), (Denied("b"), "denied"), (OSError("c"), "own")]
)
async def test_failures_are_counted_by_kind(machine, clock, error, kind):
    def fail() -> None:
        raise error

    await machine.turn(owner_of(1), None, "one")
    clock.now += 100
    machine.repo.hooks["visibility"] = fail
    await machine.backup._turn()
    assert (await machine.backup.figures()).failures == {kind: 1}


async def test_a_doubtful_answer_is_counted_though_the_commit_was_found(machine, clock):
    def lost() -> None:
        raise Doubtful("Lost.")

    await machine.turn(owner_of(1), None, "one")
    clock.now += 100
    machine.repo.after["commit"] = lost
    await machine.backup._turn()
    figures = await machine.backup.figures()
    assert (figures.failures, figures.backlog, figures.problem) == ({"doubtful": 1}, 0, None)


async def test_the_age_of_what_is_unsaved_is_not_that_of_what_was_saved_long_ago(machine, clock):
    """Somebody always writes: at every look there is something that is not saved yet."""
    oldest = []
    for _ in range(300):
        clock.now += 1
        await machine.turn(owner_of(1), None, "one")
        await machine.backup._turn()
        oldest.append((await machine.backup.figures()).oldest)
    assert 50 <= max(oldest) <= 62


async def test_commits_that_were_spent_are_remembered_over_a_restart(tmp_path, machine, clock):
    for _ in range(20):
        machine.slots.spend()
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush(urgent=True)
    left = machine.slots.left
    machine.close()
    again = Slots(clock)
    other = Machine(tmp_path / "disk", machine.repo, clock, {"slots": again})
    running = asyncio.create_task(other.backup.run())
    async with asyncio.timeout(180):
        while again.left != left:
            await asyncio.sleep(0.01)
    running.cancel()
    assert left < 20
    machine.db = other.db


async def test_what_must_be_saved_before_anything_is_made_public_may_take_the_kept_slots(machine):
    await machine.turn(owner_of(1), None, "one")
    use_up(machine.slots)
    with pytest.raises(NoSlot):
        await machine.backup.flush()
    await Keeping(machine.backup, None, outlives=True).exchange()
    assert (await machine.backup.figures()).backlog == 0


def test_deletions_wait_for_each_other_less_than_five_seconds():
    assert SOONEST_DELETION < 4
