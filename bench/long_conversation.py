"""A conversation of 2,000 messages against one of 10: opening it, on the server and in the browser, and the time that the
path adds to the first token.

The engine is scripted, shows itself as a vLLM that counts tokens, and is asked by itself for the baseline, with the
messages that the app sends it. Both conversations are asked in turn, so that what else the machine does meets both; the
app's CPU time for a turn is told beside, which a busy machine changes less.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, async_playwright

from bench.page_path import Page, spread
from bench.report import Table
from tests.support.app_process import AppProcess, engine_process
from tests.support.browser import DESKTOP, FLAGS, executable

SHORT, LONG = 10, 2000  # messages
FIRST = 0.05  # seconds until the engine's first token
PROMPT = f"/clock tokens=2 first={FIRST} interval=0.001"
SAYING = "/say A **short** answer with a list:\n\n- one\n- two\n\nand a sentence after it."
OPENINGS, TURNS, VISITS = 60, 60, 15


async def filled(app_url: str, messages: int) -> Page:
    page = Page(app_url)
    for _ in range(messages // 2):
        await page.send(SAYING)
    return page


async def open_on_server(page: Page) -> float:
    """Milliseconds for what the page asks when a conversation is opened."""
    began = time.perf_counter()
    async with page.client.get(f"/api/conversations/{page.conversation}") as response:
        await response.read()
    return (time.perf_counter() - began) * 1000


async def open_in_browser(browser: Browser, app_url: str, page: Page) -> float:
    """Milliseconds from the click on a conversation to its newest message on the screen, in a page that is up."""
    context = await browser.new_context(viewport=DESKTOP)
    cookies = [{"name": each.key, "value": each.value, "url": app_url} for each in page.client.cookie_jar]
    await context.add_cookies(cookies)
    tab = await context.new_page()
    await tab.goto(app_url)
    await tab.wait_for_selector("html[data-parley=ready]")
    took = await tab.evaluate(
        """id => new Promise(resolve => {
            const list = document.getElementById("p-thread");
            const began = performance.now();
            const seen = new MutationObserver(() => {
                if (!list.querySelector(".answer .foot")) return;
                seen.disconnect();
                requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
            });
            seen.observe(list, {childList: true, subtree: true});
            location.hash = `c=${id}`;
        })""",
        page.conversation,
    )
    await context.close()
    return took


async def bare(client: aiohttp.ClientSession, messages: int) -> float:
    """Milliseconds to the first token of the engine itself, for so many messages."""
    history = [{"role": "user" if n % 2 else "assistant", "content": SAYING} for n in range(1, messages)]
    body = {"model": "scripted", "stream": True, "messages": [*history, {"role": "user", "content": PROMPT}]}
    began, first = time.perf_counter(), 0.0
    async with client.post("/v1/chat/completions", json=body) as response:
        async for line in response.content:
            if not first and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                first = (time.perf_counter() - began) * 1000
    return first


async def messages_read(page: Page) -> int:
    """How many messages the engine was given for the last answer."""
    async with page.client.get(f"/api/conversations/{page.conversation}") as response:
        last = (await response.json())["messages"][-1]
    return last["depth"] - last["omitted"]


def cpu_ms(process: int) -> float:
    """Milliseconds of CPU that all threads of a process have used."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6


async def measure(table: Table, engine_url: str, app_url: str, process: int) -> None:
    short, long = await filled(app_url, SHORT), await filled(app_url, LONG)
    opened: dict[Page, list[float]] = {short: [], long: []}
    for _ in range(OPENINGS):
        for page, times in opened.items():
            times.append(await open_on_server(page))
    compare(table, "opening, the server's part", opened[short], opened[long], "aim: ratio at most 2")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        seen: dict[Page, list[float]] = {short: [], long: []}
        for _ in range(VISITS):
            for page, times in seen.items():
                times.append(await open_in_browser(browser, app_url, page))
        await browser.close()
    compare(table, "opening, in the browser", seen[short], seen[long], "aim: ratio at most 2")

    async with aiohttp.ClientSession(engine_url) as engine:
        first: dict[str, list[float]] = {"short": [], "bare short": [], "long": [], "bare long": []}
        cpu: dict[str, list[float]] = {"short": [], "long": []}
        for round in range(TURNS):
            if round % 5 == 0:
                # The short one grows by its turns: it is begun anew before it is long.
                small = await filled(app_url, SHORT)
            for name, page in (("short", small), ("long", long)):
                before = cpu_ms(process)
                first[name].append(await page.send(PROMPT))
                cpu[name].append(cpu_ms(process) - before)
                first[f"bare {name}"].append(await bare(engine, await messages_read(page)))
            if round % 5 == 4:
                await small.client.close()
    added = {
        name: [through - alone for through, alone in zip(first[name], first[f"bare {name}"], strict=True)]
        for name in ("short", "long")
    }
    compare(table, "time added to the first token", added["short"], added["long"], "aim: ratio at most 1.3")
    compare(table, "the app's CPU time for that turn", cpu["short"], cpu["long"], "")
    for page in (short, long):
        await page.client.close()


def compare(table: Table, what: str, short: list[float], long: list[float], aim: str) -> None:
    ratio = statistics.median(long) / statistics.median(short)
    table.add(what, f"{spread(short)} ms", f"{spread(long)} ms", aim, ratio)


def main() -> Table:
    table = Table(
        f"A conversation of {LONG:,} messages against one of {SHORT} (median / 95th percentile)",
        ("what", f"{SHORT} messages", f"{LONG:,} messages", "note", "ratio"),
    )
    with tempfile.TemporaryDirectory() as folder, engine_process("--owned-by", "vllm") as engine_url:
        with AppProcess(Path(folder) / "data", forked=False, ENGINE_URL=engine_url) as app:
            asyncio.run(measure(table, engine_url, app.url, app.process.pid))
    return table


if __name__ == "__main__":
    print(main())
