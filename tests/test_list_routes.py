"""The routes of the list, the search, deleting and retention: their shapes, and that no input breaks them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from chat.db import Database
from chat.feedback import FeedbackBook
from chat.generation import Generations
from chat.library import Library
from chat.models.catalog import Catalog, ModelEntry
from chat.service import ChatService
from chat.store import Store
from chat.titles import Titles
from chat.visitors.asking import WhoIsAsking, answer_refusals
from chat.visitors.sessions import Sessions
from chat.web import lists, routes
from chat.web.live import LiveAnswers
from tests.support.fakes import FakeEngine, FakePool, TickingClock

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


async def nobody(_: str) -> None:
    return None


@pytest.fixture
async def app(tmp_path):
    db = Database.open(tmp_path)
    store, engine = Store(db, TickingClock()), FakeEngine()
    pool, generations = FakePool(engine), Generations(store.checkpoint, lambda: 0.0)
    titles = Titles(store, pool, lambda owner: owner)
    service = ChatService(store, Catalog((ModelEntry("m", label="M"),), "m"), pool, generations, {}, titles)
    library = Library(store, generations, titles, retention_days=30)
    app = FastAPI()
    answer_refusals(app)
    routes.answer_errors(app)
    app.include_router(routes.router(service, LiveAnswers(generations), FeedbackBook(db, lambda: 5.0)))
    app.include_router(lists.list_routes(library))
    sessions = Sessions(db, TickingClock(), nobody)
    app.add_middleware(WhoIsAsking, sessions=sessions)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://127.0.0.1",
        headers={"X-Parley": "1"},
    ) as client:
        yield SimpleNamespace(
            client=client, engine=engine, service=service, store=store, library=library, sessions=sessions
        )
    await service.stop()
    db.close()


async def say(app, text: str, answer: str = "ok", title: str = "…") -> str:
    app.engine.scripts += [[answer], [title]]
    sent = (await app.client.post("/api/turns", json={"text": text})).json()
    if generation := app.service.generations.get(sent["answer"]["id"]):
        await generation.wait()
    await app.service.titles.wait()
    await app.library.tidy()
    return sent["conversation"]["id"]


async def listed(app, **which) -> list[str]:
    return [item["id"] for item in (await app.client.get("/api/conversations", params=which)).json()["items"]]


async def test_a_conversation_is_changed_and_listed_with_what_it_is(app):
    id = await say(app, "How do I knit?", title="Knitting")
    (item,) = (await app.client.get("/api/conversations")).json()["items"]
    assert (item["title"], item["pinned"], item["archived"], item["titling"]) == ("Knitting", False, False, False)
    changed = await app.client.patch(f"/api/conversations/{id}", json={"pinned": True, "title": "Mine"})
    assert (changed.json()["conversation"]["pinned"], changed.json()["conversation"]["title"]) == (True, "Mine")
    await app.client.patch(f"/api/conversations/{id}", json={"archived": True})
    assert (await listed(app), await listed(app, archived=True)) == ([], [id])


async def test_several_are_deleted_at_once_and_come_back_together(app):
    ids = [await say(app, f"number {number}") for number in range(3)]
    told = (await app.client.post("/api/conversations/delete", json={"ids": ids[:2]})).json()
    assert told["deleted"] == 2 and told["undo"]["seconds"] == 10
    assert await listed(app) == ids[2:]
    for id in ids[:2]:
        assert (await app.client.get(f"/api/conversations/{id}")).status_code == 404
    back = await app.client.post(f"/api/deletions/{told['undo']['id']}/undo")
    assert back.json() == {"restored": 2}
    again = await app.client.post(f"/api/deletions/{told['undo']['id']}/undo")
    assert again.status_code == 404
    assert await listed(app) == ids[::-1]


async def test_deleting_nothing_offers_no_way_back(app):
    assert (await app.client.delete("/api/conversations")).json() == {"deleted": 0, "undo": None}


async def test_hits_are_text_in_pieces(app):
    id = await say(app, "about <b>llamas</b>", "A llama is woolly.")
    found = (await app.client.post("/api/search", json={"query": "llama"})).json()
    first = found["hits"][1]
    assert (first["conversation"], first["role"]) == (id, "assistant")
    assert first["text"] == [["A ", False], ["llama", True], [" is woolly.", False]]
    assert found["hits"][0]["text"] is None, "the title"
    assert found["hits"][2]["text"] == [["about <b>", False], ["llamas", True], ["</b>", False]]


async def test_the_days_are_told_with_what_may_be_chosen(app):
    await say(app, "one")
    assert (await app.client.get("/api/retention")).json() == {
        "days": 30,
        "chosen": None,
        "operator": 30,
        "choices": [1, 7],
    }
    chosen = (await app.client.put("/api/retention", json={"days": 7})).json()
    assert (chosen["days"], chosen["chosen"]) == (7, 7)
    assert (await app.client.put("/api/retention", json={"days": None})).json()["days"] == 30


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/conversations?before=nonsense", None, 422),
        ("GET", "/api/conversations?before=9:1.0:x", None, 422),
        ("GET", "/api/conversations?before=1:nan:x", None, 200),
        ("POST", "/api/conversations/delete", {"ids": ["\ud83d"]}, 422),
        ("POST", "/api/conversations/delete", {"ids": ["x"] * 1001}, 422),
        ("POST", "/api/conversations/delete", {"ids": [1]}, 422),
        ("POST", "/api/conversations/delete", {"ids": ["unknown"]}, 404),
        ("POST", "/api/conversations/delete", {"ids": []}, 200),
        ("POST", "/api/deletions/%ED%A0%BD/undo", None, 404),
        ("POST", "/api/search", {"query": "\ud83d \x00 ' \" ) NEAR("}, 200),
        ("POST", "/api/search", {"query": "x" * 100_000}, 200),
        ("POST", "/api/search", {"query": "a " * 10_000}, 200),
        ("POST", "/api/search", {"query": "x", "before": 10**30}, 422),
        ("POST", "/api/search", {"query": None}, 422),
        ("PUT", "/api/retention", {"days": True}, 422),
        ("PUT", "/api/retention", {"days": 10**30}, 422),
        ("PUT", "/api/retention", {}, 422),
        ("PATCH", "/api/conversations/unknown", {"pinned": True}, 404),
        ("PATCH", "/api/conversations/unknown", {"pinned": 1}, 422),
    ],
)
async def test_bad_input_gets_a_sentence_and_never_breaks(app, method, path, body, status):
    await say(app, "one")
    answer = await app.client.request(
        method, path, content=None if body is None else json.dumps(body).encode(), headers=JSON
    )
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["error"]["message"]


async def test_what_a_program_writes_counts_as_such_and_asks_for_no_title(app):
    owner = "c" * 32
    await app.store.db.write(lambda db: db.execute("INSERT INTO owners VALUES (?, 'account', 1.0, 1.0)", (owner,)))
    await app.store.db.write(
        lambda db: db.execute("INSERT INTO accounts VALUES (?, 'hub', 'ada', '[]', 1.0)", (owner,))
    )
    secret, _ = await app.sessions.create_key(owner, "mine")
    app.engine.scripts += [["an answer"]]
    sent = await app.client.post("/api/turns", json={"text": "hello"}, headers={"Authorization": f"Bearer {secret}"})
    assert (await app.store.message(owner, sent.json()["prompt"]["id"])).surface == "api"
    assert sent.json()["conversation"]["id"] not in app.service.titles
