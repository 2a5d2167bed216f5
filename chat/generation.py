"""A running answer. It lives on the server whatever the page does, and every reader sees the same log.

The log is a list of pieces; a reader asks for the pieces from a position on, so a page that comes back resumes where it
was. Pieces are what was sent out: Stop keeps exactly them, and drops what the engine had written since the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby

from chat.conversation import Written
from chat.engines.engine import Delta
from chat.engines.errors import EngineError
from chat.store import State

PIECE_SECONDS = 0.04
CHECKPOINT_SECONDS = 1.0
ABANDONED_SECONDS = 600.0
HEARTBEAT_SECONDS = 15.0

NOT_KEPT = "The answer could not be kept: the disk is full or gone. Copy what you need, and tell the operator."
ABANDONED = "Nobody was reading any more, so the answer was ended. Try again to have it written anew."
BROKEN = "Something went wrong in the app while this answer was written. Try again; if it stays, tell the operator."


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended. `error` is a sentence, for the states "interrupted" and "failed" alone."""

    state: State
    finish_reason: str | None = None
    error: str | None = None


# Keeps what was written and how it ended; False where there is nothing left to keep it in.
Settle = Callable[[Written, Ending], Awaitable[bool]]

INTERRUPTED = Ending("interrupted", None, BROKEN)
NOTHING = Written("")


@dataclass(frozen=True, slots=True)
class Piece:
    """What was sent out at once: of the answer, or of the reasoning before it."""

    text: str
    is_reasoning: bool = False


class Generation:
    """One answer being written: its log, its readers, its end."""

    def __init__(self, id: str, monotonic: Callable[[], float], kept: bool, begun: Written = NOTHING) -> None:
        """`begun`: what stands there already, where a cut-off answer is gone on with. It is the beginning of the log."""
        self.id = id
        self.kept = kept
        parts = Piece(begun.reasoning or "", is_reasoning=True), Piece(begun.text)
        self.pieces = [piece for piece in parts if piece.text]
        self._begun = len(self.pieces)
        # How many messages above it the model did not read; None: it was not asked yet.
        self.omitted: int | None = None
        self.status: str | None = None
        self.ending: Ending | None = None
        self.readers = 0
        self.unread_since = monotonic()
        self._monotonic = monotonic
        self._reasons_since: float | None = None
        self._reasoned_for = begun.reasoning_seconds
        self._pending: list[Piece] = []
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._stopped_as: Ending | None = None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces if not piece.is_reasoning)

    @property
    def written(self) -> Written:
        """What was sent out so far."""
        reasoning = "".join(piece.text for piece in self.pieces if piece.is_reasoning)
        return Written(self.text, reasoning or None, self.reasoning_seconds if reasoning else None)

    @property
    def reasoning_seconds(self) -> float | None:
        """From the first word of reasoning to the first of the answer, or to now; None where there is no reasoning."""
        if self._reasons_since is None or self._reasoned_for is not None:
            return self._reasoned_for
        return self._monotonic() - self._reasons_since

    def report(self, status: str | None) -> None:
        """Say what is being waited for, before there is text."""
        if status != self.status:
            self.status = status
            self._announce()

    def reads_without(self, omitted: int) -> None:
        """The model is asked, without the first `omitted` messages of the branch."""
        said, self.omitted = self.omitted or 0, omitted
        if omitted != said:
            self._announce()

    async def changes(self, heartbeat: float = HEARTBEAT_SECONDS) -> AsyncIterator[None]:
        """Yield at once, then whenever there is more to read, at the latest each `heartbeat` seconds, last at the end."""
        while True:
            # Taken before the reader looks, so that what happens while it is busy is not missed.
            changed = self._changed
            ended = self.ending is not None
            yield
            if ended:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(heartbeat):
                    await changed.wait()

    async def stop(self, ending: Ending = Ending("stopped")) -> None:
        """Free the engine's request, drop what was not sent out, and return once the end is kept."""
        if not self._reading.done() and not self._stopped_as:
            self._stopped_as = ending
            self._pending.clear()
            self._reading.cancel()
        await self.wait()

    async def wait(self) -> Ending:
        """Wait until the end is kept, and return it."""
        await asyncio.wait([self._task])
        return self.ending

    def _write(self, piece: Piece) -> None:
        if not piece.text:
            return
        if piece.is_reasoning and self._reasons_since is None:
            self._reasons_since = self._monotonic()
        elif not piece.is_reasoning and self._reasoned_for is None:
            self._reasoned_for = self.reasoning_seconds
        self._pending.append(piece)
        if len(self.pieces) == self._begun or (self.pieces[-1].is_reasoning and not piece.is_reasoning):
            # The first words are shown at once: that is the time a reader feels.
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PIECE_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self.status = None  # text needs no word of what was waited for, to a reader who comes later either
            for is_reasoning, pieces in groupby(self._pending, key=lambda piece: piece.is_reasoning):
                self.pieces.append(Piece("".join(piece.text for piece in pieces), is_reasoning))
            self._pending.clear()
            self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _begin(self, source: AsyncIterator[Delta], settle: Settle) -> asyncio.Task[None]:
        # Two tasks: stopping cancels the one that reads, never the one that keeps what was read.
        self._reading = asyncio.create_task(self._read(source))
        self._task = asyncio.create_task(self._settle(settle))
        return self._task

    async def _read(self, source: AsyncIterator[Delta]) -> Ending:
        finish_reason = None
        try:
            async with aclosing(source):
                async for delta in source:
                    self._write(Piece(delta.reasoning, is_reasoning=True))
                    self._write(Piece(delta.text))
                    finish_reason = delta.finish_reason or finish_reason
        except EngineError as error:
            return Ending("interrupted" if self.pieces or self._pending else "failed", None, str(error))
        except Exception:
            # Not logged with its text: an error of ours may quote the conversation.
            return Ending("failed", None, BROKEN)
        return Ending("done", finish_reason)

    async def _settle(self, settle: Settle) -> None:
        await asyncio.wait([self._reading])
        ending = self._stopped_as or INTERRUPTED if self._reading.cancelled() else self._reading.result()
        self._flush()
        self._reasoned_for = self.reasoning_seconds
        try:
            # Kept before it is announced: the page never shows more than is true.
            await settle(self.written, ending)
        except Exception:
            ending = Ending("failed", None, NOT_KEPT)
        self.ending = ending
        self._announce()


class Generations:
    """The running answers of this process, by the id of the message they write.

    `checkpoint` keeps what running answers have written, by id; it is called about once a second with those that changed.
    """

    def __init__(
        self, checkpoint: Callable[[dict[str, Written]], Awaitable[None]], monotonic: Callable[[], float]
    ) -> None:
        self._checkpoint = checkpoint
        self._monotonic = monotonic
        self._running: dict[str, Generation] = {}
        self._kept: dict[str, int] = {}
        self._unkept: dict[str, tuple[Generation, Callable[[], Awaitable[bool]]]] = {}
        self._keeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._running)

    def get(self, id: str) -> Generation | None:
        """The answer `id` while it runs, or has ended and could not be kept yet; None once its end is kept."""
        return self._running.get(id) or self._unkept.get(id, (None,))[0]

    def start(
        self,
        id: str,
        source: Callable[[Generation], AsyncIterator[Delta]],
        settle: Settle | None = None,
        begun: Written = NOTHING,
    ) -> Generation:
        """Read `source` to its end in a task of the server's own, after what is `begun`.

        `settle` keeps what was written and the ending; None: nothing of this answer is kept, while it runs or after.
        """
        generation = Generation(id, self._monotonic, settle is not None, begun)
        self._running[id] = generation
        task = generation._begin(source(generation), self._insisting(generation, settle) if settle else _keep_nothing)
        task.add_done_callback(lambda _: self._forget(id))
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        return generation

    @contextmanager
    def reading(self, generation: Generation) -> Iterator[Generation]:
        """Within this context `generation` counts as read by somebody."""
        generation.readers += 1
        try:
            yield generation
        finally:
            generation.readers -= 1
            generation.unread_since = self._monotonic()

    async def stop_all(self, ending: Ending) -> None:
        """End every running answer, as at shutdown."""
        await asyncio.gather(*(generation.stop(ending) for generation in list(self._running.values())))
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    def _insisting(self, generation: Generation, settle: Settle) -> Settle:
        """`settle`, which is tried again every second after it failed: the disk may be full for a while only."""

        async def insist(written: Written, ending: Ending) -> bool:
            try:
                return await settle(written, ending)
            except Exception:
                self._unkept[generation.id] = generation, lambda: settle(written, ending)
                raise

        return insist

    def _forget(self, id: str) -> None:
        self._running.pop(id, None)
        self._kept.pop(id, None)

    async def _keep(self) -> None:
        while self._running or self._unkept:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            await self.keep_once()

    async def keep_once(self) -> None:
        """Checkpoint what changed, keep what could not be kept before, end what nobody has read for `ABANDONED_SECONDS`."""
        now = self._monotonic()
        for id, (_, keep) in list(self._unkept.items()):
            with suppress(Exception):
                await keep()
                del self._unkept[id]
        for generation in list(self._running.values()):
            if not generation.readers and now - generation.unread_since > ABANDONED_SECONDS:
                await generation.stop(Ending("interrupted", None, ABANDONED))
        changed = {
            id: generation
            for id, generation in self._running.items()
            if generation.kept and len(generation.pieces) != self._kept.get(id, 0)
        }
        if changed:
            self._kept.update({id: len(generation.pieces) for id, generation in changed.items()})
            try:
                await self._checkpoint({id: generation.written for id, generation in changed.items()})
            except Exception:
                # The next checkpoint, or the end, will say so: losing this one loses nothing that was promised.
                return


async def _keep_nothing(written: Written, ending: Ending) -> bool:
    return False
