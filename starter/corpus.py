"""The text the starter model learns from: question templates and answers in `texts/`, put together by a seeded
generator.

A file of `texts/` holds sections:

    == name : topic @ after_this after_that   one intent; with `@` a follow-up that only makes sense after those intents
    ? a question, with [one|another|] alternative in place and {slot} from slots.txt
    - an answer (one of them is drawn)

A section may be continued elsewhere: more questions, without answers.

The questions pass through several hands (formal, terse, angry, hurried, ...) and are now and then misspelt or lose a
word.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"
PLACED_TOPICS = {"reading", "sharing", "withdrawing", "deleting", "export"}

Dialogue = list[dict[str, str]]
_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Intent:
    """What a visitor may mean: how it is asked, what is answered, which intents it may follow (none: any)."""

    name: str
    topic: str
    after: frozenset[str]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All intents and slots of `texts/`."""

    intents: dict[str, Intent]
    slots: dict[str, tuple[str, ...]]

    @property
    def openers(self) -> list[Intent]:
        return [intent for intent in self.intents.values() if not intent.after]

    def followers(self, name: str) -> list[Intent]:
        return [intent for intent in self.intents.values() if name in intent.after]


def load(folder: Path = TEXTS) -> Corpus:
    """Read every file of `folder`. Raises `ValueError`, with file and line, for what is not in the format."""
    slots: dict[str, tuple[str, ...]] = {}
    intents: dict[str, Intent] = {}
    later: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        section: tuple[str, str, frozenset[str]] | None = None
        questions: list[str] = []
        answers: list[str] = []
        lines = [*path.read_text(encoding="utf-8").splitlines(), "== end"]
        for number, line in enumerate(lines, 1):
            mark, _, text = line.partition(" ")
            if not line.strip() or line.startswith("#"):
                continue
            if path.stem == "slots" and mark != "==":
                name, _, words = line.partition(" = ")
                slots[name] = tuple(words.split("|"))
            elif mark == "==":
                if section and not answers and section[0] not in intents:
                    later.setdefault(section[0], []).extend(questions)
                elif section:
                    known = intents.get(section[0], Intent(*section, (), ()))
                    intents[section[0]] = replace(
                        known, questions=known.questions + tuple(questions), answers=known.answers + tuple(answers)
                    )
                head, _, after = text.partition("@")
                name, _, topic = head.partition(":")
                section = (name.strip(), topic.strip(), frozenset(after.split()))
                questions, answers = [], []
            elif mark in ("?", "-") and text and section:
                (questions if mark == "?" else answers).append(text)
            else:
                raise ValueError(
                    f"{path.name}, line {number}: a line starts with '== ', '? ' or '- ', not {line[:20]!r}."
                )
    for name, questions in later.items():
        if name not in intents:
            raise ValueError(f"The intent {name!r} has questions and no answer.")
        intents[name] = replace(intents[name], questions=intents[name].questions + tuple(questions))
    for intent in intents.values():
        missing = sorted(intent.after - set(intents))
        if missing:
            raise ValueError(f"The intent {intent.name!r} follows {missing[0]!r}, which does not exist.")
    return Corpus(intents, slots)


def expand(template: str, slots: dict[str, tuple[str, ...]], rng: random.Random) -> str:
    """One question of a template."""
    text = _ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), template)
    text = _SLOT.sub(lambda match: rng.choice(slots[match[1]]), text)
    return re.sub(r"\s+([,;])", r"\1", " ".join(text.split()))


# --- the hands ------------------------------------------------------------------------------------------------------

_OPENINGS = (
    "so", "ok so", "hey,", "hi,", "hello,", "one question:", "quick question -", "um", "btw", "now", "tell me,",
    "sorry,", "excuse me,",
    "ok,", "well,", "please,", "hi there,", "listen,", "another thing:", "good day,", "erm", "question:",
    "just curious,", "wait,",
    "I was wondering,", "may I ask,", "and", "but", "dear assistant,", "by the way,", "thanks,", "also", "hmm", "yo",
    "honestly,",
)  # fmt: skip
_FORMAL = (
    "Could you kindly tell me:", "I would like to ask the following:", "With respect,",
    "I should be grateful to learn:", "Dear Sir or Madam,",
    "Would you be so kind and answer:", "For my records:", "I have an enquiry:",
)  # fmt: skip
_CLOSINGS = (
    "please", "thanks", "thank you", "pls", "thx", "asap", "here", "on this page", "in Parley", "in this app",
    "exactly", "again", "by the way",
    "if I may ask", "mate", "now", "then", "do you know", "I wonder", "in your opinion", "or not", "today",
    "actually", "sir", "on here",
)  # fmt: skip
_ANGRY = ("!!", "!!!", "?!", "!", "??", "???", " damn it", " this instant!", " for God's sake", ", I'm serious")
_SHORT = {
    "you": "u", "are": "r", "your": "ur", "please": "pls", "because": "bc", "what": "wat", "to": "2", "for": "4",
    "this": "dis", "the": "da",
    "want": "wanna", "and": "n", "thanks": "thx", "don't": "dont", "can't": "cant", "I'm": "im", "I": "i",
    "conversation": "convo",
    "conversations": "convos", "messages": "msgs", "message": "msg", "people": "ppl", "with": "w", "what's": "whats",
    "about": "abt",
}  # fmt: skip
_LITTLE_WORDS = {"the", "a", "an", "do", "does", "is", "are", "of", "to", "can", "will"}
_KEYS = "qwertyuiopasdfghjklzxcvbnm"


def _plain(text: str, rng: random.Random) -> str:
    return text[:1].upper() + text[1:] + rng.choice(("?", "?", ".", ""))


def _casual(text: str, rng: random.Random) -> str:
    return text.lower() + rng.choice(("", "", "?", " :)", "..."))


def _opened(text: str, rng: random.Random) -> str:
    return f"{rng.choice(_OPENINGS)} {text}" + rng.choice(("", "?", "."))


def _closed(text: str, rng: random.Random) -> str:
    return text + rng.choice((" ", ", ")) + rng.choice(_CLOSINGS) + rng.choice(("", "?", "."))


def _formal(text: str, rng: random.Random) -> str:
    return f"{rng.choice(_FORMAL)} {text}" + rng.choice(("?", "."))


def _angry(text: str, rng: random.Random) -> str:
    return (text.upper() if rng.random() < 0.4 else text) + rng.choice(_ANGRY)


def _hurried(text: str, rng: random.Random) -> str:
    return " ".join(_SHORT.get(word, word) if rng.random() < 0.7 else word for word in text.split()).lower()


def _non_native(text: str, rng: random.Random) -> str:
    words = [word for word in text.split() if word not in _LITTLE_WORDS or rng.random() < 0.5]
    return " ".join(words) + rng.choice(("", "?", " ?"))


HANDS: tuple[Callable[[str, random.Random], str], ...] = (
    _plain, _plain, _casual, _casual, _opened, _closed, _formal, _angry, _hurried, _non_native,
)  # fmt: skip


def _misspell(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
    if kind == 2:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice(_KEYS) + text[at + 1 :]


def _lose_a_word(text: str, rng: random.Random) -> str:
    """Drop a word, or put letters in its place: no single word may decide what is understood."""
    words = text.split()
    if len(words) < 5:
        return text
    at = rng.randrange(len(words))
    words[at : at + 1] = ["".join(rng.choices(_KEYS, k=rng.randint(3, 8)))] if rng.random() < 0.3 else []
    return " ".join(words)


def question(intent: Intent, corpus: Corpus, rng: random.Random) -> str:
    """One question as one of the hands would type it."""
    text = expand(rng.choice(intent.questions), corpus.slots, rng).rstrip(" ?")
    text = text or "?"
    if rng.random() < 0.2:
        text = _lose_a_word(text, rng)
    text = rng.choice(HANDS)(text, rng)
    if len(text) > 8 and rng.random() < 0.2:
        text = _misspell(text, rng)
    return text


def _gibberish(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return " ".join("".join(rng.choices(_KEYS, k=rng.randint(2, 9))) for _ in range(rng.randint(1, 5)))
    if kind == 1:
        row = rng.choice(("qwertyuiop", "asdfghjkl", "zxcvbnm"))
        return " ".join("".join(rng.choices(row, k=rng.randint(3, 10))) for _ in range(rng.randint(1, 3)))
    if kind == 2:
        return "".join(rng.choices(string.punctuation + string.digits, k=rng.randint(1, 12)))
    return "".join(
        chr(rng.choice((rng.randint(0xC0, 0x17F), rng.randint(0x400, 0x44F), rng.randint(0x4E00, 0x4F00))))
        for _ in range(rng.randint(1, 8))
    )


def _pasted(corpus: Corpus, rng: random.Random) -> str:
    words: list[str] = []
    while len(words) < rng.randint(60, 700):
        words += expand(rng.choice(corpus.intents["off_topic"].questions), corpus.slots, rng).split()
    rng.shuffle(words)
    return " ".join(words)


SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are a friendly chat assistant who answers questions.", "Answer briefly.",
    "Talk like a pirate.", "Be polite.",
    "Reply in {lang}.", "You are a teacher of {subject}.", "You are {person}.", "Never mention {thing}.",
    "Think step by step.", "Be concise and precise.",
    "You write {plang} code.", "Use simple words.", "You know everything about {country}.",
    "Your user is a {relation}.", "Always answer as a {animal}.",
)  # fmt: skip

# How often an opening intent is drawn, beside 1 for each of its question templates.
_EXTRA = {
    "off_topic": 70,
    "unclear": 8,
    "withdraw": 25,
    "read_who": 10,
    "share_how": 8,
    "delete_one": 8,
    "delete_all": 6,
    "models_change": 10,
}


def turn(intent: Intent, corpus: Corpus, rng: random.Random) -> Dialogue:
    asked = question(intent, corpus, rng)
    if intent.name == "unclear" and rng.random() < 0.6:
        asked = _gibberish(rng)
    elif intent.name == "off_topic" and rng.random() < 0.01:
        asked = _pasted(corpus, rng)
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": rng.choice(intent.answers), "intent": intent.name},
    ]


def dialogues(seed: int, count: int, corpus: Corpus | None = None) -> Iterator[Dialogue]:
    """`count` dialogues of one to four turns; the same seed gives the same ones. An answer also names its `intent`."""
    corpus = corpus or load()
    rng = random.Random(seed)
    openers = corpus.openers
    weights = [3 + len(intent.questions) + _EXTRA.get(intent.name, 0) for intent in openers]
    asides = [corpus.intents[name] for name in ("thanks", "ok", "thanks", "bye", "unclear", "insult", "no")]
    for _ in range(count):
        messages: Dialogue = []
        if rng.random() < 0.1:
            messages.append({"role": "system", "content": expand(rng.choice(SYSTEM_PROMPTS), corpus.slots, rng)})
        intent = rng.choices(openers, weights)[0]
        messages += turn(intent, corpus, rng)
        for _ in range(rng.choices((0, 1, 2, 3), (72, 20, 5, 3))[0]):
            followers, draw = corpus.followers(intent.name), rng.random()
            if followers and draw < 0.65:
                intent = rng.choice(followers)
                messages += turn(intent, corpus, rng)
            elif draw < 0.75:
                messages += turn(rng.choice(asides), corpus, rng)
            else:
                intent = rng.choices(openers, weights)[0]
                messages += turn(intent, corpus, rng)
        yield messages
