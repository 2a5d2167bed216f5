"""The middleware that stands before everything, Gradio included, and says who sent a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat.visitors.origins import HEADER, Head, OriginRules
from chat.visitors.session_rows import LIFETIME, Carrier, Known, new_owner
from chat.visitors.sessions import Sessions
from chat.visitors.visitor import CannotCheck, Refused, TooLarge, TooSlow, Visitor, WrongKey, error_body

# The longest message that is taken, escaped letter by letter, and a system prompt beside it.
MOST_BYTES = 2_000_000
TOO_LARGE = f"This request is larger than {MOST_BYTES // 1_000_000} MB. Shorten or split it."
# uvicorn waits for a body for ever. This is a message of 100,000 letters at 20 kbit/s.
BODY_SECONDS = 60.0


class Asking:
    """One request: its visitor, and what its answer will carry back to the browser."""

    def __init__(
        self,
        sessions: Sessions,
        visitor: Visitor,
        carrier: Carrier,
        token: str | None = None,
        known: Known | None = None,
    ) -> None:
        self.visitor = visitor
        self.token = token  # the session's value, where it is ours
        self.carrier = carrier  # how a new value would travel
        self.sets: str | None = None  # the value the answer carries; "" takes the cookie away
        self._sessions = sessions
        self._known = known

    def hand_out(self) -> None:
        """Give a newcomer a value for the next request. Writes nothing."""
        if self.visitor.via == "none" and self.token is None:
            self.sets = self.token = self._new_value()

    async def keep(self) -> str:
        """The owner, who may own something from now on. Before the answer's first byte, or the browser never learns."""
        if self.visitor.new_session:
            self.hand_out()
            assert self.token is not None
            assert self._known is not None
            await self._sessions.keep(self.token, self._known)
        return self.visitor.owner

    def _new_value(self) -> str:
        token, self._known = self._sessions.hand_out(self.visitor.owner, self.carrier)
        return token


def asking_of(request: Any) -> Asking:
    """The `Asking` of a Starlette request, or of the `gr.Request` that a Gradio handler gets."""
    return (getattr(request, "request", None) or request).scope["parley.asking"]


def visitor_of(request: Any) -> Visitor:
    """Who sent `request`. Enough to read: somebody new owns nothing."""
    return asking_of(request).visitor


async def keep_owner(request: Any) -> str:
    """The id of the owner who sent `request`, for whom something is about to be written. Before the first byte."""
    return await asking_of(request).keep()


def caller_of(request: Any) -> str:
    """Whom a limit is for: the account, or without one the address, since a new session costs nothing.

    A private address is a proxy's, as on a Space: then it is the last public one that proxies saw. Whoever writes the
    header `X-Forwarded-For` writes before them.
    """
    asking, scope = asking_of(request), (getattr(request, "request", None) or request).scope
    if asking.visitor.account:
        return asking.visitor.owner
    address = scope["client"][0] if scope.get("client") else ""
    seen = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    if not _is_public(address):
        address = next((part for part in reversed(seen.replace(" ", "").split(",")) if _is_public(part)), address)
    return address


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def refusal(error: Refused) -> Response:
    """The answer to a request that is turned away."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, WrongKey) else {}
    if isinstance(error, TooSlow):
        headers["Connection"] = "close"
    return JSONResponse(error_body(error.code, str(error)), status_code=error.status, headers=headers)


def answer_refusals(app: FastAPI) -> None:
    """Have `Refused`, raised in any route of `app`, answered in the shape that all errors have."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal(error)

    app.add_exception_handler(Refused, refuse)


class WhoIsAsking:
    """ASGI middleware: refuses what must not come in, and knows who sent the rest (`visitor_of`).

    `secure`: served over https, as a Space is, so that the cookie works inside the Space's frame. `body_seconds`: what
    a body may take to arrive. No WebSockets.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        allowed_origins: tuple[str, ...] = (),
        secure: bool = False,
        public_host: str | None = None,
        body_seconds: float = BODY_SECONDS,
        owners_back: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.body_seconds = body_seconds
        self._owners_back = owners_back
        self.secure = secure
        self.rules = OriginRules(allowed_origins, secure, public_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = Head.of(scope, self.secure)
        cors: list[tuple[bytes, bytes]] = []
        asking: Asking | None = None

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._headers(message.get("headers", ()), cors, asking, head.cookie_name)
            await send(message)

        try:
            relation = self.rules.check(head)
            cors = self.rules.cors(head, relation)
            if head.is_preflight:
                await Response(status_code=204)(scope, receive, send_on)
                return
            if "content-length" in head.headers or "transfer-encoding" in head.headers:
                receive = await self._whole_body(head, receive)
            asking = await self._ask(head)
        except Refused as error:
            await refusal(error)(scope, receive, send_on)
            return
        # Not in the state: Gradio pickles that.
        scope["parley.asking"] = asking
        await self.app(scope, receive, send_on)

    async def _whole_body(self, head: Head, receive: Receive) -> Receive:
        """Read the body, which every route of ours and Gradio's wants whole; returns what gives it to the app.

        Raises `TooLarge`, by what is announced and by what comes, and `TooSlow`.
        """
        announced = head.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 12 or int(announced) > MOST_BYTES):
            raise TooLarge(TOO_LARGE)
        came: list[Message] = []
        size = 0
        try:
            async with asyncio.timeout(self.body_seconds):
                while not came or came[-1].get("more_body", False):
                    came.append(await receive())
                    size += len(came[-1].get("body", b""))
                    if size > MOST_BYTES:
                        raise TooLarge(TOO_LARGE)
        except TimeoutError:
            raise TooSlow("This request took too long to arrive. Try again, or send less at once.") from None
        came.reverse()

        async def again() -> Message:
            return came.pop() if came else await receive()

        return again

    async def _ask(self, head: Head) -> Asking:
        """Who it is. Whoever brings what nobody knows, on a disk that their owner is only being brought back to, is waited
        with: taken for somebody new, they would be given a new cookie in place of the one that opens what is theirs."""
        brings = head.cookie or head.header or head.bearer
        try:
            asking = await self._who(head)
            if self._owners_back is None or not brings or asking.visitor.via != "none":
                return asking
        except WrongKey:
            if self._owners_back is None:
                raise
        await self._owners_back()
        return await self._who(head)

    async def _who(self, head: Head) -> Asking:
        """The strongest credential counts: key, then header, then cookie. A key that is wrong is not passed over."""
        carrier: Carrier = "cookie" if head.header is None else "header"
        key = await self._key(head)
        if key is not None:
            return Asking(self.sessions, Visitor(key.owner, key.account, "bearer", False), carrier)
        value = head.cookie if head.header is None else head.header
        found = await self.sessions.session(value, carrier) if value else None
        if found is None and head.header is not None and head.cookie:
            # The page asks for a header's value because it saw no cookie come back; here is one after all.
            carrier, value = "cookie", head.cookie
            found = await self.sessions.session(value, carrier)
            carrier = carrier if found else "header"
        if found is None:
            return Asking(self.sessions, Visitor(new_owner(), None, "none", True), carrier)
        known, prolonged = found
        visitor = Visitor(known.owner, known.account, carrier, new_session=not known.kept)
        asking = Asking(self.sessions, visitor, carrier, value, known)
        asking.sets = value if prolonged and carrier == "cookie" else None
        return asking

    async def _key(self, head: Head) -> Known | None:
        if head.bearer is not None:
            return await self.sessions.bearer(head.bearer)
        implied = head.from_gradio_client
        if implied is None or head.carries_session:
            return None
        try:
            return await self.sessions.bearer(implied)
        except (WrongKey, CannotCheck):
            # gradio_client sends the token it finds on its machine without being asked: it must not lock anybody out.
            if implied.startswith("parley_"):
                raise
            return None

    def _headers(
        self, headers: Any, cors: list[tuple[bytes, bytes]], asking: Asking | None, cookie: str
    ) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")] + cors
        if asking is None or asking.sets is None:
            return kept
        # A value in an answer that a proxy keeps would be everybody's.
        kept = [(name, value) for name, value in kept if name.lower() != b"cache-control"]
        kept.append((b"cache-control", b"no-store"))
        if asking.carrier == "header":
            return [*kept, (HEADER.encode(), asking.sets.encode())]
        return [*kept, (b"set-cookie", session_cookie(cookie, asking.sets, self.secure).encode())]


def session_cookie(name: str, value: str, secure: bool) -> str:
    """The `Set-Cookie` header; an empty value takes the cookie away.

    Written by hand: `Partitioned`, which browsers ask for inside a frame, is refused by Starlette below Python 3.14.
    """
    life = int(LIFETIME) if value else 0
    where = "Secure; SameSite=None; Partitioned" if secure else "SameSite=Lax"
    return f"{name}={value}; Path=/; Max-Age={life}; HttpOnly; {where}"
