"""Ledger and outbox as files of the private dataset, and back. The outbox leaves its text here: it is made again."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from chat.formats import refuse_newer
from privacy.forgetting import forgotten_elsewhere
from privacy.ledger import append, event_from

SUBJECTS, DATASETS = "consent/subjects.jsonl", "sharing/datasets.jsonl"
HEADS = "consent/told-heads.jsonl"
UNREAD, STRAYS, UNSQUASHED = "consent/unread.jsonl", "sharing/strays.jsonl", "sharing/unsquashed.jsonl"
REPORTS, ERASED, PAUSES = "consent/reports.jsonl", "consent/erased.jsonl", "consent/pauses.jsonl"
LOST_RUNS, ERASED_OWNERS = "consent/lost-runs.jsonl", "consent/erased-owners.jsonl"
LEDGER, OUTBOX = "consent/ledger-", "sharing/outbox-"
# 1, the first, did not say so. 3: an event says what else was seen.
FORMAT = 3


def files(db: sqlite3.Connection) -> dict[str, bytes]:
    """Path -> JSON lines, of all that a new machine needs to know what is agreed and what is public."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    found[SUBJECTS] = [dict(row) for row in db.execute("SELECT * FROM subjects ORDER BY owner, subject")]
    for row in db.execute("SELECT * FROM consent_events ORDER BY replica, subject, number"):
        lists = {name: json.loads(row[name]) for name in ("turns", "purposes", "seen")}
        found[f"{LEDGER}{row['replica']}.jsonl"].append({**dict(row), **lists})
    found[REPORTS] = [dict(row) for row in db.execute("SELECT * FROM reports ORDER BY id")]
    found[ERASED] = [dict(row) for row in db.execute("SELECT * FROM erased_subjects ORDER BY subject")]
    found[ERASED_OWNERS] = [dict(row) for row in db.execute("SELECT * FROM erased_owners ORDER BY owner")]
    found[PAUSES] = [dict(row) for row in db.execute("SELECT * FROM pauses ORDER BY subject, begun_at")]
    found[UNREAD] = [dict(row) for row in db.execute("SELECT * FROM unread ORDER BY begun_at, replica")]
    found[LOST_RUNS] = [dict(row) for row in db.execute("SELECT * FROM lost_runs ORDER BY id")]
    found[HEADS] = [dict(row) for row in db.execute("SELECT at, hash FROM told_heads ORDER BY at, hash")]
    found[STRAYS] = [dict(row) for row in db.execute("SELECT * FROM strays ORDER BY dataset, row_id")]
    found[UNSQUASHED] = [dict(row) for row in db.execute("SELECT * FROM unsquashed ORDER BY dataset")]
    found[DATASETS] = [dict(row) for row in db.execute("SELECT * FROM sharing_datasets ORDER BY id")]
    for row in db.execute("SELECT * FROM outbox WHERE shard IS NOT NULL ORDER BY row_id"):
        line = {name: value for name, value in dict(row).items() if name not in ("row", "feedback")}
        found[f"{OUTBOX}{row['dataset'].partition('/')[2]}.jsonl"].append(line)
    return {path: _lines(rows) for path, rows in found.items() if rows}


def restore(db: sqlite3.Connection, found: Mapping[str, bytes]) -> None:
    """Take in the files of `files`, of this replica or another, in any order and as often as one likes: whoever took in the
    same files has the same, and what is known already changes nothing. Raises `BadFile` for what a newer version wrote.

    Rows come back without their text. Plans make it anew from the conversations; no push writes before.
    """
    for row in _rows(found, ERASED):
        db.execute(_INTO_ERASED, {"purged_at": None, **row})
    for row in _rows(found, ERASED_OWNERS):
        db.execute("INSERT OR IGNORE INTO erased_owners VALUES (:owner)", row)
    for row in _rows(found, SUBJECTS):
        db.execute("INSERT OR IGNORE INTO subjects (owner, subject) VALUES (:owner, :subject)", row)
    known = {row["id"] for row in db.execute("SELECT id FROM consent_events")}
    events = [row for path in sorted(found) if path.startswith(LEDGER) for row in _rows(found, path)]
    # A chain grows at its end alone, and lines that were kept one at a time come in any order.
    for row in sorted(events, key=lambda row: (row["replica"], row["subject"], row["number"])):
        if row["id"] not in known:
            append(db, event_from({"seen": [], **row}))
            known.add(row["id"])
    for row in _rows(found, DATASETS):
        db.execute("INSERT OR IGNORE INTO sharing_datasets VALUES (:id, :model, :recipient, :created_at)", row)
        # Of what several replicas wrote down, each ends with the same.
        db.execute("UPDATE sharing_datasets SET created_at = min(created_at, :created_at) WHERE id = :id", row)
    for path in sorted(path for path in found if path.startswith(OUTBOX)):
        for row in _rows(found, path):
            row = {"first_month": "", "turns": "[]", "feedback_hash": None, **row}
            db.execute(_PLANNED_HERE_TOO, row)
            db.execute(_INTO_OUTBOX, row)
            _advance(db, row)
    for row in _rows(found, REPORTS):
        row = {"purged_at": None, **row}
        db.execute(_INTO_REPORTS, row)
        forgotten_elsewhere(db, row)
    for row in _rows(found, PAUSES):
        db.execute(_INTO_PAUSES, row)
    for row in _rows(found, UNREAD):
        db.execute(_INTO_UNREAD, row)
    for row in _rows(found, LOST_RUNS):
        db.execute(_INTO_LOST_RUNS, row)
    for row in _rows(found, HEADS):
        db.execute(_INTO_HEADS, row)
    for row in _rows(found, STRAYS):
        db.execute(_INTO_STRAYS, row)
    for row in _rows(found, UNSQUASHED):
        db.execute(_INTO_UNSQUASHED, row)


# Of two times the first, of one the one; rows are touched only where that is another, for what is touched is saved again.
_INTO_ERASED = """
    INSERT INTO erased_subjects VALUES (:subject, :purged_at)
    ON CONFLICT (subject) DO UPDATE SET purged_at = excluded.purged_at
    WHERE excluded.purged_at < coalesce(erased_subjects.purged_at, 9e999)
"""
_INTO_PAUSES = """
    INSERT INTO pauses VALUES (:subject, :begun_at, :ended_at)
    ON CONFLICT (subject, begun_at) DO UPDATE SET ended_at = excluded.ended_at
    WHERE excluded.ended_at < coalesce(pauses.ended_at, 9e999)
"""
_INTO_LOST_RUNS = """
    INSERT INTO lost_runs VALUES (:id, :found_at)
    ON CONFLICT (id) DO UPDATE SET found_at = excluded.found_at WHERE excluded.found_at < lost_runs.found_at
"""
_INTO_HEADS = """
    INSERT INTO told_heads (at, hash) VALUES (:at, :hash)
    ON CONFLICT (hash) DO UPDATE SET at = excluded.at WHERE excluded.at < told_heads.at
"""
_INTO_STRAYS = """
    INSERT INTO strays VALUES (:dataset, :row_id, :found_at, :gone_at)
    ON CONFLICT (dataset, row_id) DO UPDATE SET found_at = min(strays.found_at, excluded.found_at),
        gone_at = nullif(min(coalesce(strays.gone_at, 9e999), coalesce(excluded.gone_at, 9e999)), 9e999)
    WHERE excluded.found_at < strays.found_at OR excluded.gone_at < coalesce(strays.gone_at, 9e999)
"""
_INTO_UNSQUASHED = """
    INSERT INTO unsquashed VALUES (:dataset, :found_at, :done_to)
    ON CONFLICT (dataset) DO UPDATE SET found_at = max(unsquashed.found_at, excluded.found_at),
        done_to = nullif(max(coalesce(unsquashed.done_to, -9e999), coalesce(excluded.done_to, -9e999)), -9e999)
    WHERE excluded.found_at > unsquashed.found_at OR excluded.done_to > coalesce(unsquashed.done_to, -9e999)
"""
_INTO_REPORTS = """
    INSERT INTO reports VALUES
        (:id, :at, :about, :reason, :contact, :row_id, :conversation, :answers, :state, :decided_at, :purged_at)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, decided_at = excluded.decided_at
    WHERE (reports.state = 'open' AND excluded.state <> 'open')
        OR (reports.state = 'rejected' AND excluded.state = 'upheld')
        OR (reports.state = excluded.state AND excluded.decided_at < reports.decided_at)
"""
_INTO_UNREAD = """
    INSERT INTO unread VALUES (:replica, :begun_at, :ended_at)
    ON CONFLICT (replica, begun_at) DO UPDATE SET ended_at = excluded.ended_at
    WHERE excluded.ended_at < coalesce(unread.ended_at, 9e999)
"""
_INTO_OUTBOX = """
    INSERT INTO outbox (row_id, dataset, recipient, subject, event, conversation, answers, segment_hash, row_hash,
        state, shard, redaction, language, month, planned_at, published_at, published_in, retract_at, retracted_at,
        retracted_in, first_month, turns, feedback_hash)
    VALUES (:row_id, :dataset, :recipient, :subject, :event, :conversation, :answers, :segment_hash, :row_hash,
        :state, :shard, :redaction, :language, :month, :planned_at, :published_at, :published_in, :retract_at,
        :retracted_at, :retracted_in, :first_month, :turns, :feedback_hash)
    ON CONFLICT (row_id) DO NOTHING
"""
# The same turns were planned by two replicas: what may be public stays, and the next plan sees what is still missing.
_PLANNED_HERE_TOO = """
    DELETE FROM outbox WHERE conversation = :conversation AND row_id <> :row_id AND shard IS NULL AND EXISTS
        (SELECT 1 FROM json_each(outbox.answers) JOIN json_each(:answers) AS other ON other.value = json_each.value)
"""
_ORDER = ("publish", "published", "retract", "retracted")
_WHEN = ("published_at", "published_in", "retract_at", "retracted_at", "retracted_in")


def _advance(db: sqlite3.Connection, theirs: Mapping[str, Any]) -> None:
    """Bring a row as far on its one way as another replica saw it go. Where both are there, the first to say so counts."""
    row = db.execute("SELECT * FROM outbox WHERE row_id = ?", (theirs["row_id"],)).fetchone()
    if row["state"] not in _ORDER or theirs["state"] not in _ORDER:
        return
    one, other = ({name: found[name] for name in ("state", "shard", *_WHEN)} for found in (row, theirs))
    further = max(one, other, key=lambda side: _ORDER.index(side["state"]))
    both = {name: min((side[name] for side in (one, other) if side[name] is not None), default=None) for name in _WHEN}
    both |= {"state": further["state"], "shard": further["shard"] if one["shard"] is None else one["shard"]}
    if both != one:
        if both["state"] in ("retract", "retracted"):
            both |= {"row": None, "feedback": None}
        pairs = ", ".join(f"{name} = :{name}" for name in both)
        db.execute(f"UPDATE outbox SET {pairs} WHERE row_id = :row_id", {**both, "row_id": theirs["row_id"]})


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps({"format": FORMAT, **row}, ensure_ascii=False) + "\n" for row in rows).encode()


def _rows(found: Mapping[str, bytes], path: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in found.get(path, b"").decode().split("\n") if line]
    for row in rows:
        refuse_newer(path, row, FORMAT)
        row.pop("format", None)
    return rows
