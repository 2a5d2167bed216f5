"""What is found and replaced, what is left alone, and that no text is too hostile. Figures: bench/redaction.py."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.redaction import AIMS, FALSE_AIM, HOSTILE, HOSTILE_SECONDS, is_gone
from privacy.detectors import KINDS
from privacy.measured import measured, measured_text
from privacy.policy.words import LANGUAGES, words
from privacy.redaction import VERSION, Placeholders, Redacted, redact
from tests.support.identifiers import MAKERS, SENTENCES, secret_part, sentence, value


def redacted(text: str) -> Redacted:
    return redact(text, Placeholders())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jan.kowalski@example.com!", "Write to [EMAIL_1]!"),
        ("a@example.com,b@example.com", "[EMAIL_1],[EMAIL_2]"),
        ("żółw@przykład.pl", "[EMAIL_1]"),
        ("邮箱foo@bar.com吧", "邮箱[EMAIL_1]吧"),
        ("me (at) example dot org", "[EMAIL_1]"),
        ("mailto:a%40example.com", "mailto:[EMAIL_1]"),
        ("tel. +48 601 234 567", "tel. [PHONE_1]"),
        ("+48 601 234 567 / 12", "[PHONE_1] / 12"),
        ("+48 601 234 567 602 345 678", "[PHONE_1] [PHONE_2]"),
        ("电话+8613912345678吧", "电话[PHONE_1]吧"),
        ("zadzwoń: 601234567", "zadzwoń: [PHONE_1]"),
        ("(212) 555-0123 is it", "[PHONE_1] is it"),
        ("DE89 3704 0044 0532 0130 00 AND SO ON", "[IBAN_1] AND SO ON"),
        ("konto 61 1090 1014 0000 0712 1981 2874", "konto [IBAN_1]"),
        ("2024 4111 1111 1111 1111", "2024 [CARD_1]"),
        ("PESEL 44051401359.", "PESEL [NATIONAL_ID_1]."),
        ("from 83.12.4.77:443", "from [IP_1]:443"),
        ("[2001:db8::8a2e:370:7334]", "[[IP_1]]"),
        ("postgres://bob:s3cret@db.example.com/x", "postgres://[CREDENTIALS_1]@db.example.com/x"),
        ("https://x.test/?token=abcdef123456&a=1", "https://x.test/?token=[KEY_1]&a=1"),
        ('password = "hunter22xx"', 'password = "[KEY_1]"'),
        ("export API_TOKEN=a1b2c3d4e5f6g7h8", "export API_TOKEN=[KEY_1]"),
        ("SK0123456789abcdef0123456789abcdef is it", "[KEY_1] is it"),
        ("Authorization: Bearer abcdefghijklmnop1234567", "Authorization: Bearer [KEY_1]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\ncut off.", "[PRIVATE_KEY_1]cut off."),
    ],
)  # fmt: skip
def test_what_is_recognised_is_replaced_and_nothing_around_it(text: str, expected: str):
    assert redacted(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "Hello, how are you? It is 08:15 on 2026-11-21.",
        "version 1.2.3, v1.2.3.4 on 127.0.0.1 with mask 255.255.255.0",
        "std::vector<int> a; x[1::2]; 12:34:56",
        "4111 1111 1111 1112 is no card, GB33 BUKB 2020 1555 5555 56 no account",
        "token = get_token(request); password = 'correct'",
        "1763712438 seconds, 3.14159265358979, 100 200 300, sha 9f0b80d41c2b5cbbb3f1e6d2c8a95f7e6d5c4b3a",
        "@decorator and user@ and @example.com",
        "-----BEGIN PRIVATE KEY----- is how such a file begins.",
        "emoji 👩\u200d🔬 and Persian می\u200cخواهم keep their joiners",
        "[EMAIL_1] stays [EMAIL_1]",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str):
    assert redacted(text) == Redacted(text, (), {})


@pytest.mark.parametrize(
    "hidden",
    ["jan\u200b@exam\u200bple.com", "ｊａｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "jan\u00ad@example.com", "\u202ejan@example.com\u202c", "jan@\u2066example.com\u2069"],
)  # fmt: skip
def test_an_address_in_disguise_is_one_and_its_disguise_goes_with_it(hidden: str):
    assert redacted(f"to {hidden}, yes").text == "to [EMAIL_1], yes"


def test_digits_and_dashes_of_any_script_count():
    assert redacted("٠٠٤٨٦٠١٢٣٤٥٦٧ / 601–234–567").text == "[PHONE_1] / [PHONE_1]"


def test_the_same_value_has_the_same_number_in_the_whole_conversation():
    """Spelling does not matter; another conversation counts anew."""
    one = Placeholders()
    assert redact("a@example.com b@example.com", one).text == "[EMAIL_1] [EMAIL_2]"
    assert redact("B@Example.com, DE89370400440532013000 de89 3704 0044 0532 0130 00", one).text == (
        "[EMAIL_2], [IBAN_1] [IBAN_1]"
    )
    assert redact("b@example.com", Placeholders()).text == "[EMAIL_1]"
    assert "example" not in repr(one)


def test_spans_say_where_it_stood_in_the_authors_text():
    found = redacted("ﬁnd jan@example.com or +48 601 234 567")
    assert [(span.kind, "ﬁnd jan@example.com or +48 601 234 567"[span.start : span.end]) for span in found.spans] == [
        ("EMAIL", "jan@example.com"),
        ("PHONE", "+48 601 234 567"),
    ]
    assert found.counts == {"EMAIL": 1, "PHONE": 1}


NEIGHBOURS = st.text(alphabet=" \n,.;:!?()\"'«»„“ąéż字\u200b\u202e\t", max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([kind for kind in MAKERS if kind != "PHONE"]),
    st.sampled_from(sorted(SENTENCES)),
    st.integers(0, 2**32),
)
def test_a_value_does_not_survive(kind: str, language: str, seed: int):
    """Telephone numbers are found 97 times in a hundred; the others always."""
    draw = random.Random(seed)
    made = value(kind, draw)
    text = sentence(language, made, draw)
    assert secret_part(kind, made) not in redacted(text).text
    assert is_gone(kind, made, redacted(text).text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(NEIGHBOURS, st.sampled_from(sorted(MAKERS)), st.integers(0, 2**32)), min_size=1, max_size=5),
    NEIGHBOURS,
)
def test_nothing_recognisable_is_left_and_nothing_else_is_touched(parts: list[tuple[str, str, int]], last: str):
    text = "".join(around + value(kind, random.Random(seed)) for around, kind, seed in parts) + last
    found = redacted(text)
    assert redacted(found.text).spans == ()
    assert same_outside_the_spans(text, found)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.text(alphabet="0123456789 +-.:@abAB/()\u200b٣é", max_size=300)))
def test_any_text_is_unchanged_outside_its_spans(text: str):
    """A text without findings is therefore unchanged."""
    found = redacted(text)
    assert same_outside_the_spans(text, found)
    assert set(found.counts) <= set(KINDS)
    assert sum(found.counts.values()) == len(found.spans)
    assert redacted(found.text).spans == ()


def same_outside_the_spans(text: str, found: Redacted) -> bool:
    rebuilt, done = "", 0
    for span in found.spans:
        assert done <= span.start < span.end <= len(text)
        rebuilt += text[done : span.start] + span.placeholder
        done = span.end
    return rebuilt + text[done:] == found.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_comes_to_an_end(name: str):
    """How fast: bench/redaction.py. A pattern that goes back on its steps would take hours here."""
    assert redacted(HOSTILE[name]).text


def test_a_text_made_to_be_slow_loses_more_of_its_digits_instead():
    """Beyond so many look-ups a candidate counts as found without one."""
    never = "+48 999 999 999 9"
    assert redacted(never).spans == ()
    assert redacted("+48601234567 " * 2_000 + never).text.endswith("[PHONE_2]")


# The figures that the Privacy page shows


def test_the_recorded_figures_are_of_this_redaction_and_reach_their_aims():
    """Measured anew by `make bench ARGS=redaction`; a raised version without figures shows none."""
    found = measured()
    assert found is not None and found["version"] == VERSION
    assert set(found["recall"]) == set(KINDS) and found["values"] >= 4_000
    assert all(share >= AIMS.get(kind, 99) for kind, share in found["recall"].items())
    assert found["false"] <= FALSE_AIM
    assert max(found["hostile_seconds"].values()) <= HOSTILE_SECONDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_what_was_measured_with_what_is_missed(language: str):
    found, say = measured(), words(language)
    text = measured_text(say)
    for kind, share in (found["recall"] | found["missed"]).items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {say.table['kind'][kind]} |")]
        shown = float(line.split("|")[2].strip().removesuffix(" %").replace(",", "."))
        assert shown <= share < shown + 0.1, "a share is never rounded up"
    assert say.number(found["values"]) in text
