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
from chat.engines.errors import EngineUnavailable
from chat.feedback import FeedbackBook
from chat.generation import NOT_KEPT, Generations
from chat.library import Library
from chat.models.catalog import Catalog, ModelEntry
from chat.service import ChatService
from chat.store import Store
from chat.visitors.asking import WhoIsAsking, answer_refusals
from chat.visitors.sessions import Sessions
from chat.web import lists, routes
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
    app.include_router(lists.list_routes(Library(store, service.generations)))
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


async def read(app, answer: str, at: int = 0, **more: int) -> list[dict]:
    got = await app.client.get(f"/api/answers/{answer}/live", params={"at": at, **more})
    assert got.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in got.text.splitlines() if line.startswith("data: ")]


async def being_read(app, answer: str, readers: int = 1) -> None:
    """Wait until so many readers follow the answer, however busy the machine is."""
    async with asyncio.timeout(180):
        while app.service.generations.get(answer).readers < readers:
            await asyncio.sleep(0.001)


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
    reading = asyncio.create_task(read(app, turn["answer"]["id"], at=1))
    await being_read(app, turn["answer"]["id"])
    gate.set()
    assert [entry["text"] for entry in await reading if "text" in entry] == ["two"]


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
    await being_read(app, turn["answer"]["id"], 2)
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


async def shown(app, answer: str, text: str) -> None:
    """Wait until `text` has been sent out."""
    generation = app.service.generations.get(answer)
    async for _ in generation.changes():
        if generation.text == text:
            return


async def cut_off(app) -> dict:
    """A stopped answer "one two "."""
    app.engine.scripts.append(["one ", "two ", asyncio.Event()])
    turn = await send(app, "count")
    await shown(app, turn["answer"]["id"], "one two ")
    stopped = (await app.client.post(f"/api/answers/{turn['answer']['id']}/stop")).json()["answer"]
    assert (stopped["text"], stopped["state"]) == ("one two ", "stopped")
    return stopped


async def test_an_answer_that_goes_on_is_read_from_its_first_word(app):
    """What was shown before is the beginning of the log, whoever reads it for the first time."""
    answer, gate = await cut_off(app), asyncio.Event()
    app.engine.scripts.append([gate, " three"])
    running = (await app.client.post(f"/api/answers/{answer['id']}/continue")).json()["answer"]
    assert (running["state"], running["text"], running["continued"]) == ("running", "one two ", 1)
    reading = asyncio.create_task(read(app, answer["id"]))
    await being_read(app, answer["id"])
    gate.set()
    whole, *rest = await reading
    assert (whole["at"], whole["whole"], whole["html"] + whole["tail"]) == (1, True, "one two ")
    assert rest[-1]["done"]["text"] == "one two three"
    assert rest[-1]["done"]["state"] == "done"


async def test_a_reader_of_the_answer_before_it_went_on_gets_all_of_it(app):
    """Its position is one of another log: going on from there would leave words out."""
    answer, gate = await cut_off(app), asyncio.Event()
    app.engine.scripts.append([" three", gate])
    await app.client.post(f"/api/answers/{answer['id']}/continue")
    await shown(app, answer["id"], "one two three")
    late = asyncio.create_task(read(app, answer["id"], at=2, log=0))
    same = asyncio.create_task(read(app, answer["id"], at=1, log=1))
    await being_read(app, answer["id"], 2)
    gate.set()
    first = (await late)[0]
    assert (first["whole"], first["html"] + first["tail"]) == (True, "one two three")
    assert (await same)[0]["text"] == "three", "the space stands there already"


async def test_why_an_answer_could_not_go_on_is_told_though_it_is_what_it_was(app):
    answer, gate = await cut_off(app), asyncio.Event()
    app.engine.scripts.append([gate, EngineUnavailable("It went away. Try again.")])
    await app.client.post(f"/api/answers/{answer['id']}/continue")
    reading = asyncio.create_task(read(app, answer["id"]))
    await being_read(app, answer["id"])
    gate.set()
    last = (await reading)[-1]
    assert (last["done"]["text"], last["done"]["state"], last["problem"]) == (
        "one two ", "stopped", "It went away. Try again.",
    )  # fmt: skip


async def test_a_complete_answer_does_not_go_on_and_says_so(app):
    app.engine.scripts.append(["short"])
    turn = await send(app, "hi")
    await read(app, turn["answer"]["id"])
    refused = await app.client.post(f"/api/answers/{turn['answer']['id']}/continue")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "cannot_continue")


async def test_a_reader_hears_from_where_the_model_reads(app):
    gate = asyncio.Event()
    app.engine.scripts += [["b" * 9000], [gate, "ok"]]
    turn = await send(app, "a" * 9000)
    await read(app, turn["answer"]["id"])
    following = await send(app, "now?", turn["conversation"]["id"])
    reading = asyncio.create_task(read(app, following["answer"]["id"]))
    await being_read(app, following["answer"]["id"])
    gate.set()
    events = await reading
    assert [entry["omitted"] for entry in events if "omitted" in entry] == [2]
    assert events[-1]["done"]["omitted"] == 2


async def test_a_prompt_sent_again_with_its_key_is_the_same_turn(app):
    app.engine.scripts.append(["ok"])
    body = {"text": "hi", "key": "0123456789abcdef"}
    first, second = [(await app.client.post("/api/turns", json=body)).json() for _ in range(2)]
    assert first["prompt"]["id"] == second["prompt"]["id"]
    assert first["answer"]["id"] == second["answer"]["id"]
    assert len((await app.client.get("/api/conversations")).json()["items"]) == 1


async def test_an_edited_prompt_and_the_old_one_are_stepped_between(app):
    app.engine.scripts += [["first"], ["better"]]
    turn = await send(app, "one")
    await read(app, turn["answer"]["id"])
    body = {"text": "uno", "conversation": turn["conversation"]["id"], "beside": turn["prompt"]["id"]}
    edited = (await app.client.post("/api/turns", json=body)).json()
    await read(app, edited["answer"]["id"])
    assert edited["prompt"]["siblings"] == [turn["prompt"]["id"], edited["prompt"]["id"]]
    back = (await app.client.post(f"/api/messages/{turn['prompt']['id']}/choose")).json()
    assert [message["text"] for message in back["messages"]] == ["one", "first"]
    again = (await app.client.get(f"/api/conversations/{turn['conversation']['id']}")).json()
    assert again == back


async def test_an_answer_that_has_ended_is_one_event(app):
    app.engine.scripts.append(["short"])
    turn = await send(app, "hi")
    if generation := app.service.generations.get(turn["answer"]["id"]):
        await generation.wait()
    events = await read(app, turn["answer"]["id"])
    assert [next(iter(entry)) for entry in events] == ["done"]


async def test_what_is_waited_for_is_told_before_the_first_word(app):
    app.service.pool.up.clear()
    app.engine.scripts.append(["at last"])
    turn = await send(app, "hi")
    reading = asyncio.create_task(read(app, turn["answer"]["id"]))
    await being_read(app, turn["answer"]["id"])
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
    await being_read(app, turn["answer"]["id"])
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
