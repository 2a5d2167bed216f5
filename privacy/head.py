"""What stands at the head of a sharing dataset, and what of it no row of the outbox explains."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chat.dataset_repo import DatasetRepo, Visibility
from privacy.rows import feedback_text, row_hash
from privacy.shards import EVERY_SHARD, FEEDBACK, TOMBSTONES, rows_in


@dataclass(frozen=True, slots=True)
class Head:
    """`id` None: there is no such dataset. `files`: path -> git's id. Of the files that were `read`: `rows`, row id -> text;
    `said`, row id -> what was said about it; `tombstones`, row ids; `unreadable`, those that are no rows."""

    id: str | None
    seen_by: Visibility | None
    files: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    tombstones: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def unknown(self, written: Mapping[str, set[str]]) -> set[str]:
        """The paths of rows and tombstones that are not as they were last `written` (path -> git's ids)."""
        return {path for path, id in self.files.items() if holds_rows(path) and id not in written.get(path, ())}


@dataclass(frozen=True, slots=True)
class Strange:
    """Files that may be by another hand. `rows`: ids in no outbox; `shards`: to be written anew, `others`: to be deleted.
    `foreign`: they do hold what is not from here, so that head and history must lose it."""

    rows: frozenset[str] = frozenset()
    shards: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    foreign: bool = False


def holds_rows(path: str) -> bool:
    """Whether `load_dataset` would read rows from it."""
    return path.startswith("data/") or path.endswith(".parquet")


def look(repo: DatasetRepo) -> Head:
    """The head without a file's content. Blocks; raises `RepoError`."""
    seen_by = repo.visibility()
    id = repo.head()
    return Head(id, seen_by, repo.files("", id) if id else {})


def read(repo: DatasetRepo, head: Head, paths: Iterable[str]) -> Head:
    """The same with what `paths` hold. Blocks; raises `RepoError`."""
    rows, said, tombstones, unreadable = dict(head.rows), dict(head.said), set(head.tombstones), set(head.unreadable)
    wanted = set(paths) & head.files.keys() - head.read
    for path in sorted(wanted):
        found = rows_in(repo.read(path, head.id or ""))
        if found is None:
            unreadable.add(path)
        elif path == FEEDBACK:
            said |= said_in(found)
        elif path == TOMBSTONES:
            tombstones |= {str(row["row_id"]) for row in found}
        else:
            rows |= {str(row["row_id"]): as_text(row) for row in found}
    return Head(
        head.id,
        head.seen_by,
        head.files,
        rows,
        said,
        frozenset(tombstones),
        head.read | wanted,
        frozenset(unreadable),
    )


def as_text(row: Mapping[str, Any]) -> str:
    """The JSON of a row as the outbox keeps it, from what Parquet gave back."""
    content = {name: value for name, value in row.items() if name != "row_id"}
    return json.dumps(content, ensure_ascii=False, sort_keys=True, default=str)


def said_in(found: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Row id -> the JSON of what was said about it as the outbox keeps it, from what Parquet gave back."""
    about: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        about.setdefault(str(one["row_id"]), []).append(
            {name: value for name, value in one.items() if name not in ("row_id", "model")}
        )
    return {row_id: feedback_text(said) or "" for row_id, said in about.items()}


def strange_in(db: sqlite3.Connection, dataset: str, head: Head) -> Strange:
    """What is strange about the files that were read."""
    if not head.read:
        return Strange()
    known = {
        row["row_id"]: row
        for row in db.execute("SELECT row_id, row_hash, feedback_hash, state FROM outbox WHERE dataset = ?", (dataset,))
    }
    strays = {row["row_id"] for row in db.execute("SELECT row_id FROM strays WHERE dataset = ?", (dataset,))}
    rows = {id for id in head.rows if id not in known}
    rows |= {id for id in (*head.tombstones, *head.said) if id not in known and id not in strays}
    changed = any(
        id in known and (row_hash(text) != known[id]["row_hash"] or known[id]["state"] == "retracted")
        for id, text in head.rows.items()
    ) or any(
        id in known and row_hash(text) != known[id]["feedback_hash"] and known[id]["state"] in ("publish", "published")
        for id, text in head.said.items()
    )
    others = head.read - {*EVERY_SHARD, TOMBSTONES, FEEDBACK}
    return Strange(
        frozenset(rows),
        head.read & set(EVERY_SHARD),
        others,
        bool(rows or changed or others or head.unreadable),
    )


def written(db: sqlite3.Connection, dataset: str) -> dict[str, set[str]]:
    """Path -> git's ids of the file as it was last written from here."""
    found: dict[str, set[str]] = {}
    for row in db.execute("SELECT path, content FROM pushed_files WHERE dataset = ?", (dataset,)):
        found.setdefault(row["path"], set()).add(row["content"])
    return found
