"""The live route: a running answer as server-sent events, at a cost that does not depend on the history.

    {"at": 3, "text": " and"}             more text, to append to the tail
    {"at": 4, "html": "<p>…</p>", "tail": ""}   blocks that will not change any more, and the text after them
    {"status": "Loading the weights"}     nothing yet, and why
    {"done": {…}}                         the settled message; the last event

`at` is where a reader goes on from: `?at=3` sends what came after. `at=0` sends the whole answer so far as one event.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from chat.generation import Generation, Generations
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

    def since(self, generation: Generation, at: int) -> bytes:
        """The events after position `at`, as bytes to send; empty when there are none."""
        for piece in generation.pieces[len(self._events) :]:
            self._events.append(self._render(piece))
        if at >= len(self._events):
            return b""
        if at == 0:
            return event({"at": len(self._events), "html": "".join(self._settled), "tail": self._tail})
        return b"".join(self._events[at:])

    def _render(self, piece: str) -> bytes:
        position = len(self._events) + 1
        written = self._renderer.feed(piece)
        if written.html:
            self._settled.append(written.html)
            self._tail = written.tail
            return event({"at": position, "html": written.html, "tail": written.tail})
        self._tail += piece
        return event({"at": position, "text": piece})


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
        status = None
        with self._generations.reading(generation):
            async for _ in generation.changes():
                if written := rendering.since(generation, at):
                    at = len(generation.pieces)
                    yield written
                elif generation.status != status:
                    status = generation.status
                    yield event({"status": status})
                else:
                    # Nothing for a while: a comment, so that proxies keep the connection.
                    yield b":\n\n"
        yield event({"done": await settled()})

    async def ended(self, settled: Callable[[], Awaitable[dict[str, Any]]]) -> AsyncIterator[bytes]:
        """The only event of an answer that had ended before it was asked for."""
        yield event({"done": await settled()})


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event, padded."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode().removesuffix(b"}")
    bare = b'data: %b,"pad":"%b"}\n\n'
    return bare % (body, b" " * (-len(bare % (body, b"")) % PAD_BYTES))
