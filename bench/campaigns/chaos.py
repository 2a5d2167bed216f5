"""Two replicas on one private dataset, with the bucket and without, under everything that can go wrong.

`CHAOS_SEEDS=3,7` runs these seeds, `CHAOS_OPERATIONS=2000` so many operations under each, `CHAOS_BUCKET=no` (or yes) only
without (with) the bucket.
"""

from __future__ import annotations

import asyncio
import itertools
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
    "reads", "writes", "deletions", "on lost disks: kept here, safe, saved", "lost: kept here", "safe", "saved",
    "deletions undone", "undone, kept only on a lost disk", "deleted text found",
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
        ", ".join(str(outcome.at_stake[level]) for level in ("kept here", "safe", "saved")),
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
    wanted = os.environ.get("CHAOS_BUCKET")
    variants = [bucket for bucket in (True, False) if wanted in (None, "yes" if bucket else "no")]
    for bucket, seed in itertools.product(variants, seeds):
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(chaos(seed, operations, Path(folder), bucket))
        table.add(*row(outcome))
        name = f"seed {seed} {'with' if bucket else 'without'} the bucket"
        violations += [f"{name}: {violation}" for violation in outcome.violations]
        print(name, *(outcome.violations or ["is as it must be"]), sep=": ", file=sys.stderr, flush=True)
    if violations:
        print(table, *violations, sep="\n", file=sys.stderr)
        raise SystemExit(f"{len(violations)} times it was not as it must be; each line above names its seed.")
    return table
