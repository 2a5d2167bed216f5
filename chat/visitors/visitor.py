"""Who may be asking, and the ways to be turned away.

Refused                 a request is turned away; `str()` says why and what to do
+- NotSignedIn          it needs an account
+- WrongKey             the key it came with opens nothing
+- Forbidden            it may not, whoever asks
+- NotThere             no such route, or it is another owner's: the caller cannot tell which
+- CannotCheck          the Hub could not be asked about the token
+- TooLarge             its body is larger than anything Parley takes
+- TooSlow              its body took too long to arrive
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MANAGED_PLANS = ("team", "enterprise")


class Refused(Exception):
    """A request is turned away. `status` and `code` are for programs, `str(error)` is one sentence for people."""

    status, code = 400, "refused"


class NotSignedIn(Refused):
    status, code = 401, "not_signed_in"


class WrongKey(Refused):
    status, code = 401, "wrong_key"


class Forbidden(Refused):
    status, code = 403, "forbidden"


class NotThere(Refused):
    status, code = 404, "not_found"


class CannotCheck(Refused):
    status, code = 503, "hub_unreachable"


class TooLarge(Refused):
    status, code = 413, "too_large"


class TooSlow(Refused):
    status, code = 408, "too_slow"


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """The one shape of an error on every JSON route."""
    return {"error": {"code": code, "message": message}}


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation on the Hub. `managed`: on a team or enterprise plan, so it decides for its members."""

    id: str
    name: str
    managed: bool


@dataclass(frozen=True, slots=True)
class HubUser:
    """A Hugging Face user, as the Hub describes them now. `hub_id` outlives a change of name."""

    hub_id: str
    name: str
    orgs: tuple[Organisation, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """A Hugging Face user who has been here."""

    owner: str
    hub_id: str
    name: str
    orgs: tuple[Organisation, ...] = ()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request. `owner` is valid always; while `new_session`, nothing is kept for it and it owns nothing."""

    owner: str
    account: Account | None
    via: Literal["cookie", "header", "bearer", "none"]
    new_session: bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. Times are unix seconds."""

    id: str
    name: str
    created_at: float
    last_used_at: float | None


def account_of(visitor: Visitor) -> Account:
    """The visitor's account. Raises `NotSignedIn`."""
    if visitor.account is None:
        raise NotSignedIn("This needs an account: sign in with Hugging Face first.")
    return visitor.account


def hub_user(hub_id: Any, name: Any, orgs: Any) -> HubUser:
    """A user from what the Hub says, by `whoami-v2` or by OpenID's userinfo. Raises `ValueError` if it names nobody."""
    if not isinstance(hub_id, str) or not isinstance(name, str) or not hub_id or not name:
        raise ValueError("The Hub's answer names no user.")
    return HubUser(hub_id, name, tuple(_organisation(org) for org in orgs or ()))


def _organisation(org: Mapping[str, Any]) -> Organisation:
    managed = bool(org.get("isEnterprise")) or str(org.get("plan") or "").lower().startswith(MANAGED_PLANS)
    # `whoami-v2` calls the user name of an organisation `name`, OpenID calls it `preferred_username`.
    name = org.get("preferred_username") or org.get("name")
    return Organisation(str(org.get("id") or org.get("sub") or ""), str(name or ""), managed)
