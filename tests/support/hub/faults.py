"""Faults on any request, and the log of requests: what a test turns on to see what its client makes of it."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .wire import HubError

_COMMIT = re.compile("(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


@dataclass
class Fault:
    """What happens to requests whose method and path match.

    method: upper case, or None for any. path: a regular expression searched for in the undecoded path, without query.
    when: "before" it took effect, or "after" (it was applied, the client is told otherwise).
    status: this answer instead of the right one, with `headers` (and `body`, where it is not an error's). drop: the connection is reset, no answer at all.
    delay: seconds to wait, before applying it or before answering. revoke: the request's token is revoked (before).
    do: a function called at that moment, in a thread (another writer's commit, for instance).
    skip: let so many matching requests pass first. times: how often, None for always.
    rate: the share of matching requests that are hit: for each method and path (commits' ids apart) a sequence of its
        own is drawn from the seed of `Faults`, so that what comes between two requests does not change what they meet.
    """

    path: str = ""
    method: str | None = None
    when: Literal["before", "after"] = "before"
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    drop: bool = False
    delay: float = 0.0
    revoke: bool = False
    do: Callable[[], Any] | None = None
    skip: int = 0
    times: int | None = 1
    rate: float = 1.0
    hits: int = 0
    number: int = 0  # of those that were ever added

    def matches(self, method: str, path: str) -> bool:
        return (self.method in {None, method}) and re.search(self.path, path) is not None


@dataclass(frozen=True)
class Logged:
    """One answered request: no query, no headers, no body. `status` is None where the connection was dropped; `at`: when it
    was answered, by `time.perf_counter`."""

    method: str
    path: str
    status: int | None
    at: float = field(default_factory=time.perf_counter, compare=False)


class Faults:
    """The faults that are on. The first that matches a request hits it; `clear()` turns all off."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._added = 0
        self._draws: dict[tuple[int, str], random.Random] = {}

    def add(self, path: str = "", **options: Any) -> Fault:
        """Turns a `Fault` on and returns it; its `hits` tell how often it struck."""
        with self._lock:
            fault = Fault(path, **options, number=self._added)
            self._faults.append(fault)
            self._added += 1
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults = [other for other in self._faults if other is not fault]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if not fault.matches(method, path) or fault.times == 0:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.rate < 1.0 and self._draw(fault, method, path) >= fault.rate:
                    continue
                fault.hits += 1
                fault.times = None if fault.times is None else fault.times - 1
                return fault
        return None

    def _draw(self, fault: Fault, method: str, path: str) -> float:
        key = fault.number, f"{method} {_COMMIT.sub('', path)}"
        if key not in self._draws:
            self._draws[key] = random.Random(f"{self._seed} {key}")
        return self._draws[key].random()


class FaultMiddleware:
    """Stands before an app: strikes with the faults that are on, and writes the log.

    `connections` gives the server's open connections, of which the request's own is reset by a drop.
    """

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults,
        log: list[Logged],
        revoke: Callable[[str], None],
        connections: Callable[[], Iterable[Any]],
    ) -> None:
        self._app = app
        self._faults = faults
        self._log = log
        self._revoke = revoke
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["raw_path"].decode()
        status: int | None = None

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                # Logged before the client can know the answer, so that a test which has it finds it in the log.
                status = message["status"]
                self._log.append(Logged(method, path, status))
            await send(message)

        fault = self._faults.strike(method, path)
        if fault is None:
            await self._app(scope, receive, noting)
            return
        if fault.revoke:
            self._revoke(_bearer(scope))
        if fault.when == "after":
            answer = await self._apply(scope, receive)
        await asyncio.sleep(fault.delay)
        if fault.do is not None:
            await asyncio.to_thread(fault.do)
        if fault.drop:
            self._log.append(Logged(method, path, None))
            await self._reset(scope, receive)
        elif fault.status is not None:
            error = HubError(fault.status, "The loopback Hub was told to fail.", headers=fault.headers)
            told = JSONResponse(fault.body, fault.status, fault.headers) if fault.body else error.response()
            await told(scope, receive, noting)
        elif fault.when == "after":
            for message in answer:
                await noting(message)
        else:
            await self._app(scope, receive, noting)

    async def _apply(self, scope: Scope, receive: Receive) -> list[Message]:
        """Lets the request take effect and keeps its answer back."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        return answer

    async def _reset(self, scope: Scope, receive: Receive) -> None:
        for connection in list(self._connections()):
            if connection.client == tuple(scope["client"]):
                connection.transport.abort()
        # Returning before the server has seen the loss would make it answer 500.
        while (await receive())["type"] != "http.disconnect":
            pass


def _bearer(scope: Scope) -> str:
    headers = dict(scope["headers"])
    return headers.get(b"authorization", b"").decode().partition(" ")[2].strip()
