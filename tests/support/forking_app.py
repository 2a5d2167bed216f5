"""Starts the app over and over without importing it over and over: a process that has imported it forks for each start.

Importing the app does nothing (a test says so), so the child is in the state of `python app.py` after its imports. It
then runs `app.main()`, ends as any Python process does, and can be killed with -9.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Forked:
    """A process that was forked, used as a `subprocess.Popen` is. `ended`: the file that its exit status will be in."""

    def __init__(self, pid: int, ended: Path) -> None:
        self.pid, self._ended = pid, ended
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            with suppress(FileNotFoundError):
                self.returncode = int(self._ended.read_text())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("app.py", timeout or 0.0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(environ: Mapping[str, str], log: Path) -> Forked:
    """`python app.py` with this environment; what it prints goes to the end of `log`."""
    server, folder = _server()
    server.stdin.write(json.dumps({"environ": dict(environ), "log": str(log)}) + "\n")
    server.stdin.flush()
    pid = int(server.stdout.readline())
    return Forked(pid, folder / str(pid))


@functools.cache
def _server() -> tuple[subprocess.Popen[str], Path]:
    folder = tempfile.TemporaryDirectory()
    # What libraries read when they are imported is as every app of the tests has it.
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/nonexistent"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forking_app", folder.name],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # it has imported the app

    def end() -> None:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        folder.cleanup()

    atexit.register(end)
    return process, Path(folder.name)


def _note_the_dead(folder: Path) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            half = folder / f"{pid}.half"
            half.write_text(str(os.waitstatus_to_exitcode(status)))
            half.rename(folder / str(pid))


def serve(folder: Path) -> None:
    """Fork once for each line that comes in, and say the child's id. Returns at the end of the lines, and in each child
    when its app has ended."""
    import app

    signal.signal(signal.SIGCHLD, lambda *_: _note_the_dead(folder))
    print("ready", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        if child := os.fork():
            print(child, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        out = os.open(given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(out, descriptor)
        os.close(out)
        os.close(0)
        os.environ.clear()
        os.environ.update(given["environ"])
        app.main()
        return


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
