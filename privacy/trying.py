"""How a push deals with what fails: within a try, between two of them, and when it may no longer go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from chat.dataset_repo import Conflict, DatasetRepo, Doubtful, RepoError, Threads
from chat.db import Database
from chat.retrying import Retrying
from chat.slots import NoSlot, Slots
from privacy.rows import Rules

T = TypeVar("T")

TRIES = 5  # commits that lose a race, or whose answer is lost, before this push gives up
UNSETTLED = "The sharing dataset {} did not settle: it is tried again later."


@dataclass(frozen=True, slots=True)
class Tools:
    """What a push works with. `before_public()` returns once outbox and ledger are in the private dataset; what it raises
    is raised by the push, and nothing more was sent. `look_again()` plans, and says whether new rows may leave. `slots`:
    the quota that every commit is made inside, which datasets count. `retrying`: by dataset, when what failed is tried
    again. `open_to_write`: for the push alone; `open_repo`: for who only looks."""

    db: Database
    open_repo: Callable[[str], DatasetRepo]
    open_to_write: Callable[[str], DatasetRepo]
    rules: Rules
    clock: Callable[[], float]
    before_public: Callable[[], Awaitable[None]]
    look_again: Callable[[], Awaitable[bool]]
    holds_lease: Callable[[], bool]
    threads: Threads
    slots: Slots
    retrying: Mapping[str, Retrying]


class LeaseLost(Exception):
    """Another replica may push now: whatever comes next is its."""


def check_lease(tools: Tools) -> None:
    if not tools.holds_lease():
        raise LeaseLost


async def attempt(
    tools: Tools, dataset: str, urgent: bool, problems: list[str], step: Callable[[], Awaitable[T]]
) -> T | None:
    """`step`, unless it failed so lately that it waits. What fails is a problem, and holds up nothing else: None."""
    retrying, done = tools.retrying[dataset], None
    if not retrying.wait(tools.clock(), urgent):
        try:
            tools.slots.check(urgent)
            done = await step()
            retrying.succeeded()
        except NoSlot as error:
            problems.append(str(error))
        except RepoError as error:
            retrying.failed(error)
    problems += [retrying.problem] if retrying.problem else []
    return done


async def until_settled(tools: Tools, dataset: str, urgent: bool, step: Callable[[], Awaitable[T]]) -> T:
    """`step` again from the present head, where it may have been applied or somebody else was quicker: what is equal is
    left alone. Raises `RepoError`, `LeaseLost`."""
    failure: RepoError = Doubtful(UNSETTLED.format(dataset))
    for _ in range(TRIES):
        tools.slots.check(urgent)
        check_lease(tools)
        try:
            return await step()
        except (Conflict, Doubtful) as error:
            failure = error
    raise failure
