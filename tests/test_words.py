"""Words for the search: what is one, what a query asks for, and what is marked in a text."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.words import marked, parse, places, tokens, words

OWNER = "a" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD!", ["hello", "world"]),
        ("Łódź naïve straße", ["lodz", "naive", "strasse"]),
        ("snake_case C++ 3.14", ["snake", "case", "c", "3", "14"]),
        ("日本語", ["日", "本", "語"]),
        ("ﬁne ⑴ ½", ["fine", "1", "1⁄2"]),
        ("한국어 검색", words("한국어 검색")),
        ("", []),
        ("…!?\x00", []),
    ],
)
def test_a_word_is_without_case_and_accents(text, expected):
    assert words(text) == expected


@given(st.text())
def test_the_words_of_a_text_are_those_at_its_places(text):
    assert [word for word, _, _ in places(text)] == words(text)


@pytest.fixture(scope="module")
def index():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE search USING fts5 (words, content = '', tokenize = 'ascii', prefix = '14')")
    yield db
    db.close()


@given(st.text(alphabet=st.one_of(st.sampled_from(list('"*()^:-+{}.\\ AND OR NOT NEAR 日é')), st.characters())))
def test_no_query_is_an_error(index, text):
    query = parse(text)
    if query:
        index.execute("SELECT rowid FROM search WHERE words MATCH ?", (query.match(OWNER),)).fetchall()


@given(st.text(min_size=1))
def test_a_text_is_found_by_its_own_words(index, text):
    index.execute("INSERT INTO search (search) VALUES ('delete-all')")
    index.execute("INSERT INTO search (rowid, words) VALUES (7, ?)", (tokens(OWNER, text),))
    query = parse(f'"{text[:100].replace(chr(34), " ")}"')
    if query:
        match = "SELECT rowid FROM search WHERE words MATCH ?"
        assert index.execute(match, (query.match(OWNER),)).fetchall() == [(7,)]
        assert not index.execute(match, (query.match("b" * 32),)).fetchall()


def test_the_word_being_typed_is_a_beginning_and_one_that_is_finished_is_not():
    assert parse("cat").begun == {0}
    assert parse("cat ").begun == frozenset()
    assert parse("c").begun == frozenset(), "one letter begins too many words"
    assert parse("c* dog ").begun == {0}


def test_quotation_marks_make_a_phrase_also_those_that_a_phone_types_and_one_that_is_open():
    assert parse('"two words" three ').phrases == (("two", "words"), ("three",))
    assert parse("“two words” ").phrases == (("two", "words"),)
    assert parse('"two words').phrases == (("two", "words"),)


def marks(text, query, around=None):
    return [piece for piece, found in marked(text, parse(query), around) if found]


def test_what_was_found_is_marked_as_it_was_written():
    assert marks("In Łódź, and lodz again", "lodz") == ["Łódź", "lodz"]
    assert marks("category of cats, a dog", "cat dog ") == ["dog"]
    assert marks("category of cats", "cat") == ["category", "cats"]
    assert marks("one two, one three", '"one two"') == ["one two"]
    assert marks("日本語のテキスト", "本語") == ["本語"]


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_text_that_is_short_is_whole_whatever_is_marked(text, query):
    assert "".join(piece for piece, _ in marked(text, parse(query))) == text


def test_a_long_text_is_cut_to_where_the_first_hit_stands():
    text = "before " * 100 + "the needle here " + "after " * 100
    pieces = marked(text, parse("needle"))
    shown = "".join(piece for piece, _ in pieces)
    assert ("needle", True) in pieces
    assert len(shown) <= 165
    assert shown.startswith("…before") and shown.endswith("after…")
