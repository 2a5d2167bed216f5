"""The app with its own vLLM, ended in every way: no process stays behind, and no acknowledged message is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.report import Table
from tests.support.app_process import AppProcess

SEED = 3
KILLS = 10
PATIENCE = 10.0  # seconds in which the last process must be gone
START = 300.0  # seconds for vLLM to come up on a busy machine
PARAMS = {"temperature": 1.5, "max_tokens": 1500}


@dataclass(frozen=True)
class Moment:
    """So many seconds after the start, or after the first words of an answer."""

    seconds: float
    in_answer: bool

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s after the {'first words' if self.in_answer else 'start'}"


class Visitor(threading.Thread):
    """Sends message after message, each in a conversation of its own, and notes which the app acknowledged."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.kept: dict[str, str] = {}  # id -> text
        self.answering = threading.Event()  # an answer has words
        self._url = url
        self._ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, headers={"X-Parley": "1"}, timeout=5) as client:
            while not self._ended.is_set():
                # The app may not be up yet, or not any more: then nothing was acknowledged.
                with suppress(httpx.HTTPError):
                    text = f"Tell me story {len(self.kept)}"
                    turn = client.post("/api/turns", json={"text": text, "params": PARAMS}).raise_for_status().json()
                    self.kept[turn["prompt"]["id"]] = text
                    if client.get("/api/status").raise_for_status().json()["stage"] == "ready":
                        self._wait_for_words(client, turn["answer"]["id"])
                self._ended.wait(0.2)

    def _wait_for_words(self, client: httpx.Client, answer: str) -> None:
        with client.stream("GET", f"/api/answers/{answer}/live?at=0") as events:
            for line in events.iter_lines():
                if '"at"' in line:
                    self.answering.set()
                if self.answering.is_set() or self._ended.is_set():
                    return

    def end(self) -> dict[str, str]:
        self._ended.set()
        self.join()
        return self.kept


def started_with(data_dir: Path) -> set[int]:
    """The processes that inherited this DATA_DIR, whoever their parent is by now. A dead one has no environment."""
    mark, found = f"DATA_DIR={data_dir}\0".encode(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found


def guard_of(app: int) -> int:
    """The guard that the app started: its child (the witness is the guard's)."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == app and b"guard.py" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise RuntimeError("The app has no guard.")


def lost(data_dir: Path, kept: dict[str, str]) -> int:
    """How many acknowledged messages are not in the database, word for word."""
    database = sqlite3.connect(data_dir / "parley.db")
    try:
        there = dict(database.execute("SELECT id, content FROM messages WHERE role = 'user'"))
    finally:
        database.close()
    return sum(there.get(id) != text for id, text in kept.items())


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until `condition`, at most `seconds`."""
    began = time.monotonic()
    while not condition() and time.monotonic() - began < seconds:
        time.sleep(0.02)
    return time.monotonic() - began


def ending(table: Table, how: str, number: signal.Signals, moment: Moment, of_guard: bool = False) -> float:
    """Start the app, end it (or its guard) at that moment, and add what was left to the table.

    Returns the seconds from the start to the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        data_dir, began = Path(folder) / "data", time.monotonic()
        with AppProcess(data_dir, wait=False, forked=False) as app:
            visitor = Visitor(app.url)
            visitor.start()
            if moment.in_answer and not visitor.answering.wait(START):
                raise RuntimeError(f"There was no answer in {START:.0f} s.")
            time.sleep(moment.seconds)
            took = time.monotonic() - began
            before = started_with(data_dir) - ({app.process.pid} if of_guard else set())
            os.kill(guard_of(app.process.pid) if of_guard else app.process.pid, number)
            seconds = wait_for(lambda: not before & started_with(data_dir), PATIENCE)
            left = len(before & started_with(data_dir))
            kept = visitor.end()
        # Where the guard was killed the app went on, with a new engine; now it has ended too.
        wait_for(lambda: not started_with(data_dir), PATIENCE)
        left = max(left, len(started_with(data_dir)))
        missing = lost(data_dir, kept) if kept else 0
        table.add(how, moment, len(before), left, f"{seconds:.2f} s", len(kept), missing)
    return took


def run() -> Table:
    table = Table(
        f"What is left of the app and its vLLM, {PATIENCE:.0f} s after the end",
        ("ended by", "when", "processes", "left", "the last was gone after", "messages acknowledged", "of them lost"),
    )
    seeded = random.Random(SEED)
    answering = [Moment(seeded.uniform(0, 3), in_answer=True) for _ in range(3 + KILLS // 2)]
    longest = ending(table, "SIGTERM", signal.SIGTERM, answering.pop())
    ending(table, "SIGINT", signal.SIGINT, answering.pop())
    ending(table, "guard killed with -9 (its engine)", signal.SIGKILL, answering.pop(), of_guard=True)
    starting = [Moment(seeded.uniform(0.2, 0.8 * longest), in_answer=False) for _ in range(KILLS - len(answering))]
    for moment in starting + answering:
        ending(table, "kill -9", signal.SIGKILL, moment)
    return table
