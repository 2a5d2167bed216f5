"""The list and the search of one owner with 100,000 conversations beside 900,000 of others, and what they cost in memory.

Asked over HTTP, one after the other, of the app in a process of its own; the database is written beforehand as the app
writes it. Each figure stands beside the one from a store of a tenth of the size, made and asked in the same run: what grows
with the list shows. A smaller run: BENCH_CONVERSATIONS=10000 make bench ARGS=conversations. Filling takes most of the time:
BENCH_STORE=FOLDER keeps what was filled for the next run.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import httpx

from bench.campaign import RESULTS, machine
from bench.page_path import cpu_seconds
from bench.report import Table, calibration
from chat.conversation import SamplingParams
from chat.db import connect
from chat.stored import dump
from chat.words import tokens
from tests.support.app_process import AppProcess, engine_process

OWN = int(os.environ.get("BENCH_CONVERSATIONS", "100000"))
OTHERS = 9  # times as many, of others
THEIRS = 100  # conversations of each other owner
ASKED = 100  # times, for a p95
WORDS = 50_000
PAGE, LAST_PAGE = 50, 300
DAYS = 900  # that the conversations are spread over
AIMS = {"list": 20, "common": 50, "search": 20}  # ms
MEMORY_AIM = 150  # MB
TURN = "a turn is kept, and its answer begun"


class Language:
    """Made-up words, as often as Zipf says: the first few make up much of every text."""

    def __init__(self) -> None:
        self.draw = random.Random(11)
        syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
        made: dict[str, None] = {}
        while len(made) < WORDS:
            made["".join(self.draw.choices(syllables, k=self.draw.randint(1, 4)))] = None
        self.words = list(made)
        self.weights = list(accumulate(1 / (rank + 1) for rank in range(WORDS)))

    def text(self, shortest: int, longest: int) -> str:
        return " ".join(self.draw.choices(self.words, cum_weights=self.weights, k=self.draw.randint(shortest, longest)))


def fill(
    db: sqlite3.Connection,
    language: Language,
    owner: str,
    count: int,
    texts: Callable[[], tuple[str, str]],
    taken: set[int],
) -> None:
    """So many conversations of a turn each, the newest now, as they are when all of them are in the
    index. `taken`: its entries."""
    params = dump(SamplingParams())
    first, step = time.time() - DAYS * 86400, DAYS * 86400 / (count + 1)
    for number in range(count):
        id, prompt, answer = (secrets.token_hex(16) for _ in range(3))
        question, said = texts()
        at = first + number * step + language.draw.random() * step / 2
        entry = int(at * 1000)
        while taken & {entry, entry + 1, entry + 2}:
            entry += 3
        taken |= {entry, entry + 1, entry + 2}
        title = question[:60]
        db.execute(
            "INSERT INTO conversations (id, owner, title, model, params, leaf, revision, saved_revision, created_at,"
            " updated_at, pinned, title_entry) VALUES (?, ?, ?, 'scripted', ?, ?, 2, 2, ?, ?, ?, ?)",
            (id, owner, title, params, answer, at, at, number % 5000 == 0, entry),
        )
        db.execute(
            "INSERT INTO messages (id, conversation, role, content, created_at, surface, search_entry)"
            " VALUES (?, ?, 'user', ?, ?, 'page', ?)",
            (prompt, id, question, at, entry + 1),
        )
        db.execute(
            "INSERT INTO messages (id, conversation, parent, role, content, created_at, model, params, state, depth,"
            " settled_at, search_entry) VALUES (?, ?, ?, 'assistant', ?, ?, 'scripted', ?, 'done', 1, ?, ?)",
            (answer, id, prompt, said, at, params, at, entry + 2),
        )
        for place, text in enumerate((title, question, said)):
            db.execute("INSERT INTO search (rowid, words) VALUES (?, ?)", (entry + place, tokens(owner, text)))


def build(data_dir: Path, owner: str, language: Language, own: int) -> list[str]:
    """Fill the app's database, and return some of the owner's texts."""
    db = connect(data_dir / "parley.db")
    db.execute("PRAGMA cache_size = -600000")
    db.execute("PRAGMA synchronous = OFF")
    seen: list[str] = []
    taken: set[int] = set()

    def mine() -> tuple[str, str]:
        pair = language.text(6, 20), language.text(20, 80)
        if language.draw.random() < 5000 / own:
            seen.append(pair[1])
        return pair

    pool = [(language.text(6, 20), language.text(20, 80)) for _ in range(3000)]
    for _ in range(OTHERS * own // THEIRS):
        db.execute("BEGIN")
        other = secrets.token_hex(16)
        db.execute("INSERT INTO owners VALUES (?, 'anonymous', 1, ?)", (other, time.time()))
        fill(db, language, other, THEIRS, lambda: language.draw.choice(pool), taken)
        db.execute("COMMIT")
    for _ in range(0, own, 1000):
        db.execute("BEGIN")
        fill(db, language, owner, min(1000, own), mine, taken)
        db.execute("COMMIT")
    db.execute("DELETE FROM stale_accounts")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return seen


def queries(language: Language, seen: list[str]) -> dict[str, Callable[[], str]]:
    """One query after the other, by class."""
    draw = random.Random(5)
    word = language.words

    def phrase() -> str:
        words = draw.choice(seen).split()
        at = draw.randrange(len(words) - 3)
        return f'"{" ".join(words[at : at + 3])}"'

    return {
        "a rare word": lambda: f"{word[draw.randrange(10_000, WORDS)]} ",
        "two words": lambda: f"{word[draw.randrange(20, 200)]} {word[draw.randrange(200, 5000)]} ",
        "two common words": lambda: f"{word[draw.randrange(20)]} {word[draw.randrange(20)]} ",
        "a prefix of two letters": lambda: word[draw.randrange(2000)][:2],
        "a prefix of four letters": lambda: word[draw.randrange(2000)].ljust(4, "a")[:4],
        "a phrase of three words": phrase,
        "a common word": lambda: f"{word[draw.randrange(20)]} ",
    }


@dataclass(frozen=True)
class Took:
    """Milliseconds. `cpu`: of the app's process, for each request; it tells more than the others on a busy machine."""

    p50: float
    p95: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p95:.1f} / {self.cpu:.1f} ms"


def took(pid: int, ask: Callable[[], object], times: int = ASKED) -> Took:
    taken, before = [], cpu_seconds(pid)
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    cpu = (cpu_seconds(pid) - before) * 1000 / times
    return Took(taken[len(taken) // 2], taken[int(len(taken) * 0.95)], cpu)


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Made:
    """A store that is filled, and the browser that owns most of it. The cookie is called after the port."""

    port: int
    cookies: dict[str, str]
    seen: list[str]


def client_of(app: AppProcess, cookies: Mapping[str, str] | None = None) -> httpx.Client:
    return httpx.Client(base_url=app.url, headers={"X-Parley": "1"}, cookies=dict(cookies or {}), timeout=120)


def turn(client: httpx.Client) -> str:
    answer = client.post("/api/turns", json={"text": "/clock tokens=2 first=0 interval=0"}).raise_for_status().json()
    return answer["conversation"]["id"]


def ask_all(pid: int, client: httpx.Client, language: Language, seen: list[str]) -> Iterator[tuple[str, str, Took]]:
    """(what, class, what it took) of every question."""

    def page(key: str | None) -> str | None:
        got = client.get("/api/conversations", params={"before": key} if key else None).raise_for_status()
        return got.json()["next"]

    yield "a request that reads nothing but who asks", "", took(pid, lambda: client.get("/api/retention"))
    yield "list, page 1", "list", took(pid, lambda: page(None))
    key = None
    for _ in range(LAST_PAGE - 1):
        key = page(key) or key
    yield f"list, page {LAST_PAGE}", "list", took(pid, lambda: page(key))
    for name, make in queries(language, seen).items():
        kind = "common" if name == "a common word" else "search"

        def ask(make: Callable[[], str] = make) -> None:
            client.post("/api/search", json={"query": make()}).raise_for_status()

        yield f"search, {name}", kind, took(pid, ask)
    yield TURN, "", took(pid, lambda: turn(client), 40)


def made(folder: Path, variables: Mapping[str, str], own: int, language: Language) -> Made:
    """The store in `folder`, filled where it is not."""
    note = folder / "made.json"
    if note.exists():
        return Made(**json.loads(note.read_text()))
    with AppProcess(folder / "data", **variables) as app, client_of(app) as client:
        first = turn(client)
        store = Made(app.port, dict(client.cookies), ["one two three four five"])
    if own:
        db = connect(folder / "data" / "parley.db")
        owner = db.execute("SELECT owner FROM conversations WHERE id = ?", (first,)).fetchone()["owner"]
        db.close()
        began = time.monotonic()
        store.seen = build(folder / "data", owner, language, own)
        size = (folder / "data" / "parley.db").stat().st_size / 1e6
        print(
            f"{own} conversations beside {OTHERS * own}: {size:.0f} MB in {time.monotonic() - began:.0f} s", flush=True
        )
    note.write_text(json.dumps(asdict(store)))
    return store


def measure(folder: Path, engine: str, own: int, language: Language) -> tuple[dict[str, tuple[str, Took]], float]:
    """What every question took, by what it was, and the memory of the app after all of them, in MB."""
    variables = {"ENGINE_URL": engine, "SYNC_SECONDS": "3600"}
    store = made(folder, variables, own, language)
    with (
        AppProcess(folder / "data", port=store.port, forked=False, **variables) as app,
        client_of(app, store.cookies) as client,
    ):
        if len(client.get("/api/conversations").json()["items"]) < min(PAGE, own + 1):
            raise SystemExit("The list does not hold what was written.")
        found = {what: (kind, took) for what, kind, took in ask_all(app.process.pid, client, language, store.seen)}
        return found, resident_mb(app.process.pid)


def main() -> str:
    on, language = machine(), Language()
    keep = os.environ.get("BENCH_STORE")
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory() as folder, engine_process() as engine:
        results = [measure(Path(folder) / str(own), engine, own, language) for own in (0, OWN // 10, OWN)]
    (bare, empty), (small, small_mb), (large, large_mb) = results
    table = Table(
        f"One owner with {OWN:,} conversations beside {OTHERS * OWN:,} of others, over HTTP",
        (
            "what",
            f"{OWN // 10:,} beside {OTHERS * OWN // 10:,}: p50 / p95 / CPU",
            "p50 / p95 / CPU",
            "growth of the CPU",
            "aim, p95",
        ),
    )
    for what, (kind, figures) in large.items():
        # A page that a small list does not have is its last one. What writes is set beside an empty store: half a second
        # after each turn its words go into the index.
        base = (small if what != TURN else bare)[what][1]
        what = what if what != TURN else f"{TURN} (left: in an empty store)"
        aim = f"{AIMS[kind]} ms" if kind else ""
        table.add(what, base, figures, figures.cpu / base.cpu if base.cpu else "", aim)
    table.add(
        "memory of the app above the empty store",
        f"{small_mb - empty:+.0f} MB",
        f"{large_mb - empty:+.0f} MB, of {large_mb:.0f}",
        "",
        f"{MEMORY_AIM} MB",
    )
    json_ms = calibration()
    recorded = f"{table}\nOne JSON dump of a chunk in this run: {json_ms:.4f} ms. {on}.\n"
    if OWN == 100_000:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "conversations.md").write_text(
            f"{recorded}Again: `make bench ARGS=conversations`.\n", encoding="utf-8"
        )
    return recorded


if __name__ == "__main__":
    print(main())
