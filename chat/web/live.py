"""The live route: a running answer as server-sent events, at a cost that does not depend on the history.

    {"at": 1, "reasoning": "Well"}        more of what the model thinks before it answers
    {"at": 3, "text": " and"}             more text, to append to the tail
    {"at": 4, "html": "<p>…</p>", "tail": ""}   blocks that will not change any more, and the text after them
    {"status": "Loading the weights"}     nothing yet, and why
    {"omitted": 12}                       so many messages, the oldest of the branch, the model does not read
    {"done": {…}}                         the settled message; the last event. With "problem" where the message does not
                                          hold it: a cut-off answer could not be gone on with, and is what it was

`at` is where a reader goes on from: `?at=3` sends what came after. `at=0` sends the whole answer so far as one event, which
says so: {…, "whole": true}. The log of an answer that was gone on with begins anew, with what stood there: `?log=1`. Of a
model that reasoned, the first event with text says for how long: {…, "reasoning_seconds": 12.3}.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from chat.generation import Generation, Generations, Piece
from chat.web.render import IncrementalRenderer

# Events are filled up to a multiple of this many bytes: their lengths do not tell the lengths of the tokens in them.
PAD_BYTES = 128


class Rendering:
    """The pieces of one generation as events, rendered once for all its readers."""

    def __init__(self) -> None:
        self._renderer = IncrementalRenderer()
        self._events: list[bytes] = []
        self._settled: list[str] = []
        self._tail = ""
        self._reasoning: list[str] = []
        self._has_text = False

    def since(self, generation: Generation, at: int) -> bytes:
        """The events after position `at`, as bytes to send; empty when there are none."""
        for piece in generation.pieces[len(self._events) :]:
            self._events.append(self._render(piece, generation.reasoning_seconds))
        if at >= len(self._events):
            return b""
        if at == 0:
            whole = {"at": len(self._events), "whole": True, "html": "".join(self._settled), "tail": self._tail}
            if self._reasoning:
                whole["reasoning"] = "".join(self._reasoning)
            if self._reasoning and self._has_text:
                whole["reasoning_seconds"] = generation.reasoning_seconds
            return event(whole)
        return b"".join(self._events[at:])

    def _render(self, piece: Piece, reasoning_seconds: float | None) -> bytes:
        new: dict[str, Any] = {"at": len(self._events) + 1}
        if piece.is_reasoning:
            self._reasoning.append(piece.text)
            return event({**new, "reasoning": piece.text})
        if self._reasoning and not self._has_text:
            new["reasoning_seconds"] = reasoning_seconds
        self._has_text = True
        written = self._renderer.feed(piece.text)
        if written.html:
            self._settled.append(written.html)
            self._tail = written.tail
            return event({**new, "html": written.html, "tail": written.tail})
        self._tail += piece.text
        return event({**new, "text": piece.text})


class LiveAnswers:
    """Readers of running answers; one rendering for all readers of the same."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._renderings: weakref.WeakKeyDictionary[Generation, Rendering] = weakref.WeakKeyDictionary()

    async def events(
        self, generation: Generation, at: int, settled: Callable[[], Awaitable[dict[str, Any]]]
    ) -> AsyncIterator[bytes]:
        """Yield the events after position `at` to the end; `settled` gives the message once its end is kept."""
        rendering = self._renderings.setdefault(generation, Rendering())
        status, omitted = None, 0
        with self._generations.reading(generation):
            async for _ in generation.changes():
                if (generation.omitted or 0) != omitted:
                    omitted = generation.omitted
                    yield event({"omitted": omitted})
                if written := rendering.since(generation, at):
                    at = len(generation.pieces)
                    yield written
                elif generation.status != status:
                    status = generation.status
                    yield event({"status": status})
                else:
                    # Nothing for a while: a comment, so that proxies keep the connection.
                    yield b":\n\n"
        done = await settled()
        problem = generation.ending.error if not done.get("error") else None
        yield event({"done": done, "problem": problem} if problem else {"done": done})

    async def ended(self, settled: Callable[[], Awaitable[dict[str, Any]]]) -> AsyncIterator[bytes]:
        """The only event of an answer that had ended before it was asked for."""
        yield event({"done": await settled()})


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event, padded."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode().removesuffix(b"}")
    bare = b'data: %b,"pad":"%b"}\n\n'
    return bare % (body, b" " * (-len(bare % (body, b"")) % PAD_BYTES))
