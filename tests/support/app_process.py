"""The app as people start it, `python app.py`, and the scripted engine, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.forking_app import ROOT, Forked, fork
from tests.support.ports import free_port


def wait_until(holds: Callable[[], Any], seconds: float = 180.0) -> None:
    """Return once `holds()`, asked again and again. Raises `AssertionError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class AppProcess:
    """`with AppProcess(data_dir, ENGINE_URL=...) as app` serves on `app.url`. Its environment holds what is given and no more.

    `output()` is what it printed; `kill()` is `kill -9`, `terminate()` what a Space sends before it stops. `forked`: from a
    process that has imported the app already, which is 4 seconds quicker.
    """

    process: subprocess.Popen[bytes] | Forked

    def __init__(
        self, data_dir: Path, *, wait: bool = True, port: int | None = None, forked: bool = True, **variables: str
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait, self._forked = wait, forked
        self._variables = variables
        self._log = data_dir.with_name(f"{data_dir.name}-{self.port}.log")

    def __enter__(self) -> AppProcess:
        self.start()
        if self._wait:
            self.wait_until_up()
        return self

    def start(self) -> None:
        """Begin it; it may have been there before, and has ended since."""
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
        if self._forked:
            self.process = fork(environ, self._log)
        else:
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "app.py"], cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT
                )

    def wait_until_up(self, seconds: float = 180.0) -> None:
        """Return once the page answers. Raises `RuntimeError` with what the app printed when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(URLError, ConnectionError, TimeoutError), urlopen(f"{self.url}/api/models", timeout=5):
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"The app is not up:\n{self.output()}")

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 180.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.terminate(15.0)
        if self.process.poll() is None:
            self.kill()


def release(engine: str) -> None:
    """Have every answer go on that the scripted engine at this address holds now."""
    with urlopen(f"{engine}/release", timeout=60):
        pass


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
        process.wait(60)
        process.stdout.close()
