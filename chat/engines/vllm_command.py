"""How vLLM is started here: its command line and its environment, as pure functions of what is asked for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chat.engines.machine import Machine

# Up to here the uniprocess executor is used on a CPU: it saves one process with its own import of torch. Measured on
# two idle cores with a model of 0.1 million parameters: ready in 14 s instead of 24, with 0.5 GB less memory; 800
# tokens/s to one stream instead of 880.
FEW_CPUS = 4
KV_CACHE_GIB_ON_CPU = 1
_SECRET = re.compile(r"(SECRET|TOKEN|PASSWORD|KEYS?)$")
_OURS = {"host", "port", "uds", "api_key", "model", "served_model_name", "config", "enable_log_requests"}


def is_local(model: str) -> bool:
    """Whether `model` is a folder (a path, or there) rather than a repository on the Hub."""
    return model.startswith(("/", ".", "~")) or Path(model).is_dir()


def arguments_of(engine_args: Mapping[str, Any]) -> list[str]:
    """vLLM's flags for a catalogue entry's `engine_args`: {"tensor_parallel_size": 2} -> --tensor-parallel-size=2.

    True is a bare flag, False its `--no-` form, None is left out. Raises `ValueError` for what the server sets itself,
    and for what would write prompts to the log.
    """
    flags = []
    for name, value in engine_args.items():
        key = name.replace("-", "_")
        if key in _OURS:
            raise ValueError(f"engine_args: {name} is set by the app; take it out.")
        flag = key.replace("_", "-")
        if value is True:
            flags.append(f"--{flag}")
        elif value is False:
            flags.append(f"--no-{flag}")
        elif value is not None:
            flags.append(f"--{flag}={value}")
    return flags


def vllm_command(
    python: str, model: str, served_name: str, uds: Path, machine: Machine, extra_args: Sequence[str] = ()
) -> list[str]:
    """The command line. The access log is off since health is asked for every few seconds; no prompt is ever logged.

    The seed differs per start: with vLLM's constant default the first answers after every restart would be the same.
    """
    where = str(Path(model).expanduser().absolute()) if is_local(model) else model
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", where]
    command += ["--served-model-name", served_name, "--uds", str(uds), "--disable-uvicorn-access-log"]
    command += [f"--seed={secrets.randbelow(2**31)}"]
    if not machine.gpus:
        command += ["--enforce-eager"]
        # A prompt that is read in pieces and has a seed ends vLLM 0.32: gpu_model_runner.py sets the offset of the
        # prompt's generator, which one on a CPU does not have. Without pieces a step takes a whole context.
        if not any(arg.lstrip("-").removeprefix("no-").startswith("enable-chunked-prefill") for arg in extra_args):
            command += ["--no-enable-chunked-prefill"]
        if _single_process(machine, extra_args):
            command += ["--distributed-executor-backend=uni"]
    return [*command, *extra_args]


def vllm_environment(
    base: Mapping[str, str], model: str, api_key: str, folder: Path, machine: Machine, extra_args: Sequence[str] = ()
) -> dict[str, str]:
    """The environment laid over `base`; what `base` says of VLLM_* and OMP_* tuning stays.

    The app's secrets stay behind, but for HF_TOKEN where the model comes from the Hub. vLLM's own inter-process sockets
    go into the private `folder` too, not into a /tmp that all may read.
    """
    tuning = {"VLLM_PLUGINS": ""}
    if not machine.gpus:
        tuning["VLLM_CPU_KVCACHE_SPACE"] = str(KV_CACHE_GIB_ON_CPU)
        if _single_process(machine, extra_args):
            tuning["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            tuning["OMP_NUM_THREADS"] = str(max(1, machine.cpus - 1))
    fixed = {
        "VLLM_API_KEY": api_key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_RPC_BASE_PATH": str(folder),
        "VLLM_LOGGING_LEVEL": "INFO",
        "VLLM_LOGGING_COLOR": "0",
        "VLLM_CONFIGURE_LOGGING": "1",
        "VLLM_DISABLE_LOG_LOGO": "1",
        "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "0",
        "PYTHONUNBUFFERED": "1",
    }
    kept = {name: value for name, value in base.items() if not _SECRET.search(name)}
    if is_local(model):
        fixed["HF_HUB_OFFLINE"] = "1"
    elif "HF_TOKEN" in base:
        kept["HF_TOKEN"] = base["HF_TOKEN"]
    return {**tuning, **kept, **fixed}


def _single_process(machine: Machine, extra_args: Sequence[str]) -> bool:
    spread = ("--distributed-executor-backend", "--tensor-parallel", "--pipeline-parallel", "--data-parallel")
    return machine.cpus <= FEW_CPUS and not any(arg.startswith(spread) for arg in extra_args)
