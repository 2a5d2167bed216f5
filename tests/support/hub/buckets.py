"""The storage buckets: folders of files without history, each with a note of their paths.

ROOT/buckets/NAMESPACE/NAME/bucket.json     visibility, creation, and of each path the hash, size and times
ROOT/buckets/NAMESPACE/NAME/content/HASH    the bytes of each file, plain, as long as a path names it

What was uploaded and is in no file (yet) is in memory only, so a folder holds exactly what its bucket holds.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .repos import not_found
from .wire import HubError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass
class State:
    """What the Hub keeps of a bucket: `files` maps paths to xetHash, size, mtime, uploadedAt (and contentType)."""

    created_at: float
    private: bool = False
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


class Bucket:
    def __init__(self, bucket_id: str, path: Path, lock: threading.RLock) -> None:
        self.id = bucket_id
        self.path = path
        self._lock = lock

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]

    def content(self, xet_hash: str) -> Path:
        if re.fullmatch("[0-9a-f]{64}", xet_hash) is None:
            raise HubError(422, "Invalid xet hash.")
        return self.path / "content" / xet_hash

    def state(self) -> State:
        with self._lock:
            if not self.path.is_dir():
                raise not_found("Bucket not found")
            return State(**json.loads((self.path / "bucket.json").read_text()))

    @contextmanager
    def changed(self) -> Iterator[State]:
        """The state to change; written when the block ends well, and what no path names any more is removed then."""
        with self._lock:
            state = self.state()
            yield state
            self.save(state)
            named = {file["xetHash"] for file in state.files.values()}
            for content in (self.path / "content").iterdir():
                if content.name not in named:
                    content.unlink()

    def save(self, state: State) -> None:
        partial = self.path / "bucket.json.partial"
        partial.write_text(json.dumps(asdict(state), indent=1))
        partial.replace(self.path / "bucket.json")


class Buckets:
    """All buckets under a folder."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root / "buckets"
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Path, threading.RLock] = {}

    def path(self, bucket_id: str) -> Path:
        if _ID.fullmatch(bucket_id) is None or ".." in bucket_id:
            raise not_found("Bucket not found")
        return self._root / bucket_id

    def at(self, bucket_id: str) -> Bucket:
        """The bucket of that name, whether or not it exists."""
        path = self.path(bucket_id)
        with self._lock:
            return Bucket(bucket_id, path, self._locks.setdefault(path, threading.RLock()))

    def find(self, bucket_id: str) -> Bucket | None:
        bucket = self.at(bucket_id)
        return bucket if bucket.path.is_dir() else None

    def all(self, namespace: str = "*") -> list[Bucket]:
        found = sorted(path.parent for path in self._root.glob(f"{namespace}/*/bucket.json"))
        return [self.at(f"{path.parent.name}/{path.name}") for path in found]

    def create(self, bucket_id: str, private: bool) -> Bucket:
        bucket = self.at(bucket_id)
        with self._lock:
            if bucket.path.exists():
                raise HubError(409, "You already created this bucket")
            (bucket.path / "content").mkdir(parents=True)
            bucket.save(State(self._clock(), private))
        return bucket

    def delete(self, bucket: Bucket) -> None:
        with self._lock:
            shutil.rmtree(bucket.path)

    def move(self, bucket: Bucket, new_id: str) -> Bucket:
        target = self.at(new_id)
        with self._lock:
            if target.path.exists():
                raise HubError(409, f"The bucket {new_id} already exists.")
            target.path.parent.mkdir(parents=True, exist_ok=True)
            bucket.path.rename(target.path)
        return target
