"""A chat store whose backup stands in a dataset of the loopback Hub, or in a folder: for the tests of what is kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.backup import Backup
from chat.conversation import SamplingParams
from chat.dataset_repo import DatasetRepo
from chat.db import Database
from chat.lease import Lease
from chat.store import Author, Store
from tests.support.fakes import TickingClock

AUTHOR = Author("starter", None, SamplingParams(temperature=0.2, seed=7))


def owner_of(number: int) -> str:
    return f"{number:032x}"[::-1]


@dataclass
class Machine:
    """One app's disk and its backup. `lose()` the machine and make another on an empty disk with the same repo."""

    folder: Path
    repo: DatasetRepo
    clock: TickingClock = field(default_factory=TickingClock)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.db = Database.open(self.folder)
        self.store = Store(self.db, self.clock)
        self.reports: list[str] = []
        options = {"lease": Lease(self.clock, self.clock), **self.options}
        self.backup = Backup(self.store, self.repo, self.clock, report=self.reports.append, **options)

    def close(self) -> None:
        self.db.close()

    async def owner(self, id: str, kind: str = "anonymous") -> str:
        sql = "INSERT INTO owners VALUES (?, ?, 1.0, 1.0) ON CONFLICT DO NOTHING"
        await self.db.write(lambda db: db.execute(sql, (id, kind)))
        return id

    async def turn(self, owner: str, conversation: str | None, text: str, answer: str = "An answer.") -> str:
        await self.owner(owner)
        found, _, running = await self.store.begin_turn(owner, conversation, text, AUTHOR, "Be brief.", "page")
        await self.store.finish_turn(running.id, answer, "done", "stop")
        return found.id

    async def everything(self) -> dict[str, list[tuple]]:
        """All that must come back, whatever the order it came in: rows without what says where they are saved."""
        tables = {
            "owners": "SELECT id, kind FROM owners",
            "accounts": "SELECT owner, hub_id, name, orgs FROM accounts",
            "sessions": "SELECT hex(token_hash), owner, carrier, expires_at FROM sessions",
            "api_keys": "SELECT hex(key_hash), id, owner, name, revoked_at FROM api_keys",
            "tombstones": "SELECT conversation, owner, deleted_at FROM tombstones",
            "conversations": "SELECT id, owner, title, model, system_prompt, params, leaf, revision, created_at, updated_at,"
            " pinned, archived, title_by FROM conversations",
            "retention": "SELECT owner, days, changed_at FROM retention",
            "messages": "SELECT id, conversation, parent, role, content, created_at, surface, model, model_revision, params,"
            " state, finish_reason, error, kept, depth, settled_at, reasoning, reasoning_seconds,"
            " omitted, continued FROM messages",
            "own_defaults": "SELECT owner, model, params, system_prompt, set_at FROM own_defaults",
            "feedback": "SELECT answer, rating, reasons, comment, given_at FROM feedback",
        }

        def read(db):
            return {name: sorted(map(tuple, db.execute(sql)), key=repr) for name, sql in tables.items()}

        return await self.db.read(read)

    async def figure(self, sql: str) -> Any:
        return await self.db.read(lambda db: db.execute(sql).fetchone()[0])


@dataclass
class HookedRepo:
    """A repository in between: calls `hooks[method]` before, and `after[method]` after, that method of `repo` is called.

    A hook is called once and removed; what it raises is what the caller gets.
    """

    repo: DatasetRepo
    hooks: dict[str, Callable[[], None]] = field(default_factory=dict)
    after: dict[str, Callable[[], None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.repo, name)
        if not callable(method):
            return method

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            self.hooks.pop(name, lambda: None)()
            result = method(*arguments)
            self.after.pop(name, lambda: None)()
            return result

        return call


def in_git(repository: Path, text: str) -> bool:
    """Whether the text is in any object of a bare repository, reachable or not, or in its large files."""
    objects = subprocess.run(
        ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"], check=True, capture_output=True
    ).stdout
    return text.encode() in objects or in_folder(repository, text)


def in_folder(folder: Path, text: str) -> bool:
    """Whether the text is in any file, or any file's name, under a folder. Who writes there may go on meanwhile."""
    return any(text in str(path) or text.encode() in content for path, content in files_below(folder))


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that is there, with its bytes; folders with none. What goes while this looks is not there."""
    for where, folders, names in os.walk(folder):
        for name in folders:
            yield Path(where, name), b""
        for path in (Path(where, name) for name in names):
            content = b""
            if path.is_file():  # no socket, no pipe
                with suppress(FileNotFoundError):
                    content = path.read_bytes()
            yield path, content
