"""The texts in English, Polish and French: whole, of the code's own figures, and in the right plural forms."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.feedback import REASONS
from privacy import policy
from privacy.consent import ASKING
from privacy.detectors import KINDS
from privacy.policy.words import FORMS, LANGUAGES, form, preferred, words
from privacy.segments import PASTED
from tests.support.identifiers import MISSED

HERE = Path(policy.__file__).parent
STATIC = HERE.parent / "web" / "static"
# The same word in both languages, by key: nothing else may read as in English. "Minute" is a French word.
SAME = {"fr": {"minute"}, "pl": set()}
AGREED_TO = ("consent", "share", "api")
KINDS_OF_TEXT = (*AGREED_TO, "privacy", "terms")
FACTS = policy.Facts("acme", ("Small", "Large"), "host/parley-acme__small", "cc-by-4.0", 72)
HOUSE = policy.House("cc-by-4.0", 72, 18, 30, "host/kept", "host", "privacy@host.example", "MEASURED", 20)


def text(kind: str, language: str, **house: object) -> str:
    if kind in AGREED_TO:
        return policy.current(language, FACTS, kind).text
    return policy.for_everybody(language, HOUSE, kind).text


def fields(found: str | dict) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", found if isinstance(found, str) else " ".join(found.values())))


@pytest.mark.parametrize("language", [tag for tag in LANGUAGES if tag != "en"])
def test_no_word_is_missing_or_left_in_english(language: str):
    english, other = words("en").table, words(language).table
    assert set(other) == set(english)
    alike = {key for key in english if english[key] == other[key] and isinstance(english[key], str)}
    # What is made of fields alone reads the same everywhere; so do brand names.
    alike -= {key for key in alike if not re.sub(r"\{\w+\}|\W", "", english[key])}
    assert alike == set()
    tables = {key for key, said in english.items() if isinstance(said, dict)}
    assert {key for key in tables if set(other[key].values()) & set(english[key].values())} == SAME[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_has_the_plural_forms_of_its_language_and_every_sentence_the_fields_of_the_english_one(
    language: str,
):
    english = words("en").table
    for key, said in words(language).table.items():
        if isinstance(said, dict) and key != "kind":
            assert tuple(said) == FORMS[language], key
        if key in ("kind", "months", "quiet_some"):
            continue
        wanted = fields(english[key])
        assert fields(said) <= wanted | {"n"}, key
        # A number may be spelt out in a form that has one value only.
        assert wanted - fields(said) <= {"n"}, key
    assert set(words(language).table["kind"]) == {*KINDS, *MISSED}
    assert len(words(language).table["months"]) == 12


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_for_a_rating_has_its_words(language: str):
    """What was said about an answer leaves with it, and is shown before that."""
    reasons = {f"reason_{name}" for named in REASONS.values() for name in named}
    assert reasons == {key for key in words(language).table if key.startswith("reason_")}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", AGREED_TO)
def test_a_text_that_is_agreed_to_says_that_what_was_said_about_answers_goes_along(kind: str, language: str):
    named = {
        "en": "your thumb, reasons and comment",
        "pl": "kciuk, powody i komentarz",
        "fr": "pouce, raisons et commentaire",
    }
    assert named[language] in text(kind, language)


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
def test_every_text_is_there_in_every_language_and_is_another_one(kind: str):
    found = {language: text(kind, language) for language in LANGUAGES}
    assert len(set(found.values())) == len(LANGUAGES)
    paragraphs = {language: said.count("\n\n") for language, said in found.items()}
    assert len(set(paragraphs.values())) == 1, paragraphs
    lines = [set(filter(None, said.split("\n"))) for said in found.values()]
    assert not (lines[0] & lines[1] | lines[0] & lines[2] | lines[1] & lines[2]) - {"MEASURED"}
    assert {language: policy.current(language, FACTS).sha256 for language in LANGUAGES}["pl"] != policy.current(
        "en", FACTS
    ).sha256


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
def test_a_text_has_its_figures_from_the_code_and_no_digit_of_its_own(kind: str, language: str):
    say = words(language)
    template = re.sub(r"\{\w+\}|https?://\S+", "", policy.template(kind, "1", language))
    assert not re.search(r"\d", template), "a number that the code does not know of"
    said = text(kind, language)
    assert "{" not in said
    notice = say.duration(policy.NOTICE / timedelta(hours=1)) if language != "pl" else "10 dni po"
    for needed, kinds in {
        say.number(PASTED): ("consent", "api", "privacy"),
        say.duration(72) if language != "pl" else "3 dni po": (*AGREED_TO, "privacy"),
        say.duration(ASKING / 3600): ("consent", "api", "privacy"),
        notice: ("consent", "api", "privacy", "terms"),
        "18": KINDS_OF_TEXT,
        "cc-by-4.0": (*AGREED_TO, "terms"),
        "acme": AGREED_TO,
        "host/parley-acme__small": AGREED_TO,
        "privacy@host.example": ("privacy", "terms"),
        "host/kept": ("privacy",),
        "huggingface.co/privacy": ("privacy",),
        say("most_rows", 20).strip(): ("privacy",),
    }.items():
        assert (needed in said) == (kind in kinds), needed


@pytest.mark.parametrize("language", LANGUAGES)
def test_nobody_is_called_anonymous(language: str):
    """What leaves may tell who wrote it."""
    everything = " ".join(policy.template(kind, "1", language) for kind in KINDS_OF_TEXT) + str(words(language).table)
    assert not re.search(r"anon[iy]m", everything, re.IGNORECASE)


@pytest.mark.parametrize(
    ("language", "n", "expected"),
    [("pl", n, f) for f, ns in {"one": (1,), "few": (2, 3, 4, 22, 34, 103, 1_002), "many": (0, 5, 11, 12, 13, 14, 21, 25, 100, 112, 1_000)}.items() for n in ns]
    + [("fr", 0, "one"), ("fr", 1, "one"), ("fr", 2, "other"), ("en", 0, "other"), ("en", 1, "one"), ("en", 21, "other")],
)  # fmt: skip
def test_plural_forms(language: str, n: int, expected: str):
    assert form(language, n) == expected


def test_no_french_line_begins_with_a_mark_that_belongs_to_the_one_before():
    said = str(words("fr").table)
    assert not re.search(r"[\w'»)] [;:!?»]", said) and "\\xa0;" in said


def test_numbers_times_and_dates_are_those_of_the_language():
    english, polish, french = words("en"), words("pl"), words("fr")
    assert [polish("taken_back", n) for n in (1, 3, 5)] == [
        "Wycofano. 1 wiersz opuszcza teraz zbiory danych i ich historię.",
        "Wycofano. 3 wiersze opuszczają teraz zbiory danych i ich historię.",
        "Wycofano. 5 wierszy opuszcza teraz zbiory danych i ich historię.",
    ]
    assert [say.number(4000) for say in (english, polish, french)] == ["4,000", "4\u00a0000", "4\u202f000"]
    assert [say.duration(72) for say in (english, polish, french)] == ["3 days", "3 dni", "3 jours"]
    assert [polish.duration(hours) for hours in (1, 3, 5, 1.5, 24)] == [
        "1 godzina",
        "3 godziny",
        "5 godzin",
        "90 minut",
        "1 dzień",
    ]
    assert [polish.distance(seconds) for seconds in (-1, 60, 7200, 90_000)] == [
        "w ciągu kilku minut",
        "za 1 minutę",
        "za 2 godziny",
        "za 25 godzin",
    ]
    assert [say.day(date(2026, 11, 1)) for say in (english, polish, french)] == [
        "1 November 2026",
        "1 listopada 2026",
        "1er novembre 2026",
    ]
    assert [polish.all_of(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a i b", "a, b i c"]


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("pl", "pl"), ("fr-CA,fr;q=0.9,en;q=0.8", "fr"), ("de,pl;q=0.5,en;q=0.4", "pl"), ("en-GB,pl;q=0.9", "en"), ("de", "en"),
     ("", "en"), ("pl;q=0, fr;q=0.1", "fr"), ("*", "en"), ("PL-pl", "pl")],
)  # fmt: skip
def test_the_language_that_a_browser_prefers(accepted: str, expected: str):
    assert preferred(accepted) == expected


@given(st.text(max_size=200))
def test_any_header_gives_a_language(accepted: str):
    assert preferred(accepted) in LANGUAGES


def test_a_later_text_takes_effect_ten_days_after_it_was_posted():
    posted = date(2027, 3, 1)
    later = policy.Version("2", posted, material=True, languages=("en",))
    assert later.effective == posted + timedelta(days=10)
    assert policy.VERSIONS[0].effective == policy.VERSIONS[0].posted
    assert policy.in_force(policy.VERSIONS[0].posted - timedelta(days=1)) is policy.VERSIONS[0]


def test_the_pages_scripts_use_words_that_are_there_and_no_others():
    table = words("en").table
    scripts = "\n".join(file.read_text() for file in sorted(STATIC.glob("*.js")))
    used = set(re.findall(r"\bt\(\"(\w+)\"", scripts))
    assert used and used <= set(table), used - set(table)
    for prefix in re.findall(r"\bt\(`(\w+_)\$", scripts):
        assert any(key.startswith(prefix) for key in table), prefix
