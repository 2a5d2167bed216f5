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
PREFILL_WORDS = 1200  # the longest prompt that leaves room for an answer which lasts longer than a stop
AFTER_PREFILL = SamplingParams(temperature=1.0, max_tokens=500)
# The metrics change after a step of the engine. In small steps they show a prompt that is still being read.
STEPS = ("--max-num-batched-tokens=32",)

Stop = Callable[[], Awaitable[float | None]]  # milliseconds; None: the moment was missed, try again


class Stops:
    """The three moments in which an answer is stopped."""

    def __init__(self, engine: RealEngine) -> None:
        self.real = engine
        self.engine: OpenAIEngine = engine.adapter(endless=True)
        self.random = random.Random(SEED)
        self.busy: list[AsyncIterator[Delta]] = []

    def story(self) -> AsyncIterator[Delta]:
        return self.engine.stream([Message("user", f"Tell me story {self.random.random()}")], LONG)

    def long_prompt(self) -> AsyncIterator[Delta]:
        """Its first word differs, so that nothing of it is in the engine's prefix cache."""
        words = " ".join(self.random.choice(("share", "delete", "temperature")) for _ in range(PREFILL_WORDS))
        return self.engine.stream([Message("user", f"{self.random.random()} {words}")], AFTER_PREFILL)

    async def reach(self, requests: tuple[int, int]) -> None:
        async with asyncio.timeout(60):
            while await self.real.requests() != requests:
                pass

    async def gone(self, began: float, requests: tuple[int, int]) -> float:
        """Milliseconds from `began` until the metrics show these `requests`."""
        await self.reach(requests)
        return (time.perf_counter() - began) * 1000

    async def read_metrics(self) -> float:
        began = time.perf_counter()
        await self.real.requests()
        return (time.perf_counter() - began) * 1000

    async def in_mid_answer(self) -> float:
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
        stream = self.long_prompt()
        first = asyncio.create_task(anext(stream))
        while await self.real.requests() == (0, 0) and not first.done():
            pass
        began, missed = time.perf_counter(), first.done()
        await self.cancel(first, stream)
        took = await self.gone(began, (0, 0))
        return None if missed else took

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


async def series(table: Table, what: str, stop: Stop, calibrate: Stop) -> None:
    times: list[float] = []
    reads: list[float] = []
    tries = 0
    while len(times) < STOPS:
        tries += 1
        if tries > 10 * STOPS:
            raise RuntimeError(f"{what}: the moment was missed {tries - len(times)} times; this machine is too busy.")
        reads.append(await calibrate() or 0.0)
        if (took := await stop()) is not None:
            times.append(took)
    middle = statistics.median(times)
    high = sorted(times)[int(len(times) * 0.95)]
    table.add(
        what,
        f"{statistics.median(reads):.1f} ms",
        f"{middle:.1f} / {high:.1f} / {max(times):.1f} ms",
        f"{sum(took <= LIMIT for took in times)} of {len(times)}",
        middle / statistics.median(reads),
    )


async def measure(table: Table, engine: RealEngine) -> None:
    stops = Stops(engine)
    reading = f"before the first token, in the {await stops.prefill():.0f} ms of reading a long prompt"
    await series(table, "in mid-answer", stops.in_mid_answer, stops.read_metrics)
    await series(table, reading, stops.in_prefill, stops.read_metrics)
    if await engine.ended_by_itself():
        raise RuntimeError("Answers came to their end before they were stopped: these times are not those of a stop.")
    await series(table, f"before the first token, queued behind {AT_ONCE} answers", stops.in_queue, stops.read_metrics)
    await stops.empty()
    await stops.engine.aclose()


def run() -> Table:
    table = Table(
        "From Stop until the engine has let go",
        ("stopped", "reading the metrics once", "median / p95 / max", f"within {LIMIT:.0f} ms", "ratio of the medians"),
    )
    with tempfile.TemporaryDirectory() as folder, real_engine(Path(folder), extra_args=STEPS) as engine:
        asyncio.run(measure(table, engine))
    return table
