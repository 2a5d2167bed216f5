"""What an answer costs the browser: how busy its main thread is while 800 tokens arrive in 4 seconds, and its longest task.

In Chromium, over the real app and a scripted engine that keeps time by the clock. The answer holds what answers hold: text,
lists, code, a table, formulas. It is read in a new conversation, in one of 500 messages as it is opened (the newest few
dozen are on the page), and in the same one after all 500 were shown (sending lets go of those far above).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import CDPSession, Page

from bench.report import Table, calibration
from tests.support.app_process import AppProcess, engine_process
from tests.support.browser import DESKTOP, chromium
from tests.support.page import ready

TOKENS, SECONDS = 800, 4.0
MESSAGES = 500
ROUNDS = 3
BUSY_AIM, TASK_AIM = 30, 100  # percent, ms

BLOCKS = """\
Temperature decides how **adventurous** the next word is, and `top_p` how many words are looked at. Each of them is a number \
that you set, and neither of them changes what the model knows about the matter at hand.

- The first thing is *simple*: a low number takes the likeliest word.
- The second is a [link](https://example.org/page) to somewhere else.
- The third says that prices such as $5 and $10 are no formulas.

```python
def softmax(scores: list[float], temperature: float) -> list[float]:
    weights = [exp(score / temperature) for score in scores]
    total = sum(weights)  # never nought
    return [weight / total for weight in weights]
```

| Temperature | What you get | Good for |
|---|---|---:|
| 0.2 | the likeliest words | 1 |
| 1.2 | surprises, verse and ideas | 20 |

The probability of a word is $p_i = \\frac{e^{x_i/T}}{\\sum_j e^{x_j/T}}$, and it follows that

$$\\sum_i p_i = 1$$

> What is quoted stands apart, and goes on for a line or two until it ends.
"""


def answer(tokens: int) -> str:
    """Markdown of so many words."""
    words = len(BLOCKS.split())
    blocks = (BLOCKS + "\n") * (tokens // words)
    return blocks + " ".join(["word"] * (tokens - len(blocks.split())))


@dataclass
class Read:
    """What the browser's main thread did meanwhile, in CPU time, since other work on the machine would count otherwise.

    `busy`: percent of `seconds`. `longest`: ms of the longest task, known of a traced one (else 0);
    `longest_wall`: ms by the clock, of tasks of 50 ms and more, else 0.
    """

    busy: float
    seconds: float
    longest: float
    longest_wall: float


WATCH = """() => { window.longTasks = []; window.watching?.disconnect();
    window.watching = new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((e) => e.duration)));
    window.watching.observe({type: "longtask"}); }"""


def worked(session: CDPSession) -> float:
    """Seconds of CPU that the main thread has used in tasks."""
    found = session.send("Performance.getMetrics")["metrics"]
    return next(entry["value"] for entry in found if entry["name"] == "TaskDuration")


def watched(page: Page, session: CDPSession, happens: Callable[[], None], traced: bool = False) -> Read:
    page.evaluate(WATCH)
    if traced:
        page.context.browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    before, began = worked(session), time.perf_counter()
    happens()
    busy, seconds = worked(session) - before, time.perf_counter() - began
    longest = longest_task(page.context.browser.stop_tracing()) if traced else 0.0
    return Read(100 * busy / seconds, seconds, longest, max(page.evaluate("window.longTasks"), default=0.0))


def longest_task(trace: bytes) -> float:
    """Milliseconds of CPU of the longest task of any renderer's main thread."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = (e for e in events if e["name"] == "RunTask" and "dur" in e and (e["pid"], e["tid"]) in main)
    return max((task.get("tdur", task["dur"]) for task in tasks), default=0) / 1000


def read(page: Page, session: CDPSession, traced: bool = False) -> Read:
    """Send a prompt and read the answer to its end."""
    newest = "[...document.querySelectorAll('.turn.answer:has(.foot)')].at(-1)?.dataset.id"
    before = page.evaluate(newest)
    page.get_by_label("Message", exact=True).fill("Go on.")

    def happens() -> None:
        page.get_by_role("button", name="Send", exact=True).click()
        # Looked for by the page itself, and once in a while: a look that costs would be measured too.
        page.wait_for_function(f"(before) => {newest} !== before", arg=before, polling=200, timeout=60_000)

    return watched(page, session, happens, traced)


def several(page: Page, session: CDPSession, before: Callable[[Page], None] = lambda page: None) -> list[Read]:
    """`ROUNDS` answers, and one that is traced, which costs time of its own, for its longest task alone."""
    reads = []
    for n in range(ROUNDS + 1):
        before(page)
        reads.append(read(page, session, traced=n == ROUNDS))
    return reads


def write(page: Page, messages: int) -> str:
    """A conversation of so many messages, by the routes; its id."""
    text = "/say " + answer(60)
    return page.evaluate(
        """async ([text, turns]) => {
            const headers = {"X-Parley": "1", "Content-Type": "application/json"};
            let conversation = null;
            for (let n = 0; n < turns; n++) {
                const sent = await fetch("/api/turns", {method: "POST", headers, body: JSON.stringify({conversation, text})});
                const turn = await sent.json();
                conversation = turn.conversation.id;
                await (await fetch(`/api/answers/${turn.answer.id}/live?at=0`)).text();
            }
            return conversation;
        }""",
        [text, messages // 2],
    )


def show_all(page: Page) -> None:
    """Every earlier message, too."""
    while page.locator("#p-earlier").is_visible():
        count = page.locator(".turn").count()
        page.locator("#p-earlier").click(force=True)
        page.wait_for_function(f"document.querySelectorAll('.turn').length > {count}")


def add(table: Table, what: str, reads: list[Read], baseline: list[Read]) -> None:
    *plain, traced = reads
    busy, alone = statistics.median(r.busy for r in plain), statistics.median(r.busy for r in baseline[:-1])
    seconds = statistics.median(r.seconds for r in plain)
    wall = max(r.longest_wall for r in plain)
    table.add(
        what,
        f"{alone:.1f} %",
        f"{busy:.1f} % of {seconds:.1f} s (aim {BUSY_AIM})",
        f"{traced.longest:.0f} ms (aim {TASK_AIM})",
        f"{wall:.0f} ms" if wall else "under 50 ms",
        busy / alone,
    )


def measure(table: Table, url: str) -> None:
    with chromium() as browser:
        page = browser.new_context(viewport=DESKTOP).new_page()
        page.goto(url)
        ready(page)
        long = write(page, MESSAGES)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(url)
        page.reload()
        ready(page)
        nothing = [watched(page, session, lambda: page.wait_for_timeout(SECONDS * 1000), n == 1) for n in range(2)]
        new = several(page, session)
        page.goto(f"{url}/#c={long}")
        page.reload()
        ready(page)
        opened = several(page, session)
        whole = several(page, session, before=show_all)
    add(table, "nothing to read", nothing, nothing)
    add(table, "in a new conversation", new, new)
    add(table, f"in one of {MESSAGES} messages, as it opens", opened, new)
    add(table, f"in one of {MESSAGES} messages, all of them shown before", whole, new)
    table.add("this machine", "", f"{calibration():.4f} ms for one JSON dump of a chunk", "", "", "")


def main() -> Table:
    title = f"The browser while an answer of {TOKENS} tokens arrives in {SECONDS:g} s"
    table = Table(
        title,
        ("where", "busy in a new conversation", "main thread busy", "longest task", "longest by the clock", "ratio"),
    )
    scenario = f"/say over={SECONDS} {answer(TOKENS)}"
    with tempfile.TemporaryDirectory() as folder, engine_process("--scenario", scenario) as engine_url:
        with AppProcess(Path(folder) / "data", forked=False, ENGINE_URL=engine_url) as app:
            measure(table, app.url)
    return table


if __name__ == "__main__":
    print(main())
