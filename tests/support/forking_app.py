"""Starts the app over and over without importing it over and over: a process that has imported it forks for each start.

Importing the app does nothing (a test says so), so the child is in the state of `python app.py` after its imports. It
then runs `app.main()`, and can be killed with -9 as any process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.app_process import ROOT, free_port


class ForkingApp:
    """`with ForkingApp(ENGINE_URL=...) as apps: pid = apps.start(data_dir)`; the app is then coming up at `apps.url`."""

    def __init__(self, log: Path, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._variables = {"PORT": str(self.port), "HOME": os.environ.get("HOME", "/nonexistent"), **variables}
        self._pid: int | None = None

    def __enter__(self) -> ForkingApp:
        environ = {"PATH": os.environ["PATH"], "HOME": self._variables["HOME"], "GRADIO_ANALYTICS_ENABLED": "False"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking_app", str(self._log)],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process.stdout.readline()  # it has imported the app
        return self

    def start(self, data_dir: Path) -> int:
        given = {**self._variables, "DATA_DIR": str(data_dir), "PATH": os.environ["PATH"]}
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        return self._pid

    def is_up(self) -> bool:
        with suppress(URLError, ConnectionError, TimeoutError), urlopen(f"{self.url}/api/models", timeout=5):
            return True
        return False

    def wait_until_up(self, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not self.is_up():
            if time.monotonic() > until:
                raise RuntimeError(f"The app is not up:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.02)

    def kill(self) -> None:
        """-9, and wait until it is gone, so that its disk is nobody's."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while time.monotonic() < until and Path(f"/proc/{self._pid}").exists():
            time.sleep(0.002)
        self._pid = None

    def __exit__(self, *_: object) -> None:
        if self._pid is not None:
            self.kill()
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def serve(log: str) -> None:
    """Fork once for each line that comes in, an environment as JSON, and say the child's id."""
    import app

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is killed is gone at once
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for descriptor in (1, 2):
                os.dup2(out, descriptor)
            os.close(0)
            os.environ.update(json.loads(line))
            app.main()
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
