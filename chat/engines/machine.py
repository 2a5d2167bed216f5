"""What this machine has, and so which models it cannot run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_gib: float


def ask_nvidia_smi() -> str:
    """One line "name, MiB" per GPU; empty where there is no NVIDIA driver or it does not answer within ten seconds."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


@dataclass(frozen=True, slots=True)
class Machine:
    """GPUs, memory (GiB) and CPU cores that this process may use, container limits included."""

    gpus: tuple[Gpu, ...]
    ram_gib: float
    cpus: int

    @classmethod
    def detect(cls, root: Path = Path("/"), nvidia_smi: Callable[[], str] = ask_nvidia_smi) -> Machine:
        ram_gib = _ram_gib(root)
        return cls(_gpus(nvidia_smi(), ram_gib), ram_gib, len(os.sched_getaffinity(0)))

    @property
    def gpu_gib(self) -> float:
        return sum(gpu.memory_gib for gpu in self.gpus)

    def cannot_run(self, memory_gib: float | None, needs_gpu: bool) -> str | None:
        """Why a model of this size (None: unknown) cannot run here, as one sentence; None if it can."""
        if needs_gpu and not self.gpus:
            need = f"about {memory_gib:.0f} GiB of GPU memory" if memory_gib else "a GPU"
            return f"Needs {need}; this machine has {'no GPU' if memory_gib else 'none'}."
        kind, there = ("GPU memory", self.gpu_gib) if self.gpus else ("memory", self.ram_gib)
        if memory_gib is not None and memory_gib > there:
            return f"Needs about {memory_gib:.0f} GiB of {kind}; this machine has {there:.0f} GiB."
        return None


def _gpus(listing: str, ram_gib: float) -> tuple[Gpu, ...]:
    found = []
    for line in listing.splitlines():
        name, _, mib = line.rpartition(",")
        if name:  # the memory is "[N/A]" where the GPU shares the system's
            found.append(Gpu(name.strip(), int(mib) / 1024 if mib.strip().isdigit() else ram_gib))
    return tuple(found)


def _ram_gib(root: Path) -> float:
    """The smallest of what the machine has and what a container's control group (v2, v1) leaves of it."""
    total = next(
        int(line.split()[1]) * 1024
        for line in (root / "proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int((root / name).read_text()))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return total / GIB
