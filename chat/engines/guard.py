"""The process between the app and vLLM: whatever happens above it, nothing below it stays behind.

    python -I -S guard.py APP_PID GRACE_SECONDS COMMAND...

    app --(stdin, a pipe nobody writes to)--> guard --> vLLM's API server --> EngineCore --> workers
                                                +----> witness (cleans up if the guard itself is killed)

Guarantees, for any way in which a process above ends, `kill -9` included:
1. The app goes: the pipe closes (or the guard's parent changes), and everything below gets SIGTERM, then SIGKILL.
2. vLLM's first process goes while its EngineCore lives: the guard, as subreaper, is the parent of what is left and ends
   it, then exits with the code of the first process (128 + n for signal n).
3. The guard goes: the first process is killed by the kernel (PR_SET_PDEATHSIG), the rest of its session by the witness.

Standard library only, Linux only, and nothing imported that is slow: it stays resident beside every engine.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TICK = 0.02
PARENT_CHECK = 1.0
ORPHAN_GRACE = 1.0  # an EngineCore without its API server never ends by itself
TRACKER_GRACE = 1.0
LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def processes() -> dict[int, tuple[int, int, str]]:
    """Every process as pid -> (parent, session, state), from /proc (proc(5))."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent, _group, session = file.read().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            found[int(name)] = (int(parent), int(session), state)
    return found


def descendants(root: int, spare: int) -> list[int]:
    """Every process below `root` but `spare`. A dying one counts until it is reaped: only then is its memory free."""
    table = processes()
    below, grew = {root}, True
    while grew:
        more = {pid for pid, (parent, _, _) in table.items() if parent in below and pid != spare} - below
        below |= more
        grew = bool(more)
    return list(below - {root})


def session_members(session: int) -> list[int]:
    return [pid for pid, (_, sid, state) in processes().items() if sid == session and state != "Z"]


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def kill(pids: list[int], late: float) -> None:
    """SIGKILL. Python's resource trackers come last: they end by themselves, and remove shared memory from /dev/shm."""
    send([pid for pid in pids if late > TRACKER_GRACE or not is_tracker(pid)], signal.SIGKILL)


def is_tracker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"multiprocessing.resource_tracker" in file.read()
    except OSError:
        return False


def silence() -> None:
    """Let go of the app's pipes, so that the app reads the end of the output when vLLM is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def start_command(command: list[str]) -> int:
    """Start vLLM as the leader of a session of its own and return its pid, which is also the session's id."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"guard: cannot start {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def start_witness(session: int) -> int:
    """Start the witness: when the guard ends, for whatever reason, it kills what is left of vLLM's session."""
    alive, held = os.pipe()
    pid = os.fork()
    if pid:
        os.close(alive)
        return pid
    os.close(held)
    silence()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(alive, 1)
    begun = time.monotonic()
    while left := session_members(session):
        kill(left, time.monotonic() - begun)
        time.sleep(TICK)
    os._exit(0)


def reap() -> dict[int, int]:
    """Collect every child that has ended: pid -> exit code, 128 + n for signal n."""
    ended = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = code if code >= 0 else 128 - code


def clean_up(witness: int, grace: float) -> dict[int, int]:
    """End everything below: SIGTERM, `grace` seconds, then SIGKILL until nothing is left. Returns what was reaped."""
    ended = reap()
    send(descendants(os.getpid(), witness), signal.SIGTERM)
    deadline = time.monotonic() + grace
    while left := descendants(os.getpid(), witness):
        if (late := time.monotonic() - deadline) >= 0:
            kill(left, late)
        time.sleep(TICK)
        ended.update(reap())
    ended.update(reap())
    return ended


def guard(app: int, grace: float, command: list[str]) -> int:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_stop.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    main = start_command(command)
    witness = start_witness(main)
    while not asked_to_stop and os.getppid() == app:
        readable, _, _ = select.select([0, woken], [], [], PARENT_CHECK)
        if 0 in readable:
            break
        if woken in readable:
            os.read(woken, 512)
        ended = reap()
        if witness in ended:
            witness = start_witness(main)
        if main in ended:
            clean_up(witness, min(grace, ORPHAN_GRACE))
            return ended[main]
    return clean_up(witness, grace).get(main, 0)


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
