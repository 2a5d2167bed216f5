"""`python -m privacy.audit DATA_DIR`: proves that the sharing datasets hold what consent allows, and nothing else.

Reads the database and the head of every sharing dataset ever written (`HF_TOKEN`, `HF_ENDPOINT`); changes neither.
Prints a sentence for everything that is wrong, without a word of any conversation, and ends with 1 if there is any.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chat.dataset_repo import DatasetRepo, RepoError
from chat.db import connect
from chat.hub import HubRepo
from chat.repo_guards import SPACE_FILE
from privacy import policy, redaction
from privacy.comparison import compare
from privacy.consent import Terms
from privacy.ledger import verify_chains
from privacy.rows import Redaction, Rules, row_hash
from privacy.shards import CARD, TOMBSTONES, read_rows

ON_ITS_WAY = ("publish", "retract")


def audit(db: sqlite3.Connection, open_repo: Callable[[str], DatasetRepo], rules: Rules, now: float) -> list[str]:
    """What is wrong, a sentence each; empty: what is public is what is agreed to. Blocks; `now`: Unix seconds.

    Rows that the outbox is about to publish or to take away may be there or not. Raises `RepoError`.
    """
    wrong = verify_chains(db)
    found = compare(db, rules, now, publish=False, whole=True)
    uncovered = {*found.retract, *found.unexplained}
    for (dataset,) in db.execute("SELECT id FROM sharing_datasets ORDER BY id").fetchall():
        known = {
            row["row_id"]: row
            for row in db.execute("SELECT row_id, state, row_hash FROM outbox WHERE dataset = ?", (dataset,))
        }
        wrong += [f"{dataset}: {sentence}" for sentence in _audit_one(open_repo(dataset), known, uncovered)]
    return wrong


def _audit_one(repo: DatasetRepo, known: Mapping[str, sqlite3.Row], uncovered: set[str]) -> list[str]:
    head = repo.head()
    wrong = ["it is open to everyone."] if head and repo.visibility() == "public" else []
    paths = repo.paths("", head) if head else []
    public: dict[str, dict[str, Any]] = {}
    removed: set[str] = set()
    for path in paths:
        if path == TOMBSTONES:
            removed = {row["row_id"] for row in read_rows(io.BytesIO(repo.read(path, head or "")))}
        elif path.endswith(".parquet"):
            for row in read_rows(io.BytesIO(repo.read(path, head or ""))):
                wrong += [f"row {row['row_id']} is there twice."] if row["row_id"] in public else []
                public[row["row_id"]] = row
        elif path not in (CARD, SPACE_FILE, ".gitattributes"):
            wrong.append(f"nothing explains the file {path}.")
    for row_id, row in sorted(public.items()):
        wrong += [f"row {row_id} {fault}." for fault in _faults(row, known.get(row_id), row_id in uncovered)]
    for row_id, kept in sorted(known.items()):
        if kept["state"] == "published" and row_id not in public:
            wrong.append(f"row {row_id} counts as published and is not there.")
        if kept["state"] == "retracted" and row_id not in removed:
            wrong.append(f"row {row_id} was taken back and has no tombstone.")
    return wrong


def _faults(row: Mapping[str, Any], kept: sqlite3.Row | None, is_uncovered: bool) -> list[str]:
    if kept is None:
        return ["is in no outbox"]
    if kept["state"] in ON_ITS_WAY:
        return []
    if kept["state"] != "published":
        return [f"is there and counts as {kept['state']}"]
    content = {name: value for name, value in row.items() if name != "row_id"}
    same = row_hash(json.dumps(content, ensure_ascii=False, sort_keys=True)) == kept["row_hash"]
    return ([] if same else ["is not as it was published"]) + (
        ["is not covered by a consent that is valid now"] if is_uncovered else []
    )


def main(arguments: list[str], environ: Mapping[str, str], now: float) -> int:
    folder = Path(arguments[0] if arguments else environ.get("DATA_DIR", ""))
    database = folder / "parley.db"
    if not database.is_file():
        print(
            f"There is no {database}. Name the DATA_DIR of a Parley: python -m privacy.audit DATA_DIR", file=sys.stderr
        )
        return 2
    endpoint, token = environ.get("HF_ENDPOINT") or "https://huggingface.co", environ.get("HF_TOKEN", "")
    placeholders = redaction.Placeholders
    rules = Rules(
        "", "", 0.0, Terms(policy.stale_from()), {}, Redaction(redaction.VERSION, redaction.redact, placeholders)
    )
    db = connect(database)
    try:
        db.execute("PRAGMA query_only = ON")
        wrong = audit(db, lambda id: HubRepo(endpoint, token, id), rules, now)
    except RepoError as error:
        print(f"The audit could not be finished. {error}", file=sys.stderr)
        return 2
    finally:
        db.close()
    for sentence in wrong:
        print(sentence)
    print("What is shared is what was agreed to." if not wrong else f"{len(wrong)} wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    import time

    sys.exit(main(sys.argv[1:], os.environ, time.time()))
