"""A small OpenID Connect provider on loopback that checks what a real one checks, and the Hub's `whoami-v2`.

with IdentityProvider() as provider:
    provider.user = "ada"            # who is signed in there, None: the visitor presses Cancel
    provider.url                     # OPENID_PROVIDER_URL, HF_ENDPOINT
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "parley-client", "parley-secret"


class IdentityProvider:
    """Signs `user` in at once. `requests` counts by path; `fault` makes every answer that status."""

    def __init__(self) -> None:
        self.user: str | None = "ada"
        self.orgs: list[dict[str, Any]] = []
        self.tokens: dict[str, str] = {}  # a user's own access tokens, for whoami-v2
        self.oauth_tokens: dict[str, str] = {}
        self.requests: dict[str, int] = {}
        self.fault: int | None = None
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> IdentityProvider:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def discovery(self) -> dict[str, str]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "token_endpoint": f"{self.url}/oauth/token",
            "userinfo_endpoint": f"{self.url}/oauth/userinfo",
        }

    def authorize(self, query: dict[str, str]) -> tuple[int, str]:
        """(302, where to) or (400, why)."""
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            return 400, "unknown client"
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            return 400, "PKCE is required"
        if not query.get("state") or "openid" not in query.get("scope", "").split():
            return 400, "state and the scope openid are required"
        answer = {"state": query["state"]}
        if self.user is None:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = {**query, "user": self.user}
        return 302, query["redirect_uri"] + "?" + urlencode(answer)

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        value = "hf_oauth_" + secrets.token_urlsafe(16)
        self.oauth_tokens[value] = asked["user"]
        return 200, {"access_token": value, "token_type": "bearer", "expires_in": 3600}

    def userinfo(self, value: str) -> tuple[int, dict[str, Any]]:
        user = self.oauth_tokens.get(value)
        if user is None:
            return 401, {"error": "invalid_token"}
        orgs = [{"sub": org["id"], "preferred_username": org["name"], "plan": org.get("plan")} for org in self.orgs]
        return 200, {"sub": f"id-of-{user}", "preferred_username": user, "name": user.title(), "orgs": orgs}

    def whoami(self, value: str) -> tuple[int, dict[str, Any]]:
        user = self.tokens.get(value) or self.oauth_tokens.get(value)
        if user is None:
            return 401, {"error": "Invalid credentials in Authorization header"}
        kind = "oauth" if value in self.oauth_tokens else "access_token"
        return 200, {"type": "user", "id": f"id-of-{user}", "name": user, "orgs": self.orgs, "auth": {"type": kind}}

    def _handler(provider) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.answer({name: values[0] for name, values in parse_qs(body).items()})

            def answer(self, form: dict[str, str]) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                authorization = self.headers.get("Authorization", "")
                bearer = authorization.removeprefix("Bearer ")
                provider.requests[parts.path] = provider.requests.get(parts.path, 0) + 1
                routes = {
                    "/.well-known/openid-configuration": lambda: (200, provider.discovery()),
                    "/oauth/authorize": lambda: provider.authorize(query),
                    "/oauth/token": lambda: provider.token(form, authorization),
                    "/oauth/userinfo": lambda: provider.userinfo(bearer),
                    "/api/whoami-v2": lambda: provider.whoami(bearer),
                }
                route = routes.get(parts.path, lambda: (404, {"error": "not found"}))
                status, body = route() if provider.fault is None else (provider.fault, {"error": "fault"})
                content = json.dumps(body).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", str(body))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        return Handler
