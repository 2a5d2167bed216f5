"""A place for objects that come and go: a storage bucket of the Hub (`chat.hub_bucket.HubBucket`). It keeps no history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chat.dataset_repo import Denied, Visibility
from chat.repo_guards import SPACE_FILE, not_yours, space_file, space_of


class Bucket(Protocol):
    """Objects by path. Every method blocks and may raise any `RepoError` but `Conflict`."""

    id: str

    def visibility(self) -> Visibility | None:
        """Who may read it; None where there is no such bucket."""

    def owned(self) -> bool:
        """Whether its name is under the namespace of this token's user or of one of their organisations."""

    def create(self) -> None:
        """Make it, for its owner alone. One that exists stays as it is."""

    def paths(self) -> list[str]:
        """Everything that is in it."""

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """What these objects hold; those that are not there are left out."""

    def apply(self, add: Mapping[str, bytes], delete: Sequence[str]) -> None:
        """Write, then delete. What is not there to delete is no error. After `Doubtful` some of it may be done."""


class BucketOfOneSpace:
    """A bucket that belongs to the Space which first wrote there, as `chat.repo_guards.OfOneSpace` has it of a dataset."""

    def __init__(self, bucket: Bucket, space: str) -> None:
        self.id = bucket.id
        self._bucket, self._space = bucket, space
        self._checked = False

    def visibility(self) -> Visibility | None:
        visibility = self._bucket.visibility()
        if visibility is None:
            self._checked = False
        return visibility

    def owned(self) -> bool:
        return self._bucket.owned()

    def create(self) -> None:
        self._bucket.create()

    def paths(self) -> list[str]:
        self._check()
        return [path for path in self._bucket.paths() if path != SPACE_FILE]

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        self._check()
        return self._bucket.read(paths)

    def apply(self, add: Mapping[str, bytes], delete: Sequence[str]) -> None:
        self._check()
        self._bucket.apply(add, delete)

    def _check(self) -> None:
        if self._checked:
            return
        found = self._bucket.read([SPACE_FILE])
        if not found:
            # A bucket has no parents to build on: of two that mark it at once the last one has it, and both look again.
            self._bucket.apply({SPACE_FILE: space_file(self._space)}, [])
            found = self._bucket.read([SPACE_FILE])
        owner = space_of(found.get(SPACE_FILE, b""))
        if owner != self._space:
            raise Denied(not_yours(self.id, owner, self._space))
        self._checked = True
