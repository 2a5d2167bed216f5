"""What the page's tests stand on: the scripted routes answer in the same shape as the real app's."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.app_process import AppProcess
from tests.support.fake_backend import FakeBackend, Server

SLOW = "/stall after=2 one two three four"  # both stop in mid-answer


def shape(value: Any) -> Any:
    """The keys of an answer, at every depth. A list counts by its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else list
    return None


def walk(url: str) -> dict[str, Any]:
    """One visit over every route that the page asks, and the shape of each answer."""
    told: dict[str, Any] = {}
    with httpx.Client(base_url=url, headers={"X-Parley": "1"}, timeout=60) as client:

        def ask(name: str, method: str, path: str, body: Any = None) -> Any:
            answer = client.request(method, path, json=body)
            assert answer.status_code == (404 if name == "not found" else 200), (name, answer.text)
            told[name] = shape(answer.json())
            return answer.json()

        ask("me", "GET", "/api/me")
        models = ask("models", "GET", "/api/models")["models"]
        model = next(entry for entry in models if entry["default"])
        ask("status", "GET", f"/api/status?model={model['name']}")
        turn = {"conversation": None, "text": "Hello", "model": model["name"], "params": model["defaults"]}
        begun = ask("turn", "POST", "/api/turns", {**turn, "system_prompt": ""})
        id, answer = begun["conversation"]["id"], begun["answer"]["id"]
        told["done"] = shape(last_event(client, answer))
        again = ask("retry", "POST", f"/api/answers/{answer}/retry", {"model": model["name"], "params": {}})
        last_event(client, again["answer"]["id"])
        ask("stop", "POST", f"/api/answers/{again['answer']['id']}/stop", {})
        ask("choose", "POST", f"/api/messages/{again['answer']['id']}/choose", {})
        long = ask("long", "POST", "/api/turns", {**turn, "text": SLOW, "system_prompt": ""})["answer"]["id"]
        with client.stream("GET", f"/api/answers/{long}/live?at=0") as events:
            next(line for line in events.iter_lines() if '"at"' in line)
        ask("stop early", "POST", f"/api/answers/{long}/stop", {})
        ask("continue", "POST", f"/api/answers/{long}/continue", {})
        ask("stop again", "POST", f"/api/answers/{long}/stop", {})
        ask("list", "GET", "/api/conversations")
        ask("conversation", "GET", f"/api/conversations/{id}")
        ask("rename", "PATCH", f"/api/conversations/{id}", {"title": "Another"})
        ask("pin", "PATCH", f"/api/conversations/{id}", {"pinned": True})
        ask("archive", "PATCH", f"/api/conversations/{id}", {"archived": True})
        ask("archived", "GET", "/api/conversations?archived=true")
        some = ask("delete some", "POST", "/api/conversations/delete", {"ids": [id]})
        ask("undo", "POST", f"/api/deletions/{some['undo']['id']}/undo", {})
        ask("delete", "DELETE", f"/api/conversations/{id}")
        ask("not found", "GET", f"/api/conversations/{id}")
        ask("delete all", "DELETE", "/api/conversations")
        ask("logout", "POST", "/logout", {})
    return told


def last_event(client: httpx.Client, answer: str) -> dict[str, Any]:
    events = client.get(f"/api/answers/{answer}/live?at=0").text.split("\n\n")
    return json.loads([event for event in events if event.startswith("data: ")][-1].removeprefix("data: "))


@pytest.fixture(scope="module")
def answered(real_app: AppProcess) -> dict[str, Any]:
    return walk(real_app.url)


def test_the_scripted_routes_answer_like_the_real_ones(
    answered: dict[str, Any], server: Server, backend: FakeBackend
) -> None:
    assert walk(server.url) == answered


def test_a_change_that_did_not_come_from_the_page_is_refused_alike(real_app: AppProcess, server: Server) -> None:
    errors = [httpx.delete(f"{url}/api/conversations") for url in (real_app.url, server.url)]
    assert [error.status_code for error in errors] == [403, 403]
    assert shape(errors[0].json()) == shape(errors[1].json()) == {"error": {"code": None, "message": None}}
