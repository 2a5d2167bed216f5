"""What a sharing dataset is to hold, out of the outbox. Only the database, no network."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from chat.dataset_repo import blob_id
from privacy.ledger import heads_hash
from privacy.rows import Rules, row_hash
from privacy.shards import CARD, SHARDS, TOMBSTONES, CardFacts, card_bytes, shard_bytes, shard_path, tombstone_bytes

EVERY_SHARD = tuple(shard_path(shard) for shard in range(SHARDS))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a dataset is to hold. `files`: path -> bytes, or None where nothing is to be; only of the shards concerned.
    `occupied`: the paths of all shards with a row. `sent`, `gone`: the rows that the files publish and take away.
    `squash`: the history holds what must not be there. `missing`: shards with a row whose text is not here."""

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
    strange: Iterable[str] = (),
    found: Mapping[str, str] | None = None,
) -> Snapshot:
    """`publish`: new rows are in it. `strange`: shards to write whatever became of their rows. `found`: row id -> text,
    as the dataset holds it: it stands in for a text that is not here, where it is the very row of the outbox."""
    found = found or {}
    live: dict[str, list[tuple[sqlite3.Row, str | None]]] = defaultdict(list)
    gone: list[str] = []
    sent: list[str] = []
    dirty = set(strange)
    missing: set[str] = set()
    removed = _strays(db, dataset)
    for row in db.execute("SELECT * FROM outbox WHERE dataset = ? AND shard IS NOT NULL ORDER BY row_id", (dataset,)):
        path = shard_path(row["shard"])
        if row["state"] in ("retract", "retracted"):
            removed[row["row_id"]] = _day(row["retract_at"])
        if row["state"] == "retract":
            gone.append(row["row_id"])
            dirty.add(path)
        if row["state"] == "published" or (row["state"] == "publish" and publish):
            there = found.get(row["row_id"], "")
            text = row["row"] or (there if row_hash(there) == row["row_hash"] else None)
            live[path].append((row, text))
            if text is None:
                missing.add(path)
            elif row["state"] == "publish":
                sent.append(row["row_id"])
                dirty.add(path)
    files: dict[str, bytes | None] = {}
    for path in sorted(dirty):
        live[path] = [(row, text) for row, text in live.pop(path, []) if text is not None]
        rows = [{**json.loads(text), "row_id": row["row_id"]} for row, text in live[path]]
        files[path] = shard_bytes(rows) if rows else None
    files[TOMBSTONES] = tombstone_bytes(removed) if removed else None
    files[CARD] = _card(db, dataset, rules, [row for rows in live.values() for row, _ in rows], len(removed))
    squash = db.execute("SELECT 1 FROM unsquashed WHERE dataset = ?", (dataset,)).fetchone() is not None
    return Snapshot(
        dataset,
        files,
        frozenset(path for path, rows in live.items() if rows),
        tuple(sent),
        tuple(gone),
        squash or bool(gone),
        frozenset(missing & dirty),
    )


def _strays(db: sqlite3.Connection, dataset: str) -> dict[str, str]:
    rows = db.execute("SELECT row_id, found_at FROM strays WHERE dataset = ?", (dataset,))
    return {row["row_id"]: _day(row["found_at"]) for row in rows}


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _card(db: sqlite3.Connection, dataset: str, rules: Rules, rows: list[sqlite3.Row], removed: int) -> bytes:
    found = db.execute("SELECT model, recipient FROM sharing_datasets WHERE id = ?", (dataset,)).fetchone()
    texts = db.execute(
        "SELECT DISTINCT policy_version, text_hash FROM consent_events WHERE id IN"
        " (SELECT event FROM outbox WHERE dataset = ? AND state IN ('publish', 'published'))",
        (dataset,),
    )
    facts = CardFacts(
        model=found["model"],
        recipient=found["recipient"],
        licence=rules.licence,
        redaction=rules.redaction.version,
        texts={row["policy_version"]: row["text_hash"] for row in texts},
        languages=sorted({row["language"] for row in rows}),
        rows=len(rows),
        removed=removed,
        ledger=heads_hash(db),
    )
    return card_bytes(facts)


def ids_of(content: bytes) -> tuple[str, str]:
    """Git's ids under which these bytes may stand in a repository: as they are, or as the pointer to a large file."""
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    return blob_id(content), blob_id(pointer.encode())
