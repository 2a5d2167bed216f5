"""A replica in a process of its own: `python -m tests.support.chaos.process` reads a line of JSON and goes on until it is
killed. It prints a line of JSON for all that it does and for all that its page says."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from .killing import PACE
from .users import Users
from .world import App


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    began = time.monotonic()

    def clock() -> float:
        return given["now"] + (time.monotonic() - began) * PACE

    app = App(Path(given["disk"]), given["endpoint"], given["token"], given["with_bucket"], clock)
    await app.start()

    def note(kind: str, text: str, conversation: str) -> None:
        print(json.dumps({"kind": kind, "text": text, "conversation": conversation}), flush=True)

    users, rng = Users(app.machine, given["prefix"], note), random.Random(given["prefix"])

    async def act() -> None:
        while True:
            await users.act(rng)
            await asyncio.sleep(0.01)

    async def tell() -> None:
        while True:
            # What is acknowledged from here on is not what this looks at.
            print(json.dumps({"kind": "looking"}), flush=True)
            conversations, tombstones = await app.levels()
            told = {"kind": "told", "conversations": conversations, "tombstones": tombstones}
            print(json.dumps(told), flush=True)
            await asyncio.sleep(0.1)

    await asyncio.gather(act(), act(), tell(), *(run() for run in app.keeping.parts().values()))


if __name__ == "__main__":
    asyncio.run(main())
