"""The outbox, and `plan()`: what is public is compared with what consent allows now. No network.

              plan                push                 plan                push
    (none) ---------> publish ---------> published ---------> retract ---------> retracted
                         +---- plan (consent gone) -------------^

A row that was never sent is forgotten; one with a shard may be public, and only a push can say that it no longer is.
What cannot be redacted is quarantined: it stays here.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chat.db import Database
from privacy.consent import Standpoint, Yes
from privacy.ledger import event_of
from privacy.notes import CONFIRMED, HELD, note, set_note
from privacy.rows import OTHER, Prepared, Rules, dataset_id, prepare, row_hash
from privacy.segments import Segment, Turn, conversations_of, cut, find

SMALLEST_CELL = 10  # rows of one language and month that are labelled as such
UNEXPLAINED_ROWS, UNEXPLAINED_SHARE = 20, 0.01  # retractions without an event, above which a plan stops

RESTORING = "The conversations are still being restored: nothing is shared or taken back until they are here."
UNEXPLAINED = (
    "{} of {} shared rows would be taken back and no withdrawal, deletion or change explains it. They stay, and nothing new"
    " is shared, until you have looked: is everything here that was kept? If they shall leave, run"
    " `python -m privacy.confirm DATA_DIR`. What somebody took back leaves meanwhile."
)

LIVE = "SELECT * FROM outbox WHERE state IN ('publish', 'published', 'quarantined') ORDER BY row_id"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan wrote down. `stopped`: why it wrote nothing. `problems`: what it left out. Both for the operator.
    `held`: rows that should leave and stay, since nothing explains it; nothing new is to leave meanwhile."""

    publish: int = 0
    retract: int = 0
    quarantined: int = 0
    forgotten: int = 0
    held: int = 0
    stopped: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class Comparison:
    """The difference between the outbox and what consent allows. `refill`: rows whose text is to be made again.
    `unexplained`: rows to retract for no reason that anybody gave."""

    new: list[tuple[str, Segment[Yes]]] = field(default_factory=list)
    refill: list[tuple[sqlite3.Row, Segment[Yes]]] = field(default_factory=list)
    retract: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    kept: int = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.refill or self.retract or self.forget or self.unexplained)


Key = tuple[str, str]  # the segment's digest, the event that covers it


async def plan(db: Database, rules: Rules, *, now: float, restored: bool, mass: bool = False) -> Plan:
    """Compare, and write the difference to the outbox, in one transaction. Repeatable.

    `restored`: ledger, tombstones, outbox and the conversations of every published row are here; without it nothing is
    decided. Many rows that leave for no reason are held back, while those with a reason leave; `mass`: an operator has
    looked, and lets them pass. Text is redacted before the transaction, so that no turn waits for it; what changes
    meanwhile is left for the next plan.
    """
    if not restored:
        return Plan(stopped=RESTORING)
    wanted, held = await db.read(lambda connection: (compare(connection, rules, now), note(connection, HELD)))
    if not (wanted or held):
        return Plan()  # the usual case, in which no turn waits for a comparison in the writer
    prepared = await asyncio.to_thread(_prepare, wanted, rules)
    return await db.write(lambda connection: _apply(connection, rules, now, prepared, mass))


def compare(db: sqlite3.Connection, rules: Rules, now: float) -> Comparison:
    """What the outbox lacks and what it has too much of. Only reads."""
    found = Comparison()
    live: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in db.execute(LIVE):
        live[row["conversation"]].append(row)
    agreed = db.execute(
        "SELECT DISTINCT owner FROM subjects WHERE EXISTS"
        " (SELECT 1 FROM consent_events WHERE subject = subjects.subject AND kind = 'grant') ORDER BY owner"
    ).fetchall()
    explain = _Explained(db, rules)
    for (owner,) in agreed:
        at = Standpoint(db, owner, rules.terms, now)
        for conversation, turns in conversations_of(db, owner):
            _compare_conversation(db, found, at, turns, live.pop(conversation, []), rules, now, explain)
    for rows in live.values():
        for row in rows:
            _take_back(found, row, explain, changed_at=None)
    return found


def _compare_conversation(
    db: sqlite3.Connection,
    found: Comparison,
    at: Standpoint,
    turns: list[Turn],
    rows: list[sqlite3.Row],
    rules: Rules,
    now: float,
    explain: _Explained,
) -> None:
    taken: set[str] = set()
    for row in rows:
        segment = stands(row, at, turns, rules, now)
        if segment is None:
            _take_back(found, row, explain, turns[0].conversation_updated_at)
            continue
        taken.update(json.loads(row["answers"]))
        found.kept += row["shard"] is not None
        if row["row"] is None and row["state"] != "quarantined":
            found.refill.append((row, replace(segment, why=Yes(event_of(db, row["event"]), fresh=False))))

    def covering(turn: Turn) -> Yes | None:
        author = rules.authors.get(turn.model)
        yes = author and covered(at, author, turn)
        return yes if yes and yes.fresh else None

    for segment in cut(turns, covering, taken):
        if leaves_at(segment, rules) <= now:
            found.new.append((at.subject or "", segment))


def covered(at: Standpoint, recipient: str, turn: Turn) -> Yes | None:
    return at.covering(recipient, turn.conversation, turn.answer_id, turn.surface, turn.created_at)


def leaves_at(segment: Segment[Yes], rules: Rules) -> float:
    return max(segment.changed_at, segment.why.at) + rules.quiet


def stands(row: sqlite3.Row, at: Standpoint, turns: list[Turn], rules: Rules, now: float) -> Segment[Yes] | None:
    """The segment of an outbox row that may stay there; None where the next plan takes the row out."""
    segment = _still_covered(row, at, turns)
    due = segment is not None and segment.why.fresh and leaves_at(segment, rules) <= now
    if (row["shard"] is None and not due) or _redact_again(row, rules):
        return None
    return segment


def _still_covered(row: sqlite3.Row, at: Standpoint, turns: list[Turn]) -> Segment[Yes] | None:
    """The segment of an outbox row, if it still is what it was and every turn of it is covered."""
    if row["subject"] not in at.subjects:
        return None
    segment = find(turns, json.loads(row["answers"]), None)
    if segment is None or segment.digest() != row["segment_hash"]:
        return None
    reasons = [covered(at, row["recipient"], turn) for turn in segment.turns]
    if not all(reasons):
        return None
    return Segment(segment.turns, _latest(reasons), segment.context_omitted, segment.attachments_omitted)


def _latest(reasons: list[Yes | None]) -> Yes:
    given = [yes for yes in reasons if yes]
    return Yes(max(given, key=lambda yes: yes.at).event, all(yes.fresh for yes in given))


def _redact_again(row: sqlite3.Row, rules: Rules) -> bool:
    """A row that was kept back, or whose text is lost, is made anew once the redaction is another."""
    return row["redaction"] != rules.redaction.version and (row["state"] == "quarantined" or row["row"] is None)


def _take_back(found: Comparison, row: sqlite3.Row, explain: _Explained, changed_at: float | None) -> None:
    if row["shard"] is None:
        found.forget.append(row["row_id"])
    else:
        (found.retract if explain(row, changed_at) else found.unexplained).append(row["row_id"])


class _Explained:
    """Whether somebody did something that makes a row leave: without it, a mass retraction is taken for lost data."""

    def __init__(self, db: sqlite3.Connection, rules: Rules) -> None:
        self._db, self._terms = db, rules.terms

    def __call__(self, row: sqlite3.Row, changed_at: float | None) -> bool:
        if changed_at is not None and changed_at > row["planned_at"]:
            return True  # the conversation is here and went another way
        one = self._db.execute
        return bool(
            one("SELECT 1 FROM tombstones WHERE conversation = ?", (row["conversation"],)).fetchone()
            or one(
                "SELECT 1 FROM consent_events WHERE kind <> 'grant' AND ((subject IN (SELECT ? UNION SELECT b.subject FROM"
                " subjects AS a JOIN subjects AS b USING (owner) WHERE a.subject = ?) AND at > (SELECT at FROM"
                " consent_events WHERE id = ?)) OR conversation = ?)",
                (row["subject"], row["subject"], row["event"], row["conversation"]),
            ).fetchone()
            or one("SELECT 1 FROM reports WHERE row_id = ? AND state = 'open'", (row["row_id"],)).fetchone()
            or one(
                "SELECT 1 FROM subjects JOIN owner_standing USING (owner) WHERE subject = ? AND standing = 'managed'",
                (row["subject"],),
            ).fetchone()
            or one("SELECT policy_version FROM consent_events WHERE id = ?", (row["event"],)).fetchone()[0]
            in self._terms.stale_from
        )


def _prepare(wanted: Comparison, rules: Rules) -> dict[Key, Prepared]:
    prepared = {}
    for segment in [segment for _, segment in wanted.new] + [segment for _, segment in wanted.refill]:
        event = segment.why.event
        prepared[segment.digest(), event.id] = prepare(segment, event.policy_version, event.purposes, rules)
    return prepared


def _apply(db: sqlite3.Connection, rules: Rules, now: float, prepared: Mapping[Key, Prepared], mass: bool) -> Plan:
    found = compare(db, rules, now)
    held, sentence = _hold_back(db, found, mass)
    db.executemany(
        "UPDATE outbox SET state = 'retract', row = NULL, retract_at = ? WHERE row_id = ?",
        [(now, row_id) for row_id in found.retract],
    )
    db.executemany("DELETE FROM outbox WHERE row_id = ?", [(row_id,) for row_id in found.forget])
    problems = {sentence} if sentence else set()
    for row, segment in found.refill:
        _refill(db, row, prepared.get((segment.digest(), row["event"])), now)
    added: list[tuple[str, str, str, Segment[Yes], Prepared]] = []
    for subject, segment in found.new:
        ready = prepared.get((segment.digest(), segment.why.event.id))
        dataset = _dataset(db, rules, segment.model, now, problems)
        if ready is not None and dataset is not None:
            added.append((secrets.token_hex(16), dataset, subject, segment, ready))
    labels = _labels(db, added)
    for row_id, dataset, subject, segment, ready in added:
        _insert(db, rules, now, row_id, dataset, subject, segment, ready, labels[row_id])
    kept_back = sum(ready.content is None for *_, ready in added)
    return Plan(
        len(added) - kept_back,
        len(found.retract),
        kept_back,
        len(found.forget),
        held,
        problems=tuple(sorted(problems)),
    )


def _hold_back(db: sqlite3.Connection, found: Comparison, mass: bool) -> tuple[int, str | None]:
    """Take what nobody explains, where it is much, out of `found`, with everything new; how much that is, and the sentence
    about it. An operator's confirmation lets as many pass as were held back when they looked, once."""
    count = len(found.unexplained)
    public = found.kept + len(found.retract) + count
    confirmed = int(note(db, CONFIRMED) or 0)
    if not mass and count > max(UNEXPLAINED_ROWS, UNEXPLAINED_SHARE * public, confirmed):
        found.new.clear()
        set_note(db, HELD, str(count))
        return count, UNEXPLAINED.format(count, public)
    found.retract += found.unexplained
    set_note(db, HELD, None)
    if count:
        set_note(db, CONFIRMED, None)
    return 0, None


def _insert(
    db: sqlite3.Connection,
    rules: Rules,
    now: float,
    row_id: str,
    dataset: str,
    subject: str,
    segment: Segment[Yes],
    ready: Prepared,
    label: tuple[str, str],
) -> None:
    row = ready.as_json(*label)
    kept_back = ready.content is None
    values = {
        "row_id": row_id,
        "dataset": dataset,
        "recipient": rules.authors[segment.model],
        "subject": subject,
        "event": segment.why.event.id,
        "conversation": segment.conversation,
        "answers": json.dumps(segment.answers),
        "segment_hash": segment.digest(),
        "row_hash": row_hash(row),
        "state": "quarantined" if kept_back else "publish",
        "row": None if kept_back else row,
        "redaction": rules.redaction.version,
        "language": label[0],
        "month": label[1],
        "planned_at": now,
    }
    names = ", ".join(values)
    db.execute(f"INSERT INTO outbox ({names}) VALUES ({', '.join('?' * len(values))})", list(values.values()))


def _refill(db: sqlite3.Connection, row: sqlite3.Row, ready: Prepared | None, now: float) -> None:
    """Put back the text of a row whose outbox was restored without it; if it comes out another way, the row leaves."""
    if ready is None:
        return
    text = ready.as_json(row["language"], row["month"])
    if ready.content is not None and row_hash(text) == row["row_hash"]:
        db.execute("UPDATE outbox SET row = ? WHERE row_id = ?", (text, row["row_id"]))
    elif row["shard"] is None:
        db.execute("DELETE FROM outbox WHERE row_id = ?", (row["row_id"],))
    else:
        db.execute("UPDATE outbox SET state = 'retract', retract_at = ? WHERE row_id = ?", (now, row["row_id"]))


def _dataset(db: sqlite3.Connection, rules: Rules, model: str, now: float, problems: set[str]) -> str | None:
    """The model's sharing dataset, remembered before anything is written to it. None: its authors are others now."""
    row = db.execute("SELECT id, recipient FROM sharing_datasets WHERE model = ?", (model,)).fetchone()
    if row is None:
        id = dataset_id(rules, model)
        if db.execute("SELECT 1 FROM sharing_datasets WHERE id = ?", (id,)).fetchone():
            problems.add(f"The sharing dataset {id} is another model's: give {model} a name that differs in more.")
            return None
        db.execute("INSERT INTO sharing_datasets VALUES (?, ?, ?, ?)", (id, model, rules.authors[model], now))
        return id
    if row["recipient"] != rules.authors[model]:
        problems.add(
            f"The sharing dataset of {model} was opened for {row['recipient']}, and the catalogue now names"
            f" {rules.authors[model]}: nothing new goes there. Give the model another name."
        )
        return None
    return row["id"]


def _labels(
    db: sqlite3.Connection, added: list[tuple[str, str, str, Segment[Yes], Prepared]]
) -> dict[str, tuple[str, str]]:
    """Row id -> (language, month); both "other" where too few rows of the dataset would carry them."""
    cells: Counter[tuple[str, str, str]] = Counter()
    for row in db.execute("SELECT dataset, language, month FROM outbox WHERE state IN ('publish', 'published')"):
        cells[row["dataset"], row["language"], row["month"]] += 1
    for _, dataset, _, _, ready in added:
        if ready.content is not None:
            cells[dataset, ready.language, ready.month] += 1
    return {
        row_id: (ready.language, ready.month)
        if cells[dataset, ready.language, ready.month] >= SMALLEST_CELL
        else (OTHER, OTHER)
        for row_id, dataset, _, _, ready in added
    }
