"""The label of a row's language: right where a text is long enough to tell, and "und" where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy import policy
from privacy.languages import LANGUAGES, UNDETERMINED, language_of

TEXTS = Path(policy.__file__).parent


@pytest.mark.parametrize("file", sorted(TEXTS.glob("*.md")), ids=lambda file: file.name)
def test_every_paragraph_of_our_own_texts_is_recognised(file: Path):
    tag = file.name.split(".")[1]
    long = [part for part in file.read_text(encoding="utf-8").split("\n\n") if len(part.split()) >= 12]
    assert long and {part: language_of([part]) for part in long} == dict.fromkeys(long, tag)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en", "What is the difference between a list and a tuple?"),
        ("pl", "Jak długo to trwa i czy nie da się tego zrobić szybciej?"),
        ("fr", "Quelle est la différence entre une liste et un tuple dans ce langage ?"),
        ("de", "Was ist der Unterschied zwischen einer Liste und einem Tupel, und wie geht das?"),
        ("es", "¿Cuál es la diferencia entre una lista y una tupla, y por qué no es lo mismo?"),
        ("it", "Qual è la differenza tra una lista e una tupla, e come si usano con il ciclo?"),
        ("pt", "Qual é a diferença entre uma lista e uma tupla, e como você usa isso em um programa?"),
        ("nl", "Wat is het verschil tussen een lijst en een tupel, en hoe werkt dat met een lus?"),
        ("zh", "列表和元组有什么区别？请用简单的话解释。"),
        ("ja", "リストとタプルの違いは何ですか。簡単に説明してください。"),
        ("ko", "리스트와 튜플의 차이점은 무엇인가요?"),
        ("und", "x = [1, 2, 3]; y = sorted(x)[0]"),
        ("und", "ok"),
        ("und", ""),
    ],
)
def test_a_question(tag: str, text: str):
    assert language_of([text]) == tag


def test_prompt_and_answer_count_together_and_placeholders_and_code_do_not():
    assert (
        language_of(
            [
                "[EMAIL_1] [PHONE_2]",
                "```python\nfor x in the_list: is_not = x\n```\nDas ist nicht der Fehler, den ich meine.",
            ]
        )
        == "de"
    )


@given(st.lists(st.text(max_size=300), max_size=4))
def test_any_text_has_a_label(texts: list[str]):
    assert language_of(texts) in {*LANGUAGES, UNDETERMINED}
