"""Whose money: bank accounts, cards, wallets. Checksums are those of python-stdnum."""

from __future__ import annotations

from collections.abc import Iterator

from stdnum import bitcoin, iban, luhn
from stdnum.exceptions import ValidationError

from privacy.detectors.matching import Budget, Detector, Finding, compiled, digits, matching

# Length by country, from the IBAN registry.
_REGISTRY = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29
    ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28
    LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25
    QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}
_IBAN_START = compiled(r"(?i:\b[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{2})")


def ibans(data: bytes, _: Budget) -> Iterator[Finding]:
    """The country says how long it is; its check digits say whether it is one. Groups may be apart by a space or dash."""
    at = 0
    while (match := _IBAN_START.search(data, at)) is not None:
        at = match.start() + 1
        length = _IBAN_LENGTHS.get(match.group()[:2].decode().upper())
        if length is None:
            continue
        end, taken = match.start(), []
        while len(taken) < length and end < len(data):
            letter = chr(data[end])
            if letter.isascii() and letter.isalnum():
                taken.append(letter.upper())
            elif letter not in " -" or chr(data[end - 1]) in " -":
                break
            end += 1
        value = "".join(taken)
        followed = end < len(data) and chr(data[end]).isascii() and chr(data[end]).isalnum()
        if len(taken) == length and not followed and _mod97(value) and iban.is_valid(value, check_country=False):
            yield Finding("IBAN", match.start(), end, value)
            at = end


def _mod97(value: str) -> bool:
    return int("".join(str(int(letter, 36)) for letter in value[4:] + value[:4])) % 97 == 1


NRB = r"\b[0-9]{2}(?:[ -]?[0-9]{4}){6}\b"
CARD = (
    r"\b(?:[2-6][0-9]{12,18}|[2-6][0-9]{3}(?: [0-9]{4}){3}(?: [0-9]{1,3})?|[2-6][0-9]{3}(?:-[0-9]{4}){3}"
    r"|[2-6][0-9]{3}(?:\.[0-9]{4}){3}|3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}|3[0689][0-9]{2}[ -][0-9]{6}[ -][0-9]{4})\b"
)


def _nrb(value: str, _: Budget) -> str:
    number = "PL" + digits(value)
    return number if _mod97(number) else ""


def _card(value: str, _: Budget) -> str:
    number = digits(value)
    return number if len(set(number)) > 1 and luhn.is_valid(number) else ""


BITCOIN = r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|(?i:bc1[02-9ac-hj-np-z]{11,71}))\b"
ETHEREUM = r"\b0x[0-9A-Fa-f]{40}\b"
WALLET_KEY = r"\b[5KL][1-9A-HJ-NP-Za-km-z]{50,51}\b"


def _bitcoin(value: str, _: Budget) -> str:
    return value if bitcoin.is_valid(value) else ""


def _wallet_key(value: str, _: Budget) -> str:
    try:
        decoded = bitcoin.b58decode(value)
    except ValidationError:
        return ""
    return value if len(decoded) in (37, 38) and decoded[0] == 0x80 else ""


MONEY: tuple[Detector, ...] = (
    ibans,
    matching("IBAN", NRB, _nrb),
    matching("WALLET", BITCOIN, _bitcoin),
    matching("WALLET", ETHEREUM),
    matching("KEY", WALLET_KEY, _wallet_key),
    matching("CARD", CARD, _card, before=".+", after=""),
)
