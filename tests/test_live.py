"""The live route over the real routes and store: what a page reads, whenever it comes, however the answer ends."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from chat.db import Database
from chat.engines.engine import Delta
from chat.feedback import FeedbackBook
from chat.generation import NOT_KEPT, Generations
from chat.models.catalog import Catalog, ModelEntry
from chat.service import ChatService
from chat.store import Store
from chat.visitors.asking import WhoIsAsking, answer_refusals
from chat.visitors.sessions import Sessions
from chat.web import routes
from chat.web.live import PAD_BYTES, LiveAnswers, event
from tests.support.fakes import FakeEngine, FakePool, TickingClock

pytestmark = pytest.mark.anyio


class FailingStore(Store):
    """A store whose disk can be full."""

    full = False

    async def finish_turn(self, *given, **named) -> bool:
        if self.full:
            raise OSError("No space left on device")
        return await super().finish_turn(*given, **named)


async def nobody(_: str) -> None:
    return None


@pytest.fixture
async def app(tmp_path):
    db = Database.open(tmp_path)
    store, engine = FailingStore(db, TickingClock()), FakeEngine()
    service = ChatService(
        store, Catalog((ModelEntry("small", label="Small"),), "small"), FakePool(engine),
        Generations(store.checkpoint, lambda: 0.0), {},
    )  # fmt: skip
    app = FastAPI()
    answer_refusals(app)
    routes.answer_errors(app)
    app.include_router(routes.router(service, LiveAnswers(service.generations), FeedbackBook(db, lambda: 5.0)))
    app.add_middleware(WhoIsAsking, sessions=Sessions(db, TickingClock(), nobody))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers={"X-Parley": "1"}
    ) as client:
        yield SimpleNamespace(client=client, engine=engine, service=service, store=store)
    await service.stop()
    db.close()


async def send(app, text: str, conversation: str | None = None) -> dict:
    answer = await app.client.post("/api/turns", json={"text": text, "conversation": conversation})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def read(app, answer: str, at: int = 0) -> list[dict]:
    got = await app.client.get(f"/api/answers/{answer}/live", params={"at": at})
    assert got.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in got.text.splitlines() if line.startswith("data: ")]


async def test_a_reader_gets_the_text_and_last_the_settled_message(app):
    app.engine.scripts.append(["Hello **there**.\n\n", "Bye."])
    turn = await send(app, "hi")
    events = await read(app, turn["answer"]["id"])
    done = events[-1]["done"]
    assert (done["state"], done["text"]) == ("done", "Hello **there**.\n\nBye.")
    assert "<strong>there</strong>" in done["html"]


async def test_a_reader_that_comes_back_gets_what_came_after(app):
    gate = asyncio.Event()
    app.engine.scripts.append(["one ", gate, "two"])
    turn = await send(app, "hi")
    generation = app.service.generations.get(turn["answer"]["id"])
    async for _ in generation.changes():
        if generation.pieces:
            break
    gate.set()
    events = await read(app, turn["answer"]["id"], at=1)
    assert [entry["text"] for entry in events if "text" in entry] == ["two"]


async def test_reasoning_travels_apart_from_the_answer_and_says_how_long_it_took(app):
    gates = [asyncio.Event() for _ in range(2)]
    app.engine.scripts.append(
        [Delta(reasoning="Two and"), gates[0], Delta(reasoning=" two."), "Four", gates[1], " <think>text</think>."]
    )
    turn = await send(app, "hi")
    generation = app.service.generations.get(turn["answer"]["id"])
    async for _ in generation.changes():
        if generation.pieces:
            break
    gates[0].set()
    async for _ in generation.changes():
        if generation.text:
            break
    early = asyncio.create_task(read(app, turn["answer"]["id"], at=1))
    late = asyncio.create_task(read(app, turn["answer"]["id"]))
    await asyncio.sleep(0.02)
    gates[1].set()
    thought, answered, *_ = [{**entry, "pad": ""} for entry in await early]
    assert thought == {"at": 2, "reasoning": " two.", "pad": ""}
    assert answered == {"at": 3, "reasoning_seconds": 0.0, "text": "Four", "pad": ""}
    whole = (await late)[0]
    assert (whole["reasoning"], whole["reasoning_seconds"], whole["tail"]) == ("Two and two.", 0.0, "Four")
    done = (await late)[-1]["done"]
    assert (done["text"], done["reasoning"], done["reasoning_seconds"]) == (
        "Four <think>text</think>.", "Two and two.", 0.0,
    )  # fmt: skip
    opened = (await app.client.get(f"/api/conversations/{turn['conversation']['id']}")).json()["messages"][-1]
    assert (opened["text"], opened["reasoning"]) == ("Four <think>text</think>.", "Two and two.")


async def test_reasoning_is_not_sent_back_and_a_users_own_think_tags_are(app):
    app.engine.scripts += [[Delta(reasoning="A secret plan."), "Done."], ["Again."]]
    turn = await send(app, "<think>mine</think> hi")
    await read(app, turn["answer"]["id"])
    following = await send(app, "and now?", turn["conversation"]["id"])
    await read(app, following["answer"]["id"])
    assert [message.content for message in app.engine.asked[-1].messages] == [
        "<think>mine</think> hi",
        "Done.",
        "and now?",
    ]


async def test_an_answer_that_has_ended_is_one_event(app):
    app.engine.scripts.append(["short"])
    turn = await send(app, "hi")
    await app.service.generations.get(turn["answer"]["id"]).wait()
    events = await read(app, turn["answer"]["id"])
    assert [next(iter(entry)) for entry in events] == ["done"]


async def test_what_is_waited_for_is_told_before_the_first_word(app):
    app.service.pool.up.clear()
    app.engine.scripts.append(["at last"])
    turn = await send(app, "hi")
    reading = asyncio.create_task(read(app, turn["answer"]["id"]))
    await asyncio.sleep(0.02)
    app.service.pool.up.set()
    assert {"status": "Loading the weights."}.items() <= (await reading)[0].items()


async def test_an_answer_that_could_not_be_kept_stays_on_the_page_and_the_conversation_goes_on(app):
    app.engine.scripts += [["precious"], ["next"]]
    app.store.full = True
    turn = await send(app, "hi")
    done = (await read(app, turn["answer"]["id"]))[-1]["done"]
    assert (done["text"], done["state"], done["error"]) == ("precious", "failed", NOT_KEPT)
    app.store.full = False
    await app.service.generations.keep_once()
    following = await send(app, "and now?", turn["conversation"]["id"])
    assert (await read(app, following["answer"]["id"]))[-1]["done"]["text"] == "next"


async def test_a_deleted_answer_ends_its_readers(app):
    app.engine.scripts.append(["secret", asyncio.Event()])
    turn = await send(app, "hi")
    reading = asyncio.create_task(read(app, turn["answer"]["id"]))
    await asyncio.sleep(0.02)
    await app.client.delete(f"/api/conversations/{turn['conversation']['id']}")
    assert (await reading)[-1]["done"]["state"] == "deleted"


@pytest.mark.parametrize("text", ["", "x", "żółć", "a" * 500, '\n"quotes"'])
def test_events_are_padded_so_that_lengths_tell_nothing(text: str):
    sent = event({"at": 1, "text": text})
    assert len(sent) % PAD_BYTES == 0
    assert json.loads(sent.removeprefix(b"data: "))["text"] == text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/turns", {"text": ""}, 422, "bad_input"),
        ("POST", "/api/turns", {"text": "hi", "model": "smal"}, 422, "unknown_model"),
        ("POST", "/api/turns", {"text": "hi", "surprise": 1}, 422, "bad_input"),
        ("POST", "/api/turns", {"text": 5}, 422, "bad_input"),
        ("GET", "/api/conversations/nowhere", None, 404, "not_found"),
        ("GET", "/api/conversations?before=what", None, 422, "bad_input"),
        ("GET", "/api/answers/nowhere/live", None, 404, "not_found"),
        ("PUT", "/api/turns", None, 405, "http_error"),
    ],
)
async def test_every_error_has_one_form_and_one_sentence(app, method, path, body, status, code):
    answer = await app.client.request(method, path, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"].endswith((".", "?"))


async def test_a_refused_body_is_not_repeated_in_the_error(app):
    answer = await app.client.post("/api/turns", json={"text": "fine", "params": {"temperature": "canary"}})
    assert answer.status_code == 422
    assert "canary" not in answer.text


async def test_broken_json_has_the_one_form_too(app):
    answer = await app.client.post(
        "/api/turns", content=b'{"text": "canary', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "canary" not in answer.text
