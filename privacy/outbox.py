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
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from chat.db import Database
from chat.feedback import REASONS
from privacy.blocks import block_members
from privacy.comparison import Comparison, compare, month_of
from privacy.consent import Yes
from privacy.feedback import Said, said_about, said_under
from privacy.notes import CONFIRMED, HELD, note, set_note
from privacy.rows import OTHER, Prepared, Rules, dataset_id, feedback_text, prepare, row_hash
from privacy.segments import Segment

SMALLEST_CELL = 10  # rows of one language and month that are labelled as such
UNEXPLAINED_ROWS, UNEXPLAINED_SHARE = 20, 0.01  # retractions without an event, above which a plan stops

RESTORING = "The conversations are still being restored: nothing is shared or taken back until they are here."
UNEXPLAINED = (
    "{} of {} shared rows would be taken back and no withdrawal, deletion or change explains it. They stay, and nothing new"
    " is shared, until you have looked: is everything here that was kept? If they shall leave, run"
    " `python -m privacy.confirm DATA_DIR`, or say so on /operator/decisions. What somebody took back leaves meanwhile."
)


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


Key = tuple[str, str]  # the segment's digest, the event that covers it


async def plan(
    db: Database, rules: Rules, *, now: float, restored: bool, mass: bool = False, publish: bool = True
) -> Plan:
    """Compare, and write the difference to the outbox, in one transaction. Repeatable.

    `restored`: ledger, tombstones, outbox and the conversations of every published row are here; without it nothing is
    decided. Many rows that leave for no reason are held back, while those with a reason leave; `mass`: an operator has
    looked, and lets them pass. `publish`: it is time for new rows. Text is redacted before the transaction, so that no turn
    waits for it; what changes meanwhile is left for the next plan.
    """
    if not restored:
        return Plan(stopped=RESTORING)
    await block_members(db, now)
    wanted, held, said = await db.read(lambda connection: _read(connection, rules, now, publish))
    if not (wanted or held or wanted.settled):
        return Plan()  # the usual case, in which no turn waits for a comparison in the writer
    prepared = await asyncio.to_thread(_prepare, wanted, said, rules)
    return await db.write(lambda connection: _apply(connection, rules, now, wanted, prepared, mass, publish))


def _read(db: sqlite3.Connection, rules: Rules, now: float, publish: bool) -> tuple[Comparison, str | None, list[Said]]:
    # One moment: what is noted as settled rests on exactly what was compared.
    db.execute("BEGIN")
    try:
        found = compare(db, rules, now, publish=publish)
        return found, note(db, HELD), _said(db, found)
    finally:
        db.execute("ROLLBACK")


def _said(db: sqlite3.Connection, found: Comparison) -> list[Said]:
    segments = [segment for _, segment in (*found.new, *found.refill)]
    return said_about(
        db,
        {turn.owner for segment in segments for turn in segment.turns[:1]},
        [answer for segment in segments for answer in segment.answers],
    )


def _prepare(wanted: Comparison, said: list[Said], rules: Rules) -> dict[Key, Prepared]:
    prepared = {}
    for _, segment in (*wanted.new, *wanted.refill):
        event = segment.why.event
        known = said_under(event, said)
        prepared[segment.digest(), event.id] = prepare(segment, event.policy_version, event.purposes, rules, known)
    for _, segment in wanted.refill:
        # What its owner says of it by now moves no row: the text is made as if nothing had been said.
        event = segment.why.event
        ready = prepare(segment, event.policy_version, event.purposes, rules)
        known = prepared[segment.digest(), event.id].feedback
        prepared[segment.digest(), event.id] = replace(ready, feedback=known)
    return prepared


def _apply(
    db: sqlite3.Connection,
    rules: Rules,
    now: float,
    wanted: Comparison,
    prepared: Mapping[Key, Prepared],
    mass: bool,
    publish: bool,
) -> Plan:
    db.executemany(
        "INSERT OR REPLACE INTO compared VALUES (?, ?, ?, ?)",
        [(conversation, basis, until, now) for conversation, (basis, until) in wanted.settled.items()],
    )
    found = compare(db, rules, now, publish=publish, only=wanted.touched)
    held, sentence = _hold_back(db, found, mass)
    db.executemany(
        "UPDATE outbox SET state = 'retract', row = NULL, feedback = NULL, retract_at = ? WHERE row_id = ?",
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
    confirmed = int(note(db, CONFIRMED) or 0)
    if not mass and count > max(UNEXPLAINED_ROWS, UNEXPLAINED_SHARE * found.public, confirmed):
        found.new.clear()
        set_note(db, HELD, str(count))
        return count, UNEXPLAINED.format(count, found.public)
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
    row, said = ready.as_json(*label), feedback_text(ready.feedback)
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
        "feedback": said,
        "feedback_hash": said and row_hash(said),
        "kept_back": ready.kept_back,
        "turns": json.dumps([[turn.part, turn.created_at, turn.surface, turn.agreed] for turn in segment.turns]),
        "first_month": month_of(segment),
        "redaction": rules.version,
        "language": label[0],
        "month": label[1],
        "planned_at": now,
    }
    names = ", ".join(values)
    db.execute(f"INSERT INTO outbox ({names}) VALUES ({', '.join('?' * len(values))})", list(values.values()))


def _refill(db: sqlite3.Connection, row: sqlite3.Row, ready: Prepared | None, now: float) -> None:
    """Put back the text of a row whose outbox was restored without it; if it comes out another way, the row leaves. What was
    said about it is put back where that is still the same; else only the dataset has it."""
    if ready is None:
        return
    if (text := _as_published(row, ready)) is not None:
        said = feedback_text(ready.feedback)
        same = said is not None and row_hash(said) == row["feedback_hash"]
        db.execute(
            "UPDATE outbox SET row = ?, feedback = ? WHERE row_id = ?", (text, said if same else None, row["row_id"])
        )
    elif row["shard"] is None:
        db.execute("DELETE FROM outbox WHERE row_id = ?", (row["row_id"],))
    else:
        db.execute("UPDATE outbox SET state = 'retract', retract_at = ? WHERE row_id = ?", (now, row["row_id"]))


def _as_published(row: sqlite3.Row, ready: Prepared) -> str | None:
    """The very text of the row's publication, with the rating of then, which its hash tells; None: it is another."""
    for rating in (None, *REASONS) if ready.content is not None else ():
        rated = replace(ready, content={**ready.content, "rating": rating})
        text = rated.as_json(row["language"], row["month"])
        if row_hash(text) == row["row_hash"]:
            return text
    return None


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
    if not added:
        return {}
    cells: Counter[tuple[str, str, str]] = Counter()
    for row in db.execute(
        "SELECT dataset, language, month, count(*) AS rows FROM outbox WHERE state IN ('publish', 'published')"
        " GROUP BY dataset, language, month"
    ):
        cells[row["dataset"], row["language"], row["month"]] = row["rows"]
    for _, dataset, _, _, ready in added:
        if ready.content is not None:
            cells[dataset, ready.language, ready.month] += 1
    return {
        row_id: (ready.language, ready.month)
        if cells[dataset, ready.language, ready.month] >= SMALLEST_CELL
        else (OTHER, OTHER)
        for row_id, dataset, _, _, ready in added
    }


def hash_what_was_said(db: sqlite3.Connection) -> None:
    """Of rows that were planned before their outbox kept its hash."""
    older = "SELECT row_id, feedback FROM outbox WHERE feedback IS NOT NULL AND feedback_hash IS NULL"
    for row in db.execute(older).fetchall():
        said = feedback_text(json.loads(row["feedback"])) or ""
        db.execute(
            "UPDATE outbox SET feedback = ?, feedback_hash = ? WHERE row_id = ?", (said, row_hash(said), row["row_id"])
        )
