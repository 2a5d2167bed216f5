"""One co-located vLLM: started, watched, restarted and stopped. The app never imports vllm.

    stopped -> starting -> downloading? -> loading -> compiling? -> warming -> ready
                  ^                          (any) -> restarting -+            |
                  +-----------------------------------------------+------------+     (any) -> failed, stopped

vLLM runs below `chat/engines/guard.py`, which ends it when this process goes, however that happens.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from chat.engines import guard
from chat.engines.errors import EngineError, EngineOutOfMemory, EngineStarting, EngineUnavailable
from chat.engines.machine import Machine
from chat.engines.vllm_command import is_local, vllm_command, vllm_environment
from chat.engines.vllm_log import WORDS, Failure, Stage, diagnose, lines_of, stage_of, worth_keeping

TAIL_LINES = 40
# The cause stands in the engine's traceback, with those of the processes above it after it.
DIAGNOSIS_LINES = 400
LONGEST_BACK_OFF = 60.0
STABLE_SECONDS = 300.0
HEALTH_SECONDS = 5.0
HEALTH_TIMEOUT = 10.0
HEALTH_MISSES = 3
NOTICE_SECONDS = 60.0  # more than it takes to find out that it hangs
START_POLL_SECONDS = 0.25
GRACE_SECONDS = 5.0
SOCKET_PATH_LIMIT = 107
ZMQ_NAME = "x" * 36


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where an engine stands. `detail` is one sentence for people; `since`: unix seconds when the stage began."""

    stage: Stage
    detail: str
    since: float


@dataclass(frozen=True, slots=True)
class _Ended:
    failure: Failure
    ready_for: float | None


def private_folder(base: Path, name: str) -> Path:
    """A folder under `base` that only this user may enter, always the same for `name`, and emptied.

    Where the path would be too long for a Unix socket it stands in the temporary folder instead. Raises
    `EngineUnavailable` when it belongs to somebody else or cannot be made.
    """
    folder = base.absolute() / hashlib.sha256(name.encode()).hexdigest()[:8]
    if len(os.fsencode(folder / ZMQ_NAME)) > SOCKET_PATH_LIMIT:
        place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir(), f"parley-{os.getuid()}-{place}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise EngineUnavailable(f"{folder} belongs to somebody else: remove it, or choose another DATA_DIR.")
        folder.chmod(0o700)
        for left in folder.iterdir():
            left.unlink()
    except OSError as error:
        raise EngineUnavailable(f"{folder} cannot be used for the engine's socket: {error.strerror}.") from error
    return folder


def back_off(failures: int) -> float:
    """Seconds before the next start after so many failures in a row: 1, 2, 4, ... 60."""
    return min(LONGEST_BACK_OFF, 2.0 ** min(failures - 1, 10))


class VllmServer:
    """One vLLM process that is kept running from `start` to `stop`.

    After a crash it is started again after 1, 2, 4 ... at most 60 s (counted anew once it was ready for five minutes),
    without end, but for causes that cannot heal: then its stage is "failed" until the next `start`. `command` replaces
    vLLM's command line; it gets the socket's path appended.
    """

    def __init__(
        self,
        model: str,
        *,
        served_name: str,
        machine: Machine,
        runtime_dir: Path,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
        command: Sequence[str] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self.model = model
        self.served_name = served_name
        self.api_key = ""
        self._machine = machine
        self._runtime_dir = runtime_dir
        self._extra_args = tuple(extra_args)
        self._env = dict(os.environ if env is None else env)
        self._python = python
        self._command = command
        self._clock = clock
        self._sleep = sleep
        self._grace = grace
        self._status = EngineStatus("stopped", WORDS["stopped"], clock())
        self._failure: Failure | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._started_up = asyncio.Event()
        self._folder: Path | None = None
        self._tail: deque[str] = deque(maxlen=DIAGNOSIS_LINES)

    @property
    def status(self) -> EngineStatus:
        stage, detail, since = self._status.stage, self._status.detail, self._status.since
        if stage in ("starting", "downloading", "loading", "compiling", "warming"):
            return replace(self._status, detail=f"{detail} ({max(0, self._clock() - since):.0f} s).")
        return self._status

    @property
    def uds(self) -> Path:
        """The socket. The same from one `start` to the next, as is `api_key` through restarts."""
        if self._folder is None:
            raise EngineUnavailable("The engine has not been started.")
        return self._folder / "engine.sock"

    @property
    def log_tail(self) -> tuple[str, ...]:
        """vLLM's last lines, for the operator. They hold no conversation text."""
        return tuple(self._tail)[-TAIL_LINES:]

    async def start(self) -> None:
        """Begin to start vLLM and return at once. Nothing happens where it is already up or on its way."""
        if self._task is not None and not self._task.done():
            return
        self._folder = private_folder(self._runtime_dir, self.served_name)
        self.api_key = secrets.token_urlsafe(32)
        self._failure = None
        self._set("starting")
        self._task = asyncio.create_task(self._supervise(), name=f"vllm {self.served_name}")

    async def wait_ready(self) -> None:
        """Return when the engine answers. Raises why, as an `EngineError`, when it stopped or failed for good."""
        async for status in self.watch():
            if status.stage == "ready":
                return
            if status.stage in ("failed", "stopped"):
                raise self.error()

    def error(self) -> EngineError:
        """Why the engine does not answer now."""
        if self._status.stage not in ("failed", "stopped"):
            return EngineStarting(self.status.detail)
        memory = self._failure is not None and self._failure.code == "out_of_memory"
        return (EngineOutOfMemory if memory else EngineUnavailable)(self.status.detail)

    async def has_gone(self) -> bool:
        """Whether the engine, which gave somebody no answer, is down. Where that was not known yet, it is on return."""
        if self._status.stage == "ready":
            async with self._client() as client:
                if await self._healthy(client):
                    return False
            with suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_SECONDS):
                    async for status in self.watch():
                        if status.stage != "ready":
                            break
        return self._status.stage != "ready"

    async def watch(self, every: float = 1.0) -> AsyncIterator[EngineStatus]:
        """The status now, at each change, and every so many seconds (its sentence counts them)."""
        while True:
            changed = self._changed
            yield self.status
            try:
                await asyncio.wait_for(changed.wait(), every)
            except TimeoutError:
                pass

    async def stop(self) -> None:
        """End vLLM and everything below it. On return no process of it is left, nor the folder of its socket."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._status.stage != "stopped":
            self._set("stopped", f"{WORDS['stopped']}.")

    def _set(self, stage: Stage, detail: str | None = None) -> None:
        detail = WORDS[stage] if detail is None else detail
        if (stage, detail) == (self._status.stage, self._status.detail):
            return
        since = self._status.since if stage == self._status.stage else self._clock()
        self._status = EngineStatus(stage, detail, since)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _supervise(self) -> None:
        failures, tries, last = 0, 0, ""
        while True:
            missing = self._missing()
            ended = _Ended(missing, None) if missing else await self._run_once()
            stable = ended.ready_for is not None and ended.ready_for >= STABLE_SECONDS
            same_cause = ended.ready_for is None and ended.failure.code == last
            failures = 1 if stable else failures + 1
            tries = tries + 1 if same_cause else 1
            last = ended.failure.code
            self._failure = ended.failure
            healable = ended.ready_for is not None or ended.failure.attempts is None
            if not healable and tries >= ended.failure.attempts:
                self._set("failed", ended.failure.sentence)
                return
            delay = back_off(failures)
            self._set("restarting", f"{ended.failure.sentence} Starting it again in {delay:.0f} s.")
            await self._sleep(delay)
            self._set("starting")

    def _missing(self) -> Failure | None:
        if self._command is None and is_local(self.model):
            folder = Path(self.model).expanduser()
            if not (folder / "config.json").is_file():
                return Failure("not_found", f"There is no model in the folder {folder}: correct the catalogue.", 1)
        return None

    async def _run_once(self) -> _Ended:
        """Start vLLM below a guard and return when it has ended. Cancelled: it is ended first."""
        self._tail.clear()
        self._started_up.clear()
        self.uds.unlink(missing_ok=True)
        try:
            process = await self._spawn()
        except OSError as error:
            return _Ended(Failure("crashed", f"The engine cannot be started: {error.strerror}.", None), None)
        reader = asyncio.create_task(self._read(process))
        health = asyncio.create_task(self._watch_health())
        ready_since: float | None = None
        try:
            await asyncio.wait((reader, health), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._status.stage == "ready":
                ready_since = self._status.since
            health.cancel()
            # The guard is told before anything is awaited: a second cancellation here leaves nothing behind either.
            process.stdin.close()
            code = await self._ended(process)
            reader.cancel()
            hung, _ = await asyncio.gather(health, reader, return_exceptions=True)
        failure = hung if isinstance(hung, Failure) else diagnose(self._tail, code)
        return _Ended(failure, None if ready_since is None else self._clock() - ready_since)

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self._command is None:
            command = vllm_command(
                self._python, self.model, self.served_name, self.uds, self._machine, self._extra_args
            )
        else:
            command = [*self._command, str(self.uds)]
        environment = vllm_environment(
            self._env, self.model, self.api_key, self.uds.parent, self._machine, self._extra_args
        )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            guard.__file__,
            str(os.getpid()),
            str(self._grace),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """The exit code, once guard and vLLM are gone. A process that the kernel cannot end is left to the guard."""
        try:
            code = await asyncio.wait_for(process.wait(), self._grace + 30)
        except TimeoutError:
            return 0
        return code if code >= 0 else 128 - code

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        buffer = b""
        while chunk := await process.stdout.read(65536):
            lines, buffer = lines_of(buffer, chunk)
            for line in lines:
                if worth_keeping(line):
                    self._tail.append(line[:2000])
                if self._status.stage == "ready":
                    continue
                if "Application startup complete" in line:
                    self._started_up.set()
                elif reached := stage_of(line, remote=not is_local(self.model)):
                    self._set(*reached)

    async def _watch_health(self) -> Failure:
        """Set "ready" at the first good answer of /health; return when vLLM says that it is broken, or hangs."""
        async with self._client() as client:
            misses = 0
            while True:
                healthy = await self._healthy(client)
                if self._status.stage != "ready":
                    if healthy:
                        self._set("ready", f"{WORDS['ready']}.")
                        continue
                    try:
                        await asyncio.wait_for(self._started_up.wait(), START_POLL_SECONDS)
                        await asyncio.sleep(0.01)
                    except TimeoutError:
                        pass
                    continue
                misses = 0 if healthy else misses + 1
                if misses >= HEALTH_MISSES:
                    return Failure("crashed", "The engine stopped answering.", None)
                await asyncio.sleep(HEALTH_SECONDS)

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.uds))
        return httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=HEALTH_TIMEOUT)

    @staticmethod
    async def _healthy(client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get("/health")).status_code == 200
        except httpx.HTTPError:
            return False
