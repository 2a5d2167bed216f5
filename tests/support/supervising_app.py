"""An app that only supervises a fake vLLM, to be killed: prints "ready", and "guard PID" before it.

python -m tests.support.supervising_app PLAN_FOLDER RUNTIME_FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from chat.engines.machine import Machine
from chat.engines.vllm_server import VllmServer


async def main(folder: Path, runtime: Path) -> None:
    fake = Path(__file__).with_name("fake_vllm.py")
    server = VllmServer(
        "tiny",
        served_name="tiny",
        machine=Machine((), 8.0, 2),
        runtime_dir=runtime,
        command=[sys.executable, str(fake), str(folder)],
        grace=0.3,
    )
    await server.start()
    await server.wait_ready()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
