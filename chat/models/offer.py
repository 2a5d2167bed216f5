"""What is offered now. Where the Hub did not say at the start what a model is, it is asked again while the app runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from chat.dataset_repo import Threads
from chat.models.catalog import Catalog, Lookup, Machine

SOONEST, LONGEST = 2.0, 300.0  # seconds until the Hub is asked again, twice as many each time


class Offer:
    """`catalog`: what visitors may pick from; `unavailable`: why they cannot pick one, by name.

    `wanted` is the catalogue that was asked for, `lookup` what says what its models are.
    """

    def __init__(self, wanted: Catalog, machine: Machine, environ: Mapping[str, str], lookup: Lookup) -> None:
        self._wanted, self._machine, self._environ, self._lookup = wanted, machine, environ, lookup
        self._threads = Threads(1)
        self.catalog = wanted.settled(machine, environ)
        self.unavailable = self._reasons()

    @property
    def is_awaited(self) -> bool:
        """Whether the Hub has something left to say."""
        return any(entry.awaited for entry in self._wanted.entries)

    def ask_again(self) -> bool:
        """Whether anything is new. Blocks for a few seconds at most. What was offered once stays: somebody may be talking
        to it."""
        before, self._wanted = self._wanted, self._wanted.asked_again(self._lookup)
        if self._wanted == before:
            return False
        now = self._wanted.settled(self._machine, self._environ)
        names = {entry.name for entry in now.entries}
        left = tuple(entry for entry in self.catalog.entries if entry.name not in names)
        self.catalog = replace(now, entries=(*now.entries, *left))
        self.unavailable = self._reasons()
        return True

    async def run(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Ask until the Hub has said all; `changed` is called after each answer that is new."""
        wait = SOONEST
        while self.is_awaited:
            await asyncio.sleep(wait)
            wait = min(LONGEST, 2 * wait)
            if await self._threads.run(self.ask_again):
                await changed()

    def _reasons(self) -> dict[str, str]:
        listed = self.catalog.listing(self._machine, self._environ)
        return {entry.name: reason for entry, reason in listed if reason}
