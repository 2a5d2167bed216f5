"""The real vLLM, once per test session, on a model that needs no download.

    @pytest.fixture(scope="session")
    def vllm_server(tmp_path_factory):
        with real_engine(tmp_path_factory.mktemp("vllm")) as engine:
            yield engine

It runs on an event loop in a thread of its own, so that tests, each with a loop of theirs, share it.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.engines.adapters import OpenAIEngine
from chat.engines.machine import Machine
from chat.engines.vllm_server import EngineStatus, VllmServer

STARTER = Path(__file__).resolve().parents[2] / "starter" / "model"
CONTEXT = 2048
AT_ONCE = 8


class _Endless(OpenAIEngine):
    def _request(self, *args: Any) -> dict[str, Any]:
        return super()._request(*args) | {"ignore_eos": True}


@dataclass
class RealEngine:
    """A running vLLM. `stages`: what it reported on its way up, in order."""

    server: VllmServer
    loop: asyncio.AbstractEventLoop
    stages: list[EngineStatus] = field(default_factory=list)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of `coroutine` on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(600)

    def adapter(self, endless: bool = False) -> OpenAIEngine:
        """An adapter for the caller's loop; close it with `aclose`. `endless`: answers end at `max_tokens` only."""
        return (_Endless if endless else OpenAIEngine)(
            "http://vllm", self.server.served_name, vllm=True, api_key=self.server.api_key, uds=self.server.uds
        )

    async def requests(self) -> tuple[int, int]:
        """How many requests the engine is working on and how many it holds in its queue, by its own metrics."""
        text = await self._metrics()
        return _total(text, "vllm:num_requests_running"), _total(text, "vllm:num_requests_waiting")

    async def ended_by_itself(self) -> int:
        """How many requests have come to their end since the engine started; one that was stopped is not among them."""
        return _total(await self._metrics(), "vllm:request_success_total", r'finished_reason="(?:stop|length)"')

    async def _metrics(self) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.server.uds))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: vllm\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return text

    async def _start(self) -> None:
        await self.server.start()
        async for status in self.server.watch(0.1):
            if not self.stages or self.stages[-1].stage != status.stage:
                self.stages.append(status)
            if status.stage == "ready":
                return
            if status.stage in ("failed", "restarting"):
                raise RuntimeError("\n".join((status.detail, *self.server.log_tail)))


def _total(metrics: str, name: str, label: str = "") -> int:
    """The sum of a metric over its label sets, those with `label` (a pattern) only."""
    found = re.findall(rf"^{name}(?:\{{[^}}]*{label}[^}}]*\}})? (\S+)$", metrics, re.MULTILINE)
    assert found, f"vLLM's metrics say nothing about {name}"
    return int(sum(map(float, found)))


@contextmanager
def real_engine(
    folder: Path, model: Path = STARTER, context: int = CONTEXT, extra_args: tuple[str, ...] = ()
) -> Iterator[RealEngine]:
    """Start vLLM on `model` with its socket under `folder`; at the end it is gone."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="real-engine", daemon=True)
    thread.start()
    server = VllmServer(
        str(model),
        served_name="real",
        machine=Machine.detect(),
        runtime_dir=folder,
        extra_args=[f"--max-model-len={context}", f"--max-num-seqs={AT_ONCE}", *extra_args],
        env=os.environ,
    )
    engine = RealEngine(server, loop)
    try:
        engine.run(engine._start())
        yield engine
    finally:
        engine.run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
