"""Which requests may come in at all: whose page sent them, and which of Gradio's routes stand open.

A browser says whose page sent a request (`Origin`, else `Sec-Fetch-Site`); a page cannot change either. The host is the
one of the `Host` header, or `public_host` (a Space's `SPACE_HOST`). `X-Forwarded-*` is not read: a proxy that rewrites
`Host` needs its public origin in `ALLOWED_ORIGINS`. A request by another origin brings an API key or nothing: with a
cookie it is refused, whatever it asks for. Gradio, mounted below, reflects every origin; its CORS headers are dropped.

Gradio knows a page by a `session_hash` that the page draws itself, and hands that page's state and events to whoever
names it. Nothing private may therefore be kept in `gr.State` or returned to the page by a Gradio event: what belongs to
an owner goes over our own routes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from chat.visitors.visitor import Forbidden, NotSignedIn, NotThere

COOKIE = "parley"
SIGN_IN_COOKIE = "parley_sign_in"
HEADER = "x-parley-session"  # the session of a framed page that gets no cookie back
MARK = "x-parley"  # sent as "1" by our page alone: a form of another site cannot
SAFE = ("GET", "HEAD", "OPTIONS")

# What the page and the clients use. Anything else under /gradio_api/ reads or writes files, proxies, or shows what is
# another visitor's: upload, file=, deep_link, proxy=, stream, component_server, runs, run-history, dev, vibe-code ...
OPEN_IN_GRADIO = re.compile(
    r"/gradio_api/(info/?|openapi\.json|startup-events|app_id/?|theme\.css|queue/(join|data)|heartbeat/[^/]+|cancel"
    r"|reset/?|call/(v2/)?[^/]+/?([^/]+)?|(run|api)/[^/]+/?)"
)
CLOSED = re.compile(r"/(login/|logout/|monitoring(/.*)?|svelte/.*)")

Relation = Literal["own", "allowed", "foreign", "navigation", "unknown"]


@dataclass(frozen=True, slots=True)
class Head:
    """What the rules look at in a request. `cookie`, `header`, `bearer`: credentials as sent, unchecked."""

    method: str
    path: str
    headers: Mapping[str, str]
    cookie: str | None
    header: str | None
    bearer: str | None
    signing_in: bool
    cookie_name: str = COOKIE

    @classmethod
    def of(cls, scope: Mapping[str, Any], secure: bool = False) -> Head:
        headers: dict[str, str] = {}
        cookies: list[str] = []
        for name, value in scope["headers"]:
            if name == b"cookie":
                cookies.append(value.decode("latin-1"))
            else:
                headers[name.decode("latin-1")] = value.decode("latin-1")
        jar = [part.strip().partition("=") for part in ";".join(cookies).split(";")]
        ours = cookie_name(headers.get("host", ""), secure)
        values = {value for name, _, value in jar if name == ours}
        # Two different values: somebody planted one. Neither is believed.
        cookie = values.pop() if len(values) == 1 else "" if values else None
        path = scope["path"]
        root = scope.get("root_path", "").rstrip("/")
        return cls(
            method=scope["method"],
            path=path[len(root) :] if root and path.startswith(root + "/") else path,
            headers=headers,
            cookie=cookie,
            header=headers.get(HEADER),
            bearer=_bearer(headers.get("authorization")),
            signing_in=any(name == SIGN_IN_COOKIE for name, _, _ in jar),
            cookie_name=ours,
        )

    @property
    def carries_session(self) -> bool:
        return self.cookie is not None or self.header is not None or self.signing_in

    @property
    def from_gradio_client(self) -> str | None:
        """The Hub token that `gradio_client` adds by itself, from the user's own configuration."""
        return _bearer(self.headers.get("x-hf-authorization"))

    @property
    def is_preflight(self) -> bool:
        return self.method == "OPTIONS" and "access-control-request-method" in self.headers


class OriginRules:
    """`allowed`: origins (`https://example.org`) that are trusted like our own. `secure`: we are served over https."""

    def __init__(self, allowed: tuple[str, ...] = (), secure: bool = False, public_host: str | None = None) -> None:
        self.allowed = frozenset(filter(None, map(_normal, allowed)))
        self.secure = secure
        self.public_host = public_host

    def relation(self, head: Head) -> Relation:
        """Whose page sent this. "unknown": not a browser, or one too old to say."""
        site = head.headers.get("sec-fetch-site")
        if "origin" in head.headers:
            origin = _normal(head.headers["origin"])
            if origin in self.allowed:
                return "allowed"
            return "own" if self._is_own(origin, head) and site in (None, "same-origin", "none") else "foreign"
        if site is None:
            return "unknown"
        if site in ("same-origin", "none"):
            return "own"
        is_navigation = head.headers.get("sec-fetch-mode") == "navigate" and head.method in ("GET", "HEAD")
        return "navigation" if is_navigation else "foreign"

    def check(self, head: Head) -> Relation:
        """Raises `Forbidden`, `NotSignedIn` or `NotThere` for a request that must not reach the app."""
        relation = self.relation(head)
        if relation == "foreign":
            self._check_foreign(head)
        if _is_closed(head):
            raise NotThere("Parley does not use this route of Gradio's, so it is closed.")
        if head.method not in SAFE and not head.bearer:
            self._check_change(head, relation)
        return relation

    def cors(self, head: Head, relation: Relation) -> list[tuple[bytes, bytes]]:
        """The CORS headers of the answer. Only `ALLOWED_ORIGINS` may read what a cookie gives."""
        if "origin" not in head.headers:
            return []
        headers = [(b"vary", b"Origin")]
        may_ask = relation == "allowed" or (relation == "foreign" and (head.bearer or head.is_preflight))
        if not may_ask:
            return headers
        names = b"authorization, content-type, x-gradio-user"
        headers.append((b"access-control-allow-origin", head.headers["origin"].encode("latin-1")))
        if relation == "allowed":
            names += b", x-parley, x-parley-session"
            headers.append((b"access-control-allow-credentials", b"true"))
            headers.append((b"access-control-expose-headers", b"x-parley-session"))
        if head.is_preflight:
            headers.append((b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"))
            headers.append((b"access-control-allow-headers", names))
            headers.append((b"access-control-max-age", b"600"))
        return headers

    def _check_foreign(self, head: Head) -> None:
        if head.carries_session:
            raise Forbidden("Another site sent this request with your session, so it was refused.")
        if head.is_preflight:
            if not _is_api(head.path):
                raise Forbidden("Other sites may call the API with a key, and nothing else.")
        elif not head.bearer and (_is_api(head.path) or head.method not in SAFE):
            raise NotSignedIn("Other sites need an API key: send it as `Authorization: Bearer parley_...`.")

    def _check_change(self, head: Head, relation: Relation) -> None:
        if _is_gradio(head.path):
            if head.carries_session and relation not in ("own", "allowed"):
                raise Forbidden("This must come from the page itself: reload it and try again.")
        elif head.headers.get(MARK) != "1" and (head.carries_session or _is_ours(head.path)):
            raise Forbidden("Send the header `X-Parley: 1` with every change.")

    def _is_own(self, origin: str | None, head: Head) -> bool:
        scheme, _, host = (origin or "").partition("://")
        if scheme not in (("https",) if self.secure else ("http", "https")):
            return False
        ours = (head.headers.get("host"), self.public_host)
        return any(host == _normal(f"{scheme}://{name}").partition("://")[2] for name in ours if name)


def _normal(origin: str) -> str:
    """`scheme://host[:port]` in lower case, without the scheme's own port; "" for what is no origin ("null" too)."""
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{port}")


def cookie_name(host: str, secure: bool) -> str:
    """The name of the session's cookie at `host` (a `Host` header).

    Cookies ignore ports: on plain http, where several apps share one localhost, each has the port in its cookie's name.
    """
    port = None if secure else re.search(r":([0-9]{1,5})$", host)
    return f"{COOKIE}-{port[1]}" if port else COOKIE


def _bearer(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _is_gradio(path: str) -> bool:
    return "/gradio_api/" in path + "/"


def _is_ours(path: str) -> bool:
    return path.startswith("/api/") or path == "/logout"


def _is_api(path: str) -> bool:
    return _is_gradio(path) or path.startswith(("/api/", "/v1/")) or path in ("/config", "/config/")


def _is_closed(head: Head) -> bool:
    if _is_gradio(head.path):
        return not OPEN_IN_GRADIO.fullmatch(head.path)
    # Gradio has a password form at POST /login and its own GET /logout below ours.
    others = (head.path == "/login" and head.method not in SAFE) or (head.path == "/logout" and head.method != "POST")
    return others or bool(CLOSED.fullmatch(head.path))
