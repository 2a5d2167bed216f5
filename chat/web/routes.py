"""The page's JSON routes. Each asks who is asking before it does anything; errors all have one form:

{"error": {"code": "not_found", "message": "One sentence that says what to do."}}
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from threading import Lock
from typing import Any

from cachetools import TTLCache, cached
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from chat.branches import PAGE_OF_MESSAGES
from chat.feedback import Feedback, FeedbackBook
from chat.models.catalog import UnknownModel, entry_as_json
from chat.service import BadInput, ChatService
from chat.stored import AnswerRunning, CannotContinue, NotFound, StoredConversation, StoredMessage
from chat.visitors.asking import keep_owner, visitor_of
from chat.visitors.visitor import error_body
from chat.web.blocks import BROKEN
from chat.web.live import LiveAnswers
from chat.web.render import render

ERRORS: dict[type[Exception], tuple[int, str, str | None]] = {
    NotFound: (404, "not_found", "There is no such conversation or answer here. It may have been deleted."),
    CannotContinue: (409, "cannot_continue", None),
    AnswerRunning: (409, "answer_running", "An answer is still being written here. Wait for it, or press Stop."),
    BadInput: (422, "bad_input", None),
    UnknownModel: (422, "unknown_model", None),
}
UNUSABLE = "The page sent something this server does not understand: {}. Reload the page and try again."


def answer_errors(app: FastAPI) -> None:
    """Have the errors of the service answered in the one form that all errors have."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        status, code, sentence = ERRORS[type(error)]
        return JSONResponse(error_body(code, sentence or str(error)), status)

    for kind in ERRORS:
        app.add_exception_handler(kind, answer)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        sentence = (
            f"This request cannot be answered ({HTTPStatus(error.status_code).phrase}). Reload the page and try again."
        )
        return JSONResponse(error_body("http_error", sentence), error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def unusable(_: Request, error: RequestValidationError) -> JSONResponse:
        # Names the field, if it is one of ours, and what is wrong with it; never what was sent.
        first = error.errors()[0]
        field = "a field" if first["type"] == "extra_forbidden" else ".".join(map(str, first["loc"][1:2])) or "body"
        what = f"{field}: {first['msg']}"
        return JSONResponse(error_body("bad_input", UNUSABLE.format(what)), 422)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        # The server writes its kind and place, see `chat/hush.py`.
        return JSONResponse(error_body("broken", BROKEN), 500)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewTurn(Body):
    text: str
    conversation: str | None = None
    model: str | None = None
    params: dict[str, int | float | None] = {}
    system_prompt: str | None = None
    beside: str | None = None
    key: str | None = Field(default=None, max_length=64)


class NewAnswer(Body):
    model: str | None = None
    params: dict[str, int | float | None] = {}


def router(
    service: ChatService,
    live: LiveAnswers,
    book: FeedbackBook,
    *,
    prefix: str = "/api",
    keep: Callable[[Request], Awaitable[str]] = keep_owner,
    outlives: bool = True,
) -> APIRouter:
    """The routes that a conversation needs. `book`: what its owner thinks of the answers, shown beside them. `keep`: who
    asks, for whom something is about to be kept. `outlives`: whether what is saved survives this machine; where it does
    not, it is no more than kept here."""
    routes = APIRouter(prefix=prefix)
    as_json = partial(conversation_as_json, outlives=outlives)

    @routes.post("/turns")
    async def send(request: Request, turn: NewTurn) -> dict[str, Any]:
        owner = await keep(request)
        conversation, prompt, answer = await service.send(
            owner,
            turn.conversation,
            turn.text,
            turn.model,
            turn.params,
            turn.system_prompt,
            "api" if visitor_of(request).via == "bearer" else "page",
            beside=turn.beside,
            key=turn.key,
        )
        return {
            "conversation": as_json(conversation),
            "prompt": message_as_json(prompt),
            "answer": message_as_json(answer),
        }

    @routes.post("/answers/{id}/retry")
    async def retry(request: Request, id: str, by: NewAnswer) -> dict[str, Any]:
        conversation, _, answer = await service.retry(owner_of(request), id, by.model, by.params)
        return {"conversation": as_json(conversation), "answer": message_as_json(answer)}

    @routes.post("/answers/{id}/continue")
    async def go_on(request: Request, id: str) -> dict[str, Any]:
        conversation, answer = await service.continue_answer(owner_of(request), id)
        return {"conversation": as_json(conversation), "answer": message_as_json(answer)}

    @routes.get("/answers/{id}/live")
    async def follow(request: Request, id: str, at: int = 0, log: int | None = None) -> StreamingResponse:
        owner = owner_of(request)
        # The generation is looked up before the message: one that ends in between is then read as running to its end.
        generation = service.generations.get(id)
        message = await service.store.message(owner, id)
        # A position in the log of the answer before it was gone on with is none in this one.
        at = at if log in (None, message.continued) else 0

        async def settled() -> dict[str, Any]:
            try:
                message = await service.answer(owner, id)
            except NotFound:
                return {"id": id, "state": "deleted"}
            return message_as_json(message)

        events = live.events(generation, at, settled) if generation else live.ended(settled)
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)

    @routes.post("/answers/{id}/stop")
    async def stop(request: Request, id: str) -> dict[str, Any]:
        return {"answer": message_as_json(await service.stop_answer(owner_of(request), id))}

    @routes.get("/conversations/{id}")
    async def conversation(
        request: Request, id: str, before: str | None = None, until: str | None = None
    ) -> JSONResponse:
        owner, limit = owner_of(request), PAGE_OF_MESSAGES
        if before is not None and until is not None:
            # As far up as a message that was searched for, with the one above it.
            last, first = await service.store.message(owner, before), await service.store.message(owner, until)
            limit = min(max(last.depth - first.depth + 1, PAGE_OF_MESSAGES), MOST_MESSAGES)
        return await page_of(owner, *await service.store.branch(owner, id, before, limit))

    @routes.post("/messages/{id}/choose")
    async def choose(request: Request, id: str) -> JSONResponse:
        owner = owner_of(request)
        return await page_of(owner, *await service.store.choose(owner, id))

    async def page_of(
        owner: str, found: StoredConversation, messages: list[StoredMessage], earlier: str | None
    ) -> JSONResponse:
        given = await book.of(owner, (message.id for message in messages))
        # A few milliseconds an answer, so in a thread: a long conversation that is opened holds up nobody's stream.
        shown = await asyncio.to_thread(
            lambda: [message_as_json(message, given.get(message.id)) for message in messages]
        )
        # As it is: FastAPI would look at every value of it first.
        return JSONResponse({"conversation": as_json(found), "messages": shown, "earlier": earlier})

    return routes


def catalogue_router(service: ChatService) -> APIRouter:
    """What there is to choose from, and what it is doing."""
    routes = APIRouter(prefix="/api")

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        return {"models": models_as_json(service)}

    @routes.get("/status")
    async def status(model: str | None = None) -> dict[str, Any]:
        found = service.pool.status(service.catalog.entry(model or service.catalog.default).name)
        return {"stage": found.stage, "detail": found.detail}

    return routes


def owner_of(request: Request) -> str:
    """Who may see: enough for everything but the first turn, since somebody new owns nothing yet."""
    return visitor_of(request).owner


def models_as_json(service: ChatService) -> list[dict[str, Any]]:
    """Every entry of the catalogue, with the reason why one cannot be picked."""
    default = service.catalog.default
    return [
        entry_as_json(entry, service.unavailable.get(entry.name), default=entry.name == default)
        for entry in service.catalog.entries
    ]


MOST_MESSAGES = 400  # of one request, for one that was searched for far up
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def conversation_as_json(conversation: StoredConversation, outlives: bool = True) -> dict[str, Any]:
    return {
        "where": conversation.where if outlives else "kept here",
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "params": conversation.params.as_dict(),
        "updated_at": conversation.updated_at,
        "revision": conversation.revision,
        "pinned": conversation.pinned,
        "archived": conversation.archived,
        "running": conversation.running,
    }


# An answer is rendered when it settles and again whenever its conversation is opened. Deleted text leaves this memory too.
@cached(TTLCache(maxsize=8_000_000, ttl=600, getsizeof=len), lock=Lock())
def rendered(text: str) -> str:
    return render(text)


def message_as_json(message: StoredMessage, feedback: Feedback | None = None) -> dict[str, Any]:
    running = message.state == "running"
    return {
        "id": message.id,
        "role": message.role,
        "text": message.content,
        "html": None if running or message.role == "user" else rendered(message.content),
        "state": message.state,
        "finish_reason": message.finish_reason,
        "error": message.error,
        "model": message.model,
        "model_revision": message.model_revision,
        "params": message.params.as_dict() if message.params else None,
        "reasoning": message.reasoning,
        "reasoning_seconds": message.reasoning_seconds,
        "feedback": feedback.as_dict() if feedback else None,
        "created_at": message.created_at,
        "siblings": message.siblings,
        "depth": message.depth,
        "omitted": message.omitted,
        "continued": message.continued,
    }
