"""5,000 episodes of people and failing machines against the oracle of `tests/support/consent_machine.py`."""

from __future__ import annotations

import os

from bench.report import Table
from tests.support.consent_machine import episodes


def run() -> str:
    """`EPISODES` (5,000) sets how many. Raises, with the shortest story, where something public was not allowed."""
    found = episodes(int(os.environ.get("EPISODES", "5000")), steps=40, always_the_same=False)
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
    return str(table)
