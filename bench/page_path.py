"""What the page's path costs over the bare engine: time to the first token, and the server's CPU per token.

The engine is scripted, with an exact token clock, in a process of its own; so is the app. A caller of the page's path posts
a turn and reads the live route until the first text, as the page does; a caller of the bare engine reads its stream.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.report import Table, calibration
from tests.support.app_process import AppProcess, engine_process

FIRST, INTERVAL, TOKENS = 0.05, 0.02, 12
STREAMS = (1, 10, 30)
ROUNDS = 8
AIMS = {1: 10, 10: 30, 30: 60}  # ms
LONG = 500  # messages


async def bare(client: aiohttp.ClientSession, prompt: str) -> float:
    """Milliseconds to the first token of the engine itself."""
    began = time.perf_counter()
    first = 0.0
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with client.post("/v1/chat/completions", json=body) as response:
        async for line in response.content:
            if not first and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                first = (time.perf_counter() - began) * 1000
    return first


class Page:
    """One visitor with a conversation, as the page talks to the server."""

    def __init__(self, url: str) -> None:
        # The cookie jar takes cookies of an IP address, which this machine's is.
        jar = aiohttp.CookieJar(unsafe=True)
        self.client = aiohttp.ClientSession(url, headers={"X-Parley": "1"}, cookie_jar=jar)
        self.conversation: str | None = None

    async def send(self, prompt: str) -> float:
        """Post a turn and read it to its end; milliseconds to the first text."""
        began = time.perf_counter()
        async with self.client.post("/api/turns", json={"text": prompt, "conversation": self.conversation}) as response:
            turn = await response.json()
        self.conversation = turn["conversation"]["id"]
        first = 0.0
        async with self.client.get(f"/api/answers/{turn['answer']['id']}/live?at=0") as response:
            async for line in response.content:
                if not first and line.startswith(b"data: {") and b'"at"' in line:
                    first = (time.perf_counter() - began) * 1000
        return first


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} / {sorted(values)[int(len(values) * 0.95)]:.1f}"


async def first_token(table: Table, engine_url: str, app_url: str) -> None:
    prompt = f"/clock tokens={TOKENS} first={FIRST} interval={INTERVAL}"
    for streams in STREAMS:
        async with aiohttp.ClientSession(engine_url) as engine:
            pages = [Page(app_url) for _ in range(streams)]
            await asyncio.gather(*(page.send(prompt) for page in pages))
            alone, through = [], []
            for _ in range(ROUNDS):
                alone += await asyncio.gather(*(bare(engine, prompt) for _ in range(streams)))
                through += await asyncio.gather(*(page.send(prompt) for page in pages))
            added = statistics.median(through) - statistics.median(alone)
            table.add(
                f"first token, {streams} streams at once",
                f"{spread(alone)} ms",
                f"{spread(through)} ms",
                f"+{added:.1f} ms (aim {AIMS[streams]})",
                statistics.median(through) / statistics.median(alone),
            )
            for page in pages:
                await page.client.close()


async def long_conversation(table: Table, app_url: str) -> None:
    prompt = f"/clock tokens=2 first={FIRST} interval=0.001"
    short, long = Page(app_url), Page(app_url)
    for _ in range(LONG // 2):
        await long.send(prompt)
    times: dict[Page, list[float]] = {short: [], long: []}
    for _ in range(5 * ROUNDS):
        short.conversation = None
        for page in (short, long):
            times[page].append(await page.send(prompt))
    table.add(
        f"first token in a conversation of {LONG} messages",
        f"{spread(times[short])} ms in a new one",
        f"{spread(times[long])} ms",
        "aim: ratio at most 1.3",
        statistics.median(times[long]) / statistics.median(times[short]),
    )
    for page in (short, long):
        await page.client.close()


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def cpu_per_token(table: Table, app: AppProcess, streams: int = 64, tokens: int = 400) -> None:
    pages = [Page(app.url) for _ in range(streams)]
    await asyncio.gather(*(page.send("/clock tokens=2 first=0.01 interval=0.01") for page in pages))
    before, began = cpu_seconds(app.process.pid), time.perf_counter()
    await asyncio.gather(*(page.send(f"/clock tokens={tokens} first=0.05 interval=0.02") for page in pages))
    used, took = cpu_seconds(app.process.pid) - before, time.perf_counter() - began
    json_ms = calibration()
    per_token = used * 1000 / (streams * tokens)
    table.add(
        f"server CPU per delivered token, {streams} streams of 50 tokens/s",
        f"{json_ms:.4f} ms for one JSON dump of a chunk",
        f"{per_token:.4f} ms ({used:.2f} s of CPU in {took:.1f} s)",
        "aim 0.1 ms",
        per_token / json_ms,
    )
    for page in pages:
        await page.client.close()


async def measure(table: Table, engine_url: str, app: AppProcess) -> None:
    await first_token(table, engine_url, app.url)
    await long_conversation(table, app.url)
    await cpu_per_token(table, app)


def main() -> Table:
    table = Table("The page's path against the bare engine", ("what", "baseline", "Parley", "note", "ratio"))
    with tempfile.TemporaryDirectory() as folder, engine_process() as engine_url:
        with AppProcess(Path(folder) / "data", forked=False, ENGINE_URL=engine_url) as app:
            asyncio.run(measure(table, engine_url, app))
    return table


if __name__ == "__main__":
    print(main())
