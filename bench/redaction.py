"""What redaction finds, what it takes by mistake, and how long it takes. Written to `bench/results/redaction.{json,md}`, from
which the Privacy page and the cards of the sharing datasets show it.

Recall: values made up with right checksums, in sentences of four languages and in lines of code; a value counts as found
when nothing of it that matters is left. What is not looked for, and so mostly missed, is measured beside it.

Mistakes: findings in real code and documentation, this repository's and that of the libraries it runs on. An address in
them that is one (an e-mail address below a domain that exists, an IP address where the line speaks of hosts, a password in
an address) is no mistake; whatever else is found, is.
"""

from __future__ import annotations

import json
import random
import re
import sysconfig
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import Table, calibration
from privacy.redaction import VERSION, Placeholders, redact
from tests.support.identifiers import MAKERS, MISSED, SENTENCES, secret_part, sentence, value

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PER_CELL = 100  # values per kind and language
AIMS = {"PHONE": 97, "KEY": 95}  # % ; 99 for the rest
FALSE_AIM = 10  # per 100,000 characters
HOSTILE_SECONDS = 0.5  # for 100,000 characters
HOSTILE = {
    "dots": "a." * 50_000,
    "addresses": "a@a." * 25_000,
    "numbers": "1111 " * 20_000,
    "telephones": "+48601234567 " * 7_700,
    "colons": "1:2:" * 25_000,
    "IBAN starts": "DE12 " * 20_000,
    "zeros": "001 " * 25_000,
    "opened keys": "-----BEGIN PRIVATE KEY-----" * 3_700,
    "opened quotes": "password='" * 10_000,
    "assignments": "TOKEN=a" * 14_000,
    "wallets": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3 " * 2_800,
    "invisible": "1\u200b" * 50_000,
}
TEXTS = (".py", ".md", ".js", ".css", ".sql", ".txt", ".yaml", ".toml", ".rst")
LIBRARIES = (
    "fastapi", "gradio", "gradio_client", "httpx", "huggingface_hub", "hypothesis", "jinja2", "numpy", "pydantic",
    "starlette", "uvicorn",
)  # fmt: skip
# Files whose subject is made-up personal data.
LEFT_OUT = ("identifiers.py", "test_redaction.py", "bench/redaction.py", "phonenumbers", "stdnum")
LIBRARY_CHARACTERS = 8_000_000
DOMAINS = re.compile(
    r"\.(com|org|net|edu|gov|io|de|fr|pl|uk|jp|se|fi|cz|ch|eu|dev|co|me|ai|example|test|invalid|localhost)\Z"
)
ABOUT_HOSTS = re.compile(r"(?i)ip|host|addr|net|server|client|bind|http|://|proxy|cidr|local|dns|url|origin|forward")


def recall(makers: Mapping[str, Any] = MAKERS, per_cell: int = PER_CELL) -> dict[str, dict[str, float]]:
    """Percent of the values gone, by kind and language."""
    draw = random.Random(7)
    found: dict[str, dict[str, float]] = {}
    for kind in makers:
        for language in SENTENCES:
            gone = 0
            for _ in range(per_cell):
                made = makers[kind](draw) if kind in MISSED else value(kind, draw)
                text = redact(sentence(language, made, draw), Placeholders()).text
                gone += is_gone(kind, made, text)
            found.setdefault(kind, {})[language] = 100 * gone / per_cell
    return found


def is_gone(kind: str, made: str, text: str) -> bool:
    """Whether `text` tells nothing of the value that matters. Of a number, four digits in a row are too much."""
    secret = secret_part(kind, made)
    if secret in text or made in text:
        return False
    if kind not in ("PHONE", "IBAN", "CARD", "NATIONAL_ID"):
        return True
    kept = re.sub(r"[^0-9]", "", re.sub(r"\[[A-Z_]+_[0-9]+\]", "", text))
    digits = re.sub(r"[^0-9]", "", secret)
    return not any(digits[at : at + 4] in kept for at in range(len(digits) - 3))


def real_texts() -> Iterator[tuple[str, str]]:
    """(name, text) of this repository's files and of the libraries', in an order that does not change."""
    for path in sorted(ROOT.rglob("*")):
        relative = str(path.relative_to(ROOT))
        if path.suffix in TEXTS and not relative.startswith(".") and not any(part in relative for part in LEFT_OUT):
            yield relative, path.read_text(encoding="utf-8")
    packages = Path(sysconfig.get_paths()["purelib"])
    files = [file for name in LIBRARIES for file in (packages / name).rglob("*") if file.suffix in TEXTS]
    files += packages.glob("*.dist-info/METADATA")
    files = [file for file in sorted(files) if file.stat().st_size < 200_000]
    random.Random(3).shuffle(files)
    left = LIBRARY_CHARACTERS
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except ValueError:
            continue
        yield str(path.relative_to(packages)), text
        left -= len(text)
        if left <= 0:
            return


def mistakes() -> tuple[list[str], int, int]:
    """(findings by mistake, findings in all, characters read)."""
    characters = everything = 0
    wrong = []
    for name, text in real_texts():
        characters += len(text)
        for span in redact(text, Placeholders()).spans:
            everything += 1
            found = text[span.start : span.end]
            line = (
                text[text.rfind("\n", 0, span.start) + 1 : span.start] + text[span.end : span.end + 200].split("\n")[0]
            )
            if not _is_one(span.kind, found, line):
                wrong.append(f"{name}: {span.kind} {found!r}")
    return wrong, everything, characters


def _is_one(kind: str, found: str, line: str) -> bool:
    if kind == "EMAIL":
        return "@" in found and bool(DOMAINS.search(found.lower()))
    return kind == "CREDENTIALS" or (kind == "IP" and bool(ABOUT_HOSTS.search(line)))


def measure() -> dict[str, Any]:
    """All figures, as they are kept in `redaction.json`."""
    by_kind, missed = recall(), recall(MISSED)
    wrong, everything, characters = mistakes()
    plain = " ".join((ROOT / "starter" / "texts" / "about.txt").read_text().split())[:100_000]
    texts = {"plain text": plain, "accented text": plain.replace("e", "ę")}
    return {
        "version": VERSION,
        "day": datetime.now(UTC).date().isoformat(),
        "values": PER_CELL * len(SENTENCES) * len(MAKERS),
        "by_language": by_kind,
        "recall": {kind: sum(row.values()) / len(row) for kind, row in by_kind.items()},
        "missed": {kind: sum(row.values()) / len(row) for kind, row in missed.items()},
        "false": len(wrong) / characters * 100_000,
        "findings": everything,
        "characters": characters,
        "by_mistake": wrong,
        "million_characters_a_second": {name: len(text) / seconds(text) / 1e6 for name, text in texts.items()},
        "hostile_seconds": {name: seconds(text) for name, text in HOSTILE.items()},
    }


def seconds(text: str) -> float:
    """The best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        redact(text, Placeholders())
        best = min(best, time.perf_counter() - began)
    return best


def tables(found: Mapping[str, Any]) -> str:
    languages = tuple(SENTENCES)
    by_kind = Table(
        f"Redaction {found['version']}: values gone, % of {PER_CELL} per cell ({found['values']} in all)",
        ("kind", *languages, "all", "aim"),
    )
    for kind, row in found["by_language"].items():
        by_kind.add(kind, *row.values(), found["recall"][kind], f">= {AIMS.get(kind, 99)}")
    missed = Table("Redaction: what is not looked for", ("kind", "gone, %"))
    for kind, share in found["missed"].items():
        missed.add(kind, share)
    other = Table(
        f"Redaction: cost (one JSON dump of a chunk here: {calibration():.4f} ms)", ("what", "measured", "aim")
    )
    other.add(
        f"taken by mistake in {found['characters']:,} characters of code and documentation, per 100,000",
        found["false"],
        f"<= {FALSE_AIM}",
    )
    for name, speed in found["million_characters_a_second"].items():
        other.add(f"{name}, million characters a second", speed, "")
    hostile = found["hostile_seconds"]
    slowest = max(hostile, key=hostile.__getitem__)
    other.add(f"slowest hostile text of 100,000 characters ({slowest}), s", hostile[slowest], f"<= {HOSTILE_SECONDS}")
    return f"{by_kind}\n{missed}\n{other}"


def main() -> str:
    found = measure()
    RESULTS.mkdir(exist_ok=True)
    kept = {name: value for name, value in found.items() if name != "by_mistake"}
    (RESULTS / "redaction.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = tables(found)
    again = f"{found['day']}. Again: `make bench ARGS=redaction`.\n"
    (RESULTS / "redaction.md").write_text(f"{text}\n{again}", encoding="utf-8")
    return text


if __name__ == "__main__":
    print(main())
    for line in mistakes()[0]:
        print(line)
