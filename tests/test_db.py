"""The database file: what `write` returned is on disk, one app at a time, and a mistake names its remedy."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from chat.db import (
    CHAT_MIGRATIONS,
    MIGRATIONS,
    Database,
    DatabaseError,
    MemoryDatabase,
    filesystem_of,
    refuse_network_mount,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path):
    database = Database.open(tmp_path)
    yield database
    database.close()


def add_owner(connection: sqlite3.Connection, id: str) -> None:
    connection.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (id,))


def owners(connection: sqlite3.Connection) -> list[str]:
    return [row["id"] for row in connection.execute("SELECT id FROM owners ORDER BY id")]


async def test_a_read_sees_every_write_that_was_acknowledged(database):
    for number in range(20):
        await database.write(lambda db, id=f"{number:032x}": add_owner(db, id))
        assert len(await database.read(owners)) == number + 1


async def test_a_failed_write_takes_none_of_its_group_with_it(database):
    good, bad = "a" * 32, "too short"
    results = await asyncio.gather(
        database.write(lambda db: add_owner(db, bad)),
        database.write(lambda db: add_owner(db, good)),
        return_exceptions=True,
    )
    assert isinstance(results[0], sqlite3.IntegrityError)
    assert await database.read(owners) == [good]


async def test_writes_that_arrive_together_share_commits(database):
    """Thirty turns at once must not wait for thirty disk flushes."""
    commits = []

    def count(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

    await database.write(count)
    await asyncio.gather(*(database.write(lambda db, id=f"{n:032x}": add_owner(db, id)) for n in range(100)))
    assert len(await database.read(owners)) == 100
    assert len(commits) < 50


async def test_a_caller_that_gives_up_does_not_undo_its_write(database):
    task = asyncio.create_task(database.write(lambda db: add_owner(db, "b" * 32)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.write(lambda db: None)
    assert await database.read(owners) == ["b" * 32]


async def test_readers_cannot_write(database):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda db: add_owner(db, "c" * 32))


async def test_an_acknowledged_write_survives_kill_9(tmp_path):
    program = """
        import asyncio, sys
        from pathlib import Path
        from chat.db import Database
        async def main():
            database = Database.open(Path(sys.argv[1]))
            for n in range(10_000):
                await database.write(lambda db: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (f"{n:032x}",)))
                print(n, flush=True)
        asyncio.run(main())
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [int(child.stdout.readline()) for _ in range(50)]
    child.kill()
    acknowledged += [int(line) for line in child.communicate()[0].splitlines()]
    database = Database.open(tmp_path)
    try:
        kept = await database.read(owners)
    finally:
        database.close()
    assert {f"{n:032x}" for n in acknowledged} <= set(kept)


async def test_a_second_app_on_the_same_folder_is_told_so(database):
    with pytest.raises(DatabaseError, match="Another Parley is running on DATA_DIR"):
        Database.open(database.path.parent)


async def test_an_unwritable_folder_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DatabaseError, match=r"cannot be written .* Set DATA_DIR"):
        Database.open(blocked / "data")


async def test_a_network_mount_is_refused_with_the_way_out(tmp_path):
    mounts = f"/dev/vda / ext4 rw 0 0\nhost:/export {tmp_path} fuse.hf-mount rw 0 0\n"
    assert filesystem_of(Path("/srv"), mounts) == "ext4"
    refuse_network_mount(Path("/srv"), mounts)
    with pytest.raises(DatabaseError, match=r"fuse.hf-mount mount.*set STORE_DATASET and WAL_BUCKET"):
        refuse_network_mount(tmp_path / "data", mounts)


@pytest.mark.parametrize("kind", ["fuse.fuse-overlayfs", "fuseblk"])
async def test_a_disk_of_this_machine_behind_fuse_is_allowed(tmp_path, kind):
    """The root of a rootless container, and NTFS disks."""
    refuse_network_mount(tmp_path, f"disk {tmp_path} {kind} rw 0 0\n")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse.fuse-overlayfs-of-mine", "9p"])
async def test_every_other_mount_of_that_sort_is_refused(tmp_path, kind):
    with pytest.raises(DatabaseError, match=f"{kind} mount"):
        refuse_network_mount(tmp_path, f"host:/export {tmp_path} {kind} rw 0 0\n")


async def test_a_newer_schema_is_not_touched(tmp_path):
    Database.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "parley.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(DatabaseError, match="newer Parley"):
        Database.open(tmp_path)


async def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "parley.db").write_bytes(os.urandom(8192))
    with pytest.raises(DatabaseError, match=r"parley.db cannot be .* Move it away"):
        Database.open(tmp_path)


async def test_each_component_has_migrations_of_its_own(tmp_path):
    """The privacy part adds its tables beside the chat's, later and one at a time, and each runs once."""
    first, second = tmp_path / "0001.sql", tmp_path / "0002.sql"
    first.write_text("CREATE TABLE ledger (owner TEXT REFERENCES owners (id));")
    second.write_text("ALTER TABLE ledger ADD COLUMN at REAL;")
    for scripts in ((), (first,), (first, second), (first, second)):
        Database.open(tmp_path / "data", migrations={**MIGRATIONS, "privacy": scripts}).close()
    with pytest.raises(DatabaseError, match=r"newer Parley \(privacy schema 2, this one knows 1\)"):
        Database.open(tmp_path / "data", migrations={**MIGRATIONS, "privacy": (first,)})


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path):
    bad, good = tmp_path / "bad.sql", tmp_path / "good.sql"
    bad.write_text("CREATE TABLE half (a TEXT); SELECT nonsense;")
    good.write_text("CREATE TABLE half (a TEXT);")
    with pytest.raises(DatabaseError, match="cannot be read"):
        Database.open(tmp_path / "data", migrations={**MIGRATIONS, "privacy": (bad,)})
    Database.open(tmp_path / "data", migrations={**MIGRATIONS, "privacy": (good,)}).close()


async def test_conversations_of_an_older_version_learn_their_branch_and_depth(tmp_path):
    """Kept, depth and settled_at are filled in for what was written before they existed."""
    Database.open(tmp_path, migrations={"chat": CHAT_MIGRATIONS[:2]}).close()
    with sqlite3.connect(tmp_path / "parley.db") as old:
        old.execute("INSERT INTO owners VALUES (?, 'anonymous', 1, 1)", ("a" * 32,))
        old.execute(
            "INSERT INTO conversations (id, owner, title, model, params, leaf, created_at, updated_at)"
            " VALUES (?, ?, 't', 'm', '{}', ?, 1, 9)",
            ("c" * 32, "a" * 32, "3" * 32),
        )
        for id, parent, role in (("1", None, "user"), ("2", "1", "assistant"), ("3", "1", "assistant")):
            old.execute(
                "INSERT INTO messages (id, conversation, parent, role, content, created_at, surface, model, params, state)"
                " VALUES (?, ?, ?, ?, 'x', 1, ?, ?, ?, ?)",
                (
                    id * 32,
                    "c" * 32,
                    parent and parent * 32,
                    role,
                    *(("page", None, None, None) if parent is None else (None, "m", "{}", "done")),
                ),
            )
    old.close()
    database = Database.open(tmp_path)
    rows = await database.read(
        lambda db: db.execute("SELECT id, kept, depth, settled_at FROM messages ORDER BY id").fetchall()
    )
    assert [(row["id"][0], *tuple(row)[1:]) for row in rows] == [("1", 1, 0, None), ("2", 0, 1, 9.0), ("3", 1, 1, 9.0)]
    assert [
        tuple(row) for row in await database.read(lambda db: db.execute("SELECT owner FROM stale_accounts").fetchall())
    ]
    database.close()


async def test_a_database_in_memory_keeps_what_was_written_and_takes_a_failed_write_back():
    database = MemoryDatabase()
    await database.write(lambda db: db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", ("1" * 32,)))

    def fail(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM owners")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(fail)
    found = await database.read(lambda db: db.execute("SELECT count(*) FROM owners").fetchone()[0])
    assert found == 1
    files = await database.read(lambda db: [row["file"] for row in db.execute("PRAGMA database_list")])
    assert files == [""], "no file stands behind it"
    database.close()
