"""Access requests of gated repositories, and discussions."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from . import access
from .accounts import Token, object_id, stamp
from .repos import Repo, Settings
from .wire import Call, HubError, Route, cursor, page

_REQUEST_PAGE = 100
_DISCUSSION_PAGE = 10


def ask(call: Call) -> Response:
    """What the button on a gated repository's page does. There is no call for it in the client."""
    repo, token = access.for_reading(call), _signed_in(call)
    with repo.changed() as settings:
        if not settings.gated:
            raise HubError(400, "The repository is not gated.")
        status = "accepted" if settings.gated == "auto" else "pending"
        settings.access.setdefault(token.user.name, {"status": status, "timestamp": stamp(call.hub.clock())})
    return JSONResponse({})


def requests(call: Call) -> Response:
    repo = access.for_writing(call)
    settings = repo.settings()
    _check_gated(settings)
    after = cursor(call)
    names = sorted(name for name, entry in settings.access.items() if entry["status"] == call.params["status"])
    names = [name for name in names if name > after]
    items = [_request(repo, name, settings.access[name]) for name in names[:_REQUEST_PAGE]]
    return page(call, items, names[_REQUEST_PAGE - 1] if len(names) > _REQUEST_PAGE else None)


def _request(repo: Repo, name: str, entry: dict[str, str]) -> dict[str, Any]:
    return {"requestId": _request_id(repo, name), "user": {"user": name, "fullname": name}, **entry}


def _request_id(repo: Repo, name: str) -> str:
    return object_id(f"access:{repo.kind}:{repo.id}:{name}")


def handle(call: Call) -> Response:
    """Accepts, rejects, or puts back among the pending ones."""
    repo, body = access.for_writing(call), call.json()
    status = body.get("status")
    if status not in {"accepted", "rejected", "pending"}:
        raise HubError(400, "The status must be accepted, rejected or pending.")
    with repo.changed() as settings:
        _check_gated(settings)
        by_id = {_request_id(repo, name): name for name in settings.access}
        name = by_id.get(str(body.get("requestId")), str(body.get("user")))
        entry = settings.access.get(name)
        if entry is None or entry["status"] == status:
            raise HubError(404, f"There is no request of {name} that is not {status} already.")
        entry["status"] = status
    return JSONResponse({})


def grant(call: Call) -> Response:
    repo, name = access.for_writing(call), str(call.json().get("user"))
    call.hub.accounts.user(name)  # 404 for one that does not exist
    with repo.changed() as settings:
        _check_gated(settings)
        if settings.access.get(name, {}).get("status") == "accepted":
            raise HubError(400, f"{name} has access already.")
        settings.access[name] = {"status": "accepted", "timestamp": stamp(call.hub.clock())}
    return JSONResponse({})


def _check_gated(settings: Settings) -> None:
    if not settings.gated:
        raise HubError(400, "The repository is not gated.")


def _signed_in(call: Call) -> Token:
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    return call.token


def open_discussion(
    call: Call, repo: Repo, settings: Settings, title: str, description: str = "", is_pull_request: bool = False
) -> dict[str, Any]:
    """Adds a discussion to the settings. Discussions and pull requests are numbered together, from 1."""
    author = _signed_in(call).user.name
    discussion = {
        "num": len(settings.discussions) + 1,
        "title": title,
        "author": {"name": author},
        "createdAt": stamp(call.hub.clock()),
        "status": "open",
        "isPullRequest": is_pull_request,
        "repo": {"name": repo.id, "type": repo.kind},
        "events": [],
    }
    if is_pull_request:
        discussion |= {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": []}
    if description:
        _add_event(call, discussion, "comment", _comment(call, description))
    settings.discussions.append(discussion)
    return discussion


def _add_event(call: Call, discussion: dict[str, Any], kind: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {
        "id": object_id(f"{discussion['repo']}:{discussion['num']}:{len(discussion['events'])}"),
        "type": kind,
        "createdAt": stamp(call.hub.clock()),
        "author": {"name": _signed_in(call).user.name},
        "data": data,
    }
    discussion["events"].append(event)
    return event


def _comment(call: Call, text: str) -> dict[str, Any]:
    return {
        "edited": False,
        "hidden": False,
        "latest": {"raw": text, "updatedAt": stamp(call.hub.clock())},
        "history": [],
    }


def discussions(call: Call) -> Response:
    found = access.for_reading(call).settings().discussions[::-1]  # newest first
    query = call.query
    if query.get("type") in {"discussion", "pull_request"}:
        found = [one for one in found if one["isPullRequest"] is (query["type"] == "pull_request")]
    if query.get("status") in {"open", "closed"}:
        found = [one for one in found if one["status"] == query["status"]]
    if "author" in query:
        found = [one for one in found if one["author"]["name"] == query["author"]]
    start = int(query.get("p", 0)) * _DISCUSSION_PAGE
    shown = [{name: one[name] for name in one if name != "events"} for one in found[start : start + _DISCUSSION_PAGE]]
    return JSONResponse({"count": len(found), "start": start, "discussions": shown})


def create_discussion(call: Call) -> Response:
    repo, body = access.for_reading(call), call.json()
    title = str(body.get("title", ""))
    if not 3 <= len(title) <= 200:
        raise HubError(400, "A title has 3 to 200 characters.")
    if body.get("pullRequest"):
        raise HubError(400, "The loopback Hub opens pull requests with a commit only (create_pr=1).")
    with repo.changed() as settings:
        discussion = open_discussion(call, repo, settings, title, str(body.get("description") or ""))
    return JSONResponse({"num": discussion["num"], "url": f"{repo.url_path}/discussions/{discussion['num']}"})


def discussion_details(call: Call) -> Response:
    return JSONResponse(_discussion(access.for_reading(call).settings(), call))


def comment(call: Call) -> Response:
    repo, text = access.for_reading(call), str(call.json().get("comment", ""))
    with repo.changed() as settings:
        event = _add_event(call, _discussion(settings, call), "comment", _comment(call, text))
    return JSONResponse({"newMessage": event})


def change_status(call: Call) -> Response:
    repo, status = access.for_writing(call), call.json().get("status")
    if status not in {"open", "closed"}:
        raise HubError(400, "The status must be open or closed.")
    with repo.changed() as settings:
        discussion = _discussion(settings, call)
        discussion["status"] = status
        event = _add_event(call, discussion, "status-change", {"status": status})
    return JSONResponse({"newStatus": event})


def _discussion(settings: Settings, call: Call) -> dict[str, Any]:
    number = call.params["num"]
    for discussion in settings.discussions:
        if str(discussion["num"]) == number:
            return discussion
    raise HubError(404, f"There is no discussion {number}.")


ROUTES: list[Route] = [
    ("POST", "/{repo}/ask-access", ask),
    ("POST", "/{prefix}/{repo}/ask-access", ask),
    ("GET", "/api/{kind}/{repo}/user-access-request/{status}", requests),
    ("POST", "/api/{kind}/{repo}/user-access-request/handle", handle),
    ("POST", "/api/{kind}/{repo}/user-access-request/grant", grant),
    ("GET", "/api/{kind}/{repo}/discussions", discussions),
    ("POST", "/api/{kind}/{repo}/discussions", create_discussion),
    ("GET", "/api/{kind}/{repo}/discussions/{num}", discussion_details),
    ("POST", "/api/{kind}/{repo}/discussions/{num}/comment", comment),
    ("POST", "/api/{kind}/{repo}/discussions/{num}/status", change_status),
]
