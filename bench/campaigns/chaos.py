"""Two replicas on one private dataset, with and without the bucket, under everything that can go wrong.

`CHAOS_SEEDS=3,7` runs these seeds, `CHAOS_OPERATIONS=2000` so many operations under each.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars, logging

from bench.report import Table
from tests.support.chaos import Outcome, chaos

SEEDS = tuple(range(1, 11))
OPERATIONS = 500
COLUMNS = (
    "seed", "bucket", "operations", "crashes: disk kept, lost, kill -9", "failed: commits", "squashes", "moves", "batches",
    "reads", "writes", "deletions", "lost: kept here", "safe", "saved", "undone", "undone on a lost disk", "text found",
)  # fmt: skip


def row(outcome: Outcome) -> tuple[object, ...]:
    counts, lost = outcome.counts, outcome.lost
    return (
        outcome.seed,
        "yes" if outcome.bucket else "no",
        outcome.operations,
        f"{counts['disk kept']}, {counts['disk lost']}, {counts['kill -9']}",
        *(outcome.share(kind) for kind in ("commit", "squash", "move", "batch", "read")),
        outcome.writes,
        outcome.deletions,
        *(lost[level] for level in ("kept here", "safe", "saved")),
        sum(count for level, count in outcome.undone.items() if level != "disk lost"),
        outcome.undone["disk lost"],
        outcome.found,
    )


def run() -> Table:
    constants.HF_HUB_DISABLE_XET = True
    disable_progress_bars()
    logging.set_verbosity_error()
    seeds = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "").split(",") if seed] or SEEDS
    operations = int(os.environ.get("CHAOS_OPERATIONS", OPERATIONS))
    table = Table("Chaos: two replicas, a Hub that fails, crashes that keep and that lose the disk", COLUMNS)
    violations = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(chaos(seed, operations, Path(folder)))
        table.add(*row(outcome))
        violations += [f"seed {seed}: {violation}" for violation in outcome.violations]
    if violations:
        print(table, *violations, sep="\n", file=sys.stderr)
        raise SystemExit(f"{len(violations)} times it was not as it must be; each line above names its seed.")
    return table
