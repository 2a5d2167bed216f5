"""The co-located engine: its stages, its restarts, its end. The process behind it is `tests/support/fake_vllm.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat.conversation import Message, SamplingParams
from chat.engines import guard
from chat.engines.adapters import OpenAIEngine
from chat.engines.errors import EngineOutOfMemory, EngineUnavailable
from chat.engines.guard import processes
from chat.engines.machine import Gpu, Machine
from chat.engines.vllm_command import arguments_of, vllm_command, vllm_environment
from chat.engines.vllm_log import diagnose, lines_of, stage_of, worth_keeping
from chat.engines.vllm_server import VllmServer, back_off, private_folder

FAKE = Path(__file__).parent / "support" / "fake_vllm.py"
LAPTOP = Machine((), 8.0, 2)
BOX = Machine((Gpu("NVIDIA H100", 80.0),), 256.0, 32)


@dataclass
class Plan:
    """What the fake does at each start, and which processes it has had."""

    folder: Path
    run: Path

    def write(self, *words: str) -> None:
        (self.folder / "plan").write_text(" ".join(words))

    def pids(self, what: str) -> list[int]:
        try:
            lines = (self.folder / "pids").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [int(line.split()[1]) for line in lines if line.split()[0] == what]

    def living(self) -> list[int]:
        table = processes()
        return [
            pid for what in ("main", "grandchild") for pid in self.pids(what) if pid in table and table[pid][2] != "Z"
        ]


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    with tempfile.TemporaryDirectory(prefix="run-") as short:  # a Unix socket's path has 107 bytes at most
        yield Plan(tmp_path, Path(short))


class Waits:
    """A sleep that is over at once, and remembers for how long it was asked."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@asynccontextmanager
async def served(
    plan: Plan, *words: str, sleep: Callable[[float], Awaitable[None]] | None = None
) -> AsyncIterator[VllmServer]:
    plan.write(*words)
    server = VllmServer(
        "tiny",
        served_name="scripted",
        machine=LAPTOP,
        runtime_dir=plan.run,
        command=[sys.executable, str(FAKE), str(plan.folder)],
        sleep=sleep or Waits(),
        grace=0.3,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def until(holds: Callable[[], bool], seconds: float = 180.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_it_becomes_ready_through_the_stages_its_output_shows_and_answers(plan: Plan) -> None:
    stages: list[str] = []
    async with served(plan, "ready") as server:
        async for status in server.watch(0.01):
            if status.stage not in stages:
                stages.append(status.stage)
            if status.stage == "ready":
                break
        assert stages[0] == "starting" and stages[-1] == "ready"
        assert server.status.detail == "Ready."
        engine = OpenAIEngine("http://vllm", "scripted", vllm=True, api_key=server.api_key, uds=server.uds)
        text = [delta.text async for delta in engine.stream([Message("user", "/say it works")], SamplingParams())]
        await engine.aclose()
        assert "".join(text) == "it works"


@pytest.mark.anyio
async def test_only_this_user_may_enter_the_folder_of_the_socket(plan: Plan) -> None:
    async with served(plan, "ready") as server:
        await server.wait_ready()
        assert server.uds.parent.stat().st_mode & 0o777 == 0o700
        assert server.uds.is_socket()


@pytest.mark.anyio
async def test_every_start_has_a_key_of_its_own_and_none_stands_on_a_command_line(plan: Plan) -> None:
    async with served(plan, "ready") as server:
        await server.wait_ready()
        first = server.api_key
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in plan.living()]
        assert len(first) >= 32 and not any(first.encode() in line for line in lines)
        await server.stop()
        await server.start()
        assert server.api_key != first


@pytest.mark.anyio
async def test_stopping_leaves_nothing_a_grandchild_that_ignores_sigterm_included(plan: Plan) -> None:
    async with served(plan, "grandchild") as server:
        await server.wait_ready()
        assert len(plan.living()) == 2
        await server.stop()
        assert plan.living() == []
        assert server.status.stage == "stopped"


@pytest.mark.anyio
async def test_a_grandchild_that_left_the_session_is_found_when_its_parent_is_killed(plan: Plan) -> None:
    async with served(plan, "runaway", "ready") as server:
        await server.wait_ready()
        [main], [grandchild] = plan.pids("main"), plan.pids("grandchild")
        os.kill(main, signal.SIGKILL)
        await until(lambda: len(plan.pids("main")) == 2)
        assert grandchild not in plan.living()


@pytest.mark.anyio
async def test_stopping_while_it_starts_leaves_nothing(plan: Plan) -> None:
    async with served(plan, "hang") as server:
        await until(lambda: bool(plan.living()))
        await server.stop()
        assert plan.living() == []


@pytest.mark.anyio
async def test_killed_it_is_started_again_with_the_same_key_and_its_grandchild_is_gone(plan: Plan) -> None:
    waits = Waits()
    async with served(plan, "grandchild", "ready", sleep=waits) as server:
        await server.wait_ready()
        key, uds = server.api_key, server.uds
        [main], [grandchild] = plan.pids("main"), plan.pids("grandchild")
        os.kill(main, signal.SIGKILL)
        await until(lambda: len(plan.pids("main")) == 2)
        assert grandchild not in plan.living()
        await server.wait_ready()
        assert (server.api_key, server.uds, waits.seconds) == (key, uds, [1.0])


@pytest.mark.anyio
async def test_whoever_finds_it_gone_before_that_was_noticed_is_told_once_it_was(plan: Plan) -> None:
    async with served(plan, "ready") as server:
        await server.wait_ready()
        assert not await server.has_gone()
        [main] = plan.pids("main")
        watching = processes()[main][0]  # the guard, which would notice
        os.kill(watching, signal.SIGSTOP)
        try:
            os.kill(main, signal.SIGKILL)
            asked = asyncio.create_task(server.has_gone())
            engine = OpenAIEngine("http://vllm", "scripted", vllm=True, api_key=server.api_key, uds=server.uds)
            with pytest.raises(EngineUnavailable):
                [_ async for _ in engine.stream([Message("user", "/say")], SamplingParams())]
            await engine.aclose()
            assert server.status.stage == "ready" and not asked.done()
        finally:
            os.kill(watching, signal.SIGCONT)
        assert await asked
        assert server.status.stage != "ready"


@pytest.mark.anyio
async def test_crashes_are_answered_with_longer_and_longer_waits_and_the_reason_is_told(plan: Plan) -> None:
    waits = Waits()
    seen: list[str] = []

    async def remember(seconds: float) -> None:
        await waits(seconds)
        seen.append(server.status.detail)

    async with served(plan, "crash", "disk", "crash", "ready", sleep=remember) as server:
        await server.wait_ready()
        assert waits.seconds == [1.0, 2.0, 4.0]
        assert len(plan.pids("main")) == 4
        assert seen[0] == "The engine ended unexpectedly (exit code 1). Starting it again in 1 s."
        assert seen[1] == "The disk is full: free some space. Starting it again in 2 s."


def test_the_wait_grows_to_a_minute_and_no_further() -> None:
    assert [back_off(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 500)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.anyio
async def test_the_wait_is_counted_anew_after_five_minutes_of_answering(plan: Plan) -> None:
    waits, now = Waits(), [1000.0]
    plan.write("crash", "crash", "ready")
    server = VllmServer(
        "tiny",
        served_name="scripted",
        machine=LAPTOP,
        runtime_dir=plan.run,
        command=[sys.executable, str(FAKE), str(plan.folder)],
        clock=lambda: now[0],
        sleep=waits,
        grace=0.3,
    )
    await server.start()
    try:
        await server.wait_ready()
        now[0] += 299
        os.kill(plan.pids("main")[-1], signal.SIGKILL)
        await until(lambda: len(plan.pids("main")) == 4)
        await server.wait_ready()
        now[0] += 300
        os.kill(plan.pids("main")[-1], signal.SIGKILL)
        await until(lambda: len(plan.pids("main")) == 5)
        assert waits.seconds == [1, 2, 4, 1]
    finally:
        await server.stop()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("word", "starts", "error", "says"),
    [
        ("gated", 1, EngineUnavailable, "HF_TOKEN"),
        ("unknown", 1, EngineUnavailable, "architecture"),
        ("settings", 1, EngineUnavailable, "max_model_len (9) is greater"),
        ("memory", 3, EngineOutOfMemory, "smaller one"),
    ],
)
async def test_what_cannot_heal_is_given_up_with_the_reason(
    plan: Plan, word: str, starts: int, error: type[Exception], says: str
) -> None:
    async with served(plan, word) as server, asyncio.timeout(180):
        with pytest.raises(error) as raised:
            await server.wait_ready()
        assert says in str(raised.value)
        assert server.status.stage == "failed"
        assert len(plan.pids("main")) == starts


@pytest.mark.anyio
async def test_a_folder_without_a_model_is_told_before_anything_is_started(tmp_path: Path) -> None:
    server = VllmServer(str(tmp_path / "gone"), served_name="gone", machine=LAPTOP, runtime_dir=tmp_path / "run")
    await server.start()
    with pytest.raises(EngineUnavailable, match="no model in the folder"):
        await server.wait_ready()
    await server.stop()


@pytest.mark.anyio
async def test_after_it_has_failed_a_new_start_tries_again(plan: Plan) -> None:
    async with served(plan, "gated", "ready") as server:
        with pytest.raises(EngineUnavailable):
            await server.wait_ready()
        await server.start()
        await server.wait_ready()


@pytest.mark.anyio
async def test_who_waits_for_an_engine_that_is_stopped_is_told(plan: Plan) -> None:
    async with served(plan, "hang") as server:
        waiting = asyncio.create_task(server.wait_ready())
        await until(lambda: bool(plan.living()))
        await server.stop()
        with pytest.raises(EngineUnavailable):
            await waiting


@pytest.mark.anyio
@pytest.mark.parametrize("victim", ["app", "guard", "app and guard"])
async def test_whoever_above_vllm_is_killed_nothing_below_is_left(plan: Plan, victim: str) -> None:
    plan.write("grandchild")
    app = subprocess.Popen(
        [sys.executable, "-m", "tests.support.supervising_app", str(plan.folder), str(plan.run)],
        cwd=FAKE.parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert app.stdout is not None and app.stdout.readline() == "ready\n"
        below = plan.living()
        assert len(below) == 2
        above = processes()[plan.pids("main")[0]][0]
        guards = [pid for pid, (parent, _, _) in processes().items() if above in (pid, parent)]
        assert len(guards) == 3  # the guard, the witness and vLLM
        if victim == "guard":
            plan.write("hang")
            os.kill(above, signal.SIGKILL)
            await until(lambda: not set(below) & set(plan.living()))
        if "app" in victim:
            app.kill()
            if "guard" in victim:
                os.kill(above, signal.SIGKILL)
            await until(lambda: not plan.living() and not set(guards) & set(processes()))
    finally:
        app.kill()
        app.communicate()
        await until(lambda: not plan.living())


@pytest.mark.anyio
async def test_the_last_lines_are_kept_for_the_operator_and_are_few(plan: Plan) -> None:
    async with served(plan, "gated") as server:
        with pytest.raises(EngineUnavailable):
            await server.wait_ready()
        assert "GatedRepoError" in server.log_tail[-1]
        assert len(server.log_tail) <= 40


def test_the_folder_is_emptied_and_the_same_for_a_name(plan: Plan) -> None:
    folder = private_folder(plan.run, "a/b")
    (folder / "engine.sock").touch()
    assert private_folder(plan.run, "a/b") == folder and list(folder.iterdir()) == []
    assert private_folder(plan.run, "a/c") != folder


def test_where_the_path_is_too_long_for_a_socket_a_short_private_one_is_used(tmp_path: Path) -> None:
    base = tmp_path / ("x" * 90)
    folder = private_folder(base, "a")
    try:
        assert len(str(folder)) < 60 and folder.stat().st_mode & 0o777 == 0o700
        assert private_folder(base, "a") == folder != private_folder(base, "b")
    finally:
        folder.rmdir()
        private_folder(base, "b").rmdir()


def test_a_folder_that_somebody_else_could_have_put_there_is_refused(plan: Plan) -> None:
    folder = private_folder(plan.run, "a")
    folder.rmdir()
    (plan.run / "elsewhere").mkdir()
    folder.symlink_to(plan.run / "elsewhere")
    with pytest.raises(EngineUnavailable, match="DATA_DIR"):
        private_folder(plan.run, "a")


def test_the_sentence_counts_the_seconds_of_a_stage_that_takes_long(tmp_path: Path) -> None:
    now = [100.0]
    server = VllmServer("tiny", served_name="t", machine=LAPTOP, runtime_dir=tmp_path, clock=lambda: now[0])
    server._set("loading")
    now[0] += 12
    assert server.status.detail == "Loading the weights (12 s)."


@pytest.mark.parametrize(
    ("line", "remote", "stage", "detail"),
    [
        ("[cpu_model_runner.py:68] Starting to load model /m...", False, "loading", "Loading the weights"),
        ("[gpu_model_runner.py:50] Starting to load model org/m...", True, "downloading", "Fetching the model's files"),
        ("Loading safetensors checkpoint shards:  40% Completed | 2/5", True, "loading", "Loading the weights, 40 %"),
        ("Using cache directory: /c for vLLM's torch.compile", False, "compiling", "Compiling the model"),
        ("Capturing CUDA graphs (decode, FULL):  10%|#", False, "compiling", "Compiling the model"),
        ("[kv_cache_utils.py:2327] GPU KV cache size: 2,097,152 tokens", False, "warming", "Warming up"),
    ],
)
def test_stages_are_read_from_vllms_own_lines(line: str, remote: bool, stage: str, detail: str) -> None:
    assert stage_of(line, remote) == (stage, detail)


def test_other_lines_say_nothing_about_the_stage() -> None:
    assert stage_of("INFO:     Started server process [1]", False) is None


def test_lines_end_at_a_carriage_return_too_and_may_come_in_pieces() -> None:
    lines, rest = lines_of(b"ab", b"c\r10%\r20%\nla")
    assert (list(lines), rest) == (["abc", "10%", "20%"], b"la")


def test_routes_and_throughput_are_not_worth_keeping() -> None:
    assert not worth_keeping("[launcher.py:195] Route: /health, Methods: GET")
    assert not worth_keeping("Engine 000: Avg prompt throughput: 0.0 tokens/s")
    assert worth_keeping("RuntimeError: CUDA error")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ValueError: No available memory for the cache blocks. Try increasing", "out_of_memory"),
        ("Available memory on node 0 (8/9 GiB) is less than requested memory for kv (60.0 GiB).", "out_of_memory"),
        ("ValueError: Free memory on device is less than desired GPU memory utilization", "out_of_memory"),
        ("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.", "not_found"),
        ("LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder", "not_found"),
        ("ModuleNotFoundError: No module named 'vllm'", "not_installed"),
        ("RuntimeError: Failed to infer device type, please set the environment variable", "no_gpu"),
        ("Model architectures ['X'] are not supported for now.", "unsupported"),
        ("api_server.py: error: unrecognized arguments: --wobble=1", "unsupported"),
        ("RuntimeError: something else", "crashed"),
    ],
)
def test_the_cause_is_read_from_the_last_lines(line: str, code: str) -> None:
    assert diagnose([line], 1).code == code


def test_a_vllm_for_gpus_on_a_machine_without_one_is_given_up_at_once_with_the_way_out() -> None:
    """A Space that was duplicated to free CPU hardware: starting it again changes nothing."""
    failure = diagnose(["RuntimeError: Failed to infer device type, please set the environment variable"], 1)
    assert failure.attempts == 1
    assert "GPU hardware" in failure.sentence and "ENGINE_URL" in failure.sentence


def test_a_death_by_signal_is_told_with_its_number() -> None:
    assert "signal 9" in diagnose([], 137).sentence


def test_the_command_line_is_private_local_and_quick_on_a_small_machine(tmp_path: Path) -> None:
    command = vllm_command("python", str(tmp_path), "name", tmp_path / "s", LAPTOP)
    assert command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert {"--enforce-eager", "--distributed-executor-backend=uni", "--disable-uvicorn-access-log"} <= set(command)
    on_gpu = vllm_command("python", "org/model", "name", tmp_path / "s", BOX, ["--tensor-parallel-size=2"])
    assert "--enforce-eager" not in on_gpu and "org/model" in on_gpu and on_gpu[-1] == "--tensor-parallel-size=2"


def test_without_a_gpu_prompts_are_read_whole_unless_the_entry_says_otherwise(tmp_path: Path) -> None:
    """In pieces, one with a seed ends vLLM."""

    def says(machine: Machine, *args: str) -> list[str]:
        return [arg for arg in vllm_command("python", "org/m", "m", tmp_path, machine, args) if "chunked" in arg]

    assert says(LAPTOP) == ["--no-enable-chunked-prefill"]
    assert says(BOX) == []
    for said in ("--enable-chunked-prefill", "--no-enable-chunked-prefill"):
        assert says(LAPTOP, said) == [said]


def test_the_environment_hands_over_the_key_and_keeps_the_apps_secrets(tmp_path: Path) -> None:
    base = {"PATH": "/bin", "HF_TOKEN": "hf_1", "OAUTH_CLIENT_SECRET": "s", "WATERMARK_KEYS": "w", "METRICS_TOKEN": "m"}
    local = vllm_environment(base, str(tmp_path), "key", tmp_path, LAPTOP)
    assert local["VLLM_API_KEY"] == "key" and local["HF_HUB_OFFLINE"] == "1" and local["VLLM_NO_USAGE_STATS"] == "1"
    assert local["VLLM_CPU_KVCACHE_SPACE"] == "1" and local["PATH"] == "/bin"
    assert not {"HF_TOKEN", "OAUTH_CLIENT_SECRET", "WATERMARK_KEYS", "METRICS_TOKEN"} & set(local)
    remote = vllm_environment(base, "org/model", "key", tmp_path, BOX)
    assert remote["HF_TOKEN"] == "hf_1" and "HF_HUB_OFFLINE" not in remote and "VLLM_CPU_KVCACHE_SPACE" not in remote


def test_engine_args_become_flags() -> None:
    args = {"tensor_parallel_size": 2, "enable_prefix_caching": False, "enable_expert_parallel": True, "revision": None}
    assert arguments_of(args) == ["--tensor-parallel-size=2", "--no-enable-prefix-caching", "--enable-expert-parallel"]


@pytest.mark.parametrize("name", ["uds", "api-key", "enable_log_requests", "host"])
def test_engine_args_cannot_open_the_server_or_log_prompts(name: str) -> None:
    with pytest.raises(ValueError, match="set by the app"):
        arguments_of({name: True})


def test_a_guard_that_cannot_start_its_command_says_so_and_ends() -> None:
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", str(guard.__file__), str(os.getpid()), "1", "/no/such/command"]
    run = subprocess.run(command, stdin=read, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(read)
    os.close(write)
    assert (run.returncode, run.stderr) == (127, "guard: cannot start /no/such/command: No such file or directory\n")
