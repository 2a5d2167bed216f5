"""Temporary chats: a turn like any other, and nothing of it anywhere but in memory, until its page is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from chat.conversation import Message
from chat.models.catalog import Catalog, ModelEntry
from chat.stored import NotFound
from chat.temporary import GONE_AFTER, MOST_EACH, TemporaryChats
from tests.support.app_process import AppProcess, engine_process
from tests.support.backing import files_below
from tests.support.fakes import FakeEngine, FakePool

OWNER, OTHER = "1" * 32, "2" * 32


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
async def chats():
    engine, clock = FakeEngine(), Clock()
    chats = TemporaryChats(Catalog((ModelEntry("small"),), "small"), FakePool(engine), {}, clock, lambda: 0.0)
    yield SimpleNamespace(chats=chats, engine=engine, clock=clock, store=chats.service.store)
    await chats.aclose()


async def say(world, text: str, answer: str = "ok", conversation: str | None = None, owner: str = OWNER):
    await world.chats.welcome(owner)
    world.engine.scripts.append([answer])
    found, _, running = await world.chats.service.send(owner, conversation, text)
    await world.chats.generations.get(running.id).wait()
    return found, await world.store.message(owner, running.id)


@pytest.mark.anyio
async def test_it_is_a_conversation_like_any_other(chats):
    found, answer = await say(chats, "My name is Ada.", "Hello Ada.")
    await say(chats, "Who am I?", "Ada.", found.id)
    assert chats.engine.asked[1].messages[0] == Message("user", "My name is Ada.")
    chats.engine.scripts.append(["Hi Ada."])
    _, _, again = await chats.chats.service.retry(OWNER, answer.id)
    await chats.chats.generations.get(again.id).wait()
    assert len((await chats.store.message(OWNER, again.id)).siblings) == 2


@pytest.mark.anyio
async def test_closed_it_is_gone_and_its_running_answer_is_stopped(chats):
    found, _ = await say(chats, "one")
    chats.engine.scripts.append(["secret", asyncio.Event()])
    _, _, running = await chats.chats.service.send(OWNER, found.id, "two")
    with pytest.raises(NotFound):
        await chats.chats.close(OTHER, found.id)
    await chats.chats.close(OWNER, found.id)
    assert chats.engine.freed == 2
    for attempt in (chats.store.conversation(OWNER, found.id), chats.store.message(OWNER, running.id)):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.anyio
async def test_one_whose_page_is_silent_is_gone_after_an_hour(chats):
    (left, _), (open_one, _) = await say(chats, "left"), await say(chats, "open")
    chats.clock.now += GONE_AFTER - 60
    await chats.chats.still_open(OWNER, open_one.id)
    with pytest.raises(NotFound):
        await chats.chats.still_open(OTHER, open_one.id)
    chats.clock.now += 120
    await chats.chats.expire()
    with pytest.raises(NotFound):
        await chats.store.conversation(OWNER, left.id)
    assert (await chats.store.conversation(OWNER, open_one.id)).id == open_one.id


@pytest.mark.anyio
async def test_an_owner_has_so_many_at_once_and_the_oldest_goes_first(chats):
    elsewhere, _ = await say(chats, "another's", owner=OTHER)
    made = [(await say(chats, f"chat {number}"))[0].id for number in range(MOST_EACH + 2)]
    for id in made[:2]:
        with pytest.raises(NotFound):
            await chats.store.conversation(OWNER, id)
    for owner, id in ((OWNER, made[2]), (OTHER, elsewhere.id)):
        assert (await chats.store.conversation(owner, id)).id == id


# The real app


CANARY, ANSWER, SYSTEM = "heliotrope-quagmire", "vermilion-sextant", "obsidian-farthing"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = tmp_path_factory.mktemp("temporary")
    temp = folder / "tmp"
    temp.mkdir()
    with engine_process("--owned-by", "vllm") as url:
        where = {"TMPDIR": str(temp), "HOME": str(folder / "home"), "GRADIO_TEMP_DIR": str(temp / "gradio")}
        with AppProcess(folder / "data", ENGINE_URL=url, SYNC_SECONDS="1", **where) as app:
            yield app


def turn(client: httpx.Client, text: str, prefix: str = "/api/temporary", **more: object) -> dict:
    sent = client.post(f"{prefix}/turns", json={"text": text, **more})
    assert sent.status_code == 200, sent.text
    events = client.get(f"{prefix}/answers/{sent.json()['answer']['id']}/live").text.split("\n\n")
    done = json.loads([event for event in events if event.startswith("data: ")][-1].removeprefix("data: "))["done"]
    return {**sent.json(), "answer": done}


def holds(folder: Path, words: str) -> list[str]:
    """The files below `folder` that hold these words, however they are written."""
    forms = [
        words.encode(),
        words.encode("utf-16-le"),
        words.replace("-", " ").encode(),
        *map(str.encode, words.split("-")),
    ]
    return [
        str(file.relative_to(folder)) for file, content in files_below(folder) if any(form in content for form in forms)
    ]


def open_files(app: AppProcess) -> Iterator[tuple[str, bytes]]:
    """What the process has open now: deleted files too, which have no name any more. It may close one meanwhile."""
    for link in Path(f"/proc/{app.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            name = str(link.readlink())
            if not name.startswith(("socket:", "pipe:", "anon_inode:", "/dev/")):
                yield name, link.read_bytes()


def test_no_file_that_the_process_wrote_holds_a_word_of_it(app: AppProcess):
    """Database, write-ahead log, backup, logs, home, temporary folder: searched while it runs and after it stopped."""
    folder = app.data_dir.parent
    with httpx.Client(base_url=app.url, headers={"X-Parley": "1"}, timeout=60) as client:
        kept = turn(client, "/say something kept: persimmon-lattice", "/api")
        assert "persimmon-lattice" in kept["answer"]["text"]
        brief = turn(client, f"/say {CANARY} {ANSWER}", system_prompt=SYSTEM)
        assert ANSWER in brief["answer"]["text"]
        id, prompt = brief["conversation"]["id"], brief["prompt"]["id"]
        turn(client, f"/say {CANARY} {ANSWER}", conversation=id, beside=prompt)
        turn(client, f"/status code=500 message={CANARY}", conversation=id)
        # Wrong in every way that an error could quote.
        for body in ({"text": CANARY, "model": CANARY}, {"text": CANARY, "params": {CANARY: 1}}, {"text": [CANARY]}):
            assert client.post("/api/temporary/turns", json=body).status_code == 422
        assert client.get(f"/api/temporary/conversations/{id}").json()["messages"]
        for path in (f"/api/conversations/{id}", f"/api/privacy/preview?conversation={id}"):
            assert client.get(path).status_code == 404
        listed = client.get("/api/conversations").json()["items"]
        assert [item["id"] for item in listed] == [kept["conversation"]["id"]]
        found = client.post("/api/search", json={"query": CANARY})
        assert CANARY not in found.text.replace(f'"{CANARY}"', "")
        look_everywhere(app, folder)
        assert client.delete(f"/api/temporary/conversations/{id}").status_code == 200
        assert client.get(f"/api/temporary/conversations/{id}").status_code == 404
        running = client.post("/api/temporary/turns", json={"text": f"/stall after=2 {CANARY} {ANSWER} {CANARY}"})
        assert running.status_code == 200
    app.terminate()
    look_everywhere(app, folder)


def look_everywhere(app: AppProcess, folder: Path) -> None:
    assert holds(folder, "persimmon-lattice"), "the search finds what is kept"
    for words in (CANARY, ANSWER, SYSTEM):
        assert holds(folder, words) == []
        assert words not in app.output()
    if app.process.poll() is None:
        for name, content in open_files(app):
            assert CANARY.encode() not in content, name
