"""What goes over the wire: one request read whole, the Hub's errors, the route table, paging, ranges."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from .accounts import Token
    from .server import LoopbackHub

Handler = Callable[["Call"], Response]
Route = tuple[str, str, Handler]

# Pieces of a route's pattern; segments are matched before percent-decoding, as `refs%2Fpr%2F1` is one segment.
_PIECES = {
    "kind": "models|datasets|spaces",
    "prefix": "datasets|spaces",
    "repo": "[^/]+/[^/]+",
    "rest": ".*",
}


class HubError(Exception):
    """An answer of the Hub that is not a success.

    `code` goes out as `X-Error-Code`, which is what huggingface_hub chooses its exception by
    (`RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = body or {}

    def response(self) -> Response:
        # A header is Latin-1 and one line; the body has the message as it is.
        told = self.message.replace("\n", " ").encode("ascii", "replace").decode()
        headers = {"X-Error-Message": told, **self.headers}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message, **self.body}, self.status, headers=headers)


class Redirect(Exception):
    """The repository has moved; the same request is answered at another path."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"{old} has moved to {new}.")
        self.old = old
        self.new = new


@dataclass(frozen=True)
class Call:
    """One request, its body read completely, and who sent it (`token` is None for a stranger)."""

    hub: LoopbackHub
    request: Request
    params: dict[str, str]
    body: bytes
    token: Token | None

    @property
    def query(self) -> dict[str, str]:
        return dict(self.request.query_params)

    def query_list(self, name: str) -> list[str]:
        params = self.request.query_params
        return params.getlist(name) + params.getlist(f"{name}[]")

    def flag(self, name: str) -> bool:
        return self.request.query_params.get(name, "").lower() in {"1", "true"}

    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise HubError(400, "The body is not JSON.") from None
        if not isinstance(value, dict):
            raise HubError(400, "The body is not a JSON object.")
        return value

    def form(self) -> dict[str, list[str]]:
        """The body as a form, or as the JSON object that the same client might have sent."""
        if self.request.headers.get("content-type", "").startswith("application/json"):
            return {k: v if isinstance(v, list) else [v] for k, v in self.json().items()}
        return parse_qs(self.body.decode(), keep_blank_values=True)


def page(call: Call, items: Sequence[dict[str, Any]], following: str | None) -> Response:
    """A page of a list; `following` is the cursor at which the next page starts, None on the last."""
    headers = {}
    if following is not None:
        cursor = base64.urlsafe_b64encode(following.encode()).decode()
        query = [(k, v) for k, v in call.request.query_params.multi_items() if k != "cursor"] + [("cursor", cursor)]
        path = call.request.scope["raw_path"].decode()
        headers["Link"] = f'<{call.hub.endpoint}{path}?{urlencode(query)}>; rel="next"'
    return JSONResponse(list(items), headers=headers)


def cursor(call: Call) -> str:
    """The cursor of this page; empty on the first."""
    try:
        return base64.urlsafe_b64decode(call.query.get("cursor", "")).decode()
    except ValueError:
        raise HubError(400, "Invalid cursor.") from None


def ranged(call: Call, content: bytes, headers: dict[str, str]) -> Response:
    """`content`, or the part of it that a `Range: bytes=a-b` asks for."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.request.headers.get("range", ""))
    if wanted is None or wanted.groups() == ("", ""):
        return Response(content, headers=headers, media_type="application/octet-stream")
    first, last = wanted.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    end = min(int(last), len(content) - 1) if first and last else len(content) - 1
    if start > end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Response(content[start : end + 1], 206, headers=headers, media_type="application/octet-stream")


def _compile(pattern: str) -> re.Pattern[str]:
    def piece(found: re.Match[str]) -> str:
        return f"(?P<{found[1]}>{_PIECES.get(found[1], '[^/]+')})"

    return re.compile(re.sub(r"\{(\w+)\}", piece, pattern))


class Router:
    """Runs the first route whose method and path match; each handler runs in a worker thread.

    Once a request is read, its handler runs to the end, whether or not the client still listens:
    a commit whose answer is lost has been applied.
    """

    def __init__(self, hub: LoopbackHub, routes: Sequence[Route], own_tokens: bool = True) -> None:
        """own_tokens: whether requests come with the Hub's tokens and are counted; the second port's are not."""
        self._hub = hub
        self._own_tokens = own_tokens
        self._routes = [(method, _compile(pattern), handler) for method, pattern, handler in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        response = await run_in_threadpool(self._answer, request, body)
        await response(scope, receive, send)

    def _answer(self, request: Request, body: bytes) -> Response:
        path = request.scope["raw_path"].decode()
        limited: dict[str, str] = {}
        try:
            token = None
            if self._own_tokens:
                token = self._hub.accounts.authenticate(request.headers.get("authorization"))
                user = token.user.name if token else ""
                limited = self._hub.limits.count_request(user, path)
                self._hub.guard.check(request, path, body, user)
            response = self._handle(request, path, body, token)
        except HubError as error:
            response = error.response()
        except Redirect as moved:
            query = request.scope["query_string"].decode()
            location = path.replace(moved.old, moved.new, 1) + (f"?{query}" if query else "")
            response = Response(status_code=307, headers={"Location": location})
        response.headers.update(limited)
        return response

    def _handle(self, request: Request, path: str, body: bytes, token: Token | None) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        for route_method, pattern, handler in self._routes:
            found = pattern.fullmatch(path) if route_method == method else None
            if found is not None:
                params = {k: unquote(v) for k, v in found.groupdict().items()}
                return handler(Call(self._hub, request, params, body, token))
        known = re.match(r"/(api/)?(models|datasets|spaces)/", path)
        raise HubError(404, "Not found.", code="RepoNotFound" if known else None)
