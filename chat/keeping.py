"""How conversations are kept, as one thing: backup and write-ahead objects, how far both are, and the last save of a stop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from chat.backup import Backup
from chat.backup_rows import set_state, state
from chat.dataset_repo import RepoError, Unreachable
from chat.write_ahead import WriteAhead

FIRST_LOOK_SECONDS = 3.0  # of the start, for a Hub that does not answer
LAST_SAVE_SECONDS = 8.0  # of a stop: what is neither safe nor saved by then is kept here
LAST_PUT_SECONDS = 3.0  # of those
WHOLE = "whole"  # the note that this disk has had everything


class Keeping:
    """`ahead` None: there is no bucket. `outlives`: whether what is saved survives the loss of this machine, so whether the
    dataset is on the Hub."""

    def __init__(self, backup: Backup, ahead: WriteAhead | None, outlives: bool) -> None:
        self.backup, self.ahead, self.outlives = backup, ahead, outlives
        self._db = backup.db
        if ahead:
            # Another disk's objects may hold it still, long after the dataset took over.
            backup.look_before_purging(ahead.look)

    def check(self, seconds: float = FIRST_LOOK_SECONDS) -> None:
        """`ask`, and wait for the answers."""
        self.ask(seconds)()

    def ask(self, seconds: float = FIRST_LOOK_SECONDS) -> Callable[[], None]:
        """Ask who can read what is kept. What comes back waits for the answers, until `seconds` from now, and raises
        `PublicDataset` where conversations would be kept in public; call it before serving. A Hub that does not answer is
        no reason to stop: `problem` says so, and whatever it calls public later gets nothing, since it is asked again
        before anything is written."""
        asked: dict[Backup | WriteAhead, str] = {self.backup: self.backup.repo.id}
        if self.ahead:
            asked[self.ahead] = self.ahead.bucket.id
        answers: queue.SimpleQueue[tuple[Backup | WriteAhead, Exception | None]] = queue.SimpleQueue()
        for part in asked:
            # Daemons: the end of the process waits for none of them.
            threading.Thread(target=lambda part=part: answers.put((part, _refusal(part))), daemon=True).start()
        until = time.monotonic() + seconds

        def answered() -> None:
            with suppress(queue.Empty):
                while asked:
                    part, error = answers.get(timeout=max(0.0, until - time.monotonic()))
                    del asked[part]
                    if isinstance(error, RepoError):
                        part.failed(error)
                    elif error:
                        raise error
            for part, id in asked.items():
                part.failed(Unreachable(f"{id} has not answered yet; it is asked again."))

        return answered

    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What runs as long as the app does, by what people call it."""
        parts = {"Saving": self.backup.run, "Looking whether everything is back": self._note_whole}
        return {**parts, "The write-ahead": self.ahead.run} if self.ahead else parts

    def is_set(self) -> bool:
        """Whether all that dataset and bucket hold is here: before that it is not known who agreed to what."""
        return self.backup.restored.is_set() and (self.ahead is None or self.ahead.taken_over.is_set())

    async def wait(self) -> None:
        """Return once `is_set`."""
        while not self.is_set():
            await self.backup.restored.wait()
            if self.ahead:
                await self.ahead.taken_over.wait()

    async def is_whole(self) -> bool:
        """Whether what anybody has here is all they have, as far as this disk can know: everything is back, or it was once.
        Its Hub may be away for long; what another machine wrote meanwhile comes later."""
        return self.is_set() or await self._db.read(lambda db: state(db, WHOLE)) is not None

    async def _note_whole(self) -> None:
        await self.wait()
        await self._db.write(lambda db: set_state(db, WHOLE, "yes"))

    @property
    def problem(self) -> str | None:
        """What is wrong and what to do; None where all is well."""
        return self.backup.problem or (self.ahead.problem if self.ahead else None)

    async def exchange(self) -> None:
        """What another machine wrote is here, and what is here is in the dataset: before anything is made public. It may
        take the slots kept for taking back. Raises `RepoError`."""
        await self.backup.pull()
        await self.backup.flush(urgent=True)

    async def last_save(self) -> None:
        """Within `LAST_SAVE_SECONDS`: first to the bucket, which is quick, then one commit, then what that frees there."""
        until = asyncio.get_running_loop().time() + LAST_SAVE_SECONDS
        if self.ahead:
            await _within(LAST_PUT_SECONDS, self.ahead.flush)
        await _within(until - asyncio.get_running_loop().time(), lambda: self.backup.flush(urgent=True))
        if self.ahead:
            await _within(until - asyncio.get_running_loop().time(), self.ahead.flush)

    async def told(self) -> dict[str, Any]:
        """What visitors are told of how far everything is kept, and whether that survives the loss of this machine. Where
        something is wrong: in what of both, of which kind, and the sentence for whoever runs it."""
        return {"outlives": self.outlives, **await self._told()}

    async def _told(self) -> dict[str, Any]:
        saved, safe = await self.backup.figures(), await self.ahead.figures() if self.ahead else None
        where = "the private dataset" if self.outlives else "the folder beside the database"
        if saved.problem:
            sentence = f"Kept here; not saved in {where} yet. {saved.problem}"
            wrong = {"where": "dataset", "problem": saved.problem, "kind": saved.kind}
            return {"state": "kept here", "sentence": sentence, **wrong}
        wrong = {"where": "bucket", "problem": safe.problem, "kind": safe.kind} if safe and safe.problem else {}
        why = f" {safe.problem}" if wrong else ""
        if not saved.backlog and saved.saved_at is not None:
            return {"state": "saved", "sentence": f"Kept here, and saved in {where}.{why}", **wrong}
        if safe and not safe.backlog and saved.backlog and not wrong:
            return {
                "state": "safe",
                "sentence": f"Kept here and safe in private storage; saved in {where} within minutes.",
            }
        return {
            "state": "kept here",
            "sentence": f"Kept here; the newest is saved in {where} within minutes.{why}",
            **wrong,
        }

    async def figures(self) -> dict[str, Any]:
        """For the operator: counts, times and sentences, never text."""
        return {
            "where": self.backup.repo.id,
            "bucket": self.ahead.bucket.id if self.ahead else None,
            "outlives_the_machine": self.outlives,
            "saved": asdict(await self.backup.figures()),
            "safe": asdict(await self.ahead.figures()) if self.ahead else None,
        }


def _refusal(part: Backup | WriteAhead) -> Exception | None:
    try:
        part.refuse_public()
    except Exception as error:
        return error
    return None


async def _within(seconds: float, save: Callable[[], Awaitable[None]]) -> None:
    with suppress(RepoError, TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await save()
