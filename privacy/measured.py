"""How well the redaction works, as the benchmark measured it: `bench/results/redaction.json`, for the page and the cards."""

from __future__ import annotations

import json
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from privacy.policy.words import Words
from privacy.redaction import VERSION

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results" / "redaction.json"


@lru_cache
def measured() -> dict[str, Any] | None:
    """`recall`: kind -> percent of the values gone; `missed`: the same of what is not looked for; `values`; `false`: findings
    by mistake in 100,000 characters; `day`.

    None where nothing was measured, or another version of the redaction was.
    """
    try:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("version") == VERSION else None


def measured_text(say: Words) -> str:
    """The table, and the sentence under it, as Markdown; "" where there is no measurement."""
    found = measured()
    if found is None:
        return ""
    names = say.table["kind"]
    lines = [(say("measured_kind"), say("measured_found")), ("---", "---:")]
    lines += [(names[kind], f"{_floor(say, share)} %") for kind, share in (found["recall"] | found["missed"]).items()]
    table = "\n".join(f"| {left} | {right} |" for left, right in lines)
    note = say(
        "measured_note",
        date=say.day(date.fromisoformat(found["day"])),
        values=say.number(found["values"]),
        false=say.number(round(found["false"], 1)),
    )
    return f"{table}\n\n{note}"


def _floor(say: Words, share: float) -> str:
    """A share is never rounded up: 99.96 is 99.9."""
    tenths = int(share * 10)
    return say.number(tenths // 10 if tenths % 10 == 0 else tenths / 10)
