"""The first `make run`: what is installed, how it goes on after an interruption, and how it fails. No network.

The interpreter is a stand-in of a few lines: it notes what it is asked, "makes" an environment by copying itself, and
fails at what the test names.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from install import CPU_ENGINE, CPU_MISFITS, CPU_TORCH, TGI_CLIENT, Environment, Failed, has_nvidia_gpu

PYTHON = """#!/bin/sh
echo "$*" >> {root}/asked
if [ -e {root}/fails ] && echo "$*" | grep -q -F -f {root}/fails; then echo "said why"; exit 1; fi
for folder; do :; done
case "$*" in
    "-m venv --clear"*)
        rm -rf "$folder"; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python"; touch "$folder/has-pip";;
    "-m pip --version") test -e "$(dirname "$0")/../has-pip" || exit 1;;
esac
"""


class Machine:
    """A folder with the project's requirements, and an interpreter that does nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("pre-requirements.txt", "requirements.txt", "requirements-test.txt"):
            (root / name).write_text("thing==1\n")
        self.base = root / "python3"
        self.base.write_text(PYTHON.format(root=root))
        self.base.chmod(0o755)
        self.venv = root / ".venv"

    def environment(self, every: float = 15.0) -> Environment:
        return Environment(self.root, str(self.base), every)

    def fails_at(self, *words: str) -> None:
        (self.root / "fails").write_text("\n".join(words))

    def heals(self) -> None:
        (self.root / "fails").unlink()

    def asked(self) -> list[str]:
        """What the interpreters were asked since the last look, but for signs of life."""
        file = self.root / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        pip = "-m pip --disable-pip-version-check -q "
        return [line.removeprefix(pip) for line in lines if "--version" not in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_a_gpu_the_cpu_build_and_the_one_torch_it_fits_are_installed(machine: Machine) -> None:
    machine.environment().install(["engine", "app"], gpu=False)
    assert machine.asked() == [
        f"-m venv --clear {machine.venv}",
        f"install {CPU_TORCH}",
        f"install {CPU_ENGINE}",
        f"uninstall -y {' '.join(CPU_MISFITS)}",
        "install --no-warn-conflicts -r requirements.txt",
        f"install --no-deps {TGI_CLIENT}",
    ]


def test_with_a_gpu_the_engine_is_the_one_a_space_installs(machine: Machine) -> None:
    machine.environment().install(["engine"], gpu=True)
    assert machine.asked() == [f"-m venv --clear {machine.venv}", "install -r pre-requirements.txt"]


def test_a_second_run_asks_for_nothing(machine: Machine) -> None:
    machine.environment().install(["engine", "app", "tests"], gpu=False)
    machine.asked()
    machine.environment().install(["engine", "app", "tests"], gpu=False)
    assert not (machine.root / "asked").exists(), "not even pip's version"


def test_only_what_changed_is_installed_anew(machine: Machine) -> None:
    machine.environment().install(["engine", "app"], gpu=False)
    machine.asked()
    (machine.root / "requirements.txt").write_text("thing==2\n")
    machine.environment().install(["engine", "app", "tests"], gpu=False)
    assert [line.split()[-1] for line in machine.asked()] == ["requirements.txt", TGI_CLIENT, "requirements-test.txt"]


def test_an_environment_without_pip_is_made_anew(machine: Machine) -> None:
    """What a first run leaves that was interrupted while pip was put there."""
    machine.environment().install(["engine", "app"], gpu=True)
    machine.asked()
    (machine.venv / "has-pip").unlink()
    (machine.venv / ".installed-app").unlink()
    machine.environment().install(["engine", "app"], gpu=True)
    made, engine, *_ = machine.asked()
    assert made == f"-m venv --clear {machine.venv}"
    assert engine == "install -r pre-requirements.txt", "what was in it is gone too"


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    """The system's Python was replaced by another one."""
    machine.environment().install(["engine"], gpu=True)
    (machine.venv / "bin" / "python").unlink()
    machine.asked()
    machine.environment().install(["engine"], gpu=True)
    assert machine.asked() == [f"-m venv --clear {machine.venv}", "install -r pre-requirements.txt"]


def test_where_python_cannot_make_environments_the_way_out_is_named(machine: Machine) -> None:
    machine.fails_at("-m venv")
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        machine.environment().install(["engine"], gpu=False)
    machine.base.unlink()
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        machine.environment().install(["engine"], gpu=False)


def test_a_step_that_fails_ends_the_run_with_a_sentence_and_is_tried_again_by_the_next(machine: Machine) -> None:
    machine.fails_at("requirements.txt")
    with pytest.raises(SystemExit, match="Installing the app failed; what pip said stands above"):
        machine.environment().install(["engine", "app"], gpu=False)
    machine.asked()
    machine.heals()
    machine.environment().install(["engine", "app"], gpu=False)
    assert machine.asked()[0].endswith("-r requirements.txt"), "the engine, which was done, is not installed again"


def test_torch_is_looked_for_in_pytorchs_index_where_the_usual_one_has_no_cpu_build(machine: Machine) -> None:
    machine.environment()._make()
    (machine.venv / "bin" / "python").write_text(
        PYTHON.format(root=machine.root).replace("for folder", 'case "$*" in *"+cpu") exit 1;; esac\nfor folder')
    )
    machine.environment().install(["engine"], gpu=False)
    assert machine.asked()[2] == f"install {CPU_TORCH} --index-url https://download.pytorch.org/whl/cpu"


def test_a_step_that_takes_long_gives_signs_of_life(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet pip says nothing while it downloads 3.5 GB. The command ends at the second sign, so no clock decides."""
    signs = machine.root / "signs"
    os.mkfifo(signs)
    seen = 0
    environment = machine.environment(every=0.01)

    class Counting:
        """Standard output that lets the command go on at its second sign."""

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> int:
            nonlocal seen
            if "at it for" in text:
                seen += 1
                if seen == 2:
                    signs.write_text("go\n")
            return len(text)

        def flush(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Counting())
        environment.run("Waiting", ["/bin/sh", "-c", f"read line < {signs}"])
    assert seen >= 2


def test_a_command_that_is_not_there_is_a_failed_step(machine: Machine) -> None:
    with pytest.raises(Failed):
        machine.environment().run("Nothing", [str(machine.root / "missing")])


@pytest.mark.parametrize(("listing", "found"), [("echo 'GPU 0: H100'", True), ("exit 9", False), ("", False)])
def test_a_gpu_is_what_nvidia_smi_lists(
    listing: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{listing}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert has_nvidia_gpu() is found


@pytest.mark.parametrize("words", [[], ["all"], ["app", "test"]])
def test_what_can_be_asked_for_is_told(words: list[str]) -> None:
    script = Path(__file__).resolve().parents[1] / "install.py"
    told = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (1, "Usage: python install.py app|test\n")
