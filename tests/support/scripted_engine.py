"""A server that answers by script, in the wire formats of vLLM (OpenAI), TGI and hosted inference.

    with ScriptedEngine() as server:          # a thread of its own
        OpenAIEngine(server.url, "scripted", vllm=True)      # also server.url + "/tgi", server.url + "/hosted"
    python -m tests.support.scripted_engine --port 8001      # a process of its own, for measurements

A scenario is the last user message when it begins with "/", else `server.scenario`:

    say [TEXT]            TEXT word by word; `interval=` seconds between words, or `over=` seconds for all of them by the
                          clock. The default says a fixed sentence.
    hold after=           ... but stops after that many words, or after each of several ("3,9"), until the test says
                          `release()`, in another process `GET /release`
    clock tokens= first= interval=   token k leaves at t0 + first + k * interval and reads "k@T ", T the unix time of
                          its sending
    silent                no headers, ever            slow first=    headers at once, the first word after `first`
    stall after=          that many words, then nothing
    die after=            ... then the connection is reset      cut after=   ... then the end, without finish reason
    half after=           ... then half an event and the end    no_done      the end without "[DONE]"
    error after= message= ... then an error inside the stream   abort after= ... then vLLM's finish reason "abort"
    garbage after=        ... then an event that is not JSON    html         200, but a web page
    broken after=         ... then bytes that are not HTTP      odd json=    an event that is JSON of another shape
    overloaded            refuses as too busy
    split                 words with non-ASCII letters, cut between the bytes of a letter
    reasoning field= thoughts= interval= stall=1 hold=1 [TEXT]   thoughts (a_few_words) in that field of the delta, then
                          TEXT; with `stall` nothing after the thoughts, with `hold` nothing until `release()`
    status code= message= that status with the server's usual body; every refusal quotes the last message, as vLLM's
                          validation errors do, so that a test can see that it goes no further
    too_long tokens= limit=          refuses as too long
    room tokens= limit=   refuses unless max_tokens <= limit - tokens, then says "fits"

Options stand before the text: "/say interval=0.01 some words". With vLLM's `continue_final_message` what the last message
has said already is left out. Nothing is logged but the shape of each request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chat.titles import ASK

SAYING = "Hello, this is the scripted engine speaking."
OPTION = re.compile(r"(\w+)=(\S+)\s*")
PHRASES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 422: "Unprocessable Entity", 503: "Unavailable"}


@dataclass
class Seen:
    """The shape of one request. No text."""

    path: str
    fields: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)  # every field but the messages
    roles: tuple[str, ...] = ()
    characters: int = 0
    words: int = 0  # which it calls tokens
    authorization: str | None = None
    outcome: str = "running"  # "done", "refused", "aborted" (the client went away) or "died" (by script)
    sent: int = 0  # words


class ScriptedEngine:
    """`with ScriptedEngine() as server` serves on `server.url` (and on the Unix socket `uds`) from its own thread."""

    def __init__(
        self,
        scenario: str = "/say",
        *,
        model: str = "scripted",
        context: int = 4096,
        api_key: str | None = None,
        port: int = 0,
        uds: Path | None = None,
        owned_by: str = "scripted",
        title: str = "…",
    ) -> None:
        self.scenario = scenario
        self.model = model
        self.context = context
        self.api_key = api_key
        self.port = port
        self.uds = uds
        self.owned_by = owned_by  # in /v1/models; vLLM says "vllm"
        self.title = title  # what it says when it is asked for one; the default looks like none
        self.running = 0
        self.accepted = 0  # connections, ever
        self.log: list[Seen] = []
        self.open: set[_Connection] = set()
        self.changed = threading.Condition()
        self.holding: set[asyncio.Event] = set()
        self._up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until(self, holds: Callable[[], bool], timeout: float = 120.0) -> bool:
        """Block until `holds()`, looked at whenever a request begins or ends; False after `timeout` seconds."""
        with self.changed:
            return self.changed.wait_for(holds, timeout)

    def release(self) -> None:
        """Have every answer that is held now go on."""
        self._loop.call_soon_threadsafe(self.let_go)

    def let_go(self) -> None:
        for held in self.holding:
            held.set()
        self.holding.clear()

    def begin(self, seen: Seen) -> None:
        with self.changed:
            self.log.append(seen)
            self.running += 1
            self.changed.notify_all()

    def end(self, seen: Seen, outcome: str) -> None:
        with self.changed:
            self.running -= 1
            seen.outcome = outcome
            self.changed.notify_all()

    async def serve(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        servers: list[asyncio.Server] = [
            await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=512)
        ]
        self.port = servers[0].sockets[0].getsockname()[1]
        if self.uds is not None:
            servers.append(await loop.create_unix_server(lambda: _Connection(self), str(self.uds), backlog=512))
        self._up.set()
        try:
            await stop.wait()
        finally:
            for server in servers:
                server.close()
            for connection in list(self.open):
                connection.transport.abort()
            await asyncio.sleep(0.01)

    def __enter__(self) -> ScriptedEngine:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-engine", daemon=True)
        self._thread.start()
        if not self._up.wait(60):
            raise RuntimeError("The scripted engine did not start.")
        return self

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.serve(self._stop))
        finally:
            self._loop.close()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, server: ScriptedEngine) -> None:
        self.server = server
        self._bytes = b""
        self._task: asyncio.Task[None] | None = None
        self._seen: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.server.open.add(self)
        self.server.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)
        if self._task is not None:
            self._task.cancel()
        self.finish("aborted")

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        self._next_request()

    def _next_request(self) -> None:
        head, separator, rest = self._bytes.partition(b"\r\n\r\n")
        if not separator or self._seen is not None:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._bytes = rest[length:]
        self._route(request.split(" ")[1], headers, rest[:length])

    def _route(self, path: str, headers: dict[str, str], content: bytes) -> None:
        server = self.server
        body = json.loads(content) if content else {}
        if path.endswith(("/chat/completions", "/generate_stream")):
            messages = body.pop("messages", None) or [{"role": "user", "content": body.pop("inputs", "")}]
            self._seen = Seen(
                path,
                tuple(sorted({*body, "messages"})),
                body,
                tuple(message["role"] for message in messages),
                sum(len(message["content"]) for message in messages),
                sum(len(message["content"].split()) for message in messages),
                headers.get("authorization"),
            )
            server.begin(self._seen)
            if server.api_key and headers.get("authorization") != f"Bearer {server.api_key}":
                self.reply(401, {"error": "Unauthorized"})
                return
            last = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
            if last.startswith(ASK[:40]):
                last = f"/say {server.title}"
            said = messages[-1]["content"] if body.get("continue_final_message") else ""
            self._task = asyncio.get_running_loop().create_task(_Script(self, path, body, last, said).play())
        elif path.endswith("/models"):
            entry = {"id": server.model, "object": "model", "max_model_len": server.context}
            entry["owned_by"] = server.owned_by
            self.reply(200, {"object": "list", "data": [entry]})
        elif path.endswith("/tokenize"):
            words = " ".join(message["content"] for message in body.get("messages", [])) or body.get("prompt", "")
            self.reply(200, {"count": len(words.split()), "max_model_len": server.context, "tokens": []})
        elif path.endswith("/metrics"):
            labels = f'{{engine="0",model_name="{server.model}"}}'
            self.reply(200, f"vllm:num_requests_running{labels} {float(server.running)}\n", "text/plain")
        elif path.endswith("/info"):
            self.reply(200, {"model_id": server.model, "max_total_tokens": server.context, "version": "3.0.0"})
        elif path.endswith("/health"):
            self.reply(200, "", "text/plain")
        elif path.endswith("/release"):
            server.let_go()
            self.reply(200, "", "text/plain")
        else:
            self.reply(404, {"detail": "Not Found"})

    def reply(self, status: int, body: Any, content_type: str = "application/json") -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        head = f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}\r\ncontent-type: {content_type}\r\n"
        self.transport.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        self.finish("done" if status == 200 else "refused")

    def begin_stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    def send(self, data: bytes) -> None:
        """One chunk of the body."""
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.transport.write(b"0\r\n\r\n")
        self.finish("done")

    def finish(self, outcome: str) -> None:
        if self._seen is not None:
            seen, self._seen, self._task = self._seen, None, None
            self.server.end(seen, outcome)
            asyncio.get_running_loop().call_soon(self._next_request)

    def used(self) -> None:
        """How many tokens were read and written, as vLLM tells who asks for it."""
        if self._seen is not None:
            usage = {"prompt_tokens": self._seen.words, "completion_tokens": self._seen.sent}
            usage["total_tokens"] = sum(usage.values())
            self.send(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")

    def sent(self) -> None:
        if self._seen is not None:
            self._seen.sent += 1


class _Script:
    """One answer, as its scenario says."""

    def __init__(self, connection: _Connection, path: str, body: dict[str, Any], last: str, said: str = "") -> None:
        """`said`: the cut-off answer that is to be gone on with."""
        self.connection = connection
        self.server = connection.server
        self.body = body
        self.last = last
        self.tgi = "/tgi/" in path
        self.generate = path.endswith("/generate_stream")
        name, _, rest = (last if last.startswith("/") else self.server.scenario).partition(" ")
        self.name = name.strip("/")
        self.options: dict[str, str] = {}
        while found := OPTION.match(rest):
            self.options[found[1]] = found[2].replace("_", " ") if found[1] == "message" else found[2]
            rest = rest[found.end() :]
        self.text = (rest or SAYING).removeprefix(said)
        self.said = len(said.split())
        self.begun = False

    def number(self, name: str, default: float) -> float:
        return float(self.options.get(name, default))

    async def play(self) -> None:
        scenario = getattr(self, f"do_{self.name}", None)
        if scenario is None:
            self.connection.reply(400, {"error": {"message": f"no scenario {self.name}", "type": "BadRequestError"}})
            return
        await scenario()

    # What goes over the wire

    def event(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        if self.generate:
            token = {"id": 1, "text": delta.get("content", ""), "logprob": -0.1, "special": False}
            details = {"finish_reason": "eos_token", "generated_tokens": 1, "seed": None} if reason else None
            payload: dict[str, Any] = {"index": 1, "token": token, "generated_text": None, "details": details}
        else:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            payload = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.server.model}
            payload |= {"choices": [choice]}
            if self.tgi:
                choice["delta"] = {"role": "assistant", "content": "", **delta}
                payload |= {"id": "", "system_fingerprint": "3.0.0-native", "usage": None}
        # vLLM and TGI send letters as they are, line separators included.
        return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"

    def word(self, text: str) -> None:
        self.connection.send(self.event({"content": text}))
        self.connection.sent()

    def begin(self) -> None:
        self.begun = True
        self.connection.begin_stream()
        if not self.tgi:
            self.connection.send(self.event({"role": "assistant", "content": ""}))

    def close(self, reason: str | None = "stop", done: bool = True) -> None:
        if reason is not None:
            self.connection.send(self.event({}, reason))
        if reason in ("stop", "length") and (self.body.get("stream_options") or {}).get("include_usage"):
            self.connection.used()
        if done:
            self.connection.send(b"data: [DONE]\n\n")
        self.connection.end_stream()

    def refuse(self, status: int, message: str) -> None:
        """vLLM's body, or TGI's. Both are given the last message to quote."""
        if self.tgi:
            kinds = {422: "validation", 424: "generation", 429: "overloaded", 500: "incomplete_generation"}
            self.connection.reply(status, {"error": f"{message} {self.last}", "error_type": kinds.get(status, "other")})
        else:
            error = {"message": f"{message} {self.last}", "type": "Error", "param": None, "code": status}
            self.connection.reply(status, {"error": error})

    async def words(self, count: int | None = None) -> None:
        """Begin, and say the first `count` words of the text (default: all)."""
        if not self.begun:
            self.begin()
        interval, loop = self.number("interval", 0), asyncio.get_running_loop()
        texts, began = re.findall(r"\s*\S+", self.text)[:count], loop.time()
        for k, text in enumerate(texts, start=1):
            self.word(text)
            wait = began + k * self.number("over", 0) / len(texts) - loop.time() if "over" in self.options else interval
            if wait > 0:
                await asyncio.sleep(wait)

    async def held(self) -> None:
        go_on = asyncio.Event()
        self.server.holding.add(go_on)
        await go_on.wait()

    async def some_words(self) -> None:
        await self.words(int(self.number("after", 3)))

    # Scenarios

    async def do_say(self) -> None:
        if self.body.get("stream", self.generate):
            await self.words()
            self.close()
        else:
            message = {"role": "assistant", "content": self.text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.connection.reply(200, {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]})

    async def do_hold(self) -> None:
        self.begin()
        stops = {int(stop) - self.said for stop in self.options.get("after", "3").split(",")}
        for count, text in enumerate(re.findall(r"\s*\S+", self.text), start=1):
            self.word(text)
            if count in stops:
                await self.held()
        self.close()

    async def do_clock(self) -> None:
        """Absolute deadlines: a late token does not delay the ones after it."""
        loop = asyncio.get_running_loop()
        tokens, first, interval = (
            int(self.number("tokens", 200)),
            self.number("first", 0.1),
            self.number("interval", 0.005),
        )
        before, after = self.event({"content": "\0"}).split(b"\\u0000")
        start = loop.time() + first
        self.begin()
        for k in range(tokens):
            if (wait := start + k * interval - loop.time()) > 0:
                await asyncio.sleep(wait)
            self.connection.send(b"%b%d@%.6f %b" % (before, k, time.time(), after))
            self.connection.sent()
        self.close("length")

    async def do_silent(self) -> None:
        await asyncio.Event().wait()

    async def do_slow(self) -> None:
        self.begin()
        await asyncio.sleep(self.number("first", 3600))
        await self.words()
        self.close()

    async def do_stall(self) -> None:
        await self.some_words()
        await asyncio.Event().wait()

    async def do_die(self) -> None:
        await self.some_words()
        await asyncio.sleep(0.05)  # what was written must have left before the reset
        self.connection.finish("died")
        self.connection.transport.abort()

    async def do_cut(self) -> None:
        await self.some_words()
        self.close(None)

    async def do_half(self) -> None:
        await self.some_words()
        self.connection.send(self.event({"content": " half"})[:40])
        self.connection.end_stream()

    async def do_no_done(self) -> None:
        await self.words()
        self.close(done=False)

    async def do_error(self) -> None:
        await self.some_words()
        message = f"{self.options.get('message', 'Internal server error')} {self.last}"
        if self.tgi:
            body: dict[str, Any] = {"error": message, "error_type": self.options.get("type", "generation")}
        else:
            code = int(self.number("code", 500))
            body = {"error": {"message": message, "type": "InternalServerError", "param": None, "code": code}}
        self.connection.send(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.close(None)

    async def do_abort(self) -> None:
        await self.some_words()
        self.close("abort")

    async def do_garbage(self) -> None:
        await self.some_words()
        self.connection.send(b'data: {"choices": [' + self.last.encode() + b"\n\n")
        await asyncio.Event().wait()

    async def do_odd(self) -> None:
        """JSON, but of another shape."""
        self.begin()
        self.connection.send(b"data: " + self.options.get("json", "[]").encode() + b"\n\n")
        await asyncio.Event().wait()

    async def do_broken(self) -> None:
        """The framing of HTTP itself breaks."""
        await self.some_words()
        self.connection.transport.write(b"this is no length of a chunk\r\n")
        await asyncio.Event().wait()

    async def do_html(self) -> None:
        self.connection.reply(200, f"<html>{self.last}</html>", "text/html")

    async def do_split(self) -> None:
        self.begin()
        for text in ("Zażółć", " gęślą", " jaźń", " 🙂", "\u2028", "\u0085", " koniec"):
            for byte in self.event({"content": text}):
                self.connection.send(bytes([byte]))
                if byte > 127:
                    await asyncio.sleep(0.001)
        self.close()

    async def do_reasoning(self) -> None:
        self.begin()
        field, interval = self.options.get("field", "reasoning"), self.number("interval", 0)
        for word in re.findall(r"\s*\S+", self.options.get("thoughts", "Let_me_think.").replace("_", " ")):
            await asyncio.sleep(interval)
            self.connection.send(self.event({field: word}))
        if "stall" in self.options:
            await asyncio.Event().wait()
        if "hold" in self.options:
            await self.held()
        self.text = "Thought." if self.text is SAYING else self.text
        await self.words()
        self.close()

    async def do_status(self) -> None:
        self.refuse(int(self.number("code", 500)), self.options.get("message", "Something went wrong."))

    async def do_overloaded(self) -> None:
        self.refuse(429 if self.tgi else 503, "Model is overloaded" if self.tgi else "Maximum queue size reached.")

    async def do_too_long(self) -> None:
        tokens, limit = int(self.number("tokens", 5000)), int(self.number("limit", self.server.context))
        if self.tgi:
            self.refuse(422, f"Input validation error: `inputs` must have less than {limit} tokens. Given: {tokens}")
        else:
            self.refuse(
                400,
                f"This model's maximum context length is {limit} tokens. However, your prompt contains {tokens} input "
                "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the "
                "input prompt.",
            )

    async def do_room(self) -> None:
        tokens, limit, asked = int(self.number("tokens", 100)), int(self.number("limit", 512)), self.body["max_tokens"]
        if asked <= limit - tokens:
            self.text = "fits"
            await self.do_say()
        elif self.tgi:
            self.refuse(
                422,
                f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {limit}. Given: {tokens} "
                f"`inputs` tokens and {asked} `max_new_tokens`",
            )
        else:
            self.refuse(
                400,
                f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length "
                f"is {limit} tokens and your request has {tokens} input tokens ({asked} > {limit} - {tokens}).",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted engine in a process of its own. Prints its port.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--scenario", default="/say")
    parser.add_argument("--owned-by", default="scripted", help='"vllm": it shows itself as one')
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--title", default="…", help="what it says when it is asked for one")
    given = parser.parse_args()
    server = ScriptedEngine(
        given.scenario,
        port=given.port,
        uds=given.uds,
        title=given.title,
        owned_by=given.owned_by,
        context=given.context,
    )

    async def run() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve(stop))
        await asyncio.to_thread(server._up.wait)
        print(server.port, flush=True)
        await serving

    try:
        from uvloop import run as run_loop
    except ImportError:
        run_loop = asyncio.run
    with suppress(KeyboardInterrupt):
        run_loop(run())


if __name__ == "__main__":
    main()
