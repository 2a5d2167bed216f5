"""What redaction finds, what it takes by mistake, and how long it takes. `main()` is the table of the privacy page too.

Recall: values made up with right checksums, in sentences of four languages and in lines of code; a value counts as found
when nothing of it that matters is left. False positives: this repository's own text files, read through once by a person;
addresses and numbers that stand in them on purpose (tests, examples) are not counted: only files without such are read.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from bench.report import Table, calibration
from privacy.redaction import VERSION, Placeholders, redact
from tests.support.identifiers import MAKERS, SENTENCES, secret_part, sentence, value

ROOT = Path(__file__).resolve().parent.parent
PER_CELL = 40  # values per kind and language
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
    "wallets": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3 " * 2_800,
    "invisible": "1\u200b" * 50_000,
}
# Files whose subject is made-up personal data, and what is no text.
LEFT_OUT = ("identifiers.py", "test_redaction.py", "bench/redaction.py")


def recall() -> dict[str, dict[str, float]]:
    """Percent of the values gone, by kind and language."""
    draw = random.Random(7)
    found: dict[str, dict[str, float]] = {}
    for kind in MAKERS:
        for language in SENTENCES:
            gone = 0
            for _ in range(PER_CELL):
                made = value(kind, draw)
                text = redact(sentence(language, made, draw), Placeholders()).text
                gone += secret_part(kind, made) not in text
            found.setdefault(kind, {})[language] = 100 * gone / PER_CELL
    return found


def false_positives() -> tuple[int, int, list[str]]:
    """(findings, characters read, the findings) in the repository's code and texts."""
    characters, found = 0, []
    for path in sorted(ROOT.rglob("*")):
        relative = str(path.relative_to(ROOT))
        if path.suffix not in (".py", ".md", ".js", ".css", ".sql", ".txt", ".yaml", ".toml") or relative.startswith(
            "."
        ):
            continue
        if relative.endswith(LEFT_OUT):
            continue
        text = path.read_text()
        characters += len(text)
        found += [
            f"{relative}: {span.kind} {text[span.start : span.end]!r}" for span in redact(text, Placeholders()).spans
        ]
    return len(found), characters, found


def main() -> str:
    languages = tuple(SENTENCES)
    by_kind = Table(
        f"Redaction {VERSION}: values gone, % of {PER_CELL} per cell ({PER_CELL * len(MAKERS) * len(languages)} in all)",
        ("kind", *languages, "all", "aim"),
    )
    for kind, row in recall().items():
        by_kind.add(kind, *row.values(), sum(row.values()) / len(row), f">= {AIMS.get(kind, 99)}")
    wrong, characters, _ = false_positives()
    other = Table(
        f"Redaction: cost (one JSON dump of a chunk here: {calibration():.4f} ms)", ("what", "measured", "aim")
    )
    other.add("findings in this repository, per 100,000 characters", wrong / characters * 100_000, f"<= {FALSE_AIM}")
    plain = " ".join((ROOT / "starter" / "texts" / "about.txt").read_text().split())[:100_000]
    for name, text in {"plain text": plain, "accented text": plain.replace("e", "ę")}.items():
        other.add(f"{name}, million characters a second", len(text) / seconds(text) / 1e6, "")
    slowest = {name: seconds(text) for name, text in HOSTILE.items()}
    name = max(slowest, key=slowest.__getitem__)
    other.add(f"slowest hostile text of 100,000 characters ({name}), s", slowest[name], f"<= {HOSTILE_SECONDS}")
    return f"{by_kind}\n{other}"


def seconds(text: str) -> float:
    """The best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        redact(text, Placeholders())
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    print(main())
    for line in false_positives()[2]:
        print(line)
