"""Starting with something wrong: one clear sentence, no traceback, nothing touched."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.app_process import AppProcess, free_port


def refused(data_dir: Path, port: int | None = None, **variables: str) -> str:
    """What the app says when it refuses to start."""
    app = AppProcess(data_dir, port=port, wait=False, **variables)
    with app:
        assert app.process.wait(60) == 1
    said = app.output().strip()
    assert "Traceback" not in said, said
    return said


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path / "data", port)
    assert f"Port {port} of 127.0.0.1 is in use" in said
    assert f"PORT={port + 1} make run" in said


@pytest.mark.parametrize("host", ["nowhere.example.org", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_named(tmp_path: Path, host: str):
    said = refused(tmp_path / "data", HOST=host)
    assert said.startswith(f"HOST {host} is")
    assert "Set HOST" in said


def test_wrong_variables_are_all_named_at_once(tmp_path: Path):
    said = refused(tmp_path / "data", HF_ENDPOINT="ftp://example.org", MODELS="no spaces please")
    assert len(said.splitlines()) == 2
    assert "HF_ENDPOINT is 'ftp://example.org'" in said
    assert "MODELS is" in said


def test_a_typo_in_the_catalogue_is_named_with_its_line(tmp_path: Path):
    catalogue = tmp_path / "models.yaml"
    catalogue.write_text("default: one\nmodels:\n  - name: one\n    kind: vllm\n    modle: org/one\n")
    said = refused(tmp_path / "data", MODELS_FILE=str(catalogue))
    assert "line 5" in said
    assert "modle" in said


def test_an_unwritable_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "Set DATA_DIR to a folder" in refused(tmp_path / "data", DATA_DIR=str(tmp_path / "file" / "data"))


def test_a_second_app_on_the_same_folder_is_told_so(tmp_path: Path):
    with AppProcess(tmp_path / "data", ENGINE_URL=f"http://127.0.0.1:{free_port()}"):
        assert "Another Parley is running on DATA_DIR" in refused(tmp_path / "data")
