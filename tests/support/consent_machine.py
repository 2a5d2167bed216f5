"""People talk, agree, take back, report, delete; clocks jump, processes crash, disks are lost. After each comparison every
canary that can be dug out of a sharing dataset is allowed by what was said, and after a quiet period what may be shared, is.

The oracle knows nothing of the code: it keeps its own trace of what people did, and says from that alone what is allowed.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import random
import re
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from privacy.consent import ASKING, Terms
from privacy.mine import preview
from privacy.pauses import pause, resume
from privacy.reports import decide, report
from privacy.saved import files, restore
from tests.support.memory_repo import Crash, Faulty, MemoryRepo
from tests.support.sharing_world import ALPHA, BETA, DAY, HOUR, QUIET, World

AUTHORS = {ALPHA: "acme", BETA: "globex", "nobody/knows": None}
CANARY = re.compile(r"canary[0-9]{6}x")
KINDS = ("owner", "owner", "owner", "managed", "anonymous")
APART = st.sampled_from([0, 0, 1, -1, 48, -48])  # hours by which another machine's clock is ahead
# Who, in which of their conversations (below 0: a new one), to which model, through which door.
TURN = st.tuples(
    st.sampled_from([0, 0, 1, 2, 3]),
    st.integers(-2, 3),
    st.sampled_from([ALPHA, ALPHA, ALPHA, BETA, "nobody/knows"]),
    st.sampled_from(["page", "page", "page", "page", "api", "import"]),
)


SERIALS = itertools.count()  # of all that is said and told


# -- the oracle -------------------------------------------------------------------------------------------------------


@dataclass
class Said:
    """One thing somebody decided. `recipient` None: all. `turns`: the serials of those that a share covers. `conversation` None: the account. `serial`:
    which of all things that were ever said."""

    at: float
    yes: bool
    recipient: str | None
    conversation: str | None = None
    turns: frozenset[int] = frozenset()
    version: str = "1"
    for_ever: bool = False
    serial: int = field(default_factory=lambda: next(SERIALS))


@dataclass
class Told:
    """One turn that was written, with its own words of which each is a canary. `heard`: the serials of all that its owner
    had said by the time of its prompt, where it was written; `agreed`: of the account's yeses that it was written under, its
    answer too; `in_time`: no clock had been set back so far that it bears an earlier date than something before it."""

    owner: str
    conversation: str
    answer: str
    model: str
    surface: str
    asked_at: float
    prompt_canary: str
    answer_canary: str
    heard: frozenset[int]
    agreed: frozenset[int]
    in_time: bool
    is_kept: bool = True
    serial: int = field(default_factory=lambda: next(SERIALS))


@dataclass
class Trace:
    """Everything that happened, in order. `hidden`: report -> the answers of the row it names."""

    told: list[Told] = field(default_factory=list)
    said: dict[str, list[Said]] = field(default_factory=dict)
    cannot: set[str] = field(default_factory=set)  # anonymous, managed, closed
    deleted: set[str] = field(default_factory=set)
    hidden: dict[str, frozenset[str]] = field(default_factory=dict)
    pauses: dict[str, list[float]] = field(default_factory=dict)  # begun, ended, begun, ...
    stale_at: float | None = None

    def may(self, turn: Told, now: float) -> tuple[bool, bool]:
        """(its authors may have this turn now, it may leave now if it has not left yet)."""
        stays, leaves = self._covered(turn, now)
        return stays, leaves and not self.rests(turn.owner)

    def _covered(self, turn: Told, now: float) -> tuple[bool, bool]:
        recipient = AUTHORS[turn.model]
        if recipient is None or turn.owner in self.cannot or turn.surface == "api":
            return False, False
        if not turn.is_kept or turn.conversation in self.deleted:
            return False, False
        if any(turn.answer in answers for answers in self.hidden.values()):
            return False, False
        own = self.said.get(turn.owner, [])
        here = [said for said in own if said.conversation == turn.conversation]
        if any(said.for_ever for said in here) or (here and _keeps_private(here)):
            return False, False
        account = [said for said in own if said.conversation is None and said.recipient in (None, recipient)]
        # Whatever the clocks say, a no ends every yes that was said before it.
        refused = _last_no(own, account)
        kept_back = _last_no(own, here)
        shares = [said for place, said in enumerate(own) if said in here and said.yes and place > kept_back]
        for share in reversed(shares):
            stands = own.index(share) > refused
            if stands and share.recipient == recipient and turn.serial in share.turns:
                return self._under(share, now)
        if turn.surface != "page":
            return False, False
        if kept_back >= 0 and own[kept_back].serial not in turn.heard:
            return False, False
        grants = [said for place, said in enumerate(own) if said in account and said.yes and place > refused]
        if not any(grant.serial in turn.agreed for grant in grants):
            return False, False
        stays, leaves = self._under(grants[-1], now)
        return stays, leaves and turn.in_time

    def rests(self, owner: str) -> bool:
        return len(self.pauses.get(owner, ())) % 2 == 1

    def written(self, owner: str, conversation: str, asked_at: float) -> dict[str, Any]:
        """What a turn of `owner` that is written now had heard, and is written under; whether its date is in time."""
        said = self.said.get(owner, [])
        dates = [each.at for each in said] + self.pauses.get(owner, [])
        dates += [turn.asked_at for turn in self.told if turn.owner == owner]
        heard = frozenset(each.serial for each in said)
        agreed = self.in_force(owner, conversation, asked_at)
        return {"heard": heard, "agreed": agreed, "in_time": asked_at > max(dates, default=0.0)}

    def in_force(self, owner: str, conversation: str, now: float) -> frozenset[int]:
        """The account's yeses that reach what is written now in a conversation: none at rest, in private, after a share of
        it, and while an organisation decides."""
        own = self.said.get(owner, [])
        here = [said for said in own if said.conversation == conversation]
        if owner in self.cannot or self.rests(owner) or (here and (here[-1].yes or _keeps_private(here))):
            return frozenset()
        found: list[Said] = []
        for said in (said for said in own if said.conversation is None):
            if said.yes:
                found.append(said)
            else:
                found = [yes for yes in found if said.recipient not in (None, yes.recipient)]
        return frozenset(yes.serial for yes in found if not self._stale(yes, now))

    def _stale(self, said: Said, at: float) -> bool:
        return self.stale_at is not None and said.version == "1" and at >= self.stale_at

    def _under(self, said: Said, now: float) -> tuple[bool, bool]:
        if not self._stale(said, now):
            return True, True
        return now < (self.stale_at or 0.0) + ASKING, False

    def allowed(self, now: float) -> set[str]:
        """Every canary that may be dug out of a dataset, with the recipient whose it is."""
        found = set()
        for turn in self.told:
            if self.may(turn, now)[0]:
                found |= {f"{AUTHORS[turn.model]}:{turn.prompt_canary}", f"{AUTHORS[turn.model]}:{turn.answer_canary}"}
        return found

    def due(self, now: float) -> set[str]:
        """Every canary that must be there, once enough time has passed."""
        return {f"{AUTHORS[turn.model]}:{turn.answer_canary}" for turn in self.told if self.may(turn, now)[1]}


def _last_no(own: list[Said], about: list[Said]) -> int:
    """Its place among all that one person said; -1: none."""
    return max((place for place, said in enumerate(own) if said in about and not said.yes), default=-1)


def _keeps_private(here: list[Said]) -> bool:
    """The last word about a conversation was no; a withdrawal (`recipient` "inherit") lets it follow the account again."""
    return not here[-1].yes and here[-1].recipient != "inherit"


# -- the machine ------------------------------------------------------------------------------------------------------

FOUND: Counter[str] = Counter()  # over all episodes of a run


class ConsentMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # Which row is reported, and which call a crash strikes, depend on the order of ids: an episode repeats only with them.
        self.ids = random.Random(0)
        self.drawn_ids = mock.patch.object(secrets, "token_hex", lambda size: self.ids.randbytes(size).hex())
        self.drawn_ids.start()
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.runner = asyncio.Runner()
        self.disks = itertools.count()
        self.numbers = itertools.count(1)
        self.world = World(self.folder / "disk")
        self._draw_replica(self.world)
        self.trace = Trace()
        self.strike: Any = None
        self.saved: dict[str, bytes] = {}
        self.saved_said: dict[str, list[Said]] = {}
        self.latest = 0.0
        self.reports: list[str] = []
        self.owners: list[str] = []
        self.published = self.retracted = False
        self._wire()

    def _draw_replica(self, world: World) -> None:
        id = self.ids.randbytes(8).hex()
        self.run(world.db.write(lambda db: db.execute("UPDATE replica SET id = ?", (id,))))

    def _elsewhere(self, saved: dict[str, bytes]) -> World:
        other = self.run(self.world.elsewhere(self.folder / f"disk{next(self.disks)}", saved))
        self._draw_replica(other)
        return other

    def _wire(self) -> None:
        self.world.open_repo = lambda id: Faulty(
            self.world.in_memory(id), lambda call, before: self._maybe_crash(call, before)
        )

    def _maybe_crash(self, call: str, before: bool) -> None:
        if self.strike is not None and self.strike(call, before):
            self.strike = None
            raise Crash

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def canary(self) -> str:
        return f"canary{next(self.numbers):06}x"

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            FOUND["episodes"] += 1
            FOUND["published"] += self.published
            FOUND["retracted"] += self.retracted
            self.drawn_ids.stop()
            self.world.close()
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # What people do

    def people(self, kinds: list[str]) -> None:
        for kind in ["owner", *kinds]:
            owner = self.run(self.world.person(managed=kind == "managed", anonymous=kind == "anonymous"))
            self.owners.append(owner)
            if kind != "owner":
                self.trace.cannot.add(owner)

    @initialize(
        kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=3),
        agreed=st.lists(st.sampled_from(["acme", "acme", "globex", "both", ""]), min_size=4, max_size=4),
        said=st.lists(TURN, min_size=3, max_size=6),
        left_alone=st.sampled_from([True, True, True, False]),
        taken_back=st.sampled_from([False, False, False, True]),
        ids=st.integers(0, 2**16),
    )
    def a_first_day(
        self,
        kinds: list[str],
        agreed: list[str],
        said: list[tuple[int, int, str, str]],
        left_alone: bool,
        taken_back: bool = False,
        ids: int = 0,
    ) -> None:
        """So that most episodes have something to share, and many something to take back, whatever else is drawn."""
        self.ids.seed(ids)
        self.people(kinds)
        for who, recipient in enumerate(agreed[: len(self.owners)]):
            for name in ("acme", "globex") if recipient == "both" else (recipient,):
                if name:
                    self.grant(who, name)
        for turn in said:
            self.say(*turn)
        if left_alone:
            self.world.clock.now += QUIET + HOUR
            self.compare(1, 0)
        if taken_back:
            self.take_back(0, "withdraw", None)
            self.compare(1, 0)

    def _talks(self, owner: str) -> list[str]:
        return list(
            dict.fromkeys(
                t.conversation for t in self.trace.told if t.owner == owner and t.conversation not in self.trace.deleted
            )
        )

    @rule(said=st.lists(TURN, min_size=1, max_size=4))
    def talk(self, said: list[tuple[int, int, str, str]]) -> None:
        for turn in said:
            self.say(*turn)

    def say(self, who: int, which: int, model: str, surface: str) -> None:
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot and owner in self.trace.said and self._closed(owner):
            return
        talks = self._talks(owner)
        conversation = talks[which % len(talks)] if which >= 0 and talks else None
        prompt, answer, system, title = (self.canary() for _ in range(4))
        asked_at = self.world.clock.now + 10
        found = self.run(
            self.world.say(
                owner, f"prompt {prompt}", model, conversation, surface, f"answer {answer}", f"system {system}"
            )
        )
        self.run(self.world.store.rename(owner, found, f"title {title}"))
        last = self.run(self.world.answers(owner, found))[-1]
        told = self.trace.written(owner, found, asked_at)
        self.trace.told.append(Told(owner, found, last, model, surface, asked_at, prompt, answer, **told))

    def _closed(self, owner: str) -> bool:
        return any(said.for_ever and said.conversation is None for said in self.trace.said.get(owner, []))

    @precondition(lambda self: self.trace.told)
    @rule(which=st.integers(0, 20), model=st.sampled_from([ALPHA, BETA]))
    def retry(self, which: int, model: str) -> None:
        turn = self.trace.told[which % len(self.trace.told)]
        if turn.conversation in self.trace.deleted or not turn.is_kept:
            return
        answers = self.run(self.world.answers(turn.owner, turn.conversation))
        (last,) = [t for t in self.trace.told if t.answer == answers[-1] and t.is_kept]
        answer = self.canary()
        self.run(self.world.retry(turn.owner, turn.conversation, f"answer {answer}", model))
        last.is_kept = False
        new = self.run(self.world.answers(turn.owner, turn.conversation))[-1]
        self._written_again(last, new, model, answer)

    def _written_again(self, last: Told, answer: str, model: str, canary: str) -> None:
        under = last.agreed & self.trace.in_force(last.owner, last.conversation, self.world.clock.now)
        again = replace(last, answer=answer, model=model, answer_canary=canary, agreed=under, is_kept=True)
        again.serial = next(SERIALS)
        self.trace.told.append(again)

    @precondition(lambda self: self.trace.told)
    @rule(which=st.integers(0, 20))
    def go_on(self, which: int) -> None:
        """An answer that was cut off says more, under the id that it has."""
        turn = self.trace.told[which % len(self.trace.told)]
        if turn.conversation in self.trace.deleted or not turn.is_kept:
            return
        id = self.run(self.world.answers(turn.owner, turn.conversation))[-1]
        (last,) = [t for t in self.trace.told if t.answer == id and t.is_kept]
        cut_off = "UPDATE messages SET finish_reason = 'length' WHERE id = ?"
        self.run(self.world.db.write(lambda db: db.execute(cut_off, (id,))))
        canary = self.canary()
        self.run(self.world.store.begin_continue(last.owner, id))
        self.run(self.world.store.finish_turn(id, f"answer {canary}", "done", "stop"))
        last.is_kept = False
        self._written_again(last, id, last.model, canary)

    @rule(who=st.integers(0, 3), recipient=st.sampled_from(["acme", "acme", "globex"]))
    def grant(self, who: int, recipient: str) -> None:
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot:
            return
        stale = self.trace.stale_at is not None and self.world.clock.now + 1 >= self.trace.stale_at
        self._choose(owner, "grant", recipient, version="2" if stale else "1")

    @rule(
        who=st.integers(0, 3),
        kind=st.sampled_from(["withdraw", "deny"]),
        recipient=st.sampled_from(["acme", "globex", None]),
    )
    def take_back(self, who: int, kind: str, recipient: str | None) -> None:
        self._choose(self.owners[who % len(self.owners)], kind, recipient)

    @precondition(lambda self: self.trace.told)
    @rule(which=st.integers(0, 20), kind=st.sampled_from(["deny", "withdraw"]))
    def keep_one_private_or_not(self, which: int, kind: str) -> None:
        turn = self.trace.told[which % len(self.trace.told)]
        if turn.conversation not in self.trace.deleted:
            self._choose(turn.owner, kind, None, turn.conversation)

    @precondition(lambda self: self.trace.told)
    @rule(which=st.integers(0, 20), row=st.integers(0, 3))
    def share_one(self, which: int, row: int) -> None:
        turn = self.trace.told[which % len(self.trace.told)]
        if turn.owner in self.trace.cannot or turn.conversation in self.trace.deleted:
            return
        rows = self.run(preview(self.world.db, turn.owner, turn.conversation, self.world.rules))
        if rows:
            chosen = rows[row % len(rows)]
            stale = self.trace.stale_at is not None and self.world.clock.now + 1 >= self.trace.stale_at
            version = "2" if stale else "1"
            self._choose(turn.owner, "grant", chosen.recipient, turn.conversation, chosen.parts, version)

    def _choose(
        self,
        owner: str,
        kind: str,
        recipient: str | None,
        conversation: str | None = None,
        parts: tuple[str, ...] = (),
        version: str = "1",
    ) -> None:
        event = self.run(self.world.choose(owner, kind, recipient, conversation, parts, version))
        shown = {part.partition(".")[0] for part in parts}
        turns = frozenset(turn.serial for turn in self.trace.told if turn.is_kept and turn.answer in shown)
        named = "inherit" if kind == "withdraw" and conversation else recipient
        self.trace.said.setdefault(owner, []).append(
            Said(event.at, kind == "grant", named, conversation, turns, version)
        )
        if kind != "grant":
            self.save()

    @rule(who=st.integers(0, 3))
    def rest_or_go_on(self, who: int) -> None:
        owner = self.owners[who % len(self.owners)]
        if not self.trace.said.get(owner):
            return
        self.world.clock.now += 1
        now, act = self.world.clock.now, resume if self.trace.rests(owner) else pause
        for turn in self.trace.told:
            # Another machine's clock is ahead: by its date, what was written there came after.
            turn.in_time = turn.in_time and (turn.owner != owner or turn.asked_at < now)
        self.run(self.world.db.write(lambda db: act(db, owner, now)))
        self.trace.pauses.setdefault(owner, []).append(now)
        self.save()

    @precondition(lambda self: self.trace.told)
    @rule(which=st.integers(0, 20))
    def delete_one(self, which: int) -> None:
        turn = self.trace.told[which % len(self.trace.told)]
        if turn.conversation not in self.trace.deleted:
            self.run(self.world.store.delete(turn.owner, turn.conversation))
            self.trace.deleted.add(turn.conversation)

    @precondition(lambda self: self.trace.told)
    @rule(who=st.integers(0, 20))
    def close_account(self, who: int) -> None:
        # Seldom: an episode in which everybody has left shows little.
        if who % 5 or len(self.owners) < 2:
            return
        owner = self.owners[-1]
        if owner in self.trace.cannot:
            return
        event = self.run(self.world.choose(owner, "delete"))
        self.run(self.world.store.delete(owner))
        self.run(self.world.db.write(lambda db: db.execute("DELETE FROM accounts WHERE owner = ?", (owner,))))
        self.trace.said.setdefault(owner, []).append(Said(event.at, False, None, for_ever=True))
        self.trace.deleted |= {turn.conversation for turn in self.trace.told if turn.owner == owner}
        self.trace.cannot.add(owner)
        self.save()

    @rule(who=st.integers(0, 3))
    def join_an_organisation(self, who: int) -> None:
        owner = self.owners[who % len(self.owners)]
        if who == 3 and owner not in self.trace.cannot and len(self.trace.cannot) < len(self.owners) - 1:
            self._join(owner, managed=True)
            self.trace.cannot.add(owner)

    @rule(who=st.integers(0, 3), which=st.integers(-2, 3))
    def an_organisation_comes_and_goes(self, who: int, which: int) -> None:
        """What is written meanwhile is not shared, and when it has gone nothing is until somebody says so."""
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot:
            return
        self._join(owner, managed=True)
        self.trace.cannot.add(owner)
        self.say(who, which, ALPHA, "page")
        self.compare(1, 0)
        self._join(owner, managed=False)
        self.trace.cannot.remove(owner)
        said = self.trace.said.get(owner)
        if said and any(each.yes for each in said):
            said.append(Said(self.world.clock.now, False, None))
            self.save()
        FOUND["organisations that came and went"] += 1

    def _join(self, owner: str, managed: bool) -> None:
        orgs = json.dumps([{"id": "o", "name": "bigcorp", "managed": managed}])
        sql = "UPDATE accounts SET orgs = ? WHERE owner = ?"
        self.run(self.world.db.write(lambda db: db.execute(sql, (orgs, owner))))

    @rule(which=st.integers(0, 5))
    def complain(self, which: int) -> None:
        rows = [row for row in self.run(self.world.outbox()) if row["state"] == "published"]
        if not rows:
            return
        row = rows[which % len(rows)]
        found = self.run(self.world.db.write(lambda db: report(db, row["row_id"], "mine", "", self.world.clock())))
        self.trace.hidden[found.id] = frozenset(json.loads(row["answers"]))
        self.reports.append(found.id)
        self.save()

    @precondition(lambda self: self.reports)
    @rule(upheld=st.booleans())
    def judge(self, upheld: bool) -> None:
        id = self.reports.pop(0)
        row = self.run(
            self.world.db.read(lambda db: dict(db.execute("SELECT * FROM reports WHERE id = ?", (id,)).fetchone()))
        )
        self.world.clock.now += 1
        verdict = "upheld" if upheld else "rejected"
        self.run(self.world.db.write(lambda db: decide(db, id, verdict, self.world.clock())))
        if upheld:
            (owner,) = {turn.owner for turn in self.trace.told if turn.conversation == row["conversation"]}
            if not self._closed(owner):
                self.trace.said.setdefault(owner, []).append(
                    Said(self.world.clock.now, False, None, row["conversation"], for_ever=True)
                )
        del self.trace.hidden[id]
        self.save()

    # What happens

    @rule(hours=st.sampled_from([1, 24, 80, 24 * 12]))
    def time_passes(self, hours: int) -> None:
        self.world.clock.now += hours * HOUR

    @rule()
    def a_clock_is_set_back(self) -> None:
        self.latest = max(self.latest, self.world.clock.now)
        self.world.clock.now -= 2 * DAY

    @rule()
    def a_new_text(self) -> None:
        if self.trace.stale_at is None and next(self.numbers) % 3 == 0:
            self.trace.stale_at = self.world.clock.now + 5 * DAY
            self.world.use(terms=Terms({"1": self.trace.stale_at}))

    def save(self) -> None:
        """The private dataset has what ledger and outbox are now."""
        self.saved = self.run(self.world.db.read(files))
        self.saved_said = copy.deepcopy(self.trace.said)

    async def _save(self) -> None:
        self.saved = await self.world.db.read(files)
        self.saved_said = copy.deepcopy(self.trace.said)

    @rule(repeat=st.integers(1, 2), hours=st.sampled_from([0, 0, 80]))
    def compare(self, repeat: int, hours: int) -> None:
        self.world.clock.now += hours * HOUR
        for _ in range(repeat):
            self.run(self.world.sharing(before_public=self._save).turn(restored=lambda: True))
        self.check()

    @rule(at=st.sampled_from([0, 0, 1, 1, 2, 3, 4, 6, 8]), hours=st.sampled_from([80, 0, 80]))
    def crash_while_comparing(self, at: int, hours: int) -> None:
        """The process ends before or after the `at`th call to a dataset; what was committed here is still here."""
        self.world.clock.now += hours * HOUR
        count = itertools.count()
        self.strike = lambda call, before: next(count) == at
        try:
            self.run(self.world.sharing(before_public=self._save).turn(restored=lambda: True))
        except Crash:
            FOUND["crashes"] += 1
            self.world.close()
            self.world.open()
        self.strike = None

    @rule()
    def lose_the_disk(self) -> None:
        """Of ledger and outbox only what was saved comes back; of a yes that was not, nobody knows."""
        if not self.saved:
            return
        other = self._elsewhere(self.saved)
        self.world.close()
        self.world = other
        self._wire()
        self.trace.said = copy.deepcopy(self.saved_said)
        FOUND["lost disks"] += 1

    @rule(who=st.integers(0, 3), recipient=st.sampled_from(["acme", None]), apart=APART)
    def another_machine_hears_a_no(self, who: int, recipient: str | None, apart: int) -> None:
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot or not self.trace.said.get(owner):
            return
        self.save()
        other = self._elsewhere(self.saved)
        try:
            with self._by_another_clock(apart):
                event = self.run(other.choose(owner, "withdraw", recipient))
            heard = self.run(other.db.read(files))
        finally:
            other.close()
        self.run(self.world.db.write(lambda db: restore(db, heard)))
        self.trace.said[owner].append(Said(event.at, False, recipient))
        self.save()

    @rule(who=st.integers(0, 3), yes_first=st.booleans(), apart=APART)
    def two_machines_at_once(self, who: int, yes_first: bool, apart: int) -> None:
        """One hears a yes, the other a no, before either has read the other: the no holds."""
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot or not self.trace.said.get(owner):
            return
        self.save()
        other = self._elsewhere(self.saved)
        try:
            for says_yes in (yes_first, not yes_first):
                if says_yes:
                    self.run(self.world.choose(owner, "grant", "acme"))
                else:
                    with self._by_another_clock(apart):
                        event = self.run(other.choose(owner, "deny", "acme"))
            heard = self.run(other.db.read(files))
        finally:
            other.close()
        self.run(self.world.db.write(lambda db: restore(db, heard)))
        self.trace.said[owner].append(Said(event.at, False, "acme"))
        FOUND["at once"] += 1
        self.save()

    @rule(who=st.integers(0, 3), apart=APART, kind=st.sampled_from(["grant", "withdraw", "rest"]))
    def another_machine_writes_what_is_asked_before_it_hears(self, who: int, apart: int, kind: str) -> None:
        """Somebody writes there, and then chooses here, before either machine has read of the other."""
        owner = self.owners[who % len(self.owners)]
        if owner in self.trace.cannot or not self.trace.said.get(owner):
            return
        self.save()
        other = self._elsewhere(self.saved)
        here = self.world
        try:
            with self._by_another_clock(apart):
                self.world = other
                self.say(who, -1, ALPHA, "page")
            self.world = here
            if kind == "rest":
                self.rest_or_go_on(who)
            else:
                self._choose(owner, kind, "acme")
            self.run(self.world.take_in(other))
        finally:
            self.world = here
            other.close()
        FOUND["written elsewhere"] += 1

    @contextmanager
    def _by_another_clock(self, hours: int) -> Iterator[None]:
        self.world.clock.now += hours * HOUR
        self.latest = max(self.latest, self.world.clock.now)
        try:
            yield
        finally:
            self.world.clock.now -= hours * HOUR

    # What must hold

    def dug_up(self) -> set[str]:
        """Every canary in the head or in any history, with the recipient of the dataset it is in."""
        found = set()
        for id, repo in self.world.repos.items():
            recipient = "acme" if "acme" in id else "globex"
            assert isinstance(repo, MemoryRepo)
            found |= {f"{recipient}:{canary}" for canary in CANARY.findall(repo.everything())}
            assert not CANARY.search(str(repo.announced)), "an announcement quotes somebody"
        return found

    def check(self) -> None:
        found, allowed = self.dug_up(), self.trace.allowed(self.world.clock.now)
        assert found <= allowed, f"not allowed: {sorted(found - allowed)}"
        if found:
            self.published = True
        states = self.run(self.world.states())
        self.retracted = self.retracted or "retracted" in states

    def settle(self) -> None:
        """Long after everybody has gone quiet: what may be shared, is; what may not, is not."""
        self.world.clock.now = max(self.latest, self.world.clock.now) + QUIET + 2 * DAY
        for _ in range(3):
            self.run(self.world.sharing(before_public=self._save).turn(restored=lambda: True))
            self.world.clock.now += HOUR
        self.world.clock.now -= HOUR
        self.check()
        missing = self.trace.due(self.world.clock.now) - self.dug_up()
        assert not missing, f"allowed and not there: {sorted(missing)}"

    @invariant()
    def nobody_is_left_running(self) -> None:
        assert self.strike is None


def episodes(count: int, steps: int = 25, always_the_same: bool = True) -> Counter[str]:
    """Run at least `count` episodes; what was counted over all of them. Raises where one shows what is not allowed."""
    FOUND.clear()
    chosen = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=always_the_same,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ConsentMachine, settings=chosen)
    return Counter(FOUND)
