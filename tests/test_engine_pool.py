"""Which engines are up: started when asked for, swapped in order, never under a running answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chat.conversation import Message, SamplingParams
from chat.engines.adapters import HostedEngine, OpenAIEngine, TGIEngine
from chat.engines.errors import EngineError, EngineOutOfMemory, EngineUnavailable
from chat.engines.machine import Gpu, Machine
from chat.engines.pool import RETRY_SECONDS, EnginePool, build_engine, build_server, share_of
from chat.engines.vllm_server import EngineStatus
from chat.models.catalog import ModelEntry
from tests.support.scripted_engine import ScriptedEngine

MACHINE = Machine((), 16.0, 2)
BOX = Machine((Gpu("H100", 80.0),), 256.0, 32)


class FakeServer:
    """A server whose stage the test sets."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.api_key = "key"
        self.uds = Path("/nowhere/engine.sock")
        self.status = EngineStatus("stopped", "Not running.", 0.0)
        self._name = name
        self._log = log
        self._changed = asyncio.Event()

    def becomes(self, stage: str, detail: str = "") -> None:
        self.status = EngineStatus(stage, detail or stage, 0.0)  # type: ignore[arg-type]
        self._changed.set()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        self._log.append(f"start {self._name}")
        self.becomes("starting", f"Starting {self._name}.")

    async def stop(self) -> None:
        self._log.append(f"stop {self._name}")
        self.becomes("stopped")

    async def watch(self, every: float = 1.0) -> AsyncIterator[EngineStatus]:
        while True:
            changed = self._changed
            yield self.status
            await changed.wait()

    def error(self) -> EngineError:
        return EngineOutOfMemory(self.status.detail)

    async def has_gone(self) -> bool:
        return self.status.stage != "ready"


class Bench:
    """A pool of models a, b (8 GiB each), small and tiny (1 GiB each), huge and away, on fake servers."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.servers: dict[str, FakeServer] = {}
        self.now = 1000.0
        entries = [
            ModelEntry("a", memory_gib=8),
            ModelEntry("b", memory_gib=8),
            ModelEntry("small", memory_gib=1),
            ModelEntry("tiny", memory_gib=1),
            ModelEntry("huge", memory_gib=140, needs_gpu=True),
            ModelEntry("away", kind="openai", model="m", base_url="http://127.0.0.1:1/v1"),
        ]
        self.pool = EnginePool(entries, machine=MACHINE, make_server=self._make, environ={}, clock=lambda: self.now)

    def _make(self, entry: ModelEntry) -> FakeServer:
        self.servers[entry.name] = FakeServer(entry.name, self.log)
        return self.servers[entry.name]

    def ask(self, name: str) -> Answer:
        return Answer(self, name)


class Answer:
    """One answer under way: waits for its engine, holds it until `end`."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.said: list[str | None] = []
        self.holds = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(bench.pool, name))

    async def _run(self, pool: EnginePool, name: str) -> None:
        async with pool.ready(name, self.said.append):
            self.holds = True
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_nothing_is_started_before_somebody_asks() -> None:
    bench = Bench()
    assert bench.pool.status("a").stage == "stopped" and bench.log == []


@pytest.mark.anyio
async def test_who_asks_hears_the_stages_and_gets_the_engine_when_it_is_ready() -> None:
    bench = Bench()
    answer = bench.ask("a")
    await settle()
    assert bench.pool.status("a").stage == "starting" and not answer.holds
    bench.servers["a"].becomes("loading", "Loading the weights (1 s).")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    assert answer.holds and answer.said == ["Starting a.", "Loading the weights (1 s).", None]
    await answer.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_a_swap_waits_for_the_answers_that_run() -> None:
    bench = Bench()
    first = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    second = bench.ask("b")
    await settle()
    assert bench.log == ["start a"] and "Waiting until a" in str(second.said[-1])
    await first.end()
    assert bench.log == ["start a", "stop a", "start b"]
    bench.servers["b"].becomes("ready")
    await second.end()
    await bench.pool.aclose()
    assert bench.log[-1] == "stop b"


@pytest.mark.anyio
async def test_a_busy_model_cannot_keep_another_one_out() -> None:
    bench = Bench()
    first = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    second, third = bench.ask("b"), bench.ask("a")
    await settle()
    assert not third.holds  # b was there first
    await first.end()
    bench.servers["b"].becomes("ready")
    await settle()
    assert second.holds and not third.holds
    fourth = bench.ask("b")
    await settle()
    assert not fourth.holds  # a is next
    await second.end()
    bench.servers["a"].becomes("ready")
    await settle()
    assert third.holds and not fourth.holds
    await third.end()
    bench.servers["b"].becomes("ready")
    await fourth.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_all_who_wait_for_one_model_are_answered_together() -> None:
    bench = Bench()
    first = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    waiting = [bench.ask("b"), bench.ask("a"), bench.ask("b")]
    await settle()
    await first.end()
    bench.servers["b"].becomes("ready")
    await settle()
    assert [answer.holds for answer in waiting] == [True, False, True]
    for answer in (waiting[0], waiting[2]):
        await answer.end()
    bench.servers["a"].becomes("ready")
    await waiting[1].end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_two_that_fit_side_by_side_both_stay() -> None:
    bench = Bench()
    answers = [bench.ask("small"), bench.ask("tiny")]
    await settle()
    assert bench.log == ["start small", "start tiny"]
    for name in ("small", "tiny"):
        bench.servers[name].becomes("ready")
    for answer in answers:
        await answer.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_of_two_idle_engines_the_one_asked_for_longest_ago_makes_room() -> None:
    bench = Bench()
    for name in ("small", "tiny", "small"):
        answer = bench.ask(name)
        await settle()
        bench.servers[name].becomes("ready")
        await answer.end()
    answer = bench.ask("a")
    await settle()
    assert bench.log == ["start small", "start tiny", "stop tiny", "start a"]
    bench.servers["a"].becomes("ready")
    await answer.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_who_gives_up_waiting_leaves_the_queue() -> None:
    bench = Bench()
    first = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    second = bench.ask("b")
    await settle()
    second.task.cancel()
    await settle()
    third = bench.ask("a")
    await settle()
    assert third.holds
    await first.end()
    await third.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_a_failure_reaches_all_who_wait_and_is_not_tried_again_at_once() -> None:
    bench = Bench()
    answers = [bench.ask("a"), bench.ask("a")]
    await settle()
    bench.servers["a"].becomes("failed", "It does not fit.")
    for answer in answers:
        with pytest.raises(EngineOutOfMemory, match="It does not fit"):
            await answer.task
    assert bench.pool.status("a").stage == "failed"
    with pytest.raises(EngineOutOfMemory):
        await bench.ask("a").task
    assert bench.log.count("start a") == 1
    bench.now += RETRY_SECONDS
    again = bench.ask("a")
    await settle()
    assert bench.log.count("start a") == 2
    bench.servers["a"].becomes("ready")
    await again.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_what_the_machine_cannot_run_is_refused_before_anything_is_stopped_or_started() -> None:
    bench = Bench()
    await bench.pool.warm("a")
    with pytest.raises(EngineUnavailable, match="140 GiB of GPU memory"):
        await bench.ask("huge").task
    assert bench.log == ["start a"]
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_a_crash_in_mid_answer_keeps_those_who_wait_waiting() -> None:
    bench = Bench()
    first = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    bench.servers["a"].becomes("restarting", "Starting it again in 1 s.")
    second = bench.ask("a")
    await settle()
    assert not second.holds and second.said == ["Starting it again in 1 s."]
    bench.servers["a"].becomes("ready")
    await settle()
    assert second.holds
    await first.end()
    await second.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_only_an_engine_of_this_machine_can_be_found_gone_and_comes_back() -> None:
    bench = Bench()
    answer = bench.ask("a")
    await settle()
    bench.servers["a"].becomes("ready")
    await settle()
    assert not await bench.pool.has_gone("a")
    bench.servers["a"].becomes("restarting")
    assert await bench.pool.has_gone("a")
    assert not await bench.pool.has_gone("b") and not await bench.pool.has_gone("away")
    await answer.end()
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_warming_starts_the_engine_and_never_raises() -> None:
    bench = Bench()
    await bench.pool.warm("small")
    await bench.pool.warm("small")
    assert bench.log == ["start small"]
    await bench.pool.warm("away")
    await bench.pool.aclose()
    bench = Bench()
    await bench.pool.warm("huge")
    assert bench.pool.status("huge").stage == "failed"


@pytest.mark.anyio
async def test_an_engine_elsewhere_is_ready_and_needs_no_room() -> None:
    bench = Bench()
    assert bench.pool.status("away") == EngineStatus("ready", "Answers come from this machine.", 1000.0)
    async with bench.pool.ready("away") as engine:
        assert isinstance(engine, OpenAIEngine)
    assert bench.log == []
    await bench.pool.aclose()


@pytest.mark.anyio
async def test_after_the_end_nothing_is_started() -> None:
    bench = Bench()
    await bench.pool.aclose()
    with pytest.raises(EngineUnavailable, match="stopping"):
        await bench.ask("a").task


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (ModelEntry("m", base_url="http://127.0.0.1:1/v1"), OpenAIEngine),
        (ModelEntry("m", kind="openai", base_url="http://127.0.0.1:1/v1", api_key_env="KEY"), OpenAIEngine),
        (ModelEntry("m", kind="tgi", base_url="http://127.0.0.1:1"), TGIEngine),
        (ModelEntry("m", kind="hosted", model="org/m"), HostedEngine),
    ],
)
async def test_each_kind_gets_its_adapter(entry: ModelEntry, kind: type) -> None:
    engine = build_engine(entry, {"KEY": "secret", "HF_TOKEN": "hf_x"})
    assert isinstance(engine, kind)
    await engine.aclose()


def test_what_is_missing_for_an_engine_elsewhere_is_named() -> None:
    with pytest.raises(EngineUnavailable, match="set KEY"):
        build_engine(ModelEntry("m", kind="openai", base_url="http://127.0.0.1:1", api_key_env="KEY"), {})
    with pytest.raises(EngineUnavailable, match="HF_TOKEN"):
        build_engine(ModelEntry("m", kind="hosted", model="org/m"), {})
    with pytest.raises(EngineUnavailable, match="base_url"):
        build_engine(ModelEntry("m", kind="tgi"), {})


@pytest.mark.anyio
async def test_a_vllm_elsewhere_gets_vllms_own_fields() -> None:
    with ScriptedEngine() as server:
        engine = build_engine(ModelEntry("m", kind="vllm", model="scripted", base_url=server.url), {})
        async for _ in engine.stream([Message("user", "/say")], SamplingParams(top_k=7), cache_salt="salt"):
            pass
        await engine.aclose()
    assert (server.log[-1].params["top_k"], server.log[-1].params["cache_salt"]) == (7, "salt")


@pytest.mark.anyio
async def test_without_the_client_of_tgi_whoever_asks_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "text_generation", None)
    with pytest.raises(EngineUnavailable, match="M cannot be asked. .*`make run` installs it; .* kind openai"):
        build_engine(ModelEntry("m", label="M", kind="tgi", base_url="http://127.0.0.1:1"), {})


def test_the_entrys_context_and_revision_reach_vllm_and_its_engine_args_go_first(tmp_path: Path) -> None:
    entry = ModelEntry("org/m", revision="v1", context=2048, engine_args={"tensor_parallel_size": 2})
    args = build_server(entry, BOX, tmp_path, {})._extra_args
    assert args == ("--revision=v1", "--tensor-parallel-size=2", "--max-model-len=2048")
    wider = ModelEntry("org/m", context=2048, engine_args={"max_model_len": 512})
    assert build_server(wider, BOX, tmp_path, {})._extra_args == ("--max-model-len=512",)


def test_a_gpu_is_shared_only_by_entries_that_say_how_much_they_take() -> None:
    assert share_of(ModelEntry("m", memory_gib=8), BOX) == 1.0
    assert share_of(ModelEntry("m", engine_args={"gpu_memory_utilization": 0.4}), BOX) == 0.4
    assert share_of(ModelEntry("m", memory_gib=5), MACHINE) == 0.5
    assert share_of(ModelEntry("m"), MACHINE) == 1.0
