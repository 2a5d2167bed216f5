"""Engines: each answers a list of messages as a stream of deltas.

    EngineError                 every failure of an engine; `str()` says what happened and what to do
    +- EngineStarting           not up yet: wait
    +- EngineUnavailable        cannot be reached, or went away in mid-answer
    +- EngineOverloaded         too many requests for it now
    +- EngineOutOfMemory        the model or the request does not fit
    +- EngineRefused            wrong key, unknown model, a request it does not accept
    +- PromptTooLong            the messages do not fit the model's context
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import AsyncIterator, Protocol, Sequence

from chat.conversation import Message, SamplingParams


class EngineError(Exception):
    """An engine could not answer. `code` is stable and machine-readable; `str(error)` is for people."""

    code = "engine_error"


class EngineStarting(EngineError):
    code = "engine_starting"


class EngineUnavailable(EngineError):
    code = "engine_unavailable"


class EngineOverloaded(EngineError):
    code = "engine_overloaded"


class EngineOutOfMemory(EngineError):
    code = "engine_out_of_memory"


class EngineRefused(EngineError):
    code = "engine_refused"


class PromptTooLong(EngineError):
    code = "prompt_too_long"


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last one of a complete stream carries the finish reason ("stop", "length", ...)."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None


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
        the first token too. `cache_salt` keeps one owner's prefix cache from telling another what was asked.
        `continue_last`: the last message is an assistant's, cut off; go on with it instead of starting a new one.
        Raises `EngineError`, and nothing else of its own; a stream that ends without a finish reason is
        `EngineUnavailable`.
        """
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...
