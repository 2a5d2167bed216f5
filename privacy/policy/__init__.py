"""The texts that people agree to or rely on: one file per kind, version and language, never changed once published,
rendered with the figures in force. Each version says when it was posted and when it takes effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

from privacy import forgetting
from privacy.consent import ASKING
from privacy.ledger import Shown
from privacy.policy.words import LANGUAGES, Words, words
from privacy.segments import PASTED

_HERE = Path(__file__).parent

# "consent": to all that an author's models answer from now on. "share": to the rows that were shown, and no more.
# "api": to what is sent with API keys.
# "privacy", "terms": what holds for everybody; nobody agrees to these with a yes of their own.
Kind = Literal["consent", "share", "api", "privacy", "terms"]

NOTICE = timedelta(days=10)  # from posting a text to its effect
HOST_POLICY, HOST_TERMS = "https://huggingface.co/privacy", "https://huggingface.co/terms-of-service"
# What a yes is to; the sentence of each is `purpose_<name>` in the words. A grant names the purposes that its text named.
PURPOSES = ("evaluation", "training")


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


# Oldest first. The first one is in force from the day it was posted: nobody had agreed to anything before.
VERSIONS: tuple[Version, ...] = (Version("1", date(2026, 11, 21), material=True, languages=tuple(LANGUAGES)),)


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
class House:
    """What the page's own texts say about this copy. `dataset`: the private one, None for a folder of this machine;
    `custodian`: whose it is. `measured`: Markdown, what the redaction finds; `contact`: who answers for the copy.
    `rows_a_month`: the most that leave of one person and model, None without a cap."""

    licence: str
    quiet_hours: float
    minimum_age: int
    anonymous_days: int
    dataset: str | None = None
    custodian: str | None = None
    contact: str | None = None
    measured: str = ""
    rows_a_month: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyText:
    """`text`: Markdown, as it is shown. `sha256`: hex, of its UTF-8 bytes; the ledger keeps it with a consent."""

    version: str
    language: str
    effective: date
    text: str
    sha256: str


def in_force(today: date | None = None) -> Version:
    """The newest version that has taken effect."""
    now = today or datetime.now(UTC).date()
    return [version for version in VERSIONS if version.effective <= now or version is VERSIONS[0]][-1]


def current(language: str, facts: Facts, kind: Kind = "consent", today: date | None = None) -> PolicyText:
    """The text in force that a yes is given to, in `language` or else in English, and its hash."""
    version, say = in_force(today), words(language)
    return _rendered(
        kind,
        version,
        say,
        {
            "recipient": facts.recipient,
            "models": say.all_of(facts.models),
            "dataset": facts.dataset,
            "purposes": " ".join(say(f"purpose_{name}") for name in PURPOSES),
            "licence": facts.licence,
            **_figures(say, facts.quiet_hours, facts.minimum_age),
        },
    )


def for_everybody(
    language: str, house: House, kind: Literal["privacy", "terms"], today: date | None = None
) -> PolicyText:
    """The privacy text or the terms in force, in `language` or else in English."""
    version, say = in_force(today), words(language)
    named = {"dataset": house.dataset or "", "custodian": house.custodian or ""}
    where = "dataset" if house.dataset else "folder"
    return _rendered(
        kind,
        version,
        say,
        {
            "kept_where": say(f"kept_in_{where}", **named),
            "insiders": say(f"insiders_{where}", **named),
            "licence": house.licence,
            "contact": say("contact_some", contact=house.contact) if house.contact else say("contact_none"),
            "measured": house.measured or say("not_measured"),
            "most_rows": say("most_rows", house.rows_a_month) if house.rows_a_month else "",
            "unvisited": say.duration(house.anonymous_days * 24.0),
            "unvisited_after": say.duration(house.anonymous_days * 24.0, "after_"),
            "reports": say.duration(forgetting.KEPT / 3600),
            "reports_after": say.duration(forgetting.KEPT / 3600, "after_"),
            "host_policy": HOST_POLICY,
            "host_terms": HOST_TERMS,
            **_figures(say, house.quiet_hours, house.minimum_age),
        },
    )


def _figures(say: Words, quiet_hours: float, minimum_age: int) -> dict[str, str]:
    """The numbers in a text, from the constants that the code goes by."""
    notice, asking = NOTICE.total_seconds() / 3600, ASKING / 3600
    quiet = {"quiet": "", "after": ""}
    if quiet_hours:
        quiet = {"quiet": say.duration(quiet_hours), "after": say.duration(quiet_hours, "after_")}
    return {
        "when": say("quiet_some" if quiet_hours else "quiet_none", **quiet),
        "pasted": say.number(PASTED),
        "age": say.number(minimum_age),
        "years": say("years", minimum_age),
        "notice": say.duration(notice),
        "notice_after": say.duration(notice, "after_"),
        "asking": say.duration(asking),
    }


def _rendered(kind: Kind, version: Version, say: Words, values: Mapping[str, str]) -> PolicyText:
    spoken = say.language if say.language in version.languages else "en"
    text = template(kind, version.number, spoken).format(**values)
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


def templates() -> dict[str, str]:
    """Path in a sharing dataset -> a text that people agree to, of every version and language, with its blanks."""
    return {
        f"texts/{path.name}": path.read_text(encoding="utf-8")
        for kind in ("consent", "share", "api")
        for path in sorted(_HERE.glob(f"{kind}-*.md"))
    }


def without_text(surface: Literal["page", "operator"] = "page") -> Shown:
    """What a no was said to: to no text; the ledger says which was in force."""
    version = in_force().number
    return Shown(version, template_hash("consent", version, "en"), "en", surface)
