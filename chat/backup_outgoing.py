"""From the database to the files of one commit, and the note that it was made. No network."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chat import formats
from chat.backup_rows import conversation, mark_part, owner_line, saved_files, set_state
from chat.dataset_repo import blob_id
from chat.formats import SavedTombstone

_TOMBSTONE = ("conversation", "owner", "deleted_at", "purged_at")
BATCH_BYTES = 32_000_000  # of files in one commit, or one owner's where that is more


@dataclass(slots=True)
class Batch:
    """The files of one commit, and what will be true once it is applied. `rest`: ids of the owners and the conversations
    that were to be written too and did not fit; empty: it is the whole of what the dataset lacked at that moment."""

    add: dict[str, bytes] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    conversations: list[tuple[int, int, str, str]] = field(default_factory=list)  # revision, part, id, owner
    stale_parts: list[tuple[str, int, int]] = field(default_factory=list)  # owner, part, marks
    stale_accounts: list[tuple[str, int]] = field(default_factory=list)  # owner, marks
    stale_extras: list[tuple[str, int]] = field(default_factory=list)  # prefix, marks
    tombstones: list[str] = field(default_factory=list)
    told: list[tuple[str, float | None]] = field(default_factory=list)  # conversation, when it was purged
    rest: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return any(
            (
                self.add,
                self.delete,
                self.conversations,
                self.stale_parts,
                self.stale_accounts,
                self.stale_extras,
                self.tombstones,
                self.told,
            )
        )


def next_batch(
    db: sqlite3.Connection,
    owners: int,
    extras: Mapping[str, Mapping[str, bytes]],
    left: Collection[str],
    rest: Collection[str] | None = None,
) -> Batch:
    """What to commit next, of at most so many owners; empty where the dataset lacks nothing.

    `extras`: the files of other parts, by prefix, all of them. `left`: paths that are left as they are. `rest`: of an
    earlier batch, to write what was in it and no conversation that changed later. What was deleted goes first, its
    tombstones in the same commit as the files without it, all of one moment.
    """
    batch = Batch()
    db.execute("BEGIN")
    try:
        _add_tombstones(db, batch, left)
        for prefix, files in extras.items():
            known = saved_files(db, prefix)
            for path, content in files.items():
                _add(batch, path, content, known.get(path))
            batch.delete += [path for path in known if path not in files]
        _add_accounts(db, batch, left)
        _add_users(db, batch, owners, left, rest)
    finally:
        db.execute("ROLLBACK")
    return batch


def _add(batch: Batch, path: str, content: bytes, known: str | None) -> None:
    if known != blob_id(content):
        batch.add[path] = content


def _known(db: sqlite3.Connection, path: str) -> str | None:
    row = db.execute("SELECT content FROM saved_files WHERE path = ?", (path,)).fetchone()
    return row["content"] if row else None


def _add_tombstones(db: sqlite3.Connection, batch: Batch, left: Collection[str]) -> None:
    changed = db.execute(
        "SELECT conversation FROM tombstones WHERE saved = 0"
        " UNION SELECT conversation FROM tombstones WHERE purged_at IS NOT NULL AND told = 0"
    ).fetchall()
    for prefix in sorted({row["conversation"][:2] for row in changed}):
        path = f"tombstones/{prefix}.jsonl"
        if path in left:
            continue
        rows = db.execute(
            "SELECT * FROM tombstones WHERE conversation BETWEEN ? AND ? || 'g' ORDER BY conversation", (prefix, prefix)
        ).fetchall()
        lines = (SavedTombstone(**{name: row[name] for name in _TOMBSTONE}) for row in rows)
        _add(batch, path, formats.encode(lines), _known(db, path))
        batch.tombstones += [row["conversation"] for row in rows if not row["saved"]]
        batch.told += [(row["conversation"], row["purged_at"]) for row in rows if row["purged_at"] and not row["told"]]


def _add_accounts(db: sqlite3.Connection, batch: Batch, left: Collection[str]) -> None:
    stale = db.execute("SELECT owner, marks FROM stale_accounts").fetchall()
    for prefix in sorted({row["owner"][:2] for row in stale}):
        path = formats.account_path(prefix)
        if path in left:
            continue
        owners = db.execute(
            "SELECT id FROM owners WHERE id BETWEEN ? AND ? || 'g' ORDER BY id", (prefix, prefix)
        ).fetchall()
        known = _known(db, path)
        if owners:
            _add(batch, path, formats.encode(owner_line(db, row["id"]) for row in owners), known)
        elif known is not None:
            batch.delete.append(path)
        batch.stale_accounts += [tuple(row) for row in stale if row["owner"].startswith(prefix)]


def _add_users(
    db: sqlite3.Connection, batch: Batch, limit: int, left: Collection[str], rest: Collection[str] | None
) -> None:
    stale: dict[str, dict[int, int]] = defaultdict(dict)
    for owner, part, marks in db.execute("SELECT owner, part, marks FROM stale_parts"):
        stale[owner][part] = marks
    dirty = db.execute("SELECT id, owner FROM conversations WHERE revision > saved_revision").fetchall()
    # By conversation: one may have moved to an account since the batch that left it out.
    wanted = dict.fromkeys(
        [
            *(owner for owner in stale if rest is None or owner in rest),
            *(row["owner"] for row in dirty if rest is None or row["id"] in rest),
        ]
    )
    size = 0
    for owner in list(wanted):
        if limit <= 0 or size > BATCH_BYTES:
            batch.rest = {*wanted, *(row["id"] for row in dirty if row["owner"] in wanted)}
            return
        del wanted[owner]
        written = _add_owner(db, batch, owner, stale[owner], left)
        size += written
        limit -= written > 0


def _add_owner(
    db: sqlite3.Connection, batch: Batch, owner: str, stale: Mapping[int, int], left: Collection[str]
) -> int:
    """Add the parts of one owner that must be written, and return their bytes (at least 1 where anything was added)."""
    dirty = db.execute(
        "SELECT id, part FROM conversations WHERE owner = ? AND revision > saved_revision ORDER BY created_at, id",
        (owner,),
    ).fetchall()
    changed = {row["id"] for row in dirty}
    parts: dict[int, dict[str, tuple[int, bytes]]] = {}

    def load(part: int) -> dict[str, tuple[int, bytes]]:
        if part not in parts:
            rows = db.execute(
                "SELECT id FROM conversations WHERE owner = ? AND part = ? ORDER BY created_at, id", (owner, part)
            ).fetchall()
            parts[part] = {row["id"]: _line(db, row["id"]) for row in rows}
        return parts[part]

    def writable(part: int) -> bool:
        return formats.user_path(owner, part) not in left

    def size_of(part: int) -> int:
        return sum(len(line) for _, line in parts[part].values())

    for part in sorted({*stale, *(row["part"] for row in dirty if row["part"] is not None)}):
        if writable(part):
            load(part)
    homeless = {row["id"]: _line(db, row["id"]) for row in dirty if row["part"] is None}
    for part in list(parts):
        # Only what is written anew anyway moves on: an unchanged part stays the same file.
        for id in sorted(changed & parts[part].keys(), key=lambda id: -len(parts[part][id][1])):
            if size_of(part) > formats.PART_BYTES and len(parts[part]) > 1:
                homeless[id] = parts[part].pop(id)
    tail = db.execute("SELECT coalesce(max(part), 0) FROM conversations WHERE owner = ?", (owner,)).fetchone()[0]
    for id, line in homeless.items():
        while not writable(tail) or (load(tail) and size_of(tail) + len(line[1]) > formats.PART_BYTES):
            tail += 1
        parts[tail][id] = line

    written = 0
    for part, lines in parts.items():
        path = formats.user_path(owner, part)
        known = _known(db, path)
        content = b"".join(line for _, line in lines.values())
        if lines:
            _add(batch, path, content, known)
        elif known is not None:
            batch.delete.append(path)
        batch.conversations += [(revision, part, id, owner) for id, (revision, _) in lines.items()]
        batch.stale_parts += [(owner, part, stale[part])] if part in stale else []
        written += len(content) + 1
    return written


def _line(db: sqlite3.Connection, id: str) -> tuple[int, bytes]:
    found = conversation(db, id)
    return found.revision, formats.encode([found])


def record(db: sqlite3.Connection, batch: Batch, head: str) -> None:
    """Note that `batch` is in the dataset, whose head is now `head`. What changed since it was read stays to be written."""
    for revision, part, id, owner in batch.conversations:
        found = db.execute(
            "UPDATE conversations SET saved_revision = max(saved_revision, ?), part = ? WHERE id = ? AND owner = ?",
            (revision, part, id, owner),
        )
        if not found.rowcount:
            mark_part(db, owner, part)
    db.executemany("DELETE FROM stale_parts WHERE owner = ? AND part = ? AND marks = ?", batch.stale_parts)
    db.executemany("DELETE FROM stale_accounts WHERE owner = ? AND marks = ?", batch.stale_accounts)
    db.executemany("DELETE FROM stale_extras WHERE prefix = ? AND marks = ?", batch.stale_extras)
    db.executemany("UPDATE tombstones SET saved = 1 WHERE conversation = ?", [(id,) for id in batch.tombstones])
    db.executemany("UPDATE tombstones SET told = 1 WHERE conversation = ? AND purged_at IS ?", batch.told)
    for path, content in batch.add.items():
        db.execute("INSERT OR REPLACE INTO saved_files VALUES (?, ?)", (path, blob_id(content)))
    db.executemany("DELETE FROM saved_files WHERE path = ?", [(path,) for path in batch.delete])
    set_state(db, "head", head)
