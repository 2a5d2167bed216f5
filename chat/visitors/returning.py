"""Visitors who come back to an empty disk: what they wait for, and for how long, while everything is brought back.

Nobody else waits, and nobody who sends a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from fastapi import Request

from chat.arrivals import Arrivals
from chat.visitors.asking import visitor_of

OWNERS_BACK_SECONDS = 5.0  # from the first visitor whom nobody knows
ARRIVAL_SECONDS = 3.0  # of each reading
READS = ("/api/conversations", "/api/answers", "/api/deletions")


class Returning:
    """`owners_back` is set once it is known who may open what; `arrivals` brings theirs before that of others.
    `elapsed`: seconds since any moment."""

    def __init__(self, owners_back: asyncio.Event, arrivals: Arrivals, elapsed: Callable[[], float]) -> None:
        self._owners_back, self._arrivals, self._elapsed = owners_back, arrivals, elapsed
        self._until: float | None = None

    async def owner(self) -> None:
        """Return once whoever has been here before is known again, or when it has been waited for long enough."""
        if self._owners_back.is_set():
            return
        if self._until is None:
            self._until = self._elapsed() + OWNERS_BACK_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._until - self._elapsed())):
                await self._owners_back.wait()

    async def theirs(self, request: Request) -> None:
        """Before a route: where it reads what its visitor has, that is brought back first. Whoever signs in is waited with
        for the owner that their account has had so far."""
        visitor = visitor_of(request)
        if request.url.path == "/login/callback":
            await self.owner()
        if request.method == "GET" and request.url.path.startswith(READS) and visitor.via != "none":
            await self._arrivals.of(visitor.owner, ARRIVAL_SECONDS)
