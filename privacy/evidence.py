"""What an auditor gets: ledger, row map and hashes, without a word of any conversation, in a repository of its own.

    ledger/<hex>.jsonl             the events of the subjects that begin with it
    rows/<dataset>/<hex>.parquet   the map from public rows to events and turns (random ids, times)
    people.jsonl                   which subjects are one person, and whether an organisation decides for them
    texts.jsonl                    the hashes of the texts that people agree to
    datasets.jsonl strays.jsonl unread.jsonl pauses.jsonl hidden.jsonl heads.jsonl README.md

`ledger/` and `rows/` are written anew where something in them changed; the rest is small and always compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from privacy.hidden import hidden
from privacy.ledger import heads_hash
from privacy.rows import Rules, row_hash
from privacy.shards import row_map_bytes

LEDGER, ROWS = "ledger/", "rows/"
PEOPLE, TEXTS, DATASETS, STRAYS, UNREAD, PAUSES, HIDDEN, HEADS = (
    f"{name}.jsonl" for name in ("people", "texts", "datasets", "strays", "unread", "pauses", "hidden", "heads")
)
CARD = """---
pretty_name: "What was agreed to, and what is shared"
viewer: false
---

# What was agreed to, and what is shared

The ledger of consent, the map from shared rows to it, and hashes; no text, no names. With it, and with the sharing datasets
themselves, `python -m privacy.audit` proves that what is shared is what was agreed to.
"""
COLUMNS = (
    "row_id, subject, event, recipient, conversation, turns, state, shard, row_hash, feedback_hash, planned_at, published_at,"
    " retract_at, retracted_at"
)


def audit_id(db: sqlite3.Connection, rules: Rules) -> str | None:
    """The audit repository's id; None where nothing was ever shared and nothing can be."""
    first = db.execute("SELECT id FROM sharing_datasets ORDER BY created_at, id").fetchone()
    namespace = rules.namespace or (first["id"].partition("/")[0] if first else "")
    return f"{namespace}/{rules.prefix}-audit" if namespace else None


def told_head(db: sqlite3.Connection) -> str:
    """The hash of the ledger's heads that was told last, for the cards: it stands in the audit repository."""
    row = db.execute("SELECT hash FROM told_heads ORDER BY at DESC, hash LIMIT 1").fetchone()
    return row["hash"] if row else heads_hash(db)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is to be told, of one moment. `files`: to write; `all`: the paths of all that the repository is to hold;
    `marks`: what `told` then removes; `head`: the hash of the ledger's heads, and whether it was told before."""

    files: Mapping[str, bytes]
    all: frozenset[str]
    marks: Mapping[str, int]
    head: str
    is_new: bool


def evidence(db: sqlite3.Connection, there: Mapping[str, str], texts: Mapping[str, str], now: float) -> Evidence:
    """What the audit repository lacks, whose files are `there` (path -> git's id). `texts`: of `Rules`."""
    db.execute("BEGIN")
    try:
        marks = {row["path"]: row["marks"] for row in db.execute("SELECT path, marks FROM stale_evidence")}
        every = {path: f"{path}.jsonl" if path.startswith(LEDGER) else f"{path}.parquet" for path in _all(db)}
        known = known_files(db)
        stale = {
            path for path, name in every.items() if path in marks or there.get(name, "") not in known.get(name, ())
        }
        head = heads_hash(db)
        small = {
            **_small(db, head),
            TEXTS: _lines({"path": path, "hash": row_hash(texts[path])} for path in sorted(texts)),
        }
        is_new = not db.execute("SELECT 1 FROM told_heads WHERE hash = ?", (head,)).fetchone()
        if is_new:
            small[HEADS] += _lines([{"at": now, "hash": head}])
        files = {"README.md": CARD.encode(), **small, **_pieces(db, stale)}
        return Evidence(files, frozenset({*every.values(), *files}), marks, head, is_new)
    finally:
        db.execute("ROLLBACK")


def _pieces(db: sqlite3.Connection, paths: Iterable[str]) -> dict[str, bytes]:
    """The files of `ledger/` and `rows/` with these paths, which are without their ending."""
    found = {}
    for path in sorted(paths):
        if path.startswith(LEDGER):
            rows = db.execute(
                "SELECT * FROM consent_events WHERE subject BETWEEN :hex AND :hex || 'g' ORDER BY subject, replica, number",
                {"hex": path.removeprefix(LEDGER)},
            )
            found[f"{path}.jsonl"] = _lines(dict(row) for row in rows)
        else:
            dataset, _, digit = path.removeprefix(ROWS).rpartition("/")
            rows = db.execute(
                f"SELECT {COLUMNS} FROM outbox WHERE dataset = ? AND shard = ? ORDER BY row_id",
                (dataset, int(digit, 16)),
            )
            found[f"{path}.parquet"] = row_map_bytes([dict(row) for row in rows])
    return found


def _all(db: sqlite3.Connection) -> list[str]:
    ledger = db.execute("SELECT DISTINCT substr(subject, 1, 1) FROM consent_events")
    rows = db.execute("SELECT DISTINCT dataset, substr(row_id, 1, 1) FROM outbox WHERE shard IS NOT NULL")
    return [f"{LEDGER}{digit}" for (digit,) in ledger] + [f"{ROWS}{dataset}/{digit}" for dataset, digit in rows]


def _small(db: sqlite3.Connection, head: str) -> dict[str, bytes]:
    people = db.execute(
        "SELECT s.subject, (SELECT min(subject) FROM subjects WHERE owner = s.owner) AS person,"
        " coalesce((SELECT standing FROM owner_standing WHERE owner = s.owner), 'anonymous') AS standing"
        " FROM subjects AS s ORDER BY s.subject"
    )
    return {
        PEOPLE: _lines(dict(row) for row in people),
        DATASETS: _lines(
            dict(row) for row in db.execute("SELECT id, model, recipient FROM sharing_datasets ORDER BY id")
        ),
        STRAYS: _lines(dict(row) for row in db.execute("SELECT dataset, row_id FROM strays ORDER BY 1, 2")),
        UNREAD: _lines(dict(row) for row in db.execute("SELECT * FROM unread ORDER BY begun_at, replica")),
        PAUSES: _lines(dict(row) for row in db.execute("SELECT * FROM pauses ORDER BY subject, begun_at")),
        HIDDEN: _lines({"answer": answer} for answer in sorted(hidden(db))),
        # The ledger as it is now stands last, whatever the clock of another replica says of the others.
        HEADS: _lines(
            dict(row) for row in db.execute("SELECT at, hash FROM told_heads ORDER BY hash = ?, at, hash", (head,))
        ),
    }


def tell_head(db: sqlite3.Connection, new: Evidence, now: float) -> None:
    """Note the head's hash before anybody is told it."""
    if new.is_new:
        db.execute("INSERT OR IGNORE INTO told_heads (at, hash) VALUES (?, ?)", (now, new.head))


def told(db: sqlite3.Connection, new: Evidence, ids: Mapping[str, Iterable[str]]) -> None:
    """Note what is there now: path -> git's ids."""
    for path, found in ids.items():
        db.execute("DELETE FROM evidence_files WHERE path = ?", (path,))
        db.executemany("INSERT INTO evidence_files VALUES (?, ?)", [(path, id) for id in set(found)])
    db.executemany("DELETE FROM stale_evidence WHERE path = ? AND marks = ?", list(new.marks.items()))


def known_files(db: sqlite3.Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in db.execute("SELECT path, content FROM evidence_files"):
        found.setdefault(row["path"], set()).add(row["content"])
    return found


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()
