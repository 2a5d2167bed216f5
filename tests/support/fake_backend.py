"""The page's JSON routes without a store and an engine: what the page needs to be tried out alone.

Answers are scripted by the prompt's text; a test decides when a held answer goes on, so nothing waits by the clock.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from chat.conversation import SamplingParams
from chat.web import page, pages
from chat.web.render import IncrementalRenderer, render

MODELS: list[dict[str, Any]] = [
    {
        "name": "starter",
        "label": "Parley Starter",
        "author": "parley",
        "description": "A very small model that knows this Space and little else. It runs anywhere.",
        "card_url": "https://huggingface.co/parley/starter",
        "website": None,
        "licence": "Apache-2.0",
        "context": 2048,
        "billion_parameters": None,
        "memory_gib": 0.1,
        "needs_gpu": False,
        "gated": False,
        "reasoning": False,
        "revision": None,
        "answered_by": None,
        "continues": True,
        "training_data": "Text written in this repository.",
        "categories": {"language": ["en"], "domain": [], "style": [], "difficulty": ["easy"]},
        "available": True,
        "reason": None,
        "defaults": {**SamplingParams().as_dict(), "temperature": 0.3, "max_tokens": 512},
        "default": True,
    },
    {
        "name": "poet",
        "label": "Poet 7B",
        "author": "example-lab",
        "description": "Writes verse in several languages.",
        "card_url": "https://huggingface.co/example-lab/poet",
        "website": "https://example.org",
        "licence": "MIT",
        "context": 8192,
        "billion_parameters": None,
        "memory_gib": 16,
        "needs_gpu": False,
        "gated": False,
        "reasoning": False,
        "revision": None,
        "answered_by": None,
        "continues": True,
        "training_data": None,
        "categories": {"language": ["en", "pl"], "domain": ["verse"], "style": [], "difficulty": []},
        "available": True,
        "reason": None,
        "defaults": {**SamplingParams().as_dict(), "temperature": 1.1},
        "default": False,
    },
    {
        "name": "meta-llama/Llama-2-70b-chat-hf",
        "label": "Llama 2 70B Chat",
        "author": "meta-llama",
        "description": "One of the two models of the first HuggingChat.",
        "card_url": "https://huggingface.co/meta-llama/Llama-2-70b-chat-hf",
        "website": None,
        "licence": "Llama 2",
        "context": 4096,
        "billion_parameters": None,
        "memory_gib": 140,
        "needs_gpu": False,
        "gated": False,
        "reasoning": False,
        "revision": None,
        "answered_by": None,
        "continues": True,
        "training_data": None,
        "categories": {"language": ["en"], "domain": [], "style": [], "difficulty": []},
        "available": False,
        "reason": "Needs 140 GiB of GPU memory; this machine has no GPU.",
        "defaults": SamplingParams().as_dict(),
        "default": False,
    },
]


@dataclass
class Answer:
    """One running or finished answer."""

    conversation: str
    message: dict[str, Any]
    text: str
    held: bool
    pieces: list[str] = field(default_factory=list)
    stopped: bool = False


class FakeBackend:
    """The state behind the routes. Tests read and set it from their own thread.

    `answers` maps a prompt to its answer. The answer to a prompt that starts with "hold" stops half-way until
    `release()`, to "hold the end" after its last word; to "fail" it fails after some words. `refuse` is the sentence
    with which the next turn is refused.
    """

    def __init__(self) -> None:
        self._released = threading.Event()
        self.reset()

    def reset(self) -> None:
        """As new, for the next test. Answers that are still held end."""
        self._released.set()
        self.now = time.time()
        self.answers: dict[str, str] = {}
        self.conversations: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.running: dict[str, Answer] = {}
        self.turns: list[dict[str, Any]] = []
        self.deleted: dict[str, dict[str, dict[str, Any]]] = {}
        self.undo_seconds = 10.0
        self.titling: set[str] = set()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.me: dict[str, Any] = {"signed_in": False, "name": None, "sign_in_url": "/login", "cookie": True}
        self.me["offer"] = None
        self.models = copy.deepcopy(MODELS)
        self.status = {"stage": "ready", "detail": ""}
        self.refuse: str | None = None
        self.drop_streams = 0
        self.newcomer = False  # the first answer cannot know yet whether a cookie will come back
        self.page_size = 40
        self._released = threading.Event()
        self._ids = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def release(self) -> None:
        self._released.set()

    def hold(self) -> None:
        self._released.clear()

    def conversation(self, title: str, *, age: float = 0, turns: Sequence[tuple[str, str]] = ()) -> str:
        """Put a finished conversation into the list, `age` seconds old."""
        id = f"c{next(self._ids)}"
        self.conversations[id] = {
            "id": id, "title": title, "model": "starter", "system_prompt": "", "params": MODELS[0]["defaults"],
            "updated_at": self.now - age, "revision": 1, "pinned": False, "archived": False,
            "running": None, "where": "saved",
        }  # fmt: skip
        self.messages[id] = []
        for prompt, answer in turns:
            self._message(id, "user", prompt)
            self._message(id, "assistant", answer, state="done", html=render(answer))
        return id

    def _message(self, id: str, role: str, text: str, **more: Any) -> dict[str, Any]:
        message = {
            "id": f"m{next(self._ids)}", "role": role, "text": text, "html": None, "state": None, "finish_reason": None,
            "error": None, "model": "starter" if role == "assistant" else None, "created_at": self.now, "siblings": [],
            "params": MODELS[0]["defaults"] if role == "assistant" else None, "reasoning": None,
            "reasoning_seconds": None, "feedback": None,
            "model_revision": None, "depth": len(self.messages[id]), "omitted": 0, "continued": 0, **more,
        }  # fmt: skip
        self.messages[id].append(message)
        return message

    def message(self, id: str) -> dict[str, Any]:
        return next(message for messages in self.messages.values() for message in messages if message["id"] == id)

    def begin(self, turn: dict[str, Any]) -> dict[str, Any]:
        id = turn["conversation"] or self.conversation(turn["text"][:60])
        conversation = self.conversations[id]
        conversation |= {"model": turn["model"], "params": turn["params"], "system_prompt": turn["system_prompt"]}
        conversation["where"] = "kept here"
        prompt = self._message(id, "user", turn["text"])
        return {"conversation": conversation, "prompt": prompt, "answer": self.answer(id, turn["text"], turn["model"])}

    def answer(self, conversation: str, prompt: str, model: str) -> dict[str, Any]:
        text = self.answers.get(prompt, f"You said: {prompt}")
        hold_end = prompt.startswith("hold the end")
        message = self._message(conversation, "assistant", "", state="running", model=model)
        self.running[message["id"]] = Answer(
            conversation, message, text, held=prompt.startswith(("hold", "/stall")) and not hold_end
        )
        self.conversations[conversation] |= {"running": message["id"], "updated_at": time.time()}
        self.hold()
        writing = self._write(self.running[message["id"]], prompt.startswith("fail"), hold_end)
        self._tasks.add(asyncio.get_running_loop().create_task(writing))
        return dict(message)

    def go_on(self, answer: Answer) -> None:
        """Have a cut-off answer written to its end."""
        continued = answer.message["continued"] + 1
        answer.message |= {
            "state": "running",
            "html": None,
            "finish_reason": None,
            "error": None,
            "continued": continued,
        }
        answer.stopped = answer.held = False
        self.conversations[answer.conversation]["running"] = answer.message["id"]
        self._tasks.add(asyncio.get_running_loop().create_task(self._write(answer, False, False)))

    async def _write(self, answer: Answer, failing: bool, hold_end: bool) -> None:
        while self.status["stage"] == "starting":
            await asyncio.sleep(0.01)
        words = answer.text.replace(" ", " \0").split("\0")
        for count, word in enumerate(words):
            if count < len(answer.pieces):
                continue  # said before it was cut off
            if answer.held and count == len(words) // 2:
                await self._wait_for_release(answer)
            if answer.stopped:
                return None
            answer.pieces.append(word)
            await asyncio.sleep(0.002)
            if failing and count == 2:
                return self.end(answer, "failed", error="The engine stopped in mid-answer. It is starting again.")
        if hold_end:
            await self._wait_for_release(answer)
        if not answer.stopped:
            self.end(answer, "done")
        return None

    async def _wait_for_release(self, answer: Answer) -> None:
        while not self._released.is_set() and not answer.stopped:
            await asyncio.sleep(0.01)

    def end(self, answer: Answer, state: str, error: str | None = None) -> None:
        text = "".join(answer.pieces)
        answer.message |= {"state": state, "text": text, "html": render(text), "error": error, "finish_reason": "stop"}
        self.conversations[answer.conversation]["running"] = None

    async def events(self, answer: Answer, at: int) -> AsyncIterator[bytes]:
        renderer, settled, tail, sent = IncrementalRenderer(), "", "", 0
        while True:
            if not answer.pieces and self.status["stage"] == "starting":
                yield sse({"status": self.status["detail"]})
                await asyncio.sleep(0.05)
            for piece in answer.pieces[sent:]:
                sent += 1
                written = renderer.feed(piece)
                settled, tail = settled + written.html, written.tail
                if at and sent > at:
                    event = {"html": written.html, "tail": tail} if written.html else {"text": piece}
                    yield sse({"at": sent, **event})
                    if self.drop_streams and sent > 3:
                        self.drop_streams -= 1
                        return
            if not at and sent:
                at = sent
                yield sse({"at": sent, "whole": True, "html": settled, "tail": tail})
            if answer.message["state"] != "running":
                yield sse({"done": answer.message})
                return
            await asyncio.sleep(0.005)


def sse(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps({**event, 'pad': ' '})}\n\n".encode()


def error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


def app(backend: FakeBackend) -> FastAPI:
    """The routes of `backend`, the plain pages, and the chat page over them."""
    app = FastAPI()

    @app.middleware("http")
    async def keep(request: Request, call_next: Any) -> Any:
        backend.requests.append((request.method, request.url.path, dict(request.headers)))
        changes = request.method not in ("GET", "HEAD") and request.url.path.startswith("/api/")
        if changes and request.headers.get("x-parley") != "1":
            return error(403, "no_header", "This request did not come from the page.")
        return await call_next(request)

    @app.get("/api/me")
    async def me(request: Request) -> Any:
        newcomer, backend.newcomer = backend.newcomer, False
        cookie = backend.me["cookie"] and not newcomer
        new = request.headers.get("x-parley-session") == "new"
        headers = {"X-Parley-Session": "only-in-memory"} if new else None
        return JSONResponse({**backend.me, "cookie": cookie}, headers=headers)

    @app.get("/api/models")
    async def models() -> Any:
        return {"models": backend.models}

    @app.get("/api/defaults")
    async def defaults() -> Any:
        return {"defaults": {}}

    @app.get("/api/status")
    async def status(model: str = "starter") -> Any:
        return backend.status

    @app.post("/api/turns")
    async def turns(turn: dict[str, Any]) -> Any:
        if backend.refuse:
            sentence, backend.refuse = backend.refuse, None
            return error(503, "busy", sentence)
        backend.turns.append(turn)
        return backend.begin(turn)

    @app.post("/api/answers/{id}/retry")
    async def retry(id: str, how: dict[str, Any]) -> Any:
        conversation = backend.running[id].conversation
        messages = backend.messages[conversation]
        messages.pop()
        answer = backend.answer(conversation, "again", how.get("model") or "starter")
        return {"conversation": backend.conversations[conversation], "answer": answer}

    @app.post("/api/answers/{id}/continue")
    async def go_on(id: str) -> Any:
        backend.go_on(backend.running[id])
        answer = backend.running[id]
        return {"conversation": backend.conversations[answer.conversation], "answer": dict(answer.message)}

    @app.post("/api/messages/{id}/choose")
    async def choose(id: str) -> Any:
        found = next(key for key, messages in backend.messages.items() if any(each["id"] == id for each in messages))
        messages = backend.messages[found]
        return {"conversation": backend.conversations[found], "messages": messages, "earlier": None}

    @app.get("/api/answers/{id}/live")
    async def live(id: str, at: int = 0, log: int = 0) -> Any:
        return StreamingResponse(backend.events(backend.running[id], at), media_type="text/event-stream")

    @app.post("/api/answers/{id}/stop")
    async def stop(id: str) -> Any:
        answer = backend.running[id]
        answer.stopped = True
        backend.end(answer, "stopped")
        return {"answer": answer.message}

    @app.put("/api/answers/{id}/feedback")
    async def rate(id: str, given: dict[str, Any]) -> Any:
        backend.message(id)["feedback"] = given
        return {"feedback": given}

    @app.delete("/api/answers/{id}/feedback")
    async def unrate(id: str) -> Any:
        backend.message(id)["feedback"] = None
        return {"feedback": None}

    def as_listed(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "titling": item["id"] in backend.titling}

    @app.get("/api/conversations")
    async def conversations(before: str | None = None, archived: bool = False) -> Any:
        shown = [item for item in backend.conversations.values() if item["archived"] == archived]
        items = sorted(shown, key=lambda item: (not item["pinned"], -item["updated_at"]))
        start = int(before or 0)
        following = start + 30
        page = [as_listed(item) for item in items[start:following]]
        return {"items": page, "next": str(following) if following < len(items) else None}

    @app.get("/api/deletions")
    async def deletions() -> Any:
        return {"items": []}

    @app.get("/api/conversations/{id}")
    async def conversation(id: str, before: str | None = None) -> Any:
        if id not in backend.conversations:
            return error(404, "not_found", "There is no such conversation here. It may have been deleted.")
        messages = backend.messages[id]
        end = next((i for i, message in enumerate(messages) if message["id"] == before), len(messages))
        start = max(0, end - backend.page_size)
        return {
            "conversation": backend.conversations[id],
            "messages": messages[start:end],
            "earlier": messages[start]["id"] if start else None,
        }

    @app.patch("/api/conversations/{id}")
    async def change(id: str, new: dict[str, Any]) -> Any:
        backend.conversations[id] |= new
        return {"conversation": as_listed(backend.conversations[id])}

    def delete(ids: list[str]) -> Any:
        name = f"d{next(backend._ids)}"
        backend.deleted[name] = {id: backend.conversations.pop(id) for id in ids}
        return {"deleted": len(ids), "undo": {"id": name, "seconds": backend.undo_seconds} if ids else None}

    @app.delete("/api/conversations/{id}")
    async def delete_one(id: str) -> Any:
        return delete([id])

    @app.post("/api/conversations/delete")
    async def delete_some(which: dict[str, list[str]]) -> Any:
        return delete(which["ids"])

    @app.delete("/api/conversations")
    async def delete_all() -> Any:
        return delete(list(backend.conversations))

    @app.post("/api/deletions/{id}/undo")
    async def undo(id: str) -> Any:
        if id not in backend.deleted:
            return error(404, "not_found", "There is no such conversation here. It may have been deleted.")
        back = backend.deleted.pop(id)
        backend.conversations |= back
        return {"restored": len(back)}

    @app.post("/api/offers/{answer}")
    async def offers(answer: str) -> Any:
        backend.me["offer"] = None
        return {}

    @app.post("/logout")
    async def logout() -> Any:
        backend.me |= {"signed_in": False, "name": None}
        return {}

    def listed() -> list[dict[str, Any]]:
        return backend.models

    app.include_router(pages.router(listed, pages.Facts()))
    page.mount(app, page.build())
    app.add_middleware(page.Headers)
    return app


class Server:
    """`app(backend)` on a free port of this machine, in a thread; `stop()` ends it."""

    def __init__(self, backend: FakeBackend) -> None:
        self.backend = backend
        config = uvicorn.Config(
            app(backend), host="127.0.0.1", port=0, log_level="error", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
