"""The route of what an owner deleted lately."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from chat.db import Database
from chat.purged import recent
from chat.visitors.asking import visitor_of


def router(db: Database, outlives: bool = True) -> APIRouter:
    """`outlives`: as in `routes.router`. What is kept in a folder goes with the machine, so nothing comes back without it."""
    routes = APIRouter(prefix="/api")

    @routes.get("/deletions")
    async def deletions(request: Request) -> dict[str, Any]:
        owner = visitor_of(request).owner
        items = [asdict(found) for found in await db.read(lambda c: recent(c, owner))]
        return {"items": [{**item, "survives": item["survives"] or not outlives} for item in items]}

    return routes
