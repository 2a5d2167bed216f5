"""The numbers that states give to people. Checksums are those of python-stdnum."""

from __future__ import annotations

from stdnum import verhoeff
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import nip, pesel
from stdnum.us import ssn

from privacy.detectors.matching import Budget, Check, Detector, digits, matching, valid


def _aadhaar(value: str, _: Budget) -> str:
    number = digits(value)
    return number if number[0] not in "01" and verhoeff.is_valid(number) else ""


def _after(word: str, number: str) -> str:
    """`number` where a word before it says what it is: its checksum alone would take too much for one."""
    return rf"(?i:\b(?:{word}))[^0-9\n\[\]\x00]{{0,24}}\b({number})\b"


NUMBERS: tuple[tuple[str, Check], ...] = (
    (r"\b[0-9]{11}\b", valid(pesel)),
    (r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", valid(ssn, "")),
    (r"\b[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\b", valid(nir)),
    (r"\b[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}\b", valid(idnr)),
    (_after(r"steuer[a-z-]*|idnr|tin", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}"), valid(idnr)),
    (r"\b(?:[0-9]{3}-[0-9]{3}-[0-9]{2}-[0-9]{2}|[0-9]{3}-[0-9]{2}-[0-9]{2}-[0-9]{3})\b", valid(nip)),
    (_after(r"NIP|VAT", r"(?:PL ?)?[0-9]{10}"), valid(nip)),
    (_after("NHS", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}"), valid(nhs)),
    (_after("BSN|burgerservicenummer|sofinummer", r"[0-9]{8,9}"), valid(bsn)),
    (_after("aadhaar|aadhar", r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}"), _aadhaar),
    (_after("SSN|social security", r"[0-9]{9}"), valid(ssn, "")),
    (
        r"\b(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D])\b",
        lambda value, _: value.upper(),
    ),
    (r"\b[0-9]{8}-?[A-HJ-NP-TV-Z]\b", valid(dni)),
    (r"\b[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]\b", valid(nie)),
    (
        r"\b(?i:[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-EHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z])\b",
        valid(codicefiscale),
    ),
    (r"\b[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}\b", valid(cpf)),
)

NATIONAL: tuple[Detector, ...] = tuple(
    matching("NATIONAL_ID", pattern, check, before="+.-/") for pattern, check in NUMBERS
)
