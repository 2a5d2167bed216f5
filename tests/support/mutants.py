"""Bugs that are put into a copy of the tree, one at a time, where tests are run until one fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLED = "killed"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "images")


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands once in `path`, becomes `new`; then `rule` is broken."""

    rule: str
    path: str
    old: str
    new: str


def outcome(mutant: Mutant, tests: Sequence[str]) -> str:
    """What `tests`, files of `tests/` and options of pytest, make of the bug. What no test ran on was not killed by one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        text = (copy / mutant.path).read_text()
        (copy / mutant.path).write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-p", "no:cacheprovider", f"--basetemp={folder}/bt"]
        command += [f"tests/{name}" if name.endswith(".py") else name for name in tests]
        code = subprocess.run(command, cwd=copy, capture_output=True, timeout=600).returncode
        return {0: "SURVIVED", 1: KILLED}.get(code, "NOT RUN")


def main(mutants: Sequence[Mutant], tests: Mapping[str, Sequence[str]], default: Sequence[str]) -> None:
    """Run those that the command line asks for against the tests of their path, and end with 1 if one survives."""
    words = sys.argv[1:]
    chosen = [mutant for mutant in mutants if not words or any(word in mutant.rule for word in words)]
    killed = 0
    for mutant in chosen:
        found = outcome(mutant, tests.get(mutant.path, default))
        killed += found == KILLED
        print(f"{found:8}", mutant.rule, flush=True)
    sys.exit(f"{killed} of {len(chosen)} were killed" if killed < len(chosen) else 0)
