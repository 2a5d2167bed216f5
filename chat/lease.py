"""The lease: of several replicas on one private dataset, which one writes to sharing datasets and rewrites histories.

A file of the private dataset names the holder. It is taken, renewed and released by commits with a parent, so of two
replicas that try at once one succeeds, and whoever takes it has read everything that was committed before.

No two clocks are compared. The holder counts from before it sent its commit, and stops `MARGIN` early; another takes it
only after it has seen the same file, by its own clock, for as long as the file says, so whatever either shows, and however
late an answer comes, there are never two. The time in the file is for people, and for a file so old that no clock can
be wrong by that much.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chat.dataset_repo import blob_id
from chat.formats import BadFile, refuse_newer

PATH = "lease.json"
SECONDS = 300.0
LONGEST = 600.0  # that a file may say; earlier versions said it
MARGIN = 120.0  # what the holder began before is over by then: a request to the Hub waits a minute at most
RENEW_AFTER = 120.0  # with a commit of its own, where there is still something to do
RIDE_AFTER = 60.0  # with a commit that is made anyway
CLOCKS_DIFFER = 3600.0  # at most
FORMAT = 1


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = FORMAT
    replica: str | None = Field(max_length=64)  # None: released
    taken: str = Field(max_length=64)  # drawn anew at every writing, so that each is another file
    wait: float = Field(ge=0, le=LONGEST)  # seconds for which others must have seen it before they take it
    until: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A file to commit, and from when on it holds."""

    content: bytes
    began: float
    releases: bool


def since_boot() -> float:
    """Seconds that go on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """One replica's side. `elapsed`: seconds since any moment, which never go back. `taken` is called when it begins to hold.

    `look` at the file after every reading of the head, `claim` before a commit and `applied` after it.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = since_boot,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self.replica = secrets.token_hex(8)  # of this process
        # The id of the file that an earlier process on this disk wrote last: it has ended, so that need not run out.
        self.before: str | None = None
        self.taken = taken
        self._clock, self._elapsed = clock, elapsed
        self._seen: str | None = None  # the file's id
        self._seen_at = elapsed()
        self._file: _File | None = None  # None: there is none, or it cannot be read
        self._locked = False  # by a file that a newer version wrote
        self._tried: Claim | None = None
        self._began: float | None = None
        self._closed = False

    def held(self) -> bool:
        """Whether this replica may now begin what one alone may do, and that takes no longer than `MARGIN`."""
        return self._began is not None and self._elapsed() < self._began + SECONDS - MARGIN

    def close(self) -> None:
        """From here on it is not taken, and the next commit, or one of its own, releases it."""
        self._closed = True

    def unread(self, id: str | None) -> bool:
        """Whether the file with this id, of the head, is another than was looked at last."""
        return id != self._seen

    def look(self, id: str | None, content: bytes | None) -> None:
        """Take note of the file in the head. Raises `BadFile` for one of a newer version, which is left as it is."""
        self._seen, self._seen_at = id, self._elapsed()
        self._file, self._locked = None, False
        tried, self._tried = self._tried, None
        if tried and content == tried.content:
            self._hold(tried)  # the answer to that commit was lost
        else:
            self._began = None
        if content is None:
            return
        try:
            values = json.loads(content)
            refuse_newer(PATH, values, FORMAT)
            self._file = _File.model_validate(values)
        except BadFile:
            self._locked = True
            raise
        except (ValueError, ValidationError, RecursionError):
            return  # nobody holds what nobody can read; it is replaced once its time is over

    def would(self, wanted: bool) -> bool:
        """Whether it is worth a commit of its own now: to take it, to renew it, or to release it at the end."""
        return self._due(wanted, riding=False) is not None

    def claim(self, wanted: bool, riding: bool) -> Claim | None:
        """The file to commit now, or None. `wanted`: there is something to do that needs it; `riding`: other files are
        committed anyway."""
        due = self._due(wanted, riding)
        if due == "hold":
            return self._tries(self.replica, SECONDS)
        # At the end of the app something may still be on its way, in a thread that nobody can stop.
        return self._tries(None, MARGIN if wanted else 0.0) if due else None

    def _due(self, wanted: bool, riding: bool) -> Literal["hold", "release"] | None:
        mine = self._began is not None
        if self._closed or not wanted:
            return "release" if mine and (riding or self._closed) else None
        return "hold" if (self._renewable(riding) if mine else self._free()) else None

    def applied(self, claim: Claim) -> None:
        """The commit with this claim was made."""
        self._tried = None
        self._seen, self._seen_at = blob_id(claim.content), self._elapsed()
        self._file = _File.model_validate_json(claim.content)
        self._hold(claim)

    def _renewable(self, riding: bool) -> bool:
        return self._elapsed() >= (self._began or 0.0) + (RIDE_AFTER if riding else RENEW_AFTER)

    def _free(self) -> bool:
        if self._locked:
            return False
        if self._seen is None or self._seen == self.before:
            return True
        if self._file and self._clock() > self._file.until + CLOCKS_DIFFER:
            return True
        return self._elapsed() >= self._seen_at + (self._file.wait if self._file else LONGEST)

    def _tries(self, replica: str | None, wait: float) -> Claim:
        file = _File(replica=replica, taken=secrets.token_hex(8), wait=wait, until=round(self._clock() + wait))
        if replica is None:
            self._began = None  # before it is sent: once it is there another may begin
        self._tried = Claim(file.model_dump_json().encode() + b"\n", self._elapsed(), replica is None)
        return self._tried

    def _hold(self, claim: Claim) -> None:
        was, self._began = self._began, None if claim.releases else claim.began
        if was is None and self._began is not None:
            self.taken()
