"""The endpoints for `gradio_client`, on the app as it is started."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import pytest
from gradio_client import Client
from starlette.requests import Request

from chat.visitors.asking import Asking, WhoIsAsking, caller_of
from chat.visitors.visitor import Account, Visitor
from chat.web.api import MOST_ANSWERS_EACH, UNREAD_SECONDS, Callers, Reader
from chat.web.blocks import BROKEN
from tests.support.app_process import AppProcess
from tests.support.scripted_engine import ScriptedEngine

CANARY = "marmalade-zeppelin"


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedEngine]:
    with ScriptedEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def app(engine: ScriptedEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("api") / "data", ENGINE_URL=engine.url) as app:
        yield app


def call(app: AppProcess, *inputs: object) -> str:
    """Begin `/chat`; the address to read its answer from."""
    begun = httpx.post(f"{app.url}/gradio_api/call/chat", json={"data": list(inputs)}, timeout=30)
    assert begun.status_code == 200, begun.text
    return f"{app.url}/gradio_api/call/chat/{begun.json()['event_id']}"


def answer(app: AppProcess, *inputs: object) -> str:
    """All events of one `/chat`."""
    return httpx.get(call(app, *inputs), timeout=30).text


def test_an_answer_is_streamed_in_more_than_one_piece(app: AppProcess, engine: ScriptedEngine):
    client = Client(app.url, verbose=False)
    with closing(client):
        pieces = []
        for piece in client.submit("/hold after=1,3 one two three four", api_name="/chat"):
            pieces.append(piece)
            if piece in ("one", "one two three"):
                engine.release()
    assert pieces[-1] == "one two three four"
    assert len(pieces) >= 3
    assert all(later.startswith(earlier) and later != earlier for earlier, later in itertools.pairwise(pieces))


def test_inputs_left_out_are_the_model_s_defaults(app: AppProcess):
    assert '"one two"' in answer(app, "/say one two")


def test_a_call_that_cannot_be_used_is_answered_with_a_sentence(app: AppProcess):
    assert "at most 9 inputs, and 10 came" in answer(app, CANARY, *[None] * 9)
    assert "message must be text" in answer(app)
    assert '"error": null' not in answer(app, CANARY, CANARY)
    assert '"error": null' not in answer(app, CANARY, None, None, CANARY)


@pytest.mark.parametrize("scenario", ["/silent", "/slow", "/stall after=1"])
def test_a_caller_that_leaves_frees_the_engine(app: AppProcess, engine: ScriptedEngine, scenario: str):
    """Before the first word, and between two that never come."""
    before = len(engine.log)
    address = call(app, scenario)
    with httpx.stream("GET", address, timeout=30) as reading:
        assert engine.wait_until(lambda: len(engine.log) > before and engine.running == 1)
        assert reading.status_code == 200
    assert engine.wait_until(lambda: engine.running == 0, 20)


def test_one_caller_cannot_have_all_answers(app: AppProcess, engine: ScriptedEngine):
    """The one too many is told so; when the others leave, there is room again."""
    with httpx.Client(timeout=30) as http:
        held = []
        for _ in range(MOST_ANSWERS_EACH):
            held.append(http.send(http.build_request("GET", call(app, "/silent")), stream=True))
        assert engine.wait_until(lambda: engine.running == MOST_ANSWERS_EACH, 20)
        assert "are being written for you" in answer(app, "/say one two")
        for response in held:
            response.close()
    assert engine.wait_until(lambda: engine.running == 0, 20)
    assert '"one two"' in answer(app, "/say one two")


def test_places_are_counted_per_caller_and_in_all():
    callers = Callers()
    with pytest.raises(Exception, match="other callers"), ExitStack() as stack:
        for number in range(100):
            stack.enter_context(callers.one_more(f"caller {number}"))
    with callers.one_more("somebody"):
        pass
    assert not callers._running


class Unread:
    """What Gradio's queue is to a `Reader`, with one message that nobody fetches."""

    def __init__(self) -> None:
        self.alive, self.session_hash = True, "s"
        self.event_ids_to_events = {"e": self}
        self.pending_messages_per_session = {"s": self}
        self.fetched = False

    def empty(self) -> bool:
        return self.fetched


def test_a_caller_that_never_fetches_its_answer_is_given_up_on():
    now = [0.0]
    queue = Unread()
    reader = Reader(queue, "e", lambda: now[0])
    now[0] = UNREAD_SECONDS
    assert reader.is_there()
    now[0] += 1
    assert not reader.is_there()
    queue.fetched = True
    assert reader.is_there()
    queue.alive = False
    assert not reader.is_there()


GARBLED = [b'{"data": ["CANARY', b'["CANARY"]', b'"CANARY"', b'{"data": "CANARY"}', b'{"CANARY": 1}', b"\xffCANARY"]
INPUTS = [
    {"data": ["CANARY"]},
    {"data": ["CANARY"] * 9},
    {"data": ["CANARY"] * 12},
    {"data": [{"CANARY": "CANARY"}, ["CANARY"]]},
    {"data": ["CANARY"], "fn_index": 0, "session_hash": "h"},
    {"data": ["CANARY"], "fn_index": 4711, "session_hash": "h"},
    {"data": ["CANARY"], "event_data": "CANARY", "trigger_id": 4711, "session_hash": "h"},
    {"message": ["CANARY"], "temperature": "CANARY"},
    {"message": "CANARY", "CANARY": "CANARY"},
    {"data": ["CANARY \ud800"]},
]
ROUTES = [
    *(
        f"/gradio_api/{way}/{name}"
        for way in ("call", "call/v2", "run", "api")
        for name in ("chat", "models", "nobody")
    ),
    "/gradio_api/queue/join",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/api/turns",
    "/api/answers/none/retry",
    "/api/keys",
]


def test_no_failure_puts_what_was_said_into_the_log_or_into_anybody_s_answer(app: AppProcess):
    """Every open route that takes a body, with bodies that it cannot use."""
    # After a failure the server closes the connection.
    headers = {"X-Parley": "1", "Content-Type": "application/json", "Connection": "close"}
    with httpx.Client(base_url=app.url, timeout=30, headers=headers) as http:
        for path in ROUTES:
            for body in (*GARBLED, *(json.dumps(inputs).encode() for inputs in INPUTS)):
                reply = http.post(path, content=body.replace(b"CANARY", CANARY.encode()))
                if reply.status_code != 200:
                    assert CANARY not in reply.text and '"error":null' not in reply.text, (path, body, reply.text)
                event = reply.json().get("event_id") if reply.status_code == 200 and path != "/api/turns" else None
                if event and "queue" not in path:
                    text = http.get(f"/gradio_api/call/chat/{event}").text
                    assert 'error": null' not in text, (path, body, text)
    assert CANARY not in app.output()


def test_a_failure_is_in_the_log_by_its_kind_and_place(app: AppProcess):
    """The operator still learns where it broke."""
    reply = httpx.post(f"{app.url}/gradio_api/call/v2/chat", json={CANARY: 1}, timeout=30)
    assert (reply.status_code, reply.json()["error"]["message"]) == (500, BROKEN)
    output = app.output()
    assert "in construct_args" in output and "raise TypeError(" in output and CANARY not in output


def test_a_body_that_is_too_large_is_refused_in_the_one_form(app: AppProcess):
    body = b'{"data": ["' + b"x" * 6_000_000 + b'"]}'
    for content in (body, iter([body[:1_500_000], body[1_500_000:]])):
        reply = httpx.post(f"{app.url}/gradio_api/call/chat", content=content, timeout=30)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
    with socket.create_connection(("127.0.0.1", app.port), 60) as line:
        line.sendall(b"POST /api/turns HTTP/1.1\r\nHost: x\r\nX-Parley: 1\r\nContent-Length: 99999999999\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.anyio
async def test_a_body_that_does_not_come_is_not_waited_for_for_ever():
    """Refused before anything is looked up, and the connection is closed."""
    sent: list[dict] = []

    async def receive() -> dict:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"host", b"x"), (b"x-parley", b"1"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/api/turns", "headers": headers}
    await WhoIsAsking(None, None, body_seconds=0.01)(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("peer", "seen", "caller"),
    [
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),
        ("10.0.0.7", "9.9.9.9, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("10.0.0.7", "nonsense", "10.0.0.7"),
        ("127.0.0.1", None, "127.0.0.1"),
    ],
)
def test_a_limit_without_an_account_is_for_an_address_that_the_caller_cannot_choose(peer, seen, caller):
    headers = [(b"x-forwarded-for", seen.encode())] if seen else []
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    for owner in ("one", "two"):
        scope["parley.asking"] = Asking(None, Visitor(owner, None, "none", True), "cookie")
        assert caller_of(Request(scope)) == caller
    scope["parley.asking"] = Asking(None, Visitor("mine", Account("mine", "1", "ann"), "bearer", False), "cookie")
    assert caller_of(Request(scope)) == "mine"


HUSHED = """
import asyncio, logging, sys, threading, traceback, warnings
from chat.hush import hush
hush()
logging.basicConfig()

class Quoting(Exception):
    pass

def fail(text):
    try:
        error = OSError(28, text)
        error.add_note(text)
        raise error
    except OSError as cause:
        raise ExceptionGroup(text, [Quoting(text)]) from cause

class Falls:
    def __del__(self):
        fail(SECRET)

async def later():
    asyncio.get_running_loop().call_soon(fail, SECRET)
    lost = asyncio.create_task(asyncio.to_thread(fail, SECRET))
    await asyncio.wait([lost])
    del lost

SECRET = "-".join(["marmalade", "zeppelin"])
for write in (traceback.print_exc, lambda: logging.exception("%s", SECRET), lambda: print(traceback.format_exc())):
    try:
        fail(SECRET)
    except Exception:
        write()
warnings.warn(SECRET)
thread = threading.Thread(target=fail, args=[SECRET])
thread.start()
thread.join()
Falls()
asyncio.run(later())
try:
    compile(f"a = = '{SECRET}'", SECRET, "exec")
except SyntaxError:
    traceback.print_exc()
fail(SECRET)
"""


def test_nothing_that_the_process_writes_by_itself_quotes_an_exception():
    """Tracebacks, causes, groups, notes, hooks, warnings, and what asyncio says of tasks and callbacks."""
    done = subprocess.run([sys.executable, "-c", HUSHED], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert CANARY not in said
    assert said.count("Quoting") >= 7 and "errno 28" in said and "UserWarning" in said and "in fail" in said
