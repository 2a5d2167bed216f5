"""CPU cost per chunk of our stream reader against the openai client's and httpx' own line reader.

    python bench/engine_read.py [TOKENS]

A scripted engine in a process of its own paces TOKENS (default 3000) tokens at 500 a second, so that each chunk is
one read; the CPU seconds of this process alone are counted. Prints milliseconds per chunk and the ratio.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from chat.conversation import Message, SamplingParams  # noqa: E402
from chat.engines.adapters import OpenAIEngine

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


def main() -> None:
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    command = [sys.executable, "-m", "tests.support.scripted_engine"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        readers: list[Callable[[str, str], AsyncIterator[str]]] = [ours, httpx_lines]
        try:
            import openai  # noqa: F401

            readers.append(openai_client)
        except ImportError:
            pass
        costs = {reader.__name__: asyncio.run(measure(reader, url, tokens)) for reader in readers}
    finally:
        server.terminate()
        server.wait()
    for name, cost in costs.items():
        print(f"{name:14} {cost:.4f} ms per chunk   {cost / costs['ours']:.2f} x ours")


if __name__ == "__main__":
    main()
