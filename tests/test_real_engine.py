"""What Parley relies on in vLLM itself, shown on the real one (fixture `vllm_server`)."""

from __future__ import annotations

import asyncio
import stat
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from chat.conversation import Message, SamplingParams
from chat.db import Database
from chat.engines.adapters import OpenAIEngine
from chat.engines.errors import EngineRefused, PromptTooLong
from chat.engines.guard import processes
from chat.generation import Generations
from chat.models.catalog import Catalog, ModelEntry
from chat.service import ChatService
from chat.store import Store
from tests.support.fakes import FakePool
from tests.support.real_engine import AT_ONCE, CONTEXT, RealEngine

PATIENCE = 120.0
OWNER = "1" * 32
LONG = SamplingParams(temperature=1.0, seed=1, max_tokens=CONTEXT - 200)


async def shows(engine: RealEngine, requests: tuple[int, int], seconds: float) -> bool:
    """Whether the engine's metrics show so many running and waiting requests within `seconds`."""
    end = time.monotonic() + seconds
    while await engine.requests() != requests:
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(0.002)
    return True


def test_it_came_up_by_the_stages_it_reported(vllm_server: RealEngine) -> None:
    stages = [status.stage for status in vllm_server.stages]
    assert stages[0] == "starting" and stages[-1] == "ready" and {"loading", "warming"} & set(stages)
    assert vllm_server.server.status.detail == "Ready."


@pytest.mark.anyio
async def test_it_answers_through_the_socket_and_says_why_it_ended(vllm_server: RealEngine) -> None:
    engine, hello = vllm_server.adapter(), [Message("user", "Hello")]
    deltas = [delta async for delta in engine.stream(hello, SamplingParams(max_tokens=16, seed=1))]
    read = await engine.count(hello)
    await engine.aclose()
    assert "".join(delta.text for delta in deltas).strip()
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] in (["stop"], ["length"])
    assert [read < delta.tokens <= read + 16 for delta in deltas if delta.tokens] == [True]


@pytest.mark.anyio
async def test_the_same_seed_gives_the_same_answer(vllm_server: RealEngine) -> None:
    engine = vllm_server.adapter()
    params = SamplingParams(temperature=1.5, max_tokens=24, seed=7)
    texts = [
        "".join([delta.text async for delta in engine.stream([Message("user", "Tell me something")], params)])
        for _ in range(2)
    ]
    await engine.aclose()
    assert texts[0] == texts[1]


@pytest.mark.anyio
async def test_long_prompts_with_a_seed_at_the_same_time_are_answered(vllm_server: RealEngine) -> None:
    """More tokens than one step takes: cut in pieces on a CPU, a prompt with a seed ends vLLM itself (gpu_model_runner.py
    sets the offset of a generator that has none)."""
    # One request with several prompts, so that they reach the engine together; the chat template would cut each short.
    asked = {"model": "real", "prompt": [f"{n} " + "word " * 1200 for n in range(AT_ONCE)], "seed": 7, "max_tokens": 4}
    key = {"authorization": f"Bearer {vllm_server.server.api_key}"}
    transport = httpx.AsyncHTTPTransport(uds=str(vllm_server.server.uds))
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm", headers=key, timeout=120) as client:
        answer = await client.post("/v1/completions", json=asked)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["usage"]["prompt_tokens"] > 4 * 2048, "too few tokens to be more than one step's"


@pytest.mark.anyio
async def test_stopping_in_mid_answer_frees_the_request(vllm_server: RealEngine) -> None:
    """Before it would have ended by itself. How soon is measured by `make campaign ARGS=stop`."""
    engine, ended = vllm_server.adapter(endless=True), await vllm_server.ended_by_itself()
    stream = engine.stream([Message("user", "Tell me a story")], LONG)
    await anext(stream)
    assert await shows(vllm_server, (1, 0), PATIENCE)
    await stream.aclose()
    assert await shows(vllm_server, (0, 0), PATIENCE)
    assert await vllm_server.ended_by_itself() == ended
    await engine.aclose()


@pytest.mark.anyio
async def test_stopping_before_the_first_token_frees_the_request(vllm_server: RealEngine) -> None:
    engine, ended = vllm_server.adapter(endless=True), await vllm_server.ended_by_itself()
    # The engine is full, so that one more request has no token until another one ends.
    busy = [engine.stream([Message("user", f"Tell me a story, {n}")], LONG) for n in range(AT_ONCE)]
    await asyncio.gather(*(anext(stream) for stream in busy))
    waiting = asyncio.create_task(anext(engine.stream([Message("user", "And me")], LONG)))
    assert await shows(vllm_server, (AT_ONCE, 1), PATIENCE)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert await shows(vllm_server, (AT_ONCE, 0), PATIENCE)
    await asyncio.gather(*(stream.aclose() for stream in busy))
    assert await shows(vllm_server, (0, 0), PATIENCE)
    assert await vllm_server.ended_by_itself() == ended
    await engine.aclose()


@pytest.mark.anyio
async def test_a_cut_off_answer_is_continued_where_it_stands(vllm_server: RealEngine) -> None:
    engine = vllm_server.adapter()
    prompt, greedy = Message("user", "Who are you?"), SamplingParams(temperature=0.0, max_tokens=20)
    whole = "".join([delta.text async for delta in engine.stream([prompt], greedy)])
    words = whole.split(" ")  # cut between words: in the middle of one the tokens would be others
    half = " ".join(words[: len(words) // 2])
    cut = [prompt, Message("assistant", half)]
    rest = "".join([delta.text async for delta in engine.stream(cut, greedy, continue_last=True)])
    await engine.aclose()
    assert (half + rest)[: len(half) + 3] == whole[: len(half) + 3]


@pytest.mark.anyio
async def test_an_answer_stopped_twice_in_its_middle_keeps_every_letter_and_goes_on(
    vllm_server: RealEngine, tmp_path: Path
) -> None:
    """By the app's own Stop and Continue. The engine ends an answer at its longest length only, so each is caught."""
    engine, db = vllm_server.adapter(endless=True), Database.open(tmp_path)
    store = Store(db, time.time)
    await db.write(lambda c: c.execute("INSERT INTO owners VALUES (?, 'anonymous', 1.0, 1.0)", (OWNER,)))
    catalog = Catalog((ModelEntry("real", label="Real", context=CONTEXT),), "real")
    service = ChatService(store, catalog, FakePool(engine), Generations(store.checkpoint, time.monotonic), {})
    params = {"temperature": 0.0, "max_tokens": 400}

    async def until_longer(id: str, than: int) -> None:
        async for _ in service.generations.get(id).changes():
            if len(service.generations.get(id).text) > than:
                return

    try:
        _, _, running = await service.send(OWNER, None, "Who are you?", params=params)
        before = ""
        for times in range(2):
            await until_longer(running.id, len(before) + 20)
            shown = service.generations.get(running.id).text
            stopped = await service.stop_answer(OWNER, running.id)
            assert (stopped.state, stopped.continued) == ("stopped", times)
            assert stopped.content.startswith(shown) and stopped.content.startswith(before)
            before = stopped.content
            await service.continue_answer(OWNER, running.id)
        await service.generations.get(running.id).wait()
        whole = await store.message(OWNER, running.id)
        assert (whole.state, whole.finish_reason, whole.continued) == ("done", "length", 2)
        assert whole.content.startswith(before) and whole.content[len(before) :].strip()
    finally:
        await service.stop()
        await engine.aclose()
        db.close()


@pytest.mark.anyio
async def test_a_prompt_beyond_the_context_is_refused_by_name(vllm_server: RealEngine) -> None:
    engine = vllm_server.adapter()
    with pytest.raises(PromptTooLong):
        async for _ in engine.stream([Message("user", "word " * CONTEXT * 2)], SamplingParams(max_tokens=8)):
            pass
    await engine.aclose()


@pytest.mark.anyio
async def test_without_the_key_of_this_start_nothing_is_answered(vllm_server: RealEngine) -> None:
    stranger = OpenAIEngine("http://vllm", "real", vllm=True, api_key="guess", uds=vllm_server.server.uds)
    with pytest.raises(EngineRefused):
        async for _ in stranger.stream([Message("user", "Hello")], SamplingParams()):
            pass
    await stranger.aclose()


@pytest.mark.anyio
async def test_what_is_said_reaches_neither_output_nor_command_line(vllm_server: RealEngine) -> None:
    secret = "xylophone-marmalade"
    engine = vllm_server.adapter()
    async for _ in engine.stream([Message("user", secret)], SamplingParams(max_tokens=4)):
        pass
    with suppress(PromptTooLong):
        async for _ in engine.stream([Message("user", secret * CONTEXT)], SamplingParams(max_tokens=4)):
            pass
    transport = httpx.AsyncHTTPTransport(uds=str(vllm_server.server.uds))
    async with httpx.AsyncClient(transport=transport, base_url="http://vllm") as client:
        metrics = (await client.get("/metrics")).text
    await engine.aclose()
    assert secret not in "\n".join(vllm_server.server.log_tail) + metrics


def test_its_sockets_stand_in_a_folder_only_this_user_may_enter_and_it_listens_on_no_port(
    vllm_server: RealEngine,
) -> None:
    folder = vllm_server.server.uds.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len([path for path in folder.iterdir() if stat.S_ISSOCK(path.stat().st_mode)]) >= 2  # vLLM's own too
    table = processes()
    below = {pid for pid, (_, session, _) in table.items() if b"vllm" in _command_line(session).lower()}
    assert len(below) >= 2
    listening = _listening_inodes()
    for pid in below:
        held = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        assert not {f"socket:[{inode}]" for inode in listening} & held


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _listening_inodes() -> set[str]:
    """Inodes of TCP sockets that listen on an address other than loopback (proc(5): state 0A)."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            parts = line.split()
            local = parts[1].partition(":")[0]
            if parts[3] == "0A" and not local.endswith("7F") and local != "0" * 24 + "01000000":
                found.add(parts[9])
    return found
