"""`python -m privacy.audit` ends with 1 and names the row, the file or the reader, whatever is shared that was not agreed to.

Against a Hub, from the audit repository and the datasets alone; what another hand does there, a token that was stolen does.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from chat.feedback import Feedback, FeedbackBook
from chat.hub import HubRepo
from privacy.audit import main
from privacy.push import CALLER
from privacy.shards import CARD, FEEDBACK, TOMBSTONES
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub  # noqa: F401
from tests.support.sharing_world import World

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET, AUDIT = "ada/parley-acme__alpha", "ada/parley-audit"
TEXT = "texts/consent-1.en.md"
NOBODY = "f" * 32
ALL_IS_WELL = "What is shared is what was agreed to.\n"


class Stage:
    """A row with a comment is public, and another was taken back. `hand(...)` writes as whoever has the token may."""

    def __init__(self, world: World, hub: LoopbackHub, ada: HfApi, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self.hub, self.ada, self._capsys = world, hub, ada, capsys
        self.environ = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": str(ada.token)}
        self.row = self.gone = ""

    async def begin(self) -> None:
        world = self.world
        world.use(texts={TEXT: "What people agree to."})
        owner = await world.person()
        await world.choose(owner, "grant", "acme")
        chats = [await world.say(owner, f"about {word}") for word in ("herons", "storks")]
        (answer,) = await world.answers(owner, chats[0])
        await FeedbackBook(world.db, world.clock).give(owner, answer, Feedback("up", (), "well said"))
        await world.turn()
        await world.store.delete(owner, chats[1])
        _, pushed = await world.turn(0)
        assert not pushed.problems
        by_state = {row["state"]: row["row_id"] for row in await world.outbox()}
        self.row, self.gone = by_state["published"], by_state["retracted"]
        assert self.run() == (0, ALL_IS_WELL)

    def run(self, **variables: str) -> tuple[int, str]:
        """The command's exit code and what it prints."""
        self._capsys.readouterr()
        code = main([AUDIT], {**self.environ, **variables}, self.world.clock())
        return code, self._capsys.readouterr().out

    def read(self, path: str, dataset: str = DATASET) -> bytes:
        repo = HubRepo(self.hub.endpoint, str(self.ada.token), dataset)
        return repo.read(path, repo.head() or "")

    def rows(self, path: str) -> pa.Table:
        return pq.read_table(io.BytesIO(self.read(path)))

    def shard(self) -> str:
        found = self.ada.list_repo_files(DATASET, repo_type="dataset")
        return next(path for path in sorted(found) if path.startswith("data/"))

    def hand(self, path: str, content: bytes | pa.Table | None, dataset: str = DATASET) -> None:
        """Writes or deletes a file."""
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer)
            content = buffer.getvalue()
        change = CommitOperationDelete(path) if content is None else CommitOperationAdd(path, content)
        with self.hub.guard.lifted():
            self.ada.create_commit(dataset, [change], commit_message="by hand", repo_type="dataset")

    def and_back(self, path: str, content: bytes | pa.Table) -> None:
        """Writes a file and undoes it: only the history has it."""
        there = path in self.ada.list_repo_files(DATASET, repo_type="dataset")
        before = self.read(path) if there else None
        self.hand(path, content)
        self.hand(path, before)

    def changed(self, path: str, **columns: object) -> pa.Table:
        table = self.rows(path)
        return pa.Table.from_pylist([{**row, **columns} for row in table.to_pylist()], schema=table.schema)

    def with_unknown(self, path: str) -> pa.Table:
        return pa.concat_tables([self.rows(path), self.changed(path, row_id=NOBODY)])


@pytest.fixture
async def stage(tmp_path: Path, hub: LoopbackHub, ada: HfApi, capsys: pytest.CaptureFixture[str]):
    world = World(tmp_path / "data", lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER))
    stage = Stage(world, hub, ada, capsys)
    await stage.begin()
    yield stage
    world.close()


def settings(repo: str = DATASET, **changes: object):
    def change(stage: Stage) -> None:
        with stage.hub.guard.lifted():
            stage.ada.update_repo_settings(repo, repo_type="dataset", **changes)

    return change


def let_in(stage: Stage, repo: str = DATASET) -> None:
    settings(repo, private=False, gated="manual")(stage)
    stage.hub.add_user("mallory")
    with stage.hub.guard.lifted():
        stage.ada.grant_access(repo, "mallory", repo_type="dataset")


def new_card(stage: Stage) -> None:
    line = "Ledger of consent at this state: `"
    before, _, after = stage.read(CARD).decode().partition(line)
    stage.hand(CARD, f"{before}{line}{'0' * 64}{after[64:]}".encode())


def other_ledger(stage: Stage) -> None:
    path = next(path for path in stage.ada.list_repo_files(AUDIT, repo_type="dataset") if path.startswith("ledger/"))
    events = [json.loads(line) for line in stage.read(path, AUDIT).decode().splitlines()]
    other = "".join(json.dumps({**event, "recipient": "globex"}) + "\n" for event in events)
    stage.hand(path, other.encode(), AUDIT)


def shorter_ledger(stage: Stage) -> None:
    path = next(path for path in stage.ada.list_repo_files(AUDIT, repo_type="dataset") if path.startswith("ledger/"))
    stage.hand(path, stage.read(path, AUDIT).rpartition(b'{"')[0], AUDIT)


# What was done -> how, and what the command's output must have in one line.
FAULTS = {
    "an unknown row": (
        lambda s: s.hand(s.shard(), s.with_unknown(s.shard())),
        lambda s: f"row {NOBODY} is in no row map",
    ),
    "an unknown row in a file of its own": (
        lambda s: s.hand("data/more.parquet", s.changed(s.shard(), row_id=NOBODY)),
        lambda s: f"row {NOBODY} is in no row map",
    ),
    "an unknown row in the history": (
        lambda s: s.and_back(s.shard(), s.with_unknown(s.shard())),
        lambda s: f"row {NOBODY} still stands in the history",
    ),
    "a row that was taken back": (
        lambda s: s.hand("data/more.parquet", s.changed(s.shard(), row_id=s.gone)),
        lambda s: f"row {s.gone} is there and counts as retracted",
    ),
    "a row that was taken back, in the history": (
        lambda s: s.and_back("data/more.parquet", s.changed(s.shard(), row_id=s.gone)),
        lambda s: f"row {s.gone} still stands in the history",
    ),
    "a row with other words": (
        lambda s: s.hand(s.shard(), s.changed(s.shard(), finish_reason="other")),
        lambda s: f"row {s.row} is not as it was published",
    ),
    "a row with other words in the history": (
        lambda s: s.and_back(s.shard(), s.changed(s.shard(), finish_reason="other")),
        lambda s: f"row {s.row} stands in the history as it was not published",
    ),
    "a missing row": (lambda s: s.hand(s.shard(), None), lambda s: f"row {s.row} counts as published and is not there"),
    "a missing tombstone": (
        lambda s: s.hand(TOMBSTONES, s.changed(TOMBSTONES, row_id=NOBODY)),
        lambda s: f"row {s.gone} was taken back and has no tombstone",
    ),
    "no tombstones at all": (
        lambda s: s.hand(TOMBSTONES, None),
        lambda s: f"row {s.gone} was taken back and has no tombstone",
    ),
    "a tombstone of a row that is shared": (
        lambda s: s.hand(TOMBSTONES, pa.concat_tables([s.rows(TOMBSTONES), s.changed(TOMBSTONES, row_id=s.row)])),
        lambda s: "the file tombstones.parquet has a line that is no tombstone of ours",
    ),
    "words among the tombstones": (
        lambda s: s.hand(TOMBSTONES, s.changed(TOMBSTONES, removed="a secret")),
        lambda s: "the file tombstones.parquet has a line that is no tombstone of ours",
    ),
    "words among the tombstones in the history": (
        lambda s: s.and_back(TOMBSTONES, s.changed(TOMBSTONES, removed="a secret")),
        lambda s: (
            "the file tombstones.parquet still stands in the history, and has a line that is no tombstone of ours"
        ),
    ),
    "more columns in the tombstones of the history": (
        lambda s: s.and_back(TOMBSTONES, s.rows(TOMBSTONES).append_column("text", [["a secret"]])),
        lambda s: "the file tombstones.parquet still stands in the history, and has more than it should: text",
    ),
    "numbers for ids": (
        lambda s: s.hand("data/more.parquet", pa.table({"row_id": [1, 2]})),
        lambda s: "the file data/more.parquet cannot be read as rows",
    ),
    "words for ids": (
        lambda s: s.hand("data/more.parquet", pa.table({"row_id": ["a secret"]})),
        lambda s: "the file data/more.parquet cannot be read as rows",
    ),
    "another comment": (
        lambda s: s.hand(FEEDBACK, s.changed(FEEDBACK, comment="badly said")),
        lambda s: f"what was said about row {s.row} is not what was told",
    ),
    "another rating": (
        lambda s: s.hand(FEEDBACK, s.changed(FEEDBACK, rating="down")),
        lambda s: f"what was said about row {s.row} is not what was told",
    ),
    "a comment on another model": (
        lambda s: s.hand(FEEDBACK, s.changed(FEEDBACK, model="somebody's secret")),
        lambda s: f"what was said about row {s.row} is not what was told",
    ),
    "one comment more": (
        lambda s: s.hand(FEEDBACK, pa.concat_tables([s.rows(FEEDBACK), s.changed(FEEDBACK, answer=2)])),
        lambda s: f"what was said about row {s.row} is not what was told",
    ),
    "another comment in the history": (
        lambda s: s.and_back(FEEDBACK, s.changed(FEEDBACK, comment="badly said")),
        lambda s: f"what was said about row {s.row} stands in the history and is not what was told",
    ),
    "a comment on an unknown row": (
        lambda s: s.hand(FEEDBACK, s.with_unknown(FEEDBACK)),
        lambda s: f"what was said about row {NOBODY} is there",
    ),
    "another consent text": (
        lambda s: s.hand(TEXT, b"What nobody agreed to."),
        lambda s: f"the file {TEXT} is not the text that was told",
    ),
    "another consent text in the history": (
        lambda s: s.and_back(TEXT, b"What nobody agreed to."),
        lambda s: f"the file {TEXT} still stands in the history, and is not the text that was told",
    ),
    "a text that nobody told": (
        lambda s: s.hand("texts/consent-9.en.md", b"words"),
        lambda s: "the file texts/consent-9.en.md is not the text that was told",
    ),
    "a strange file": (lambda s: s.hand("notes.txt", b"x"), lambda s: "nothing explains the file notes.txt"),
    "a table without ids": (
        lambda s: s.hand("data/more.parquet", pa.table({"text": ["a secret"]})),
        lambda s: "the file data/more.parquet cannot be read as rows",
    ),
    "a table without ids in the history": (
        lambda s: s.and_back("data/more.parquet", pa.table({"text": ["a secret"]})),
        lambda s: "the file data/more.parquet still stands in the history, and cannot be read as rows",
    ),
    "open to everyone": (settings(private=False), lambda s: f"{DATASET}: it is open to everyone"),
    "a gate that opens by itself": (
        settings(private=False, gated="auto"),
        lambda s: f"{DATASET}: it is open to everyone",
    ),
    "an unexpected reader": (let_in, lambda s: f"{DATASET}: mallory can read it"),
    "an unexpected reader of the audit repository": (
        lambda s: let_in(s, AUDIT),
        lambda s: f"{AUDIT}: mallory can read it",
    ),
    "a card with another hash": (new_card, lambda s: "the ledger is not the one whose hash its card has"),
    "a card without a hash": (
        lambda s: s.hand(CARD, b"---\nlicense: mit\n---\n# Rows\n"),
        lambda s: "its card does not say at which state of the ledger it is",
    ),
    "another ledger": (other_ledger, lambda s: "is not what was written"),
    "a shorter ledger": (shorter_ledger, lambda s: f"{AUDIT}: its ledger is not the one whose hash was told last"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_command_ends_with_1_and_names(stage: Stage, fault: str):
    do, named = FAULTS[fault]
    do(stage)
    code, told = stage.run()
    assert code == 1 and any(named(stage) in line for line in told.splitlines()), told
    assert not {"herons", "secret", "said badly", "well said"} & set(told.split()), "not a word of what it read"
    assert told.endswith(" wrong.\n")


async def test_the_command_names_a_row_with_a_canary_in_its_text_or_in_a_comment(stage: Stage):
    for phrase in ("About  HERONS", "well said"):
        code, told = stage.run(SHARE_BLOCKED=f"nothing,{phrase}")
        assert code == 1 and f"row {stage.row} has a phrase that is blocked" in told and "herons" not in told.lower()
    assert stage.run(SHARE_BLOCKED="nothing") == (0, ALL_IS_WELL)
    stage.hand("data/more.parquet", pa.table({"row_id": [NOBODY], "notes": [["A canary\nsings."]]}))
    code, told = stage.run(SHARE_BLOCKED="a canary sings")
    assert code == 1 and f"row {NOBODY} has a phrase that is blocked" in told


async def test_what_another_hand_put_there_is_undone_by_the_next_pushes_and_the_audit_finds_nothing_again(stage: Stage):
    for fault in ("another comment", "another consent text"):
        FAULTS[fault][0](stage)
    owner = await stage.world.person()
    await stage.world.choose(owner, "grant", "acme")
    await stage.world.say(owner, "one more")
    for after in (80 * 3600.0, 3600.0, 3600.0):
        await stage.world.turn(after)
    assert stage.run() == (0, ALL_IS_WELL)


def test_reading_rows_begins_no_thread():
    """A process that ends while one of Arrow's does ends by a signal now and then, and not with its own exit code."""
    code = """
import os
from privacy.shards import TOMBSTONE_SCHEMA, _parquet, read_rows
threads = lambda: len(os.listdir("/proc/self/task"))
content = _parquet([{"row_id": "a", "removed": "b"}], TOMBSTONE_SCHEMA)
before = threads()
assert read_rows(content) == [{"row_id": "a", "removed": "b"}]
assert threads() == before, threads() - before
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert "Error" not in done.stderr, done.stderr


async def test_the_command_as_it_is_called(stage: Stage):
    stage.hand(FEEDBACK, stage.changed(FEEDBACK, comment="badly said"))
    command = [sys.executable, "-m", "privacy.audit", AUDIT]
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **stage.environ}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    assert done.returncode == 1 and stage.row in done.stdout and "Traceback" not in done.stderr
