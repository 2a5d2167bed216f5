"""The audit notices everything that is public and should not be, or not as it is, from the audit repository alone."""

from __future__ import annotations

import io
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from chat.dataset_repo import Unreachable
from chat.hub import HubRepo
from privacy.audit import main
from privacy.push import CALLER
from privacy.shards import FEEDBACK_SCHEMA
from tests.support.hub import LoopbackHub
from tests.support.hub.testing import UPLOAD_WARNING, ada_api, clean_hub, running_hub  # noqa: F401
from tests.support.memory_repo import Crash, Faulty, text_of
from tests.support.sharing_world import World

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]

DATASET, AUDIT = "ada/parley-acme__alpha", "ada/parley-audit"


@pytest.fixture
async def world(tmp_path):
    """Two rows are public, one was taken back."""
    world = World(tmp_path)
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chats = [await world.say(owner, f"word {n}") for n in range(3)]
    await world.turn()
    await world.store.delete(owner, chats[0])
    await world.turn(0)
    world.owner = owner
    yield world
    world.close()


def shard(world):
    files = world.repos[DATASET].now()
    path = next(path for path in files if path.startswith("data/"))
    return path, pq.read_table(io.BytesIO(files[path]))


def put(world, path, table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    world.repos[DATASET].commit({path: buffer.getvalue()}, (), None, "by hand")


def rewrite(world, path, change):
    """The lines of a file of the audit repository, changed."""
    repo = world.audit_repos[AUDIT]
    path = next(found for found in repo.now() if found.startswith(path))
    lines = [json.loads(line) for line in repo.now()[path].decode().splitlines()]
    content = "".join(json.dumps(line, sort_keys=True) + "\n" for line in change(lines)).encode()
    repo.commit({path: content}, (), None, "by hand")


async def test_after_a_push_nothing_is_wrong_and_the_audit_repository_has_no_word_of_anybody(world):
    assert world.audited() == []
    everything = world.audit_repos[AUDIT].everything()
    assert "word 1" not in everything and world.owner not in everything
    assert world.audit_repos[AUDIT].seen_by == "private"


async def test_a_row_that_nobody_planned_is_named(world):
    path, table = shard(world)
    strange = {**table.to_pylist()[0], "row_id": "f" * 32}
    put(world, path, pa.concat_tables([table, pa.Table.from_pylist([strange], schema=table.schema)]))
    assert world.audited() == [f"{DATASET}: row {'f' * 32} is in no row map."]


async def test_a_row_that_was_changed_is_named(world):
    path, table = shard(world)
    rows = [{**row, "finish_reason": "length"} for row in table.to_pylist()]
    put(world, path, pa.Table.from_pylist(rows, schema=table.schema))
    found = [sentence for sentence in world.audited() if "is not as it was published" in sentence]
    assert len(found) == len(rows) == len(world.audited())


async def test_a_missing_row_and_a_missing_tombstone_are_named(world):
    path, table = shard(world)
    world.repos[DATASET].commit({}, (path, "tombstones.parquet"), None, "by hand")
    found = world.audited()
    assert sum("is not there" in sentence for sentence in found) == table.num_rows
    assert sum("has no tombstone" in sentence for sentence in found) == 1


async def test_a_row_that_came_back_is_named(world):
    _path, table = shard(world)
    gone = next(row["row_id"] for row in await world.outbox() if row["state"] == "retracted")
    back = {**table.to_pylist()[0], "row_id": gone}
    put(world, "data/again.parquet", pa.Table.from_pylist([back], schema=table.schema))
    assert f"{DATASET}: row {gone} is there and counts as retracted." in world.audited()


async def test_a_row_that_left_only_the_head_is_named(world):
    """The history is anybody's to read."""
    path, table = shard(world)
    gone = next(row["row_id"] for row in await world.outbox() if row["state"] == "retracted")
    before = world.repos[DATASET].now()[path]
    back = {**table.to_pylist()[0], "row_id": gone}
    put(world, path, pa.concat_tables([table, pa.Table.from_pylist([back], schema=table.schema)]))
    world.repos[DATASET].commit({path: before}, (), None, "and away again")
    assert world.audited() == [f"{DATASET}: row {gone} still stands in the history."]


async def test_a_row_under_no_consent_is_named(world):
    """Somebody forges the row map: the ledger says otherwise."""
    repo = world.audit_repos[AUDIT]
    path = next(path for path in repo.now() if path.startswith("rows/") and '"published"' in repr_of(repo.now()[path]))
    table = pq.read_table(io.BytesIO(repo.now()[path]))
    rows = [{**row, "turns": json.dumps([["a" * 32, 1.0, "page"]])} for row in table.to_pylist()]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), buffer)
    repo.commit({path: buffer.getvalue()}, (), None, "by hand")
    assert any("not covered by a consent" in sentence for sentence in world.audited())


def repr_of(content):
    return text_of(content).replace("'", '"')


async def test_a_withdrawal_is_named_until_its_rows_are_out(world):
    await world.choose(world.owner, "withdraw")
    sql = "SELECT * FROM consent_events ORDER BY at DESC LIMIT 1"
    event = await world.db.read(lambda db: dict(db.execute(sql).fetchone()))
    rewrite(world, "ledger/", lambda lines: [*lines, event])
    assert sum("not covered" in sentence for sentence in world.audited()) == 2
    await world.turn(0)
    assert world.audited() == []


@pytest.mark.parametrize("way", ["changed", "left out", "all new"])
async def test_a_rewritten_ledger_is_noticed(world, way):
    if way == "changed":
        rewrite(world, "ledger/", lambda lines: [{**line, "language": "xx"} for line in lines])
        assert "is not what was written" in " ".join(world.audited())
    elif way == "left out":
        rewrite(world, "ledger/", lambda lines: lines[:-1])
        assert "not the one whose hash was told last" in " ".join(world.audited())
    else:
        rewrite(world, "heads", lambda lines: [{**line, "hash": "0" * 64} for line in lines])
        found = " ".join(world.audited())
        assert "the ledger is not the one whose hash its card has" in found


async def test_a_strange_file_an_open_dataset_an_unexpected_reader_and_a_canary_are_named(world):
    repo = world.repos[DATASET]
    repo.commit({"notes.txt": b"hello"}, (), None, "by hand")
    repo.seen_by, repo.let_in = "public", {"grace", "Heidi", "mallory"}
    found = world.audited(readers=("Grace", "acme:heidi", "globex:mallory"), blocked=("WORD 1",))
    for needed in ("notes.txt", "open to everyone", "mallory can read it", "canary"):
        assert any(needed in sentence for sentence in found), needed
    assert len(found) == 4


def said_about(row_id, comment=""):
    said = {"row_id": row_id, "model": "m", "answer": 1, "rating": "up", "reasons": [], "comment": comment}
    return pa.Table.from_pylist([said], schema=FEEDBACK_SCHEMA)


async def test_what_was_said_about_a_row_that_is_not_shared_is_named_in_the_head_and_in_the_history(world):
    repo = world.repos[DATASET]
    states = {row["state"]: row["row_id"] for row in await world.outbox()}
    for row_id, fault in (("f" * 32, "is in no row map"), (states["retracted"], "counts as retracted")):
        put(world, "feedback.parquet", said_about(row_id))
        assert f"{DATASET}: what was said about row {row_id} is there, and that {fault}." in world.audited()
        repo.commit({}, ("feedback.parquet",), None, "by hand")
        assert world.audited()[-1] == f"{DATASET}: row {row_id} still stands in the history."
        repo.squash("by hand")
    repo.commit({"feedback.parquet": b"no rows"}, (), None, "by hand")
    assert world.audited() == [f"{DATASET}: the file feedback.parquet cannot be read as rows."]


async def test_a_canary_in_a_comment_is_named(world):
    (row_id, *_) = [row["row_id"] for row in await world.outbox() if row["state"] == "published"]
    put(world, "feedback.parquet", said_about(row_id, "The Heron counts!"))
    found = world.audited(blocked=("the heron counts",))
    assert found[-1] == f"{DATASET}: row {row_id} has a phrase that is blocked, a canary perhaps."


async def test_a_file_that_nothing_explains_is_named_in_the_history_too_and_so_is_more_than_ids_among_the_tombstones(
    world,
):
    repo = world.repos[DATASET]
    repo.commit({"dump.jsonl": b"{}", "texts/more.txt": b"hello"}, (), None, "by hand")
    assert {sentence.rpartition(" ")[2] for sentence in world.audited()} == {"dump.jsonl.", "texts/more.txt."}
    repo.commit({}, ("dump.jsonl", "texts/more.txt"), None, "by hand")
    assert world.audited() == [
        f"{DATASET}: the file {name} still stands in the history, and nothing explains it."
        for name in ("dump.jsonl", "texts/more.txt")
    ]
    repo.squash("by hand")
    put(world, "tombstones.parquet", pa.table({"row_id": ["a" * 32], "removed": ["2026-11-21"], "text": ["hello"]}))
    assert f"{DATASET}: the file tombstones.parquet has more than it should: text." in world.audited()


async def test_an_audit_repository_that_is_open_to_everyone_is_named(world):
    """It says which rows are one person's."""
    world.audit_repos[AUDIT].seen_by = "public"
    assert world.audited() == [f"{AUDIT}: it is open to everyone."]


async def test_whoever_was_let_into_the_audit_repository_and_may_not_read_everything_is_named(world):
    repo = world.audit_repos[AUDIT]
    repo.seen_by, repo.let_in = "gated", {"Grace", "heidi", "mallory"}
    strangers = [f"{AUDIT}: {name} can read it, and is nobody whom the operator named." for name in sorted(repo.let_in)]
    assert world.audited() == strangers
    assert world.audited(readers=("grace", "acme:heidi", ":mallory")) == strangers[1:]


async def test_a_row_of_what_was_written_while_sharing_rested_or_is_reported_is_named(world):
    """The audit knows of pauses and of open reports what the comparison knows."""
    published = [row for row in await world.outbox() if row["state"] == "published"]
    row = max(published, key=lambda row: json.loads(row["turns"])[0][1])  # nothing was written after it
    ((answer, asked, *_),) = json.loads(row["turns"])
    rest = {"subject": row["subject"], "begun_at": asked - 1, "ended_at": asked + 1}
    rewrite(world, "pauses", lambda lines: [rest])
    assert [row["row_id"] in sentence for sentence in world.audited()] == [True]
    rewrite(world, "pauses", lambda lines: [])
    rewrite(world, "hidden", lambda lines: [{"answer": answer}])
    assert [row["row_id"] in sentence for sentence in world.audited()] == [True]


async def test_an_audit_repository_that_is_gone_or_unreadable_proves_nothing(world):
    world.audit_repos[AUDIT].commit({"people.jsonl": b"not JSON"}, (), None, "by hand")
    assert "cannot be read" in world.audited()[0]
    world.audit_repos.clear()
    assert "nothing can be proved" in world.audited()[0]


async def test_what_another_hand_did_to_the_audit_repository_is_undone_by_the_next_push(world):
    repo = world.audit_repos[AUDIT]
    repo.commit({"more.jsonl": b"", "heads.jsonl": b""}, (), None, "by hand")
    rewrite(world, "ledger/", lambda lines: lines[:-1])
    await world.say(world.owner, "more")
    await world.turn()
    assert world.audited() == [] and "more.jsonl" not in repo.now()


# It runs after every push


async def test_after_a_push_the_audit_runs_and_what_it_finds_stops_new_rows_but_no_withdrawal(world):
    """Until it is repaired, which the next push does, or somebody does, and the next push then with the history."""
    repo = world.repos[DATASET]
    chats = [row["conversation"] for row in await world.outbox() if row["state"] == "published"]
    await world.say(world.owner, "new")
    repo.commit({"notes.txt": b"hello"}, (), None, "by hand")
    _, pushed = await world.turn()
    assert "notes.txt" in " ".join(pushed.problems) and "nothing new is shared" in " ".join(pushed.problems)
    await world.say(world.owner, "newer")
    await world.store.delete(world.owner, chats[0])
    _, pushed = await world.turn()
    assert "newer" not in repo.everything() and len(await world.states()) == 4
    assert "notes.txt" in " ".join(pushed.problems), "still told"
    repo.commit({}, ("notes.txt",), None, "by hand")
    await world.turn(3600)
    assert "notes.txt" in " ".join(world.audited()), "it stands in the history"
    await world.turn(60)
    await world.turn(60)
    assert "newer" in repo.everything() and world.audited() == []


async def test_a_row_that_only_the_audit_finds_leaves_with_the_next_turn(world):
    """It came after the push had read the dataset's head."""
    path, table = shard(world)
    strange = pa.Table.from_pylist([{**table.to_pylist()[0], "row_id": "f" * 32}], schema=table.schema)
    await world.say(world.owner, "heron")
    world.clock.now += 80 * 3600
    late = []

    def open_repo(id):
        if id == AUDIT and "heron" in world.repos[DATASET].everything() and not late:
            late.append(put(world, "data/late.parquet", strange))
        return world.in_memory(id)

    world.open_repo = open_repo
    _, pushed = await world.turn(0)
    assert late and f"row {'f' * 32}" in " ".join(pushed.problems)
    _, pushed = await world.turn(0)
    assert "f" * 32 not in [row["row_id"] for row in pq_rows(world)] and world.audited() == []


def pq_rows(world):
    files = world.repos[DATASET].now()
    return [
        row
        for path, content in files.items()
        if path.startswith("data/")
        for row in pq.read_table(io.BytesIO(content)).to_pylist()
    ]


@pytest.mark.parametrize("where", ["evidence", "audit"])
@pytest.mark.parametrize("end", [Crash, Unreachable])
async def test_a_push_that_was_not_audited_to_the_end_is_audited_by_the_next_turn(world, where, end):
    """Whether the process ended before, or the Hub was away: there need be nothing new to push."""
    calls = []

    def open_repo(id):
        def strike(call, before):
            told = (id == AUDIT and call == "commit") if where == "evidence" else call == "history"
            if told and not before and "heron" in world.repos[DATASET].everything():
                calls.append(call)
                if len(calls) == 1:
                    raise end("The connection is gone.")

        return Faulty(world.in_memory(id), strike)

    await world.say(world.owner, "heron")
    world.open_repo = open_repo
    sharing = world.sharing()
    world.clock.now += 80 * 3600
    with suppress(Crash):
        await sharing.turn(restored=lambda: True)
    world.open_repo = world.in_memory
    world.repos[DATASET].commit({"notes.txt": b"hello"}, (), None, "by hand")
    world.clock.now += 600
    _, pushed = await world.sharing().turn(restored=lambda: True)
    assert calls and "notes.txt" in " ".join(pushed.problems), "it was looked at"
    assert world.audited() != []


async def test_an_audit_that_cannot_be_finished_waits_longer_each_time_and_is_told_meanwhile(world):
    """It reads every dataset: a Hub that is away is not asked for all of it at every turn."""
    tries = []

    def away(call, before):
        if call == "history" and before:
            tries.append(call)
            raise Unreachable("The connection is gone.")

    world.open_repo = lambda id: Faulty(world.in_memory(id), away)
    sharing = world.sharing()
    await world.say(world.owner, "heron")
    world.clock.now += 80 * 3600
    for _ in range(5):
        _, pushed = await sharing.turn(restored=lambda: True)
        assert pushed.problems == ("The audit of what is shared could not be finished. The connection is gone.",)
    assert len(tries) == 1
    world.clock.now += 2
    await sharing.turn(restored=lambda: True)
    assert len(tries) == 2
    world.open_repo = world.in_memory
    _, pushed = await world.sharing().turn(restored=lambda: True)
    assert pushed.problems == () and world.audited() == []


async def test_an_audit_waits_until_the_audit_repository_says_what_was_pushed(world):
    """Else it would find what is not told yet, and stop the sharing of everybody."""
    chats = [row["conversation"] for row in await world.outbox() if row["state"] == "published"]

    def away(call, before):
        if call == "commit":
            raise Unreachable("The connection is gone.")

    world.open_repo = lambda id: Faulty(world.in_memory(id), away) if id == AUDIT else world.in_memory(id)
    await world.store.delete(world.owner, chats[0])
    _, pushed = await world.turn(60)
    assert pushed.commits and pushed.problems == ("The connection is gone.",)
    world.open_repo = world.in_memory
    _, pushed = await world.turn(600)
    assert pushed.problems == () and world.audited() == []


# The announcement


async def test_a_day_on_which_rows_left_is_announced_once_and_without_names(world):
    repo = world.repos[DATASET]
    ((title, text),) = repo.announced.items()
    assert title.startswith("Rows were withdrawn on 20") and "tombstones.parquet" in text
    chats = [row["conversation"] for row in await world.outbox() if row["state"] == "published"]
    await world.store.delete(world.owner, chats[0])
    await world.turn(0)
    assert len(repo.announced) == 1
    await world.store.delete(world.owner, chats[1])
    await world.turn(25 * 3600)
    assert len(repo.announced) == 2


# The command


async def test_the_command_proves_it_against_a_hub_and_ends_with_1_on_anything_else(
    tmp_path, hub: LoopbackHub, ada: HfApi, capsys
):
    world = World(tmp_path, lambda id: HubRepo(hub.endpoint, str(ada.token), id, CALLER))
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    chat = await world.say(owner, "a private word")
    await world.say(owner, "another word")
    await world.turn()
    environ = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": str(ada.token)}
    assert main([AUDIT], environ, world.clock()) == 0
    assert main([], {**environ, "SHARE_NAMESPACE": "ada"}, world.clock()) == 0
    assert main([AUDIT], {**environ, "SHARE_BLOCKED": "nothing, Private  WORD"}, world.clock()) == 1
    await world.store.delete(owner, chat)
    _, pushed = await world.turn(0)
    assert not pushed.problems
    assert main([AUDIT], environ, world.clock()) == 0
    titles = [found.title for found in ada.get_repo_discussions(DATASET, repo_type="dataset")]
    assert len(titles) == 1 and titles[0].startswith("Rows were withdrawn on ")
    repo = HubRepo(hub.endpoint, str(ada.token), AUDIT)
    told = [text_of(repo.read(path, repo.head())) for path in repo.paths("", repo.head())]
    assert told and not any("another word" in text for text in told)
    hub.add_user("mallory")
    with hub.guard.lifted():
        ada.update_repo_settings(DATASET, repo_type="dataset", private=False, gated="manual")
        ada.grant_access(DATASET, "mallory", repo_type="dataset")
    assert main([AUDIT], environ, world.clock()) == 1
    assert main([AUDIT], {**environ, "SHARE_READERS": "acme:mallory"}, world.clock()) == 0
    with hub.guard.lifted():
        ada.create_branch(DATASET, branch="kept", repo_type="dataset")
    assert main([AUDIT], {**environ, "SHARE_READERS": "mallory"}, world.clock()) == 0
    assert main([AUDIT], {**environ, "HF_TOKEN": "hf_wrong"}, world.clock()) == 2
    assert main(["nonsense"], environ, world.clock()) == 2
    world.close()
    assert "private word" not in "".join(capsys.readouterr()).lower()
