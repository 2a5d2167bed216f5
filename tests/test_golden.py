"""What earlier versions wrote, today's code reads; what a later one will have written, it leaves as it is and says so.

`tests/golden/format1/` was written by the first version: the files of a private dataset and the database beside them, of
people who do not exist; `format2/` is the same dataset as the last version of the second format wrote it, rated, pinned and
put to rest. They are never made anew: a format that changes gets a folder beside these.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from chat.backup import Backup
from chat.db import MIGRATIONS, Database
from chat.store import Store
from privacy import MIGRATIONS as PRIVACY_MIGRATIONS
from privacy.consent import verify_chains
from privacy.extra import saved_parts
from tests.support.backing import Machine, owner_of
from tests.support.fakes import TickingClock
from tests.support.memory_repo import MemoryRepo

pytestmark = pytest.mark.anyio
FIRST, SECOND = (Path(__file__).parent / "golden" / name for name in ("format1", "format2"))


def golden(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "database.sql")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


FILES, FILES_OF_SECOND = golden(FIRST), golden(SECOND)
ADA, GRACE, NOBODY = (
    next(path for path, content in FILES.items() if path.startswith("users/") and text in content)[9:41]
    for text in (b"About temperature", b"grace@example.org", b"Nobody signed in")
)


RATINGS = "down:Not so, says nobody@example.org. up:"


class Disk(Machine):
    """A machine whose backup knows the ledger too."""

    def __post_init__(self) -> None:
        self.db = Database.open(self.folder, migrations={**MIGRATIONS, "privacy": PRIVACY_MIGRATIONS})
        self.store = Store(self.db, self.clock)
        self.reports = []
        self.backup = Backup(self.store, self.repo, self.clock, report=self.reports.append, extras=saved_parts(self.db))


@pytest.fixture
def disk(tmp_path):
    made = []

    def make(files: dict[str, bytes] = FILES, repo: MemoryRepo | None = None) -> Disk:
        if repo is None:
            repo = MemoryRepo("ada/chats")
            repo.create("")
            repo._add(dict(files))
        made.append(Disk(tmp_path / f"disk{len(made)}", repo, TickingClock(1_750_300_000.0)))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


async def all_is_there(machine: Machine) -> None:
    everything = await machine.everything()
    assert {row[2] for row in everything["conversations"]} == {
        "About temperature",
        "Where do herons nest? Write to ada@example.org.",
        "Hello from grace@example.org",
        "Nobody signed in",
    }
    assert [(row[0], row[1]) for row in everything["owners"]] == [
        (id, kind) for id, kind in sorted([(ADA, "account"), (GRACE, "account"), (NOBODY, "anonymous")])
    ]
    assert sorted(row[2] for row in everything["accounts"]) == ["ada-example", "grace-example"]
    assert [row[0] for row in everything["sessions"]] == [(b"s" * 32).hex().upper()]
    assert await machine.figure("SELECT count(*) FROM ended_sessions") == 1
    assert [row[3] for row in everything["api_keys"]] == ["my notebook"]
    assert len(everything["tombstones"]) == 1
    states = sorted(str(row[10]) for row in everything["messages"])
    assert states == ["None"] * 7 + ["done"] * 6 + ["failed", "interrupted", "stopped"]
    texts = {row[4] for row in everything["messages"]}
    assert {"And in winter?\u2028 Ząb, 漢字, 🪶", "half an ans"} <= texts
    kept = {row[4]: row[13] for row in everything["messages"]}
    assert kept["In winter they rest by open water."] == 1
    assert await machine.db.read(verify_chains) == []
    assert await machine.figure("SELECT group_concat(state) FROM (SELECT state FROM outbox ORDER BY 1)") == (
        "published,retracted"
    )
    kinds = "SELECT group_concat(kind) FROM (SELECT kind FROM consent_events ORDER BY 1)"
    assert await machine.figure(kinds) == "deny,grant,grant,withdraw"


@pytest.mark.parametrize("files", [FILES, FILES_OF_SECOND], ids=["first", "second"])
async def test_the_files_of_earlier_formats_come_back(disk, files):
    machine = disk(files)
    await machine.backup.pull()
    assert machine.backup.problem is None
    await all_is_there(machine)


async def test_the_first_version_knew_none_of_the_keys_of_the_second_and_their_defaults_come_in(disk):
    lines = [
        json.loads(line)
        for path, content in FILES.items()
        if path.startswith(("users/", "accounts/", "tombstones/"))
        for line in content.splitlines()
    ]
    said = {name for line in lines for each in (line, *line.get("messages", ())) for name in each}
    assert {line["format"] for line in lines} == {1}
    assert not said & {
        *("reasoning", "reasoning_seconds", "omitted", "continued", "feedback"),
        *("pinned", "archived", "title_by", "defaults", "retention", "purged_at"),
    }
    machine = disk()
    await machine.backup.pull()
    for sql in (
        "SELECT count(*) FROM messages WHERE reasoning IS NOT NULL OR omitted OR continued",
        "SELECT count(*) FROM conversations WHERE pinned OR archived OR title_by <> 'words'",
        "SELECT (SELECT count(*) FROM feedback) + (SELECT count(*) FROM own_defaults) + (SELECT count(*) FROM retention)",
        "SELECT count(*) FROM tombstones WHERE purged_at IS NOT NULL",
    ):
        assert await machine.figure(sql) == 0, sql


async def test_what_the_second_format_added_comes_back_and_what_the_third_adds_is_not_known(disk):
    machine = disk(FILES_OF_SECOND)
    await machine.backup.pull()
    for sql, found in (
        ("SELECT group_concat(rating || ':' || comment, ' ') FROM (SELECT * FROM feedback ORDER BY rating)", RATINGS),
        (
            "SELECT reasoning || '/' || omitted || '/' || continued FROM messages WHERE reasoning <> ''",
            "Herons wade./2/1",
        ),
        ("SELECT sum(pinned) || '/' || sum(archived) FROM conversations", "1/1"),
        ("SELECT group_concat(system_prompt) FROM own_defaults", "Answer in verse."),
        ("SELECT days FROM retention", 3650),
        ("SELECT count(*) FROM tombstones WHERE purged_at IS NOT NULL", 1),
        ("SELECT count(*) FROM pauses WHERE ended_at IS NULL", 1),
        ("SELECT count(*) FROM messages WHERE agreed IS NOT NULL", 0),
        ("SELECT count(*) FROM consent_events WHERE seen <> '[]'", 0),
    ):
        assert await machine.figure(sql) == found, sql


async def test_reading_them_writes_nothing_but_what_changed_and_what_is_written_then_is_read_again(disk):
    machine = disk()
    await machine.backup.pull()
    await machine.backup.flush()
    changed = {path for path, content in machine.repo.now().items() if FILES.get(path) != content}
    # The answer that was running was cut off, and the ledger says its format from now on.
    assert {path for path in changed if path.startswith(("users/", "accounts/", "tombstones/"))} == {
        f"users/{NOBODY[:2]}/{NOBODY}.jsonl"
    }
    await machine.turn(ADA, None, "written today")
    await machine.backup.flush()
    again = disk(repo=machine.repo)
    await again.backup.pull()
    assert again.backup.problem is None
    assert await again.everything() == await machine.everything()


async def test_the_database_of_the_first_version_is_brought_to_the_newest_schema(tmp_path, disk):
    folder = tmp_path / "old"
    folder.mkdir()
    with sqlite3.connect(folder / "parley.db") as db:
        db.executescript((FIRST / "database.sql").read_text())
    db.close()
    machine = Disk(folder, MemoryRepo("ada/chats"), TickingClock(1_750_300_000.0))
    await machine.store.interrupt_running("The app was restarted.")
    await all_is_there(machine)
    machine.repo.create("")
    await machine.backup.flush()
    again = disk(repo=machine.repo)
    await again.backup.pull()
    assert await again.everything() == await machine.everything()
    machine.close()


@pytest.mark.parametrize("path", [path for path in FILES if path != "README.md"])
async def test_a_newer_version_is_refused_with_what_to_do_and_nothing_is_overwritten(disk, path):
    lines = FILES[path].decode().rstrip("\n").split("\n")
    lines[-1] = json.dumps({**json.loads(lines[-1]), "format": 99, "later": "unknown"})
    newer = ("\n".join(lines) + "\n").encode()
    machine = disk({**FILES, path: newer})
    await machine.backup.pull()
    problem = machine.backup.problem
    assert f"{path} was written by a newer Parley (format 99, this one knows" in problem
    assert problem.endswith("It is left as it is; run that version.")
    for owner in (ADA, GRACE, NOBODY, owner_of(7)):
        await machine.turn(owner, None, "written today")
    (found, *_), _ = await machine.store.conversations(ADA)
    await machine.store.delete(ADA, found.id)
    await machine.backup._turn()
    assert machine.repo.now()[path] == newer
