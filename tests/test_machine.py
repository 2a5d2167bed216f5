"""What a machine has, and the sentence beside a model that it cannot run."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.engines.machine import Gpu, Machine

SMI = "NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n"
LAPTOP = Machine((), 16.0, 4)
BOX = Machine((Gpu("A", 80.0), Gpu("B", 80.0)), 512.0, 64)


def root(folder: Path, limit: str | None = None) -> Path:
    (folder / "proc").mkdir()
    (folder / "proc" / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree:         1000000 kB\n")
    if limit is not None:
        (folder / "sys/fs/cgroup").mkdir(parents=True)
        (folder / "sys/fs/cgroup/memory.max").write_text(limit)
    return folder


def test_gpus_are_read_from_nvidia_smi_and_memory_from_the_kernel(tmp_path: Path) -> None:
    machine = Machine.detect(root(tmp_path), lambda: SMI)
    assert [gpu.name for gpu in machine.gpus] == ["NVIDIA H100 80GB HBM3"] * 2
    assert round(machine.gpu_gib) == 159
    assert machine.ram_gib == 16.0
    assert machine.cpus >= 1


def test_a_machine_without_the_driver_has_no_gpu(tmp_path: Path) -> None:
    assert Machine.detect(root(tmp_path), lambda: "").gpus == ()


def test_a_gpu_that_shares_the_systems_memory_has_that_much(tmp_path: Path) -> None:
    assert Machine.detect(root(tmp_path), lambda: "NVIDIA GB10, [N/A]\n").gpus == (Gpu("NVIDIA GB10", 16.0),)


@pytest.mark.parametrize(("limit", "gib"), [(f"{4 * 2**30}\n", 4.0), ("max\n", 16.0)])
def test_a_containers_limit_counts(tmp_path: Path, limit: str, gib: float) -> None:
    assert Machine.detect(root(tmp_path, limit), lambda: "").ram_gib == gib


@pytest.mark.parametrize(
    ("machine", "memory_gib", "needs_gpu", "reason"),
    [
        (LAPTOP, 140, True, "Needs about 140 GiB of GPU memory; this machine has no GPU."),
        (LAPTOP, None, True, "Needs a GPU; this machine has none."),
        (LAPTOP, 30, False, "Needs about 30 GiB of memory; this machine has 16 GiB."),
        (LAPTOP, 8, False, None),
        (LAPTOP, None, False, None),
        (BOX, 200, True, "Needs about 200 GiB of GPU memory; this machine has 160 GiB."),
        (BOX, 140, True, None),
        (BOX, None, True, None),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(
    machine: Machine, memory_gib: float | None, needs_gpu: bool, reason: str | None
) -> None:
    assert machine.cannot_run(memory_gib, needs_gpu) == reason
