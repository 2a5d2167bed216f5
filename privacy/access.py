"""Who has been let into a sharing dataset, looked at every few minutes: so that the page can say that nobody has, yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from chat.dataset_repo import DatasetRepo, RepoError, Threads
from chat.db import Database

EVERY = 120.0  # seconds between two looks
FRESH = 300.0  # seconds for which one is believed


class Access:
    """`open_repo(id)` gives a dataset, which is only looked at. `clock`: Unix seconds."""

    def __init__(self, db: Database, open_repo: Callable[[str], DatasetRepo], clock: Callable[[], float]) -> None:
        self._db, self._open_repo, self._clock = db, open_repo, clock
        self._threads = Threads(1)
        self._seen: dict[str, tuple[str, bool, float]] = {}  # dataset -> its authors, whether anybody is in, when

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Look at every dataset that has rows. One that cannot be looked at counts as read."""
        datasets = await self._db.read(
            lambda db: [
                (row["id"], row["recipient"])
                for row in db.execute(
                    "SELECT id, recipient FROM sharing_datasets WHERE id IN (SELECT dataset FROM outbox WHERE state = 'published')"
                )
            ]
        )
        for id, recipient in datasets:
            try:
                is_read = await self._threads.run(_is_read, self._open_repo(id), recipient)
            except (RepoError, OSError):
                is_read = True
            self._seen[id] = (recipient, is_read, self._clock())

    async def nobody_in(self) -> frozenset[str]:
        """Authors none of whose datasets anybody was let into, as of the last minutes. Who is not known is not among them."""
        now = self._clock()
        return frozenset(
            _only_false((recipient, is_read or now - at > FRESH) for recipient, is_read, at in self._seen.values())
        )


def _is_read(repo: DatasetRepo, recipient: str) -> bool:
    """Whether somebody but those who keep the dataset can read it."""
    seen_by = repo.visibility()
    if seen_by is None:
        return False
    if seen_by == "private":
        return repo.id.partition("/")[0] == recipient
    readers = repo.readers()
    return readers is None or bool(readers)


def _only_false(found: Iterable[tuple[str, bool]]) -> set[str]:
    each: dict[str, bool] = {}
    for name, is_so in found:
        each[name] = each.get(name, False) or is_so
    return {name for name, is_so in each.items() if not is_so}
