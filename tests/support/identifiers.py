"""Made-up personal data with right checksums, and sentences to put it in. Drawn from a seed; nobody's, but by accident."""

from __future__ import annotations

import base64
import hashlib
import random
import string

import phonenumbers
from stdnum import iban, luhn
from stdnum.fr import nir
from stdnum.pl import pesel

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
            return written.replace(" ", draw.choice((" ", " ", "-", "."))) if region in ("FR", "US") else written


def iban_(draw: random.Random) -> str:
    country, length, letters = draw.choice(
        (("PL", 24, 0), ("DE", 18, 0), ("ES", 20, 0), ("GB", 14, 4), ("NL", 10, 4), ("BE", 12, 0))
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
    choice = draw.randrange(4)
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


def ip(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return (
            ":".join(f"{draw.randint(1, 0xFFFF):x}" for _ in range(8))
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
    return made.split("//")[1].rsplit("@", 1)[0] if kind == "CREDENTIALS" else made
