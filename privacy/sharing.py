"""The comparison as the app runs it: plan, push what the plan or one before it left to do, and tell what is wrong."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from chat.dataset_repo import DatasetRepo, RepoError, Threads
from chat.db import Database
from chat.retrying import LONGEST_URGENT_WAIT, Retrying
from chat.slots import Slots
from privacy.audit import Expected, audit
from privacy.evidence import audit_id
from privacy.extra import takes_back
from privacy.ledger import begin_chains
from privacy.notes import AUDITED, BATCH, FAILED, HELD, UNAUDITED, note, set_note
from privacy.outbox import Plan, hash_what_was_said, plan
from privacy.push import Pushed, push
from privacy.reports import open_reports
from privacy.rows import HOUR, Rules
from privacy.running import find_lost, held_until
from privacy.squashing import must_squash
from privacy.strays import look_over
from privacy.trying import Tools
from privacy.unread import close_unread, open_unread

AGAIN = 600.0  # seconds between two audits while the last one found something and nothing is pushed
STATES = ("quarantined", "publish", "published", "retract", "retracted")  # of a row, in the order of its life
LOOK = 600.0  # seconds between two looks for what another hand put into a dataset
PATIENCE = 30.0  # seconds of a turn after which the page is told so
MOST_TOLD = 5  # of an audit's findings
LOST = (
    "A run of the app did not stop in order, or still runs: what people took back there in its last seconds may not be saved."
    " Nothing new is shared until {}, or until it has stopped in order; what is taken back still leaves."
)
SLOW = "Sharing has waited for the Hub for a while; it goes on as soon as that answers."
AUDIT_FAILED = (
    "The audit of what is shared found: {} Until it finds nothing, nothing new is shared; what is taken back still leaves."
    " For all of it, run `python -m privacy.audit`."
)
AUDIT_UNFINISHED = "The audit of what is shared could not be finished. {}"


class Restored(Protocol):
    """Whether everything that was ever agreed to or taken back has been read."""

    def is_set(self) -> bool: ...
    async def wait(self) -> object: ...


class Sharing:
    """`turn` every so often, and at once after whatever takes something back. `before_public()` reads the private dataset
    and returns once outbox and ledger are in it."""

    def __init__(
        self,
        db: Database,
        rules: Rules,
        open_repo: Callable[[str], DatasetRepo],
        *,
        open_to_write: Callable[[str], DatasetRepo],
        clock: Callable[[], float],
        before_public: Callable[[], Awaitable[None]],
        holds_lease: Callable[[], bool] = lambda: True,
        slots: Slots | None = None,
        expected: Expected | None = None,
    ) -> None:
        """`open_to_write`: a dataset for the push alone, which names itself to the Hub; `open_repo`: one to look at.
        `slots`: the quota of commits, None for none. `expected`: what the audit after each push goes by."""
        self.db, self.rules, self.clock = db, rules, clock
        self._open_repo, self._open_to_write = open_repo, open_to_write
        self._before_public, self._holds_lease = before_public, holds_lease
        self._slots = slots or Slots.unlimited(clock)
        self._expected = expected or Expected(rules.terms, rules.blocked)
        self._wrong: tuple[str, ...] = ()  # in the last turn
        self._began: float | None = None  # the turn that is under way
        self._looked_at = float("-inf")
        self._retrying: defaultdict[str, Retrying] = defaultdict(lambda: Retrying(clock, lambda _: None))
        self._threads = Threads(1)
        self._one = asyncio.Lock()
        self._wake = asyncio.Event()

    async def begin(self) -> None:
        """Before anybody is served: what is agreed to and taken back counts as not read until `run` sees it restored."""

        def write(db: sqlite3.Connection) -> None:
            begin_chains(db)
            open_unread(db, self.clock())
            hash_what_was_said(db)

        await self.db.write(write)

    async def all_is_here(self, now: float) -> None:
        """What is agreed to and taken back is read; what was not saved before a disk was lost is nowhere."""
        await self.db.write(lambda db: (close_unread(db, now), find_lost(db, now)))

    async def run(self, restored: Restored, every: float, report: Callable[[str], None]) -> None:
        """Compare and carry out the difference every `every` seconds and on `hurry`, until cancelled.

        `report` hears, once each, the sentences about what is wrong; before `restored` is set nothing is, yet.
        """
        told: set[str] = set()
        known_at, is_known = self.clock(), False
        while True:
            if not restored.is_set():
                await self.db.write(lambda db, since=known_at: open_unread(db, since))
                is_known = False
                await restored.wait()
            known_at = self.clock()
            if not is_known:
                await self.all_is_here(known_at)
                is_known = True
            # What comes after this line hurries the next turn, not this one.
            self._wake.clear()
            self._began = self.clock()
            wrong = await self._wrong_of_a_turn(restored)
            self._began = None
            for sentence in wrong - told if restored.is_set() else ():
                report(sentence)
            told = wrong
            self._wrong = tuple(sorted(wrong)) if restored.is_set() else ()
            # What is to leave and could not is tried again soon, however rarely the rest is compared.
            pause = min(every, LONGEST_URGENT_WAIT) if await self.db.read(takes_back) else every
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _wrong_of_a_turn(self, restored: Restored) -> set[str]:
        try:
            planned, pushed = await self.turn(restored=restored.is_set)
            return {sentence for sentence in (planned.stopped, *planned.problems, *pushed.problems) if sentence}
        except RepoError as error:
            return {str(error)}
        except Exception as error:
            # Not its message: that may quote somebody's text.
            return {f"Sharing met an error of its own ({type(error).__name__}) and will try again."}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in sentences with what to do."""
        waits = self._began is not None and self.clock() - self._began > PATIENCE
        return (SLOW,) * waits + self._wrong

    async def figures(self) -> dict[str, Any]:
        """For the operator: what is wrong, how much waits for a decision, and how many rows of each dataset are in which
        state."""
        states = "".join(f", sum(state = '{state}') AS {state}" for state in STATES)
        datasets = await self.db.read(
            lambda db: [
                dict(row)
                for row in db.execute(f"SELECT dataset AS id{states} FROM outbox GROUP BY dataset ORDER BY id")
            ]
        )
        decisions = await self.db.read(lambda db: len(open_reports(db)) + (note(db, HELD) is not None))
        return {"problems": list(self.problems), "decisions": decisions, "datasets": datasets}

    def hurry(self) -> None:
        """Compare at once: somebody took something back."""
        self._wake.set()

    async def turn(self, *, restored: Callable[[], bool]) -> tuple[Plan, Pushed]:
        """Plan, and push what the plan, or one before it, left to do. One at a time."""
        plans: list[Plan] = []
        hour = int(self.clock() // HOUR)
        publish, failed = await self.db.read(lambda db: (self._is_time(db, hour), note(db, FAILED)))
        held = await self.db.read(self._held_until)
        publish = publish and failed is None and held is None

        async def look() -> Plan:
            plans.append(await plan(self.db, self.rules, now=self.clock(), restored=restored(), publish=publish))
            return plans[-1]

        async def look_again() -> bool:
            again = await look()
            if again.stopped:
                raise _Stopped
            return not again.held and await self.db.read(self._held_until) is None

        async with self._one:
            planned = await look()
            if planned.stopped:
                return planned, Pushed()
            tools = Tools(
                self.db,
                self._open_repo,
                self._open_to_write,
                self.rules,
                self.clock,
                self._before_public,
                look_again,
                self._holds_lease,
                self._threads,
                self._slots,
                self._retrying,
            )
            publish = publish and not planned.held
            try:
                pushed = await push(tools, publish=publish)
            except _Stopped:
                return plans[-1], Pushed()
            if publish and pushed.finished and not pushed.problems:
                await self.db.write(lambda db: set_note(db, BATCH, str(hour)))
            late = [sentence for again in plans[1:] for sentence in again.problems]
            late += [LOST.format(datetime.fromtimestamp(held, UTC).strftime("%Y-%m-%d %H:%M UTC"))] if held else []
            found = await self._audit(pushed.told)
            if self.clock() >= self._looked_at + LOOK:
                self._looked_at = self.clock()
                await look_over(tools, found)
            return planned, replace(pushed, problems=tuple(dict.fromkeys((*pushed.problems, *late, *found))))

    def _held_until(self, db: sqlite3.Connection) -> float | None:
        return held_until(db, self.rules.quiet, self.clock())

    async def _audit(self, told: bool) -> list[str]:
        """Prove that what is shared is what was agreed to: after every push that is `told`, until an audit of it was finished,
        and every so often while it is not so. The sentences for the operator. What another hand did is undone by the next
        push, which looks at the dataset anew."""
        now = self.clock()
        id, owed, failed, at = await self.db.read(
            lambda db: (audit_id(db, self.rules), note(db, UNAUDITED), note(db, FAILED), note(db, AUDITED))
        )
        known = [AUDIT_FAILED.format("; ".join(json.loads(failed)))] if failed else []
        if id is None or not ((told and owed) or (failed and now >= float(at or 0) + AGAIN)):
            return known
        retrying = self._retrying[AUDITED]
        if not retrying.wait(now):
            try:
                wrong = await asyncio.to_thread(audit, self._open_repo, id, self._expected, now)
                retrying.succeeded()
            except RepoError as error:
                retrying.failed(error)
        if retrying.problem:
            return [*known, AUDIT_UNFINISHED.format(retrying.problem)]
        found = json.dumps([str(finding) for finding in wrong[:MOST_TOLD]]) if wrong else None

        def write(db: sqlite3.Connection) -> None:
            set_note(db, FAILED, found)
            set_note(db, AUDITED, repr(now))
            set_note(db, UNAUDITED, None)
            if found != failed:
                known = {row["id"] for row in db.execute("SELECT id FROM sharing_datasets")}
                for dataset in sorted(known & {finding.repo for finding in wrong}):
                    must_squash(db, dataset, now)

        await self.db.write(write)
        return [AUDIT_FAILED.format("; ".join(json.loads(found)))] if found else []

    def _is_time(self, db: sqlite3.Connection, hour: int) -> bool:
        """Whether new rows leave now: in a set hour, all of them at once."""
        return self.rules.next_batch(hour * HOUR) == hour * HOUR and not (
            self.rules.hours and note(db, BATCH) == str(hour)
        )


class _Stopped(Exception):
    """A plan between two commits stopped."""
