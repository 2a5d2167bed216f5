"""Titles by the model: a second, short request while the answer is being written. What it says becomes the title only where
it looks like one; else the first words of the prompt stay.

No answer waits for it: it begins after the answer has. It ends with its conversation, and with Stop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from itertools import pairwise

from chat.conversation import Message, SamplingParams
from chat.engines.errors import EngineError
from chat.engines.pool import EnginePool
from chat.generation import Generation
from chat.models.catalog import ModelEntry
from chat.store import Store
from chat.stored import NotFound, StoredConversation

READ = 1500  # characters of the prompt that the model sees
LONGEST = 60  # characters of a title
MOST_WORDS = 10
SECONDS = 30.0  # a title that takes longer is not worth it
ASK = (
    "Write a title for a conversation that begins with the message below: two to six words, in the language of the message, "
    "without quotation marks. Answer with the title and nothing else.\n\nThe message:\n{}"
)
PARAMS = SamplingParams(temperature=0.2, max_tokens=32)

_LABEL = re.compile(r"^(title|titre|tytuł|titel|título|titolo)\s*[:：-]\s*", re.IGNORECASE)
_AROUND = " \t\"'“”„«»‘’`*_#.…"
_NO_TITLE = re.compile(
    r"^(i('m| am| can| cannot)\b|sorry\b|sure\b|here('s| is| are)\b|as an ai\b|okay\b|of course\b)|https?://|[<>{}\[\]|\\]",
    re.IGNORECASE,
)


class Titles:
    """Asks `pool` for titles and gives them to conversations of `store`."""

    def __init__(self, store: Store, pool: EnginePool, salt: Callable[[str], str]) -> None:
        """`salt`: what keeps an owner's cached prefixes apart, by owner."""
        self.store = store
        self.pool = pool
        self._salt = salt
        self._asking: dict[str, tuple[str, asyncio.Task[None]]] = {}  # conversation -> owner, task

    def __contains__(self, conversation: str) -> bool:
        """Whether a title is being written for it."""
        return conversation in self._asking

    def begin(self, conversation: StoredConversation, prompt: str, entry: ModelEntry, answer: Generation) -> None:
        """Ask for a title once `answer` has begun. Where the entry's model writes none, nothing happens."""
        if not entry.titles or entry.reasoning:
            return
        id = conversation.id
        task = asyncio.create_task(self._entitle(conversation, prompt, entry.name, answer))
        self._asking[id] = conversation.owner, task
        task.add_done_callback(lambda _: self._asking.pop(id, None))

    def cancel(self, owner: str, conversations: Iterable[str] | None) -> None:
        """Ask no more for these of `owner`; None: for any of theirs."""
        wanted = None if conversations is None else set(conversations)
        for id, (whose, task) in list(self._asking.items()):
            if whose == owner and (wanted is None or id in wanted):
                task.cancel()

    async def stop(self) -> None:
        """Ask no more at all."""
        for _, task in self._asking.values():
            task.cancel()
        await self.wait()

    async def wait(self) -> None:
        """Return once no title is being written."""
        await asyncio.gather(*(task for _, task in self._asking.values()), return_exceptions=True)

    async def _entitle(self, conversation: StoredConversation, prompt: str, model: str, answer: Generation) -> None:
        async for _ in answer.changes():
            if answer.pieces:
                break
        if answer.ending and answer.ending.state != "done":
            return
        # Whatever goes wrong with a title, the first words stand; an error of ours may quote the prompt, so it is not told.
        with suppress(EngineError, NotFound, TimeoutError, OSError):
            async with asyncio.timeout(SECONDS):
                said = await self._ask(conversation.owner, prompt, model)
            if title := title_of(said):
                await self.store.rename(conversation.owner, conversation.id, title, by="model")

    async def _ask(self, owner: str, prompt: str, model: str) -> str:
        """What the model says; "" where it did not come to an end of its own."""
        text, finish_reason = "", None
        async with self.pool.ready(model) as engine:
            messages = [Message("user", ASK.format(prompt[:READ]))]
            async with aclosing(engine.stream(messages, PARAMS, cache_salt=self._salt(owner))) as stream:
                async for delta in stream:
                    text += delta.text
                    finish_reason = delta.finish_reason or finish_reason
                    if len(text) > 4 * LONGEST:
                        return ""
        return text if finish_reason == "stop" else ""


def title_of(said: str) -> str | None:
    """The title in what a model said; None where it is nonsense: nothing, too long, talk about itself, or a word again and
    again."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    title = " ".join(_LABEL.sub("", lines[0].strip(_AROUND)).strip(_AROUND).split())
    words = title.lower().split()
    if not 2 <= len(title) <= LONGEST or len(words) > MOST_WORDS or not any(letter.isalpha() for letter in title):
        return None
    if _NO_TITLE.search(title) or not title.isprintable() or title.endswith(":"):
        return None
    if len(set(words)) * 3 < len(words) * 2 or any(one == other for one, other in pairwise(words)):
        return None
    if re.search(r"(.)\1{4}|(.{2,})\2{3}", title):
        return None
    return title
