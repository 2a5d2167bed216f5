"""How long the real engine works on an answer that nobody wants any more.

A stop is what the product does: the stream is closed (or, before the first token, what waits for it is cancelled). It
has arrived when the engine's own metrics show the request neither running nor waiting. They are read over the engine's
socket again and again; how long one reading takes when nothing else is asked stands beside it.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from bench.report import Table
from chat.conversation import Message, SamplingParams
from chat.engines.adapters import OpenAIEngine
from chat.engines.engine import Delta
from tests.support.real_engine import AT_ONCE, CONTEXT, RealEngine, real_engine

STOPS = 40
SEED = 2
LIMIT = 200.0  # ms, issue 2
LONG = SamplingParams(temperature=1.0, max_tokens=CONTEXT - 100)
# A token each. The starter's template cuts what is shorter than 16,000 characters: too little to be stopped in.
PREFILL_WORDS = ("temperature",) * 1400
AFTER_PREFILL = SamplingParams(temperature=1.0, max_tokens=500)  # lasts longer than a stop
# The metrics change after a step of the engine: in small steps, as on a GPU, they show a prompt that is being read.
STEPS = ("--enable-chunked-prefill", "--max-num-batched-tokens=32")

Stop = Callable[[], Awaitable[float | None]]  # milliseconds; None: the moment was missed, try again


class Stops:
    """The three moments in which an answer is stopped."""

    def __init__(self, engine: RealEngine) -> None:
        self.real = engine
        self.engine: OpenAIEngine = engine.adapter(endless=True)
        self.random = random.Random(SEED)
        self.busy: list[AsyncIterator[Delta]] = []
        self.ended = 0  # answers that had come to their own end before this stop
        self.too_late = 0  # stops during which one did: not theirs is the time then

    def story(self) -> AsyncIterator[Delta]:
        return self.engine.stream([Message("user", f"Tell me story {self.random.random()}")], LONG)

    def long_prompt(self) -> AsyncIterator[Delta]:
        """Its first word differs, so that nothing of it is in the engine's prefix cache."""
        text = " ".join((str(self.random.random()), *PREFILL_WORDS))
        return self.engine.stream([Message("user", text)], AFTER_PREFILL)

    async def reach(self, requests: tuple[int, int]) -> None:
        async with asyncio.timeout(60):
            while await self.real.requests() != requests:
                pass

    async def gone(self, began: float, requests: tuple[int, int]) -> float:
        """Milliseconds from `began` until the metrics show these `requests`."""
        await self.reach(requests)
        took = (time.perf_counter() - began) * 1000
        self.too_late += await self.real.ended_by_itself() > self.ended
        return took

    async def read_metrics(self) -> float:
        began = time.perf_counter()
        await self.real.requests()
        return (time.perf_counter() - began) * 1000

    async def in_mid_answer(self) -> float:
        self.ended = await self.real.ended_by_itself()
        stream = self.story()
        for _ in range(self.random.randint(1, 40)):
            await anext(stream)
        began = time.perf_counter()
        await stream.aclose()
        return await self.gone(began, (0, 0))

    async def prefill(self) -> float:
        """Milliseconds to the first token of a long prompt, the median of five."""
        times = []
        for _ in range(5):
            stream, began = self.long_prompt(), time.perf_counter()
            await anext(stream)
            times.append(time.perf_counter() - began)
            await stream.aclose()
            await self.reach((0, 0))
        return statistics.median(times) * 1000

    async def in_prefill(self) -> float | None:
        """As soon as the engine shows that it has the request, which has no token then."""
        self.ended = await self.real.ended_by_itself()
        stream = self.long_prompt()
        first = asyncio.create_task(anext(stream))
        while await self.real.requests() == (0, 0) and not first.done():
            pass
        began, missed = time.perf_counter(), first.done()
        await self.cancel(first, stream)
        if missed:
            await self.reach((0, 0))
            return None
        return await self.gone(began, (0, 0))

    async def cancel(self, first: asyncio.Task[Delta], stream: AsyncIterator[Delta]) -> None:
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        await stream.aclose()

    async def in_queue(self) -> float | None:
        """One more than the engine takes at once."""
        if await self.real.requests() != (AT_ONCE, 0):
            await self.empty()
            self.busy = [self.story() for _ in range(AT_ONCE)]
            await asyncio.gather(*(anext(stream) for stream in self.busy))
            await self.reach((AT_ONCE, 0))
        self.ended = await self.real.ended_by_itself()
        stream = self.story()
        first = asyncio.create_task(anext(stream))
        while (held := await self.real.requests()) == (AT_ONCE, 0):
            pass
        began = time.perf_counter()
        missed = first.done() or held != (AT_ONCE, 1)
        await self.cancel(first, stream)
        if missed:
            await self.empty()
            return None
        return await self.gone(began, (AT_ONCE, 0))

    async def empty(self) -> None:
        for stream in self.busy:
            await stream.aclose()
        self.busy = []
        await self.reach((0, 0))


async def series(table: Table, what: str, stops: Stops, stop: Stop) -> None:
    times: list[float] = []
    reads: list[float] = []
    stops.too_late = 0
    while len(times) < STOPS:
        if len(reads) == 10 * STOPS:
            raise RuntimeError(f"{what}: the moment was missed too often; this machine is too busy.")
        reads.append(await stops.read_metrics())
        if (took := await stop()) is not None:
            times.append(took)
    middle, high = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    table.add(
        what,
        f"{statistics.median(reads):.1f} ms",
        f"{middle:.1f} / {high:.1f} / {max(times):.1f} ms",
        f"{sum(took <= LIMIT for took in times)} of {len(times)}",
        stops.too_late,
        middle / statistics.median(reads),
    )


async def measure(table: Table, engine: RealEngine) -> None:
    stops = Stops(engine)
    reading = f"before the first token, in the {await stops.prefill():.0f} ms of reading a long prompt"
    await series(table, "in mid-answer", stops, stops.in_mid_answer)
    await series(table, reading, stops, stops.in_prefill)
    await series(table, f"before the first token, queued behind {AT_ONCE} answers", stops, stops.in_queue)
    await stops.empty()
    await stops.engine.aclose()


def run() -> Table:
    table = Table(
        "From Stop until the engine has let go",
        (
            "stopped",
            "reading the metrics once",
            "median / p95 / max",
            f"within {LIMIT:.0f} ms",
            "an answer ended by itself meanwhile",
            "ratio of the medians",
        ),
    )
    with tempfile.TemporaryDirectory() as folder, real_engine(Path(folder), extra_args=STEPS) as engine:
        asyncio.run(measure(table, engine))
    return table
