"""The endpoints for `gradio_client`. They need no account and keep nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import gradio as gr
from gradio.context import Context, LocalContext
from gradio.queueing import Queue

from chat.models.catalog import UnknownModel
from chat.service import BadInput, ChatService
from chat.visitors.asking import caller_of, visitor_of
from chat.web.blocks import refusal

# A Gradio update costs about 1 ms of the server's time: at most this often, however fast the engine writes.
UPDATE_SECONDS = 0.1
# How often it is looked whether the caller is still there.
LOOK_SECONDS = 1.0
# A caller that asked and fetches nothing for so long is not coming.
UNREAD_SECONDS = 60.0
MOST_ANSWERS = 64
MOST_ANSWERS_EACH = 8


class Callers:
    """How many answers are being written for whom."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: str) -> Iterator[None]:
        """Within this context `caller` has one more answer. Raises `gr.Error` where that is one too many."""
        if self._running[caller] >= MOST_ANSWERS_EACH:
            raise refusal(f"{MOST_ANSWERS_EACH} answers are being written for you. Wait for one, or cancel it.")
        if self._running.total() >= MOST_ANSWERS:
            raise refusal(f"{MOST_ANSWERS} answers are being written for other callers. Try again in a minute.")
        self._running[caller] += 1
        try:
            yield
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]


class Reader:
    """Whether the caller of the event being run still reads what it yields.

    Gradio knows: it marks the event once the connection that reads it is gone. But it looks at the mark between two
    yields only, which an engine that says nothing never lets it do.
    """

    def __init__(self, queue: Queue, event_id: str | None, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._event = queue.event_ids_to_events.get(event_id or "")
        self._monotonic = monotonic
        self._read_at = monotonic()

    def is_there(self) -> bool:
        """Ask at least every `LOOK_SECONDS`."""
        if self._event is None:
            return True
        unread = self._queue.pending_messages_per_session.get(self._event.session_hash)
        if unread is None or not self._event.alive:
            return False
        now = self._monotonic()
        if unread.empty():
            self._read_at = now
        return now - self._read_at <= UNREAD_SECONDS


def register(service: ChatService, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Add the named endpoints to the Blocks being built."""
    blocks = Context.root_block
    callers = Callers()

    async def chat(
        message: str,
        model: str | None = None,
        system_prompt: str | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_tokens: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        request: gr.Request | None = None,
    ) -> AsyncIterator[str]:
        """Answer one message. Nothing of it is kept.

        Parameters:
            message: What to say to the model.
            model: The name of a model, as `/models` lists them. Left out: the Space's default.
            system_prompt: What the model is told before the message.
            temperature: How adventurous the next word is: 0 always takes the likeliest.
            top_p: Keep the likeliest words until their probabilities add up to this.
            top_k: Keep only this many of the likeliest words. 0 keeps all.
            max_tokens: The longest answer, in tokens.
            repetition_penalty: Above 1, words already used become less likely.
            seed: The same seed and settings give the same answer.
        Returns:
            The answer so far; the last one is the whole answer.
        """
        given = {
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "max_tokens": max_tokens,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
        }
        params = {name: value for name, value in given.items() if value is not None}
        for name, value in (("message", message), ("model", model or ""), ("system_prompt", system_prompt or "")):
            if not isinstance(value, str):
                raise refusal(f"{name} must be text, not {type(value).__name__}.")
        reader = Reader(blocks._queue, LocalContext.event_id.get(None), monotonic)
        with callers.one_more(caller_of(request)):
            try:
                generation = service.ask(visitor_of(request).owner, message, model or None, params, system_prompt or "")
            except (BadInput, UnknownModel) as error:
                raise refusal(str(error)) from None
            try:
                shown = ""
                with service.generations.reading(generation):
                    async for _ in generation.changes(LOOK_SECONDS):
                        if not reader.is_there():
                            return
                        if generation.text != shown:
                            shown = generation.text
                            yield shown
                            await asyncio.sleep(UPDATE_SECONDS)
                if generation.ending.error:
                    raise refusal(generation.ending.error)
            finally:
                # A caller that goes away, or cancels, frees the engine.
                await generation.stop()

    def models() -> list[dict]:
        """The models of this Space: name, label, and why one cannot be used now, if so."""
        return [
            {"name": entry.name, "label": entry.label, "unavailable": service.unavailable.get(entry.name)}
            for entry in service.catalog.entries
        ]

    gr.api(chat, api_name="chat", concurrency_limit=None)
    gr.api(models, api_name="models", queue=False)
