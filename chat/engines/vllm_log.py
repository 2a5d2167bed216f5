"""What vLLM's output says: which stage its start has reached, and why it failed.

Of each line only the stage is kept and, for the operator, the last few lines in memory; with prompt logging off (vLLM's
default, which `chat.engines.vllm_server` never changes) they hold no conversation text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Stage = Literal[
    "stopped", "starting", "downloading", "loading", "compiling", "warming", "ready", "restarting", "failed"
]

WORDS: dict[Stage, str] = {
    "stopped": "The engine is not running",
    "starting": "Starting the engine",
    "downloading": "Fetching the model's files",
    "loading": "Loading the weights",
    "compiling": "Compiling the model",
    "warming": "Warming up",
    "ready": "Ready",
}

# In the order in which vLLM 0.32 prints them; the words have been stable since 0.6.
_STAGES: tuple[tuple[str, Stage], ...] = (
    ("Starting to load model", "loading"),
    ("Loading safetensors checkpoint shards", "loading"),
    ("Starting torch.compile", "compiling"),
    ("for vLLM's torch.compile", "compiling"),
    ("Dynamo bytecode transform time", "compiling"),
    ("Capturing CUDA graphs", "compiling"),
    ("Compile and warming up model", "compiling"),
    ("Loading weights took", "warming"),
    ("KV cache size:", "warming"),
    ("Initial profiling/warmup run took", "warming"),
    ("Warming up model", "warming"),
)
_SHARDS = re.compile(r"checkpoint shards:\s+(\d+)% Completed")
_NOISE = re.compile(r"Route: /|Avg prompt throughput|api_utils.py:\d+\]\s*$|api_utils.py:\d+\] .*[█▀▄]")


def stage_of(line: str, remote: bool) -> tuple[Stage, str] | None:
    """The stage that `line` announces and its sentence without a full stop, or None.

    `remote`: the model is a repository on a hub, whose weights vLLM fetches in silence after "Starting to load model".
    """
    for words, stage in _STAGES:
        if words in line:
            if remote and words == "Starting to load model":
                return "downloading", WORDS["downloading"]
            shards = _SHARDS.search(line)
            return stage, f"{WORDS[stage]}, {shards[1]} %" if shards else WORDS[stage]
    return None


def worth_keeping(line: str) -> bool:
    return bool(line.strip()) and not _NOISE.search(line)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why vLLM ended. `attempts`: after so many failed starts in a row it is given up; None: never."""

    code: Literal[
        "out_of_memory", "no_access", "not_found", "unsupported", "not_installed", "no_gpu", "disk_full", "crashed"
    ]
    sentence: str
    attempts: int | None


_MEMORY = Failure(
    "out_of_memory",
    "The model does not fit into this machine's memory: choose a smaller one, or lower its context length.",
    3,  # memory of an engine that has just been stopped may come back a moment later
)
_ACCESS = Failure(
    "no_access",
    "The Hub does not let this Space read the model: accept its licence on the model's page and set HF_TOKEN.",
    1,
)
_MISSING = Failure("not_found", "The model's files were not found: check its name, or the folder, in the catalogue.", 1)
_UNSUPPORTED = Failure("unsupported", "The installed vLLM does not know this model's architecture: update vLLM.", 1)
_NO_VLLM = Failure("not_installed", "vLLM is not installed: `make run` installs it.", 1)
_NO_GPU = Failure(
    "no_gpu",
    "This vLLM is built for NVIDIA GPUs and there is none here: choose GPU hardware in the Space's settings, or set "
    "ENGINE_URL.",
    1,
)
_DISK = Failure("disk_full", "The disk is full: free some space.", None)

# The first pattern found in the output wins, so the specific ones stand before those that follow from them.
_CAUSES: tuple[tuple[str, Failure], ...] = (
    (r"No module named '?vllm\b|guard: cannot start", _NO_VLLM),
    (r"Failed to infer device type", _NO_GPU),
    (r"No space left on device|Errno 28|Disk quota exceeded", _DISK),
    (r"GatedRepoError|gated repo|401 Client Error|403 Client Error|Invalid credentials|restricted and you", _ACCESS),
    (
        r"out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory|No available memory for the cache"
        r"|larger than the available KV cache|less than (?:desired GPU memory|requested memory for kv)"
        r"|insufficient memory|MemoryError",
        _MEMORY,
    ),
    (
        r"does not recognize this architecture|architectures .* (?:are|is) not supported|not supported for now"
        r"|Cannot find model module|has no vLLM implementation",
        _UNSUPPORTED,
    ),
    (
        r"RepositoryNotFoundError|RevisionNotFoundError|LocalEntryNotFoundError|HFValidationError|404 Client Error"
        r"|Cannot find an appropriate cached snapshot|Cannot find any model weights|no file named .*config\.json",
        _MISSING,
    ),
)
_REFUSED = re.compile(r"error: (unrecognized arguments.*|argument .*)|Value error, (.+?)(?: \[type=|$)")


def diagnose(lines: Iterable[str], exit_code: int) -> Failure:
    """Why the process with this last output and exit code (128 + n: signal n) ended."""
    text = "\n".join(lines)
    for pattern, failure in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return failure
    refused = _REFUSED.search(text)
    if refused:
        said = (refused[1] or refused[2]).strip().split(". ")[0].rstrip(".")[:200]
        return Failure("unsupported", f"vLLM refuses the model's settings: {said}.", 1)
    how = f"signal {exit_code - 128}" if exit_code > 128 else f"exit code {exit_code}"
    return Failure("crashed", f"The engine ended unexpectedly ({how}).", None)


def lines_of(buffer: bytes, chunk: bytes) -> tuple[Sequence[str], bytes]:
    """Split what was read into complete lines (progress bars end theirs with a carriage return) and the rest."""
    *complete, rest = re.split(rb"[\r\n]+", buffer + chunk)
    return [line.decode("utf-8", "replace") for line in complete], rest[-65536:]
