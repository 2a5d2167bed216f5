"""The endpoints for `gradio_client`. They need no account and keep nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from chat.models.catalog import UnknownModel
from chat.service import BadInput, ChatService
from chat.visitors.asking import visitor_of

# A Gradio update costs about 1 ms of the server's time: at most this often, however fast the engine writes.
UPDATE_SECONDS = 0.1


def register(service: ChatService) -> None:
    """Add the named endpoints to the Blocks being built."""

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
        try:
            generation = service.ask(
                visitor_of(request).owner, message, model or None, params, system_prompt or ""
            )
        except (BadInput, UnknownModel) as error:
            raise refusal(str(error)) from None
        try:
            shown = ""
            async for _ in generation.changes():
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


def refusal(sentence: str) -> gr.Error:
    """An error whose sentence reaches the caller and no log."""
    return gr.Error(sentence, print_exception=False)
