"""The starter model's questions, answered by the real vLLM."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import yaml

from bench.report import Table
from starter.evaluate import QUESTIONS, SEED, measure
from tests.support.real_engine import RealEngine, real_engine

AIM = 70  # percent, issue 2


def groups() -> dict[str, str]:
    """The group of every question and dialogue, by its id."""
    wanted = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    single = {item["id"]: item["topic"].replace("_", "-") for item in wanted["questions"]}
    return single | {item["id"]: "two-turn dialogues" for item in wanted["dialogues"]}


def answer_all(engine: RealEngine) -> tuple[list[dict], list[float]]:
    """The rows of starter.evaluate, and the seconds that each answer took."""
    transport = httpx.HTTPTransport(uds=str(engine.server.uds))
    headers = {"Authorization": f"Bearer {engine.server.api_key}"}
    seconds: list[float] = []
    with httpx.Client(base_url="http://vllm", transport=transport, headers=headers, timeout=120) as client:

        def ask(messages: list[dict[str, str]]) -> str:
            body = {"model": engine.server.served_name, "messages": messages, "max_tokens": 300, "seed": SEED}
            began = time.perf_counter()
            reply = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            seconds.append(time.perf_counter() - began)
            return reply["choices"][0]["message"]["content"]

        return measure(ask)["rows"], seconds


def run() -> Table:
    table = Table(
        f"The starter model's questions through vLLM, seed {SEED}",
        ("group", "aim", "answered", "of", "percent", "ratio to the aim"),
    )
    with tempfile.TemporaryDirectory() as folder, real_engine(Path(folder)) as engine:
        rows, seconds = answer_all(engine)
    group = groups()
    asked = Counter(group[row["id"]] for row in rows)
    passed = Counter(group[row["id"]] for row in rows if row["passed"])

    def add(name: str, right: int, of: int) -> None:
        table.add(name, f"{AIM} %", right, of, f"{100 * right / of:.0f} %", 100 * right / of / AIM)

    for name, count in asked.items():
        add(name, passed[name], count)
    took = f"{sum(seconds):.1f} s for {len(seconds)} answers, the longest {max(seconds):.1f} s"
    add(f"**all** ({took})", passed.total(), asked.total())
    return table
