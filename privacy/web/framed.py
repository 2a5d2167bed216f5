"""A yes is given on a page that people can see: not inside a frame of a site that could cover it.

Whether a page is framed, and by whom, only the browser knows, up to the top. So the page asks for a token by loading
`/privacy/unframed` in a hidden frame of its own. That answer's `frame-ancestors` names who may stand above it: this
app, the Hub, `ALLOWED_ORIGINS`. Below anybody else the browser does not show it, the page has no token, and no yes is
taken without one. A script of a framed page cannot fetch it either: `Sec-Fetch-Dest` must be that of a document.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import HTMLResponse

from chat.visitors.visitor import Forbidden

LIFETIME = 600.0  # seconds for which a token is taken
DOCUMENTS = ("document", "iframe", "frame")


class Unframed:
    """Makes and checks the tokens. They are good until the app restarts; the page gets a new one for each yes."""

    def __init__(self, clock: Callable[[], float], origins: tuple[str, ...] = ()) -> None:
        """`origins`: who may frame the page, besides itself."""
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self.ancestors = " ".join(("'self'", *origins))

    def token(self) -> str:
        until = str(int(self._clock() + LIFETIME))
        return f"{until}.{self._mark(until)}"

    def holds(self, token: str) -> bool:
        until, _, mark = token.partition(".")
        return hmac.compare_digest(mark.encode(), self._mark(until).encode()) and int(until) >= self._clock()

    def page(self, request: Request) -> HTMLResponse:
        """The hidden document. Raises `Forbidden` for what asks for it in another way than by showing it."""
        if request.headers.get("sec-fetch-dest", "document") not in DOCUMENTS:
            raise Forbidden("This is a document of the Privacy page's own; open that page.")
        headers = {"Content-Security-Policy": f"frame-ancestors {self.ancestors}", "Cache-Control": "no-store"}
        return HTMLResponse(f'<!doctype html><body data-token="{self.token()}"></body>', headers=headers)

    def _mark(self, until: str) -> str:
        return hmac.new(self._secret, until.encode(), hashlib.sha256).hexdigest()
