"""The consent texts: one file per version and language, never changed once published, rendered with the figures in force."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

from privacy.segments import PASTED

_HERE = Path(__file__).parent

# "consent": to all that an author's models answer from now on. "share": to the rows that were shown, and no more.
Kind = Literal["consent", "share"]

NOTICE = timedelta(days=10)  # from posting a text to its effect
# Purpose -> what the consent text says. A grant names the purposes that its text named.
PURPOSES: Mapping[str, str] = {
    "evaluation": "To study and measure how the model answers, and to publish what was found.",
    "training": "To train and improve models.",
}

# Language -> what a text says about the quiet period: where there is none, and where there is one.
WHEN = {
    "en": (
        "What is covered may leave within minutes.",
        "Nothing leaves before {quiet} have passed since the conversation last changed and since you said yes. Until then "
        "they have seen nothing of it, and a no costs nothing.",
    )
}


@dataclass(frozen=True, slots=True)
class Version:
    """`material`: a grant to an earlier text is stale from this one's effect on. `languages`: the files that exist."""

    number: str
    posted: date
    material: bool
    languages: tuple[str, ...]

    @property
    def effective(self) -> date:
        return self.posted if self.number == "1" else self.posted + NOTICE


# Oldest first.
VERSIONS: tuple[Version, ...] = (Version("1", date(2026, 11, 21), material=True, languages=("en",)),)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the text says about one recipient here. `models`: their labels."""

    recipient: str
    models: tuple[str, ...]
    dataset: str
    licence: str
    quiet_hours: float
    minimum_age: int = 18


@dataclass(frozen=True, slots=True)
class PolicyText:
    """`text`: Markdown, as it is shown. `sha256`: hex, of its UTF-8 bytes; the ledger keeps it with a consent."""

    version: str
    language: str
    effective: date
    text: str
    sha256: str


def current(language: str, facts: Facts, kind: Kind = "consent", today: date | None = None) -> PolicyText:
    """The text in force, in `language` or else in English, and its hash."""
    now = today or datetime.now(UTC).date()
    version = [version for version in VERSIONS if version.effective <= now or version is VERSIONS[0]][-1]
    spoken = language if language in version.languages else "en"
    text = template(kind, version.number, spoken).format(
        recipient=facts.recipient,
        models=all_of(facts.models),
        dataset=facts.dataset,
        purposes=" ".join(PURPOSES.values()),
        licence=facts.licence,
        when=WHEN[spoken][facts.quiet_hours > 0].format(quiet=duration(facts.quiet_hours)),
        pasted=f"{PASTED:,}",
        age=facts.minimum_age,
    )
    return PolicyText(version.number, spoken, version.effective, text, hashlib.sha256(text.encode()).hexdigest())


def template_hash(kind: Kind, number: str, language: str) -> str:
    """SHA-256, hex, of the text before the figures are in it."""
    return hashlib.sha256(template(kind, number, language).encode()).hexdigest()


@lru_cache
def template(kind: Kind, number: str, language: str) -> str:
    return (_HERE / f"{kind}-{number}.{language}.md").read_text(encoding="utf-8").strip()


def stale_from() -> dict[str, float]:
    """Version -> Unix seconds from which a grant to it lets nothing new leave: a later, material text is in force."""
    found = {}
    for older, version in enumerate(VERSIONS):
        later = [newer.effective for newer in VERSIONS[older + 1 :] if newer.material]
        if later:
            found[version.number] = datetime.combine(min(later), datetime.min.time(), UTC).timestamp()
    return found


def duration(hours: float) -> str:
    """Words for a number of hours above 0: "3 days", "90 minutes"."""
    for unit, length in (("day", 24.0), ("hour", 1.0)):
        if hours >= length and (hours / length).is_integer():
            return _many(int(hours / length), unit)
    return _many(max(1, round(hours * 60)), "minute")


def _many(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count != 1 else ''}"


def all_of(names: tuple[str, ...]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
