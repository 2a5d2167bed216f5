"""Telephone numbers, which phonenumbers judges: with their country, by what the sentence calls them, by their shape."""

from __future__ import annotations

from collections.abc import Iterator

import phonenumbers

from privacy.detectors.matching import Budget, Check, Detector, Finding, compiled, digits, matching

_INTERNATIONAL = compiled(r"(?:\+|\b00)[ (]{0,2}[1-9](?:[ ().\-/]{0,3}[0-9]){6,14}\b")
_GAP = compiled(r"[0-9][ ().\-/]")
# How numbers are written within a country, with the country that decides.
SHAPES: tuple[tuple[str, str], ...] = (
    ("FR", r"\b0[1-9](?:[ .-]?[0-9]{2}){4}\b"),
    ("PL", r"\b[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}\b"),
    ("PL", r"\(?\b[0-9]{2}\)?[ -][0-9]{3}[ -][0-9]{2}[ -][0-9]{2}\b"),
    ("US", r"(?:\b1[ .-])?(?:\([2-9][0-9]{2}\)[ .-]?|\b[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}\b"),
    ("GB", r"\(?\b0[1-9][0-9]{1,4}\)?[ -][0-9]{3,4}[ -]?[0-9]{3,4}\b"),
    ("DE", r"\(?\b0[1-9][0-9]{1,4}\)?[ /-]{1,3}[0-9]{2,8}(?:[ -][0-9]{2,5}){0,3}\b"),
    ("DE", r"\b01[5-7][0-9]{8,9}\b"),
    ("GB", r"\b07[0-9]{9}\b"),
)
_WORDS = (
    r"tel|tel\.|t\xe9l|phones?|telephone|telefon[a-z]*|t\xe9l\xe9phone|mobile?|mobil[a-z]*|cell|call(?: me)?(?: on| at)?|ring|text|fax|whatsapp|"
    r"signal|num\xe9ro|numer[a-z]*|kom\xe9rk[a-z\xe9]*|zadzwo\xe9[a-z]*|dzwo\xe9[a-z]*|handy[a-z]*|rufnummer|nummer|portable|appel[a-z]*|joindre|"
    r"erreich[a-z]*|anruf[a-z]*|rufen?"
)
TOLD = rf"(?i:\b(?:{_WORDS})(?:\b|[^A-Za-z0-9\xe9]))[^0-9+\n\[\]\x00]{{0,30}}(\(?\b[0-9](?:[ ().\-/]{{0,2}}[0-9]){{6,13}})\b"
REGIONS = ("PL", "DE", "FR", "US", "GB", "ES", "IT")


def _phone(region: str | None) -> Check:
    def check(value: str, budget: Budget) -> str:
        if not budget.spend():
            return digits(value)
        number = "+" + digits(value)[2:] if region is None and value.lstrip(" (").startswith("00") else value
        return _parsed(number, region)

    return check


def international(data: bytes, budget: Budget) -> Iterator[Finding]:
    """Numbers with their country. Where other digits follow, the longest row of groups that is a number is it."""
    valid, at = _phone(None), 0
    while (match := _INTERNATIONAL.search(data, at)) is not None:
        start, at = match.start(), match.start() + 1
        if start and chr(data[start - 1]) in "0123456789+":
            continue
        ends = [match.end(), *(start + gap.start() + 1 for gap in reversed(list(_GAP.finditer(match.group()))))]
        for end in ends:
            canonical = valid(data[start:end].decode("latin-1"), budget) if end - start >= 8 else ""
            if canonical:
                yield Finding("PHONE", start, end, canonical)
                at = end
                break


def _told_phone(value: str, budget: Budget) -> str:
    """A number that the sentence calls a telephone number, of any of the countries whose languages are spoken here."""
    if not budget.spend():
        return digits(value)
    return next((found for region in REGIONS if (found := _parsed(value, region))), "")


def _parsed(number: str, region: str | None) -> str:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return ""
    valid = phonenumbers.is_valid_number(parsed) and number not in "0123456789"
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if valid else ""


PHONES: tuple[Detector, ...] = (
    international,
    matching("PHONE", TOLD, _told_phone),
    *(
        matching("PHONE", pattern, _phone(region), before=".,+-/_$#0123456789", after="_%")
        for region, pattern in SHAPES
    ),
)
