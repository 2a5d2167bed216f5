"""`kill -9` of the app under load at random moments: is everything there that it had called kept?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.report import Table
from tests.support.app_process import AppProcess, engine_process
from tests.support.killed_app import VISITORS, kill_again_and_again

KILLS = 200
ROUNDS = 5  # disks, each with a seed of its own


def run() -> Table:
    table = Table(
        f"kill -9 under load of {VISITORS} visitors, over and over on one disk; prompts, answers, titles and deletions",
        ("seed", "kills", "of them while starting", "acknowledged", "of that lost", "seconds"),
    )
    total = [0, 0, 0, 0]
    for seed in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder, engine_process() as engine:
            app = AppProcess(Path(folder) / "data", ENGINE_URL=engine, SYNC_SECONDS="1")
            found = kill_again_and_again(app, KILLS // ROUNDS, seed)
        figures = (found.kills, found.while_starting, found.acknowledged, len(found.lost))
        total = [sum(pair) for pair in zip(total, figures, strict=True)]
        table.add(seed, *figures, f"{found.seconds:.0f}")
    table.add("all", *total, "")
    return table
