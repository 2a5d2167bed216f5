"""A stand-in for vLLM's process: prints vLLM's own lines, answers on the socket by script, and fails as it is told.

    python fake_vllm.py FOLDER SOCKET

FOLDER/plan holds one word per start (the last one is repeated): ready, grandchild (ready, with a child that ignores
SIGTERM), runaway (the same, in a session of its own), hang (never ready), crash, memory, gated, unknown, disk,
settings. FOLDER/pids collects "what pid" lines.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

LOADING = """
(APIServer pid=1) INFO 11-21 07:26:23 [model.py:733] Resolved architecture: LlamaForCausalLM
(EngineCore pid=2) INFO 11-21 07:26:35 [cpu_model_runner.py:68] Starting to load model /models/tiny...
Loading safetensors checkpoint shards:   0% Completed | 0/2\rLoading safetensors checkpoint shards:  50% Completed | 1/2
(EngineCore pid=2) INFO 11-21 07:26:36 [default_loader.py:501] Loading weights took 0.01 seconds
(EngineCore pid=2) INFO 11-21 07:26:36 [kv_cache_utils.py:2327] CPU KV cache size: 2,097,152 tokens
"""
LAST_WORDS = {
    "crash": "(EngineCore pid=2) ERROR 11-21 07:26:36 [core.py:1] RuntimeError: something broke",
    "memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "gated": "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url",
    "unknown": "  Value error, The model type is `martian` but Transformers does not recognize this architecture.",
    "disk": "OSError: [Errno 28] No space left on device",
    "settings": "  Value error, User-specified max_model_len (9) is greater than the derived one [type=value_error]",
}


def note(folder: Path, what: str) -> None:
    with (folder / "pids").open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


def start_stubborn_grandchild(folder: Path, runaway: bool) -> None:
    if os.fork() == 0:
        if runaway:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(folder, "grandchild")
        while True:
            time.sleep(60)


def serve(socket: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.support.scripted_engine import ScriptedEngine

    with ScriptedEngine(uds=Path(socket), api_key=os.environ["VLLM_API_KEY"]):
        print("INFO:     Application startup complete.", flush=True)
        while True:
            time.sleep(60)


def main(folder: Path, socket: str) -> None:
    plan = (folder / "plan").read_text().split()
    note(folder, "main")
    starts = sum(line.startswith("main ") for line in (folder / "pids").read_text().splitlines())
    how = plan[min(starts, len(plan)) - 1]
    if how in LAST_WORDS:
        sys.exit(LAST_WORDS[how])
    print(LOADING, flush=True)
    if how == "hang":
        time.sleep(3600)
    if how in ("grandchild", "runaway"):
        start_stubborn_grandchild(folder, how == "runaway")
    serve(socket)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
