"""How much one user may ask for: commits an hour, and requests of each class in five minutes."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from .wire import HubError

Class = Literal["api", "resolvers", "pages"]
_HOUR = 3600
_WINDOW = 300  # seconds


class Limits:
    """The limits that are on; None, or a class that is not among `requests`, for none.

    commits_per_hour: a sliding hour. Its 429 does not say when to come back: it is told apart only by its sentence.
    requests: of the classes "api", "resolvers" and "pages", per user (strangers are one) in fixed windows of five
        minutes. Every answer then has `RateLimit` and `RateLimit-Policy`, the 429 of a used-up window too.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.commits_per_hour: int | None = None
        self.requests: dict[Class, int] = {}
        self._clock = clock
        self._lock = threading.Lock()
        self._commits: dict[str, deque[float]] = {}
        self._windows: dict[tuple[str, Class], tuple[float, int]] = {}

    def clear(self) -> None:
        with self._lock:
            self.commits_per_hour = None
            self.requests.clear()
            self._commits.clear()
            self._windows.clear()

    def count_commit(self, user: str) -> None:
        """Counts one, or raises 429."""
        if self.commits_per_hour is None:
            return
        with self._lock:
            times, now = self._commits.setdefault(user, deque()), self._clock()
            while times and times[0] <= now - _HOUR:
                times.popleft()
            if len(times) >= self.commits_per_hour:
                raise HubError(
                    429,
                    (
                        f"You have exceeded the rate limit for repository commits ({self.commits_per_hour} per hour). "
                        "You can retry this action in about 1 hour."
                    ),
                )
            times.append(now)

    def count_request(self, user: str, path: str) -> dict[str, str]:
        """Counts one and returns the headers of its answer, or raises 429 with them."""
        kind: Class = "api" if path.startswith("/api/") else "resolvers" if "/resolve/" in path else "pages"
        most = self.requests.get(kind)
        if most is None:
            return {}
        with self._lock:
            now = self._clock()
            since, used = self._windows.get((user, kind), (now, 0))
            if now >= since + _WINDOW:
                since, used = now, 0
            self._windows[user, kind] = since, used + 1
        headers = {
            "RateLimit": f'"{kind}";r={max(0, most - used - 1)};t={math.ceil(since + _WINDOW - now)}',
            "RateLimit-Policy": f'"fixed window";"{kind}";q={most};w={_WINDOW}',
        }
        if used >= most:
            raise HubError(429, f"You have used up your {most} requests; come back later.", headers=headers)
        return headers
