"""Routes about the visitor: who am I, sign in and out, what an anonymous browser left, API keys."""

from __future__ import annotations

import html
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from chat.visitors.asking import asking_of, visitor_of
from chat.visitors.oauth import ATTEMPT_LIFETIME, SignIn, SignInFailed
from chat.visitors.origins import SIGN_IN_COOKIE
from chat.visitors.sessions import Sessions
from chat.visitors.visitor import Account, Forbidden, account_of

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in - Parley</title>
<style>:root{{color-scheme:light dark}}
body{{font:16px/1.6 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}}</style>
<p>{sentence}</p><p><a href="/">Back to Parley</a></p></html>
"""


class NewKey(BaseModel):
    """What to call an API key."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: str = Field(min_length=1, max_length=80)


def account_routes(
    sessions: Sessions, sign_in: SignIn | None, secure: bool = False, public_host: str | None = None
) -> APIRouter:
    """`sign_in`: None where it is not configured. `secure`, `public_host`: as the middleware has them."""
    router = APIRouter()
    router.include_router(visitor_routes(sessions, "/login" if sign_in else None))
    router.include_router(key_routes(sessions))
    router.include_router(sign_in_routes(sessions, sign_in, secure, public_host))
    return router


def visitor_routes(sessions: Sessions, sign_in_url: str | None) -> APIRouter:
    """Who am I, signing out, and what this browser left before it signed in."""
    router = APIRouter()

    @router.get("/api/me")
    async def me(request: Request) -> JSONResponse:
        """Who you are here. A newcomer's answer carries the value of a new session.

        `cookie: false` twice in a row means that no cookie comes back: ask once more with `X-Parley-Session: new`, and
        the answer's own `X-Parley-Session` is the value to keep in memory and send from then on.
        """
        asking = asking_of(request)
        asking.hand_out()
        visitor = asking.visitor
        offered = await sessions.offered(visitor.owner) if visitor.account else 0
        answer = {
            "signed_in": visitor.account is not None,
            "name": visitor.account.name if visitor.account else None,
            "sign_in_url": sign_in_url,
            "cookie": visitor.via == "cookie",
            "offer": {"conversations": offered} if offered else None,
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    @router.post("/logout")
    async def logout(request: Request) -> dict[str, Any]:
        """End this browser's session. An anonymous one cannot be had back."""
        asking = asking_of(request)
        if asking.token is not None:
            await sessions.sign_out(asking.token)
            asking.sets = "" if asking.carrier == "cookie" else None
        return {}

    @router.post("/api/offers/claim")
    async def claim(request: Request) -> dict[str, int]:
        """Move the anonymous conversations of this browser to the account."""
        return {"moved": await sessions.claim(_at_the_page(request).owner)}

    @router.post("/api/offers/decline")
    async def decline(request: Request) -> dict[str, Any]:
        """Ask no more about them; they are deleted 30 days after the last visit."""
        await sessions.decline(_at_the_page(request).owner)
        return {}

    return router


def key_routes(sessions: Sessions) -> APIRouter:
    """The account's API keys."""
    router = APIRouter()

    @router.get("/api/keys")
    async def keys(request: Request) -> dict[str, Any]:
        """The account's API keys, without their secrets."""
        return {"keys": [asdict(key) for key in await sessions.keys(_at_the_page(request).owner)]}

    @router.post("/api/keys")
    async def create_key(request: Request, wanted: NewKey) -> dict[str, Any]:
        """A new API key; its `secret` is shown this once."""
        secret, key = await sessions.create_key(_at_the_page(request).owner, wanted.name)
        return {"key": asdict(key), "secret": secret}

    @router.delete("/api/keys/{id}")
    async def revoke_key(request: Request, id: str) -> dict[str, Any]:
        """Revoke an API key of the account."""
        await sessions.revoke_key(_at_the_page(request).owner, id)
        return {}

    return router


def sign_in_routes(sessions: Sessions, sign_in: SignIn | None, secure: bool, public_host: str | None) -> APIRouter:
    """To Hugging Face and back."""
    router = APIRouter()

    @router.get("/login", include_in_schema=False)
    async def login(request: Request, next: str = "/") -> Response:
        """Send the browser to Hugging Face. Its own page, never in a frame: Hugging Face refuses to be framed."""
        try:
            if sign_in is None:
                raise SignInFailed("Sign-in is not set up here: the Space needs `hf_oauth: true` in its README.", 404)
            if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                raise SignInFailed("Sign-in starts on Parley's own page: open it and choose Sign in.", 403)
            host = public_host or request.headers.get("host", "")
            address = f"{'https' if secure else 'http'}://{host}/login/callback"
            target, browser = await sign_in.begin(address, next)
        except SignInFailed as failure:
            return _page(failure)
        answer = RedirectResponse(target, 302, headers={"Cache-Control": "no-store"})
        _bind(answer, browser, secure)
        return answer

    @router.get("/login/callback", include_in_schema=False)
    async def callback(request: Request) -> Response:
        """Hugging Face sends the browser back here."""
        asking = asking_of(request)
        try:
            if sign_in is None:
                raise SignInFailed("Sign-in is not set up here.", 404)
            user, after = await sign_in.finish(request.query_params, request.cookies.get(SIGN_IN_COOKIE))
        except SignInFailed as failure:
            return _page(failure)
        asking.sets = await sessions.sign_in(user, previous=asking.token)
        asking.carrier = "cookie"
        answer = RedirectResponse(after, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        _bind(answer, "", secure)
        return answer

    return router


def _at_the_page(request: Request) -> Account:
    """A key does not make keys, nor move conversations: whoever finds one must not be able to stay."""
    visitor = visitor_of(request)
    account = account_of(visitor)
    if visitor.via == "bearer":
        raise Forbidden("This is done on the page, signed in, and not with an API key.")
    return account


def _bind(answer: Response, value: str, secure: bool) -> None:
    """Lax, not Strict: it must come back when the provider's page sends the browser to the callback."""
    answer.set_cookie(
        SIGN_IN_COOKIE,
        value,
        max_age=int(ATTEMPT_LIFETIME) if value else 0,
        path="/login",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def _page(failure: SignInFailed) -> HTMLResponse:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
    return HTMLResponse(PAGE.format(sentence=html.escape(str(failure))), failure.status, headers=headers)
