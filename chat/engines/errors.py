"""The error family of the engines, and what the words of vLLM, TGI and the hosted providers mean in it.

Every sentence is written here. A server's own text is searched for its kind and its numbers and never passed on:
it may quote the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class EngineError(Exception):
    """An engine could not answer.

    `code` is stable and machine-readable; `str(error)` is for people; `detail` ("HTTP 503", "ConnectError") is for
    logs and holds nothing of what was said.
    """

    code = "engine_error"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


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
    """`tokens`: how long the messages are, `limit`: how much the model reads; None where the server did not say."""

    code = "prompt_too_long"

    def __init__(
        self, label: str, tokens: int | None, limit: int | None, *, at_least: bool = False, detail: str = ""
    ) -> None:
        if tokens is not None and limit is not None:
            what = f"This is {'at least ' if at_least else ''}{tokens:,} tokens long; {label} reads at most {limit:,}."
        elif limit is not None:
            what = f"This is too long: {label} reads at most {limit:,} tokens."
        else:
            what = f"This is too long for {label}."
        super().__init__(f"{what} Shorten your message or start a new chat.", detail=detail)
        self.tokens = tokens
        self.limit = limit


class AnswerTooLong(PromptTooLong):
    """The messages fit, but not together with the answer that was asked for. `room`: what is left for it, tokens."""

    def __init__(self, label: str, tokens: int | None, limit: int, *, detail: str = "") -> None:
        super().__init__(label, tokens, limit, detail=detail)
        self.args = (f"{label} reads and writes at most {limit:,} tokens together. Lower max tokens in the settings.",)
        self.room = limit - (tokens or 0)


# How servers name both lengths. vLLM 0.33: renderers/params.py, v1/engine/input_processor.py,
# entrypoints/serve/utils/api_utils.py; TGI 3: router/src/validation.rs; the rest: OpenAI and what imitates it.
_LENGTHS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"maximum context length is (?P<limit>\d+) tokens.{1,200}?(?:contains|has) "
        r"(?P<at_least>at least )?(?P<tokens>\d+) input tokens",
        r"maximum context length is (?P<limit>\d+) tokens.{1,200}?\((?P<tokens>\d+) in the (?:messages|prompt)",
        r"maximum context length is (?P<limit>\d+) tokens.{1,200}?resulted in (?P<tokens>\d+) tokens",
        r"prompt \(length (?P<tokens>\d+)\).{1,200}?maximum model length of (?P<limit>\d+)",
        r"Input length \((?P<tokens>\d+)\) exceeds model's maximum context length \((?P<limit>\d+)\)",
        r"`?inputs`? must have less than (?P<limit>\d+) tokens\. Given: (?P<tokens>\d+)",
        r"`?max_new_tokens`? must be <= (?P<limit>\d+)\. Given: (?P<tokens>\d+) `?inputs?`? tokens",
        r"max_(?:completion_)?tokens=\d+ cannot be greater than max_model_len=(?P<room>\d+)",
        r"maximum context length is (?P<limit>\d+) tokens",
    )
)
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|insufficient memory", re.IGNORECASE)
_STARTING = re.compile(
    r"(?:currently|still|is) (?:loading|starting|initiali[sz]ing)|warming up|not ready", re.IGNORECASE
)
_NO_SYSTEM = re.compile(r"system role not supported|only user and assistant roles", re.IGNORECASE)
# Statuses that stand for the `error_type` of TGI inside a stream, and `type` of vLLM.
_STATUS_OF_TYPE = {
    "overloaded": 429,
    "validation": 422,
    "generation": 424,
    "incomplete_generation": 500,
    "BadRequestError": 400,
    "NotFoundError": 404,
    "InternalServerError": 500,
    "ServiceUnavailableError": 503,
    "OverloadedError": 429,
    "ValidationError": 422,
    "GenerationError": 424,
    "IncompleteGenerationError": 500,
}


def from_answer(label: str, status: int | None, body: Any, *, begun: bool) -> EngineError:
    """The error that a refusal means.

    `status`: of HTTP, None for an error inside the stream. `body`: the parsed JSON, or the text where it was none.
    `begun`: part of the answer had arrived.
    """
    words, kind, code = _words(body)
    status = status or code or _STATUS_OF_TYPE.get(kind or "")
    detail = f"HTTP {status}" if status else "in the stream"
    if too_long := _too_long(label, words, detail):
        return too_long
    if _OUT_OF_MEMORY.search(words):
        return EngineOutOfMemory(
            f"{label} ran out of memory. Try a shorter conversation, or tell the operator.", detail=detail
        )
    match status:
        case 401 | 403 | 407:
            return EngineRefused(
                f"The server of {label} did not accept this Space's key. Its operator must set a valid one.",
                detail=detail,
            )
        case 402:
            return EngineRefused(
                f"The account that pays for {label} has no credit left. Pick another model.", detail=detail
            )
        case 404 | 405 | 410 | 301 | 302 | 303 | 307 | 308:
            return EngineRefused(
                f"The server does not know {label}. Its operator must check the model's name and address.",
                detail=detail,
            )
        case 413:
            return PromptTooLong(label, None, None, detail=detail)
        case 429 | 529:
            return overloaded(label, detail)
        case 503:
            if _STARTING.search(words):
                return EngineStarting(f"{label} is still starting. Try again in a minute.", detail=detail)
            return overloaded(label, detail)
        case int() if 400 <= status < 500 and status not in (408, 424, 425):
            if _NO_SYSTEM.search(words):
                return EngineRefused(f"{label} takes no system prompt. Empty it in the settings.", detail=detail)
            return EngineRefused(
                f"{label} did not accept this request. Change the settings or the message, or pick another model.",
                detail=detail,
            )
    return _went_away(label, begun, detail)


def from_exception(label: str, error: Exception, *, begun: bool) -> EngineError:
    """The error that an exception of a transport library means.

    aiohttp and httpx2 name theirs alike, so they are told apart by name and neither is imported here.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    detail = type(error).__name__
    # Not aiohttp's ClientResponseError: its status 400 stands for a response that could not be read.
    if names & {"HfHubHTTPError", "HTTPStatusError"}:
        response = getattr(error, "response", None)
        return from_answer(label, getattr(response, "status_code", None), _body_of(response), begun=begun)
    if "TextGenerationError" in names or type(error).__module__.startswith("text_generation"):
        return from_answer(label, None, {"error": str(error), "error_type": type(error).__name__}, begun=begun)
    if names & {"PoolTimeout"}:
        return overloaded(label, detail)
    if names & {"InvalidURL", "UnsupportedProtocol", "NonHttpUrlClientError"}:
        return EngineRefused(f"The address of {label} is not valid. Its operator must correct it.", detail=detail)
    if names & {"ConnectTimeout", "ConnectionTimeoutError"}:
        return _went_away(label, begun, detail)
    if "TimeoutError" in names or "TimeoutException" in names:
        return EngineUnavailable(
            f"{label} has been silent for too long. What arrived is kept; try again."
            if begun
            else f"{label} did not answer in time. Your message is kept; try again in a moment.",
            detail=detail,
        )
    return _went_away(label, begun, detail)


def _too_long(label: str, words: str, detail: str) -> PromptTooLong | None:
    for pattern in _LENGTHS:
        if found := pattern.search(words):
            numbers = {name: int(value) for name, value in found.groupdict().items() if value and value.isdigit()}
            if "room" in numbers:
                return AnswerTooLong(label, None, numbers["room"], detail=detail)
            tokens, limit = numbers.get("tokens"), numbers["limit"]
            if tokens is not None and tokens < limit:
                return AnswerTooLong(label, tokens, limit, detail=detail)
            at_least = bool(found.groupdict().get("at_least"))
            return PromptTooLong(label, tokens, limit, at_least=at_least, detail=detail)
    return None


def overloaded(label: str, detail: str) -> EngineOverloaded:
    """Too many requests at once, at the server or here."""
    return EngineOverloaded(f"{label} is answering too many people right now. Try again in a moment.", detail=detail)


def _went_away(label: str, begun: bool, detail: str) -> EngineUnavailable:
    if begun:
        return EngineUnavailable(f"{label} stopped in mid-answer. What arrived is kept; try again.", detail=detail)
    return EngineUnavailable(
        f"{label} cannot be reached or failed to answer. Your message is kept; try again in a moment.", detail=detail
    )


def _words(body: Any) -> tuple[str, str | None, int | None]:
    """The message, the type and the status that a refusal's body names, in any of the formats in use."""
    if isinstance(body, Mapping):
        error = body.get("error", body)
        if isinstance(error, Mapping):
            message, kind, code = error.get("message"), error.get("type"), error.get("code")
        else:
            message, kind, code = error, body.get("error_type"), body.get("code")
        known = code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None
        return str(message or body.get("detail") or "")[:8192], kind if isinstance(kind, str) else None, known
    return str(body or "")[:8192], None, None


def _body_of(response: Any) -> Any:
    """A response's JSON or text; nothing where it cannot be had (a stream that was not read)."""
    try:
        return response.json()
    except Exception:  # the formats of a failure's failure: none of them matters
        return ""
