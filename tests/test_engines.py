"""The engines over HTTP, against a server that speaks their wire formats by script."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import httpx2
import huggingface_hub.errors
import pytest
import text_generation.errors

from chat.conversation import Message, SamplingParams
from chat.engines import adapters, chat_engine
from chat.engines.adapters import HostedEngine, OpenAIEngine, TGIEngine
from chat.engines.engine import MAX_LINE, Answer, Delta, Engine, Timeouts
from chat.engines.errors import (
    EngineError,
    EngineOutOfMemory,
    EngineOverloaded,
    EngineRefused,
    EngineStarting,
    EngineUnavailable,
    PromptTooLong,
    from_answer,
    from_exception,
)
from tests.support.scripted_engine import SAYING, ScriptedEngine

pytestmark = pytest.mark.anyio
SECRET = "my-diary-says-so"
KINDS = ("vllm", "openai", "tgi", "hosted")
BRIEF = Timeouts(connect=5, first_token=0.3, idle=0.3)
Make = Callable[..., Engine]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedEngine]:
    with ScriptedEngine() as running:
        yield running


def build(kind: str, url: str, timeouts: Timeouts = Timeouts(), **more: str) -> Engine:  # noqa: B008
    match kind:
        case "tgi":
            return TGIEngine(url + "/tgi", "scripted", timeouts=timeouts, **more)
        case "hosted":
            return HostedEngine("scripted", base_url=url + "/hosted/v1", timeouts=timeouts)
        case _:
            return OpenAIEngine(url, "scripted", vllm=kind == "vllm", timeouts=timeouts, **more)


def ask(text: str) -> list[Message]:
    return [Message("system", "Be brief."), Message("user", text)]


async def answer(engine: Engine, text: str, **more: object) -> list[Delta]:
    async with aclosing(engine.stream(ask(text), SamplingParams(), **more)) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def failure(kind: str, server: ScriptedEngine, text: str, timeouts: Timeouts = Timeouts()) -> EngineError:  # noqa: B008
    """The error that asking `text` ends in; it holds nothing of the conversation, however it is printed."""
    engine = build(kind, server.url, timeouts)
    try:
        with pytest.raises(EngineError) as caught:
            await answer(engine, text)
    finally:
        await engine.aclose()
    printed = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert SECRET not in printed
    assert caught.value.__context__ is None
    return caught.value


async def idle(server: ScriptedEngine) -> bool:
    return await asyncio.to_thread(server.wait_until, lambda: server.running == 0)


# An answer


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_arrives_whole_and_its_last_delta_carries_the_finish_reason(
    kind: str, server: ScriptedEngine
) -> None:
    engine = build(kind, server.url)
    deltas = await answer(engine, "/say")
    assert text_of(deltas) == SAYING
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    last = next(n for n, delta in enumerate(deltas) if delta.finish_reason)
    assert not text_of(deltas[last + 1 :])
    await engine.aclose()


async def test_vllm_tells_with_an_answer_how_many_tokens_it_read_and_wrote(server: ScriptedEngine) -> None:
    engine = build("vllm", server.url)
    deltas = await answer(engine, "/say one two three")
    read = len(["Be", "brief.", "/say", "one", "two", "three"])
    assert [delta.tokens for delta in deltas if delta.tokens] == [read + 3]
    await engine.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_words_are_yielded_as_they_come(kind: str, server: ScriptedEngine) -> None:
    engine = build(kind, server.url)
    async with aclosing(engine.stream(ask("/stall after=2"), SamplingParams())) as deltas:
        got = ""
        while got != "Hello, this":
            got += (await anext(deltas)).text
    assert await idle(server)
    await engine.aclose()


@pytest.mark.parametrize("kind", ["vllm", "openai", "tgi"])
async def test_letters_cut_between_two_reads_and_unicode_line_ends_arrive_as_sent(
    kind: str, server: ScriptedEngine
) -> None:
    engine = build(kind, server.url)
    assert text_of(await answer(engine, "/split")) == "Zażółć gęślą jaźń 🙂\u2028\u0085 koniec"
    await engine.aclose()


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_are_kept_apart_from_the_answer(kind: str, field: str, server: ScriptedEngine) -> None:
    engine = build(kind, server.url)
    deltas = await answer(engine, f"/reasoning field={field}")
    assert "".join(delta.reasoning for delta in deltas) == "Let me think."
    assert text_of(deltas) == "Thought."
    await engine.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_ends_after_its_finish_reason_without_done_is_complete(
    kind: str, server: ScriptedEngine
) -> None:
    engine = build(kind, server.url)
    assert (await answer(engine, "/no_done"))[-1].finish_reason == "stop"
    await engine.aclose()


async def test_a_finished_answer_gives_its_connection_back() -> None:
    with ScriptedEngine() as server:
        engine = build("vllm", server.url)
        for _ in range(3):
            await answer(engine, "/say")
        assert server.accepted == 1
        await engine.aclose()


async def test_vllm_is_reached_through_a_unix_socket(tmp_path: Path) -> None:
    with ScriptedEngine(uds=tmp_path / "engine.sock", api_key="k") as server:
        engine = OpenAIEngine("http://localhost", "scripted", vllm=True, uds=tmp_path / "engine.sock", api_key="k")
        assert text_of(await answer(engine, "/say")) == SAYING
        assert server.log[-1].path == "/v1/chat/completions"
        await engine.aclose()


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    engine = build("vllm", server.url)
    assert text_of(await answer(engine, "/say")) == SAYING
    await engine.aclose()


async def test_a_hundred_answers_stream_at_the_same_time(server: ScriptedEngine) -> None:
    engine = build("vllm", server.url)
    answers = await asyncio.gather(*(answer(engine, "/say interval=0.001") for _ in range(100)))
    assert {text_of(deltas) for deltas in answers} == {SAYING}
    await engine.aclose()


async def test_more_streams_than_the_machine_should_hold_are_refused_until_one_ends(
    server: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "MAX_STREAMS", 1)
    engine = build("vllm", server.url)
    first = engine.stream(ask("/stall after=1"), SamplingParams())
    await anext(first)
    with pytest.raises(EngineOverloaded):
        await answer(engine, "/say")
    await first.aclose()
    assert text_of(await answer(engine, "/say")) == SAYING
    await engine.aclose()


# A request


async def sent(engine: Engine, server: ScriptedEngine, **more: object) -> dict[str, object]:
    await answer(engine, "/say", **more)
    await engine.aclose()
    seen = server.log[-1]
    assert seen.roles == ("system", "user")
    return {name: seen.params.get(name) for name in seen.fields}


COMMON = {"messages", "model", "stream", "temperature", "top_p", "max_tokens"}


async def test_vllm_gets_its_own_fields_and_the_owners_cache_salt(server: ScriptedEngine) -> None:
    fields = await sent(build("vllm", server.url), server, cache_salt="salt", continue_last=True)
    assert set(fields) == COMMON | {
        "top_k",
        "repetition_penalty",
        "stream_options",
        "cache_salt",
        "continue_final_message",
        "add_generation_prompt",
    }
    assert fields["cache_salt"] == "salt"
    assert (fields["continue_final_message"], fields["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("kind", ["openai", "tgi", "hosted"])
async def test_other_servers_get_no_field_of_vllms(kind: str, server: ScriptedEngine) -> None:
    assert set(await sent(build(kind, server.url), server, cache_salt="salt")) == COMMON


async def test_tgi_is_told_in_its_own_ranges(server: ScriptedEngine) -> None:
    """TGI refuses top_p 1, and its chat route reads the repetition penalty as presence_penalty + 2."""
    engine = build("tgi", server.url)
    params = SamplingParams(top_p=1.0, repetition_penalty=1.25, seed=7)
    async with aclosing(engine.stream(ask("/say"), params)) as deltas:
        assert text_of([delta async for delta in deltas]) == SAYING
    seen = server.log[-1].params
    assert "top_p" not in seen
    assert (seen["presence_penalty"], seen["seed"]) == (-0.75, 7)


QUESTION = [Message("system", "Be brief."), Message("user", "one two three")]


async def test_vllm_counts_the_tokens_of_a_conversation(server: ScriptedEngine, tmp_path: Path) -> None:
    engine = build("vllm", server.url)
    assert await engine.count(QUESTION) == 5
    assert await engine.count([*QUESTION, Message("assistant", "four")], continue_last=True) == 6
    await engine.aclose()
    with ScriptedEngine(uds=tmp_path / "engine.sock") as here:
        engine = OpenAIEngine("http://vllm", here.model, vllm=True, uds=tmp_path / "engine.sock")
        assert await engine.count(QUESTION) == 5
        await engine.aclose()


@pytest.mark.parametrize("kind", ["openai", "tgi", "hosted"])
async def test_other_servers_are_not_asked_to_count(kind: str, server: ScriptedEngine) -> None:
    engine = build(kind, server.url)
    assert await engine.count(QUESTION) is None
    await engine.aclose()


async def test_a_count_that_fails_is_none() -> None:
    engine = OpenAIEngine("http://127.0.0.1:9", "scripted", vllm=True)
    assert await engine.count(QUESTION) is None
    await engine.aclose()


@pytest.mark.parametrize("kind", ["openai", "tgi", "hosted"])
async def test_a_server_that_cannot_continue_an_answer_is_not_asked_to(kind: str, server: ScriptedEngine) -> None:
    before = len(server.log)
    with pytest.raises(EngineRefused):
        await answer(build(kind, server.url), "/say", continue_last=True)
    assert len(server.log) == before


async def test_an_endpoint_never_gets_the_token_of_this_machine(
    server: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_operator")
    await answer(HostedEngine("scripted", base_url=server.url + "/hosted/v1"), "/say")
    assert server.log[-1].authorization is None
    engine = HostedEngine("scripted", base_url=server.url + "/hosted/v1", token="given")
    await answer(engine, "/say")
    assert server.log[-1].authorization == "Bearer given"


def test_the_router_is_not_asked_without_a_token() -> None:
    with pytest.raises(ValueError, match="HF_TOKEN"):
        HostedEngine("org/model")


@pytest.mark.parametrize("kind", ["vllm", "tgi"])
async def test_an_answer_longer_than_the_room_left_is_asked_for_again_with_what_fits(
    kind: str, server: ScriptedEngine
) -> None:
    """max_tokens has one default for every model; a small model must not refuse each message for it."""
    engine = build(kind, server.url)
    assert text_of(await answer(engine, "/room tokens=100 limit=512")) == "fits"
    assert server.log[-1].params["max_tokens"] == 412
    await engine.aclose()


async def test_a_room_too_small_for_an_answer_counts_as_a_conversation_too_long(server: ScriptedEngine) -> None:
    """An answer of a dozen tokens would be cut off in its first sentence: older messages must make room instead."""
    engine = build("vllm", server.url)
    with pytest.raises(PromptTooLong):
        await answer(engine, "/room tokens=500 limit=512")
    await engine.aclose()


async def test_a_server_known_by_its_address_alone_is_asked_which_model_it_serves(server: ScriptedEngine) -> None:
    engine = OpenAIEngine(server.url, "", vllm=False)
    assert text_of(await answer(engine, "/say yes")) == "yes"
    assert server.log[-1].params["model"] == "scripted"
    await engine.aclose()


async def test_a_vllm_known_by_its_address_alone_gets_its_own_fields_from_the_first_answer_on() -> None:
    """Else `ENGINE_URL` would lose top-k and the repetition penalty without a word, and owners would share one cache."""
    with ScriptedEngine(owned_by="vllm") as server:
        engine = OpenAIEngine(server.url, "", vllm=False)
        fields = await sent(engine, server, cache_salt="salt", continue_last=True)
    assert {"top_k", "repetition_penalty", "cache_salt", "continue_final_message"} <= set(fields)
    assert (fields["model"], fields["cache_salt"]) == ("scripted", "salt")


async def test_a_server_that_does_not_say_it_is_a_vllm_gets_no_field_of_vllms(server: ScriptedEngine) -> None:
    assert set(await sent(OpenAIEngine(server.url, "", vllm=False), server, cache_salt="salt")) == COMMON


# Stop


@pytest.mark.parametrize("scenario", ["/silent", "/slow", "/stall after=0", "/stall after=3", "/say interval=60"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_the_reader_frees_the_request(kind: str, scenario: str, server: ScriptedEngine) -> None:
    """Before the headers, before the first token, and in mid-answer."""
    engine = build(kind, server.url)
    already = len(server.log)
    reader = asyncio.create_task(answer(engine, scenario))
    assert await asyncio.to_thread(server.wait_until, lambda: len(server.log) > already)
    await asyncio.sleep(0.05)
    assert server.log[-1].outcome == "running"
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await idle(server)
    assert server.log[-1].outcome == "aborted"
    await engine.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_the_iterator_frees_the_request_while_the_engine_lives_on(
    kind: str, server: ScriptedEngine
) -> None:
    engine = build(kind, server.url)
    deltas = engine.stream(ask("/stall after=1"), SamplingParams())
    await anext(deltas)
    await deltas.aclose()
    assert await idle(server)
    assert server.log[-1].outcome == "aborted"
    assert text_of(await answer(engine, "/say")) == SAYING
    await engine.aclose()


# Failures


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("/die", EngineUnavailable),
        ("/die after=0", EngineUnavailable),
        ("/cut", EngineUnavailable),
        ("/cut after=0", EngineUnavailable),
        ("/half", EngineUnavailable),
        ("/garbage", EngineUnavailable),
        ("/odd json=[]", EngineUnavailable),
        ("/odd json=5", EngineUnavailable),
        ('/odd json={"choices":5}', EngineUnavailable),
        ('/odd json={"choices":[5]}', EngineUnavailable),
        ('/odd json={"choices":[{"delta":{"content":5}}]}', EngineUnavailable),
        ("/abort", EngineUnavailable),
        ("/error", EngineUnavailable),
        ("/error message=CUDA_out_of_memory", EngineOutOfMemory),
        ("/overloaded", EngineOverloaded),
        ("/status code=400", EngineRefused),
        ("/status code=401", EngineRefused),
        ("/status code=402", EngineRefused),
        ("/status code=403", EngineRefused),
        ("/status code=404", EngineRefused),
        ("/status code=408", EngineUnavailable),
        ("/status code=413", PromptTooLong),
        ("/status code=422", EngineRefused),
        ("/status code=424", EngineUnavailable),
        ("/status code=429", EngineOverloaded),
        ("/status code=500", EngineUnavailable),
        ("/status code=500 message=CUDA_out_of_memory", EngineOutOfMemory),
        ("/status code=502", EngineUnavailable),
        ("/status code=503", EngineOverloaded),
        ("/status code=503 message=Model_is_currently_loading", EngineStarting),
        ("/status code=504", EngineUnavailable),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_failure_of_a_server_is_one_of_the_family(
    kind: str, scenario: str, expected: type[EngineError], server: ScriptedEngine
) -> None:
    error = await failure(kind, server, f"{scenario} {SECRET}")
    assert type(error) is expected, repr(error)
    assert str(error).count(".") >= 2  # what happened, and what to do
    assert await idle(server)


@pytest.mark.parametrize("scenario", ["/html", "/status code=302"])
@pytest.mark.parametrize("kind", ["vllm", "openai", "tgi"])
async def test_a_wrong_address_is_said_to_be_one(kind: str, scenario: str, server: ScriptedEngine) -> None:
    assert "address" in str(await failure(kind, server, f"{scenario} {SECRET}"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_not_there_is_unavailable(kind: str, free_tcp_port: int) -> None:
    engine = build(kind, f"http://127.0.0.1:{free_tcp_port}")
    with pytest.raises(EngineUnavailable):
        await answer(engine, "Hello")
    await engine.aclose()


@pytest.mark.parametrize("kind", ["vllm", "openai", "tgi"])
async def test_a_wrong_key_is_refused_and_not_shown(kind: str) -> None:
    with ScriptedEngine(api_key="right") as server:
        engine = build(kind, server.url, api_key=SECRET)
        with pytest.raises(EngineRefused) as caught:
            await answer(engine, "/say")
        await engine.aclose()
        assert "key" in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["no scheme", "ftp://host", "http://"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    engine = OpenAIEngine(url, "m", vllm=True)
    with pytest.raises(EngineRefused, match="address"):
        await answer(engine, "Hello")
    await engine.aclose()


@pytest.mark.parametrize("scenario", ["/silent", "/slow", "/stall after=0"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_never_begins_is_given_up(kind: str, scenario: str, server: ScriptedEngine) -> None:
    error = await failure(kind, server, f"{scenario} {SECRET}", BRIEF)
    assert type(error) is EngineUnavailable
    assert "in time" in str(error)
    assert await idle(server)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_falls_silent_is_given_up_after_the_idle_time(kind: str, server: ScriptedEngine) -> None:
    error = await failure(kind, server, f"/stall {SECRET} word word word", Timeouts(first_token=60, idle=0.2))
    assert "silent" in str(error)
    assert await idle(server)


@pytest.mark.parametrize("kind", KINDS)
async def test_broken_framing_of_http_ends_the_answer_by_the_idle_time_at_the_latest(
    kind: str, server: ScriptedEngine
) -> None:
    """aiohttp 3.14 notices it at once or, now and then, not at all."""
    error = await failure(kind, server, f"/broken {SECRET} word word", Timeouts(first_token=20, idle=0.5))
    assert type(error) is EngineUnavailable
    assert await idle(server)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_first_token_is_waited_for_longer_than_a_pause(kind: str, server: ScriptedEngine) -> None:
    engine = build(kind, server.url, Timeouts(first_token=60, idle=1.5))
    assert text_of(await answer(engine, "/slow first=2.5")) == SAYING
    await engine.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_text_before_a_failure_is_yielded_before_it_is_raised(kind: str, server: ScriptedEngine) -> None:
    engine = build(kind, server.url)
    got = []
    with pytest.raises(EngineUnavailable):
        async for delta in engine.stream(ask("/error after=3 one two three"), SamplingParams()):
            got.append(delta)
    assert text_of(got) == "one two three"
    await engine.aclose()


async def test_an_endless_line_is_not_collected(server: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Answer("scripted")
    for _ in range(MAX_LINE // 65536 + 1):
        reading.read(b"x" * 65536)
    assert isinstance(reading.failure, EngineUnavailable)


# Both lengths


@pytest.mark.parametrize("kind", ["vllm", "openai", "tgi", "hosted"])
async def test_a_prompt_that_is_too_long_names_both_lengths(kind: str, server: ScriptedEngine) -> None:
    error = await failure(kind, server, f"/too_long tokens=5000 limit=4096 {SECRET}")
    assert isinstance(error, PromptTooLong)
    assert (error.tokens, error.limit) == (5000, 4096)
    assert str(error) == (
        "This is 5,000 tokens long; scripted reads at most 4,096. Shorten your message or start a new chat."
    )


@pytest.mark.parametrize(
    ("message", "tokens", "limit"),
    [
        (
            "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce ...",
            513,
            512,
        ),
        (
            "This model's maximum context length is 512 tokens. However, your prompt contains 90000 characters (more "
            "than 65536 characters, which is the upper bound for 512 input tokens). Please reduce ...",
            None,
            512,
        ),
        (
            "The decoder prompt (length 600) is longer than the maximum model length of 512. Make sure that ...",
            600,
            512,
        ),
        (
            "The decoder prompt (length 512) plus the number of requested output tokens (at least 1) is longer than "
            "the maximum model length of 512. Make sure that ...",
            512,
            512,
        ),
        ("Input length (600) exceeds model's maximum context length (512).", 600, 512),
        (
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens. "
            "Please reduce the length of the messages.",
            5000,
            4097,
        ),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", 2000, 1024),
    ],
)
def test_the_lengths_are_found_in_each_servers_words(message: str, tokens: int | None, limit: int) -> None:
    error = from_answer("M", 400, {"error": {"message": message}}, begun=False)
    assert isinstance(error, PromptTooLong)
    assert (error.tokens, error.limit) == (tokens, limit)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on import
def test_the_wording_of_the_installed_vllm_is_understood() -> None:
    """The sentences are produced by vLLM's own code, so that an upgrade that rewords them fails here."""
    from vllm.exceptions import VLLMValidationError
    from vllm.renderers.params import TokenizeParams

    params = TokenizeParams(max_total_tokens=512, max_output_tokens=16)
    with pytest.raises(VLLMValidationError) as caught:
        params._token_len_check(None, [1] * 600)
    error = from_answer("M", 400, {"error": {"message": str(caught.value)}}, begun=False)
    assert isinstance(error, PromptTooLong)
    assert (error.tokens, error.limit) == (600, 512)

    with pytest.raises(VLLMValidationError) as caught:
        TokenizeParams(
            max_total_tokens=512,
            max_output_tokens=1024,
            max_total_tokens_param="max_model_len",
            max_output_tokens_param="max_tokens",
        )
    error = from_answer("M", 400, {"error": {"message": str(caught.value)}}, begun=False)
    assert getattr(error, "room", None) == 512


def test_a_model_without_a_system_role_says_which_setting_to_empty() -> None:
    error = from_answer("M", 400, {"error": {"message": "System role not supported"}}, begun=False)
    assert "system prompt" in str(error)


# Every exception of every transport library


def family(*roots: type[BaseException]) -> list[type[BaseException]]:
    found = list(roots)
    for cls in found:
        found += [sub for sub in cls.__subclasses__() if sub not in found]
    return found


def instance(cls: type[BaseException]) -> BaseException:
    """One of `cls`, its message the conversation, whatever its constructor asks for."""
    error = cls.__new__(cls)
    error.args = (SECRET,)
    return error


TRANSPORT_ERRORS = family(
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    httpx2.CookieConflict,
    aiohttp.ClientError,
    huggingface_hub.errors.HfHubHTTPError,
    huggingface_hub.errors.InferenceTimeoutError,
    huggingface_hub.errors.TextGenerationError,
    huggingface_hub.errors.OfflineModeIsEnabled,
    huggingface_hub.errors.LocalTokenNotFoundError,
    *(each for each in vars(text_generation.errors).values() if isinstance(each, type) and issubclass(each, Exception)),
)
TRANSPORT_ERRORS += [json.JSONDecodeError, UnicodeDecodeError, KeyError, ValueError, RuntimeError, OSError]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("cls", TRANSPORT_ERRORS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_exception_of_every_library_becomes_one_of_the_family(cls: type[Exception], begun: bool) -> None:
    error = from_exception("M", instance(cls), begun=begun)
    assert isinstance(error, EngineError)
    assert SECRET not in str(error) + error.detail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx2.PoolTimeout("full"), EngineOverloaded),
        (httpx2.ConnectError("refused"), EngineUnavailable),
        (httpx2.ReadTimeout("silent"), EngineUnavailable),
        (httpx2.InvalidURL("bad"), EngineRefused),
        (text_generation.errors.OverloadedError("busy"), EngineOverloaded),
        (text_generation.errors.ValidationError("no"), EngineRefused),
        (text_generation.errors.GenerationError("CUDA out of memory"), EngineOutOfMemory),
        (huggingface_hub.errors.OverloadedError("busy"), EngineOverloaded),
        (huggingface_hub.errors.InferenceTimeoutError("late"), EngineUnavailable),
    ],
    ids=repr,
)
def test_an_exception_keeps_its_meaning(error: Exception, expected: type[EngineError]) -> None:
    assert type(from_exception("M", error, begun=False)) is expected


@pytest.mark.parametrize(
    "error", [httpx2.ReadError("x"), aiohttp.ClientPayloadError("x"), KeyError("x"), MemoryError("x")]
)
async def test_whatever_the_transport_raises_leaves_the_engine_as_an_engine_error(error: Exception) -> None:
    class Broken(chat_engine.ChatEngine):
        async def _open(self, stack: object, request: object) -> object:
            raise error

    with pytest.raises(EngineError):
        await answer(Broken("M", None, Timeouts()), "Hello")
