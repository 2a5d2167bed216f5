"""Ends a real process with `kill -9`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .world import Replica

ROOT = Path(__file__).parents[3]
PACE = 60.0  # seconds of the process's clock in each second


async def run_and_kill(replica: Replica, prefix: str, now: float, seconds: float) -> list[dict[str, Any]]:
    """Let a process act on the disk of `replica`, kill it `seconds` after its first word, and return all that it told."""
    given = {
        "disk": str(replica.disk),
        "endpoint": replica.endpoint,
        "token": replica.token,
        "with_bucket": replica.with_bucket,
        "prefix": prefix,
        "now": now,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.chaos.process", cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        process.stdin.write(json.dumps(given).encode() + b"\n")
        await process.stdin.drain()
        first = await process.stdout.readline()
        await asyncio.sleep(seconds)
    finally:
        process.kill()
        rest = await process.stdout.read()
        await process.wait()
        process.stdin.close()
    # The last line may be cut off: what it would have told was not told.
    return [json.loads(line) for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")]
