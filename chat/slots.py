"""How many commits are left. The Hub allows an account about 128 in any hour, and no header says so beforehand."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from chat.dataset_repo import TooMany

QUOTA = 128  # commits in any hour, of one account
AT_ONCE = 40  # of them that may follow each other without a pause; the others come evenly over the hour
KEPT = 20  # of those, kept for what somebody takes back
UNTOLD = 60.0  # seconds to pause after a refusal that names no time
USED_UP = (
    "The Hub's quota of commits for this hour is used up; saving and sharing go on by themselves within the hour. If it "
    "happens often, raise SYNC_SECONDS or give the app an account of its own."
)


class NoSlot(TooMany):
    """The quota leaves no room for this commit now. Nothing was sent."""

    def __init__(self, wait: float) -> None:
        super().__init__(USED_UP, wait)


class Slots:
    """A bucket that holds `AT_ONCE` commits and is filled again at the rate which keeps every hour below `quota`.

    Ordinary commits leave `KEPT` in it; urgent ones (a deletion, a no) take the last. One object for all that commit with
    one token. `clock`: unix seconds. Safe to call from several threads.
    """

    def __init__(self, clock: Callable[[], float], quota: float = QUOTA) -> None:
        self.quota = quota
        self._clock = clock
        self._full = min(AT_ONCE, quota / 2)
        self._kept = min(KEPT, self._full / 2)
        self._per_second = (quota - self._full) / 3600
        self._lock = threading.Lock()
        self._level = self._full
        self._at = clock()
        self._refused_until = 0.0

    @classmethod
    def unlimited(cls, clock: Callable[[], float]) -> Slots:
        """For a folder, which is nobody's quota."""
        return cls(clock, math.inf)

    def wait(self, urgent: bool = False) -> float:
        """Seconds until a commit may be made; 0: now."""
        with self._lock:
            now = self._fill()
            if self.quota == math.inf:
                return 0.0
            lacking = 1 + (0 if urgent else self._kept) - self._level
            return max(0.0, self._refused_until - now, lacking / self._per_second)

    def check(self, urgent: bool = False) -> None:
        """Raise `NoSlot` where a commit would have to wait."""
        if wait := self.wait(urgent):
            raise NoSlot(wait)

    def spend(self) -> None:
        """A commit was sent, whatever came of it."""
        with self._lock:
            self._fill()
            self._level -= 1

    def refused(self, after: float | None) -> None:
        """The Hub counts more than this app did: others commit with the same account, or the disk that counted was lost.
        `after`: seconds that it asked for."""
        with self._lock:
            now = self._fill()
            self._level = min(self._level, 1.0)
            self._refused_until = now + min(3600.0, UNTOLD if after is None else after)

    @property
    def left(self) -> int | None:
        """Commits that could be made now, the kept ones included; None: without limit."""
        with self._lock:
            now = self._fill()
            if self.quota == math.inf:
                return None
            return 0 if now < self._refused_until else max(0, math.floor(self._level))

    def saved(self) -> str:
        """To be given to `restore` after a restart: the Hub counts on."""
        with self._lock:
            self._fill()
            return f"{self._level!r} {self._at!r}"

    def restore(self, saved: str | None) -> None:
        if saved is None or self.quota == math.inf:
            return
        level, at = map(float, saved.split())
        with self._lock:
            self._level, self._at = min(self._level, level), min(self._clock(), at)

    def _fill(self) -> float:
        now = self._clock()
        if self.quota != math.inf:
            # A clock that was set back fills nothing.
            self._level = min(self._full, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = now
        return now
