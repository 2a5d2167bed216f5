"""Hand-written stand-ins for what stands around the service, shared by its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chat.conversation import Message, SamplingParams
from chat.engines.engine import Delta
from chat.engines.errors import EngineError


class TickingClock:
    """A second later at every look."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1
        return self.now


@dataclass
class Asked:
    """What an engine was asked."""

    messages: Sequence[Message]
    params: SamplingParams
    cache_salt: str | None
    continue_last: bool = False


@dataclass
class FakeEngine:
    """Answers with `script`: texts, deltas, errors to raise, and events to wait for. Empties one list per request."""

    scripts: list[list[str | Delta | EngineError | asyncio.Event]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    freed: int = 0
    tokens_each: float | None = None  # of a character; None: this engine tells none
    counted: int = 0

    async def stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams,
        *,
        cache_salt: str | None = None,
        continue_last: bool = False,
    ) -> AsyncIterator[Delta]:
        self.asked.append(Asked(messages, params, cache_salt, continue_last))
        size = sum(len(message.content) for message in messages)
        try:
            for item in self.scripts.pop(0):
                if isinstance(item, EngineError):
                    raise item
                if isinstance(item, asyncio.Event):
                    await item.wait()
                else:
                    delta = item if isinstance(item, Delta) else Delta(item)
                    size += len(delta.text)
                    yield delta
            yield Delta(finish_reason="stop", tokens=self._tokens(size))
        finally:
            self.freed += 1

    async def count(self, messages: Sequence[Message], *, continue_last: bool = False) -> int | None:
        if self._tokens(0) is None:
            return None
        self.counted += 1
        return self._tokens(sum(len(message.content) for message in messages))

    def _tokens(self, size: int) -> int | None:
        return None if self.tokens_each is None else int(size * self.tokens_each)

    async def aclose(self) -> None:
        pass


class FakePool:
    """One engine for every model, there at once unless `up` is cleared. `gone`: it is, for whom it gave no answer."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.gone = False
        self.up = asyncio.Event()
        self.up.set()

    @asynccontextmanager
    async def ready(self, name: str, report: Callable[[str], None] = lambda _: None) -> AsyncIterator[FakeEngine]:
        if not self.up.is_set():
            report("Loading the weights.")
            await self.up.wait()
        yield self.engine

    async def has_gone(self, name: str) -> bool:
        return self.gone
