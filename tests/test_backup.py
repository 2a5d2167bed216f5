"""The backup: on an empty disk everything is there again, whatever went wrong on the way; each with the Hub and a folder."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from chat import backup as backups
from chat import backup_rows, formats, retention
from chat.backup import PublicDataset
from chat.backup_rows import to_purge
from chat.conversation import SamplingParams, Written
from chat.dataset_repo import Conflict, Denied, Doubtful, FolderRepo, Unreachable
from chat.defaults import OwnDefault, OwnDefaults
from chat.feedback import Feedback, FeedbackBook
from chat.hub import HubRepo
from chat.keeping import Keeping
from chat.retrying import LONGEST_WAIT
from tests.support.backing import AUTHOR, HookedRepo, Machine, in_folder, in_git, owner_of
from tests.support.hub.testing import CANARY, REPO, UPLOAD_WARNING, clean_hub, git, running_hub  # noqa: F401

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]


class World:
    """A dataset, and machines that come and go."""

    def __init__(self, folder: Path, hub=None) -> None:
        self.folder, self.hub, self.machines = folder, hub, []
        self.token = hub.add_user("ada") if hub else None

    def repo(self):
        return HookedRepo(
            HubRepo(self.hub.endpoint, self.token, REPO) if self.hub else FolderRepo(self.folder / "dataset")
        )

    def machine(self, **options) -> Machine:
        machine = Machine(self.folder / f"disk{len(self.machines)}", self.repo(), options=options)
        self.machines.append(machine)
        return machine

    def holds(self, text: str) -> bool:
        """Whether a byte of it is anywhere in the dataset, its history and its leavings included."""
        if self.hub:
            return in_git(self.hub.repo_path("dataset", REPO), text)
        return in_folder(self.folder / "dataset", text)

    def head(self) -> dict[str, bytes]:
        repo = self.repo()
        head = repo.head()
        return {path: repo.read(path, head) for path in repo.paths("", head)}


@pytest.fixture(params=["hub", "folder"])
def world(request, tmp_path):
    world = World(tmp_path, request.getfixturevalue("hub") if request.param == "hub" else None)
    yield world
    for machine in world.machines:
        machine.close()


@pytest.fixture
def on_hub(tmp_path, hub):
    world = World(tmp_path, hub)
    yield world
    for machine in world.machines:
        machine.close()


async def restored(world: World) -> Machine:
    machine = world.machine()
    await machine.backup.pull()
    return machine


async def lived_in(world: World) -> Machine:
    """Five owners with eight conversations each, among them titles, pins, branches and every way an answer ends."""
    machine = world.machine()
    for number in range(40):
        owner = owner_of(number % 5)
        await machine.turn(owner, None, f"Question {number} \u2028 ząb", "Answer\n\n  with\tspace")
    store, owner = machine.store, owner_of(1)
    (first, second, third, *_), _ = await store.conversations(owner)
    await store.rename(owner, first.id, "A better title")
    await store.arrange(owner, second.id, pinned=True)
    await store.arrange(owner, third.id, archived=True)
    await store.rename(owner, third.id, "By the model", by="model")
    await machine.db.write(lambda db: retention.choose(db, owner, 30, 5.0))
    _, messages, _ = await store.branch(owner, second.id)
    _, _, other = await store.begin_retry(owner, messages[-1].id, AUTHOR)
    await store.finish_turn(other.id, "Stopped her", "stopped")
    await store.begin_continue(owner, other.id)
    await store.finish_turn(other.id, "Stopped her, and went on", "stopped", omitted=1)
    book = FeedbackBook(machine.db, machine.clock)
    await book.give(owner, messages[-1].id, Feedback("down", ("wrong", "unclear"), "Not\tquite ząb"))
    _, _, thinker = await store.begin_turn(owner, second.id, "Think", AUTHOR, "", "page")
    await store.finish_turn(thinker.id, Written("Four.", "Two\tand two.", 1.5), "done", "stop")
    await book.give(owner, thinker.id, Feedback("up"))
    _, _, failed = await store.begin_turn(owner, third.id, "Again", AUTHOR, "", "api")
    await store.finish_turn(failed.id, "", "failed", error="The engine is gone.")
    await machine.db.write(
        lambda db: db.execute("INSERT INTO sessions VALUES (?, ?, 'cookie', 1.0, 2.0, 9e9)", (b"s" * 32, owner_of(1)))
    )
    defaults = OwnDefaults(machine.db, machine.clock)
    await defaults.set(owner, "starter", OwnDefault(SamplingParams(temperature=0.1, seed=3), "Be\tbrief, ząb."))
    await defaults.set(owner, "poet", OwnDefault(SamplingParams(), "A secret."))
    await defaults.forget(owner, "poet")
    await machine.owner("a" * 32, "account")
    await machine.db.write(
        lambda db: db.execute("INSERT INTO accounts VALUES (?, 'hub-1', 'grace', ?, 5.0)", ("a" * 32, '[{"id": "1"}]'))
    )
    await machine.db.write(
        lambda db: db.execute(
            "INSERT INTO api_keys VALUES (?, ?, ?, 'my key', 1.0, NULL, 7.0)", (b"k" * 32, "e" * 16, "a" * 32)
        )
    )
    return machine


async def test_an_empty_disk_and_the_same_dataset_give_everything_back(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    again = await restored(world)
    assert await again.everything() == await machine.everything()
    assert (await again.backup.figures()).backlog == 0
    assert again.backup.restored.is_set()


async def test_what_was_brought_back_is_not_written_again(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    again = await restored(world)
    again.repo.calls.clear()
    await again.backup.flush()
    assert "commit" not in again.repo.calls


async def test_many_conversations_share_few_commits(on_hub):
    machine = await lived_in(on_hub)
    await machine.backup.flush()
    commits = [entry for entry in on_hub.hub.requests if "/commit/" in entry.path]
    assert len(commits) == 2  # the card, and all forty
    assert len([path for path in on_hub.head() if path.startswith("users/")]) == 5


async def test_the_text_is_in_the_files_of_users_alone(world):
    """Neither commit messages nor paths nor any other file holds text or a name."""
    machine = world.machine()
    await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    holding = [path for path, content in world.head().items() if CANARY.encode() in content]
    assert holding == [formats.user_path(owner_of(1), 0)]
    assert [json.loads(line)["format"] for line in world.head()[holding[0]].splitlines()] == [formats.FORMAT]
    if world.hub:
        assert set(git(world.hub, "log", "--format=%B", "main").split("\n")) <= {
            "initial commit",
            "Describe this dataset",
            "Save 2 files, remove 0",
            "",
        }


async def test_it_opens_with_load_dataset(world, tmp_path):
    machine = await lived_in(world)
    await machine.backup.flush()
    # In a process of its own: the library reads its endpoint and token when it is imported.
    program = (
        "import sys; from datasets import load_dataset; load_dataset(sys.argv[1], split='train').to_json(sys.argv[2])"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            REPO if world.hub else str(tmp_path / "dataset"),
            str(tmp_path / "table.jsonl"),
        ],
        env={
            **os.environ,
            "HF_ENDPOINT": world.hub.endpoint if world.hub else "http://127.0.0.1:9",
            "HF_TOKEN": world.token or "",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    table = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().split("\n") if line]
    assert len(table) == 40
    kept = {row[0]: row for row in (await machine.everything())["conversations"]}
    for row in table:
        assert row["title"] == kept[row["id"]][2]
    assert {message["state"] for row in table for message in row["messages"]} == {None, "done", "stopped", "failed"}


async def test_the_card_keeps_the_viewer_off_from_the_first_commit(world):
    machine = world.machine()
    await machine.backup.pull()
    card = world.head()["README.md"].decode()
    assert "viewer: false" in card
    if world.hub:
        assert git(world.hub, "log", "--format=%s", "--reverse", "main").split("\n")[:2] == [
            "initial commit",
            "Describe this dataset",
        ]


async def test_only_what_changed_is_sent(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    before = world.head()
    await machine.turn(owner_of(3), None, "One more")
    await machine.backup.flush()
    after = world.head()
    assert {path for path in after if after[path] != before.get(path)} == {formats.user_path(owner_of(3), 0)}


async def test_saved_is_said_of_what_is_in_the_dataset_and_of_nothing_else(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, "one")
    assert await machine.backup.state(conversation) == "kept here"
    await machine.backup.flush()
    assert await machine.backup.state(conversation) == "saved"
    # Changed while it was on its way: what was sent is not what is here.
    loop = asyncio.get_running_loop()
    renaming = lambda: asyncio.run_coroutine_threadsafe(  # noqa: E731
        machine.store.rename(owner_of(1), conversation, "Renamed meanwhile"), loop
    ).result()
    await machine.turn(owner_of(1), conversation, "two")
    machine.repo.hooks["commit"] = renaming
    await machine.backup.flush()
    assert await machine.backup.state(conversation) == "kept here"
    await machine.backup.flush()
    assert await machine.backup.state(conversation) == "saved"
    assert (await (await restored(world)).store.conversation(owner_of(1), conversation)).title == "Renamed meanwhile"


def during_every_commit(machine: Machine, act: Callable[[int], Awaitable], times: int = 12) -> None:
    """Have `act(number)` awaited while each commit is on its way, so many times at most."""
    loop, numbers = asyncio.get_running_loop(), iter(range(times))

    def hook() -> None:
        number = next(numbers, None)
        if number is not None:
            asyncio.run_coroutine_threadsafe(act(number), loop).result()
            machine.repo.hooks["commit"] = hook

    machine.repo.hooks["commit"] = hook


async def test_a_flush_ends_though_conversations_change_faster_than_commits_are_made(on_hub):
    machine = on_hub.machine(extras=[notes := Notes()])
    notes.kept["consent/a.jsonl"] = b"{}\n"
    await machine.backup.pull()
    first = await machine.turn(owner_of(1), None, "one")
    gone = await machine.turn(owner_of(2), None, CANARY)
    await machine.store.delete(owner_of(2), gone)
    during_every_commit(machine, lambda number: machine.turn(owner_of(1), first, f"more {number}"))
    await machine.backup.flush()
    assert machine.repo.calls.count("commit") == 1
    assert {formats.tombstone_path(gone), "consent/a.jsonl"} <= on_hub.head().keys()
    assert b'"one"' in on_hub.head()[formats.user_path(owner_of(1), 0)]
    assert await machine.backup.state(first) == "kept here"
    machine.repo.hooks.clear()
    await machine.backup.flush()
    assert await machine.backup.state(first) == "saved"


async def test_a_flush_of_many_commits_saves_what_was_there_and_not_what_comes_meanwhile(on_hub, monkeypatch):
    """Also what moves to an account between two of its commits."""
    monkeypatch.setattr(backups, "LARGEST_BATCH", 2)
    machine = on_hub.machine()
    await machine.backup.pull()
    there = [await machine.turn(owner_of(number), None, f"there {number}") for number in range(1, 7)]
    account = await machine.owner("a" * 32, "account")
    move = "UPDATE conversations SET owner = ?, revision = revision + 1 WHERE id IN (?, ?)"

    async def meanwhile(number: int) -> None:
        for each in range(3):
            await machine.turn(owner_of(100 + 3 * number + each), None, "meanwhile")
        if number == 0:
            await machine.db.write(lambda db: db.execute(move, (account, *there[-2:])))

    during_every_commit(machine, meanwhile)
    await machine.backup.flush()
    assert machine.repo.calls.count("commit") <= 4
    users = b"".join(content for path, content in on_hub.head().items() if path.startswith("users/"))
    assert [id for id in there if id.encode() not in users] == []


class Stop(BaseException):
    """The process ended here."""

    @staticmethod
    def now() -> None:
        raise Stop


async def test_figures_say_how_much_waits_and_for_how_long(world):
    machine = world.machine()
    assert (await machine.backup.figures()).backlog == 0
    await machine.turn(owner_of(1), None, "one")
    machine.clock.now += 100
    figures = await machine.backup.figures()
    assert figures.backlog == 1
    assert figures.oldest >= 100
    await machine.backup.flush()
    figures = await machine.backup.figures()
    assert (figures.backlog, figures.oldest, figures.problem) == (0, 0.0, None)


# Deleting


async def test_deleting_removes_it_from_the_head_and_purging_from_everywhere(world):
    machine = world.machine()
    gone = await machine.turn(owner_of(1), None, CANARY)
    await machine.turn(owner_of(1), None, "This one stays")
    await machine.backup.flush()
    assert world.holds(CANARY)
    await machine.store.delete(owner_of(1), gone)
    await machine.backup.flush()
    assert not any(CANARY.encode() in content for content in world.head().values())
    assert gone.encode() in world.head()[formats.tombstone_path(gone)]
    await machine.backup.purge()
    assert machine.repo.calls.count("purge") == 1
    assert not world.holds(CANARY)
    assert world.holds("This one stays")
    again = await restored(world)
    assert await again.everything() == await machine.everything()


async def test_the_last_conversation_of_an_owner_takes_their_file_with_it(world):
    machine = world.machine()
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    await machine.store.delete(owner_of(1))
    await machine.db.write(lambda db: db.execute("DELETE FROM owners WHERE id = ?", (owner_of(1),)))
    await machine.backup.flush()
    assert [path for path in world.head() if path.startswith(("users/", "accounts/"))] == []
    assert (await (await restored(world)).everything())["owners"] == []


async def test_a_tombstone_beats_every_revision_wherever_it_is_read(world):
    """Another machine, with an older or a newer copy, does not bring a deleted conversation back."""
    one = world.machine()
    conversation = await one.turn(owner_of(1), None, CANARY)
    await one.backup.flush()
    two = await restored(world)
    await one.store.delete(owner_of(1), conversation)
    await one.backup.flush()
    for number in range(3):
        await two.turn(owner_of(1), conversation, f"more {number}")
    await two.backup.flush()
    assert (await two.everything())["conversations"] == []
    assert not any(CANARY.encode() in content for content in world.head().values())
    assert (await (await restored(world)).everything())["conversations"] == []


async def test_what_a_file_may_still_hold_is_not_called_purged(world):
    """A file that is damaged is left as it is, with what was deleted in it; one that is still to be written anew as well."""
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    path, repo = formats.user_path(owner_of(1), 0), world.repo()
    repo.commit({path: world.head()[path] + b"{\n"}, [], repo.head(), "Damage it")
    await machine.backup.pull()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.purge()
    assert world.holds(CANARY)
    assert await machine.figure("SELECT purged_at FROM tombstones") is None
    await machine.db.write(lambda db: db.execute("UPDATE tombstones SET saved = 1"))
    assert await machine.db.read(lambda db: to_purge(db, [path])) == []
    assert await machine.db.read(lambda db: to_purge(db, [])) == []
    await machine.db.write(lambda db: db.execute("DELETE FROM stale_parts"))
    assert await machine.db.read(lambda db: to_purge(db, [])) == [conversation]


async def test_a_tombstone_takes_nothing_else_of_the_file_with_it(world):
    machine = world.machine()
    gone = await machine.turn(owner_of(1), None, CANARY)
    await machine.turn(owner_of(1), None, "This one stays")
    await machine.backup.flush()
    line = formats.encode([formats.SavedTombstone(conversation=gone, owner=owner_of(1), deleted_at=5.0)])
    repo = world.repo()
    repo.commit({formats.tombstone_path(gone): line}, [], repo.head(), "Half of a deletion")
    again = await restored(world)
    assert [row[2] for row in (await again.everything())["conversations"]] == ["This one stays"]
    assert again.backup.problem is None
    await again.backup.flush()
    assert not any(CANARY.encode() in content for content in world.head().values())


async def test_a_line_that_somebody_removed_by_hand_is_written_again(world):
    """Only a tombstone deletes."""
    machine = world.machine()
    for text in ("one", "two"):
        await machine.turn(owner_of(1), None, text)
    await machine.backup.flush()
    path, repo = formats.user_path(owner_of(1), 0), world.repo()
    before = world.head()[path]
    repo.commit({path: before.split(b"\n")[0] + b"\n"}, [], repo.head(), "Remove a line")
    await machine.backup.pull()
    assert (await machine.backup.figures()).backlog == 1
    await machine.backup.flush()
    assert sorted(world.head()[path].splitlines()) == sorted(before.splitlines())


async def test_a_deletion_is_in_the_dataset_within_seconds_and_purged_later(world):
    machine = world.machine(every=1e6, tick=0.01, purge_after=50.0)
    conversation = await machine.turn(owner_of(1), None, CANARY)
    running = asyncio.create_task(machine.backup.run())
    async with asyncio.timeout(180):
        while await machine.backup.state(conversation) != "saved":
            await asyncio.sleep(0.01)
        await machine.store.delete(owner_of(1), conversation)
        while await machine.figure("SELECT count(*) FROM tombstones WHERE saved = 0"):
            await asyncio.sleep(0.01)
        machine.clock.now += 1000
        while await machine.figure("SELECT count(*) FROM backup_state WHERE name = 'purge_at'"):
            await asyncio.sleep(0.01)
    running.cancel()
    assert not world.holds(CANARY)


async def test_what_is_deleted_while_a_commit_is_on_its_way_goes_with_the_next(world):
    """Both for a file that was being rewritten for another deletion, and for a conversation on its first way out."""
    machine = world.machine()
    ids = [await machine.turn(owner_of(1), None, f"{CANARY} {number}") for number in range(3)]
    await machine.turn(owner_of(1), None, "This one stays")
    await machine.backup.flush()
    new = await machine.turn(owner_of(2), None, CANARY)
    await machine.store.delete(owner_of(1), ids[0])
    loop = asyncio.get_running_loop()

    def delete(*what: tuple[str, str]) -> None:
        for owner, id in what:
            asyncio.run_coroutine_threadsafe(machine.store.delete(owner, id), loop).result()

    machine.repo.hooks["commit"] = lambda: delete((owner_of(1), ids[1]), (owner_of(2), new))
    machine.repo.after["commit"] = lambda: delete((owner_of(1), ids[2]))
    await machine.backup.flush()
    await machine.backup.flush()
    assert not any(CANARY.encode() in content for content in world.head().values())
    assert await (await restored(world)).everything() == await machine.everything()


# Two writers


async def test_two_machines_end_alike_and_lose_nothing(world):
    one = await lived_in(world)
    await one.backup.flush()
    two = await restored(world)
    (shared, *_), _ = await one.store.conversations(owner_of(2))
    await one.turn(owner_of(2), shared.id, "said to one")
    await two.turn(owner_of(2), shared.id, "said to two")
    await one.turn(owner_of(7), None, "new on one")
    await two.turn(owner_of(7), None, "new on two")
    await one.backup.flush()
    await two.backup.flush()
    await one.backup.pull()
    await one.backup.flush()
    await two.backup.pull()
    ends = await one.everything()
    assert await two.everything() == ends
    assert {"said to one", "said to two", "new on one", "new on two"} <= {row[4] for row in ends["messages"]}
    assert await (await restored(world)).everything() == ends


async def test_another_writer_in_between_is_read_and_then_written_upon(world):
    machine, other = world.machine(), world.machine()
    await machine.backup.pull()
    await other.backup.pull()
    await machine.turn(owner_of(1), None, "mine")
    await other.turn(owner_of(1), None, "theirs")
    await other.backup.flush()
    await machine.backup.flush()
    assert {row[4] for row in (await machine.everything())["messages"]} == {"mine", "theirs", "An answer."}
    assert machine.backup.problem is None


async def test_conversations_that_move_to_an_account_leave_the_anonymous_file(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    await machine.owner("a" * 32, "account")
    await machine.db.write(
        lambda db: db.execute("UPDATE conversations SET owner = ?, revision = revision + 1", ("a" * 32,))
    )
    await machine.db.write(lambda db: db.execute("DELETE FROM owners WHERE id = ?", (owner_of(1),)))
    await machine.backup.flush()
    assert [path for path in world.head() if path.startswith("users/")] == [formats.user_path("a" * 32, 0)]
    again = await restored(world)
    assert (await again.store.conversation("a" * 32, conversation)).owner == "a" * 32
    assert await again.everything() == await machine.everything()


@pytest.mark.parametrize("times", [(1.0, 50.0), (50.0, 1.0)])
async def test_who_signed_in_on_an_empty_disk_before_it_was_read_finds_their_conversations(world, times):
    """Two owners stand for one account then; they become one, the older, whichever was here first."""
    first, stays = world.machine(), ("b" if times[0] < times[1] else "c") * 32
    for machine, id, at in ((first, "b" * 32, times[0]), (world.machine(), "c" * 32, times[1])):
        await machine.db.write(
            lambda db, id=id, at=at: db.execute("INSERT INTO owners VALUES (?, 'account', ?, ?)", (id, at, at))
        )
        await machine.db.write(
            lambda db, id=id: db.execute("INSERT INTO accounts VALUES (?, 'hub-1', 'grace', '[]', 5.0)", (id,))
        )
        await machine.turn(id, None, f"by {id}")
        await machine.backup.flush()
    second = world.machines[1]
    found, _ = await second.store.conversations(stays)
    assert {item.title for item in found} == {f"by {'b' * 32}", f"by {'c' * 32}"}
    assert sorted(path for path in world.head() if path.startswith(("users/", "accounts/"))) == [
        formats.account_path(stays),
        formats.user_path(stays, 0),
    ]
    again = await restored(world)
    assert await again.everything() == await second.everything()


async def test_a_purge_that_is_refused_is_told_and_holds_up_nothing_else(world):
    machine = world.machine(purge_after=0.0, every=1.0)
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.flush()

    def refuse():
        raise Denied("refs/pr/1 keeps what was deleted.")

    machine.repo.hooks["purge"] = refuse
    with pytest.raises(Denied, match="refs/pr/1"):
        await machine.backup.purge()
    assert float(await machine.figure("SELECT value FROM backup_state WHERE name = 'purge_at'")) > machine.clock() - 60
    await machine.turn(owner_of(1), None, "two")
    await machine.backup.flush()
    assert (await machine.backup.figures()).backlog == 0


async def test_a_session_that_was_signed_out_does_not_come_back(world):
    """Not from an older copy on another machine, nor on an empty disk."""
    machine, key = await lived_in(world), b"s" * 32
    await machine.backup.flush()
    other = await restored(world)
    await machine.db.write(lambda db: db.execute("DELETE FROM sessions WHERE token_hash = ?", (key,)))
    await machine.backup.flush()
    for each in (other, machine, await restored(world)):
        await each.turn(owner_of(1), None, "one more")
        await each.backup.pull()
        await each.backup.flush()
        assert await each.figure("SELECT count(*) FROM sessions") == 0
    assert await other.figure("SELECT count(*) FROM ended_sessions") == 1


async def test_a_file_from_before_ended_sessions_were_kept_is_read(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    path = formats.account_path(owner_of(1))
    old, repo = world.head()[path].replace(b',"ended":[]', b""), world.repo()
    repo.commit({path: old}, [], repo.head(), "As it was") if old != world.head()[path] else None
    again = await restored(world)
    assert again.backup.problem is None
    assert await again.figure("SELECT count(*) FROM sessions") == 1


# What breaks


@pytest.mark.parametrize("when", ["hooks", "after"])
async def test_a_crash_around_a_commit_loses_nothing_and_doubles_nothing(world, when):
    machine = await lived_in(world)
    await machine.backup.pull()
    getattr(machine.repo, when)["commit"] = Stop.now
    with pytest.raises(Stop):
        await machine.backup.flush()
    before = await machine.everything()
    machine.close()
    world.machines.remove(machine)
    again = Machine(machine.folder, world.repo())
    world.machines.append(again)
    await again.backup.flush()
    assert await again.everything() == before
    assert (await again.backup.figures()).backlog == 0
    assert again.repo.calls.count("commit") == (1 if when == "hooks" else 0)
    assert await (await restored(world)).everything() == before


async def test_a_deletion_whose_crash_hid_its_commit_stays_deleted(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    await machine.turn(owner_of(1), None, "stays")
    machine.repo.after["commit"] = Stop.now
    await machine.store.delete(owner_of(1), conversation)
    with pytest.raises(Stop):
        await machine.backup.flush()
    again = await restored(world)
    assert {row[2] for row in (await again.everything())["conversations"]} == {"stays"}
    await machine.backup.flush()
    assert await machine.everything() == await again.everything()


FAULTS = {
    "refused": dict(status=412),
    "an error before": dict(status=500),
    "an error after": dict(status=500, when="after"),
    "dropped before": dict(drop=True),
    "dropped after": dict(drop=True, when="after"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_commit_that_fails_is_made_once_in_the_end(on_hub, fault):
    machine = await lived_in(on_hub)
    await machine.backup.pull()
    struck = on_hub.hub.faults.add(r"/commit/", method="POST", **FAULTS[fault])
    await machine.backup.flush()
    assert struck.hits == 1
    assert (await machine.backup.figures()).backlog == 0
    assert await (await restored(on_hub)).everything() == await machine.everything()


async def test_a_token_that_is_revoked_is_named_and_a_new_one_goes_on(on_hub):
    machine = world = on_hub.machine(every=0.0)
    await machine.backup.pull()
    await machine.turn(owner_of(1), None, "one")
    on_hub.hub.faults.add(r"/commit/", method="POST", revoke=True)
    await machine.backup._turn()
    assert "does not accept HF_TOKEN" in machine.backup.problem
    assert "kept on this machine" in machine.backup.problem
    assert "one" not in machine.backup.problem.split()
    assert machine.reports == [machine.backup._retrying.problem]
    on_hub.token = on_hub.hub.add_token("ada")
    machine.backup.repo = on_hub.repo()
    machine.clock.now += LONGEST_WAIT
    await machine.backup._turn()
    assert machine.backup.problem is None
    assert (await world.backup.figures()).backlog == 0


async def test_a_hub_that_does_not_answer_is_told_while_it_is_waited_for(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, "one")
    waiting, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    machine.repo.hooks["visibility"] = lambda: (loop.call_soon_threadsafe(waiting.set), go_on.wait(30))
    flushing = asyncio.create_task(machine.backup.flush())
    await waiting.wait()
    assert machine.backup.problem is None
    machine.clock.now += backups.PATIENCE
    assert "has not answered for a while" in machine.backup.problem
    # Nobody waits for it: a turn is kept as ever.
    await machine.turn(owner_of(1), conversation, "two")
    go_on.set()
    await flushing
    assert machine.backup.problem is None


@pytest.mark.parametrize("raised", [Unreachable("Not now."), Denied("Not you."), OSError("secret text")])
async def test_what_fails_is_told_and_tried_again_ever_more_rarely(world, raised):
    machine = world.machine(every=0.0)

    def fail() -> None:
        raise raised

    tried = []
    await machine.turn(owner_of(1), None, "one")
    for _ in range(400):
        machine.repo.hooks["visibility"] = fail
        machine.repo.calls.clear()
        await machine.backup._turn()
        tried.append("visibility" in machine.repo.calls)
    assert 5 < sum(tried) < 15
    assert "secret" not in machine.backup.problem
    machine.repo.hooks.clear()
    machine.clock.now += LONGEST_WAIT
    await machine.backup._turn()
    assert machine.backup.problem is None
    assert (await machine.backup.figures()).backlog == 0


async def test_a_dataset_that_is_emptied_by_hand_is_written_again(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    before = world.head()
    repo = world.repo()
    repo.commit({}, [path for path in before if path.startswith("users/")], repo.head(), "Empty it")
    await machine.turn(owner_of(1), None, "one more")
    await machine.backup.flush()
    assert before.keys() <= world.head().keys()
    assert await (await restored(world)).everything() == await machine.everything()


async def test_an_answer_that_was_running_comes_back_as_cut_off(world):
    machine = world.machine()
    await machine.owner(owner_of(1))
    found, _, running = await machine.store.begin_turn(owner_of(1), None, "one", AUTHOR, "", "page")
    await machine.store.checkpoint({running.id: Written("half an ans")})
    await machine.backup.flush()
    again = await restored(world)
    answer = await again.store.message(owner_of(1), running.id)
    assert (answer.state, answer.content) == ("interrupted", "half an ans")
    await again.turn(owner_of(1), found.id, "two")
    # The machine that wrote it goes on after all, and its whole answer wins.
    await machine.store.finish_turn(running.id, "half an answer and the rest", "done", "stop")
    for each in (again, machine, again):
        await each.backup.pull()
        await each.backup.flush()
    assert (await again.store.message(owner_of(1), running.id)).content == "half an answer and the rest"
    assert await again.everything() == await machine.everything()


async def test_an_answer_that_was_gone_on_with_and_cut_off_again_beats_the_copy_from_before(world):
    """Cut off counts for less than stopped; having been gone on with counts for more."""
    machine, owner = world.machine(), owner_of(1)
    await machine.owner(owner)
    _, _, answer = await machine.store.begin_turn(owner, None, "one", AUTHOR, "", "page")
    await machine.store.finish_turn(answer.id, "so far", "stopped")
    await machine.backup.flush()
    await machine.store.begin_continue(owner, answer.id)
    await machine.store.checkpoint({answer.id: Written("so far and more")})
    await machine.store.interrupt_running("Restarted.")
    old = await restored(world)
    for each in (machine, old):
        await each.backup.flush()
        await each.backup.pull()
    for each in (machine, old, await restored(world)):
        found = await each.store.message(owner, answer.id)
        assert (found.content, found.state) == ("so far and more", "interrupted")


async def test_a_rating_that_was_changed_or_taken_back_comes_back_so(world):
    """Whichever copy holds more of the answer: the rating is that of the higher revision."""
    machine = world.machine()
    book, owner = FeedbackBook(machine.db, machine.clock), owner_of(1)
    found = await machine.turn(owner, None, "one")
    await machine.turn(owner, found, "two")
    _, (_, first, _, second), _ = await machine.store.branch(owner, found)
    await book.give(owner, first.id, Feedback("up", ("clear",), "Good."))
    await book.give(owner, second.id, Feedback("up"))
    await machine.backup.flush()
    again = await restored(world)
    await FeedbackBook(again.db, again.clock).remove(owner, first.id)
    await FeedbackBook(again.db, again.clock).give(owner, second.id, Feedback("down", ("wrong",)))
    for each in (again, machine):
        await each.backup.flush()
        await each.backup.pull()
    for each in (again, machine, await restored(world)):
        given = await FeedbackBook(each.db, each.clock).of(owner, (first.id, second.id))
        assert given == {second.id: Feedback("down", ("wrong",))}


async def test_a_rating_of_a_cut_off_answer_stays_when_the_whole_of_it_comes(world):
    """The copy with the higher revision has the rating, the other one more of the answer."""
    machine, owner = world.machine(), owner_of(1)
    await machine.owner(owner)
    _, _, running = await machine.store.begin_turn(owner, None, "one", AUTHOR, "", "page")
    await machine.store.checkpoint({running.id: Written("half an ans")})
    await machine.backup.flush()
    again = await restored(world)
    book = FeedbackBook(again.db, again.clock)
    for rating in ("up", "down"):
        await book.give(owner, running.id, Feedback(rating))
    await machine.store.finish_turn(running.id, "half an answer and the rest", "done", "stop")
    for each in (again, machine, again):
        await each.backup.flush()
        await each.backup.pull()
    for each in (again, machine):
        assert (await each.store.message(owner, running.id)).content == "half an answer and the rest"
        assert await FeedbackBook(each.db, each.clock).of(owner, [running.id]) == {running.id: Feedback("down")}


async def test_a_file_from_before_ratings_and_reasoning_is_read(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    repo, path = world.repo(), formats.user_path(owner_of(2), 0)
    lines = [json.loads(line) for line in repo.read(path, repo.head()).split(b"\n") if line]
    for message in (message for line in lines for message in line["messages"]):
        for name in ("reasoning", "reasoning_seconds", "omitted", "continued", "feedback"):
            del message[name]
    repo.commit({path: formats.encode(lines)}, [], repo.head(), "As it was")
    assert await (await restored(world)).everything() == await machine.everything()


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(world):
    machine = world.machine()
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    path, repo = formats.user_path(owner_of(1), 0), world.repo()
    newer = b'{"format":%d,"anything":"else"}\n' % (formats.FORMAT + 1)
    repo.commit({path: newer}, [], repo.head(), "From the future")
    await machine.turn(owner_of(1), None, "two")
    await machine.turn(owner_of(2), None, "somebody else's")
    await machine.backup.flush()
    assert f"newer Parley (format {formats.FORMAT + 1}, this one knows {formats.FORMAT})" in machine.backup.problem
    assert world.head()[path] == newer
    assert formats.user_path(owner_of(2), 0) in world.head()
    again = await restored(world)
    assert "newer Parley" in again.backup.problem


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"format":1}', b"\xff", b'{"format":1,"id":"x"}'])
async def test_a_damaged_file_is_named_and_left_as_it_is(world, line):
    machine = world.machine()
    await machine.turn(owner_of(1), None, CANARY)
    await machine.backup.flush()
    path, repo = formats.user_path(owner_of(1), 0), world.repo()
    damaged = world.head()[path] + line + b"\n"
    repo.commit({path: damaged}, [], repo.head(), "Damage it")
    again = await restored(world)
    assert f"Line 2 of {path} is damaged" in again.backup.problem
    assert CANARY not in again.backup.problem
    await again.turn(owner_of(1), None, "later")
    await again.backup.flush()
    assert world.head()[path] == damaged
    assert world.head()[formats.user_path(owner_of(1), 1)]


async def test_a_part_that_is_full_starts_another_and_stays_as_it_is(world, monkeypatch):
    monkeypatch.setattr(formats, "PART_BYTES", 3000)
    machine = world.machine()
    for number in range(12):
        await machine.turn(owner_of(1), None, f"{number} " + "x" * 400)
        await machine.backup.flush()
    parts = {path: content for path, content in world.head().items() if path.startswith("users/")}
    assert len(parts) >= 4
    assert max(map(len, parts.values())) <= 3000
    (newest, *_), _ = await machine.store.conversations(owner_of(1))
    await machine.turn(owner_of(1), newest.id, "y" * 4000)
    await machine.backup.flush()
    changed = [
        path for path, content in world.head().items() if parts.get(path) != content and path.startswith("users/")
    ]
    assert len(changed) <= 2
    assert await (await restored(world)).everything() == await machine.everything()


async def test_what_a_turn_sends_does_not_grow_with_what_its_owner_has(world):
    machine = world.machine()
    conversations = [await machine.turn(owner_of(1), None, f"{number} " + "x" * 4000) for number in range(120)]
    await machine.backup.flush()
    before = world.head()
    await machine.turn(owner_of(1), conversations[0], "one more")
    await machine.backup.flush()
    sent = [content for path, content in world.head().items() if before.get(path) != content]
    assert len(sent) == 1 and len(sent[0]) <= 130_000
    assert await (await restored(world)).everything() == await machine.everything()


async def test_a_long_file_of_an_earlier_version_is_left_by_what_changes_and_nothing_is_lost(world, monkeypatch):
    monkeypatch.setattr(formats, "PART_BYTES", 4_000_000)
    machine = world.machine()
    conversations = [await machine.turn(owner_of(1), None, f"{number} " + "x" * 4000) for number in range(60)]
    await machine.backup.flush()
    monkeypatch.undo()
    path = formats.user_path(owner_of(1), 0)
    long = len(world.head()[path])
    for conversation in conversations[:3]:
        await machine.turn(owner_of(1), conversation, "one more")
        await machine.backup.flush()
    assert len(world.head()[path]) < long - 3 * 4000
    assert len(world.head()[formats.user_path(owner_of(1), 1)]) > 3 * 4000
    assert await (await restored(world)).everything() == await machine.everything()


class Notes:
    """Files of another part."""

    def __init__(self, prefix: str = "consent/") -> None:
        self.prefix, self.kept, self.conversations_then = prefix, {}, None

    async def files(self):
        return dict(self.kept)

    async def merge(self, files):
        self.conversations_then = await self.machine.figure("SELECT count(*) FROM conversations")
        self.kept |= files


async def test_files_of_other_parts_travel_along_and_come_back_before_any_conversation(world):
    notes, back = Notes(), Notes()
    machine = world.machine(extras=[notes])
    notes.machine = machine
    notes.kept = {"consent/a.jsonl": b"granted\n", "consent/b.jsonl": b"denied\n"}
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    del notes.kept["consent/b.jsonl"]
    notes.kept["consent/a.jsonl"] = b"granted\nwithdrawn\n"
    await machine.backup.flush()
    again = world.machine(extras=[back])
    back.machine = again
    await again.backup.pull()
    assert back.kept == notes.kept == {"consent/a.jsonl": b"granted\nwithdrawn\n"}
    assert back.conversations_then == 0


async def test_a_file_of_another_part_that_it_cannot_read_is_left_as_it_is(world):
    class Refusing(Notes):
        async def merge(self, files):
            raise formats.BadFile("consent/a.jsonl cannot be read. It is left as it is.")

    repo = world.repo()
    repo.commit({"consent/a.jsonl": b"future\n"}, [], repo.create(formats.card()), "From the future")
    refusing = Refusing()
    refusing.kept = {"consent/a.jsonl": b"mine\n", "consent/b.jsonl": b"mine\n"}
    machine = world.machine(extras=[refusing])
    await machine.turn(owner_of(1), None, "one")
    with pytest.raises(Denied, match="consent/a.jsonl cannot be read"):
        await machine.backup.flush()
    assert world.head()["consent/a.jsonl"] == b"future\n"
    assert machine.backup.problem == "consent/a.jsonl cannot be read. It is left as it is."
    assert (await machine.backup.figures()).backlog == 0


@pytest.mark.parametrize("path", ["consent/a.jsonl", "tombstones/0f.jsonl", f"users/0f/0f{'0' * 30}.jsonl"])
async def test_while_a_file_is_left_unread_nobody_says_that_everything_is_back(world, path):
    class Refusing(Notes):
        async def merge(self, files):
            if b"future\n" in files.values():
                raise formats.BadFile("consent/a.jsonl cannot be read. It is left as it is.")

    repo = world.repo()
    repo.commit({path: b"future\n"}, [], repo.create(formats.card()), "From the future")
    machine = world.machine(extras=[Refusing()])
    await machine.backup.pull()
    assert not machine.backup.restored.is_set()
    repo.commit({}, [path], repo.head(), "Put it right")
    await machine.backup.pull()
    assert machine.backup.restored.is_set()
    repo.commit({path: b"future\n"}, [], repo.head(), "And wrong again")
    await machine.backup.pull()
    assert not machine.backup.restored.is_set()


async def test_a_deletion_that_a_file_left_unread_keeps_from_being_saved_is_not_called_saved(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    repo = world.repo()
    repo.commit({f"tombstones/{conversation[:2]}.jsonl": b"future\n"}, [], repo.head(), "From the future")
    await machine.backup.pull()
    await machine.store.delete(owner_of(1), conversation)
    with pytest.raises(Denied, match="is damaged"):
        await machine.backup.flush()
    assert (await machine.backup.figures()).backlog > 0


async def test_a_deletion_that_is_not_saved_yet_waits(world):
    machine = world.machine()
    conversation = await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    assert (await machine.backup.figures()).backlog == 0
    await machine.store.delete(owner_of(1), conversation)
    assert (await machine.backup.figures()).backlog > 0
    await machine.backup.flush()
    assert (await machine.backup.figures()).backlog == 0


async def test_a_hub_that_blocks_keeps_no_other_thread_from_running(world):
    """More reads than asyncio has threads of its own wait for it."""
    machine = world.machine()
    for number in range(40):
        await machine.turn(f"{number:02x}" + "0" * 30, None, "one")
    await machine.backup.flush()
    again, answers = world.machine(), threading.Event()
    read = again.repo.repo.read
    again.repo.repo.read = lambda *arguments: (answers.wait(60), read(*arguments))[1]
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))
    pulling = asyncio.create_task(again.backup.pull())
    try:
        while "read" not in again.repo.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "ran"), 20) == "ran"
    finally:
        answers.set()
        await pulling


# Who may read it


async def test_a_public_dataset_of_the_operators_own_stops_the_app(on_hub):
    api = HfApi(endpoint=on_hub.hub.endpoint, token=on_hub.token)
    api.create_repo(REPO, repo_type="dataset", private=False)
    machine = on_hub.machine()
    for gated in (False, "manual"):
        api.update_repo_settings(REPO, repo_type="dataset", gated=gated)
        with pytest.raises(PublicDataset, match=r"ada/chats .* is public. Make it private"):
            machine.backup.refuse_public()


async def test_a_dataset_that_becomes_public_gets_no_more_text(on_hub):
    machine = on_hub.machine(every=0.0)
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    api = HfApi(endpoint=on_hub.hub.endpoint, token=on_hub.token)
    api.update_repo_settings(REPO, repo_type="dataset", private=False)
    await machine.turn(owner_of(1), None, CANARY)
    await machine.backup._turn()
    assert "is public, so no conversation is written there" in machine.backup.problem
    assert not on_hub.holds(CANARY)
    api.update_repo_settings(REPO, repo_type="dataset", private=True)
    machine.clock.now += LONGEST_WAIT
    await machine.backup._turn()
    assert on_hub.holds(CANARY)


async def test_a_dataset_that_is_deleted_on_the_hub_is_made_again_and_told_of(on_hub):
    """Whether something was to be saved just then or not; nothing that is here is lost."""
    machine = on_hub.machine(every=0.0)
    await machine.turn(owner_of(1), None, "one")
    await machine.backup.flush()
    api = HfApi(endpoint=on_hub.hub.endpoint, token=on_hub.token)
    for number, text in enumerate(("one", "two")):
        api.delete_repo(REPO, repo_type="dataset")
        if number:
            await machine.turn(owner_of(2), None, "two")
        await machine.backup._turn()
        assert on_hub.holds(text)
        assert api.dataset_info(REPO).private
    assert [told.partition(".")[0] for told in machine.reports] == [f"The dataset {REPO} is no longer on the Hub"] * 2
    assert (await machine.backup.figures()).problem is None
    assert await (await restored(on_hub)).everything() == await machine.everything()


async def test_a_dataset_that_becomes_public_is_told_of_though_nothing_is_to_be_saved(on_hub):
    machine = on_hub.machine(every=0.0)
    await machine.turn(owner_of(1), None, "one")
    await machine.backup._turn()
    assert machine.backup.problem is None
    HfApi(endpoint=on_hub.hub.endpoint, token=on_hub.token).update_repo_settings(
        REPO, repo_type="dataset", private=False
    )
    await machine.backup._turn()
    assert "is public" in machine.backup.problem and "Make it private" in machine.backup.problem


async def test_a_conversation_so_long_that_it_is_a_large_file_is_purged_from_those_too(on_hub):
    machine = on_hub.machine()
    conversation = None
    for _ in range(60):
        conversation = await machine.turn(owner_of(1), conversation, CANARY + "x" * 190_000)
    await machine.backup.flush()
    large = on_hub.hub.repo_path("dataset", REPO) / "lfs"
    assert in_folder(large, CANARY)
    assert await (await restored(on_hub)).everything() == await machine.everything()
    await machine.store.delete(owner_of(1), conversation)
    await machine.backup.purge()
    assert not on_hub.holds(CANARY)


async def test_somebody_elses_public_dataset_is_never_written_to_and_the_chat_goes_on(on_hub):
    HfApi(endpoint=on_hub.hub.endpoint, token=on_hub.token).create_repo(REPO, repo_type="dataset", private=False)
    on_hub.token = on_hub.hub.add_user("mallory")
    machine = on_hub.machine(every=0.0)
    machine.backup.refuse_public()
    conversation = await machine.turn(owner_of(1), None, CANARY)
    await machine.backup._turn()
    assert "set STORE_DATASET to a name of your own" in machine.backup.problem
    assert await machine.backup.state(conversation) == "kept here"
    assert not on_hub.holds(CANARY)


async def test_a_token_without_rights_and_a_hub_that_is_down_are_named(on_hub):
    on_hub.token = on_hub.hub.add_token("ada", role="read")
    machine = on_hub.machine()
    machine.backup.refuse_public()
    await machine.backup._turn()
    assert "HF_TOKEN may not write to ada/chats" in machine.backup.problem
    machine.backup.repo = HubRepo("http://127.0.0.1:9", "hf_x", REPO)
    Keeping(machine.backup, None, outlives=True).check()
    assert "http://127.0.0.1:9 cannot be reached. Check the network and HF_ENDPOINT." in machine.backup.problem


def test_the_failures_that_are_tried_again_at_once_are_those_that_may_have_been_applied():
    """Guards the table of errors: what is denied or unreachable waits."""
    assert not issubclass(Denied, (Conflict, Doubtful))
    assert not issubclass(Unreachable, (Conflict, Doubtful))


async def test_of_two_choices_of_days_the_newer_one_counts_also_where_it_was_taken_back(world):
    one, two = world.machine(), world.machine()
    owner = await one.owner(owner_of(1))
    await one.db.write(lambda db: retention.choose(db, owner, 30, 5.0))
    await one.backup.flush()
    await two.backup.pull()
    assert await two.db.read(lambda db: retention.chosen(db, owner)) == 30
    await two.db.write(lambda db: retention.choose(db, owner, None, 6.0))
    await two.backup.flush()
    await one.backup.pull()
    assert await one.db.read(lambda db: retention.choice(db, owner)) == (None, 6.0)


async def test_a_file_of_before_pins_and_titles_by_the_model_comes_back(world):
    machine = await lived_in(world)
    await machine.backup.flush()
    (found, *_), _ = await machine.store.conversations(owner_of(1))
    saved = await machine.db.read(lambda db: backup_rows.conversation(db, found.id))
    line = {name: value for name, value in saved.model_dump().items() if name not in ("pinned", "archived", "title_by")}
    (old,) = formats.decode(formats.SavedConversation, "users/x.jsonl", formats.encode([line]))
    assert (old.pinned, old.archived, old.title_by) == (False, False, "words")
