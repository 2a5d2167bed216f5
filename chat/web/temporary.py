"""The routes of temporary chats: those of a conversation under another prefix, and two about the page that is open."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from chat.temporary import TemporaryChats
from chat.visitors.asking import asking_of
from chat.web.live import LiveAnswers
from chat.web.routes import owner_of, router

PREFIX = "/api/temporary"


def temporary_router(chats: TemporaryChats) -> APIRouter:
    async def keep(request: Request) -> str:
        """Whoever is new is given a value to come back with. It is written nowhere."""
        asking = asking_of(request)
        asking.hand_out()
        await chats.welcome(asking.visitor.owner)
        return asking.visitor.owner

    routes = router(chats.service, LiveAnswers(chats.generations), chats.book, prefix=PREFIX, keep=keep)

    @routes.post("/conversations/{id}/here")
    async def here(request: Request, id: str) -> dict[str, Any]:
        await chats.still_open(owner_of(request), id)
        return {}

    @routes.delete("/conversations/{id}")
    async def close(request: Request, id: str) -> dict[str, Any]:
        await chats.close(owner_of(request), id)
        return {}

    return routes
