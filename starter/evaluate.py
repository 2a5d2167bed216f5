"""Ask a running server the questions of `questions.yaml` and score the answers.

`python -m starter.evaluate --url http://127.0.0.1:8000` (any OpenAI-compatible server that serves the starter model),
or `--uds PATH`; `--local DIR` asks transformers in this process instead, greedily, for a quick look. Default
temperature of the model's generation_config, fixed seed. With `--record` the score and every answer go to
`results.json`, which the card quotes.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

HERE = Path(__file__).parent
QUESTIONS = HERE / "questions.yaml"
SEED = 1

Ask = Callable[[list[dict[str, str]]], str]


def missing_facts(answer: str, facts: list[str]) -> list[str]:
    """The patterns of `facts` that `answer` does not contain."""
    return [fact for fact in facts if not re.search(fact, answer, re.IGNORECASE)]


def repeats(answer: str) -> bool:
    """Whether a sentence stands twice in `answer`."""
    sentences = [part.strip().lower() for part in re.split(r"(?<=[.!?])\s+", answer) if part.strip()]
    return len(sentences) != len(set(sentences))


def problem(answer: str, facts: list[str]) -> str:
    """Why an answer does not pass; empty when it does."""
    missing = missing_facts(answer, facts)
    if missing:
        return "lacks " + "; ".join(missing)
    return "repeats a sentence" if repeats(answer) else ""


def measure(ask: Ask, path: Path = QUESTIONS) -> dict[str, Any]:
    """Ask everything once. A dialogue passes when all of its answers do."""
    wanted = yaml.safe_load(path.read_text(encoding="utf-8"))
    cases = [(item["id"], [item]) for item in wanted["questions"]] + [
        (item["id"], item["turns"]) for item in wanted["dialogues"]
    ]
    rows = []
    for name, turns in cases:
        messages: list[dict[str, str]] = []
        told, problems = [], []
        for turn in turns:
            messages.append({"role": "user", "content": turn["ask"]})
            answer = ask(messages)
            messages.append({"role": "assistant", "content": answer})
            told.append({"ask": turn["ask"], "answer": answer})
            problems.append(problem(answer, turn["facts"]))
        rows.append(
            {"id": name, "passed": not any(problems), "problem": " / ".join(filter(None, problems)), "turns": told}
        )
    passed = sum(row["passed"] for row in rows)
    return {"passed": passed, "asked": len(rows), "score": round(100 * passed / len(rows), 1), "rows": rows}


def server(url: str, uds: str | None) -> Ask:
    """Asks an OpenAI-compatible server, with its own default temperature."""
    client = httpx.Client(base_url=url, transport=httpx.HTTPTransport(uds=uds) if uds else None, timeout=60)
    model = client.get("/v1/models").raise_for_status().json()["data"][0]["id"]

    def ask(messages: list[dict[str, str]]) -> str:
        body = {"model": model, "messages": messages, "max_tokens": 300, "seed": SEED}
        reply = client.post("/v1/chat/completions", json=body).raise_for_status().json()
        return str(reply["choices"][0]["message"]["content"])

    return ask


def in_process(folder: Path) -> Ask:
    """Asks transformers, greedily."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def ask(messages: list[dict[str, str]]) -> str:
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=150, do_sample=False, temperature=None, top_p=None
        )
        return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    return ask


def card_section(result: dict[str, Any], training: dict[str, Any]) -> str:
    """The measured part of the card: training, score, and each failure in its own words."""
    lines = [
        f"Trained on {training['tokens']:,} tokens in {training['dialogues']:,} dialogues, {training['steps']:,} steps,"
        f" {training['parameters']:,} parameters,"
        f" {training['minutes']} minutes on one busy core, seed {training['seed']}.",
        "",
        f"Score: {result['passed']} of {result['asked']} ({result['score']} %), through vLLM at the default"
        f" temperature, seed {SEED}.",
        "",
        "Failures, word for word:",
        "",
    ]
    for row in result["rows"]:
        if not row["passed"]:
            lines += [f"- `{row['id']}` ({row['problem']})"]
            for turn in row["turns"]:
                lines += [f"  - > {turn['ask']}", f"  - {turn['answer']}"]
    return "\n".join(lines)


def record(result: dict[str, Any], folder: Path = HERE) -> None:
    """Write `results.json` and the measured part of the card."""
    training = json.loads((folder / "model" / "training.json").read_text())
    written = json.dumps({"seed": SEED, "training": training, **result}, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(written + "\n", encoding="utf-8")
    card = folder / "README.md"
    before, rest = card.read_text(encoding="utf-8").split("<!-- measured -->\n")
    after = rest.split("<!-- /measured -->")[1]
    card.write_text(
        f"{before}<!-- measured -->\n{card_section(result, training)}\n<!-- /measured -->{after}", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--uds", help="the server's Unix socket")
    parser.add_argument("--local", type=Path, help="a model folder, answered in this process")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    parser.add_argument("--record", action="store_true", help="write results.json and the measured part of the card")
    given = parser.parse_args()
    result = measure(in_process(given.local) if given.local else server(given.url, given.uds), given.questions)
    for row in result["rows"]:
        print(f"{'pass' if row['passed'] else 'FAIL'}  {row['id']:<16} {row['problem']}")
        if not row["passed"]:
            for turn in row["turns"]:
                print(f"        > {turn['ask']}\n        < {turn['answer']}")
    print(f"{result['passed']} of {result['asked']}: {result['score']} %")
    if given.record:
        record(result)


if __name__ == "__main__":
    main()
