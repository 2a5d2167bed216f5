"""One turn from text to saved answer, and what else an owner does with a conversation.

send, retry  ->  the turn is kept (state running)  ->  a generation reads the engine  ->  the answer is kept
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

from chat.conversation import Message, SamplingParams, Written
from chat.engines.engine import Delta, Engine
from chat.engines.errors import EngineUnavailable
from chat.engines.pool import EnginePool
from chat.generation import Ending, Generation, Generations
from chat.models.catalog import Catalog, ModelEntry
from chat.reading import Counts, Question, answer_to
from chat.store import AlreadySent, Context, Store
from chat.stored import Author, CannotContinue, NotFound, StoredConversation, StoredMessage, Surface, new_id
from chat.titles import Titles

Part = TypeVar("Part")

LONGEST_PROMPT = 200_000  # characters
LONGEST_SYSTEM_PROMPT = 20_000  # characters

CRASHED = "The app was restarted while this answer was written. What had arrived is kept; try again for a whole one."
SHUT_DOWN = "The app was shut down while this answer was written. What had arrived is kept; try again for a whole one."
NO_PREFIX = "{} cannot go on with a cut-off answer. Ask it to continue in a message of your own."
ANOTHER_REVISION = "{} has changed since this answer. Try again writes a new one."


class BadInput(Exception):
    """What was sent cannot be used; `str(error)` says what to change."""


class ChatService:
    """`generations` and `pool` run answers; `store` keeps them. `unavailable`: why this machine cannot run a model, by name."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        pool: EnginePool,
        generations: Generations,
        unavailable: Mapping[str, str],
        titles: Titles | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.pool = pool
        self.generations = generations
        self.unavailable = unavailable
        self._counts = Counts()
        self.titles = titles

    def offer(self, catalog: Catalog, unavailable: Mapping[str, str]) -> None:
        """From now on visitors pick from `catalog`."""
        self.catalog, self.unavailable = catalog, unavailable

    async def start(self) -> None:
        """Settle what a crash left running. Call once, before the first turn."""
        await self.store.interrupt_running(CRASHED)

    async def stop(self) -> None:
        """End the running answers, keeping what was sent out."""
        if self.titles:
            await self.titles.stop()
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
        *,
        beside: str | None = None,
        key: str | None = None,
    ) -> tuple[StoredConversation, StoredMessage, StoredMessage]:
        """Keep the prompt and begin its answer; returns conversation, prompt and running answer.

        What is None is taken from the conversation, or from the model's defaults. `beside`: a prompt of the conversation
        that this one is another version of. `key`: made by the caller for this prompt alone; sent again with the same one,
        the prompt does not stand twice, and what it began is returned as it is now. Raises `BadInput`, `NotFound`,
        `AnswerRunning`, `UnknownModel`.
        """
        check_prompt(text)
        for id in (conversation, beside, key):
            check_characters(id or "")
        known = await self.store.conversation(owner, conversation) if conversation else None
        entry = self.entry(model or (known.model if known else None))
        base = known.params if known and known.model == entry.name else entry.defaults
        system_prompt = check_system_prompt(
            system_prompt if system_prompt is not None else known.system_prompt if known else ""
        )
        author = Author(entry.name, entry.revision, check_params(params or {}, base))
        id = prompt_id(owner, key) if key else None
        try:
            found, prompt, answer = await self.store.begin_turn(
                owner, conversation, text, author, system_prompt, surface, beside=beside, prompt=id
            )
        except AlreadySent:
            return await self.store.turn(owner, id)
        generation = self._answer(found, prompt, answer, entry)
        if self.titles and known is None and surface == "page":
            self.titles.begin(found, text, entry, generation)
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

    async def continue_answer(self, owner: str, answer: str) -> tuple[StoredConversation, StoredMessage]:
        """Have the model that wrote a cut-off answer go on with it: the same message, whose text so far stays as it is.

        Returns the conversation and the running answer. Raises `CannotContinue`, and as `send` does.
        """
        old = await self.store.message(owner, answer)
        if old.role != "assistant":
            raise NotFound
        entry = self.entry(old.model)
        if not entry.may_continue:
            raise CannotContinue(NO_PREFIX.format(entry.label))
        if entry.revision != old.model_revision:
            raise CannotContinue(ANOTHER_REVISION.format(entry.label))
        found, prompt, old = await self.store.begin_continue(owner, answer)
        self._answer(found, prompt, old, entry)
        return found, replace(old, state="running", finish_reason=None, error=None, continued=old.continued + 1)

    async def stop_answer(self, owner: str, answer: str) -> StoredMessage:
        """Stop a running answer at the engine, and return it as it was kept. One that has ended is returned as it is."""
        message = await self.store.message(owner, answer)
        if self.titles:
            self.titles.cancel(owner, [message.conversation])
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

        return self.generations.start(
            new_id(),
            lambda generation: self._read(
                generation,
                entry.name,
                lambda engine: engine.stream(messages, sampling, cache_salt=cache_salt(owner)),
            ),
        )

    # -- conversations ----------------------------------------------------------------------------------------------

    async def delete(self, owner: str, conversation: str | None = None) -> int:
        """Delete a conversation (None: all of the owner's), stop its running answer, and return how many went.

        Deleted first, stopped after: whatever an answer still writes finds nothing to write to.
        """
        deleted, running = await self.store.delete(owner, conversation)
        if self.titles:
            self.titles.cancel(owner, None if conversation is None else [conversation])
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
        """Write `answer`, or where it has a text already, go on with it."""

        async def settle(written: Written, ending: Ending) -> bool:
            if answer.content and written.text == answer.content and ending.error:
                # Not a word came: it is again what it was, and the reader alone hears why.
                return await self.store.finish_turn(
                    answer.id, written, answer.state, answer.finish_reason, answer.error
                )
            return await self.store.finish_turn(
                answer.id, written, ending.state, ending.finish_reason, ending.error, generation.omitted
            )

        question = Question(
            prompt, entry.name, answer.params, entry.context, conversation.system_prompt, answer.content, answer.id
        )
        generation = self.generations.start(
            answer.id,
            lambda generation: self._deltas(generation, question, conversation.owner),
            settle,
            Written(answer.content, answer.reasoning, answer.reasoning_seconds),
        )
        return generation

    async def _deltas(self, generation: Generation, question: Question, owner: str) -> AsyncIterator[Delta]:
        parts = self._read(
            generation,
            question.model,
            lambda engine: answer_to(self.store, engine, question, cache_salt(owner), self._counts),
        )
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, Context):
                    generation.reads_without(part.omitted)
                else:
                    yield part

    async def _read(
        self, generation: Generation, model: str, ask: Callable[[Engine], AsyncIterator[Part]]
    ) -> AsyncIterator[Part]:
        """What `ask` brings of the model's engine. One that went away before its first word is waited for, as one that is
        known to be starting is; once, since the prompt may be what ends it."""
        for again in (True, False):
            begun = False
            async with self.pool.ready(model, generation.report) as engine:
                generation.report(None)
                try:
                    async with aclosing(ask(engine)) as parts:
                        async for part in parts:
                            begun = begun or isinstance(part, Delta)
                            yield part
                    return
                except EngineUnavailable:
                    if begun or not again or not await self.pool.has_gone(model):
                        raise


def _system(prompt: str) -> list[Message]:
    return [Message("system", prompt)] if prompt else []


def prompt_id(owner: str, key: str) -> str:
    """The id of the prompt that `owner` sends with `key`: always the same, and nobody else's."""
    return sha256(f"parley prompt {owner} {key}".encode()).hexdigest()[:32]


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
