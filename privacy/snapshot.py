"""What a sharing dataset is to hold, out of the outbox. Only the database, no network."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chat.dataset_repo import blob_id
from privacy.evidence import told_head
from privacy.head import Head
from privacy.rows import Rules, row_hash
from privacy.shards import (
    CARD,
    EVERY_SHARD,
    FEEDBACK,
    TOMBSTONES,
    CardFacts,
    card_bytes,
    feedback_bytes,
    shard_bytes,
    shard_path,
    tombstone_bytes,
)
from privacy.squashing import to_squash

CHANGES = 30  # days that a card lists


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a dataset is to hold. `files`: path -> bytes, or None where nothing is to be; only of the shards concerned.
    `occupied`: the paths of all shards with a row. `sent`, `gone`: the rows that the files publish and take away.
    `squash`: the history holds what must not be there. `missing`: files with a row, or with what was said about one, whose
    text is not here."""

    dataset: str
    files: Mapping[str, bytes | None]
    occupied: frozenset[str]
    sent: tuple[str, ...]
    gone: tuple[str, ...]
    squash: bool
    missing: frozenset[str]


def snapshot_of(
    db: sqlite3.Connection,
    dataset: str,
    rules: Rules,
    *,
    publish: bool,
    strange: Iterable[str],
    there: Head,
) -> Snapshot:
    """`publish`: new rows are in it. `strange`: shards to write whatever became of their rows. `there`: what was read of the
    dataset stands in for a text that is not here, where it is the very row of the outbox, or what was said about it."""
    states = ("published", "publish") if publish else ("published",)
    live = f"dataset = ? AND shard IS NOT NULL AND state IN ({', '.join('?' * len(states))})"
    occupied = _shards(db, f"SELECT DISTINCT shard FROM outbox WHERE {live}", dataset, *states)
    changing = ("retract", "publish") if publish else ("retract",)
    marks = ", ".join("?" * len(changing))
    dirty = set(strange) | _shards(
        db,
        f"SELECT DISTINCT shard FROM outbox WHERE dataset = ? AND shard IS NOT NULL AND state IN ({marks})",
        dataset,
        *changing,
    )
    files: dict[str, bytes | None] = {}
    sent: list[str] = []
    missing: set[str] = set()
    for path in sorted(dirty):
        rows = []
        number = EVERY_SHARD.index(path)
        for row in db.execute(f"SELECT * FROM outbox WHERE {live} AND shard = ?", (dataset, *states, number)):
            text = row["row"] or _same(there.rows.get(row["row_id"]), row["row_hash"])
            if text is None:
                missing.add(path)
                continue
            rows.append({**json.loads(text), "row_id": row["row_id"]})
            sent += [row["row_id"]] if row["state"] == "publish" else []
        files[path] = shard_bytes(rows) if rows else None
    taken = db.execute(
        "SELECT row_id, state, retract_at FROM outbox WHERE dataset = ? AND state IN ('retract', 'retracted')",
        (dataset,),
    ).fetchall()
    removed = _strays(db, dataset) | {row["row_id"]: _day(row["retract_at"]) for row in taken}
    gone = tuple(row["row_id"] for row in taken if row["state"] == "retract")
    files[TOMBSTONES] = tombstone_bytes(removed) if removed else None
    said, all_said = _said(db, live, (dataset, *states), there.said)
    files[FEEDBACK] = feedback_bytes(said) if said else None
    missing |= set() if all_said else {FEEDBACK}
    files |= {path: text.encode() for path, text in rules.texts.items()}
    files[CARD] = _card(db, dataset, rules, live, (dataset, *states), len(removed), bool(said))
    squash = dataset in to_squash(db)
    return Snapshot(
        dataset,
        files,
        frozenset(path for path in occupied if files.get(path, b"") is not None),
        tuple(sent),
        gone,
        squash or bool(gone),
        frozenset(missing),
    )


def _same(text: str | None, hash: str) -> str | None:
    """The text, if it has this hash."""
    return text if text is not None and row_hash(text) == hash else None


def _shards(db: sqlite3.Connection, query: str, *parameters: str) -> set[str]:
    return {shard_path(row["shard"]) for row in db.execute(query, parameters)}


def _said(
    db: sqlite3.Connection, live: str, parameters: tuple[str, ...], found: Mapping[str, str]
) -> tuple[list[dict[str, Any]], bool]:
    """What was said about the rows, and whether that is all."""
    said: list[dict[str, Any]] = []
    is_all = True
    for row in db.execute(
        "SELECT row_id, feedback, feedback_hash, (SELECT model FROM sharing_datasets WHERE id = dataset) AS model"
        f" FROM outbox WHERE {live} AND feedback_hash IS NOT NULL",
        parameters,
    ):
        text = row["feedback"] or _same(found.get(row["row_id"]), row["feedback_hash"])
        is_all = is_all and text is not None
        said += [{"row_id": row["row_id"], "model": row["model"], **one} for one in json.loads(text or "[]")]
    return said, is_all


def _strays(db: sqlite3.Connection, dataset: str) -> dict[str, str]:
    rows = db.execute("SELECT row_id, found_at FROM strays WHERE dataset = ?", (dataset,))
    return {row["row_id"]: _day(row["found_at"]) for row in rows}


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _card(
    db: sqlite3.Connection,
    dataset: str,
    rules: Rules,
    live: str,
    parameters: tuple[str, ...],
    removed: int,
    feedback: bool,
) -> bytes:
    found = db.execute("SELECT model, recipient FROM sharing_datasets WHERE id = ?", (dataset,)).fetchone()
    texts = db.execute(
        "SELECT DISTINCT policy_version, text_hash FROM consent_events WHERE id IN"
        " (SELECT event FROM outbox WHERE dataset = ? AND state IN ('publish', 'published'))",
        (dataset,),
    )
    languages = db.execute(f"SELECT DISTINCT language FROM outbox WHERE {live} ORDER BY 1", parameters)
    facts = CardFacts(
        model=found["model"],
        recipient=found["recipient"],
        licence=rules.licence,
        redaction=rules.redaction.version,
        texts={row["policy_version"]: row["text_hash"] for row in texts},
        languages=[row["language"] for row in languages],
        rows=db.execute(f"SELECT count(*) FROM outbox WHERE {live}", parameters).fetchone()[0],
        removed=removed,
        ledger=told_head(db),
        feedback=feedback,
        most=rules.most,
        quiet=rules.quiet,
        hours=rules.hours,
        changes=_changes(db, dataset),
    )
    return card_bytes(facts)


def _changes(db: sqlite3.Connection, dataset: str) -> list[tuple[str, int, int]]:
    """(day, rows planned to come, rows planned to leave), the newest first."""
    rows = db.execute(
        "SELECT day, sum(came) AS came, sum(went) AS went FROM ("
        " SELECT date(planned_at, 'unixepoch') AS day, 1 AS came, 0 AS went FROM outbox"
        "  WHERE dataset = :dataset AND shard IS NOT NULL"
        " UNION ALL SELECT date(retract_at, 'unixepoch'), 0, 1 FROM outbox"
        "  WHERE dataset = :dataset AND state IN ('retract', 'retracted')"
        " UNION ALL SELECT date(found_at, 'unixepoch'), 0, 1 FROM strays WHERE dataset = :dataset)"
        " GROUP BY day ORDER BY day DESC LIMIT :days",
        {"dataset": dataset, "days": CHANGES},
    )
    return [(row["day"], row["came"], row["went"]) for row in rows]


def ids_of(content: bytes) -> tuple[str, str]:
    """Git's ids under which these bytes may stand in a repository: as they are, or as the pointer to a large file."""
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    return blob_id(content), blob_id(pointer.encode())
