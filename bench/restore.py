"""What an empty disk costs: the time until the page is up, until a returning visitor has their list, until all is back.

The dataset stands on the loopback Hub; the app is a process of its own, started on an empty disk. Each size is compared
with a dataset that holds nothing, and with a tenth of it. Starts with and without are made in turn, so that what else the
machine does strikes both.

The list is measured from three moments: from the page; from the Hub's first answer about what the dataset holds, after
which up to 512 small files are read, since only they say whose a cookie is; and from its last answer that the list needs,
the file with the visitor's conversations, after which nothing but this app is waited for. The last is "the Hub's answer".
"""

from __future__ import annotations

import hashlib
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.campaign import record
from bench.report import Table, calibration
from chat import formats
from chat.formats import SavedConversation, SavedMessage, SavedOwner, SavedSession
from chat.hub import HubRepo
from tests.support.app_process import AppProcess, engine_process
from tests.support.hub import LoopbackHub

SIZES = (10_000, 100_000)  # conversations
PER_OWNER = 50
STARTS = 3  # of each size; the fastest counts
LAST = "f" * 32  # the owner whose file would be read last
COMMIT_BYTES = 24_000_000
WORDS = ("herons", "nest", "near", "still", "water", "where", "reeds", "hide", "them", "from", "the", "evening", "wind")


@dataclass
class Figures:
    """Of one size. Seconds, but for `requests` to the Hub, `mebibytes` of the app's memory and `answer`: milliseconds of
    a turn that is begun meanwhile."""

    up: float = 0.0
    up_cpu: float = 0.0
    listed: float = 0.0
    listed_from_first: float = 0.0
    listed_from_last: float = 0.0
    restored: float = 0.0
    cpu: float = 0.0
    mebibytes: float = 0.0
    requests: int = 0
    answer: float = 0.0


def conversations(owner: str, count: int) -> Iterator[SavedConversation]:
    """Two turns each, of about 700 characters in all; no two people speak in the same millisecond."""
    first = 1_750_000_000.0 + secrets.randbelow(600_000) / 1000
    for number in range(count):
        at = first + number * 600
        messages: list[SavedMessage] = []
        for turn in range(4):
            text = " ".join(WORDS[(number + turn + word) % len(WORDS)] for word in range(30))
            is_answer = turn % 2
            messages.append(
                SavedMessage(
                    id=secrets.token_hex(16),
                    parent=messages[-1].id if messages else None,
                    role="assistant" if is_answer else "user",
                    content=text,
                    created_at=at + turn,
                    surface=None if is_answer else "page",
                    model="acme/small" if is_answer else None,
                    model_revision=None,
                    params={} if is_answer else None,
                    state="done" if is_answer else None,
                    finish_reason="stop" if is_answer else None,
                    error=None,
                    settled_at=at + turn + 1 if is_answer else None,
                )
            )
        yield SavedConversation(
            id=secrets.token_hex(16),
            owner=owner,
            title=messages[0].content[:60],
            model="acme/small",
            system_prompt="",
            params={},
            leaf=messages[-1].id,
            revision=3,
            created_at=at,
            updated_at=at + 4,
            messages=tuple(messages),
        )


def fill(repo: HubRepo, count: int) -> str:
    """Write so many conversations, `PER_OWNER` each; returns the cookie that opens the last owner's."""
    head = repo.create(formats.card())
    files: dict[str, bytes] = {}
    accounts: dict[str, list[SavedOwner]] = {}
    cookie = secrets.token_urlsafe(32)
    now = time.time()
    for number in range(count // PER_OWNER):
        owner = secrets.token_hex(16) if number else LAST
        value = secrets.token_urlsafe(32) if number else cookie
        session = SavedSession(
            token_hash=hashlib.sha256(value.encode()).hexdigest().upper(),
            carrier="cookie",
            created_at=now,
            expires_at=now + 1e7,
        )
        saved = SavedOwner(
            owner=owner, kind="anonymous", created_at=now, last_seen_at=now, account=None, sessions=(session,), keys=()
        )
        accounts.setdefault(formats.account_path(owner), []).append(saved)
        files[formats.user_path(owner, 0)] = formats.encode(conversations(owner, PER_OWNER))
        if sum(map(len, files.values())) > COMMIT_BYTES:
            head, files = repo.commit(files, (), head, "Fill"), {}
    files |= {path: formats.encode(owners) for path, owners in accounts.items()}
    if files:
        repo.commit(files, (), head, "Fill")
    return cookie


@contextmanager
def started(folder: Path, hub: LoopbackHub, token: str, name: str, engine: str) -> Iterator[AppProcess]:
    with AppProcess(
        folder,
        wait=False,
        forked=False,
        ENGINE_URL=engine,
        HF_ENDPOINT=hub.endpoint,
        HF_TOKEN=token,
        HF_HUB_DISABLE_TELEMETRY="1",
        STORE_DATASET=name,
    ) as app:
        yield app


def poll(
    app: AppProcess, ask: httpx.Client, path: str, is_so: Callable[[httpx.Response], object], seconds: float = 900.0
) -> float:
    """Seconds until an answer is as wanted. Raises `RuntimeError` with what the app printed, at once where it has ended."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds and app.process.poll() is None:
        try:
            answer = ask.get(path)
            if answer.status_code == 200 and is_so(answer):
                return time.perf_counter() - began
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    why = "the app has ended" if app.process.poll() is not None else f"{seconds:.0f} s have passed"
    raise RuntimeError(f"{path} did not become what was waited for: {why}. It printed:\n{app.output()}")


def measure(folder: Path, hub: LoopbackHub, token: str, name: str, engine: str, cookie: str | None) -> Figures:
    """Start the app on an empty disk and wait until everything is back."""
    found = Figures()
    hub.requests.clear()
    began = time.perf_counter()
    with started(folder, hub, token, name, engine) as app:
        with httpx.Client(base_url=app.url, timeout=60, headers={"X-Parley": "1", "Origin": app.url}) as ask:
            poll(app, ask, "/", lambda _: True)
            found.up, found.up_cpu = time.perf_counter() - began, cpu_seconds(app.process.pid)
            if cookie:
                cookies = {f"parley-{app.port}": cookie}
                with httpx.Client(base_url=app.url, timeout=60, cookies=cookies) as returning:
                    found.listed = poll(app, returning, "/api/conversations", lambda answer: answer.json()["items"])
                listed, answers = time.perf_counter(), list(hub.requests)
                found.listed_from_first = listed - min(answer.at for answer in answers if "/tree/" in answer.path)
                found.listed_from_last = listed - next(
                    answer.at for answer in answers if answer.path.endswith(formats.user_path(LAST, 0))
                )
            turns = []

            def is_known(state: httpx.Response) -> bool:
                if state.json()["known"]:
                    return True
                at = time.perf_counter()
                ask.post("/api/turns", json={"text": "/clock tokens=1"}).raise_for_status()
                turns.append((time.perf_counter() - at) * 1000)
                time.sleep(0.2)
                return False

            poll(app, ask, "/api/privacy/state", is_known)
            found.restored = time.perf_counter() - began
            found.answer = statistics.median(turns) if turns else 0.0
        status = Path(f"/proc/{app.process.pid}/status").read_text()
        found.mebibytes = int(status.split("VmHWM:")[1].split()[0]) / 1024
        found.cpu = cpu_seconds(app.process.pid)
    found.requests = len(hub.requests)
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, user and system: what others do on this machine meanwhile is not in it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def best(starts: list[Figures]) -> Figures:
    """Of some starts each figure's best."""
    return Figures(**{field: min(getattr(start, field) for start in starts) for field in Figures.__dataclass_fields__})


def main() -> str:
    return record("restore", measure_all, "make bench ARGS=restore")


def measure_all(sizes: tuple[int, ...] = SIZES) -> Table:
    table = Table(
        f"An empty disk: restore from the private dataset; calibration {calibration():.4f} ms",
        (
            "conversations",
            "page up, s",
            "to none",
            "CPU until then, s",
            "to none",
            "a returning visitor's list, s after the page",
            "after the Hub's first answer",
            "after its last",
            "all back, s",
            "to a tenth",
            "CPU, s",
            "memory, MiB",
            "requests",
            "a turn begun meanwhile, ms",
        ),
    )
    with tempfile.TemporaryDirectory() as name, LoopbackHub(Path(name) / "hub") as hub, engine_process() as engine:
        folder, token = Path(name), hub.add_user("host")
        before = None
        for size in sizes:
            kept = f"host/kept-{size}"
            cookie = fill(HubRepo(hub.endpoint, token, kept), size)
            without, starts = [], []
            for number in range(STARTS):
                without.append(measure(folder / f"none-{size}-{number}", hub, token, "host/none", engine, None))
                starts.append(measure(folder / f"{size}-{number}", hub, token, kept, engine, cookie))
            none, found = best(without), best(starts)
            table.add(0, none.up, "1", none.up_cpu, "1", "", "", "", none.restored, "", none.cpu, *_costs(none))
            table.add(
                size,
                found.up,
                f"{found.up / none.up:.2f} (aim 1.2)",
                found.up_cpu,
                f"{found.up_cpu / none.up_cpu:.2f}",
                found.listed,
                found.listed_from_first,
                f"{found.listed_from_last:.2f} (aim 1)",
                found.restored,
                f"{found.restored / before.restored:.1f}" if before else "",
                found.cpu,
                *_costs(found),
            )
            before = found
    return table


def _costs(found: Figures) -> tuple[float, int, float]:
    return found.mebibytes, found.requests, found.answer


if __name__ == "__main__":
    import sys

    # Other sizes are not recorded.
    print(measure_all(tuple(map(int, sys.argv[1:]))) if sys.argv[1:] else main())
