"""CPU cost per chunk of our stream reader against httpx' own line reader and, where it is installed, the openai client.

A scripted engine in a process of its own paces the tokens so that each chunk is one read; the CPU seconds of this
process alone are counted.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Callable

import httpx

from bench.report import Table, calibration
from chat.conversation import Message, SamplingParams
from chat.engines.adapters import OpenAIEngine
from tests.support.app_process import engine_process

TOKENS = 3000
INTERVAL = 0.002  # seconds between two tokens


async def ours(url: str, prompt: str) -> AsyncIterator[str]:
    engine = OpenAIEngine(url, "scripted", vllm=True)
    async for delta in engine.stream([Message("user", prompt)], SamplingParams()):
        yield delta.text
    await engine.aclose()


async def httpx_lines(url: str, prompt: str) -> AsyncIterator[str]:
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with httpx.AsyncClient() as http, http.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])["choices"][0]["delta"].get("content", "")


async def openai_client(url: str, prompt: str) -> AsyncIterator[str]:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model="scripted", stream=True, messages=[{"role": "user", "content": prompt}]
        )
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""


async def measure(reader: Callable[[str, str], AsyncIterator[str]], url: str, tokens: int) -> float:
    """CPU milliseconds of this process per token."""
    async for _ in reader(url, "/clock tokens=100 first=0 interval=0"):
        pass
    before, heard = time.process_time(), 0
    async for text in reader(url, f"/clock tokens={tokens} first=0 interval={INTERVAL}"):
        heard += text.count("@")
    if heard != tokens:
        raise SystemExit(f"{reader.__name__} heard {heard} of {tokens} tokens.")
    return (time.process_time() - before) * 1000 / tokens


def main() -> Table:
    table = Table(
        f"Reading an engine's stream, {TOKENS} chunks at {1 / INTERVAL:.0f} a second",
        ("reader", "CPU per chunk", "ratio to ours"),
    )
    readers: list[Callable[[str, str], AsyncIterator[str]]] = [ours, httpx_lines]
    if importlib.util.find_spec("openai"):
        readers.append(openai_client)
    with engine_process() as url:
        costs = {reader.__name__: asyncio.run(measure(reader, url, TOKENS)) for reader in readers}
    table.add("calibration: one JSON dump of a chunk", f"{calibration():.4f} ms", "")
    for name, cost in costs.items():
        table.add(name, f"{cost:.4f} ms", cost / costs["ours"])
    return table


if __name__ == "__main__":
    print(main())
