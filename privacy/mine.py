"""What an owner is shown: who will read a conversation and when, what exactly would leave, and what has left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chat.db import Database
from privacy.comparison import covered, leaves_at, stands, those_that_leave
from privacy.consent import AccountState, ConversationChoice, Standpoint, Yes
from privacy.feedback import Said, said_about, said_under
from privacy.notes import BATCH, note
from privacy.rows import HOUR, Rules, dataset_id, prepare
from privacy.running import held_until
from privacy.screening import KeptBack
from privacy.segments import Segment, Turn, conversations_of, cut, turns_of

# Not on its way out.
OF_OWNER = "subject IN (SELECT subject FROM subjects WHERE owner = ?)"
STANDING = f"SELECT answers FROM outbox WHERE {OF_OWNER} AND state IN ('publish', 'published', 'quarantined')"

# Before it was written down, the redaction's failure was the only reason.
WHY = "CASE state WHEN 'quarantined' THEN coalesce(kept_back, 'redaction') END"

EVENT_HASH = "(SELECT hash FROM consent_events WHERE id = outbox.event)"
# The worst that became of what people reported about it.
REPORTED = (
    "(SELECT state FROM reports WHERE row_id = outbox.row_id"
    " ORDER BY state = 'upheld' DESC, state = 'open' DESC LIMIT 1)"
)

Feedback = tuple[Mapping[str, Any], ...]  # JSON objects, as they leave


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who will read a conversation, by name, each tuple sorted.

    `state`: the account's, towards `recipient`, the authors of the model selected ("unset" where it names none).
    `standing`: who has rows of it that stay. `sending`: to whom such rows are on their way, and nobody knows whether they
    arrived. `leaving`: from whom rows that they have are taken back; `stopped`: to whom rows were on their way that are to
    go, and nobody knows whether they arrived; somebody may be among several. `coming`: who gets turns of it that are here
    already, and when the first, Unix seconds. `whole`: one of them alone has, or gets, every turn. `next_turn`: whether what
    is written next would be covered, and goes to `recipient`. `datasets`: of each of these names.
    """

    recipient: str | None
    state: AccountState
    choice: ConversationChoice
    standing: tuple[str, ...] = ()
    sending: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    coming: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False
    next_turn: bool = False
    datasets: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def when(self) -> float | None:
        """When the first of what is `coming` may leave, Unix seconds."""
        return min(self.coming.values(), default=None)

    @property
    def readers(self) -> tuple[str, ...]:
        """All who have turns of it, or will get some."""
        follows = {self.recipient} if self.next_turn and self.recipient else set()
        return tuple(sorted({*self.standing, *self.sending, *self.leaving, *self.stopped, *self.coming, *follows}))

    @property
    def shared(self) -> bool:
        """Its readers have, or may have, some of it now."""
        return bool(self.standing or self.sending or self.leaving or self.stopped)

    @property
    def can_take_back(self) -> bool:
        """What is on its way out cannot be taken back once more."""
        return bool(self.standing or self.sending or self.coming or self.next_turn)


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as it would leave, redacted; `content` None: it would stay here, for the reason `kept_back`.

    `parts`: what a share of exactly this row covers (`Choice.turns`). `feedback`: what its owner said about them, which
    goes along.
    """

    recipient: str
    dataset: str
    model: str
    parts: tuple[str, ...]
    content: Mapping[str, Any] | None
    kept_back: KeptBack | None
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One row of "My shared data", times in Unix seconds. `content` None: its text is gone from here, or kept back.
    `sent`: it may have left; it is known to have only where there is a `published_at`. `kept_back`: why it stays here, see
    `privacy.screening`. `reported`: by somebody, and "open", "upheld" or "rejected"."""

    row_id: str
    dataset: str
    recipient: str
    conversation: str
    state: str
    sent: bool
    content: Mapping[str, Any] | None
    row_hash: str
    event: str
    event_hash: str
    kept_back: KeptBack | None
    feedback: Feedback
    published_at: float | None
    published_in: str | None
    retracted_at: float | None
    retracted_in: str | None
    reported: str | None


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row that is agreed to and still here. `when`: Unix seconds from which it may leave. The rest as in `PreviewRow`;
    `kept_back` "most": as many of this month are shared already as may be."""

    recipient: str
    dataset: str
    conversation: str
    when: float
    content: Mapping[str, Any] | None
    kept_back: KeptBack | Literal["most"] | None
    feedback: Feedback


def outlook(
    db: sqlite3.Connection, owner: str, conversation: str | None, model: str | None, rules: Rules, now: float
) -> Outlook:
    """What the chip beside the box says. `conversation` None: one that is about to begin."""
    at = Standpoint(db, owner, rules.terms, now)
    recipient = rules.authors.get(model or "") or None
    choice = at.conversation_choice(conversation) if conversation else "inherit"
    state: AccountState = at.account_state(recipient) if recipient else "unset"
    found: dict[str, set[str]] = {"standing": set(), "sending": set(), "leaving": set(), "stopped": set()}
    coming: dict[str, float] = {}
    datasets: defaultdict[str, set[str]] = defaultdict(set)
    turns = turns_of(db, owner, conversation) if conversation is not None else []
    taken: set[str] = set()
    going: set[str] = set()  # answers that have left or will, without those that stay here
    for row in _rows(db, owner, conversation) if conversation is not None else ():
        name, sent, arrived = row["recipient"], row["shard"] is not None, row["published_at"] is not None
        if row["state"] == "retracted":
            continue
        stays = row["state"] != "retract" and stands(row, at, turns, rules, now) is not None
        leaves_later = stays and not sent and row["state"] == "publish"
        if stays:
            taken.update(json.loads(row["answers"]))
        if leaves_later:
            coming[name] = _goes(db, now, rules, now)
        elif sent:
            kind = ("standing" if arrived else "sending") if stays else ("leaving" if arrived else "stopped")
            found[kind].add(name)
        if sent or leaves_later:
            going.update(json.loads(row["answers"]) if stays else ())
            datasets[name].add(row["dataset"])
    for segment in _leaving(db, at, cut(turns, _covering(at, rules), taken), rules):
        name, leaves = rules.authors[segment.model], _goes(db, leaves_at(segment, rules), rules, now)
        coming[name] = min(leaves, coming.get(name, leaves))
        going.update(segment.answers)
        datasets[name].add(dataset_id(rules, segment.model))
    in_force = at.in_force(conversation)
    next_turn = any(yes.recipient == recipient and yes.surface != "api" and yes.at <= now for yes in in_force)
    if next_turn and recipient:
        datasets[recipient].add(dataset_id(rules, model or ""))
    names = {kind: tuple(sorted(them)) for kind, them in found.items()}
    alone = len({*found["standing"], *found["sending"], *coming}) == 1
    return Outlook(
        recipient,
        state,
        choice,
        **names,
        coming=dict(sorted(coming.items())),
        whole=alone and all(turn.answer_id in going for turn in turns),
        next_turn=next_turn,
        datasets={name: frozenset(ids) for name, ids in datasets.items()},
    )


def _goes(db: sqlite3.Connection, at: float, rules: Rules, now: float) -> float:
    """When what may leave from `at` on leaves, Unix seconds: new rows go once in a set hour."""
    at = max(at, held_until(db, rules.quiet, now) or at)
    if not rules.hours:
        return at
    goes = rules.next_batch(max(at, now))
    if note(db, BATCH) == str(int(goes // HOUR)):
        goes = rules.next_batch((goes // HOUR + 1) * HOUR)
    return goes


def offered(db: sqlite3.Connection, owner: str, conversation: str, rules: Rules) -> list[Segment[str]]:
    """Every segment, with its recipient, that a share of this conversation as it is would cover, none of whose turns is
    shared already."""
    taken = {
        answer
        for row in _rows(db, owner, conversation)
        if row["state"] in ("publish", "published")
        for answer in json.loads(row["answers"])
    }

    def covering(turn: Turn) -> str | None:
        return None if turn.surface == "api" else rules.authors.get(turn.model) or None

    return cut(turns_of(db, owner, conversation), covering, taken)


async def preview(db: Database, owner: str, conversation: str, rules: Rules) -> list[PreviewRow]:
    """The rows of what is `offered`. Redaction takes its time, so it begins after the transaction."""
    found, said = await db.read(lambda one: _with_said(one, owner, offered(one, owner, conversation, rules)))

    def ready(segment: Segment[str]) -> PreviewRow:
        row = prepare(segment, "", (), rules, said)
        dataset = dataset_id(rules, segment.model)
        return PreviewRow(segment.why, dataset, segment.model, segment.parts, row.content, row.kept_back, row.feedback)

    return await asyncio.to_thread(lambda: [ready(segment) for segment in found])


def shared_rows(db: sqlite3.Connection, owner: str) -> list[SharedRow]:
    """All that this owner's consent has let out or is about to, newest first, with what became of it."""
    rows = db.execute(
        f"SELECT *, {WHY} AS why, {EVENT_HASH} AS event_hash, {REPORTED} AS reported FROM outbox WHERE {OF_OWNER} ORDER BY planned_at DESC, row_id",
        (owner,),
    )
    columns = [
        name for name in SharedRow.__dataclass_fields__ if name not in ("sent", "content", "kept_back", "feedback")
    ]
    return [
        SharedRow(
            sent=row["shard"] is not None,
            content=json.loads(row["row"]) if row["row"] else None,
            kept_back=row["why"],
            feedback=tuple(json.loads(row["feedback"] or "[]")),
            **{name: row[name] for name in columns},
        )
        for row in rows
    ]


def waiting(db: sqlite3.Connection, owner: str, rules: Rules, now: float) -> list[Segment[Yes]]:
    """What is agreed to and in no outbox yet."""
    at = Standpoint(db, owner, rules.terms, now)
    if at.standing != "account" or at.subject is None:
        return []
    taken = {answer for row in db.execute(STANDING, (owner,)) for answer in json.loads(row["answers"])}
    covering = _covering(at, rules)
    return [segment for _, turns in conversations_of(db, owner) for segment in cut(turns, covering, taken)]


async def waiting_rows(db: Database, owner: str, rules: Rules, now: float) -> list[WaitingRow]:
    """The rows of what is `waiting`, the soonest first. Redaction takes its time, so it begins after the transaction."""

    def read(one: sqlite3.Connection) -> tuple[list[Segment[Yes]], list[Said], set[tuple[str, ...]], dict[str, float]]:
        segments, said = _with_said(one, owner, waiting(one, owner, rules, now))
        leave = _leaving(one, Standpoint(one, owner, rules.terms, now), segments, rules)
        times = {segment.turns[0].answer_id: _goes(one, leaves_at(segment, rules), rules, now) for segment in segments}
        return segments, said, {segment.answers for segment in leave}, times

    found, said, leave, times = await db.read(read)

    def ready(segment: Segment[Yes]) -> WaitingRow:
        event, model = segment.why.event, segment.model
        row = prepare(segment, event.policy_version, event.purposes, rules, said_under(event, said))
        return WaitingRow(
            rules.authors[model],
            dataset_id(rules, model),
            segment.conversation,
            times[segment.turns[0].answer_id],
            row.content,
            row.kept_back or (None if segment.answers in leave else "most"),
            row.feedback,
        )

    rows = await asyncio.to_thread(lambda: [ready(segment) for segment in found])
    return sorted(rows, key=lambda row: (row.when, row.conversation))


def _leaving(db: sqlite3.Connection, at: Standpoint, segments: list[Segment[Yes]], rules: Rules) -> list[Segment[Yes]]:
    """Those of one person's `segments` that leave, once it is time."""
    return [segment for _, segment in those_that_leave(db, [(at.subject or "", each) for each in segments], (), rules)]


def _with_said(
    db: sqlite3.Connection, owner: str, segments: list[Segment[Any]]
) -> tuple[list[Segment[Any]], list[Said]]:
    return segments, said_about(db, [owner], [answer for segment in segments for answer in segment.answers])


def recipients(
    db: sqlite3.Connection, owner: str, rules: Rules, now: float
) -> dict[str, tuple[AccountState, AccountState]]:
    """Every author in the catalogue, and every one who was ever agreed to, with the account's state towards them: of what
    is written on the page, and of what is sent with API keys."""
    at = Standpoint(db, owner, rules.terms, now)
    said = db.execute(
        f"SELECT DISTINCT recipient FROM consent_events WHERE {OF_OWNER} AND recipient IS NOT NULL", (owner,)
    )
    names = {author for author in rules.authors.values() if author} | {row["recipient"] for row in said}
    return {name: (at.account_state(name), at.account_state(name, "api")) for name in sorted(names)}


def _covering(at: Standpoint, rules: Rules) -> Callable[[Turn], Yes | None]:
    """The consent under which a turn may leave now or later."""

    def covering(turn: Turn) -> Yes | None:
        author = rules.authors.get(turn.model)
        yes = covered(at, author, turn) if author else None
        return yes if yes and yes.fresh else None

    return covering


def _rows(db: sqlite3.Connection, owner: str, conversation: str) -> list[sqlite3.Row]:
    sql = f"SELECT * FROM outbox WHERE conversation = ? AND {OF_OWNER} ORDER BY row_id"
    return db.execute(sql, (conversation, owner)).fetchall()
