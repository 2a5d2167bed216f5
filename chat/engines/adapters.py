"""Engines: each answers a list of messages as a stream of deltas.

    EngineError                 every failure of an engine; `str()` says what happened and what to do
    +- EngineStarting           not up yet: wait
    +- EngineUnavailable        cannot be reached, or went away in mid-answer
    +- EngineOverloaded         too many requests for it now
    +- EngineOutOfMemory        the model or the request does not fit
    +- EngineRefused            wrong key, unknown model, a request it does not accept
    +- PromptTooLong            the messages do not fit the model's context

    OpenAIEngine    kinds `vllm` (a Unix socket, loopback or elsewhere) and `openai` (any other compatible server)
    TGIEngine       kind `tgi`, through `text_generation.AsyncClient`
    HostedEngine    kind `hosted`, through `huggingface_hub.AsyncInferenceClient`

How a request is made and read, and what becomes of a failure: `chat/engines/chat_engine.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from chat.conversation import Message, SamplingParams
from chat.engines.chat_engine import ChatEngine, chunks_of, headers_for
from chat.engines.engine import Timeouts
from chat.engines.errors import from_answer, overloaded

MAX_STREAMS = 256
# A server that closes idle connections after 5 s (uvicorn's, hence vLLM's, default) must not do so while we write.
KEEPALIVE_SECONDS = 3.0
COUNT_SECONDS = 5.0  # how long a count of tokens is awaited


class OpenAIEngine(ChatEngine):
    """A server that speaks OpenAI's chat completions.

    `base_url`: with its path (`.../v1`); without a path, `/v1` is added. `uds`: the Unix socket of a server on this
    machine (`base_url` then only names the host). `vllm`: the server understands vLLM's own fields. `model` "": the
    server is asked for it before the first answer, and whether it is a vLLM.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        vllm: bool,
        api_key: str | None = None,
        uds: Path | None = None,
        label: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(model, label, timeouts)
        self.continues = self._vllm = vllm
        parts = urlsplit(base_url)
        self._url = base_url.rstrip("/") + ("" if parts.path.strip("/") else "/v1") + "/chat/completions"
        self._uds = uds
        # Proxies of the environment are for the outside: a request to this machine never goes to one.
        self._local = uds is not None or parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._headers = headers_for(api_key)
        self._session: aiohttp.ClientSession | None = None
        self._open_streams = 0

    def _request(
        self, messages: Sequence[Message], params: SamplingParams, cache_salt: str | None, continue_last: bool
    ) -> dict[str, Any]:
        request = super()._request(messages, params, cache_salt, continue_last)
        if self._vllm:
            # Sent at their neutral values too: left out, the model's own generation_config.json would decide.
            request["top_k"] = params.top_k
            request["repetition_penalty"] = params.repetition_penalty
            request["stream_options"] = {"include_usage": True}
            if cache_salt:
                request["cache_salt"] = cache_salt
            if continue_last:
                request["continue_final_message"] = True
                request["add_generation_prompt"] = False
        return request

    async def _open(self, stack: AsyncExitStack, request: dict[str, Any]) -> AsyncIterator[bytes]:
        if self._open_streams >= MAX_STREAMS:
            raise overloaded(self.label, f"{MAX_STREAMS} streams")
        self._open_streams += 1
        stack.callback(self._closed)
        session = self._connected()
        response = await stack.enter_async_context(session.post(self._url, json=request, allow_redirects=False))
        return await chunks_of(self.label, response)

    async def count(self, messages: Sequence[Message], *, continue_last: bool = False) -> int | None:
        """See `Engine.count`: vLLM's `/tokenize`."""
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                await self._get_to_know()
                if not self._vllm:
                    return None
                request = {
                    "model": self.model,
                    "messages": [{"role": message.role, "content": message.content} for message in messages],
                    "continue_final_message": continue_last,
                    "add_generation_prompt": not continue_last,
                }
                address = self._url.removesuffix("/v1/chat/completions") + "/tokenize"
                async with self._connected().post(address, json=request, allow_redirects=False) as response:
                    return int((await response.json())["count"]) if response.status == 200 else None
        # Whatever stands against it: then it is estimated.
        except Exception:
            return None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:  # aiohttp's needs the running loop
            limits: dict[str, Any] = {"limit": 0, "keepalive_timeout": KEEPALIVE_SECONDS}
            self._session = aiohttp.ClientSession(
                connector=(
                    aiohttp.UnixConnector(str(self._uds), **limits) if self._uds else aiohttp.TCPConnector(**limits)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
                trust_env=not self._local,
            )
        return self._session

    async def _get_to_know(self) -> None:
        """Take the first model that the server lists, where it was given by its address alone (`ENGINE_URL`)."""
        if self.model:
            return
        models = self._url.removesuffix("/chat/completions") + "/models"
        async with self._connected().get(models, allow_redirects=False) as response:
            if response.status != 200:
                raise from_answer(self.label, response.status, "", begun=False)
            first = (await response.json())["data"][0]
        self.continues = self._vllm = self._vllm or first.get("owned_by") == "vllm"
        self.model = first["id"]

    def _closed(self) -> None:
        self._open_streams -= 1

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class TGIEngine(ChatEngine):
    """A text-generation-inference server, by its chat route.

    `text_generation` 0.7.0's client builds and sends the request. Its stream reader is replaced: it ignores the
    status, so that every refusal is an empty answer, stops with a KeyError at deltas without `tool_calls` (any TGI
    since 2.4) and at `[DONE]`, and allows 10 s for the whole answer. TGI's chat route has no top-k.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        label: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
    ) -> None:
        from text_generation import AsyncClient

        super().__init__(model, label, timeouts)
        name = self.label

        class Client(AsyncClient):
            async def _chat_stream_response(self, request: Any) -> AsyncIterator[bytes]:
                url, body = f"{self.base_url}/v1/chat/completions", request.model_dump(exclude_none=True)
                async with (
                    aiohttp.ClientSession(headers=self.headers, timeout=self.timeout) as session,
                    session.post(url, json=body, allow_redirects=False) as response,
                ):
                    async for chunk in await chunks_of(name, response):
                        yield chunk

        self._client = Client(base_url.rstrip("/").removesuffix("/v1"), headers=headers_for(api_key))
        self._client.timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)

    def _request(
        self, messages: Sequence[Message], params: SamplingParams, cache_salt: str | None, continue_last: bool
    ) -> dict[str, Any]:
        request = super()._request(messages, params, cache_salt, continue_last)
        del request["model"]
        if params.top_p >= 1.0:  # TGI refuses 1, which is its default
            del request["top_p"]
        if params.repetition_penalty != 1.0:  # TGI's chat route reads it as presence_penalty + 2
            request["presence_penalty"] = params.repetition_penalty - 2.0
        return request

    async def _open(self, stack: AsyncExitStack, request: dict[str, Any]) -> AsyncIterator[bytes]:
        from text_generation.types import Message as TGIMessage

        messages = [TGIMessage(**message) for message in request["messages"]]
        source = await self._client.chat(**{**request, "messages": messages})
        stack.push_async_callback(source.aclose)
        return source

    async def aclose(self) -> None:
        """Nothing is kept between two answers."""


class HostedEngine(ChatEngine):
    """Hosted inference through `huggingface_hub`: its router (`provider` None: the router picks one), or, with
    `base_url`, an endpoint that speaks the same format.

    `token` is sent to the router or to `base_url`, and nowhere else; without one, an endpoint gets none: the token
    of this machine is not looked up. Raises `ValueError` where the router is asked without a token.
    """

    def __init__(
        self,
        model: str,
        *,
        token: str | None = None,
        provider: str | None = None,
        base_url: str | None = None,
        label: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(model, label, timeouts)
        if base_url is None and not (token or "").startswith("hf_"):
            raise ValueError(f"Hosted inference of {model} needs a Hugging Face token. Set HF_TOKEN (it begins hf_).")
        # The router understands "model:provider"; asking the library for a provider would look the model up with a
        # blocking request.
        self._routed = f"{model}:{provider}" if provider not in (None, "auto") and base_url is None else model
        self._token = token
        self._base_url = base_url

    def _request(
        self, messages: Sequence[Message], params: SamplingParams, cache_salt: str | None, continue_last: bool
    ) -> dict[str, Any]:
        return {**super()._request(messages, params, cache_salt, continue_last), "model": self._routed}

    async def _open(self, stack: AsyncExitStack, request: dict[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        import httpx2
        from huggingface_hub import AsyncInferenceClient

        # One client an answer: a client keeps every stream it opened until it is closed itself.
        client = AsyncInferenceClient(
            base_url=self._base_url,
            provider=None if self._base_url else "auto",
            token=self._token,
            timeout=httpx2.Timeout(None, connect=self.timeouts.connect),  # type: ignore[arg-type]
            # None drops the header, and with it the token that the library finds on this machine by itself.
            headers={} if self._token else {"authorization": None},  # type: ignore[dict-item]
        )
        stack.push_async_callback(client.close)
        source = await client.chat_completion(**request)
        stack.push_async_callback(source.aclose)
        return self._events(source)

    async def _events(self, source: AsyncIterator[Any]) -> AsyncIterator[Mapping[str, Any]]:
        async for chunk in source:
            # Fields that the library does not know (`reasoning_content`) stand on the delta alone.
            yield {
                "choices": [
                    {"delta": dict(choice.delta or {}), "finish_reason": choice.finish_reason}
                    for choice in chunk.choices or ()
                ]
            }

    async def aclose(self) -> None:
        """Nothing is kept between two answers."""
