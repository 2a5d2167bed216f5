"""The README is true: its front matter, its table of variables, its tree, and its examples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chat.variables import VARIABLES, variables_table
from tests.support.app_process import AppProcess, engine_process

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
FRONT = yaml.safe_load(TEXT.split("---")[1])


def between(mark: str) -> str:
    return TEXT.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0].strip()


def test_the_front_matter_has_what_a_space_needs_and_pins_what_is_installed():
    wanted = {
        "sdk", "sdk_version", "python_version", "app_file", "short_description", "license", "hf_oauth", "models",
        "datasets", "tags", "suggested_hardware", "startup_duration_timeout",
    }  # fmt: skip
    assert wanted <= set(FRONT)
    assert FRONT["sdk"] == "gradio"
    assert f"gradio=={FRONT['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / FRONT["app_file"]).is_file()
    assert len(FRONT["short_description"]) <= 60, "the Hub refuses a longer one"


def test_the_models_it_names_are_in_the_catalogue():
    catalogue = (ROOT / "chat" / "models.yaml").read_text()
    assert all(model in catalogue for model in FRONT["models"])


def test_the_table_of_variables_is_the_settings_own():
    assert between("variables") == variables_table()
    assert all(f"`{variable.name}`" in TEXT for variable in VARIABLES)


def test_every_module_stands_in_the_tree_and_nothing_that_is_not_there():
    named = re.findall(r"^\| `([^`]+)` \|", between("tree"), re.MULTILINE)
    assert len(named) == len(set(named))
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    modules = {
        file
        for file in files
        if file.endswith(".py")
        and not file.endswith("__init__.py")
        and "/" in file
        and file.split("/")[0] in ("chat", "privacy")
    } | {file for file in files if file.endswith(".py") and "/" not in file}
    folders = tuple(name for name in named if name.endswith("/"))
    assert {module for module in modules if module not in named and not module.startswith(folders)} == set()
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_make_target_it_names_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(?:PORT=\d+ )?make ([a-z]+)`", TEXT)) | {"run", "test"} <= targets


def test_no_placeholder_is_left():
    assert not re.findall(r"\b[A-Z]+_(?:FIRST|AGAIN)\b", TEXT)


def test_its_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_its_examples_run(block: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with (
        engine_process("--scenario", "/say one two") as engine,
        AppProcess(tmp_path / "data", ENGINE_URL=engine) as app,
    ):
        names: dict[str, object] = {}
        exec(block.replace("http://127.0.0.1:7860", app.url), names)
        names["client"].close()
    assert "one two" in capsys.readouterr().out
