"""The starter model's files keep what its card and the issue promise. No engine, no training: those are measured
elsewhere."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from starter import corpus, evaluate

STARTER = Path(evaluate.__file__).parent
MODEL = STARTER / "model"
TRAINING = json.loads((MODEL / "training.json").read_text())

PLACES = {
    "reading": r"line under the box|Privacy",
    "sharing": r"Privacy",
    "withdrawing": r"Privacy|My shared data",
    "deleting": r"side panel|Privacy",
    "export": r"Privacy",
}


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", text.lower()))


def fives(text: str) -> set[tuple[str, ...]]:
    listed = words(text)
    return {tuple(listed[at : at + 5]) for at in range(len(listed) - 4)}


@pytest.fixture(scope="module")
def wanted() -> dict[str, Any]:
    return yaml.safe_load((STARTER / "questions.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> corpus.Corpus:
    return corpus.load()


def test_at_least_thirty_questions_and_five_dialogues_are_asked(wanted: dict[str, Any]) -> None:
    assert len(wanted["questions"]) >= 30
    assert len(wanted["dialogues"]) >= 5
    assert all(len(item["turns"]) == 2 for item in wanted["dialogues"])


def test_every_question_about_reading_sharing_withdrawing_or_deleting_demands_the_place(wanted: dict[str, Any]) -> None:
    for item in wanted["questions"]:
        if item["topic"] in PLACES:
            assert any(
                re.search("under the box|privacy|my shared data|side panel", fact, re.I) for fact in item["facts"]
            ), item["id"]


def test_no_five_words_in_a_row_are_shared_between_the_questions_and_the_corpus(
    wanted: dict[str, Any], texts: corpus.Corpus
) -> None:
    asked = [item["ask"] for item in wanted["questions"]] + [
        turn["ask"] for item in wanted["dialogues"] for turn in item["turns"]
    ]
    held_out = set().union(*map(fives, asked))
    trained = corpus.dialogues(TRAINING["seed"], TRAINING["dialogues"], texts)
    rng = random.Random(0)
    spelt_out = [
        corpus.expand(template, texts.slots, rng)
        for intent in texts.intents.values()
        for template in intent.questions
        for _ in range(40)
    ]
    typed = [message["content"] for dialogue in trained for message in dialogue if message["role"] != "assistant"]
    shared = {five for text in typed + spelt_out for five in fives(text)} & held_out
    assert not shared


def test_the_corpus_has_five_hundred_templates(texts: corpus.Corpus) -> None:
    assert sum(len(set(intent.questions)) for intent in texts.intents.values()) >= 500


def test_every_answer_about_reading_sharing_withdrawing_or_deleting_names_its_place(texts: corpus.Corpus) -> None:
    topics = {intent.topic for intent in texts.intents.values()} - {""}
    assert topics == set(PLACES)
    for intent in texts.intents.values():
        for answer in intent.answers:
            if intent.topic:
                assert re.search(PLACES[intent.topic], answer), f"{intent.name}: {answer}"


def test_every_intent_is_asked_and_answered(texts: corpus.Corpus) -> None:
    for intent in texts.intents.values():
        assert intent.questions and intent.answers, intent.name
        assert not any(evaluate.repeats(answer) for answer in intent.answers), intent.name


def test_the_same_seed_gives_the_same_dialogues(texts: corpus.Corpus) -> None:
    assert list(corpus.dialogues(3, 200, texts)) == list(corpus.dialogues(3, 200, texts))
    assert list(corpus.dialogues(3, 200, texts)) != list(corpus.dialogues(4, 200, texts))


def test_a_line_in_no_known_form_names_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("== hello\n? hi\n* hello\n")
    with pytest.raises(ValueError, match=r"x\.txt, line 3"):
        corpus.load(tmp_path)


def test_no_file_of_the_model_is_above_ten_megabytes_nor_all_above_sixteen() -> None:
    sizes = [path.stat().st_size for path in MODEL.iterdir()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) <= 16_000_000


def test_licence_card_and_chat_template_are_there() -> None:
    assert "Apache License" in (STARTER / "LICENSE").read_text()
    card = (STARTER / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0" and front["language"] == "en"
    assert json.loads((MODEL / "tokenizer_config.json").read_text())["chat_template"]
    assert json.loads((MODEL / "generation_config.json").read_text())["temperature"] <= 0.3


def test_the_card_states_the_recorded_score_and_shows_every_failure() -> None:
    card = (STARTER / "README.md").read_text()
    results = json.loads((STARTER / "results.json").read_text())
    assert results["training"] == TRAINING
    assert results["score"] >= 70
    assert f"{results['passed']} of {results['asked']} ({results['score']} %)" in card
    assert (
        f"{TRAINING['tokens']:,} tokens" in card
        and f"{TRAINING['minutes']} minutes" in card
        and f"seed {TRAINING['seed']}" in card
    )
    for row in results["rows"]:
        if not row["passed"]:
            assert row["turns"][-1]["answer"] in card, row["id"]


def test_the_recorded_score_is_what_the_recorded_answers_earn(wanted: dict[str, Any]) -> None:
    results = json.loads((STARTER / "results.json").read_text())
    facts = {item["id"]: [item["facts"]] for item in wanted["questions"]}
    facts |= {item["id"]: [turn["facts"] for turn in item["turns"]] for item in wanted["dialogues"]}
    assert {row["id"] for row in results["rows"]} == set(facts)
    passed = sum(
        all(
            not evaluate.problem(turn["answer"], need)
            for turn, need in zip(row["turns"], facts[row["id"]], strict=True)
        )
        for row in results["rows"]
    )
    assert passed == results["passed"]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Open Privacy.", ""), ("Open settings.", "lacks privacy"), ("Open Privacy. Open Privacy.", "repeats a sentence")],
)
def test_an_answer_passes_with_its_facts_and_without_a_repeated_sentence(answer: str, verdict: str) -> None:
    assert evaluate.problem(answer, ["privacy"]) == verdict


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def test_a_short_question_is_shown_with_the_turn_before_it_in_small_letters_and_without_system_prompt(
    tokenizer: Any,
) -> None:
    turns = [{"role": role, "content": f"{role.upper()} {n}"} for n in range(500) for role in ("user", "assistant")]
    talk = [{"role": "system", "content": "Be Brief."}, *turns, {"role": "user", "content": " Last? "}]
    shown = tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    assert (
        shown == "<|begin|><|user|> user 499<|end|><|assistant|>ASSISTANT 499<|end|><|user|> last?<|end|><|assistant|>"
    )


def test_a_longer_question_stands_for_itself(tokenizer: Any) -> None:
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who can read my conversations here?"},
    ]
    assert (
        tokenizer.apply_chat_template(talk, tokenize=False)
        == "<|begin|><|user|> who can read my conversations here?<|end|>"
    )


def test_a_long_message_is_shown_in_part_and_one_beyond_the_context_whole(tokenizer: Any) -> None:
    def shown(text: str) -> str:
        return str(tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False))

    assert shown("word " * 1000) == f"<|begin|><|user|> {('word ' * 60).strip()}<|end|>"
    assert len(shown("word " * 4000)) > 16_000


def test_an_unfinished_answer_can_be_continued(tokenizer: Any) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello! I"}]
    assert tokenizer.apply_chat_template(talk, continue_final_message=True, tokenize=False).endswith(
        "<|assistant|>Hello! I"
    )


def test_the_template_in_the_model_folder_is_the_one_of_the_training_script(tokenizer: Any) -> None:
    from starter import train

    assert tokenizer.chat_template == train.CHAT_TEMPLATE
