"""Consent changes only by an explicit consent action: over every route of the app and every Gradio handler, whatever fields
are there, missing, of another type or in another place, nothing but the one complete yes writes a grant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.settings import Settings
from privacy import policy
from tests.support.hub import LoopbackHub
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider
from tests.support.scripted_engine import ScriptedEngine
from tests.support.serving import serving
from tests.support.sharing_stage import MODELS, Person
from tests.test_authorisation import build_in_a_loop, handlers_of, routes_of

TEXT = ("recipient", "policy_version", "policy_hash", "language", "age_affirmed", "purposes", "unframed")
# Route -> the kind of text that its yes is to, and every field of it.
YES = {
    ("POST", "/api/privacy/grant"): ("consent", TEXT),
    ("POST", "/api/privacy/grant-api"): ("api", (*TEXT, "own_text")),
    ("POST", "/api/privacy/conversation"): ("share", (*TEXT, "id", "choice", "answers")),
}
COERCED = (
    None,
    "",
    "false",
    "true",
    "no",
    "yes",
    "on",
    0,
    1,
    -1,
    [],
    {},
    [True],
    {"a": True},
    "null",
    1.5,
    False,
    True,
)


class Everything:
    """The app, one person signed in, and a valid value for every field that any route takes."""

    def __init__(self, app: Any, url: str, provider: IdentityProvider, database: str) -> None:
        self.app, self.url, self.provider, self.database = app, url, provider, database
        self.client = httpx.Client()
        self.routes = sorted(set(routes_of(app.routes)))
        self.handlers = len(handlers_of(app))
        self.sign_in()
        self.id = self.answer = ""

    def set_up(self) -> None:
        """Signed in, with a conversation: whatever the request before has ended is there again."""
        if not self.signed_in():
            self.sign_in()
        if not self.id or self.client.get(f"/api/conversations/{self.id}").status_code != 200:
            self.id = self.person.say("hello, heron")
            self.answer = self.person.get("preview", conversation=self.id)["rows"][0]["answers"][0]

    def sign_in(self) -> None:
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "X-Parley": "1"}
        self.client.close()
        client = self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self.provider.user = "ada"
        back = httpx.get(client.get("/login").headers["location"])
        assert client.get(back.headers["location"]).status_code == 303
        self.person = Person(client)
        # So that there is somebody to speak of, who has said no.
        assert self.person.post("withdraw", {"recipient": None}).status_code == 200

    def fields(self, kind: str) -> dict[str, Any]:
        """Everything valid, under every name; the yes among it is to `kind` of text."""
        agreed = self.person.agreement()
        if kind != "consent":
            state = {found["name"]: found for found in self.person.get("state")["recipients"]}
            shown = self.person.get("preview", conversation=self.id)["texts"].get("acme")
            text = shown if kind == "share" else state["acme"]["api"]["policy"]
            agreed |= {"policy_version": text["version"], "policy_hash": text["sha256"]} if text else {}
        return {
            **agreed, "id": self.id, "choice": "share", "answers": [self.answer],
            "conversation": self.id, "text": "hello", "model": "lab/large", "params": {}, "system_prompt": "Share it all.",
            "title": "a title", "name": "a key", "row": "0" * 32, "close": True, "about": "0" * 32, "own_text": True, "reason": "x", "contact": "",
            "data": ["hello", None, None, None, None, None, None, None, None], "fn_index": 0, "session_hash": "abc",
            "consent": True, "share": True, "sharing": "on", "kind": "grant", "state": "granted", "policy": True,
        }  # fmt: skip

    def signed_in(self) -> bool:
        return self.client.get("/api/me").json()["signed_in"]

    def grants(self) -> int:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM consent_events WHERE kind = 'grant'").fetchone()[0]

    def is_a_yes(self, route: tuple[str, str], body: Any, kind: str) -> bool:
        """Whether this is the one complete yes of its route."""
        if route not in YES or not isinstance(body, dict):
            return False
        needed, wanted = YES[route]
        valid = self.fields(needed)
        whole = set(body) == set(wanted) and kind == needed
        return whole and all(name == "unframed" or _same(body[name], valid[name]) for name in wanted)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (sorted(one) == sorted(other) if isinstance(one, list) else one == other)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    folder = tmp_path_factory.mktemp("everything")
    with LoopbackHub(folder / "hub") as hub, ScriptedEngine() as engine, IdentityProvider() as provider:
        (folder / "models.yaml").write_text(MODELS.format(url=engine.url))
        token = hub.add_user("host")
        found = Settings.from_env({
            "DATA_DIR": str(folder / "data"), "MODELS_FILE": str(folder / "models.yaml"), "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": token, "STORE_DATASET": "host/kept", "SHARE_NAMESPACE": "host", "SYNC_SECONDS": "1",
            "OAUTH_CLIENT_ID": CLIENT_ID, "OAUTH_CLIENT_SECRET": CLIENT_SECRET, "OPENID_PROVIDER_URL": provider.url,
        })  # fmt: skip
        app = build_in_a_loop(found)
        with serving(app) as url:
            everything = Everything(app, url, provider, str(folder / "data" / "parley.db"))
            yield everything
            everything.client.close()


@st.composite
def bodies(draw: st.DrawFn, valid: dict[str, Any], route: tuple[str, str]) -> Any:
    """Partial forms, extra fields, other types; often all but one field of what the route would take."""
    names = sorted(valid)
    yes = YES.get(route, ("", TEXT))[1]
    chosen = draw(st.one_of(st.just(list(yes)), st.lists(st.sampled_from(names), unique=True, max_size=12)))
    body = {name: valid[name] for name in chosen}
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        if draw(st.booleans()):
            body.pop(name, None)
        else:
            body[name] = draw(st.sampled_from([*COERCED, valid[name]]))
    return draw(st.sampled_from([body, body, body, body, [body], {"body": body}, {"agreed": body}, None]))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_nothing_but_the_complete_yes_is_one(everything: Everything, data: st.DataObject):
    everything.set_up()
    route = data.draw(st.one_of(st.sampled_from(everything.routes), st.sampled_from(sorted(YES))), label="route")
    kind = data.draw(st.sampled_from(["consent", "share", "api"]))
    valid = everything.fields(kind)
    body = data.draw(bodies(valid, route), label="body")
    where = data.draw(st.sampled_from(["json", "json", "json", "form", "query"]))
    before = everything.grants()
    everything.person.post("pause", {})
    status = _send(everything, route, body, where)
    grew = everything.grants() - before
    if route != ("POST", "/api/privacy/resume"):
        # Nothing else lets sharing go on either, not even a yes.
        assert not everything.signed_in() or everything.person.get("state")["paused"], (route, where, body)
    if grew:
        assert status == 200 and where == "json" and everything.is_a_yes(route, body, kind), (route, where, body)
        everything.person.post("withdraw", {"recipient": None})


def _send(everything: Everything, route: tuple[str, str], body: Any, where: str) -> int:
    method, path = route
    for name, value in {"id": everything.id, "version": "0"}.items():
        path = path.replace("{" + name + "}", value)
    while "{" in path:
        path = path.partition("{")[0] + "x" + path.partition("}")[2]
    pairs = {name: str(value) for name, value in body.items()} if isinstance(body, dict) else {}
    sent = {"json": {"json": body}, "form": {"data": pairs}, "query": {"params": pairs}}[where]
    with everything.person.client.stream(method, path, **sent) as answer:
        return answer.status_code


def test_the_complete_yes_is_one(everything: Everything):
    """Guards the guard: what the property above leaves out of account does write a grant."""
    everything.set_up()
    before = everything.grants()
    everything.person.post("resume", {"unframed": everything.person.unframed()})
    everything.person.grant()
    assert everything.grants() == before + 1
    everything.person.post("withdraw", {"recipient": None})
    for made, (route, (kind, wanted)) in enumerate(YES.items(), 2):
        valid = everything.fields(kind)
        body = {name: valid[name] for name in wanted}
        assert everything.is_a_yes(route, body, kind) and _send(everything, route, body, "json") == 200
        assert everything.grants() == before + made
    everything.person.post("withdraw", {"recipient": None})
    assert sorted(valid["purposes"]) == sorted(policy.PURPOSES)


def test_signing_in_and_taking_over_what_the_browser_left_is_no_yes(everything: Everything):
    everything.set_up()
    before = everything.grants()
    with httpx.Client(base_url=everything.url, headers=everything.person.client.headers, timeout=30) as client:
        nobody = Person(client)
        nobody.say("from before signing in")
        everything.provider.user = "eve"
        back = httpx.get(client.get("/login").headers["location"])
        client.get(back.headers["location"])
        assert client.post("/api/offers/claim", json={**everything.fields("consent")}).json() == {"moved": 1}
        assert all(found["state"] == "unset" for found in nobody.get("state")["recipients"])
    assert everything.grants() == before
