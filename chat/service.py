"""One turn from text to saved answer, and what else an owner does with a conversation.

send, retry  ->  the turn is kept (state running)  ->  a generation reads the engine  ->  the answer is kept
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any

from chat.conversation import Message, SamplingParams, Written
from chat.engines.engine import Delta
from chat.engines.errors import PromptTooLong
from chat.engines.pool import EnginePool
from chat.generation import Ending, Generation, Generations
from chat.models.catalog import Catalog, ModelEntry
from chat.store import Author, NotFound, Store, StoredConversation, StoredMessage, Surface, new_id

LONGEST_PROMPT = 200_000  # characters
LONGEST_SYSTEM_PROMPT = 20_000  # characters
LONGEST_TITLE = 200  # characters
# A first guess of how much of a conversation fits; where a model's tokenizer needs more, `PromptTooLong` corrects it.
CHARACTERS_PER_TOKEN = 3.0

CRASHED = "The app was restarted while this answer was written. What had arrived is kept; try again for a whole one."
SHUT_DOWN = "The app was shut down while this answer was written. What had arrived is kept; try again for a whole one."


class BadInput(Exception):
    """What was sent cannot be used; `str(error)` says what to change."""


class ChatService:
    """`generations` and `pool` run answers; `store` keeps them. `unavailable`: why this machine cannot run a model, by name."""

    def __init__(
        self, store: Store, catalog: Catalog, pool: EnginePool, generations: Generations, unavailable: Mapping[str, str]
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.pool = pool
        self.generations = generations
        self.unavailable = unavailable

    async def start(self) -> None:
        """Settle what a crash left running. Call once, before the first turn."""
        await self.store.interrupt_running(CRASHED)

    async def stop(self) -> None:
        """End the running answers, keeping what was sent out."""
        await self.generations.stop_all(Ending("interrupted", None, SHUT_DOWN))

    # -- turns ------------------------------------------------------------------------------------------------------

    async def send(
        self,
        owner: str,
        conversation: str | None,
        text: str,
        model: str | None = None,
        params: Mapping[str, Any] | None = None,
        system_prompt: str | None = None,
        surface: Surface = "page",
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Keep the prompt and begin its answer; returns conversation, prompt and running answer.

        What is None is taken from the conversation, or from the model's defaults. Raises `BadInput`, `NotFound`,
        `AnswerRunning`, `UnknownModel`.
        """
        check_prompt(text)
        check_characters(conversation or "")
        known = await self.store.conversation(owner, conversation) if conversation else None
        entry = self.entry(model or (known.model if known else None))
        base = known.params if known and known.model == entry.name else entry.defaults
        system_prompt = check_system_prompt(
            system_prompt if system_prompt is not None else known.system_prompt if known else ""
        )
        author = Author(entry.name, entry.revision, check_params(params or {}, base))
        found, prompt, answer = await self.store.begin_turn(owner, conversation, text, author, system_prompt, surface)
        self._answer(found, prompt, answer, entry)
        return found, prompt, answer

    async def retry(
        self, owner: str, answer: str, model: str | None = None, params: Mapping[str, Any] | None = None
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Begin another answer to the prompt of `answer`, beside it. Raises as `send` does."""
        old = await self.store.message(owner, answer)
        if old.role != "assistant":
            raise NotFound
        entry = self.entry(model or old.model)
        author = Author(entry.name, entry.revision, check_params(params or {}, replace(old.params, seed=None)))
        found, prompt, new = await self.store.begin_retry(owner, answer, author)
        self._answer(found, prompt, new, entry)
        return found, prompt, new

    async def stop_answer(self, owner: str, answer: str) -> StoredMessage:
        """Stop a running answer at the engine, and return it as it was kept. One that has ended is returned as it is."""
        await self.store.message(owner, answer)
        if generation := self.generations.get(answer):
            await generation.stop()
        return await self.answer(owner, answer)

    async def answer(self, owner: str, answer: str) -> StoredMessage:
        """An answer as it is kept; one that has ended and could not be kept, as it was shown, with the sentence about it."""
        generation = self.generations.get(answer)
        message = await self.store.message(owner, answer)
        if message.state == "running" and generation and generation.ending:
            ending = generation.ending
            written = generation.written
            message = replace(
                message,
                content=written.text,
                reasoning=written.reasoning,
                reasoning_seconds=written.reasoning_seconds,
                state=ending.state,
                error=ending.error,
            )
        return message

    def ask(
        self, owner: str, text: str, model: str | None, params: Mapping[str, Any], system_prompt: str
    ) -> Generation:
        """Begin the answer to one prompt, kept nowhere; the caller stops it when it goes away. Raises as `send` does."""
        check_prompt(text)
        entry = self.entry(model)
        sampling = check_params(params, entry.defaults)
        messages = [*_system(check_system_prompt(system_prompt)), Message("user", text)]

        async def deltas(generation: Generation) -> AsyncIterator[Delta]:
            async with self.pool.ready(entry.name, generation.report) as engine:
                stream = engine.stream(messages, sampling, cache_salt=cache_salt(owner))
                async with aclosing(stream):
                    async for delta in stream:
                        yield delta

        return self.generations.start(new_id(), deltas)

    # -- conversations ----------------------------------------------------------------------------------------------

    async def rename(self, owner: str, conversation: str, title: str) -> StoredConversation:
        title = " ".join(title.split())
        if not title:
            raise BadInput("A title needs at least one character.")
        if len(title) > LONGEST_TITLE:
            raise BadInput(f"This title has {len(title)} characters; at most {LONGEST_TITLE} fit.")
        check_characters(title)
        return await self.store.rename(owner, conversation, title)

    async def delete(self, owner: str, conversation: str | None = None) -> int:
        """Delete a conversation (None: all of the owner's), stop its running answer, and return how many went.

        Deleted first, stopped after: whatever an answer still writes finds nothing to write to.
        """
        deleted, running = await self.store.delete(owner, conversation)
        for answer in running:
            if generation := self.generations.get(answer):
                await generation.stop()
        return deleted

    def entry(self, model: str | None) -> ModelEntry:
        """The catalogue's entry for `model` (None: the default). Raises `UnknownModel`, `BadInput` where it cannot run here."""
        entry = self.catalog.entry(model or self.catalog.default)
        if reason := self.unavailable.get(entry.name):
            raise BadInput(f"{entry.label} cannot be used here: {reason} Pick another model.")
        return entry

    # -- the answer -------------------------------------------------------------------------------------------------

    def _answer(
        self, conversation: StoredConversation, prompt: StoredMessage, answer: StoredMessage, entry: ModelEntry
    ) -> Generation:
        async def settle(written: Written, ending: Ending) -> bool:
            return await self.store.finish_turn(answer.id, written, ending.state, ending.finish_reason, ending.error)

        return self.generations.start(
            answer.id, lambda generation: self._deltas(generation, conversation, prompt, answer, entry), settle
        )

    async def _deltas(
        self,
        generation: Generation,
        conversation: StoredConversation,
        prompt: StoredMessage,
        answer: StoredMessage,
        entry: ModelEntry,
    ) -> AsyncIterator[Delta]:
        async with self.pool.ready(entry.name, generation.report) as engine:
            generation.report(None)
            room = characters_that_fit(entry, answer.params, conversation.system_prompt)
            while True:
                history = await self.store.context(prompt, room)
                messages = [*_system(conversation.system_prompt), *history]
                stream = engine.stream(messages, answer.params, cache_salt=cache_salt(conversation.owner))
                try:
                    async with aclosing(stream):
                        async for delta in stream:
                            yield delta
                    return
                except PromptTooLong:
                    # Raised before the first delta, so nothing is repeated. The oldest messages make room; when only
                    # the prompt is left, it is the visitor's to shorten.
                    size = sum(len(message.content) for message in history)
                    if size <= len(prompt.content):
                        raise
                    room = min(room, size) * 2 // 3


def characters_that_fit(entry: ModelEntry, params: SamplingParams, system_prompt: str) -> int:
    """About how many characters of a conversation fit beside the system prompt and the answer."""
    tokens = entry.context - min(params.max_tokens, entry.context // 2)
    return max(0, int(tokens * CHARACTERS_PER_TOKEN) - len(system_prompt))


def _system(prompt: str) -> list[Message]:
    return [Message("system", prompt)] if prompt else []


def cache_salt(owner: str) -> str:
    """Keeps one owner's cached prefixes from answering faster for another, without naming the owner to the engine."""
    return sha256(f"parley prefix cache {owner}".encode()).hexdigest()[:32]


def check_characters(text: str) -> None:
    """Half of a surrogate pair is a character to JSON and to Python, and to nothing that would keep or read it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(
            "This text holds characters that cannot be kept (half of a pair, as a cut-off emoji leaves). Type it anew."
        ) from None


def check_prompt(text: str) -> None:
    if not text.strip():
        raise BadInput("The message is empty. Type something first.")
    if len(text) > LONGEST_PROMPT:
        raise BadInput(
            f"This message has {len(text):,} characters; at most {LONGEST_PROMPT:,} fit. Shorten or split it."
        )
    check_characters(text)


def check_system_prompt(text: str) -> str:
    if len(text) > LONGEST_SYSTEM_PROMPT:
        raise BadInput(f"This system prompt has {len(text):,} characters; at most {LONGEST_SYSTEM_PROMPT:,} fit.")
    check_characters(text)
    return text.strip()


def check_params(given: Mapping[str, Any], base: SamplingParams) -> SamplingParams:
    try:
        return SamplingParams.from_mapping(given, base)
    except ValueError as error:
        raise BadInput(str(error)) from None
