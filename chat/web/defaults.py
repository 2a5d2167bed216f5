"""The routes of what a visitor's new conversations with a model begin with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from chat.defaults import OwnDefault, OwnDefaults
from chat.service import ChatService, check_params, check_system_prompt
from chat.visitors.asking import keep_owner, visitor_of


class NewDefault(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    params: dict[str, int | float | None]
    system_prompt: str = ""


def defaults_routes(defaults: OwnDefaults, service: ChatService) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.get("/defaults")
    async def mine(request: Request) -> dict[str, Any]:
        found = await defaults.of(visitor_of(request).owner)
        return {"defaults": {model: default.as_dict() for model, default in found.items()}}

    @routes.put("/defaults")
    async def use(request: Request, new: NewDefault) -> dict[str, Any]:
        entry = service.catalog.entry(new.model)
        default = OwnDefault(check_params(new.params, entry.defaults), check_system_prompt(new.system_prompt))
        await defaults.set(await keep_owner(request), entry.name, default)
        return {"default": default.as_dict()}

    @routes.delete("/defaults")
    async def forget(request: Request, model: str) -> dict[str, Any]:
        await defaults.forget(visitor_of(request).owner, model)
        return {"default": None}

    return routes
