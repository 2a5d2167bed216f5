"""Who waits for their conversations while everything is brought back, and which file is therefore read next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

WORKERS = 8  # files that are read at once, and as many more that somebody waits for


class Arrivals:
    """The files of owners, while they are read. `owner_of(path)`: whose it is. `head_start`: seconds that the page has
    before what nobody waits for is read.

    `begin`, then `take` the paths, then `end`.
    """

    def __init__(self, owner_of: Callable[[str], str], head_start: float = 0.0) -> None:
        self._owner_of = owner_of
        self._head_start = head_start
        self._open = False
        self._known = asyncio.Event()  # which files there are to read
        self._missing: dict[str, set[str]] = {}  # owner -> paths
        self._asked: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def begin(self) -> None:
        self._open = True
        self._known.clear()

    async def take(self, paths: Iterable[str], take: Callable[[str, bool], Awaitable[None]]) -> None:
        """`take(path, gently)` each path once: those that somebody waits for at once, the others, while somebody may wait,
        gently and after a moment, so that who uses the page does not feel it."""
        paths = list(paths)
        self._missing.clear()
        for path in paths:
            self._missing.setdefault(self._owner_of(path), set()).add(path)
        self._known.set()
        begun: set[str] = set()
        rest = iter(paths)
        gently = self._open

        async def one(path: str, gently: bool) -> None:
            if path not in begun:
                begun.add(path)
                await take(path, gently)
                self._came(path)

        async def background() -> None:
            await asyncio.sleep(self._head_start if gently and paths else 0.0)
            for path in rest:
                await one(path, gently)

        async def asked() -> None:
            while (path := await self._asked.get()) is not None:
                await one(path, False)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(asked())
                await asyncio.gather(*(background() for _ in range(WORKERS)))
                for _ in range(WORKERS):
                    self._asked.put_nowait(None)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def end(self) -> None:
        """All that could be read now is: nobody waits any longer."""
        self._open = False
        self._missing.clear()
        self._asked = asyncio.Queue()
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
                    for path in sorted(missing):
                        self._asked.put_nowait(path)
                    await self._waiting[owner].wait()
        except TimeoutError:
            return False
        return True

    def _came(self, path: str) -> None:
        """It was read, or cannot be."""
        owner = self._owner_of(path)
        missing = self._missing.get(owner, set())
        missing.discard(path)
        if not missing:
            self._missing.pop(owner, None)
            if owner in self._waiting:
                self._waiting.pop(owner).set()
