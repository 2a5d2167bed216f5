"""The route of what an owner deleted lately."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from chat.db import Database
from chat.purged import recent
from chat.visitors.asking import visitor_of


def router(db: Database) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.get("/deletions")
    async def deletions(request: Request) -> dict[str, Any]:
        owner = visitor_of(request).owner
        return {"items": [asdict(found) for found in await db.read(lambda c: recent(c, owner))]}

    return routes
