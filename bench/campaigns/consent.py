"""5,000 episodes of people and failing machines against the oracle of `tests/support/consent_machine.py`."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bench.report import Table
from tests.support.consent_machine import episodes


def run() -> str:
    """`EPISODES` (5,000) sets how many. Raises, with the shortest story, where something public was not allowed."""
    cores = len(os.sched_getaffinity(0))
    each = -(-int(os.environ.get("EPISODES", "5000")) // cores)
    # Not forked: both would draw the same episodes.
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        found = sum(pool.map(_some, [each] * cores), Counter())
    table = Table(
        "Consent: every canary in head and history is allowed, and what may be shared is", ("what", "measured", "aim")
    )
    table.add("episodes", found["episodes"], ">= 5000")
    table.add("that published, %", 100 * found["published"] / found["episodes"], ">= 30")
    table.add(
        "that took something back out of head and history, %", 100 * found["retracted"] / found["episodes"], ">= 10"
    )
    table.add("crashes beside a call to a dataset", found["crashes"], "")
    table.add("lost disks", found["lost disks"], "")
    table.add("yes and no on two machines at once", found["at once"], "")
    table.add("turns of a machine that had not heard what was said meanwhile", found["written elsewhere"], "")
    return str(table)


def _some(count: int) -> Counter[str]:
    return episodes(count, steps=40, always_the_same=False)
