"""Write-ahead objects: what is kept here is in a storage bucket within a second or so, until the dataset holds it.

    look     see that the bucket is private, and what is in it: take over what other disks wrote, note what is missing
    put      one batch with everything that is not safe yet, and the removal of what nothing rests on any more

An object holds what changed of one conversation, so its size does not grow with the conversation, and deleting a
conversation deletes objects and rewrites none. An object counts for nothing before the bucket has said that it is there,
so a lost answer makes nothing look safer than it is. Nobody who sends a message waits for any of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from chat import formats
from chat import write_ahead_rows as rows
from chat.backup import PublicDataset
from chat.backup_reader import Extra
from chat.backup_rows import stale_extras
from chat.bucket import Bucket
from chat.dataset_repo import Denied, Doubtful, RepoError, Threads
from chat.db import Database
from chat.formats import BadFile
from chat.retrying import Retrying
from chat.write_ahead_formats import KINDS, SavedChange, SavedLines, replica_and_kind

TICK = 0.4  # seconds between two looks at what is not safe
SWEEP_EVERY = 2.0  # seconds between two looks at which objects may go; what is deleted goes at once
LOOK_EVERY = 30.0  # seconds between two looks at the bucket
LONGEST_WAIT = 60.0  # seconds between two tries of what fails
CALL_SECONDS = 30.0  # that one call may take
READ_AT_ONCE = 200  # objects
NEEDED = ("tombstone", "extra")  # kinds without which it is not known what is deleted and what was agreed to


class PublicBucket(PublicDataset):
    """The bucket that should keep conversations can be read by others; `str(error)` says what to do."""


@dataclass(frozen=True, slots=True)
class SafeFigures:
    """`backlog`: conversations and deletions that are kept here alone. `oldest`: seconds for which, at most. `objects`: how
    many there are. `problem`: a sentence with what to do, or None; `kind`: which of the failures that is, or "file"
    where one cannot be read. `failures`: by kind, see `chat.retrying`. `restored`: whether what other disks wrote is here."""

    backlog: int
    oldest: float
    objects: int
    problem: str | None
    kind: str | None
    failures: Mapping[str, int]
    restored: bool


class WriteAhead:
    """Keeps `db` safe in `bucket`. `extras`: other parts whose new lines go there too; `ready` is set once the dataset was
    read: what other disks wrote is merged after that. `catch_up` reads the dataset again: what an object rests on may have
    gone there meanwhile. `report` gets each new problem, once."""

    def __init__(
        self,
        db: Database,
        bucket: Bucket,
        clock: Callable[[], float],
        *,
        extras: Sequence[Extra] = (),
        ready: asyncio.Event | None = None,
        catch_up: Callable[[], Awaitable[None]] | None = None,
        report: Callable[[str], None] = lambda _: None,
        tick: float = TICK,
    ) -> None:
        self.bucket = bucket
        self.taken_over = asyncio.Event()  # what other disks wrote is here, as far as `NEEDED` says
        self._db = db
        self._clock = clock
        self._extras = {extra.prefix: extra for extra in extras}
        self._ready = ready
        self._catch_up = catch_up
        self._report = report
        self._tick = tick
        self._threads = Threads(2, CALL_SECONDS)
        self._lock = asyncio.Lock()
        self._retrying = Retrying(clock, report, LONGEST_WAIT)
        self._look_at = 0.0  # when the bucket is to be looked at again
        self._sweep_at = 0.0
        self._was_ready = False
        # Of this process: a disk that is put back to a snapshot does not know what one before it put after that.
        self._replica = secrets.token_hex(8)
        self._lines: dict[str, set[bytes]] = {}  # prefix -> hashes of the lines that are safe or saved
        self._left: dict[str, str] = {}  # path of an object that cannot be read -> why
        self._left_now: set[str] = set()  # of those, what the last look met
        self._unmerged: frozenset[str] = frozenset()  # objects of other parts that the last look could not merge
        self._rests_on_more = asyncio.Event()  # some of them for the first time
        self._caught_up = False  # with the dataset, since

    # -- what the app calls -----------------------------------------------------------------------------------------

    def refuse_public(self) -> None:
        """Raise `PublicBucket` where the bucket is the operator's own and others may read it, and `RepoError` where the Hub
        does not say. Blocks."""
        if self.bucket.visibility() == "public" and self.bucket.owned():
            raise PublicBucket(
                f"The bucket {self.bucket.id} would keep private conversations, but it is public. Make it private in its "
                "settings, or set WAL_BUCKET to another name."
            )

    def failed(self, error: RepoError) -> None:
        """Note what went wrong: `problem` says it, and it is tried again."""
        self._retrying.failed(error)

    async def run(self) -> None:
        """Look and put when it is time, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_up())
            while True:
                await self._turn()
                await asyncio.sleep(self._tick)

    async def flush(self) -> None:
        """Return once everything that was kept here when this was called is safe. Raises `RepoError`."""
        async with self._lock:
            await self._step()

    async def look(self) -> None:
        """Return once all that is in the bucket now is known here, and what may go is gone. Raises `RepoError`."""
        async with self._lock:
            self._look_at = 0.0
            await self._step()

    @property
    def problem(self) -> str | None:
        return self._retrying.problem or next(iter(self._left.values()), None)

    async def figures(self) -> SafeFigures:
        unsafe, now = await self._db.read(rows.unsafe), self._clock()
        there = await self._db.read(rows.objects)
        return SafeFigures(
            unsafe.backlog,
            max(0.0, now - unsafe.oldest) if unsafe.oldest is not None else 0.0,
            sum(there.values()),
            self.problem,
            self._retrying.kind or ("file" if self._left else None),
            dict(self._retrying.counted),
            self.taken_over.is_set(),
        )

    # -- when -------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        if self._retrying.wait(self._clock()) > 0:
            return
        now = self._clock()
        sweep = now >= self._sweep_at
        try:
            async with self._lock:
                await self._step(sweep)
        except Exception as error:
            self._retrying.failed(error)
        else:
            self._retrying.succeeded()
            self._sweep_at = now + SWEEP_EVERY if sweep else self._sweep_at

    async def _keep_up(self) -> None:
        """Read the dataset where an object may rest on what went there. It may take long, and no message waits for it."""
        while True:
            await self._rests_on_more.wait()
            await self._read_dataset()

    async def _read_dataset(self) -> None:
        self._rests_on_more.clear()
        try:
            if self._catch_up:
                # Without the lock: whoever rewrites the dataset's history holds that of the dataset, and waits for a look.
                with suppress(RepoError):
                    await self._catch_up()
        except Exception as error:
            self._retrying.failed(error)
        self._caught_up = True

    async def _step(self, sweep: bool = True) -> None:
        if self._caught_up:
            self._caught_up, self._look_at = False, 0.0
        became_ready = not self._was_ready and self._ready is not None and self._ready.is_set()
        if became_ready or self._clock() >= self._look_at:
            await self._look()
            self._was_ready = self._ready is not None and self._ready.is_set()
            self._look_at = self._clock() + LOOK_EVERY
        try:
            while await self._put(sweep):
                pass
        except Doubtful:
            # Some of it may be there. What that is, the next look tells.
            self._look_at = 0.0
            raise

    # -- how --------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        visibility = await self._threads.run(self.bucket.visibility)
        if visibility == "public":
            raise Denied(
                f"The bucket {self.bucket.id} is public, so nothing is written there. Make it private in its settings, or set "
                "WAL_BUCKET to a name of your own."
            )
        if visibility is None:
            await self._threads.run(self.bucket.create)
        there = set(await self._threads.run(self.bucket.paths))
        known = await self._db.read(rows.objects)
        unknown = {path: found for path in there - known.keys() if (found := replica_and_kind(path))}
        gone = [path for path in known if path not in there]
        # A call that was given up may have been carried out later: nobody was told that these are there.
        left_over = [path for path, (replica, _) in unknown.items() if replica == self._replica]
        if gone or left_over:
            await self._db.write(lambda db: (rows.gone(db, gone), rows.left_over(db, left_over)))
        if self._ready is not None and self._ready.is_set():
            await self._take_over({path: kind for path, (_, kind) in unknown.items() if path not in left_over})
            await self._take_stock()
            if any(unknown[path][1] in NEEDED for path in self._left_now):
                self.taken_over.clear()
            elif not self._unmerged:
                self.taken_over.set()

    async def _put(self, sweep: bool) -> bool:
        """Send one batch; whether there was anything to send."""
        extras, lines = await self._new_lines()
        group = await self._db.read(lambda db: rows.next_group(db, self._replica, extras, sweep))
        if not group.add and not group.delete:
            if group.marks:
                await self._db.write(lambda db: rows.done(db, group))
            return False
        if group.add:
            await self._db.write(lambda db: rows.intend(db, group))
        await self._threads.run(self.bucket.apply, group.add, group.delete)
        await self._db.write(lambda db: rows.done(db, group))
        self._lines.update(lines)
        return True

    async def _new_lines(self) -> tuple[list[tuple[str, int, SavedLines]], dict[str, set[bytes]]]:
        """Of the other parts that changed: what is new in their files, and the hashes of all that they have then."""
        extras, hashes = [], {}
        for prefix, marks in await self._db.read(rows.unsafe_extras):
            if prefix not in self._extras:
                continue
            known, new = self._lines.get(prefix, set()), {}
            hashes[prefix] = set()
            for path, content in (await self._extras[prefix].files()).items():
                hashed = {_hash(path, line): line for line in content.split(b"\n") if line}
                hashes[prefix] |= hashed.keys()
                fresh = [line for key, line in hashed.items() if key not in known]
                if fresh:
                    new[path] = b"".join(line + b"\n" for line in fresh).decode()
            extras.append((prefix, marks, SavedLines(lines=new)))
        return extras, hashes

    async def _take_stock(self) -> None:
        """What the dataset holds of other parts need not go to the bucket."""
        stale = {prefix for prefix, _ in await self._db.read(stale_extras)}
        for prefix, extra in self._extras.items():
            if prefix not in self._lines and prefix not in stale:
                files = await extra.files()
                self._lines[prefix] = {
                    _hash(path, line) for path, content in files.items() for line in content.split(b"\n") if line
                }

    async def _take_over(self, unknown: Mapping[str, str]) -> None:
        """Merge what other disks wrote, in the order in which it must be known; `unknown`: the kind of each object."""
        paths = sorted(unknown)
        self._left_now = set()
        found: dict[str, list[tuple[str, object]]] = defaultdict(list)
        for start in range(0, len(paths), READ_AT_ONCE):
            contents = await self._threads.run(self.bucket.read, paths[start : start + READ_AT_ONCE])
            for path, content in contents.items():
                with self._leaving(path):
                    found[unknown[path]] += [
                        (path, line) for line in formats.decode(KINDS[unknown[path]], path, content)
                    ]
        now = self._clock()
        await self._db.write(lambda db: rows.take_tombstones(db, found["tombstone"]))
        await self._db.write(lambda db: rows.take_owners(db, found["owner"]))
        await self._take_extras(found["extra"])
        changes: dict[str, list[tuple[str, SavedChange]]] = defaultdict(list)
        for path, change in found["conversation"]:
            changes[change.id].append((path, change))
        for parts in changes.values():
            with self._leaving(parts[0][0]):
                await self._db.write(lambda db, parts=parts: rows.take_changes(db, parts, now))
        self._left = {path: why for path, why in self._left.items() if path in self._left_now}

    async def _take_extras(self, lines: Sequence[tuple[str, SavedLines]]) -> None:
        """Merge lines of other parts. What cannot be is told if the next look cannot either: it may rest on what another disk
        moved to the dataset meanwhile."""
        unmerged: dict[str, str] = {}
        for extra in self._extras.values():
            parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for path, line in lines:
                for name, text in line.lines.items():
                    if name.startswith(extra.prefix):
                        parts[path].append((name, text))
            unmerged |= await self._merge(extra, parts)
        for path in unmerged.keys() & self._unmerged:
            self._leave(path, self._not_back(path, unmerged[path]))
        if unmerged.keys() - self._unmerged:
            self._rests_on_more.set()
        self._unmerged = frozenset(unmerged)

    async def _merge(self, extra: Extra, parts: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
        """Merge the lines of all objects at once, for one may rest on another, whatever they are called; where that cannot
        be, of as many as can. Path of each object that is left -> why."""
        left: dict[str, str] = {}
        while parts:
            left = await self._merge_most(extra, parts)
            if len(left) == len(parts):
                break
            parts = {path: parts[path] for path in left}
        return left

    async def _merge_most(self, extra: Extra, parts: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
        """All at once, else either half of them so: what one that cannot be read keeps back is looked for in few steps."""
        files: dict[str, bytes] = defaultdict(bytes)
        for part in parts.values():
            for name, text in part:
                files[name] += text.removesuffix("\n").encode() + b"\n"
        paths = list(parts)
        try:
            await extra.merge(files)
        except BadFile as error:
            if len(parts) == 1:
                return {paths[0]: str(error)}
        else:
            await self._db.write(lambda db: [rows.found(db, path, "extra", extra.prefix, 0) for path in paths])
            return {}
        left: dict[str, str] = {}
        for half in (paths[: len(paths) // 2], paths[len(paths) // 2 :]):
            left |= await self._merge_most(extra, {path: parts[path] for path in half})
        return left

    @contextmanager
    def _leaving(self, path: str) -> Iterator[None]:
        """What cannot be read is left as it is, told once, and looked at again."""
        try:
            yield
        except BadFile as error:
            needed = replica_and_kind(path)[1] in NEEDED
            self._leave(path, self._not_back(path, str(error)) if needed else str(error))
        except ValueError:
            why = f"{path} in {self.bucket.id} fits nothing that is kept here. It is left as it is, and tried again."
            self._leave(path, why)

    def _not_back(self, path: str, why: str) -> str:
        return f"{path} in {self.bucket.id} cannot be taken over, and until it is, not everything is back. {why}"

    def _leave(self, path: str, why: str) -> None:
        if path not in self._left:
            self._report(why)
        self._left[path] = why
        self._left_now.add(path)


def _hash(path: str, line: bytes) -> bytes:
    return hashlib.blake2b(path.encode() + b"\0" + line, digest_size=12).digest()
