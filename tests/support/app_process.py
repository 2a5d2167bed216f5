"""The app as people start it, `python app.py`, and the scripted engine, each in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class AppProcess:
    """`with AppProcess(data_dir, ENGINE_URL=...) as app` serves on `app.url`. Its environment holds what is given and no more.

    `output()` is what it printed; `kill()` is `kill -9`, `terminate()` what a Space sends before it stops.
    """

    def __init__(self, data_dir: Path, *, wait: bool = True, port: int | None = None, **variables: str) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait = wait
        self._variables = variables
        self._log = data_dir.with_name(f"{data_dir.name}-{self.port}.log")

    def __enter__(self) -> AppProcess:
        environ: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/nonexistent"),
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            # No measurement of ours and no check for a newer version leaves this machine.
            "GRADIO_ANALYTICS_ENABLED": "False",
            **self._variables,
        }
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT
            )
        if self._wait:
            self.wait_until_up()
        return self

    def wait_until_up(self, seconds: float = 60.0) -> None:
        """Return once the page answers. Raises `RuntimeError` with what the app printed when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(URLError, ConnectionError, TimeoutError), urlopen(f"{self.url}/api/models", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"The app is not up:\n{self.output()}")

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 30.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.terminate(15.0)
        if self.process.poll() is None:
            self.kill()


@contextmanager
def engine_process(*arguments: str) -> Iterator[str]:
    """The scripted engine in a process of its own; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.scripted_engine", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
