"""The authorisation matrix: every route and every Gradio endpoint of the running app, tried by everybody.

A new route fails `test_every_route_has_a_row` until it has a row in `MATRIX`, a new Gradio handler until it has one in
`ENDPOINTS`. A row says which status each actor gets:

    owner      signed in, and the conversation is theirs            other   signed in as somebody else
    anonymous  no credentials at all                                forged  a cookie this server did not make
    foreign    the owner's own cookie, sent by another site's page

Whatever the status, an answer to anybody but the owner never holds the owner's text or title, and what is the owner's
is the same afterwards.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from gradio.routes import App as GradioApp
from starlette.routing import BaseRoute, Mount

import app as parley
from chat.settings import Settings
from chat.visitors.origins import OPEN_IN_GRADIO, cookie_name
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider
from tests.support.scripted_engine import ScriptedEngine
from tests.support.serving import serving

SECRET_TEXT = "zebra marmalade 4711"
FOREIGN = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
ACTORS = ("other", "anonymous", "forged", "foreign", "owner")  # the owner last: that may change what is there


@dataclass(frozen=True)
class Row:
    """The status that each actor gets for `method path`. `{conversation}`, `{answer}`: the owner's, new for each row; `{temporary}`: one that is kept
    nowhere."""

    method: str
    path: str
    owner: int
    other: int
    anonymous: int
    forged: int
    foreign: int = 403
    json: dict[str, Any] | None = None
    fill: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def all_may(method: str, path: str, status: int = 200, **more: Any) -> Row:
    """Everybody gets the same, of their own or of nobody's."""
    return Row(method, path, status, status, status, status, **more)


def owner_only(method: str, path: str, status: int = 200, **more: Any) -> Row:
    """For everybody else it does not exist."""
    return Row(method, path, status, 404, 404, 404, **more)


def account_only(method: str, path: str, status: int = 200, other: int | None = None, **more: Any) -> Row:
    """Whoever is signed in, for what is theirs."""
    return Row(method, path, status, other or status, 401, 401, **more)


def closed(method: str, path: str, **more: Any) -> Row:
    """Nobody: Parley does not use this route of Gradio's."""
    return Row(method, path, 404, 404, 404, 404, **more)


TEMPORARY, TEMPORARY_ANSWER = {"id": "{temporary}"}, {"id": "{temporary answer}"}
CONVERSATION, ANSWER, KEY = {"id": "{conversation}"}, {"id": "{answer}"}, {"id": "{key}"}

AGREED = {
    "recipient": "nobody",
    "policy_version": "1",
    "policy_hash": "0" * 64,
    "age_affirmed": True,
    "purposes": ["training"],
    "language": "en",
    "unframed": "none",
}

MATRIX: tuple[Row, ...] = (
    # Who am I
    all_may("GET", "/api/me"),
    all_may("GET", "/login", 302),
    all_may("GET", "/login/callback", 400),
    all_may("POST", "/logout"),
    account_only("POST", "/api/offers/claim"),
    account_only("POST", "/api/offers/decline"),
    account_only("GET", "/api/keys"),
    account_only("POST", "/api/keys", json={"name": "a key"}),
    account_only("DELETE", "/api/keys/{id}", other=404, fill=KEY),
    # Conversations
    all_may("POST", "/api/turns", json={"text": "hello"}),
    owner_only("POST", "/api/turns", json={"text": "hello", "conversation": "{conversation}"}),
    owner_only("POST", "/api/answers/{id}/retry", json={}, fill=ANSWER),
    owner_only("GET", "/api/answers/{id}/live", fill=ANSWER),
    owner_only("POST", "/api/answers/{id}/stop", fill=ANSWER),
    owner_only("POST", "/api/answers/{id}/continue", 409, fill=ANSWER),  # it is complete
    owner_only("POST", "/api/messages/{id}/choose", fill=ANSWER),
    owner_only("PUT", "/api/answers/{id}/feedback", json={"rating": "up"}, fill=ANSWER),
    owner_only("DELETE", "/api/answers/{id}/feedback", fill=ANSWER),
    all_may("GET", "/api/conversations"),
    owner_only("GET", "/api/conversations/{id}", fill=CONVERSATION),
    owner_only("PATCH", "/api/conversations/{id}", json={"title": "new"}, fill=CONVERSATION),
    owner_only("DELETE", "/api/conversations/{id}", fill=CONVERSATION),
    all_may("DELETE", "/api/conversations"),
    owner_only("POST", "/api/conversations/delete", json={"ids": ["{conversation}"]}),
    all_may("POST", "/api/deletions/{id}/undo", 404, fill={"id": "{random}"}),  # another's: tests/test_lists.py
    all_may("POST", "/api/search", json={"query": SECRET_TEXT}),
    all_may("GET", "/api/retention"),
    all_may("PUT", "/api/retention", json={"days": 30}),
    all_may("GET", "/api/deletions"),
    Row("GET", "/api/operator", 403, 403, 401, 401),
    Row("GET", "/operator", 403, 403, 401, 401),
    Row("GET", "/operator/decisions", 403, 403, 401, 401),
    Row("GET", "/api/operator/decisions", 403, 403, 401, 401),
    Row("POST", "/api/operator/confirm", 403, 403, 401, 401, json={"rows": 21}),
    Row("POST", "/api/operator/reports", 403, 403, 401, 401, json={"report": "0" * 32, "decision": "upheld"}),
    # Temporary chats
    all_may("POST", "/api/temporary/turns", json={"text": "hello"}),
    owner_only("POST", "/api/temporary/turns", json={"text": "hello", "conversation": "{temporary}"}),
    owner_only("POST", "/api/temporary/answers/{id}/retry", json={}, fill=TEMPORARY_ANSWER),
    owner_only("POST", "/api/temporary/answers/{id}/continue", 409, fill=TEMPORARY_ANSWER),
    owner_only("GET", "/api/temporary/answers/{id}/live", fill=TEMPORARY_ANSWER),
    owner_only("POST", "/api/temporary/answers/{id}/stop", fill=TEMPORARY_ANSWER),
    owner_only("POST", "/api/temporary/messages/{id}/choose", fill=TEMPORARY_ANSWER),
    owner_only("GET", "/api/temporary/conversations/{id}", fill=TEMPORARY),
    owner_only("POST", "/api/temporary/conversations/{id}/here", fill=TEMPORARY),
    owner_only("DELETE", "/api/temporary/conversations/{id}", fill=TEMPORARY),
    all_may("GET", "/api/models"),
    all_may("GET", "/api/defaults"),
    all_may("PUT", "/api/defaults", json={"model": "parley-starter", "params": {}}),
    all_may("DELETE", "/api/defaults", query={"model": "parley-starter"}),
    all_may("GET", "/api/status"),
    # Consent. Sharing is not set up on this stage: who may ask is told that there is nobody to agree with.
    all_may("GET", "/api/privacy/state"),
    all_may("GET", "/api/privacy/shared"),
    all_may("GET", "/api/privacy/chip"),
    owner_only("GET", "/api/privacy/chip", query={"conversation": "{conversation}"}),
    owner_only("GET", "/api/privacy/preview", query={"conversation": "{conversation}"}),
    account_only("POST", "/api/privacy/grant", 404, json=AGREED),
    account_only("POST", "/api/privacy/withdraw", json={"recipient": None}),
    account_only("POST", "/api/privacy/grant-api", 404, json={**AGREED, "own_text": True}),
    account_only("POST", "/api/privacy/withdraw-api", json={"recipient": "nobody"}),
    owner_only("POST", "/api/privacy/conversation", json={"id": "{conversation}", "choice": "private"}),
    owner_only("POST", "/api/privacy/conversation", 404, json={"id": "{conversation}", "choice": "share", "answers": ["{answer}"], **AGREED}),
    account_only("POST", "/api/privacy/remove", 404, json={"row": "{random}"}),
    all_may("GET", "/api/privacy/everything.zip"),
    account_only("POST", "/api/privacy/pause", json={}),
    account_only("POST", "/api/privacy/resume", 403, json={"unframed": "none"}),
    account_only("POST", "/api/privacy/close", 422, json={"close": False}),
    all_may("POST", "/api/takedown", 422, json={"about": "", "reason": "", "contact": ""}),
    all_may("GET", "/takedown"),
    # Pages and files that are the same for everybody
    all_may("GET", "/models"),
    all_may("GET", "/about"),
    all_may("GET", "/privacy"),
    all_may("GET", "/privacy/unframed"),
    all_may("GET", "/terms"),
    all_may("GET", "/static/parley/{version}/{path:path}", 404, fill={"version": "0", "path": "none.js"}),
    all_may("GET", "/static/privacy/{version}/{path:path}", 404, fill={"version": "0", "path": "none.js"}),
    all_may("GET", "/"),
    all_may("HEAD", "/"),
    all_may("GET", "/config"),
    all_may("GET", "/config/"),
    all_may("GET", "/openapi.json"),
    all_may("GET", "/theme.css"),
    all_may("GET", "/robots.txt"),
    all_may("GET", "/favicon.ico"),
    all_may("GET", "/pwa_icon"),
    all_may("GET", "/pwa_icon/{size}", fill={"size": "64"}),
    all_may("GET", "/manifest.json"),
    all_may("GET", "/static/{path:path}", fill={"path": "img/logo.svg"}),
    all_may("GET", "/assets/{path:path}", 404, fill={"path": "none.js"}),
    # Gradio's, as far as the page and gradio_client use them
    all_may("GET", "/gradio_api/info"),
    all_may("GET", "/gradio_api/info/"),
    all_may("GET", "/gradio_api/openapi.json"),
    all_may("GET", "/gradio_api/startup-events"),
    all_may("GET", "/gradio_api/app_id"),
    all_may("GET", "/gradio_api/app_id/"),
    all_may("GET", "/gradio_api/theme.css"),
    all_may("GET", "/gradio_api/heartbeat/{session_hash}", fill={"session_hash": "{random}"}),
    # A `session_hash` is whose page it is, as far as Gradio knows: nothing of an owner may ever be behind it.
    all_may("GET", "/gradio_api/queue/data", query={"session_hash": "{random}"}),
    all_may("POST", "/gradio_api/queue/join", 422, json={}),
    all_may("POST", "/gradio_api/cancel", 422, json={}),
    all_may("POST", "/gradio_api/reset", 422, json={}),
    all_may("POST", "/gradio_api/reset/", 422, json={}),
    all_may("POST", "/gradio_api/run/{api_name}", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/run/{api_name}/", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/api/{api_name}", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/api/{api_name}/", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/call/{api_name}", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/call/{api_name}/", 422, json={}, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/call/v2/{api_name}", 422, json=None, fill={"api_name": "chat"}),
    all_may("POST", "/gradio_api/call/v2/{api_name}/", 422, json=None, fill={"api_name": "chat"}),
    all_may("GET", "/gradio_api/call/{api_name}/{event_id}", fill={"api_name": "chat", "event_id": "{random}"}),
    all_may("GET", "/gradio_api/call/v2/{api_name}/{event_id}", fill={"api_name": "chat", "event_id": "{random}"}),
    # Gradio's, closed
    closed("POST", "/login"),
    closed("POST", "/login/"),
    closed("GET", "/logout"),
    closed("GET", "/svelte/{path:path}", fill={"path": "svelte.js"}),
    closed("GET", "/monitoring"),
    closed("GET", "/monitoring/summary"),
    closed("GET", "/monitoring/{key}", fill={"key": "{random}"}),
    *(
        closed(method, f"/gradio_api/{path}", fill=dict.fromkeys(("id", "environment", "type", "file_name"), "server"))
        for method, paths in {
            "GET": (
                "user", "user/", "login_check", "login_check/", "token", "token/", "dev/reload", "runs", "runs/",
                "deep_link", "custom_component/{id}/{environment}/{type}/{file_name}", "queue/status", "upload_progress",
                "vibe-code", "vibe-code/",
            ),
            "POST": (
                "component_server", "component_server/", "upload", "process_recording", "vibe-edit", "vibe-edit/",
                "undo-vibe-edit", "undo-vibe-edit/", "vibe-code", "vibe-code/", "vibe-starter-queries",
                "vibe-starter-queries/",
            ),
        }.items()
        for path in paths
    ),
    *(closed(method, "/gradio_api/file={path_or_url:path}", fill={"path_or_url": "app.py"}) for method in ("GET", "HEAD")),
    *(closed(method, "/gradio_api/proxy={url_path:path}", fill={"url_path": "http://a.test"}) for method in ("GET", "HEAD")),
    closed("GET", "/gradio_api/file/{path:path}", fill={"path": "app.py"}),
    closed("POST", "/gradio_api/stream/{event_id}", fill={"event_id": "{random}"}),
    closed("POST", "/gradio_api/stream/{event_id}/close", fill={"event_id": "{random}"}),
    *(
        closed("GET", f"/gradio_api/stream/{{session_hash}}/{{run}}/{{component_id}}/{name}", fill={
            "session_hash": "{random}", "run": "1", "component_id": "1", "segment_id": "a", "ext": "ts",
        })
        for name in ("playlist.m3u8", "{segment_id}.{ext}", "playlist-file")
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """A Gradio handler, by its API name (or its function's, where it has none), and inputs that it accepts.

    `joins`: the status of asking for it, per actor but "foreign", which is 403 always. What it answers to anybody but
    the owner must not hold what is the owner's.
    """

    name: str
    data: tuple[Any, ...] = ()
    joins: int = 200


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("chat", ("hello", None, None, None, None, None, None, None, None)),
    Endpoint("models"),
)


# What the app has


def routes_of(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route, those of mounted apps and included routers too. HEAD beside GET is the same row."""
    for route in routes:
        below = getattr(route, "routes", None)
        if below is None:
            below = getattr(getattr(route, "original_router", None), "routes", None)
        path = re.sub(
            r"^/static/(parley|privacy)/[0-9a-f]+", r"/static/\1/{version}", prefix + getattr(route, "path", "")
        )
        if below:
            yield from routes_of(below, path)
        elif isinstance(route, Mount):
            yield "GET", path + "/{path:path}"
        else:
            methods = set(getattr(route, "methods", None) or {"WEBSOCKET"})
            yield from ((method, path) for method in sorted(methods - ({"HEAD"} if "GET" in methods else set())))


def blocks_of(app: Any) -> Any:
    """The Gradio Blocks mounted in `app`."""
    (found,) = [route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, GradioApp)]
    return found.get_blocks()


def handlers_of(app: Any) -> dict[str, int]:
    """Index by name of every Gradio handler that runs on the server; one that is JavaScript alone has no `fn`."""
    return {fn.api_name or fn.name: index for index, fn in blocks_of(app).fns.items() if fn.fn is not None}


# The stage


class Stage:
    """The running app and its actors. Each has made up their mind about who they are."""

    def __init__(self, app: Any, url: str, provider: IdentityProvider) -> None:
        self.app, self.url, self.provider = app, url, provider
        self.owner = "ada"

    @contextmanager
    def actor(self, name: str) -> Iterator[httpx.Client]:
        """A browser page of `name`: signed in where they are, its headers those of our own page or of another's."""
        own = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "X-Parley": "1"}
        with httpx.Client(base_url=self.url, headers=own, timeout=30) as client:
            if name in ("owner", "foreign", "other"):
                self.provider.user = "bob" if name == "other" else self.owner
                leave = client.get("/login")
                back = httpx.get(leave.headers["location"])
                assert client.get(back.headers["location"]).status_code == 303
            if name == "forged":
                client.cookies.set(cookie_name(client.base_url.netloc.decode(), secure=False), "B" * 43)
            if name == "foreign":
                client.headers.update(FOREIGN)
            yield client

    def new_owner(self) -> None:
        """Another row, another owner: what one row leaves behind is not there for the next."""
        self.owner = f"ada-{secrets.token_hex(4)}"

    def property_of(self, owner: httpx.Client) -> dict[str, str]:
        """A finished conversation and a key of the owner's, and a value nobody has seen."""
        sent = owner.post("/api/turns", json={"text": SECRET_TEXT}).json()
        id, answer = sent["conversation"]["id"], sent["answer"]["id"]
        with owner.stream("GET", f"/api/answers/{answer}/live") as live:
            assert '"done"' in "".join(live.iter_text())
        brief = owner.post("/api/temporary/turns", json={"text": SECRET_TEXT}).json()
        temporary = {"temporary": brief["conversation"]["id"], "temporary answer": brief["answer"]["id"]}
        with owner.stream("GET", f"/api/temporary/answers/{brief['answer']['id']}/live") as live:
            assert '"done"' in "".join(live.iter_text())
        key = owner.post("/api/keys", json={"name": "mine"}).json()["key"]["id"]
        return {"conversation": id, "answer": answer, "key": key, "random": secrets.token_hex(8), **temporary}

    def what_is_kept(self, owner: httpx.Client, things: dict[str, str]) -> Any:
        """All that an actor could have changed of it."""
        conversation = owner.get(f"/api/conversations/{things['conversation']}").json()
        keys = [key["id"] for key in owner.get("/api/keys").json()["keys"]]
        choice = owner.get("/api/privacy/preview", params={"conversation": things["conversation"]}).json().get("choice")
        temporary = owner.get(f"/api/temporary/conversations/{things['temporary']}").json()
        return conversation, temporary, choice, things["key"] in keys


def send(client: httpx.Client, row: Row, things: dict[str, str]) -> tuple[int, str]:
    """The status and the first part of the answer; an answer without an end is left after the part that tells."""

    def filled(text: str) -> str:
        for name, value in things.items():
            text = text.replace("{" + name + "}", value)
        return text

    path = row.path
    for name, value in row.fill.items():
        path = path.replace("{" + name + ":path}", value).replace("{" + name + "}", value)
    body = json.loads(filled(json.dumps(row.json))) if row.json is not None else None
    query = {name: filled(value) for name, value in row.query.items()}
    with client.stream(row.method, filled(path), json=body, params=query) as answer:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return answer.status_code, next(answer.iter_text(), "")
        return answer.status_code, answer.read().decode(errors="replace")


def join_and_follow(client: httpx.Client, index: int, data: tuple[Any, ...]) -> tuple[int, str]:
    """Ask for a Gradio handler as the page does: the status, and all that comes of it."""
    page = secrets.token_hex(8)
    joined = client.post("/gradio_api/queue/join", json={"fn_index": index, "data": list(data), "session_hash": page})
    if joined.status_code != 200:
        return joined.status_code, joined.text
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": page}) as events:
        return joined.status_code, "".join(events.iter_text())


def build_in_a_loop(settings: Settings) -> Any:
    """`app.build`, inside a running loop: outside one, each of Gradio's locks makes a loop that nobody closes."""

    async def build() -> Any:
        return parley.build(settings)

    return asyncio.run(build())


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with IdentityProvider() as provider, ScriptedEngine() as engine:
        settings = Settings.from_env({
            "DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "ENGINE_URL": engine.url + "/v1",
            "HF_ENDPOINT": provider.url,
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        })  # fmt: skip
        app = build_in_a_loop(settings)
        with serving(app) as url:
            yield Stage(app, url, provider)


def test_every_route_has_a_row(stage: Stage):
    """A new route is unreachable for this suite until somebody wrote down who may use it."""
    there, written = set(routes_of(stage.app.routes)), {(row.method, row.path) for row in MATRIX}
    assert sorted(there - written) == [], "routes without a row in MATRIX"
    assert sorted(written - there) == [], "rows without a route"


def test_every_gradio_endpoint_has_a_row(stage: Stage):
    """Private and unnamed handlers too: hidden endpoints are still callable."""
    there, written = set(handlers_of(stage.app)), {row.name for row in ENDPOINTS}
    assert sorted(there - written) == [], "Gradio handlers without a row in ENDPOINTS"
    assert sorted(written - there) == [], "rows without a handler"


def test_gradios_routes_are_open_exactly_where_a_row_says_so(stage: Stage):
    for row in MATRIX:
        if row.path.startswith("/gradio_api/"):
            path = row.path.replace("{", "").replace("}", "").replace(":path", "")
            assert bool(OPEN_IN_GRADIO.fullmatch(path)) == (row.owner != 404), row


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_everybody_gets_what_the_row_says_and_nothing_of_another(stage: Stage, row: Row):
    found: dict[str, int] = {}
    stage.new_owner()
    with stage.actor("owner") as owner:
        things = stage.property_of(owner)
        before = stage.what_is_kept(owner, things)
        for name in ACTORS:
            with stage.actor(name) as actor:
                found[name], text = send(actor, row, things)
            if name != "owner":
                assert SECRET_TEXT not in text, f"{name} read what is the owner's"
                assert stage.what_is_kept(owner, things) == before, f"{name} changed what is the owner's"
    assert found == {name: getattr(row, name) for name in ACTORS}


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row.name)
def test_every_gradio_handler_authorises(stage: Stage, row: Endpoint):
    index = handlers_of(stage.app)[row.name]
    stage.new_owner()
    with stage.actor("owner") as owner:
        things = stage.property_of(owner)
        before = stage.what_is_kept(owner, things)
        for name in ACTORS:
            with stage.actor(name) as actor:
                status, text = join_and_follow(actor, index, row.data)
            assert status == (403 if name == "foreign" else row.joins), (name, text)
            assert status != 200 or "process_completed" in text
            assert name == "owner" or SECRET_TEXT not in text
            assert stage.what_is_kept(owner, things) == before


@pytest.mark.parametrize(
    "path",
    ["//gradio_api/upload", "/gradio_api//upload", "/gradio_api/upload/", "/gradio_api/./upload", "/x/../gradio_api/upload",
     "/gradio_api/%75pload", "/GRADIO_API/upload", "/gradio_api/info/../upload", "/gradio_api/call/../upload"],
)  # fmt: skip
def test_a_closed_route_has_no_second_spelling(stage: Stage, path: str):
    with stage.actor("owner") as owner:
        request = owner.build_request("POST", "/", files={"files": ("a.txt", b"text")})
        request.url = request.url.copy_with(raw_path=path.encode())
        assert owner.send(request).status_code in (404, 405)


def test_gradio_reflects_no_origin(stage: Stage):
    """Gradio alone answers `Access-Control-Allow-Origin: <whoever>` with credentials."""
    for path in ("/", "/config", "/theme.css"):
        answer = httpx.get(stage.url + path, headers={"Origin": "https://evil.test", "Host": "parley.test"})
        assert answer.status_code in (200, 401)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
