"""Users, their organisations and tokens, and what each may do."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.responses import JSONResponse, Response

from .wire import Call, HubError, Route

Role = Literal["none", "read", "write"]


@dataclass(frozen=True)
class Org:
    """A membership: `role` is admin, write or read; `plan` is None, "team" or "enterprise"."""

    name: str
    role: str = "write"
    plan: str | None = None


@dataclass(frozen=True)
class User:
    name: str
    orgs: tuple[Org, ...] = ()
    is_pro: bool = False

    @property
    def id(self) -> str:
        return object_id(f"user:{self.name}")

    def role_in(self, namespace: str) -> str | None:
        if namespace == self.name:
            return "admin"
        return next((org.role for org in self.orgs if org.name == namespace), None)


@dataclass(frozen=True)
class Token:
    """A credential. `role` "none" identifies its owner and opens nothing private (OAuth with `openid profile`)."""

    value: str = field(repr=False)
    user: User
    role: Role
    label: str
    created_at: float
    scopes: tuple[str, ...] = ()

    def can_read(self, namespace: str) -> bool:
        return self.role != "none" and self.user.role_in(namespace) is not None

    def can_write(self, namespace: str) -> bool:
        return self.role == "write" and self.user.role_in(namespace) in {"admin", "write"}


def object_id(name: str) -> str:
    """A stable 24-digit id, as the Hub gives to every user, organisation and repository."""
    return hashlib.sha256(name.encode()).hexdigest()[:24]


def stamp(seconds: float) -> str:
    """Unix seconds as the Hub writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Accounts:
    """Who there is. Tokens live in memory; a revoked one is refused from the next request on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._users: dict[str, User] = {}
        self._tokens: dict[str, Token] = {}

    def add_user(self, name: str, orgs: Iterable[Org | str] = (), is_pro: bool = False) -> User:
        memberships = tuple(Org(org) if isinstance(org, str) else org for org in orgs)
        user = User(name, memberships, is_pro)
        with self._lock:
            self._users[name] = user
            for value, token in self._tokens.items():
                if token.user.name == name:
                    self._tokens[value] = replace(token, user=user)
        return user

    def add_token(
        self,
        name: str,
        role: Role = "write",
        value: str | None = None,
        label: str = "loopback",
        scopes: Iterable[str] = (),
    ) -> Token:
        value = value or f"hf_{secrets.token_hex(17)}"
        token = Token(value, self.user(name), role, label, self._clock(), tuple(scopes))
        with self._lock:
            self._tokens[value] = token
        return token

    def user(self, name: str) -> User:
        try:
            return self._users[name]
        except KeyError:
            raise HubError(404, f"There is no user {name}; add one with add_user.") from None

    def users(self) -> list[User]:
        with self._lock:
            return list(self._users.values())

    def namespaces(self) -> set[str]:
        return {user.name for user in self.users()} | {org.name for user in self.users() for org in user.orgs}

    def revoke(self, value: str) -> None:
        with self._lock:
            self._tokens.pop(value, None)

    def authenticate(self, authorization: str | None) -> Token | None:
        """The token of an `Authorization: Bearer` header, None without one. Raises 401 on one that is not known.

        Basic credentials (an OAuth client's) are left to the route that asks for them.
        """
        if not authorization or authorization.lower().startswith("basic "):
            return None
        with self._lock:
            token = self._tokens.get(authorization.partition(" ")[2].strip())
        if token is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token


def whoami(call: Call) -> Response:
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    user, token = call.token.user, call.token
    return JSONResponse(
        {
            "type": "user",
            "id": user.id,
            "name": user.name,
            "fullname": user.name,
            "isPro": user.is_pro,
            "canPay": False,
            "emailVerified": True,
            "avatarUrl": f"{call.hub.endpoint}/avatars/{user.id}.svg",
            "orgs": [_whoami_org(call, org) for org in user.orgs],
            "auth": {
                "type": "oauth" if token.scopes else "access_token",
                "accessToken": {"displayName": token.label, "role": token.role, "createdAt": stamp(token.created_at)},
            },
        }
    )


def _whoami_org(call: Call, org: Org) -> dict[str, Any]:
    return {
        "type": "org",
        "id": object_id(f"org:{org.name}"),
        "name": org.name,
        "fullname": org.name,
        "roleInOrg": org.role,
        "plan": org.plan,
        "canPay": False,
        "isEnterprise": org.plan == "enterprise",
        "avatarUrl": f"{call.hub.endpoint}/avatars/{org.name}.svg",
    }


ROUTES: list[Route] = [("GET", "/api/whoami-v2", whoami)]
