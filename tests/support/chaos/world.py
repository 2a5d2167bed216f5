"""The Hub that fails, and the replicas: machines whose calls to the Hub are where others act in between, and crashes are."""

from __future__ import annotations

import asyncio
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chat.backup_rows import state
from chat.bucket import Bucket
from chat.dataset_repo import DatasetRepo, RepoError
from chat.hub import HubRepo
from chat.hub_bucket import HubBucket
from chat.hub_names import HubNames
from chat.keeping import Keeping
from chat.lease import Lease
from chat.purged import LEAVING
from chat.repo_guards import Counted
from chat.rotate import rotate
from chat.slots import Slots
from chat.write_ahead import WriteAhead
from tests.support.backing import Machine
from tests.support.hub import Fault, LoopbackHub

REPO = "ada/chats"
BUCKET = "ada/wal"
BEFORE, AFTER = {"when": "before"}, {"when": "after"}
_LOST = [{"status": 500, **AFTER}, {"drop": True, **AFTER}, {"status": 500, **BEFORE}, {"drop": True, **BEFORE}]
_REPORT = {"success": False, "failed": [{"path": "one", "error": "Busy"}]}  # of a batch: what failed, not what did not
# (kind, method, path, share that fails, how). The client itself asks again, after a second or more, for lists and batches
# whose answer is lost; so what fails there is mostly refused.
RATES: list[tuple[str, str, str, float, list[dict[str, Any]]]] = [
    ("commit", "POST", r"/api/datasets/.*/commit/", 0.35,
     [*_LOST, {"status": 412, **BEFORE}, {"status": 429, **BEFORE}]),
    ("squash", "POST", r"/super-squash/", 0.30, _LOST),
    ("move", "POST", r"/api/repos/move$", 0.30, _LOST),
    ("batch", "POST", r"/api/buckets/.*/batch$", 0.20,
     [{"status": 403, **BEFORE}, {"status": 422, "body": _REPORT, **AFTER},
      {"status": 422, "body": _REPORT, **BEFORE}, {"drop": True, **AFTER}]),
    ("read", "GET", r"^/datasets/.*/resolve/|^/api/datasets/ada/[^/]*$", 0.04, [{"status": 502}, {"drop": True}]),
    ("read", "GET", r"^/api/datasets/.*/tree/|^/api/buckets/.*/tree|^/buckets/.*/resolve/", 0.04, [{"status": 400}]),
    ("read", "POST", r"^/api/buckets/.*/paths-info$", 0.04, [{"status": 400}]),
]  # fmt: skip


class Stop(BaseException):
    """The process ended here."""


class Clock:
    """Unix seconds, moved by hand; each look takes a millisecond. `skew`: of one machine's clock against the others'."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            self.now += 0.001
            return self.now

    def skewed(self, seconds: float) -> Callable[[], float]:
        return lambda: self() + seconds


class FailingHub:
    """The loopback Hub with the faults of `RATES`; `hub.limits` has the quota."""

    def __init__(self, folder: Path, seed: int, clock: Clock) -> None:
        self.hub = LoopbackHub(folder, clock=clock, seed=seed)
        self.faults: dict[str, list[Fault]] = {}

    def fail(self) -> None:
        for kind, method, path, share, options in RATES:
            # The first that strikes wins, so each is drawn among what those before it let pass.
            each = share / len(options)
            self.faults.setdefault(kind, []).extend(
                self.hub.faults.add(path, method=method, times=None, rate=each / (1 - each * number), **option)
                for number, option in enumerate(options)
            )

    def heal(self) -> None:
        self.hub.faults.clear()
        self.hub.limits.clear()

    def struck(self) -> dict[str, tuple[int, int]]:
        """Kind of request -> how many failed, and of how many."""
        asked: Counter[str] = Counter()
        for kind, method, path, *_ in RATES:
            probe = Fault(path, method)
            asked[kind] += sum(probe.matches(entry.method, entry.path) for entry in self.hub.requests)
        return {kind: (sum(fault.hits for fault in faults), asked[kind]) for kind, faults in self.faults.items()}

    def objects(self) -> bytes:
        """Every byte of every object of the dataset's repositories, reachable or not, and of their large files."""
        parts = []
        for repository in sorted((self.hub.root / "datasets").glob("*/*.git")):
            command = ["git", "-C", str(repository), "cat-file", "--batch", "--batch-all-objects", "--buffer"]
            parts.append(subprocess.run(command, check=True, capture_output=True).stdout)
            parts.append(bytes_below(repository / "lfs"))
        return b"".join(parts)

    def bucket(self) -> bytes:
        return bytes_below(self.hub.root / "buckets")


def bytes_below(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


class Meddled:
    """A repository or bucket whose calls are moments: `moment(name, when)` is called before and after each that is not a reading."""

    _QUIET = ("read", "files", "paths", "owned")

    def __init__(self, repo: DatasetRepo | Bucket, moment: Callable[[str], None]) -> None:
        self._repo = repo
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._repo, name)
        if not callable(found) or name in self._QUIET:
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._moment(f"before {name}")
            result = found(*arguments, **options)
            self._moment(f"after {name}")
            return result

        return call


class Replica:
    """A machine that crashes and comes back. `life` names its disk."""

    def __init__(
        self, name: str, hub: LoopbackHub, clock: Callable[[], float], folder: Path, with_bucket: bool
    ) -> None:
        self.name = name
        self.endpoint = hub.endpoint
        self.token = hub.add_user("ada")
        self.meddle: Callable[[str], None] = lambda moment: None
        self.with_bucket = with_bucket
        self._clock = clock
        self._folder = folder
        self._lives = 0
        self.new_disk()

    @property
    def life(self) -> str:
        return f"{self.name}{self._lives}"

    @property
    def disk(self) -> Path:
        return self._folder / self.life

    def new_disk(self) -> None:
        self._lives += 1
        self.open()

    def open(self) -> None:
        """Start on the disk as it is."""
        self.app = App(
            self.disk, self.endpoint, self.token, self.with_bucket, self._clock, lambda moment: self.meddle(moment)
        )
        self.ended = False

    def end(self) -> None:
        self.app.machine.close()
        self.ended = True


class App:
    """What `app.build` makes of the store, the backup and, where there is one, the bucket."""

    def __init__(
        self,
        disk: Path,
        endpoint: str,
        token: str,
        with_bucket: bool,
        clock: Callable[[], float],
        moment: Callable[[str], None] = lambda moment: None,
    ) -> None:
        self.slots = Slots(clock)
        repo = Counted(Meddled(HubRepo(endpoint, token, REPO), moment), self.slots)
        options = {"slots": self.slots, "lease": Lease(clock, elapsed=clock)}
        self.machine = Machine(disk, repo, clock=clock, options=options)
        self.store, self.backup, self.db = self.machine.store, self.machine.backup, self.machine.db
        self.ahead: WriteAhead | None = None
        if with_bucket:
            bucket = Meddled(HubBucket(endpoint, token, BUCKET, disk / "reading"), moment)
            ready, report = self.backup.read, self.machine.reports.append
            self.ahead = WriteAhead(self.db, bucket, clock, ready=ready, report=report)
        self.keeping = Keeping(self.backup, self.ahead, outlives=True)

    async def start(self) -> None:
        """What is done first at every start."""
        self.slots.restore(await self.db.read(lambda db: state(db, "slots")))
        await self.store.interrupt_running("The app was restarted.")

    async def work(self) -> None:
        """What the app does by itself, once."""
        if self.ahead:
            await self.ahead._turn()
        await self.backup._turn()

    async def backlog(self) -> int:
        ahead = (await self.ahead.figures()).backlog if self.ahead else 0
        return ahead + (await self.backup.figures()).backlog

    async def objects(self) -> int:
        return (await self.ahead.figures()).objects if self.ahead else 0

    async def contents(self) -> list[str]:
        """Of all messages."""
        return await self.db.read(lambda db: [row[0] for row in db.execute("SELECT content FROM messages")])

    async def levels(self) -> tuple[dict[str, str], dict[str, tuple[str, bool]]]:
        """What the page says of every conversation and every deletion."""
        ids = await self.db.read(lambda db: [row[0] for row in db.execute("SELECT id FROM conversations")])
        conversations = {id: await self.backup.state(id) for id in ids}

        def read(db: Any) -> dict[str, tuple[str, bool]]:
            rows = db.execute(f"SELECT conversation, saved, safe, NOT {LEAVING} FROM tombstones")
            return {row[0]: ("saved" if row[1] else "safe" if row[2] else "kept here", bool(row[3])) for row in rows}

        return conversations, await self.db.read(read)


class Operator:
    """Runs `python -m chat.rotate`, which is broken off here and there, once a minute until it is done."""

    TRIES = 300

    def __init__(self, hub: LoopbackHub, clock: Clock, rng: random.Random) -> None:
        self._hub = hub
        self._clock = clock
        self._rng = rng
        self._token = hub.add_token("ada")

    def rotate(self) -> int:
        """Returns how often it took."""
        told = []
        for tries in range(1, self.TRIES):
            self._clock.now += 60.0
            try:
                names = Meddled(HubNames(self._hub.endpoint, self._token), self._moment)
                rotate(REPO, names, self._open, told.append, self._clock())
            except (RepoError, Stop) as error:
                told.append(str(error))
            else:
                return tries
        raise AssertionError("\n".join(["The dataset could not be made anew.", *told]))

    def _open(self, id: str) -> Meddled:
        return Meddled(HubRepo(self._hub.endpoint, self._token, id), self._moment)

    def _moment(self, moment: str) -> None:
        if self._rng.random() < 0.01:
            raise Stop(moment)


@contextmanager
def meddling(
    replica: Replica, rng: random.Random, acts: dict[str, float], do: Callable[[str], Coroutine[Any, Any, None]]
):
    """While this is open, at each moment of `replica` one of `acts` (name -> share of moments) may happen, drawn from
    `rng`: "crash" ends it there, anything else runs `do(name)` to its end. One at most."""
    loop, left = asyncio.get_running_loop(), [1]

    def meddle(moment: str) -> None:
        if not left:
            return
        drawn = rng.random()
        for name, share in acts.items():
            drawn -= share
            if drawn < 0:
                left.clear()
                if name == "crash":
                    raise Stop(moment)
                asyncio.run_coroutine_threadsafe(do(name), loop).result()
                return

    replica.meddle = meddle
    try:
        yield
    finally:
        replica.meddle = lambda moment: None
