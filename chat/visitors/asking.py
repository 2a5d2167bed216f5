"""The middleware that stands before everything, Gradio included, and says who sent a request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat.visitors.origins import COOKIE, HEADER, Head, OriginRules
from chat.visitors.sessions import LIFETIME, Carrier, Known, Sessions, new_owner
from chat.visitors.visitor import CannotCheck, Refused, Visitor, WrongKey, error_body


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
            assert self.token is not None and self._known is not None
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


def refusal(error: Refused) -> Response:
    """The answer to a request that is turned away."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, WrongKey) else None
    return JSONResponse(error_body(error.code, str(error)), status_code=error.status, headers=headers)


def answer_refusals(app: FastAPI) -> None:
    """Have `Refused`, raised in any route of `app`, answered in the shape that all errors have."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal(error)

    app.add_exception_handler(Refused, refuse)


class WhoIsAsking:
    """ASGI middleware: refuses what must not come in, and puts a `Visitor` into `scope["state"]["visitor"]`.

    `secure`: served over https, as a Space is, so that the cookie works inside the Space's frame. No WebSockets.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        allowed_origins: tuple[str, ...] = (),
        secure: bool = False,
        public_host: str | None = None,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.secure = secure
        self.rules = OriginRules(allowed_origins, secure, public_host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = Head.of(scope)
        cors: list[tuple[bytes, bytes]] = []
        asking: Asking | None = None

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._headers(message.get("headers", ()), cors, asking)
            await send(message)

        try:
            relation = self.rules.check(head)
            cors = self.rules.cors(head, relation)
            if head.is_preflight:
                await Response(status_code=204)(scope, receive, send_on)
                return
            asking = await self._ask(head)
        except Refused as error:
            await refusal(error)(scope, receive, send_on)
            return
        scope.setdefault("state", {})["visitor"] = asking.visitor
        # Not in the state: Gradio pickles that.
        scope["parley.asking"] = asking
        await self.app(scope, receive, send_on)

    async def _ask(self, head: Head) -> Asking:
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
        self, headers: Any, cors: list[tuple[bytes, bytes]], asking: Asking | None
    ) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")] + cors
        if asking is None or asking.sets is None:
            return kept
        # A value in an answer that a proxy keeps would be everybody's.
        kept = [(name, value) for name, value in kept if name.lower() != b"cache-control"]
        kept.append((b"cache-control", b"no-store"))
        if asking.carrier == "header":
            return [*kept, (HEADER.encode(), asking.sets.encode())]
        return [*kept, (b"set-cookie", session_cookie(asking.sets, self.secure).encode())]


def session_cookie(value: str, secure: bool) -> str:
    """The `Set-Cookie` header; an empty value takes the cookie away.

    Written by hand: `Partitioned`, which browsers ask for inside a frame, is refused by Starlette below Python 3.14.
    """
    life = int(LIFETIME) if value else 0
    where = "Secure; SameSite=None; Partitioned" if secure else "SameSite=Lax"
    return f"{COOKIE}={value}; Path=/; Max-Age={life}; HttpOnly; {where}"
