"""Commits are made inside the Hub's quota, and some of it is kept for what people take back."""

from __future__ import annotations

import random

import pytest

from chat.dataset_repo import TooMany
from chat.repo_guards import Counted
from chat.slots import AT_ONCE, KEPT, QUOTA, Slots
from tests.support.memory_repo import MemoryRepo


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def greedy(slots: Slots, clock: Clock, seconds: int, urgent: bool) -> list[float]:
    """The times of all commits that somebody makes who never waits longer than they must."""
    made = []
    for _ in range(seconds):
        clock.now += 1
        while slots.wait(urgent) == 0:
            slots.spend()
            made.append(clock.now)
    return made


@pytest.mark.parametrize("urgent", [False, True])
def test_no_hour_sees_more_commits_than_the_quota(urgent):
    clock = Clock()
    made = greedy(Slots(clock), clock, 4 * 3600, urgent)
    assert max(sum(at <= other < at + 3600 for other in made) for at in made) <= QUOTA
    # Nor many fewer: what is allowed is used.
    assert len(made) >= 3 * (QUOTA - AT_ONCE)


def test_ordinary_commits_leave_some_for_what_is_taken_back():
    clock = Clock()
    slots = Slots(clock)
    greedy(slots, clock, 2 * 3600, urgent=False)
    assert slots.wait() > 0
    urgent = 0
    while slots.wait(urgent=True) == 0:
        slots.spend()
        urgent += 1
    assert urgent >= KEPT
    assert slots.left == 0
    assert slots.wait(urgent=True) > 0


def test_waiting_as_long_as_one_is_told_is_long_enough():
    clock, draw = Clock(), random.Random(1)
    slots = Slots(clock)
    for _ in range(300):
        clock.now += slots.wait(urgent := draw.random() < 0.3)
        assert slots.wait(urgent) < 1e-6
        slots.spend()


def test_a_restart_does_not_forget_what_was_spent():
    clock = Clock()
    before = Slots(clock)
    greedy(before, clock, 60, urgent=True)
    after = Slots(clock)
    after.restore(before.saved())
    assert after.left == before.left == 0
    clock.now += 3600
    assert after.left == AT_ONCE


def test_a_clock_that_is_set_back_gives_nothing_away():
    clock = Clock()
    slots = Slots(clock)
    greedy(slots, clock, 10, urgent=True)
    clock.now -= 5000
    assert slots.left == 0
    assert slots.wait(urgent=True) <= 3600 / (QUOTA - AT_ONCE)


@pytest.mark.parametrize(("call", "arguments"), [("commit", ({}, [], None, "")), ("create", ("",)), ("squash", ("",))])
@pytest.mark.parametrize(("after", "pause"), [(300.0, 300.0), (None, 60.0), (1e9, 3600.0)])
def test_a_refusal_by_the_hub_is_believed(after, pause, call, arguments):
    clock = Clock()
    slots = Slots(clock)

    class Refusing(MemoryRepo):
        def commit(self, *arguments):
            raise TooMany("Not now.", after)

        create = squash = commit

    with pytest.raises(TooMany):
        getattr(Counted(Refusing("a/b"), slots), call)(*arguments)
    assert slots.left == 0
    assert slots.wait(urgent=True) == pause
    clock.now += pause
    assert slots.wait(urgent=True) == 0


def test_a_folder_has_no_quota():
    slots = Slots.unlimited(Clock())
    for _ in range(1000):
        slots.spend()
    assert (slots.wait(), slots.left) == (0.0, None)


def test_every_commit_is_counted_whatever_came_of_it():
    clock = Clock()
    slots = Slots(clock)
    repo = Counted(MemoryRepo("a/b"), slots)
    repo.create("A card")
    repo.commit({"a": b"1"}, [], repo.head(), "one")
    with pytest.raises(Exception, match="parent"):
        repo.commit({"a": b"2"}, [], "elsewhere", "two")
    repo.squash("three")
    assert slots.left == AT_ONCE - 4
