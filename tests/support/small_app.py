"""The account routes and the middleware over a store with one made-up turn per POST: no engine, Gradio if asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request

from chat.conversation import SamplingParams
from chat.db import Database
from chat.store import Author, Store
from chat.visitors.asking import WhoIsAsking, answer_refusals, keep_owner, visitor_of
from chat.visitors.oauth import Provider, SignIn
from chat.visitors.sessions import Sessions, hub_whoami
from chat.web.account import account_routes
from tests.support.provider import CLIENT_ID, CLIENT_SECRET

HERE, THERE, FRIEND = "http://parley.test", "https://evil.test", "https://friend.test"
OURS = {"X-Parley": "1"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SmallApp:
    """`browser()` gives a new browser with its own cookies; `statements` are the writes, in order."""

    app: FastAPI
    sessions: Sessions
    db: Database
    clock: Clock
    outside: httpx.AsyncClient
    address: str = HERE
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    def browser(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        browser = httpx.AsyncClient(transport=transport, base_url=self.address, headers=headers)
        self.browsers.append(browser)
        return browser

    async def count(self, table: str) -> int:
        return await self.db.read(lambda db: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    async def aclose(self) -> None:
        for client in (*self.browsers, self.outside):
            await client.aclose()
        self.db.close()


def small_app(
    directory: Path,
    provider_url: str | None = None,
    secure: bool = False,
    public_host: str | None = None,
    blocks: Any = None,
) -> SmallApp:
    """`provider_url`: of an `IdentityProvider`; None: sign-in is not set up. `blocks`: mounted below, as the app does."""
    db, clock = Database.open(directory), Clock()
    store = Store(db, clock)
    sessions = Sessions(db, clock, hub_whoami(provider_url or "http://127.0.0.1:9"))
    outside = httpx.AsyncClient()
    provider = Provider.of(
        provider_url or "", CLIENT_ID if provider_url else None, CLIENT_SECRET, ("openid", "profile")
    )
    sign_in = SignIn(provider, clock) if provider else None
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    answer_refusals(app)
    app.include_router(account_routes(sessions, sign_in, secure, public_host))

    @app.post("/api/turns")
    async def send(request: Request) -> dict[str, str]:
        author = Author("starter", None, SamplingParams())
        owner = await keep_owner(request)
        found, _, running = await store.begin_turn(owner, None, "made up", author, "", "page")
        await store.finish_turn(running.id, "an answer", "done", "stop")
        return {"id": found.id}

    @app.get("/api/conversations")
    async def conversations(request: Request) -> dict[str, list[str]]:
        items, _ = await store.conversations(visitor_of(request).owner)
        return {"items": [item.id for item in items]}

    @app.get("/api/visitor")
    async def visitor(request: Request) -> dict[str, Any]:
        who = visitor_of(request)
        return {"owner": who.owner, "via": who.via, "new": who.new_session, "name": who.account and who.account.name}

    if blocks is not None:
        import gradio as gr

        gr.mount_gradio_app(app, blocks, path="/", run_history=False, ssr_mode=False)
    app.add_middleware(
        WhoIsAsking, sessions=sessions, allowed_origins=(FRIEND,), secure=secure, public_host=public_host
    )
    address = HERE.replace("http:", "https:") if secure else HERE
    return SmallApp(app, sessions, db, clock, outside, address)


async def signed_in(
    small: SmallApp, provider: Any, name: str, browser: httpx.AsyncClient | None = None
) -> httpx.AsyncClient:
    """`browser` (default: a new one) after signing in as `name`."""
    browser = browser or small.browser()
    provider.user = name
    leave = await browser.get("/login")
    back = await small.outside.get(leave.headers["location"])
    done = await browser.get(back.headers["location"])
    assert done.status_code == 303, done.text
    return browser
