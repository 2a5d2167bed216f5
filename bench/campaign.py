"""`make campaign`: what takes longer than the tests, on the real parts; each is recorded in `bench/results/NAME.md`.

`make campaign ARGS=stop` runs one.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CAMPAIGNS = tuple(sorted(file.stem for file in (Path(__file__).parent / "campaigns").glob("[a-z]*.py")))


def machine() -> str:
    """What these figures were measured on, in a line: cores, memory, and how busy others kept it."""
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores, {gib:.0f} GiB of memory, load {os.getloadavg()[1]:.1f} at the start"


def run(name: str) -> str:
    """Run one campaign and record it. Returns what was recorded."""
    return record(name, importlib.import_module(f"bench.campaigns.{name}").run, f"make campaign ARGS={name}")


def record(name: str, measure: Callable[[], object], again: str) -> str:
    """Measure, and write in `results/` what came out, on what, and how to have it `again`. Returns what was written."""
    day, on, began = datetime.now(UTC).date(), machine(), time.monotonic()
    table = measure()
    minutes = (time.monotonic() - began) / 60
    recorded = f"{table}\n{day}, {on}; {minutes:.1f} minutes. Again: `{again}`.\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(recorded, encoding="utf-8")
    return recorded


def main() -> None:
    wanted = sys.argv[1:] or CAMPAIGNS
    for name in wanted:
        if name not in CAMPAIGNS:
            sys.exit(f"There is no campaign {name!r}. There are: {', '.join(CAMPAIGNS)}.")
    for name in wanted:
        print(run(name), flush=True)


if __name__ == "__main__":
    main()
