"""Made-up personal data with right checksums, and sentences to put it in. Drawn from a seed; nobody's, but by accident."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import string

import phonenumbers
from stdnum import iban, luhn, verhoeff
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.exceptions import ValidationError
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import nip, pesel

LETTERS, DIGITS = string.ascii_letters, string.digits
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

SENTENCES = {
    "en": ("Please write it down: {}.", "I think it is {}, but ask her", "Here it is: {}", "({}) is mine, keep it safe!", "call {} or {} after six"),
    "pl": ("Zapisz to proszę: {}.", "To chyba {}, ale zapytaj ją", "Oto one: {}", "({}) jest moje, proszę uważać!", "zadzwoń: {} albo {} po szóstej"),
    "fr": ("Notez-le, s'il vous plaît : {}.", "Je crois que c'est {}, demandez-lui", "Le voici : {}", "« {} » est à moi", "appelle {} ou {} après six heures"),
    "de": ("Bitte notieren Sie es: {}.", "Ich glaube, es ist {}, frag sie", "Hier ist es: {}", "„{}“ gehört mir, bitte aufpassen!", "ruf {} oder {} nach sechs an"),
    "code": ('value = "{}"', "  value: {}\n", "# see {}", '{{"a": 1, "value": "{}"}}', "export X='{}'; run {}"),
}  # fmt: skip
COUNTRIES = ("PL", "DE", "FR", "GB", "US", "ES", "IT", "NL")


def value(kind: str, draw: random.Random) -> str:
    """One value of `kind`, a key of `MAKERS`, in one of the ways people write it."""
    return MAKERS[kind](draw)


def sentence(language: str, made: str, draw: random.Random) -> str:
    """A sentence (or a line of code) that holds `made`."""
    return draw.choice(SENTENCES[language]).format(*[made] * 2)


def some(draw: random.Random, letters: str, low: int, high: int | None = None) -> str:
    return "".join(draw.choices(letters, k=draw.randint(low, high or low)))


def email(draw: random.Random) -> str:
    name = (
        some(draw, string.ascii_lowercase, 2, 9)
        + draw.choice(("", ".", "_", "+", "-"))
        + some(draw, string.ascii_lowercase + DIGITS, 2, 8)
    )
    host = some(draw, string.ascii_lowercase, 3, 10)
    return f"{draw.choice((name, name.title(), name + '.ż'))}@{draw.choice(('', 'mail.', 'x-1.'))}{host}.{draw.choice(('com', 'pl', 'co.uk', 'fr', 'museum', 'io'))}"


def phone(draw: random.Random) -> str:
    """International, or as written within the country in the shape that names it."""
    while True:
        region = draw.choice(COUNTRIES)
        kind = draw.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
        example = phonenumbers.example_number_for_type(region, kind)
        national = str(example.national_number)
        changed = national[:-5] + some(draw, DIGITS, 5)
        number = phonenumbers.parse(f"+{example.country_code}{changed}")
        if not phonenumbers.is_valid_number(number):
            continue
        form = draw.choice(
            (
                phonenumbers.PhoneNumberFormat.INTERNATIONAL,
                phonenumbers.PhoneNumberFormat.E164,
                phonenumbers.PhoneNumberFormat.NATIONAL,
            )
        )
        if form == phonenumbers.PhoneNumberFormat.NATIONAL and region not in ("PL", "DE", "FR", "GB", "US"):
            continue
        written = phonenumbers.format_number(number, form)
        # A bare row of digits is a number like any other: nobody could tell.
        if form != phonenumbers.PhoneNumberFormat.NATIONAL or not written.isdigit():
            return as_people_write(written, region, draw)


def as_people_write(written: str, region: str, draw: random.Random) -> str:
    """The same number with other gaps: with dashes or dots, in pairs, 00 for the plus, the (0) that some leave in."""
    if written.startswith("+"):
        return draw.choice((
            written,
            written,
            "00" + written[1:],
            written.replace(" ", "-"),
            written.replace(" ", "."),
            written.replace(" ", " (0)", 1) if region in ("DE", "GB", "FR") and " " in written else written,
        ))  # fmt: skip
    if region == "FR":
        return written.replace(" ", draw.choice((" ", ".", "-", "")))
    if region == "US":
        return written.replace(" ", draw.choice((" ", "-", ".")))
    if region == "PL":
        return written.replace(" ", draw.choice((" ", "-")))
    return written.replace(" ", draw.choice((" ", "/", "-")), 1) if region == "DE" else written


def iban_(draw: random.Random) -> str:
    country, length, letters = draw.choice(
        (
            ("PL", 24, 0),
            ("DE", 18, 0),
            ("ES", 20, 0),
            ("GB", 14, 4),
            ("NL", 10, 4),
            ("BE", 12, 0),
            ("AT", 16, 0),
            ("FR", 23, 0),
            ("CZ", 20, 0),
            ("IE", 14, 4),
            ("SE", 20, 0),
            ("CH", 17, 0),
            ("LV", 13, 4),
            ("NO", 11, 0),
        )
    )
    while True:
        body = (
            some(draw, string.ascii_uppercase, letters) + some(draw, DIGITS, length)
            if letters
            else some(draw, DIGITS, length)
        )
        number = f"{country}{iban.calc_check_digits(country + '00' + body)}{body}"
        if iban.is_valid(number, check_country=False):
            break
    grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
    return draw.choice((number, grouped, number.lower(), grouped.replace(" ", "-")))


def card(draw: random.Random) -> str:
    body = draw.choice(("4", "51", "55", "2221", "6011")) + some(draw, DIGITS, 14)
    number = body[:15] + luhn.calc_check_digit(body[:15])
    groups = [number[i : i + 4] for i in range(0, 16, 4)]
    if draw.random() < 0.2:
        body = "37" + some(draw, DIGITS, 12)
        number = body + luhn.calc_check_digit(body)
        groups = [number[:4], number[4:10], number[10:]]
    return draw.choice((number, " ".join(groups), "-".join(groups)))


def national(draw: random.Random) -> str:
    day = f"{draw.randint(40, 99)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}"
    choice = draw.randrange(12)
    if choice >= 4:
        return OTHER_NATIONAL[choice - 4](draw)
    if choice == 0:
        body = day + some(draw, DIGITS, 4)
        return body + pesel.calc_check_digit(body)
    if choice == 1:
        body = (
            draw.choice("12")
            + day[:4]
            + f"{draw.randint(1, 95):02}"
            + f"{draw.randint(1, 900):03}{draw.randint(1, 900):03}"
        )
        number = body + nir.calc_check_digits(body)
        return draw.choice(
            (
                number,
                f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:13]} {number[13:]}",
            )
        )
    if choice == 2:
        return f"{draw.randint(100, 665)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}"
    return f"AB {draw.randint(10, 99)} {draw.randint(10, 99)} {draw.randint(10, 99)} {draw.choice('ABCD')}"


def valid(module, make) -> str:
    """The first thing made that `module` of python-stdnum accepts."""
    while True:
        made = make()
        try:
            module.validate(made)
        except ValidationError:
            continue
        return made


def _with_check(module, draw: random.Random, length: int, first: str = "123456789") -> str:
    return valid(module, lambda: draw.choice(first) + some(draw, DIGITS, length - 1))


def _grouped(number: str, sizes: tuple[int, ...], by: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return by.join(parts)


def _fiscal_code(draw: random.Random) -> str:
    def make() -> str:
        day = f"{draw.randint(40, 99)}{draw.choice('ABCDEHLMPRST')}{draw.randint(1, 28):02}"
        body = some(draw, "BCDFGLMNPRSTV", 6) + day + draw.choice("ABCDEFGHIL") + some(draw, DIGITS, 3)
        return body + codicefiscale.calc_check_digit(body)

    return valid(codicefiscale, make)


def _aadhaar(draw: random.Random) -> str:
    body = draw.choice("23456789") + some(draw, DIGITS, 10)
    return "Aadhaar " + _grouped(body + verhoeff.calc_check_digit(body), (4, 4, 4), draw.choice((" ", "-")))


def _dni(draw: random.Random) -> str:
    body = some(draw, DIGITS, 8)
    return body + draw.choice(("", "-")) + dni.calc_check_digit(body)


def _nie(draw: random.Random) -> str:
    body = draw.choice("XYZ") + some(draw, DIGITS, 7)
    return body + nie.calc_check_digit(body)


OTHER_NATIONAL = (
    lambda draw: _grouped(_with_check(nip, draw, 10), *draw.choice((((3, 3, 2, 2), "-"), ((3, 2, 2, 3), "-")))),
    lambda draw: _grouped(_with_check(idnr, draw, 11), (2, 3, 3, 3), " "),
    _dni,
    _nie,
    _fiscal_code,
    lambda draw: f"BSN {_with_check(bsn, draw, 9)}",
    lambda draw: f"NHS {_grouped(_with_check(nhs, draw, 10), (3, 3, 4), ' ')}",
    lambda draw: draw.choice((cpf.format(_with_check(cpf, draw, 11)), _aadhaar(draw))),
)


def ip(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return (
            ":".join(f"{draw.randint(1, 0xFEFF if not group else 0xFFFF):x}" for group in range(8))
            if draw.random() < 0.5
            else f"2a02:{draw.randint(1, 0xFFFF):x}::{draw.randint(1, 0xFFFF):x}"
        )
    return ".".join(map(str, (draw.randint(1, 126), draw.randint(0, 255), draw.randint(0, 255), draw.randint(1, 254))))


def credentials(draw: random.Random) -> str:
    return f"{some(draw, LETTERS, 3, 8)}:{some(draw, LETTERS + DIGITS + '!$._-%', 6, 20)}"


def key(draw: random.Random) -> str:
    word = LETTERS + DIGITS
    part = lambda length: base64.urlsafe_b64encode(draw.randbytes(length)).rstrip(b"=").decode()  # noqa: E731
    return draw.choice((
        lambda: "hf_" + some(draw, LETTERS, 34),
        lambda: "sk-" + some(draw, word, 48),
        lambda: "sk-proj-" + some(draw, word + "_-", 80) + "A",
        lambda: "sk-ant-api03-" + some(draw, word + "_-", 90) + "A",
        lambda: "ghp_" + some(draw, word, 36),
        lambda: "github_pat_" + some(draw, word, 22) + "_" + some(draw, word, 59),
        lambda: "glpat-" + some(draw, word, 20),
        lambda: "AKIA" + some(draw, string.ascii_uppercase + DIGITS, 16),
        lambda: f"xoxb-{some(draw, DIGITS, 12)}-{some(draw, DIGITS, 12)}-{some(draw, word, 24)}",
        lambda: "AIza" + some(draw, word + "_-", 34) + "x",
        lambda: "sk_live_" + some(draw, word, 24),
        lambda: "eyJ" + part(18) + ".eyJ" + part(60) + "." + part(32),
        lambda: "npm_" + some(draw, word, 36),
        lambda: "pypi-AgEIcHlwaS5vcmc" + some(draw, word + "_-", 120) + "A",
        lambda: f"SG.{some(draw, word, 22)}.{some(draw, word, 43)}",
        lambda: "gsk_" + some(draw, word, 52),
        lambda: "nvapi-" + some(draw, word + "_-", 63) + "A",
        lambda: f"{draw.randint(10**8, 10**10 - 1)}:AA{some(draw, word + '_-', 32)}A",
        lambda: "https://hooks.slack.com/services/T0" + some(draw, word, 8) + "/B0" + some(draw, word, 8) + "/" + some(draw, word, 24),
        lambda: "SK" + some(draw, "0123456789abcdef", 32),
        lambda: "key-" + some(draw, "0123456789abcdef", 32),
        lambda: "dckr_pat_" + some(draw, word + "_-", 26) + "A",
        lambda: "shpat_" + some(draw, "0123456789abcdef", 32),
        lambda: "AGE-SECRET-KEY-1" + some(draw, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
        lambda: f"API_TOKEN={some(draw, word, 32)}",
        lambda: f"DB_PASSWORD={some(draw, word, 10)}{draw.choice(DIGITS)}!{some(draw, word, 4)}",
    ))()  # fmt: skip


def private_key(draw: random.Random) -> str:
    body = base64.encodebytes(draw.randbytes(600)).decode()
    name = draw.choice(("RSA ", "", "EC ", "OPENSSH "))
    return f"-----BEGIN {name}PRIVATE KEY-----\n{body}-----END {name}PRIVATE KEY-----"


def wallet(draw: random.Random) -> str:
    if draw.random() < 0.5:
        return "0x" + some(draw, "0123456789abcdef", 40)
    payload = b"\0" + draw.randbytes(20)
    number = int.from_bytes(payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4], "big")
    digits = ""
    while number:
        number, rest = divmod(number, 58)
        digits = BASE58[rest] + digits
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + digits


MAKERS = {
    "EMAIL": email,
    "PHONE": phone,
    "IBAN": iban_,
    "CARD": card,
    "NATIONAL_ID": national,
    "IP": ip,
    "CREDENTIALS": lambda draw: f"postgres://{credentials(draw)}@db.{some(draw, string.ascii_lowercase, 5)}.net/x",
    "KEY": key,
    "PRIVATE_KEY": private_key,
    "WALLET": wallet,
}


def secret_part(kind: str, made: str) -> str:
    """What of the value must be gone: of an address with a password, the name and the password."""
    if kind == "CREDENTIALS":
        return made.split("//")[1].rsplit("@", 1)[0]
    if kind == "NATIONAL_ID":
        return made.removeprefix("BSN ").removeprefix("NHS ").removeprefix("Aadhaar ")
    if kind == "KEY":
        return re.split(r"=|/services/", made)[-1]
    return made


FIRST = ("Anna", "Jan", "Zofia", "Piotr", "Camille", "Léa", "Hugo", "Jürgen", "Sabine", "Emily", "Oliver", "Grace")
LAST = ("Kowalska", "Nowak", "Wiśniewski", "Dubois", "Lefèvre", "Müller", "Schneider", "Taylor", "Evans", "Walker")
STREETS = (
    "12 Baker Street, London",
    "ul. Długa 7/3, Gdańsk",
    "5 rue de la Paix, 75002 Paris",
    "Hauptstraße 22, 10827 Berlin",
)
WORDS = ("sunflower", "liverpool", "dragon", "qwerty", "motdepasse", "haslo", "passwort", "letmein")

# What redaction does not look for. Measured too, so that nobody is promised it.
MISSED = {
    "BARE_PHONE": lambda draw: "6" + some(draw, DIGITS, 8),
    "PASSWORD": lambda draw: f"{draw.choice(WORDS)}{draw.randint(1, 9999)}",
    "NAME": lambda draw: f"{draw.choice(FIRST)} {draw.choice(LAST)}",
    "STREET": lambda draw: draw.choice(STREETS),
}
