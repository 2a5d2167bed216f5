"""The routes of whole conversations: the list, the search, deleting with a way back, and how long they are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from chat.library import Library
from chat.lists import Deletion
from chat.retention import CHOICES, Retention
from chat.search import Hit
from chat.service import BadInput
from chat.stored import StoredConversation
from chat.visitors.asking import keep_owner
from chat.visitors.visitor import Refused
from chat.web.routes import conversation_as_json, owner_of
from chat.words import Query, marked

NOT_BACK_YET = (
    "Not all of your conversations have been brought back here yet, so nothing was deleted: the others would come back "
    "later. Try again in a few minutes, or delete single ones now."
)


class NotBackYet(Refused):
    status, code = 503, "not_restored"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Change(Body):
    title: str | None = None
    pinned: bool | None = None
    archived: bool | None = None


class Which(Body):
    ids: list[str]


class Wanted(Body):
    """A search is what somebody wrote, so it travels in a body: addresses are kept in logs and histories."""

    query: str
    before: int | None = Field(default=None, ge=0, le=2**62)


class Days(Body):
    days: int | None


async def _always() -> bool:
    return True


def list_routes(
    library: Library, outlives: bool = True, is_whole: Callable[[], Awaitable[bool]] = _always
) -> APIRouter:
    """`outlives`: as in `routes.router`. `is_whole()`: whether all that anybody has is here."""
    routes = APIRouter(prefix="/api")

    def as_json(conversation: StoredConversation) -> dict[str, Any]:
        titling = library.titles is not None and conversation.id in library.titles
        return {**conversation_as_json(conversation, outlives), "titling": titling}

    @routes.get("/conversations")
    async def conversations(request: Request, before: str | None = None, archived: bool = False) -> dict[str, Any]:
        try:
            items, following = await library.store.conversations(owner_of(request), before, archived=archived)
        except ValueError:
            raise BadInput("This page of the list cannot be found. Reload the page.") from None
        return {"items": [as_json(item) for item in items], "next": following}

    @routes.patch("/conversations/{id}")
    async def change(request: Request, id: str, new: Change) -> dict[str, Any]:
        owner = owner_of(request)
        if new.title is not None:
            await library.rename(owner, id, new.title)
        return {"conversation": as_json(await library.arrange(owner, id, new.pinned, new.archived))}

    @routes.delete("/conversations/{id}")
    async def delete(request: Request, id: str) -> dict[str, Any]:
        return told(await library.delete(owner_of(request), [id]))

    @routes.post("/conversations/delete")
    async def delete_some(request: Request, which: Which) -> dict[str, Any]:
        return told(await library.delete(owner_of(request), which.ids))

    @routes.delete("/conversations")
    async def delete_all(request: Request) -> dict[str, Any]:
        if not await is_whole():
            raise NotBackYet(NOT_BACK_YET)
        return told(await library.delete(owner_of(request), None))

    @routes.post("/deletions/{id}/undo")
    async def undo(request: Request, id: str) -> dict[str, Any]:
        return {"restored": await library.undo(owner_of(request), id)}

    def told(deletion: Deletion) -> dict[str, Any]:
        undo = {"id": deletion.id, "seconds": library.undo_seconds}
        return {"deleted": deletion.conversations, "undo": undo if deletion.conversations else None}

    @routes.post("/search")
    async def search(request: Request, wanted: Wanted) -> dict[str, Any]:
        query, hits, following = await library.find(owner_of(request), wanted.query, wanted.before)
        return {"hits": [hit_as_json(hit, query) for hit in hits], "next": following}

    @routes.get("/retention")
    async def retention(request: Request) -> dict[str, Any]:
        return retention_as_json(await library.retention(owner_of(request)))

    @routes.put("/retention")
    async def keep_for(request: Request, wanted: Days) -> dict[str, Any]:
        return retention_as_json(await library.keep_for(await keep_owner(request), wanted.days))

    return routes


def hit_as_json(hit: Hit, query: Query) -> dict[str, Any]:
    """`title` and `text` are pieces [text, whether it was found]: text, never HTML. `text` is null where the title is all."""
    return {
        "entry": hit.entry,
        "conversation": hit.conversation,
        "message": hit.message,
        "role": hit.role,
        "title": marked(hit.title, query, None),
        "text": marked(hit.content, query) if hit.message else None,
        "archived": hit.archived,
        "at": hit.at,
    }


def retention_as_json(retention: Retention) -> dict[str, Any]:
    return {
        "days": retention.days,
        "chosen": retention.chosen,
        "operator": retention.operator,
        "choices": [days for days in CHOICES if retention.operator is None or days < retention.operator],
    }
