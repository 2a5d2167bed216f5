"""Which repository a request names, and whether its sender may do that there."""

from __future__ import annotations

from .accounts import Token
from .repos import KINDS, Kind, Repo, Settings, not_found
from .wire import Call, HubError


def kind_of(call: Call) -> Kind:
    return KINDS[call.params.get("kind") or call.params.get("prefix") or "models"]


def may_read(token: Token | None, repo: Repo, settings: Settings) -> bool:
    return not settings.private or (token is not None and token.can_read(repo.namespace))


def for_reading(call: Call) -> Repo:
    """The repository of the route. As on the Hub, one that is private does not exist for those who may not read it."""
    repo = call.hub.repos.find(kind_of(call), call.params["repo"])
    if repo is None or not may_read(call.token, repo, repo.settings()):
        raise hidden(call)
    return repo


def for_content(call: Call) -> Repo:
    """The same, and its files: the gate of a gated repository stands here."""
    repo = for_reading(call)
    settings = repo.settings()
    if settings.gated and not _past_gate(call.token, repo, settings):
        raise HubError(
            401 if call.token is None else 403,
            f"Access to {repo.kind} {repo.id} is restricted. Ask for access on its page.",
            code="GatedRepo",
        )
    return repo


def _past_gate(token: Token | None, repo: Repo, settings: Settings) -> bool:
    if token is None or token.role == "none":
        return False
    return token.can_read(repo.namespace) or settings.access.get(token.user.name, {}).get("status") == "accepted"


def for_writing(call: Call) -> Repo:
    repo = for_reading(call)
    check_namespace(call, repo.namespace)
    return repo


def named_for_writing(call: Call, kind: Kind, repo_id: str) -> Repo:
    """A repository that the body names instead of the path."""
    repo = call.hub.repos.find(kind, repo_id)
    if repo is None or not may_read(call.token, repo, repo.settings()):
        raise hidden(call)
    check_namespace(call, repo.namespace)
    return repo


def check_namespace(call: Call, namespace: str) -> Token:
    """The sender's token, if it may write there."""
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    if not call.token.can_write(namespace):
        raise HubError(403, f"Forbidden: you don't have the rights to write under the namespace {namespace}")
    return call.token


def hidden(call: Call, message: str = "Repository not found") -> HubError:
    if call.token is None:
        return HubError(401, "Invalid username or password.", code="RepoNotFound")
    return not_found(message)
