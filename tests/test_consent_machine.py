"""People do as they like, machines fail as they do: what is public is what was agreed to, in head and history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.consent_machine import ConsentMachine, episodes
from tests.support.sharing_world import ALPHA, HOUR, QUIET

EPISODES = 200


def test_every_canary_is_allowed_and_what_may_be_shared_is():
    """Also that the episodes show something: three in ten publish, one in ten takes back."""
    found = episodes(EPISODES)
    assert found["episodes"] >= EPISODES
    assert found["published"] >= 0.3 * found["episodes"]
    assert found["retracted"] >= 0.1 * found["episodes"]
    assert found["lost disks"] and found["crashes"]


@pytest.fixture
def machine() -> Iterator[ConsentMachine]:
    """Somebody who agreed, said something and left it alone until it was public."""
    machine = ConsentMachine()
    machine.a_first_day(["owner", "owner"], ["acme", "", ""], [(0, -1, ALPHA, "page"), (1, -1, ALPHA, "page")], True)
    yield machine
    machine.strike = None
    machine.settle = lambda: None  # type: ignore[method-assign]
    machine.teardown()


def test_the_oracle_misses_what_is_not_there(machine: ConsentMachine):
    """Guards the guard."""
    (repo,) = machine.world.repos.values()
    machine.check()
    assert machine.published
    repo.kept.clear()
    machine.world.sharing = lambda **_: Idle()  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="allowed and not there"):
        machine.settle()


class Idle:
    async def turn(self, **_: object) -> None:
        pass


@pytest.mark.parametrize("where", ["head", "history", "limbo"])
def test_the_oracle_digs_up_what_is_not_allowed(machine: ConsentMachine, where: str):
    """Of somebody who never agreed; in the head, in an older commit, and in what was squashed but not purged."""
    (repo,) = machine.world.repos.values()
    (other,) = [turn for turn in machine.trace.told if turn.owner == machine.owners[1]]
    leaked = {"leak.txt": other.answer_canary.encode()}
    if where == "head":
        repo.kept.append(("f" * 40, {**repo.now(), **leaked}))
    elif where == "history":
        repo.kept.insert(0, ("f" * 40, leaked))
    else:
        repo.limbo.append(other.answer_canary.encode())
    with pytest.raises(AssertionError, match="not allowed"):
        machine.check()


def test_the_oracle_knows_a_no_from_a_yes(machine: ConsentMachine):
    now = machine.world.clock.now + QUIET + HOUR
    (turn,) = [turn for turn in machine.trace.told if turn.owner == machine.owners[0]]
    assert machine.trace.may(turn, now) == (True, True)
    machine.take_back(0, "withdraw", None)
    assert machine.trace.may(turn, now) == (False, False)
    machine.grant(0, "acme")
    assert machine.trace.may(turn, now) == (False, False), "a new yes reaches nothing from before it"
