"""The app under load, killed with -9 at random moments, again and again on the same disk; and what it had called kept."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.app_process import AppProcess

VISITORS = 4
LONGEST_RUN = 1.5  # seconds under load before the kill
AT_LEAST = 8  # things acknowledged before a kill that does not strike a start
STARTING = 0.15  # share of kills while the app is still coming up


@dataclass
class Kept:
    """What the app acknowledged: prompts by id, answers that it called done by id, deleted conversations, titles."""

    prompts: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    of: dict[str, str] = field(default_factory=dict)  # message -> its conversation
    maybe_deleted: set[str] = field(default_factory=set)  # asked for, and no answer came
    maybe_titled: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.prompts) + len(self.answers) + len(self.titles) + len(self.deleted)


class Visitor(threading.Thread):
    """Sends, reads to the end, renames and deletes without a pause, and notes what the app acknowledged."""

    def __init__(self, url: str, seed: str, kept: Kept) -> None:
        super().__init__(daemon=True)
        self._url, self._draw, self._seed, self.kept = url, random.Random(seed), seed, kept
        self._ended = threading.Event()
        self._mine: list[str] = []

    def run(self) -> None:
        number = 0
        with httpx.Client(base_url=self._url, headers={"X-Parley": "1"}, timeout=10) as client:
            while not self._ended.is_set():
                number += 1
                with suppress(httpx.HTTPError, json.JSONDecodeError):
                    self._act(client, number)
                time.sleep(0.002)

    def _act(self, client: httpx.Client, number: int) -> None:
        kept, draw = self.kept, self._draw
        conversation = draw.choice(self._mine) if self._mine and draw.random() < 0.6 else None
        if conversation and draw.random() < 0.15:
            kept.maybe_deleted.add(conversation)
            self._mine.remove(conversation)
            client.delete(f"/api/conversations/{conversation}").raise_for_status()
            kept.deleted.add(conversation)
            return
        if conversation and draw.random() < 0.2:
            kept.maybe_titled.add(conversation)
            kept.titles.pop(conversation, None)
            title = f"Title {self._seed} {number}"
            client.patch(f"/api/conversations/{conversation}", json={"title": title}).raise_for_status()
            kept.maybe_titled.discard(conversation)
            kept.titles[conversation] = title
            return
        text = f"Message {self._seed} {number}"
        turn = client.post("/api/turns", json={"text": text, "conversation": conversation}).raise_for_status().json()
        id, prompt, answer = turn["conversation"]["id"], turn["prompt"]["id"], turn["answer"]["id"]
        kept.of |= {prompt: id, answer: id}
        kept.prompts[prompt] = text
        if conversation is None:
            self._mine.append(id)
        with client.stream("GET", f"/api/answers/{answer}/live?at=0") as live:
            for line in live.iter_lines():
                event = json.loads(line[6:]) if line.startswith("data: ") else {}
                if "done" in event and event["done"]["state"] == "done":
                    kept.answers[answer] = event["done"]["text"]

    def end(self) -> None:
        self._ended.set()
        self.join()


def lost(data_dir: Path, kept: Kept) -> list[str]:
    """What was acknowledged and is not so in the database; ids and kinds, no text."""
    database = sqlite3.connect(data_dir / "parley.db")
    try:
        there = {
            id: (content, state) for id, content, state in database.execute("SELECT id, content, state FROM messages")
        }
        # One that is being deleted is seen by nobody, and goes at the next start at the latest.
        titles = dict(database.execute("SELECT id, title FROM conversations WHERE deletes_at IS NULL"))
    finally:
        database.close()
    wrong = [
        f"prompt {id}"
        for id, text in kept.prompts.items()
        if kept.of[id] not in kept.maybe_deleted and there.get(id, (None,))[0] != text
    ]
    wrong += [
        f"answer {id}"
        for id, text in kept.answers.items()
        if kept.of[id] not in kept.maybe_deleted and there.get(id) != (text, "done")
    ]
    wrong += [
        f"title {id}"
        for id, title in kept.titles.items()
        if id not in kept.deleted | kept.maybe_deleted | kept.maybe_titled and titles.get(id) != title
    ]
    return wrong + [f"deletion {id}" for id in kept.deleted & titles.keys()]


@dataclass
class Outcome:
    kills: int = 0
    while_starting: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0


def kill_again_and_again(app: AppProcess, kills: int, seed: int) -> Outcome:
    """`kills` starts on one disk, each ended with -9; after each, everything that was ever acknowledged is looked up."""
    draw, kept, outcome, began = random.Random(seed), Kept(), Outcome(), time.monotonic()
    for number in range(kills):
        app.start()
        starting = draw.random() < STARTING
        if not starting:
            app.wait_until_up()
        visitors = [Visitor(app.url, f"{seed}.{number}.{who}", kept) for who in range(VISITORS)]
        for visitor in visitors:
            visitor.start()
        before, until = len(kept), time.monotonic() + 120
        # Nothing proves anything before something was acknowledged; how long after that is drawn.
        while not starting and len(kept) < before + AT_LEAST and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, LONGEST_RUN))
        app.kill()
        for visitor in visitors:
            visitor.end()
        outcome.kills += 1
        outcome.while_starting += starting
        outcome.lost += [f"after kill {number}: {what}" for what in lost(app.data_dir, kept)]
    outcome.acknowledged, outcome.seconds = len(kept), time.monotonic() - began
    return outcome
