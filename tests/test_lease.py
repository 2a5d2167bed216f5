"""The lease: there are never two that push or purge, whatever the clocks show and whichever answers are lost."""

from __future__ import annotations

import json
import random

import pytest

from chat.dataset_repo import Conflict, Doubtful, Unreachable, blob_id
from chat.formats import BadFile
from chat.lease import LONGEST, MARGIN, PATH, RENEW_AFTER, RIDE_AFTER, SECONDS, Lease
from tests.support.backing import HookedRepo, Machine, owner_of
from tests.support.memory_repo import MemoryRepo


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Head:
    """A file in a dataset that several leases read and write; a commit has the parent that was read."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read(self, lease: Lease) -> None:
        id = blob_id(self.content) if self.content is not None else None
        if lease.unread(id):
            lease.look(id, self.content)

    def write(self, lease: Lease, wanted: bool = True, riding: bool = False) -> bool:
        """Read and write with nobody in between; False where there was nothing to write."""
        self.read(lease)
        claim = lease.claim(wanted, riding)
        if claim:
            self.content = claim.content
            lease.applied(claim)
        return claim is not None


def pair() -> tuple[Lease, Lease, Clock, Head]:
    clock = Clock()
    return Lease(clock, clock), Lease(clock, clock), clock, Head()


def test_one_holds_it_and_the_other_does_not_while_it_is_renewed():
    one, two, clock, head = pair()
    for lease in (one, two):
        head.read(lease)
        assert not lease.held()
    head.write(one)
    for _ in range(20):
        clock.now += RENEW_AFTER
        head.write(one)
        assert not head.write(two)
        assert one.held() and not two.held()


def test_nobody_commits_to_have_it_who_has_nothing_to_do():
    one, _, _, head = pair()
    assert not head.write(one, wanted=False) and not head.write(one, wanted=False, riding=True)
    assert not one.would(wanted=False) and one.would(wanted=True)


def test_it_is_renewed_with_other_commits_or_every_two_minutes():
    """The quota of commits is for what people write."""
    one, _, clock, head = pair()
    head.write(one)
    clock.now += RIDE_AFTER - 1
    assert not head.write(one, riding=True)
    clock.now += 1
    assert not head.write(one) and head.write(one, riding=True)
    clock.now += RENEW_AFTER - 1
    assert not head.write(one)
    clock.now += 1
    assert head.write(one)


def test_whoever_is_done_gives_it_back_with_the_next_commit_and_at_the_end_with_one_of_its_own():
    one, two, _, head = pair()
    head.write(one)
    assert not head.write(one, wanted=False)
    assert head.write(one, wanted=False, riding=True)
    assert not one.held()
    assert head.write(two) and two.held()
    two.close()
    assert two.would(wanted=False) and head.write(two, wanted=False)
    assert not two.held() and not two.would(wanted=True)
    assert head.write(one) and one.held()


def test_what_may_be_on_its_way_when_the_app_ends_is_waited_for():
    one, two, clock, head = pair()
    head.write(one)
    one.close()
    head.write(one)
    assert not head.write(two)
    clock.now += MARGIN
    assert head.write(two)


def test_the_end_of_one_that_was_killed_is_waited_for():
    one, two, clock, head = pair()
    head.write(one)
    head.read(two)
    clock.now += SECONDS - 1
    assert not head.write(two)
    assert not one.held()
    clock.now += 1
    assert head.write(two) and two.held()


def test_the_end_of_one_of_an_earlier_version_is_waited_for_as_long_as_it_counts():
    """Ten minutes, which its file says. What nobody can read may be one of those."""
    one, two, clock, head = pair()
    head.write(one)
    head.content = json.dumps({**json.loads(head.content), "wait": LONGEST}).encode()
    head.read(two)
    clock.now += LONGEST - 1
    assert not head.write(two)
    clock.now += 1
    assert head.write(two)


def test_the_same_disk_need_not_wait_for_its_own_earlier_process():
    one, again, _, head = pair()
    head.write(one)
    again.before = blob_id(head.content)
    assert head.write(again) and again.held()


def test_one_so_old_that_no_clock_is_wrong_by_that_much_is_taken_at_once():
    one, two, clock, head = pair()
    head.write(one)
    clock.now += 2 * 3600
    assert head.write(two)


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_whatever_the_clocks_show(seed: int):
    """Clocks hours apart, answers that come late or are lost, replicas that sleep: who holds it may act for MARGIN."""
    draw = random.Random(seed)
    true, head = Clock(), Head()
    skews = [draw.uniform(-1700, 1700) for _ in range(3)]
    leases = [Lease(lambda skew=skew: true.now + skew, true) for skew in skews]
    acting: dict[Lease, float] = {}
    holders: set[Lease] = set()
    for _ in range(3000):
        true.now += draw.choice([1, 5, 30, 100])
        lease = draw.choice(leases)
        if draw.random() < 0.2:
            head.read(lease)
        else:
            before, wanted = head.content, draw.random() < 0.8
            head.read(lease)
            claim = lease.claim(wanted, draw.random() < 0.5)
            if not wanted:
                acting.pop(lease, None)  # nothing of it is on its way
            if claim:
                true.now += draw.uniform(0, 60)  # the answer takes its time
                fate = draw.choice(["applied", "lost", "never"])
                if fate != "never" and head.content == before:
                    head.content = claim.content
                    if fate == "applied":
                        lease.applied(claim)
        if lease.held():
            holders.add(lease)
            assert not [other for other, until in acting.items() if other is not lease and until > true.now]
            acting[lease] = true.now + MARGIN
    assert len(holders) == 3  # each had its turn


def test_a_file_of_a_newer_version_is_left_as_it_is_and_a_damaged_one_replaced_in_time():
    one, _, clock, head = pair()
    head.content = b'{"format":9}'
    with pytest.raises(BadFile, match="lease.json was written by a newer Parley"):
        head.read(one)
    clock.now += 1e6
    assert not head.write(one)
    head.content = b"{"
    assert not head.write(one)
    clock.now += LONGEST - 1
    assert not head.write(one)
    clock.now += 1
    assert head.write(one)


# With the backup


@pytest.fixture
def replicas(tmp_path):
    repo, made = MemoryRepo("ada/chats"), []

    def make(**options) -> Machine:
        machine = Machine(tmp_path / f"disk{len(made)}", HookedRepo(repo), options={"every": 1.0, **options})
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.close()


async def yes() -> bool:
    return True


@pytest.mark.anyio
async def test_two_replicas_that_both_want_it_get_it_one_after_the_other(replicas):
    one, two = replicas(wants_lease=yes), replicas(wants_lease=yes)
    await one.backup.flush()
    await two.backup.flush()
    assert one.backup.lease.held() and not two.backup.lease.held()
    one.backup.lease.close()
    await one.backup.flush()
    await two.backup.flush()
    assert not two.backup.lease.held()  # what one began may still be on its way
    two.clock.now += MARGIN
    await two.backup.flush()
    assert two.backup.lease.held() and not one.backup.lease.held()


@pytest.mark.anyio
async def test_who_finds_another_faster_reads_what_they_wrote_before_trying_again(replicas):
    one, two = replicas(wants_lease=yes), replicas(wants_lease=yes)
    await one.backup.pull()
    await two.backup.pull()
    await two.turn(owner_of(1), None, "theirs")

    def beforehand() -> None:
        raise Conflict("Somebody else wrote.")

    one.repo.hooks["commit"] = beforehand
    await two.backup.flush()
    await one.backup.flush()
    assert two.backup.lease.held() and not one.backup.lease.held()
    assert {row[2] for row in (await one.everything())["conversations"]} == {"theirs"}


@pytest.mark.anyio
async def test_a_lost_answer_to_the_commit_that_took_it_is_found_again(replicas):
    one = replicas(wants_lease=yes)
    await one.backup.pull()

    def lose() -> None:
        raise Doubtful("The answer was lost.")

    one.repo.after["commit"] = lose
    await one.backup.flush()
    assert one.backup.lease.held()
    assert one.repo.calls.count("commit") == 1


@pytest.mark.anyio
async def test_only_the_holder_purges_and_the_other_learns_when(replicas):
    one, two = replicas(wants_lease=yes), replicas(purge_after=0.0)
    await one.backup.flush()
    conversation = await two.turn(owner_of(1), None, "to be deleted")
    await two.backup.flush()
    await two.store.delete(owner_of(1), conversation)
    await two.backup.flush()
    with pytest.raises(Unreachable, match="Another app works on"):
        await two.backup.purge()
    assert "squash" not in two.repo.calls
    await one.backup.flush()  # reads the deletion
    await one.backup.purge()
    await one.backup.flush()
    await two.backup.flush()
    assert "squash" not in two.repo.calls
    assert await two.figure("SELECT purged_at FROM tombstones") == await one.figure("SELECT purged_at FROM tombstones")
    assert await two.figure("SELECT count(*) FROM backup_state WHERE name = 'purge_at'") == 0


@pytest.mark.anyio
async def test_what_a_replica_that_is_gone_deleted_is_purged_by_the_one_that_stays(replicas):
    one, two = replicas(), replicas(purge_after=60.0)
    conversation = await one.turn(owner_of(1), None, "to be deleted")
    await one.backup.flush()
    await one.store.delete(owner_of(1), conversation)
    await one.backup.flush()  # and never again
    for _ in range(400):
        await two.backup._turn()
    assert "squash" in two.repo.calls
    assert await two.figure("SELECT purged_at FROM tombstones") is not None


@pytest.mark.anyio
async def test_the_file_names_no_one_and_is_in_the_dataset(replicas):
    one = replicas(wants_lease=yes)
    await one.backup.flush()
    head = one.repo.head()
    assert set(one.repo.paths("", head)) == {"README.md", PATH}
