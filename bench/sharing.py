"""What sharing costs as it grows: a plan with nothing to do, and one person's withdrawal from the plan to the audit.

Against the loopback Hub in a process of its own, with real git; 50 rows a person, one month, 16 shards. `ROWS`: how many
rows are public, comma-separated. Each figure stands beside that of the size before: a cost that does not grow has ratio 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from bench.report import Table, calibration
from chat.hub import HubRepo
from privacy.ledger import Choice, record
from privacy.outbox import plan
from privacy.rows import Redaction
from tests.support.sharing_world import ALPHA, QUIET, RULES, World, shown

ROWS = tuple(int(rows) for rows in os.environ.get("ROWS", "1000,10000").split(","))
EACH = 50  # rows of one person
WORDS = ["what", "they", "said", "about", "the", "weather", "and", "the", "price", "of", "lamps"]
AIMS = {
    "plan, nothing to do": 2.0,
    "withdrawal of 50 rows: pushed, squashed, audited": 15.0,
}  # seconds, at 100,000 rows


@dataclass(frozen=True)
class Same:
    text: str
    counts: dict[str, int] = field(default_factory=dict)


def people(db: sqlite3.Connection, rows: int, now: float) -> list[str]:
    """Accounts that agreed, each with `EACH` conversations of one turn."""
    owners = []
    for _ in range(rows // EACH):
        owner = secrets.token_hex(16)
        owners.append(owner)
        db.execute("INSERT INTO owners VALUES (?, 'account', ?, ?)", (owner, now, now))
        db.execute("INSERT INTO accounts VALUES (?, ?, ?, '[]', ?)", (owner, owner, owner, now))
        record(db, owner, Choice("grant", "acme"), shown(), now)
        for n in range(EACH):
            turn(db, owner, now + 10 + n)
    return owners


def turn(db: sqlite3.Connection, owner: str, at: float) -> None:
    conversation, prompt, answer = (secrets.token_hex(16) for _ in range(3))
    said = " ".join(secrets.choice(WORDS) for _ in range(60))
    insert(db, "conversations", id=conversation, owner=owner, title="t", model=ALPHA, params="{}", leaf=answer,
           created_at=at, updated_at=at)  # fmt: skip
    insert(db, "messages", id=prompt, conversation=conversation, role="user", content=said, created_at=at,
           surface="page", depth=1, kept=1)  # fmt: skip
    insert(db, "messages", id=answer, conversation=conversation, parent=prompt, role="assistant", content=said[::-1],
           created_at=at, model=ALPHA, model_revision="r1", params="{}", state="done", finish_reason="stop", depth=2,
           kept=1, settled_at=at)  # fmt: skip


def insert(db: sqlite3.Connection, table: str, **values: object) -> None:
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    known = {name: value for name, value in values.items() if name in names}
    db.execute(f"INSERT INTO {table} ({', '.join(known)}) VALUES ({', '.join('?' * len(known))})", list(known.values()))


async def measured(rows: int, endpoint: str, token: str, folder: Path) -> dict[str, float]:
    """Seconds by name."""
    found: dict[str, float] = {}
    uploads: dict[str, int] = {}

    def open_repo(id: str) -> HubRepo:
        return Counting(HubRepo(endpoint, token, id), uploads)

    rules = replace(RULES, prefix=f"bench{rows}", redaction=Redaction("1", lambda text, _: Same(text), dict))
    world = World(folder, open_repo, rules)
    world.clock.now = time.time() - QUIET - 3600

    async def timed(name: str, work: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await work()
        found[name] = time.perf_counter() - began

    owners = await world.db.write(lambda db: people(db, rows, world.clock()))
    world.clock.now += QUIET + 3000

    async def look() -> None:
        await plan(world.db, rules, now=world.clock(), restored=True)

    async def turn_of_all() -> None:
        _, pushed = await world.sharing().turn(restored=lambda: True)
        if pushed.problems:
            raise SystemExit(pushed.problems)

    await timed("first plan, push and audit", turn_of_all)
    await look()
    await timed("plan, nothing to do", look)
    await world.db.write(lambda db: turn(db, owners[0], world.clock()))
    await timed("plan, one new turn", look)
    await world.choose(owners[1], "withdraw")
    uploads.clear()
    await timed("withdrawal of 50 rows: pushed, squashed, audited", turn_of_all)
    states = await world.db.read(
        lambda db: dict(db.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())
    )
    if states != {"published": rows - EACH, "retracted": EACH}:
        raise SystemExit(f"Not what it should have come to: {states}")
    found["withdrawal: files sent"] = float(len(uploads))
    found["withdrawal: MB sent"] = sum(uploads.values()) / 1e6
    world.close()
    return found


class Counting:
    """Counts what is sent."""

    def __init__(self, repo: HubRepo, uploads: dict[str, int]) -> None:
        self.id, self._repo, self._uploads = repo.id, repo, uploads

    def commit(self, add: dict[str, bytes], *rest: object) -> str:
        self._uploads |= {f"{self.id}/{path}": len(content) for path, content in add.items()}
        return self._repo.commit(add, *rest)

    def __getattr__(self, name: str) -> object:
        return getattr(self._repo, name)


def main() -> str:
    # Read from the environment when the client is imported, which it is by now.
    constants.HF_HUB_DISABLE_XET = True
    disable_progress_bars()
    table = Table(
        f"Sharing; calibration {calibration():.4f} ms",
        ("what", *(column for rows in ROWS for column in (f"{rows:,} rows", "ratio")), "aim at 100,000"),
    )
    with tempfile.TemporaryDirectory() as folder:
        program = (
            "import sys, json\nfrom tests.support.hub import LoopbackHub\n"
            "hub = LoopbackHub(sys.argv[1]).start()\n"
            "print(json.dumps([hub.endpoint, hub.add_user('ada')]), flush=True)\nsys.stdin.read()\nhub.stop()"
        )
        command = [sys.executable, "-c", program, f"{folder}/hub"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
            assert hub.stdin
            assert hub.stdout
            endpoint, token = json.loads(hub.stdout.readline())
            sizes = [asyncio.run(measured(rows, endpoint, token, Path(folder) / str(rows))) for rows in ROWS]
            hub.stdin.close()
    for name in sizes[0]:
        cells: list[object] = [name]
        for number, size in enumerate(sizes):
            before = sizes[number - 1][name] if number else None
            cells += [size[name], f"{size[name] / before:.1f}" if before else ""]
        table.add(*cells, AIMS.get(name, ""))
    return str(table)


if __name__ == "__main__":
    print(main())
