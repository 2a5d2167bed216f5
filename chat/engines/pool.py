"""Which engines are up: started when first asked for, swapped when they do not fit side by side.

One co-located vLLM holds the machine at a time, unless the memory that the entries name allows more. A swap waits for
the answers that are running, and who waited first is served first: a busy model cannot keep another one out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chat.engines.adapters import HostedEngine, OpenAIEngine, TGIEngine
from chat.engines.engine import Engine
from chat.engines.errors import EngineError, EngineUnavailable
from chat.engines.machine import Machine
from chat.engines.vllm_command import KV_CACHE_GIB_ON_CPU, arguments_of
from chat.engines.vllm_server import EngineStatus, VllmServer
from chat.models.catalog import ASSUMED_CONTEXT, NO_TGI_CLIENT, ModelEntry

# What an engine on a CPU takes beside its weights and cache: two processes with torch.
OVERHEAD_GIB_ON_CPU = 2.0
HEADROOM = 0.95
# After a failure for good, the next one who asks starts it anew only so many seconds later.
RETRY_SECONDS = 60.0


class Server(Protocol):
    """What the pool needs of a co-located engine's server; `VllmServer` in the app."""

    api_key: str

    @property
    def uds(self) -> Path: ...
    @property
    def status(self) -> EngineStatus: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def watch(self, every: float = 1.0) -> AsyncIterator[EngineStatus]: ...
    def error(self) -> EngineError: ...
    async def has_gone(self) -> bool: ...


def build_engine(entry: ModelEntry, environ: Mapping[str, str], server: Server | None = None) -> Engine:
    """The adapter for `entry`. Raises `EngineUnavailable`, which names the variable, where a key is missing."""
    key = environ.get(entry.api_key_env) if entry.api_key_env else None
    if entry.api_key_env and not key:
        raise EngineUnavailable(f"The key for {entry.label or entry.name} is missing: set {entry.api_key_env}.")
    if entry.kind == "vllm" and server is not None:
        return OpenAIEngine(
            "http://vllm", entry.name, vllm=True, api_key=server.api_key, uds=server.uds, label=entry.label
        )
    if entry.kind == "hosted":
        token = key or environ.get("HF_TOKEN")
        try:
            return HostedEngine(
                entry.model, token=token, provider=entry.provider, base_url=entry.base_url, label=entry.label
            )
        except ValueError as error:
            raise EngineUnavailable(str(error)) from None
    if not entry.base_url:
        raise EngineUnavailable(f"{entry.label or entry.name} has no address: give it a base_url in the catalogue.")
    if entry.kind == "tgi":
        try:
            return TGIEngine(entry.base_url, entry.model, api_key=key, label=entry.label)
        except ImportError:
            raise EngineUnavailable(f"{entry.label or entry.name} cannot be asked. {NO_TGI_CLIENT}") from None
    return OpenAIEngine(entry.base_url, entry.model, vllm=entry.kind == "vllm", api_key=key, label=entry.label)


def build_server(entry: ModelEntry, machine: Machine, runtime_dir: Path, environ: Mapping[str, str]) -> VllmServer:
    """The server of a co-located entry. What its `engine_args` say goes before what the entry says."""
    given = {"revision": entry.revision, **entry.engine_args}
    if entry.context != ASSUMED_CONTEXT:
        given.setdefault("max_model_len", entry.context)
    return VllmServer(
        entry.model or entry.name,
        served_name=entry.name,
        machine=machine,
        runtime_dir=runtime_dir,
        extra_args=arguments_of(given),
        env=environ,
    )


def share_of(entry: ModelEntry, machine: Machine) -> float:
    """The part (0 to 1) of the machine's engine memory that `entry` takes; 1 where that is not known.

    On a GPU vLLM takes all it may, so an entry shares one only if its `gpu_memory_utilization` says so.
    """
    if machine.gpus:
        return float(entry.engine_args.get("gpu_memory_utilization", 1.0))
    if entry.memory_gib is None:
        return 1.0
    return (entry.memory_gib + KV_CACHE_GIB_ON_CPU + OVERHEAD_GIB_ON_CPU) / machine.ram_gib


@dataclass(slots=True)
class _Resident:
    entry: ModelEntry
    server: Server
    engine: Engine
    users: int = 0


class EnginePool:
    """The engines of a catalogue's entries, by name."""

    def __init__(
        self,
        entries: Iterable[ModelEntry],
        *,
        machine: Machine,
        make_server: Callable[[ModelEntry], Server],
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._machine = machine
        self._make_server = make_server
        self._environ = dict(environ)
        self._clock = clock
        self._created = clock()
        self._elsewhere: dict[str, Engine] = {}
        self._residents: dict[str, _Resident] = {}  # least recently asked for first
        self._queue: list[str] = []
        self._swapping = asyncio.Lock()
        self._freed = asyncio.Event()
        self._failures: dict[str, tuple[EngineError, EngineStatus]] = {}
        self._closed = False

    def offer(self, entries: Iterable[ModelEntry]) -> None:
        """From now on there are these; an engine that runs goes on as it is."""
        self._entries = {entry.name: entry for entry in entries}

    def status(self, name: str) -> EngineStatus:
        """Where the engine of `name` stands. One elsewhere counts as ready; an answer will tell."""
        entry = self._entries[name]
        if not entry.is_here:
            where = entry.answered_by or "this machine"
            return EngineStatus("ready", f"Answers come from {where}.", self._created)
        if name in self._residents:
            return self._residents[name].server.status
        if name in self._failures:
            return self._failures[name][1]
        return EngineStatus("stopped", "The engine is not running; a message starts it.", self._created)

    async def warm(self, name: str) -> None:
        """Start the engine of `name` where there is room now, without waiting for it. `status` says how it went."""
        if self._entries[name].is_here:
            async with self._swapping:
                if name not in self._residents and self._fits(self._entries[name]):
                    with suppress(EngineError):
                        self._may_start(self._entries[name])
                        await self._bring_up(self._entries[name])

    @asynccontextmanager
    async def ready(self, name: str, report: Callable[[str | None], None] | None = None) -> AsyncIterator[Engine]:
        """The engine of `name`, up and held for one answer: no swap ends it before the context is left.

        `report` hears, in a sentence, what is being waited for, and None when the wait is over. Raises `EngineError`.
        """
        entry = self._entries[name]
        if not entry.is_here:
            if name not in self._elsewhere:
                self._elsewhere[name] = build_engine(entry, self._environ)
            yield self._elsewhere[name]
            return
        say = report or (lambda _: None)
        resident = await self._hold(entry, say)
        try:
            await self._until_ready(resident, say)
            yield resident.engine
        finally:
            resident.users -= 1
            self._announce()

    async def has_gone(self, name: str) -> bool:
        """Whether the engine of `name` is of this machine and down, as whoever got no answer from it may be the first to
        find: `ready` then waits until it has been started again."""
        resident = self._residents.get(name)
        return resident is not None and await resident.server.has_gone()

    async def aclose(self) -> None:
        """End every engine of this machine and close the connections to the others."""
        self._closed = True
        async with self._swapping:
            for resident in list(self._residents.values()):
                await self._take_down(resident)
        for engine in self._elsewhere.values():
            await engine.aclose()
        self._elsewhere.clear()

    def _announce(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()

    async def _hold(self, entry: ModelEntry, say: Callable[[str | None], None]) -> _Resident:
        """Make the engine resident, one user more. First come, first served; all who wait for it go together."""
        name = entry.name
        if not self._queue and name in self._residents:
            return self._use(self._residents[name])
        self._queue.append(name)
        try:
            while True:
                freed = self._freed
                if name == self._queue[0]:
                    async with self._swapping:
                        if name not in self._residents:
                            self._may_start(entry)
                        if await self._make_room(entry):
                            if name not in self._residents:
                                await self._bring_up(entry)
                                # Only at a swap: or else those who come later would keep the next model out for ever.
                                self._queue = [name] * self._queue.count(name) + [n for n in self._queue if n != name]
                            return self._use(self._residents[name])
                say(self._waiting_for(entry))
                await freed.wait()
        finally:
            self._queue.remove(name)
            self._announce()

    def _use(self, resident: _Resident) -> _Resident:
        resident.users += 1
        self._residents[resident.entry.name] = self._residents.pop(resident.entry.name)
        return resident

    def _waiting_for(self, entry: ModelEntry) -> str:
        busy = [resident.entry.label or resident.entry.name for resident in self._residents.values() if resident.users]
        return f"Waiting until {' and '.join(busy) or 'another model'} has finished its answers."

    def _fits(self, entry: ModelEntry) -> bool:
        taken = sum(share_of(resident.entry, self._machine) for resident in self._residents.values())
        return not self._residents or taken + share_of(entry, self._machine) <= HEADROOM

    async def _make_room(self, entry: ModelEntry) -> bool:
        """Stop engines that nobody uses, least recently asked for first, until `entry` fits. False: some are in use."""
        if entry.name in self._residents:
            return True
        for resident in list(self._residents.values()):
            if self._fits(entry):
                break
            if not resident.users:
                await self._take_down(resident)
        return self._fits(entry)

    def _may_start(self, entry: ModelEntry) -> None:
        """Raises what stands against starting `entry`, before another engine is stopped for it."""
        if self._closed:
            raise EngineUnavailable("The app is stopping.")
        if known := self._failures.get(entry.name):
            if self._clock() - known[1].since < RETRY_SECONDS:
                raise type(known[0])(str(known[0]))
            del self._failures[entry.name]
        if reason := self._machine.cannot_run(entry.memory_gib, entry.needs_gpu):
            refusal = EngineUnavailable(f"{entry.label or entry.name} cannot run here. {reason}")
            raise self._remember(entry.name, refusal)

    async def _bring_up(self, entry: ModelEntry) -> None:
        server = self._make_server(entry)
        try:
            await server.start()
        except EngineError as error:
            raise self._remember(entry.name, error) from None
        self._residents[entry.name] = _Resident(entry, server, build_engine(entry, self._environ, server))

    def _remember(self, name: str, error: EngineError) -> EngineError:
        self._failures[name] = error, EngineStatus("failed", str(error), self._clock())
        return error

    async def _take_down(self, resident: _Resident) -> None:
        self._residents.pop(resident.entry.name, None)
        await resident.server.stop()
        with suppress(EngineError):
            await resident.engine.aclose()

    async def _until_ready(self, resident: _Resident, say: Callable[[str | None], None]) -> None:
        async for status in resident.server.watch():
            if status.stage == "ready":
                say(None)
                return
            if status.stage in ("failed", "stopped"):
                # A failed engine gives its place up; why it failed is told to whoever asks in the next minute.
                if self._residents.get(resident.entry.name) is resident:
                    self._remember(resident.entry.name, resident.server.error())
                    await self._take_down(resident)
                known = self._failures.get(resident.entry.name)
                raise type(known[0])(str(known[0])) if known else resident.server.error()
            say(status.detail)
