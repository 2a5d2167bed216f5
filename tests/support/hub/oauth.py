"""The Hub as an OAuth provider: the authorization code flow, with PKCE and with a client secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlencode

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from .accounts import Accounts, Org, Role, User, object_id
from .wire import Call, HubError, Route

_CODE_LIFETIME = 600  # seconds
_TOKEN_LIFETIME = 28_800  # seconds; told, not enforced: tests revoke
_WRITE = {"write-repos", "manage-repos", "contribute-repos"}


@dataclass(frozen=True)
class Client:
    """A registered app. `secret` None: a public one, for which PKCE is required."""

    id: str
    secret: str | None
    redirect_uris: tuple[str, ...]


@dataclass(frozen=True)
class _Grant:
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str | None
    user: str
    expires: float


class OAuth:
    """Clients, codes, and who answers the consent page.

    `answer` decides what `/oauth/authorize` does: None shows the consent page to a person, "refuse" sends the
    browser back with `access_denied`, any other value consents at once as the user of that name.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        self.answer: str | Literal["refuse"] | None = None
        self._accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._grants: dict[str, _Grant] = {}

    def add_client(self, client_id: str, secret: str | None, redirect_uris: Iterable[str]) -> Client:
        client = Client(client_id, secret, tuple(redirect_uris))
        self._clients[client_id] = client
        return client

    def client(self, client_id: str, redirect_uri: str) -> Client:
        client = self._clients.get(client_id)
        if client is None:
            raise HubError(400, "invalid_client: this client id is not registered.")
        if redirect_uri not in client.redirect_uris:
            raise HubError(400, "invalid_request: this redirect_uri is not registered for the client.")
        return client

    def grant(self, query: dict[str, str], user: str) -> str:
        code = secrets.token_urlsafe(24)
        scopes = tuple(query.get("scope", "openid profile").split())
        expires = self._clock() + _CODE_LIFETIME
        with self._lock:
            self._grants[code] = _Grant(
                query["client_id"], query["redirect_uri"], scopes, query.get("code_challenge"), user, expires
            )
        return code

    def redeem(self, form: dict[str, str], client_id: str, secret: str | None) -> dict[str, Any]:
        """The answer of the token endpoint. A code is spent by its first use, right or wrong."""
        client = self._clients.get(client_id)
        if client is None or (client.secret is not None and not hmac.compare_digest(client.secret, secret or "")):
            raise _oauth_error(401, "invalid_client")
        with self._lock:
            grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or grant.client_id != client_id or grant.expires < self._clock():
            raise _oauth_error(400, "invalid_grant")
        if grant.redirect_uri != form.get("redirect_uri"):
            raise _oauth_error(400, "invalid_grant")
        if (grant.challenge or client.secret is None) and _challenge(form.get("code_verifier", "")) != grant.challenge:
            raise _oauth_error(400, "invalid_grant")
        role: Role = "write" if _WRITE & set(grant.scopes) else "read" if "read-repos" in grant.scopes else "none"
        value = f"hf_oauth_{secrets.token_hex(20)}"
        self._accounts.add_token(grant.user, role, value, label=client_id, scopes=grant.scopes)
        return {
            "access_token": value,
            "token_type": "bearer",
            "expires_in": _TOKEN_LIFETIME,
            "scope": " ".join(grant.scopes),
        }


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _oauth_error(status: int, error: str) -> HubError:
    return HubError(status, error, body={"error": error})


def authorize(call: Call) -> Response:
    query = call.query
    call.hub.oauth.client(query.get("client_id", ""), query.get("redirect_uri", ""))
    if query.get("response_type") != "code" or query.get("code_challenge_method", "S256") != "S256":
        return _back(query, error="invalid_request")
    answer = call.hub.oauth.answer
    if answer is None:
        return HTMLResponse(_consent_page(call.hub.accounts.users(), query))
    return _answered(call, query, answer)


def consent(call: Call) -> Response:
    """What the consent page's buttons send."""
    form = {name: values[0] for name, values in call.form().items()}
    answer = form.pop("answer", "refuse")
    call.hub.oauth.client(form.get("client_id", ""), form.get("redirect_uri", ""))
    return _answered(call, form, answer)


def _answered(call: Call, query: dict[str, str], answer: str) -> Response:
    if answer == "refuse":
        return _back(query, error="access_denied")
    user = call.hub.accounts.user(answer)
    return _back(query, code=call.hub.oauth.grant(query, user.name))


def _back(query: dict[str, str], **answer: str) -> Response:
    if "state" in query:
        answer["state"] = query["state"]
    separator = "&" if "?" in query["redirect_uri"] else "?"
    return RedirectResponse(f"{query['redirect_uri']}{separator}{urlencode(answer)}", 303)


def _consent_page(users: list[User], query: dict[str, str]) -> str:
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in query.items()
    )
    buttons = "".join(
        f'<p><button name="answer" value="{html.escape(user.name)}">Continue as {html.escape(user.name)}</button></p>'
        for user in users
    )
    scopes = html.escape(query.get("scope", "openid profile"))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Authorize</title>'
        '<body style="font: 1rem/1.6 sans-serif; max-width: 30rem; margin: 4rem auto">'
        f"<h1>Loopback Hub</h1><p><b>{html.escape(query['client_id'])}</b> asks for: {scopes}.</p>"
        f'<form method="post" action="/oauth/authorize">{fields}{buttons}'
        '<p><button name="answer" value="refuse">Cancel</button></p></form></body></html>'
    )


def token(call: Call) -> Response:
    form = {name: values[0] for name, values in call.form().items()}
    if form.get("grant_type") != "authorization_code":
        raise _oauth_error(400, "unsupported_grant_type")
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    scheme, _, credentials = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(credentials).decode().partition(":")
        except ValueError:
            raise _oauth_error(401, "invalid_client") from None
        client_id, secret = unquote(name), unquote(password)
    return JSONResponse(call.hub.oauth.redeem(form, client_id, secret), headers={"Cache-Control": "no-store"})


def userinfo(call: Call) -> Response:
    if call.token is None or "openid" not in call.token.scopes:
        raise HubError(401, "invalid_token")
    user = call.token.user
    return JSONResponse(
        {
            "sub": user.id,
            "name": user.name,
            "preferred_username": user.name,
            "profile": f"{call.hub.endpoint}/{user.name}",
            "picture": f"{call.hub.endpoint}/avatars/{user.id}.svg",
            "website": "",
            "isPro": user.is_pro,
            "canPay": False,
            "orgs": [_org(call, org) for org in user.orgs],
        }
    )


def _org(call: Call, org: Org) -> dict[str, Any]:
    return {
        "sub": object_id(f"org:{org.name}"),
        "name": org.name,
        "preferred_username": org.name,
        "picture": f"{call.hub.endpoint}/avatars/{org.name}.svg",
        "isEnterprise": org.plan == "enterprise",
        "plan": org.plan,
        "canPay": False,
        "roleInOrg": org.role,
    }


def configuration(call: Call) -> Response:
    endpoint = call.hub.endpoint
    return JSONResponse(
        {
            "issuer": endpoint,
            "authorization_endpoint": f"{endpoint}/oauth/authorize",
            "token_endpoint": f"{endpoint}/oauth/token",
            "userinfo_endpoint": f"{endpoint}/oauth/userinfo",
            "scopes_supported": ["openid", "profile", "read-repos", "write-repos", "manage-repos"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "subject_types_supported": ["public"],
            "claims_supported": ["sub", "name", "preferred_username", "profile", "picture", "website", "isPro", "orgs"],
        }
    )


ROUTES: list[Route] = [
    ("GET", "/\\.well-known/openid-configuration", configuration),
    ("GET", "/oauth/authorize", authorize),
    ("POST", "/oauth/authorize", consent),
    ("POST", "/oauth/token", token),
    ("GET", "/oauth/userinfo", userinfo),
    ("POST", "/oauth/userinfo", userinfo),
]
