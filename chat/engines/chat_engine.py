"""What the kinds of engines share: one request, read with patience, every failure translated.

What a server says about a failure may quote the conversation: it is read for its kind and its numbers
(`chat/engines/errors.py`) and goes no further, neither as text nor as the cause of the error that is raised.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp

from chat.conversation import Message, SamplingParams
from chat.engines.engine import Answer, Delta, Timeouts
from chat.engines.errors import AnswerTooLong, EngineError, EngineRefused, from_answer, from_exception

MAX_ERROR_BODY = 1 << 16  # bytes; vLLM's validation errors repeat the request
SHORTEST_ANSWER = 64  # tokens; where less room is left, the conversation is too long, not the answer
END_SECONDS = 0.25  # how long the end of a complete answer is awaited


class ChatEngine:
    """An engine but for its server: `_request`, `_open` and, where it is needed, `_get_to_know`."""

    continues = False  # whether the server can go on with a cut-off answer

    def __init__(self, model: str, label: str | None, timeouts: Timeouts) -> None:
        self.model = model
        self.label = label or model
        self.timeouts = timeouts

    async def stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams,
        *,
        cache_salt: str | None = None,
        continue_last: bool = False,
    ) -> AsyncIterator[Delta]:
        """See `Engine.stream`."""
        request: dict[str, Any] = {}
        for last_try in (False, True):
            answer = Answer(self.label)
            failure: EngineError | None = None
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self.timeouts.first_token):
                        if not request:
                            await self._get_to_know()
                            if continue_last and not self.continues:
                                raise EngineRefused(
                                    f"{self.label} cannot go on with a cut-off answer. Ask it to continue instead."
                                )
                            request = self._request(messages, params, cache_salt, continue_last)
                        source = await self._open(stack, request)
                    while (piece := await self._next(source, answer)) is not None:
                        if (delta := answer.read(piece)) is not None:
                            yield delta
                    failure = answer.failure
                except EngineError as error:
                    failure = error
                # Whatever a transport library raises: its message may quote the conversation, so none passes.
                except Exception as error:
                    failure = from_exception(self.label, error, begun=answer.begun)
            if answer.finished:  # whatever came after its last word, the answer is complete
                return
            if failure is None:
                failure = from_answer(self.label, None, {}, begun=answer.begun)
            if isinstance(failure, AnswerTooLong) and failure.room >= SHORTEST_ANSWER and not last_try:
                request = {**request, "max_tokens": min(request["max_tokens"], failure.room)}
                continue
            # Raised outside the handlers, so that the transport's error is not its context.
            raise failure

    async def count(self, messages: Sequence[Message], *, continue_last: bool = False) -> int | None:
        """See `Engine.count`: only vLLM tells."""
        return None

    async def _next(self, source: AsyncIterator[Any], answer: Answer) -> Any | None:
        """The next piece; None at the end. The end of the body of a complete answer is awaited only briefly: it gives
        the connection back for reuse, and is not missed."""
        if answer.finished:
            with suppress(Exception):
                async with asyncio.timeout(END_SECONDS):
                    return await anext(source, None)
            return None
        if answer.ended:
            return None
        async with asyncio.timeout(self.timeouts.idle if answer.begun else self.timeouts.first_token):
            return await anext(source, None)

    async def _get_to_know(self) -> None:
        """Ask the server what a request to it depends on, where that is not known yet."""

    def _request(
        self, messages: Sequence[Message], params: SamplingParams, cache_salt: str | None, continue_last: bool
    ) -> dict[str, Any]:
        """The fields of the request that every kind understands; nothing a caller gives can add one."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "stream": True,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_tokens": params.max_tokens,
        }
        if params.seed is not None:
            request["seed"] = params.seed
        return request

    async def _open(self, stack: AsyncExitStack, request: dict[str, Any]) -> AsyncIterator[Any]:
        """Send `request`; the pieces of the answer. Closing `stack` closes the connection."""
        raise NotImplementedError


def headers_for(api_key: str | None) -> dict[str, str]:
    """Compression would hold tokens back."""
    headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
    return {**headers, "authorization": f"Bearer {api_key}"} if api_key else headers


async def chunks_of(label: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body, each piece everything that has arrived: a reader that fell behind catches up in one step.

    Raises what a refusal means; its body is read as far as that needs, and forgotten.
    """
    if response.status != 200:
        body = b""
        async for chunk in response.content.iter_any():
            if len(body := body + chunk) > MAX_ERROR_BODY:
                break
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = body.decode(errors="replace")
        raise from_answer(label, response.status, parsed, begun=False)
    if response.content_type != "text/event-stream":
        raise EngineRefused(
            f"What stands at the address of {label} does not speak the chat format. Its operator must check it.",
            detail="not an event stream",
        )
    return response.content.iter_any()
