"""What an engine is: one streaming method; and how the events of its stream become deltas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chat.conversation import Message, SamplingParams
from chat.engines.errors import EngineError, EngineUnavailable, from_answer

MAX_LINE = 1 << 20  # bytes; a longer line is not an answer


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer: what one read from the server brought, one token or several.

    The last one with words of a complete stream carries the finish reason ("stop", "length", ...); with it or after it
    comes `tokens`, where the server tells how many it read and wrote together. Where a delta has both, `reasoning` came
    before `text`.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an engine may be silent, in seconds. The first token waits for a queue and a long prompt."""

    connect: float = 10.0
    first_token: float = 600.0
    idle: float = 120.0


class Engine(Protocol):
    """One model that answers. The chat template belongs to the server behind it."""

    def stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams,
        *,
        cache_salt: str | None = None,
        continue_last: bool = False,
    ) -> AsyncIterator[Delta]:
        """Yield the answer to `messages` piece by piece.

        Closing the iterator, or cancelling the task that reads it, frees the request at the server at once, before
        the first token too. Read it under `contextlib.aclosing`: a reader that is cancelled while it does something
        else closes nothing. `cache_salt` keeps one owner's prefix cache from telling another what was asked.
        `continue_last`: the last message is an assistant's, cut off; go on with it instead of starting a new one.
        Raises `EngineError`, and nothing else of its own; a stream that ends without a finish reason is
        `EngineUnavailable`.
        """
        ...

    async def count(self, messages: Sequence[Message], *, continue_last: bool = False) -> int | None:
        """How many tokens the model reads of `messages`, by its own tokenizer and chat template; None where the server
        does not tell. Raises nothing."""
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...


class Answer:
    """One answer being read: bytes or parsed events in, deltas out."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._pending = b""
        self.begun = False  # something was yielded: no second try
        self.finished = False  # a finish reason came
        self.ended = False  # "[DONE]" came
        self.failure: EngineError | None = None

    def read(self, piece: bytes | Mapping[str, Any]) -> Delta | None:
        """What `piece` adds, if anything. A failure inside it is kept in `failure`, after the text before it."""
        text: list[str] = []
        reasoning: list[str] = []
        reason: str | None = None
        tokens: int | None = None
        for event in self._events(piece) if isinstance(piece, bytes) else (piece,):
            try:
                if event.get("error") or event.get("object") == "error":
                    self.failure = from_answer(self._label, None, event, begun=self.begun or bool(text or reasoning))
                    break
                for choice in event.get("choices") or ():
                    delta = choice.get("delta") or {}
                    text.append(delta.get("content") or "")
                    reasoning.append(delta.get("reasoning") or delta.get("reasoning_content") or "")
                    reason = choice.get("finish_reason") or reason
                    break  # one answer was asked for
                tokens = (event.get("usage") or {}).get("total_tokens") or tokens
            except (AttributeError, TypeError):
                self._garbage()
                break
        if reason in ("abort", "error"):  # vLLM: shut down, or failed, in mid-answer
            self.failure, reason = from_answer(self._label, None, {}, begun=True), None
        if self.failure is not None:
            self.ended = True
        self.finished = self.finished or reason is not None
        try:
            delta = Delta("".join(text), "".join(reasoning), reason, tokens)
        except TypeError:
            self._garbage()
            return None
        self.begun = self.begun or bool(delta.text or delta.reasoning or delta.finish_reason)
        return None if delta == Delta() else delta

    def _events(self, chunk: bytes) -> list[Mapping[str, Any]]:
        """The events that `chunk` completes. Lines end with a line feed only: vLLM's JSON holds U+2028 and U+0085 as
        they are, where `str.splitlines`, and with it httpx' line reader, would cut it in two."""
        lines = (self._pending + chunk).split(b"\n")
        self._pending = lines.pop()
        if len(self._pending) > MAX_LINE:
            self._garbage()
        events = []
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            payload = line[5:].strip()
            if payload == b"[DONE]":
                self.ended = True
                break
            try:
                events.append(json.loads(payload))
            except ValueError:
                self._garbage()
                break
        return events

    def _garbage(self) -> None:
        self.ended = True
        self.failure = EngineUnavailable(
            f"{self._label} sent something that is not an answer. Try again; if it happens again, pick another model.",
            detail="malformed stream",
        )
