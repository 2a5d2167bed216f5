"""What the pages say, in the visitor's language: one TOML file per language, a table where the number decides the form."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

_HERE = Path(__file__).parent

Language = Literal["en", "pl", "fr"]
# By its own name, as it stands in the switch.
LANGUAGES: Mapping[str, str] = {"en": "English", "pl": "Polski", "fr": "Français"}
# Language -> the plural forms that each of its tables has, those of Unicode's CLDR that whole numbers up to a million take.
FORMS: Mapping[str, tuple[str, ...]] = {"en": ("one", "other"), "pl": ("one", "few", "many"), "fr": ("one", "other")}
_THOUSANDS = {"en": ",", "pl": "\u00a0", "fr": "\u202f"}
_POINT = {"en": ".", "pl": ",", "fr": ","}
_BEFORE_A_MARK = re.compile(r"(?<=\S) (?=[;:!?»])|(?<=«) ")  # in French: no line may begin with one of these
_TAG = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*")


def form(language: str, n: int) -> str:
    """The plural form of a whole number, a key of the language's tables."""
    if language == "pl":
        if n == 1:
            return "one"
        return "few" if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else "many"
    if language == "fr":
        return "one" if n in (0, 1) else "other"
    return "one" if n == 1 else "other"


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words. `words(key, n, **values)` is a sentence; `n` decides its form where the sentence has several."""

    language: str
    table: Mapping[str, Any]

    def __call__(self, key: str, n: int | None = None, **values: object) -> str:
        found = self.table[key]
        if not isinstance(found, str):
            found = found[form(self.language, n or 0)]
        return found.format(n="" if n is None else self.number(n), **values)

    def number(self, n: int | float) -> str:
        """1,234.5 as it is written in this language."""
        return f"{n:,}".translate({ord(","): _THOUSANDS[self.language], ord("."): _POINT[self.language]})

    def day(self, day: date) -> str:
        first = "1er" if self.language == "fr" and day.day == 1 else str(day.day)
        return self("date", day=first, month=self.table["months"][day.month - 1], year=day.year)

    def all_of(self, names: Sequence[str]) -> str:
        """ "a", "a and b", "a, b and c"."""
        return names[0] if len(names) == 1 else self("and", all=", ".join(names[:-1]), last=names[-1])

    def duration(self, hours: float, how: Literal["", "in_", "after_"] = "") -> str:
        """Words for a number of hours above 0: "3 days"; "in_": "in 3 days"; "after_": "3 days after"."""
        for unit, length in (("day", 24.0), ("hour", 1.0)):
            if hours >= length and (hours / length).is_integer():
                return self(how + unit, int(hours / length))
        return self(f"{how}minute", max(1, round(hours * 60)))

    def distance(self, seconds: float) -> str:
        """Words for a time from now, in the nearest unit: "in 3 days"."""
        if seconds <= 0:
            return self("within_minutes")
        for unit, length in (("day", 86400), ("hour", 3600)):
            if seconds >= 1.5 * length:
                return self(f"in_{unit}", round(seconds / length))
        return self("in_minute", max(1, round(seconds / 60)))


@lru_cache
def words(language: str) -> Words:
    """The words of `language`, or of English where there are none."""
    spoken = language if language in LANGUAGES else "en"
    text = (_HERE / f"words.{spoken}.toml").read_text(encoding="utf-8")
    if spoken == "fr":
        text = _BEFORE_A_MARK.sub("\u00a0", text)
    return Words(spoken, tomllib.loads(text))


def preferred(accepted: str) -> str:
    """The best of our languages for an `Accept-Language` header (RFC 9110): the highest q, the first of equals; else English."""
    best, weight = "en", 0.0
    for part in accepted[:500].split(","):
        found = _TAG.fullmatch(part)
        if found is None:
            continue
        q = float(found[2] or 1)
        if found[1].lower() in LANGUAGES and q > weight:
            best, weight = found[1].lower(), q
    return best
