"""A running answer: what was sent out is what is kept, whoever reads it and however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chat import generation as module
from chat.conversation import Written
from chat.engines.engine import Delta
from chat.engines.errors import EngineUnavailable
from chat.generation import Ending, Generation, Generations

pytestmark = pytest.mark.anyio


class Kept:
    """Stands for the store: remembers what it was given, and can refuse."""

    def __init__(self) -> None:
        self.endings: dict[str, tuple[str, Ending]] = {}
        self.written: dict[str, Written] = {}
        self.checkpoints: list[dict[str, Written]] = []
        self.broken = False

    async def checkpoint(self, texts: dict[str, Written]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.checkpoints.append(texts)

    def settle(self, id: str):
        async def settle(written: Written, ending: Ending) -> bool:
            if self.broken:
                raise OSError("disk full")
            self.endings[id] = (written.text, ending)
            self.written[id] = written
            return True

        return settle


class Source:
    """An engine that says what it is told, when it is told."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
        self.closed = False

    def say(self, *texts: str) -> None:
        for text in texts:
            self.queue.put_nowait(Delta(text))

    def end(self, finish_reason: str = "stop") -> None:
        self.queue.put_nowait(Delta(finish_reason=finish_reason))
        self.queue.put_nowait(None)

    async def __call__(self, generation: Generation) -> AsyncIterator[Delta]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def running(kept, clock):
    generations = Generations(kept.checkpoint, clock)
    yield generations
    await generations.stop_all(Ending("stopped"))


async def read(generation: Generation) -> str:
    async for _ in generation.changes():
        pass
    return generation.text


async def shown(generation: Generation, text: str) -> None:
    async for _ in generation.changes():
        if generation.text == text:
            return


async def test_the_whole_answer_is_kept_then_announced(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("Hello", " there", ".")
    source.end("length")
    assert await read(generation) == "Hello there."
    assert kept.endings["a"] == ("Hello there.", Ending("done", "length"))
    await generation.wait()
    assert running.get("a") is None


async def test_every_reader_sees_the_same_whenever_it_comes(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    early = asyncio.create_task(read(generation))
    source.say("one ")
    await shown(generation, "one ")
    late = asyncio.create_task(read(generation))
    source.say("two")
    source.end()
    assert await early == await late == "one two"


async def test_a_reader_that_goes_away_does_not_stop_the_answer(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    reader = asyncio.create_task(read(generation))
    await asyncio.sleep(0)
    reader.cancel()
    source.say("still here")
    source.end()
    await generation.wait()
    assert kept.endings["a"][0] == "still here"


@pytest.fixture
def pieces_take_long(monkeypatch):
    """What comes after the first words is sent out by no clock of a busy machine."""
    monkeypatch.setattr(module, "PIECE_SECONDS", 3600.0)


async def test_stop_keeps_exactly_what_was_sent_out_and_frees_the_engine(running, kept, pieces_take_long):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("shown")
    await shown(generation, "shown")
    source.say(" written by the engine, not sent out yet")
    await asyncio.sleep(0)
    await generation.stop()
    assert source.closed
    assert kept.endings["a"] == ("shown", Ending("stopped"))
    assert generation.text == "shown"


async def test_stop_before_the_first_token(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    await asyncio.sleep(0.01)
    await generation.stop()
    assert source.closed
    assert kept.endings["a"] == ("", Ending("stopped"))


async def test_stop_before_the_engine_was_even_asked(running, kept):
    generation = running.start("a", Source(), kept.settle("a"))
    await generation.stop()
    assert kept.endings["a"] == ("", Ending("stopped"))


async def test_stop_after_the_end_changes_nothing(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("whole")
    source.end()
    await generation.wait()
    await generation.stop()
    assert kept.endings["a"] == ("whole", Ending("done", "stop"))


async def test_two_stops_at_once_both_return_when_it_is_kept(running, kept):
    generation = running.start("a", Source(), kept.settle("a"))
    await asyncio.gather(generation.stop(), generation.stop())
    assert kept.endings["a"] == ("", Ending("stopped"))


async def test_an_engine_that_dies_in_mid_answer_leaves_an_interrupted_one_with_the_reason(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("half an ans")
    source.queue.put_nowait(EngineUnavailable("The engine went away. Try again."))
    await generation.wait()
    assert kept.endings["a"] == ("half an ans", Ending("interrupted", None, "The engine went away. Try again."))


async def test_an_engine_that_never_answers_leaves_a_failed_one(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.queue.put_nowait(EngineUnavailable("The engine is not there."))
    await generation.wait()
    assert kept.endings["a"] == ("", Ending("failed", None, "The engine is not there."))


async def test_a_fault_of_ours_never_quotes_the_conversation(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.queue.put_nowait(RuntimeError("canary: what the visitor wrote"))
    await generation.wait()
    assert kept.endings["a"] == ("", Ending("failed", None, module.BROKEN))


async def test_an_answer_that_cannot_be_kept_says_so(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    kept.broken = True
    source.say("lost")
    source.end()
    assert await generation.wait() == Ending("failed", None, module.NOT_KEPT)


async def test_what_is_waited_for_is_told(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    seen = []

    async def watch() -> None:
        async for _ in generation.changes():
            seen.append(generation.status)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    generation.report("Loading the weights")
    await asyncio.sleep(0)
    source.end()
    await watcher
    assert "Loading the weights" in seen


async def test_running_text_is_checkpointed_once_per_change(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("so far")
    await shown(generation, "so far")
    await running.keep_once()
    await running.keep_once()
    assert kept.checkpoints == [{"a": Written("so far")}]


async def test_a_checkpoint_that_fails_does_not_end_the_answer(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("so far")
    await shown(generation, "so far")
    kept.broken = True
    await running.keep_once()
    kept.broken = False
    source.end()
    await generation.wait()
    assert kept.endings["a"][0] == "so far"


async def test_an_answer_nobody_reads_any_more_is_ended(running, kept, clock):
    generation = running.start("a", Source(), kept.settle("a"))
    with running.reading(generation):
        clock.now += module.ABANDONED_SECONDS + 1
        await running.keep_once()
        assert "a" not in kept.endings
    clock.now += module.ABANDONED_SECONDS - 1
    await running.keep_once()
    assert "a" not in kept.endings
    clock.now += 2
    await running.keep_once()
    assert kept.endings["a"] == ("", Ending("interrupted", None, module.ABANDONED))


async def test_shutdown_keeps_what_was_sent_out(running, kept):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say("so far")
    await shown(generation, "so far")
    ending = Ending("interrupted", None, "The app was shut down.")
    await running.stop_all(ending)
    assert kept.endings["a"] == ("so far", ending)


async def test_pieces_are_coalesced(running, kept):
    """Two hundred tokens at once are a handful of events, not two hundred."""
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.say(*("word " for _ in range(200)))
    source.end()
    await generation.wait()
    assert generation.text == "word " * 200
    assert len(generation.pieces) < 10


async def test_an_answer_that_is_not_kept_reaches_no_checkpoint(running, kept):
    source = Source()
    generation = running.start("a", source)
    source.say("between us")
    await shown(generation, "between us")
    await running.keep_once()
    source.end()
    assert await generation.wait() == Ending("done", "stop")
    assert kept.checkpoints == []


async def test_what_could_not_be_kept_is_kept_once_the_disk_works_again(running, kept):
    """Otherwise its row says "running" for ever, and its conversation takes no other message."""
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    kept.broken = True
    source.say("whole")
    source.end()
    await generation.wait()
    await running.keep_once()
    assert "a" not in kept.endings
    kept.broken = False
    await running.keep_once()
    assert kept.endings["a"] == ("whole", Ending("done", "stop"))


async def thought(generation: Generation, reasoning: str) -> None:
    async for _ in generation.changes():
        if generation.written.reasoning == reasoning:
            return


async def test_what_a_model_thinks_first_is_shown_timed_and_kept_apart_from_its_answer(running, kept, clock):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.queue.put_nowait(Delta(reasoning="Two and"))
    await thought(generation, "Two and")
    clock.now = 2.0
    assert generation.written == Written("", "Two and", 2.0)
    await running.keep_once()
    assert kept.checkpoints == [{"a": Written("", "Two and", 2.0)}]
    clock.now = 12.5
    # One read may bring the end of the thoughts with the first words.
    source.queue.put_nowait(Delta("Four.", reasoning=" two."))
    await shown(generation, "Four.")
    assert [(piece.text, piece.is_reasoning) for piece in generation.pieces] == [
        ("Two and", True),
        (" two.", True),
        ("Four.", False),
    ]
    clock.now = 60.0
    source.end()
    await generation.wait()
    assert kept.written["a"] == Written("Four.", "Two and two.", 12.5)


async def test_stop_while_it_thinks_keeps_the_thoughts_that_were_shown(running, kept, clock, pieces_take_long):
    source = Source()
    generation = running.start("a", source, kept.settle("a"))
    source.queue.put_nowait(Delta(reasoning="Shown."))
    await thought(generation, "Shown.")
    clock.now = 3.0
    source.queue.put_nowait(Delta(reasoning=" Not shown yet."))
    await asyncio.sleep(0)
    await generation.stop()
    assert kept.written["a"] == Written("", "Shown.", 3.0)
    assert kept.endings["a"] == ("", Ending("stopped"))
