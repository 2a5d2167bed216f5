"""What is recognised: one detector per kind of identifier, over the plain copy that `redaction` makes.

A pattern is RE2 over Latin-1 bytes: no backtracking, so no text makes it slow. In the copy 0xE9 stands for any letter of an
alphabet beyond ASCII and 0x00 for what an earlier detector took; no pattern matches that byte, a square bracket, or a
placeholder. Checksums are those of python-stdnum, telephone numbers are judged by phonenumbers.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import phonenumbers
import re2
from stdnum import bitcoin, iban, luhn, verhoeff
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.exceptions import ValidationError
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import nip, pesel
from stdnum.us import ssn


@dataclass(frozen=True, slots=True)
class Finding:
    """`start` and `end` in the plain copy; `canonical`: one spelling for all that mean the same, "" for the value itself."""

    kind: str
    start: int
    end: int
    canonical: str = ""


@dataclass(slots=True)
class Budget:
    """How many telephone numbers are still looked up in one text. Beyond it every candidate counts as found, so a text
    made to be slow loses more of its digits instead."""

    lookups: int = 2_000

    def spend(self) -> bool:
        self.lookups -= 1
        return self.lookups >= 0


Detector = Callable[[bytes, Budget], Iterator[Finding]]
# Given the value and the budget: "" (it is none) or its canonical spelling.
Check = Callable[[str, Budget], str]


def _compile(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = 64 << 20
    return re2.compile(pattern.encode("latin-1"), options)


def matching(kind: str, pattern: str, check: Check | None = None, before: str = "", after: str = "") -> Detector:
    """A detector of `pattern`; where it has a group, the first that matched is the value.

    `before`, `after`: characters that must not touch the value. A candidate that fails is looked at again from its next
    character on.
    """
    compiled = _compile(pattern)
    groups = compiled.groups
    stops_before, stops_after = frozenset(before.encode()), frozenset(after.encode())

    def find(data: bytes, budget: Budget) -> Iterator[Finding]:
        at = 0
        while (match := compiled.search(data, at)) is not None:
            group = next((number for number in range(1, groups + 1) if match.start(number) >= 0), 0)
            start, end = match.start(group), match.end(group)
            touched = (start and data[start - 1] in stops_before) or (end < len(data) and data[end] in stops_after)
            value = "" if touched else data[start:end].decode("latin-1")
            canonical = (check(value, budget) if check else value.lower()) if value else ""
            if canonical:
                yield Finding(kind, start, end, canonical)
                at = max(end, match.start() + 1)
            else:
                at = match.start() + 1

    return find


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _valid(module, strip: str = " -./") -> Check:
    """A check by a module of python-stdnum."""

    def check(value: str, _: Budget) -> str:
        plain = value.upper().translate({ord(letter): None for letter in strip})
        try:
            module.validate(plain)
        except ValidationError:
            return ""
        return plain

    return check


# -- secrets ------------------------------------------------------------------------------------------------------------

_BEGIN = _compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = _compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY = _compile(
    r"(?:[\s\"',+]|\\[nr]|[A-Za-z-]{4,20}: [^\n]{0,200}\n|[A-Za-z0-9+/]{16,200})*(?:[A-Za-z0-9+/]{0,76}={1,2})?"
)
_LONGEST_KEY = 20_000  # characters; an RSA key of 16,384 bits has 12,700


def private_keys(data: bytes, _: Budget) -> Iterator[Finding]:
    """From BEGIN to END; a block that was cut off ends where the text no longer looks like its body."""
    ends = deque(match.span() for match in _END.finditer(data))
    at = 0
    while (begin := _BEGIN.search(data, at)) is not None:
        at = begin.end()
        while ends and ends[0][0] < at:
            ends.popleft()
        stop = _BODY.match(data, at).end()
        if ends and ends[0][0] - at <= _LONGEST_KEY and b"\0" not in data[at : ends[0][0]]:
            stop = ends[0][1]
        if stop - at >= 16:
            yield Finding("PRIVATE_KEY", begin.start(), stop)
            at = stop


KEYS = "|".join(
    (
        r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",
        r"\bgithub_pat_[A-Za-z0-9_]{50,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
        r"\bxox[abceoprs]-[A-Za-z0-9-]{10,}",
        r"\bxapp-[0-9]-[A-Za-z0-9-]{20,}",
        r"\bhooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,})",
        r"\bAIza[A-Za-z0-9_-]{35}",
        r"\bya29\.[A-Za-z0-9_-]{20,}",
        r"\bGOCSPX-[A-Za-z0-9_-]{20,}",
        r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",
        r"\bwhsec_[A-Za-z0-9+/=]{24,}",
        r"\bnpm_[A-Za-z0-9]{36}",
        r"\bpypi-[A-Za-z0-9_-]{50,}",
        r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",
        r"\bdop_v1_[a-f0-9]{64}",
        r"\bnvapi-[A-Za-z0-9_-]{40,}",
        r"\bgsk_[A-Za-z0-9]{40,}",
        r"\br8_[A-Za-z0-9]{36,}",
        r"\bparley_[A-Za-z0-9_-]{30,}",
        r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
        r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
        r"\bkey-[0-9a-f]{32}\b",
        r"\bSK[0-9a-f]{32}\b",
        r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b",
        r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        r"(?i:\bbearer )([A-Za-z0-9._~+/-]{20,}=*)",
        r"(?i:\baws_?secret_?(?:access_?)?key[\"']?\s{0,3}[:=]\s{0,3}[\"']?)([A-Za-z0-9/+]{40})",
    )
)
# A secret by the name it is given, where it stands in quotes: in code a bare word after "=" is a variable.
NAMED = (
    r"(?i:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|client_?secret)[\"']?\s{0,3}[:=]\s{0,3}"
    r"(?:\"([^\s\"\[\]\x00<>{}$]{8,200})\"|'([^\s'\[\]\x00<>{}$]{8,200})')"
)
# In a shell or an .env file: a name in capitals, no space around "=".
ASSIGNED = (
    r"\b[A-Z][A-Z0-9_]{0,60}_?(?:SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|PASSWORD|PASSWD|PASSPHRASE)[A-Z0-9_]{0,20}="
    r"([^\s\"'<>{}$()\[\]\x00]{12,200})"
)
URL_SECRET = r"(?i:[?&;](?:access_?token|auth_?token|token|api_?key|apikey|password|passwd|pwd|secret|client_secret|sig|signature|x-amz-signature|x-amz-credential)=)([^\s&#\"'<>\[\]\x00]{8,})"
CREDENTIALS = (
    r"(?i:\b[a-z][a-z0-9+.-]{1,20}://)([^\s/@:\"'<>\[\]\x00]{0,200}:[^\s/@\"'<>\[\]\x00]{1,200})@[A-Za-z0-9\xe9\[]"
)


def _looks_secret(value: str, _: Budget) -> str:
    """Letters and digits, or letters of both cases and a sign: what people and programs make up, not a word of a text."""
    kinds = (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)))
    signs = any(not letter.isalnum() and letter not in "_-. " for letter in value)
    return value if (kinds[2] and (kinds[0] or kinds[1])) or (signs and kinds[0] and kinds[1]) else ""


# -- addresses ----------------------------------------------------------------------------------------------------------

_LOCAL = r"[A-Za-z0-9\xe9_+](?:[A-Za-z0-9\xe9!#$%&'*+/=?^_`{|}~.-]{0,62}[A-Za-z0-9\xe9_+-])?"
_DOMAIN = r"(?:[A-Za-z0-9\xe9](?:[A-Za-z0-9\xe9-]{0,61}[A-Za-z0-9\xe9])?\.){1,6}[A-Za-z\xe9][A-Za-z0-9\xe9-]{1,23}"
EMAIL = rf"{_LOCAL}(?:@|%40){_DOMAIN}"
# "name (at) example dot org", as people write it for other people.
SPOKEN = r"(?i:[A-Za-z0-9\xe9._+-]{1,64}\s?(?:\(at\)|\{at\}|<at>| at )\s?(?:[A-Za-z0-9\xe9-]{1,40}\s?(?:\(dot\)|\{dot\}|<dot>| dot )\s?){1,3}[a-z]{2,12}\b)"
IPV4 = r"\b((?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3})\b"
IPV6 = r"\b[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?::(?:[0-9]{1,3}\.){3}[0-9]{1,3})?"


def _ip(value: str, _: Budget) -> str:
    try:
        address = ipaddress.ip_address(value.removesuffix("::") if value.count("::") > 1 else value)
    except ValueError:
        return ""
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return ""
    if address.version == 4 and (value.startswith(("0.", "255.")) or value.endswith(".0.0.0")):
        return ""  # no host: a mask, a network, or a version
    if address.version == 6 and value.count(":") < 3:
        return ""  # too little to tell from a slice or a scope
    return address.compressed


# -- money --------------------------------------------------------------------------------------------------------------

# Length by country, from the IBAN registry.
_IBAN_LENGTHS = {
    part[:2]: int(part[2:])
    for part in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BI27",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DJ27",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FK18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MN20",
        "MR27",
        "MT31",
        "MU30",
        "NI28",
        "NL18",
        "NO15",
        "OM23",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "SO23",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
        "YE30",
    ]
}
_IBAN_START = _compile(r"(?i:\b[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{2})")


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
    number = "PL" + _digits(value)
    return number if _mod97(number) else ""


def _card(value: str, _: Budget) -> str:
    number = _digits(value)
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


# -- national numbers ---------------------------------------------------------------------------------------------------


def _aadhaar(value: str, _: Budget) -> str:
    number = _digits(value)
    return number if number[0] not in "01" and verhoeff.is_valid(number) else ""


def _after(word: str, number: str) -> str:
    """`number` where a word before it says what it is: its checksum alone would take too much for one."""
    return rf"(?i:\b(?:{word}))[^0-9\n\[\]\x00]{{0,24}}\b({number})\b"


NATIONAL: tuple[tuple[str, Check], ...] = (
    (r"\b[0-9]{11}\b", _valid(pesel)),
    (r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", _valid(ssn, "")),
    (r"\b[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\b", _valid(nir)),
    (r"\b[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}\b", _valid(idnr)),
    (_after(r"steuer[a-z-]*|idnr|tin", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}"), _valid(idnr)),
    (r"\b(?:[0-9]{3}-[0-9]{3}-[0-9]{2}-[0-9]{2}|[0-9]{3}-[0-9]{2}-[0-9]{2}-[0-9]{3})\b", _valid(nip)),
    (_after(r"NIP|VAT", r"(?:PL ?)?[0-9]{10}"), _valid(nip)),
    (_after("NHS", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}"), _valid(nhs)),
    (_after("BSN|burgerservicenummer|sofinummer", r"[0-9]{8,9}"), _valid(bsn)),
    (_after("aadhaar|aadhar", r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}"), _aadhaar),
    (_after("SSN|social security", r"[0-9]{9}"), _valid(ssn, "")),
    (
        r"\b(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D])\b",
        lambda value, _: value.upper(),
    ),
    (r"\b[0-9]{8}-?[A-HJ-NP-TV-Z]\b", _valid(dni)),
    (r"\b[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]\b", _valid(nie)),
    (
        r"\b(?i:[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-EHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z])\b",
        _valid(codicefiscale),
    ),
    (r"\b[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}\b", _valid(cpf)),
)

# -- telephones ---------------------------------------------------------------------------------------------------------

_INTERNATIONAL = _compile(r"(?:\+|\b00)[ (]{0,2}[1-9](?:[ ().\-/]{0,3}[0-9]){6,14}\b")
_GAP = re2.compile(rb"[0-9][ ().\-/]")
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
            return _digits(value)
        number = "+" + _digits(value)[2:] if region is None and value.lstrip(" (").startswith("00") else value
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
        return _digits(value)
    return next((found for region in REGIONS if (found := _parsed(value, region))), "")


def _parsed(number: str, region: str | None) -> str:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return ""
    valid = phonenumbers.is_valid_number(parsed) and number not in "0123456789"
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if valid else ""


# The order matters: what contains another (a key with digits, an address with a name) comes first.
DETECTORS: tuple[Detector, ...] = (
    private_keys,
    matching("KEY", KEYS),
    matching("KEY", NAMED, _looks_secret),
    matching("KEY", ASSIGNED, _looks_secret),
    matching("KEY", URL_SECRET, _looks_secret),
    matching("CREDENTIALS", CREDENTIALS),
    matching("EMAIL", EMAIL),
    matching("EMAIL", SPOKEN),
    ibans,
    matching("IBAN", NRB, _nrb),
    matching("WALLET", BITCOIN, _bitcoin),
    matching("WALLET", ETHEREUM),
    matching("KEY", WALLET_KEY, _wallet_key),
    matching("CARD", CARD, _card, before=".+", after=""),
    *(matching("NATIONAL_ID", pattern, check, before="+.-/") for pattern, check in NATIONAL),
    matching("IP", IPV6, _ip, before=":._", after=":_"),
    matching("IP", IPV4, _ip, before="v._-=", after="_"),
    international,
    matching("PHONE", TOLD, _told_phone),
    *(
        matching("PHONE", pattern, _phone(region), before=".,+-/_$#0123456789", after="_%")
        for region, pattern in SHAPES
    ),
)
KINDS = ("PRIVATE_KEY", "KEY", "CREDENTIALS", "EMAIL", "IBAN", "CARD", "NATIONAL_ID", "WALLET", "IP", "PHONE")
