"""The SQLite file under `DATA_DIR`: one writer, several readers, numbered migrations.

What `write` has returned survives `kill -9` and a power cut (`synchronous=FULL`): that is what the page calls *kept here*.
Writes that arrive while a commit is under way share the next one, so thirty turns at once cost about one fsync, not
thirty; each runs in a savepoint of its own, so one that fails takes none of the others with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chat import words

T = TypeVar("T")

READERS = 4
LARGEST_GROUP = 256

# Component -> its migrations, in the order of their names. Append-only: a published one is never edited. Components go one after the other,
# so a later one may refer to the tables of an earlier one.
Migrations = Mapping[str, Sequence[Path]]
_HERE = Path(__file__).parent / "migrations"
CHAT_MIGRATIONS = tuple(sorted(_HERE.glob("*.sql")))
MIGRATIONS: Migrations = {"chat": CHAT_MIGRATIONS}

# FUSE programs whose files are on a disk of this machine: rootless containers, and NTFS or exFAT disks.
LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuseblk")
NETWORK_FILESYSTEMS = ("nfs", "cifs", "smb", "fuse", "9p", "ceph", "gluster", "lustre", "afs")


class DatabaseError(Exception):
    """The database cannot be opened; `str(error)` says what to do."""


Job = tuple[Callable[[sqlite3.Connection], Any], Future]


@dataclass(frozen=True, slots=True)
class _Alone:
    fn: Callable[[sqlite3.Connection], Any]
    done: Future

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            result = self.fn(connection)
        except Exception as error:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


class Database:
    """One SQLite file. `open` it, `await write(fn)`, `await read(fn)`, `close` it.

    `fn` gets a `sqlite3.Connection` whose rows are `sqlite3.Row`. It runs in another thread, must not keep the connection
    and must not commit.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._jobs: queue.SimpleQueue[Job | _Alone | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        self._writer = threading.Thread(target=self._write_forever, name="db-write", daemon=True)

    @classmethod
    def open(cls, directory: Path, name: str = "parley.db", migrations: Migrations = MIGRATIONS) -> Database:
        """Open, or create, `directory/name` and bring every component of `migrations` to its newest schema.

        Raises `DatabaseError` when the directory is not writable, is on a network or FUSE mount, is in use by another
        app, or holds a database of a newer version.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseError(
                f"DATA_DIR {directory} cannot be written ({error.strerror}). "
                "Set DATA_DIR to a folder on a local disk that this user may write."
            ) from None
        try:
            refuse_network_mount(directory, Path("/proc/self/mounts").read_text())
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DatabaseError(
                    f"Another Parley is running on DATA_DIR {directory}. Stop it, or set DATA_DIR to another folder."
                ) from None
            _migrate(directory / name, migrations)
        except BaseException:
            os.close(lock)
            raise
        database = cls(directory / name, lock)
        database._writer.start()
        return database

    async def write(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` in the writer and return its result once it is on disk; what `fn` raises is raised here.

        A caller that is cancelled while it waits does not undo the write.
        """
        return await asyncio.wrap_future(self.submit(fn))

    async def alone(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` in the writer outside of any transaction, for what SQLite refuses inside one, and return its result."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()
        self._jobs.put(_Alone(fn, done))
        return await asyncio.wrap_future(done)

    def submit(self, fn: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """`write` for callers outside an event loop."""
        done: Future[T] = Future()
        # Cancelling the waiter must not cancel the write: the writer owns the future from here on.
        done.set_running_or_notify_cancel()
        self._jobs.put((fn, done))
        return done

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a read-only connection and return its result. It sees every write that was acknowledged before."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: fn(self._reader()))

    def close(self) -> None:
        """Finish the writes that were submitted, then let go of the file."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown(wait=True)
        for reader in self._open_readers:
            reader.close()
        os.close(self._lock)

    def _reader(self) -> sqlite3.Connection:
        reader = getattr(self._local, "connection", None)
        if reader is None:
            reader = self._local.connection = connect(self.path)
            reader.execute("PRAGMA query_only = ON")
            self._open_readers.append(reader)
        return reader

    def _write_forever(self) -> None:
        connection = connect(self.path)
        try:
            while (job := self._jobs.get()) is not None:
                if isinstance(job, _Alone):
                    job.run(connection)
                    continue
                group, last = [job], None
                while last is None and len(group) < LARGEST_GROUP and not self._jobs.empty():
                    following = self._jobs.get()
                    if following is None:
                        self._jobs.put(None)
                        break
                    if isinstance(following, _Alone):
                        last = following
                    else:
                        group.append(following)
                _commit_together(connection, group)
                if last:
                    last.run(connection)
        finally:
            connection.close()


class MemoryDatabase:
    """A `Database` that is nowhere but in this process's memory and ends with it. One thread does all its work, in order.

    SQLite writes nothing for it: no file, no journal, and what a query sorts stays in memory too.
    """

    def __init__(self, migrations: Migrations = MIGRATIONS) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="db-memory")
        self._connection = connect(":memory:")
        self._connection.execute("PRAGMA temp_store = MEMORY")
        for scripts in migrations.values():
            for script in scripts:
                self._connection.executescript(script.read_text())

    async def write(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """As `Database.write`, but that nothing of it survives the process."""
        return await asyncio.wrap_future(self._thread.submit(self._together, fn))

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(fn, self._connection))

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._connection.close()

    def _together(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("BEGIN")
        try:
            result = fn(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection with the settings every user of the file must have."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "busy_timeout = 10000",
        "cache_size = -16000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    # The schema's triggers take words out of the search by it.
    connection.create_function("search_words", 2, words.tokens, deterministic=True)
    return connection


def _commit_together(
    connection: sqlite3.Connection, group: list[tuple[Callable[[sqlite3.Connection], Any], Future]]
) -> None:
    outcomes: list[tuple[Future, Any, BaseException | None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for fn, done in group:
            connection.execute("SAVEPOINT one")
            try:
                outcomes.append((done, fn(connection), None))
            except Exception as error:
                connection.execute("ROLLBACK TO one")
                outcomes.append((done, None, error))
            connection.execute("RELEASE one")
        connection.execute("COMMIT")
    except BaseException as error:
        # The disk is full or gone: nothing of the group is kept, and every waiter hears it.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        outcomes = [(done, None, error) for _, done in group]
    for done, result, failure in outcomes:
        if failure is None:
            done.set_result(result)
        else:
            done.set_exception(failure)


def _migrate(path: Path, migrations: Migrations) -> None:
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise DatabaseError(f"{path} cannot be opened ({error}). Move it away, or restore it from a backup.") from None
    try:
        for component, scripts in migrations.items():
            version = _version(connection, component)
            if version > len(scripts):
                raise DatabaseError(
                    f"{path} was written by a newer Parley ({component} schema {version}, this one knows {len(scripts)}). "
                    "Run that version, or set DATA_DIR to another folder."
                )
            for number, script in enumerate(scripts[version:], start=version + 1):
                # The number is written in the transaction of the change: neither is ever there without the other.
                connection.executescript(
                    f"BEGIN IMMEDIATE;\n{script.read_text()}\n{_noted(component, number)}\nCOMMIT;"
                )
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} cannot be read ({error}). Move it away, or restore it from a backup.") from None
    finally:
        connection.close()


def _version(connection: sqlite3.Connection, component: str) -> int:
    """How many migrations of `component` have run. The chat's own are counted by `user_version`, the others by name."""
    if component == "chat":
        return connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
    )
    row = connection.execute("SELECT version FROM schema_versions WHERE component = ?", (component,)).fetchone()
    return row["version"] if row else 0


def _noted(component: str, number: int) -> str:
    if component == "chat":
        return f"PRAGMA user_version = {number};"
    if not component.isidentifier():
        raise ValueError(f"{component!r} cannot name a component.")
    return f"INSERT OR REPLACE INTO schema_versions VALUES ('{component}', {number});"


def refuse_network_mount(directory: Path, mounts: str) -> None:
    """Raise `DatabaseError` where `directory` is on a network or FUSE mount; `mounts` is the text of `/proc/self/mounts`."""
    kind = filesystem_of(directory.resolve(), mounts)
    if kind.startswith(NETWORK_FILESYSTEMS) and kind not in LOCAL_FUSE:
        raise DatabaseError(
            f"DATA_DIR {directory} is on a {kind} mount, where SQLite loses data. Set DATA_DIR to a folder on a local "
            "disk; to have conversations survive this machine, set STORE_DATASET and WAL_BUCKET."
        )


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds `path`: that of the longest mount point above it."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, fstype, *_ = line.split()
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, fstype
    return kind
