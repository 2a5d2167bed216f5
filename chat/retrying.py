"""When what failed is tried again, and how often what failed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from chat.dataset_repo import Conflict, Denied, Doubtful, RepoError, TooMany, Unreachable

LONGEST_WAIT = 300.0  # seconds between two tries of what fails
LONGEST_URGENT_WAIT = 60.0  # of what somebody takes back
KINDS = ((TooMany, "quota"), (Unreachable, "unreachable"), (Conflict, "conflict"), (Doubtful, "doubtful"))


class Retrying:
    """After each failure in a row the wait is doubled, from a second up to `longest`; of that a random part of a half at
    most is left out, so that many do not come back at once. `report` gets each new problem, once.

    `counted`: failures by kind since the start: conflict (somebody else wrote), doubtful (no clear answer), unreachable,
    quota, denied (somebody has to do something), own (an error of this app).
    """

    def __init__(
        self, clock: Callable[[], float], report: Callable[[str], None], longest: float = LONGEST_WAIT
    ) -> None:
        self.problem: str | None = None
        self.kind: str | None = None  # of that
        self.counted: Counter[str] = Counter()
        self._clock = clock
        self._report = report
        self._longest = longest
        self._in_a_row = 0
        self._failed_at = 0.0
        self._share = 1.0

    def count(self, error: RepoError) -> None:
        self.counted[_kind(error)] += 1

    def failed(self, error: Exception) -> None:
        """Note it, with a sentence that quotes nothing but errors of a repository: others may hold anybody's text."""
        if isinstance(error, RepoError):
            sentence = str(error)
            kind = _kind(error)
        else:
            sentence = f"The backup met an error of its own ({type(error).__name__}) and will try again."
            kind = "own"
        self.counted[kind] += 1
        if sentence != self.problem:
            self._report(sentence)
        self.problem, self.kind = sentence, kind
        self._failed_at = self._clock()
        self._in_a_row += 1
        self._share = random.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        self.problem, self.kind, self._in_a_row = None, None, 0

    def wait(self, now: float, urgent: bool = False) -> float:
        """Seconds until the next try; 0: now."""
        if not self._in_a_row:
            return 0.0
        longest = min(self._longest, LONGEST_URGENT_WAIT) if urgent else self._longest
        wait = min(longest, 2.0 ** min(self._in_a_row - 1, 20)) * self._share
        # A clock that was set back since makes nobody wait for it.
        return max(0.0, self._failed_at + wait - now) if now >= self._failed_at else 0.0


def _kind(error: RepoError) -> str:
    return next(
        (name for kind, name in KINDS if isinstance(error, kind)), "denied" if isinstance(error, Denied) else "own"
    )
