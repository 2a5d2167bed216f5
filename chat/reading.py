"""What of a conversation its model reads: as much as fits beside the answer, the oldest messages left out first.

A guess by the number of characters decides whether tokens need counting at all. The engine counts them where it can;
where it cannot, what it says when it refuses a prompt corrects the guess.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import takewhile

from cachetools import LRUCache

from chat.conversation import Message, SamplingParams
from chat.engines.engine import Delta, Engine
from chat.engines.errors import PromptTooLong
from chat.store import Context, Store, StoredMessage

# No script needs more tokens than this for its characters, but for rare ones: those are corrected when they are refused.
FEWEST_CHARACTERS = 1.0  # per token
MOST_CHARACTERS = 6.0  # per token: more than this never fits
CHARACTERS = 3.0  # per token, where the engine does not count
# Once something must be left out, the rest leaves some room: the next turns then begin with the same message, so that the
# engine finds what it has read before in its cache and the line on the page stays where it is.
SPARE = 7 / 8
TRIES = 6
FRAME = 16  # tokens that a template may put around one message
REMEMBERED = 20_000  # answers whose counts are remembered


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be answered: the end of a branch, by whom, and what of the answer there is already (`cut_off`).
    `answer`: its id."""

    prompt: StoredMessage
    model: str
    params: SamplingParams
    context: int  # tokens that the model reads and writes together
    system_prompt: str = ""
    cut_off: str = ""
    answer: str = ""

    @property
    def budget(self) -> int:
        """Tokens for everything but the new words."""
        return self.context - min(self.params.max_tokens, self.context // 2)

    def messages(self, history: list[Message]) -> list[Message]:
        system = [Message("system", self.system_prompt)] if self.system_prompt else []
        # The template decides what becomes of white space at the end; the words that follow bring their own.
        begun = [Message("assistant", self.cut_off.rstrip())] if self.cut_off else []
        return [*system, *history, *begun]

    @property
    def fixed(self) -> int:
        """Characters that are read whatever is left out."""
        return len(self.system_prompt) + len(self.cut_off)


@dataclass(frozen=True, slots=True)
class Counted:
    """What an answer's model read: from where, how many messages and characters, and at most how many tokens."""

    omitted: int
    messages: int
    size: int
    tokens: int


class Counts:
    """What was counted for answers of late, so that the turn after one need not be counted from its beginning."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[str, str], Counted] = LRUCache(REMEMBERED)

    def note(self, question: Question, found: Context, tokens: int) -> Context:
        size = question.fixed + found.size
        self._known[question.answer, question.model] = Counted(found.omitted, len(found.messages), size, tokens)
        return found

    def answered(self, question: Question, found: Context, text: int, tokens: int) -> None:
        """The model read `found` and wrote `text` characters; both together are `tokens`, by its server's word."""
        size = question.fixed + found.size + text
        self._known[question.answer, question.model] = Counted(found.omitted, len(found.messages), size, tokens)

    async def still_fits(self, store: Store, question: Question) -> Context | None:
        """What the answer before this one read, with what was said since, where that fits for certain: every new
        character may be a token of its own."""
        known = self._known.get((question.prompt.parent or "", question.model))
        if known is None:
            return None
        room = known.size + question.budget - known.tokens
        most = min(room, int(question.budget * MOST_CHARACTERS)) - question.fixed
        found = await store.context(question.prompt, most, known.omitted)
        more = question.fixed + found.size - known.size
        tokens = known.tokens + more + FRAME * (len(found.messages) - known.messages)
        if found.omitted != known.omitted or more < 0 or tokens > question.budget:
            return None
        return self.note(question, found, tokens)


async def fitting(store: Store, engine: Engine, question: Question, counts: Counts | None = None) -> Context:
    """The newest part of the conversation that fits. The prompt itself is never left out."""
    budget, counts = question.budget, counts or Counts()
    if found := await counts.still_fits(store, question):
        return found
    room = int(budget * MOST_CHARACTERS) - question.fixed
    found = await store.context(question.prompt, room)
    if len(found.messages) == 1 or question.fixed + found.size <= budget * FEWEST_CHARACTERS:
        return found
    before, above = found.before or ("", 0)
    for _ in range(TRIES):
        counted = await engine.count(question.messages(found.messages), continue_last=bool(question.cut_off))
        tokens = counted or int((question.fixed + found.size) / CHARACTERS)
        if tokens <= budget or found.size <= len(question.prompt.content):
            return counts.note(question, found, tokens) if counted else found
        if before == question.model and above > found.omitted:
            # What the last answer read from may still do.
            found, before = await store.context(question.prompt, room, above), ""
            continue
        share = budget * SPARE / tokens
        room = int((question.fixed + found.size) * share) - question.fixed
        found = await store.context(question.prompt, min(room, found.size - 1))
    return found


async def answer_to(
    store: Store, engine: Engine, question: Question, cache_salt: str, counts: Counts | None = None
) -> AsyncIterator[Delta | Context]:
    """What is read of the conversation, then the answer. Raises `EngineError`."""
    found = await fitting(store, engine, question, counts)
    while True:
        yield found
        stream = engine.stream(
            question.messages(found.messages),
            question.params,
            cache_salt=cache_salt,
            continue_last=bool(question.cut_off),
        )
        written = 0
        try:
            async with aclosing(stream):
                async for delta in _without_space_again(stream, question.cut_off):
                    written += len(delta.text)
                    if counts and delta.tokens:
                        counts.answered(question, found, written, delta.tokens)
                    yield delta
            return
        except PromptTooLong as error:
            # Raised before the first delta, so nothing is repeated. The oldest messages make room; when only the prompt
            # is left, it is the visitor's to shorten.
            size = found.size
            if size <= len(question.prompt.content):
                raise
            share = question.budget * SPARE / error.tokens if error.tokens else 2 / 3
            room = int((question.fixed + size) * min(share, SPARE)) - question.fixed
            found = await store.context(question.prompt, min(room, size - 1))


async def _without_space_again(stream: AsyncIterator[Delta], cut_off: str) -> AsyncIterator[Delta]:
    """`stream` without the white space at its beginning that ends `cut_off` already."""
    owed = cut_off[len(cut_off.rstrip()) :]
    async for delta in stream:
        if owed and delta.text:
            again = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(owed, delta.text, strict=False)))
            owed = owed[again:] if again == len(delta.text) else ""
            delta = replace(delta, text=delta.text[again:])
        yield delta
