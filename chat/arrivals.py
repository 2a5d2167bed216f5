"""Who waits for their conversations while everything is brought back, and which file is therefore read next."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator


class Arrivals:
    """The files of owners, while they are read. `owner_of(path)`: whose it is.

    `begin`, then `expect` the paths and read them in the order of `in_order`, telling of each that it `came`, then `end`.
    """

    def __init__(self, owner_of: Callable[[str], str]) -> None:
        self._owner_of = owner_of
        self._open = False
        self._known = asyncio.Event()  # which files there are to read
        self._missing: dict[str, set[str]] = {}  # owner -> paths
        self._first: deque[str] = deque()
        self._waiting: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def begin(self) -> None:
        self._open = True
        self._known.clear()

    def expect(self, paths: Iterable[str]) -> None:
        self._missing.clear()
        for path in paths:
            self._missing.setdefault(self._owner_of(path), set()).add(path)
        self._known.set()

    def in_order(self, paths: Iterable[str]) -> Iterator[str]:
        """Each path once; those that somebody waits for go first."""
        begun: set[str] = set()
        rest = iter(paths)
        while True:
            path = self._first.popleft() if self._first else next(rest, None)
            if path is None:
                return
            if path not in begun:
                begun.add(path)
                yield path

    def came(self, path: str) -> None:
        """It was read, or cannot be."""
        owner = self._owner_of(path)
        missing = self._missing.get(owner, set())
        missing.discard(path)
        if not missing:
            self._missing.pop(owner, None)
            if owner in self._waiting:
                self._waiting.pop(owner).set()

    def end(self) -> None:
        """All that could be read now is: nobody waits any longer."""
        self._open = False
        self._missing.clear()
        self._first.clear()
        self._known.set()
        while self._waiting:
            self._waiting.popitem()[1].set()

    async def of(self, owner: str, seconds: float) -> bool:
        """Return once all of `owner` is here, as soon as can be, or after so many seconds: False. At once where nothing is
        being brought back."""
        if not self._open:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._known.wait()
                if missing := self._missing.get(owner):
                    self._first.extend(sorted(missing))
                    await self._waiting[owner].wait()
        except TimeoutError:
            return False
        return True
