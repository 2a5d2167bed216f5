"""Sign-in with Hugging Face: OpenID Connect's code flow with state and PKCE (RFC 6749, 7636; OpenID Connect Core 1.0).

The provider's token is used for one question, who this is, and dropped. The state is bound to the browser by a cookie
of ten minutes, is good for one use, and stays in this process: a restart during a sign-in means starting it again.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from cachetools import TTLCache

from chat.visitors.visitor import HubUser, hub_user

ATTEMPT_LIFETIME = 600.0  # seconds
DISCOVERED_EVERY = 3600.0  # seconds
PATIENCE = 10.0  # seconds, of each request to the provider
LARGEST_ANSWER = 1_000_000  # bytes


class SignInFailed(Exception):
    """Sign-in did not happen; `str(error)` says why and what to do. `status` is the page's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Provider:
    """Where to sign in, and as which client. A Space with `hf_oauth: true` is given all four as variables."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str

    @classmethod
    def of(cls, url: str, client_id: str | None, client_secret: str | None, scopes: tuple[str, ...]) -> Provider | None:
        """None where the id or the secret is missing: sign-in is then not offered."""
        return cls(url.rstrip("/"), client_id, client_secret, " ".join(scopes)) if client_id and client_secret else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in under way: which browser began it, what proves that to the provider, and where it wants to be after."""

    browser: bytes
    verifier: str
    redirect_uri: str
    after: str


@dataclass(frozen=True, slots=True)
class Endpoints:
    authorize: str
    token: str
    userinfo: str


class SignIn:
    """The attempts under way with one provider. `begin`, send the browser away, `finish` when it is back."""

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self.provider = provider
        self._tls = httpx.create_ssl_context()
        self._attempts: TTLCache[bytes, Attempt] = TTLCache(10_000, ATTEMPT_LIFETIME, timer=clock)
        self._endpoints: TTLCache[str, Endpoints] = TTLCache(1, DISCOVERED_EVERY, timer=clock)

    async def begin(self, redirect_uri: str, after: str) -> tuple[str, str]:
        """Where to send the browser, and the value of the cookie that binds it. Raises `SignInFailed`."""
        endpoints = await self._discover()
        state, browser, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        self._attempts[_hash(state)] = Attempt(_hash(browser), verifier, redirect_uri, own_path(after))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.provider.scopes,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in endpoints.authorize else "?"
        return endpoints.authorize + joint + urlencode(query), browser

    async def finish(self, query: Mapping[str, str], browser: str | None) -> tuple[HubUser, str]:
        """Who signed in, and the own path to go on to. An attempt is used up, whatever comes of it.

        Raises `SignInFailed`.
        """
        state, code = query.get("state"), query.get("code")
        if not state:
            raise SignInFailed("This address is where Hugging Face sends you after signing in; start from the page.")
        attempt = self._attempts.get(_hash(state))
        # Another browser's attempt is not used up by guessing at it.
        if attempt is None or not browser or _hash(browser) != attempt.browser:
            raise SignInFailed(
                "This sign-in was not started in this browser within the last ten minutes, or was finished already: "
                "start it again."
            )
        self._attempts.pop(_hash(state), None)
        if query.get("error"):
            raise SignInFailed("You were not signed in, because Hugging Face was not allowed to say who you are.")
        if not code:
            raise SignInFailed("Hugging Face sent no code with its answer: start the sign-in again.")
        return await self._ask_who(code, attempt), attempt.after

    async def _ask_who(self, code: str, attempt: Attempt) -> HubUser:
        endpoints = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": self.provider.client_id,
        }
        client = httpx.BasicAuth(self.provider.client_id, self.provider.client_secret)
        granted = await self._json("POST", endpoints.token, data=form, auth=client)
        token = granted.get("access_token")
        if not isinstance(token, str) or not token:
            raise SignInFailed("Hugging Face did not accept the sign-in: start it again.", 502)
        who = await self._json("GET", endpoints.userinfo, headers={"Authorization": f"Bearer {token}"})
        try:
            return hub_user(who.get("sub"), who.get("preferred_username"), who.get("orgs"))
        except (ValueError, AttributeError, TypeError):
            raise SignInFailed("Hugging Face did not say who you are: start the sign-in again.", 502) from None

    async def _discover(self) -> Endpoints:
        known = self._endpoints.get("")
        if known is not None:
            return known
        found = await self._json("GET", f"{self.provider.url}/.well-known/openid-configuration")
        addresses = [found.get(name) for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")]
        scheme = urlsplit(self.provider.url).scheme
        if not all(isinstance(address, str) and urlsplit(address).scheme in ("https", scheme) for address in addresses):
            raise SignInFailed("Hugging Face cannot sign anybody in right now: try again later.", 502)
        self._endpoints[""] = endpoints = Endpoints(*map(str, addresses))
        return endpoints

    async def _json(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=PATIENCE, verify=self._tls) as client:
                answer = await client.request(method, url, **request)
            if answer.status_code != 200 or len(answer.content) > LARGEST_ANSWER:
                status = answer.status_code
                raise SignInFailed(f"Hugging Face did not accept the sign-in ({status}): start it again.", 502)
            said = answer.json()
        except (httpx.HTTPError, ValueError):
            raise SignInFailed("Hugging Face could not be reached: try to sign in again later.", 502) from None
        if not isinstance(said, dict):
            raise SignInFailed("Hugging Face answered with something unexpected: start the sign-in again.", 502)
        return said


def own_path(path: str | None) -> str:
    """`path` if it is one of ours to return to, otherwise "/". Never another host, and never sign-in itself."""
    if not path or not path.startswith("/") or path[1:2] in ("/", "\\") or path.startswith(("/login", "/logout")):
        return "/"
    if any(ord(letter) < 33 or ord(letter) > 126 or letter == "\\" for letter in path):
        return "/"
    return path


def _hash(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
