"""Sharing against real git behind a Hub: `load_dataset` opens what is shared, git finds nothing of what left."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from chat.dataset_repo import Threads
from chat.hub import HubRepo
from chat.retrying import Retrying
from chat.slots import Slots
from privacy.access import Access
from privacy.mine import preview
from privacy.outbox import plan
from privacy.push import CALLER
from privacy.saved import files as saved_files
from privacy.sharing import AGAIN
from privacy.strays import look_over
from privacy.trying import Tools
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub  # noqa: F401
from tests.support.memory_repo import Crash, Faulty, text_of
from tests.support.sharing_world import ALPHA, BETA, QUIET, World
from tests.test_hub_loopback_clients import run_client

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET, OTHER_DATASET = "ada/parley-acme__alpha", "ada/parley-globex__beta"
STARTER = str(Path(__file__).resolve().parents[1] / "starter" / "model")


@pytest.fixture
def world(tmp_path, hub: LoopbackHub, ada: HfApi):
    world = World(tmp_path / "data", lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER))
    yield world
    world.close()


def git(hub: LoopbackHub, dataset: str, *arguments: str) -> bytes:
    command = ["git", "-C", str(hub.repo_path("dataset", dataset)), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def dug_up(hub: LoopbackHub, dataset: str, text: str) -> bool:
    """Whether any object of the repository, reachable or not, or any large file beside it holds the text."""
    listed = git(hub, dataset, "cat-file", "--batch-all-objects", "--batch-check").decode().splitlines()
    blobs = [line.split()[0] for line in listed if line.split()[1] == "blob"]
    everything = [git(hub, dataset, "cat-file", "blob", blob) for blob in blobs]
    beside = [path for path in hub.repo_path("dataset", dataset).parent.rglob("*") if path.is_file()]
    everything += [path.read_bytes() for path in beside]
    messages = git(hub, dataset, "log", "--all", "--format=%B")
    return any(text in text_of(content) for content in [*everything, messages])


def nobody_sees(hub: LoopbackHub, dataset: str) -> bool:
    return httpx.get(f"{hub.endpoint}/api/datasets/{dataset}").status_code == 401


async def agreed(world: World, *names: str) -> str:
    owner = await world.person()
    for name in names:
        await world.choose(owner, "grant", name)
    return owner


async def test_what_was_shared_opens_with_load_dataset_and_each_model_has_only_its_own(world, hub, ada, tmp_path):
    owner = await agreed(world, "acme", "globex")
    chat = await world.say(owner, "for alpha, from me@home.example")
    await world.say(owner, "for beta", BETA, chat)
    gone = await world.say(owner, "to be taken back")
    silent = await world.person()
    await world.say(silent, "of one who said nothing")
    _, pushed = await world.turn()
    assert not pushed.problems and set(pushed.commits) == {DATASET, OTHER_DATASET}
    await world.store.delete(owner, gone)
    _, pushed = await world.turn(0)
    assert not pushed.problems
    code = f"""
from datasets import load_dataset
for name in ({DATASET!r}, {OTHER_DATASET!r}):
    found = load_dataset(name, split="train")
    print([message["content"] for row in found for message in row["messages"]])
print(next(iter(load_dataset({DATASET!r}, split="train", streaming=True)))["purposes"])
print(load_dataset({DATASET!r}, "tombstones", split="train").num_rows)
"""
    shown = run_client(hub, str(ada.token), tmp_path / "home", code).splitlines()
    assert shown == [
        f"['for alpha, from [EMAIL_1]', '{ALPHA} answers: for alpha, from [EMAIL_1]']",
        f"['for beta', '{BETA} answers: for beta']",
        "['training', 'research']",
        "1",
    ]
    for dataset in (DATASET, OTHER_DATASET):
        assert ada.dataset_info(dataset).private
        assert nobody_sees(hub, dataset)
        assert not dug_up(hub, dataset, "of one who said nothing") and not dug_up(hub, dataset, "home.example")


async def test_trl_trains_on_what_was_shared_as_conversations_also_streamed(world, hub, ada, tmp_path):
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "what is a heron? tell me@home.example", answer="A bird that waits.")
    await world.say(owner, "and a second thing?", conversation=chat, answer="It waits on.")
    await world.turn()
    code = f"""
import sys
hosts = set()
sys.addaudithook(lambda event, about: hosts.add(str(about[0])) if event == "socket.getaddrinfo" else
    hosts.add(str(about[1][0])) if event == "socket.connect" else None)
from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
from trl.data_utils import is_conversational
tokenizer = AutoTokenizer.from_pretrained({STARTER!r})
settings = SFTConfig({str(tmp_path / "out")!r}, max_steps=1, use_cpu=True, bf16=False, report_to="none", save_strategy="no")
for streaming in (False, True):
    shared = load_dataset({DATASET!r}, split="train", streaming=streaming)
    trainer = SFTTrainer({STARTER!r}, settings, train_dataset=shared, processing_class=tokenizer)
    (row,) = trainer.train_dataset
    print(is_conversational(next(iter(shared))), tokenizer.decode(row["input_ids"]))
    print(row["labels"] == row["input_ids"], trainer.train().training_loss > 0)
print({{host for host in hosts if not host.endswith("127.0.0.1")}})
"""
    shown = run_client(hub, str(ada.token), tmp_path / "home", code).splitlines()
    text = (
        "<|begin|><|user|> what is a heron? tell [email_1]<|end|><|assistant|>A bird that waits.<|end|>"
        "<|user|> and a second thing?<|end|><|assistant|>It waits on.<|end|>"
    )
    trained = [line for line in shown if not line.startswith("{'train")]
    assert trained == [f"True {text}", "True True"] * 2 + ["set()"]


@pytest.mark.parametrize("way", ["withdraw", "delete", "private", "retry"])
async def test_what_was_taken_back_is_in_no_object_of_the_repository(world, hub, ada, way):
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "take me back")
    other = await agreed(world, "acme")
    await world.say(other, "leave me here")
    await world.turn()
    assert dug_up(hub, DATASET, "take me back")
    if way == "withdraw":
        await world.choose(owner, "withdraw", "acme")
    elif way == "delete":
        await world.store.delete(owner, chat)
    elif way == "private":
        await world.choose(owner, "deny", conversation=chat)
    else:
        await world.retry(owner, chat, "written anew")
    _, pushed = await world.turn(0)
    assert not pushed.problems
    assert not dug_up(hub, DATASET, "take me back"), way
    assert dug_up(hub, DATASET, "leave me here")
    assert git(hub, DATASET, "rev-list", "--count", "--all").strip() == b"1"
    row = next(row for row in await world.outbox() if row["state"] == "retracted")
    assert dug_up(hub, DATASET, row["row_id"]), "its tombstone"
    assert row["retracted_in"] == ada.dataset_info(DATASET).sha


@pytest.mark.parametrize(
    "fault",
    [
        {"path": r"/commit/", "drop": True, "when": "after"},
        {"path": r"/commit/", "status": 500, "when": "after"},
        {"path": r"/commit/", "status": 412},
        {"path": r"/super-squash/", "drop": True, "when": "after"},
        {"path": r"/super-squash/", "status": 503},
        {"path": r"lfs-files", "status": 500},
    ],
    ids=lambda fault: f"{fault['path']} {fault.get('status', 'dropped')} {fault.get('when', 'before')}",
)
async def test_a_hub_that_fails_once_only_delays(world, hub, ada, fault):
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "take me back")
    await world.turn()
    await world.store.delete(owner, chat)
    await world.say(owner, "and here is more")
    struck = hub.faults.add(fault.pop("path"), method="POST" if "lfs" not in repr(fault) else None, **fault)
    await world.turn()
    hub.faults.clear()
    _, pushed = await world.turn(0)
    assert struck.hits and not pushed.problems
    assert not dug_up(hub, DATASET, "take me back") and dug_up(hub, DATASET, "and here is more")
    assert await world.states() == ["published", "retracted"]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("call", ["create", "commit", "squash", "purge"])
async def test_a_crash_with_the_disk_lost_leaves_nothing_of_what_was_taken_back(
    world, hub, ada, tmp_path, call, before
):
    owner = await agreed(world, "acme", "globex")
    chat = await world.say(owner, "take me back")
    await world.say(owner, "leave me here")
    await world.turn()
    await world.store.delete(owner, chat)
    await world.say(owner, "the first of its dataset", BETA)
    saved: dict[str, bytes] = {}

    async def back_up():
        saved.clear()
        saved.update(await world.db.read(saved_files))

    def strike(name, is_before):
        if (name, is_before) == (call, before):
            raise Crash

    plain = world.open_repo
    world.open_repo = lambda id: Faulty(plain(id), strike)
    world.clock.now += QUIET
    with pytest.raises(Crash):
        await world.sharing(before_public=back_up).turn(restored=lambda: True)
    world.open_repo = plain
    other = await world.elsewhere(tmp_path / "other", saved)
    try:
        _, pushed = await other.turn(0)
        assert not pushed.problems and await other.states() == ["published", "published", "retracted"]
        assert not dug_up(hub, DATASET, "take me back") and dug_up(hub, DATASET, "leave me here")
        assert dug_up(hub, OTHER_DATASET, "the first of its dataset")
        gone = next(row for row in await other.outbox() if row["state"] == "retracted")
        assert dug_up(hub, DATASET, gone["row_id"]), "its tombstone"
        assert git(hub, DATASET, "rev-list", "--count", "--all").strip() == b"1"
    finally:
        other.close()


async def test_a_push_alone_asks_the_hub_to_write(world, hub, ada):
    """What plans, audits, looks over, lets in and shows is answered by a Hub that refuses every write, and asks for none."""
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "first")
    await world.turn()
    await world.say(owner, "second", conversation=chat)
    await world.say(owner, "third")
    await world.store.delete(owner, chat)
    with hub.guard.lifted():
        ada.upload_file(path_or_fileobj=b"x", path_in_repo="data/x.parquet", repo_id=DATASET, repo_type="dataset")
    world.clock.now += QUIET
    writes = "(parley-|/api/repos/)(?!.*paths-info)"
    refused = [
        hub.faults.add(writes, method=method, status=403, times=None) for method in ("POST", "PUT", "PATCH", "DELETE")
    ]

    async def nothing() -> bool:
        return True

    retrying = defaultdict(lambda: Retrying(world.clock, lambda _: None))
    slots, threads = Slots.unlimited(world.clock), Threads(1)
    opens = world.look_at, world.open_repo
    tools = Tools(world.db, *opens, world.rules, world.clock, nothing, nothing, lambda: True, threads, slots, retrying)
    problems: list[str] = []
    await look_over(tools, problems)
    planned = await plan(world.db, world.rules, now=world.clock(), restored=True)
    assert problems and planned.publish and planned.retract and world.audited()
    await Access(world.db, world.look_at, world.clock, ["acme:grace"]).look()
    assert await preview(world.db, owner, chat, world.rules) == [] and not any(fault.hits for fault in refused)
    pushed = await world.push()
    assert any(fault.hits for fault in refused) and pushed.problems and not pushed.commits
    for fault in refused:
        hub.faults.remove(fault)
    await world.turn(600)
    assert world.audited() == [] and not dug_up(hub, DATASET, "first") and dug_up(hub, DATASET, "third")


async def test_a_gate_that_opens_by_itself_is_no_gate(world, hub, ada):
    owner = await agreed(world, "acme")
    await world.say(owner, "for acme alone")
    await world.turn()
    with hub.guard.lifted():
        ada.update_repo_settings(DATASET, repo_type="dataset", private=False, gated="auto")
    repo = HubRepo(hub.endpoint, str(ada.token), DATASET)
    assert repo.visibility() == "public"
    await world.say(owner, "not for everybody")
    _, pushed = await world.turn()
    assert "open to everyone" in pushed.problems[0] and not dug_up(hub, DATASET, "not for everybody")
    with hub.guard.lifted():
        ada.update_repo_settings(DATASET, repo_type="dataset", gated="manual")
    assert repo.visibility() == "gated"
    await world.turn(AGAIN)
    await world.turn(0)
    assert dug_up(hub, DATASET, "not for everybody")


async def test_a_name_that_is_somebody_elses_and_a_token_without_rights_are_told_and_lose_nothing(world, hub, ada):
    owner = await agreed(world, "acme")
    await world.say(owner, "mine")
    world.open_repo = lambda id: HubRepo(hub.endpoint, hub.add_user("mallory"), id, CALLER)
    _, pushed = await world.turn()
    assert "HF_TOKEN" in pushed.problems[0] and await world.states() == ["publish"]
    world.open_repo = lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER)
    _, pushed = await world.turn(0)
    assert not pushed.problems and dug_up(hub, DATASET, "mine")


async def test_a_push_with_nothing_to_do_asks_the_hub_nothing(world, hub, ada):
    owner = await agreed(world, "acme")
    await world.say(owner, "mine")
    await world.turn()
    sharing = world.sharing()
    await sharing.turn(restored=lambda: True)  # at a start it looks once what stands there
    before = len(hub.requests)
    await sharing.turn(restored=lambda: True)
    assert len(hub.requests) == before
