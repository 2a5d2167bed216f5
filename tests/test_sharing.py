"""What is public is what consent allows: who agreed, what leaves, and the way back. Datasets in memory."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from chat.dataset_repo import Conflict, Denied, Doubtful, Unreachable
from chat.repo_guards import Counted
from chat.retrying import LONGEST_WAIT
from chat.slots import KEPT, NoSlot, Slots
from privacy.confirm import main as confirm
from privacy.consent import Terms
from privacy.ledger import Choice, record
from privacy.mine import outlook, preview, recipients, shared_rows
from privacy.outbox import UNEXPLAINED_ROWS, plan
from privacy.pauses import pause, resume
from privacy.rows import Redaction
from privacy.saved import files as saved_files
from privacy.saved import restore
from privacy.shards import SCHEMA
from privacy.sharing import AGAIN, PATIENCE, SLOW
from tests.support.memory_repo import Crash, Faulty
from tests.support.sharing_world import ALPHA, BETA, DAY, HOUR, QUIET, World, redact, shown

pytestmark = pytest.mark.anyio

DATASET, OTHER_DATASET = "ada/parley-acme__alpha", "ada/parley-globex__beta"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def rows(world, dataset=DATASET):
    found = []
    repo = world.repos.get(dataset)
    for path, content in (repo.now() if repo else {}).items():
        if path.startswith("data/"):
            found += pq.read_table(io.BytesIO(content)).to_pylist()
    return found


def texts(world, dataset=DATASET):
    return sorted(message["content"] for row in rows(world, dataset) for message in row["messages"])


def dug_up(world, text):
    return [id for id, repo in world.repos.items() if text in repo.everything()]


def tombstones(world, dataset=DATASET):
    content = world.repos[dataset].now().get("tombstones.parquet")
    return [row["row_id"] for row in pq.read_table(io.BytesIO(content)).to_pylist()] if content else []


async def agreed(world, *names, **person):
    owner = await world.person(**person)
    for name in names or ("acme",):
        await world.choose(owner, "grant", name)
    return owner


# Who agreed, and when


async def test_what_one_agreed_to_share_is_there_after_the_quiet_period_and_not_before(world):
    owner = await agreed(world)
    await world.say(owner, "first")
    await world.turn(QUIET - 60)
    assert not world.repos
    await world.turn(60)
    assert texts(world) == [f"{ALPHA} answers: first", "first"]
    assert await world.states() == ["published"]
    planned, pushed = await world.turn()
    assert (planned.publish, planned.retract, pushed.commits) == (0, 0, {}), "nothing is left to do"


async def test_a_message_starts_the_quiet_period_again(world):
    owner = await agreed(world)
    chat = await world.say(owner, "first")
    await world.turn(QUIET - 60)
    await world.say(owner, "second", conversation=chat)
    await world.turn(QUIET - 60)
    assert not world.repos
    await world.turn(60)
    assert "second" in texts(world)


@pytest.mark.parametrize(
    "said", [[], [("deny", "acme")], [("grant", "acme"), ("withdraw", "acme")], [("grant", "globex")]]
)
async def test_who_did_not_agree_to_these_authors_shares_nothing(world, said):
    owner = await world.person()
    for kind, recipient in said:
        await world.choose(owner, kind, recipient)
    await world.say(owner, "mine")
    await world.turn()
    assert not dug_up(world, "mine")


async def test_a_grant_never_reaches_back(world):
    owner = await world.person()
    chat = await world.say(owner, "from before")
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "from after", conversation=chat)
    await world.turn()
    assert texts(world) == [f"{ALPHA} answers: from after", "from after"]
    assert rows(world)[0]["context_omitted"]


async def test_a_retry_after_the_grant_of_a_prompt_from_before_it_is_not_shared(world):
    owner = await world.person()
    chat = await world.say(owner, "from before")
    await world.choose(owner, "grant", "acme")
    await world.retry(owner, chat, "again")
    await world.turn()
    assert not world.repos


@pytest.mark.parametrize("surface", ["import", "api"])
async def test_imported_turns_and_api_calls_are_not_shared_by_an_account_grant(world, surface):
    owner = await agreed(world)
    await world.say(owner, "from elsewhere", surface=surface)
    await world.turn()
    assert not world.repos


async def test_imported_turns_are_shared_where_their_preview_was_agreed_to_and_nothing_added_later(world):
    owner = await world.person()
    chat = await world.say(owner, "from elsewhere", surface="import")
    (row,) = await preview(world.db, owner, chat, world.rules)
    assert (row.recipient, row.parts) == ("acme", await world.answers(owner, chat))
    await world.choose(owner, "grant", row.recipient, chat, row.parts)
    await world.say(owner, "added later", conversation=chat)
    await world.turn()
    assert texts(world) == [f"{ALPHA} answers: from elsewhere", "from elsewhere"]
    assert [m["content"] for m in row.content["messages"]] == ["from elsewhere", f"{ALPHA} answers: from elsewhere"]


async def test_sharing_the_rest_of_a_conversation_takes_nothing_back_and_opens_nothing_that_follows(world):
    owner = await world.person()
    chat = await world.say(owner, "from elsewhere", surface="import")
    await world.choose(owner, "grant", "acme")
    await world.say(owner, "public", conversation=chat)
    await world.turn()
    (row,) = await preview(world.db, owner, chat, world.rules)
    await world.choose(owner, "grant", "acme", chat, row.parts)
    await world.say(owner, "added later", conversation=chat)
    planned, _ = await world.turn()
    assert (planned.publish, planned.retract) == (1, 0)
    assert [text for text in texts(world) if "answers" not in text] == ["from elsewhere", "public"]


async def test_a_conversation_kept_private_is_not_shared(world):
    owner = await agreed(world)
    chat = await world.say(owner, "between us")
    await world.choose(owner, "deny", conversation=chat)
    await world.turn()
    assert not world.repos


async def test_a_model_without_an_author_is_shared_with_nobody(world):
    owner = await agreed(world)
    await world.say(owner, "hello", "nobody/knows")
    await world.say(owner, "hello", "not/in-the-catalogue")
    await world.turn()
    assert not world.repos


# What leaves


async def test_of_a_conversation_with_two_models_each_dataset_holds_only_its_own_segments(world):
    owner = await agreed(world, "acme", "globex")
    chat = await world.say(owner, "one")
    await world.say(owner, "two", BETA, chat)
    await world.say(owner, "three", conversation=chat)
    await world.turn()
    assert [t for t in texts(world) if "answers" not in t] == ["one", "three"]
    assert texts(world, OTHER_DATASET) == [f"{BETA} answers: two", "two"]
    assert {row["model"] for row in rows(world)} == {ALPHA}
    assert "two" not in "".join(texts(world)) and "one" not in "".join(texts(world, OTHER_DATASET))


async def test_agreeing_to_one_models_authors_leaves_the_others_turns_here(world):
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "one")
    await world.say(owner, "two", BETA, chat)
    await world.turn()
    assert list(world.repos) == [DATASET]
    assert not dug_up(world, "two")


async def test_a_published_segment_stays_as_it_is_while_the_conversation_goes_on(world):
    owner = await agreed(world)
    chat = await world.say(owner, "one")
    await world.turn()
    (before,) = rows(world)
    await world.say(owner, "two", conversation=chat)
    await world.turn()
    assert before in rows(world) and len(rows(world)) == 2
    assert await world.states() == ["published", "published"]


async def test_a_row_has_the_designed_columns_and_tells_nothing_of_who_wrote_it(world):
    owner = await agreed(world)
    chat = await world.say(owner, "write to me@home.example")
    await world.turn()
    (row,) = rows(world)
    assert list(row) == SCHEMA.names
    assert row["messages"][0] == {
        "role": "user",
        "content": "write to [EMAIL_1]",
        "synthetic": False,
        "generator": None,
    }
    assert row["redactions"] == [{"type": "email", "count": 2}]
    assert (row["turns"], row["language"], row["month"], row["policy_version"]) == (1, "other", "other", "1")
    (kept,) = await world.outbox()
    for id in (owner, kept["subject"], chat, *await world.answers(owner, chat), kept["event"]):
        assert not dug_up(world, id)


async def test_small_cells_of_language_and_month_are_not_labelled_and_larger_ones_are(world):
    owner = await agreed(world)
    for n in range(9):
        await world.say(owner, f"question {n}")
    await world.turn()
    assert {(row["language"], row["month"]) for row in rows(world)} == {("other", "other")}
    for n in range(10):
        await world.say(owner, f"again {n}")
    await world.turn()
    assert sorted(row["language"] for row in rows(world)) == ["other"] * 9 + ["und"] * 10


async def test_what_cannot_be_redacted_is_quarantined_and_tried_again_by_another_redaction(world):
    owner = await agreed(world)
    await world.say(owner, "UNREADABLE")
    await world.turn()
    await world.turn()
    assert (await world.states(), world.repos) == (["quarantined"], {})
    world.use(redaction=Redaction("2", lambda text, seen: redact(text.replace("UNREADABLE", "clear"), seen), dict))
    await world.turn()
    assert texts(world) == [f"{ALPHA} answers: clear", "clear"]


async def test_the_card_opens_what_is_there_and_names_text_recipient_and_ledger(world):
    owner = await agreed(world)
    await world.say(owner, "one")
    await world.turn()
    card = world.repos[DATASET].now()["README.md"].decode()
    assert '"path": "data/*.parquet"' in card and 'tombstones.parquet"' not in card
    (event,) = await world.db.read(lambda db: db.execute("SELECT text_hash FROM consent_events").fetchall())
    assert "acme may read" in card and event["text_hash"] in card and "/takedown" in card
    await world.choose(owner, "withdraw")
    await world.turn()
    card = world.repos[DATASET].now()["README.md"].decode()
    assert "data/*.parquet" not in card and "tombstones.parquet" in card


async def test_the_dataset_is_private_and_one_that_was_opened_to_all_gets_nothing_new_but_still_loses_rows(world):
    owner = await agreed(world)
    chat = await world.say(owner, "uno")
    await world.turn()
    repo = world.repos[DATASET]
    assert repo.seen_by == "private"
    repo.seen_by = "public"
    await world.say(owner, "due")
    await world.store.delete(owner, chat)
    _, pushed = await world.turn()
    assert "open to everyone" in pushed.problems[0]
    assert not dug_up(world, "uno") and not dug_up(world, "due")
    repo.seen_by = "gated"
    await world.turn(AGAIN)
    await world.turn(0)
    assert "due" in texts(world)


# The way back


async def published(world, *words):
    owner = await agreed(world)
    chats = [await world.say(owner, word) for word in words]
    await world.turn()
    assert set(words) <= set(texts(world))
    return owner, chats


async def withdrawn(world, owner, chat):
    await world.choose(owner, "withdraw")


async def withdrawn_from_one(world, owner, chat):
    await world.choose(owner, "withdraw", "acme")


async def deleted(world, owner, chat):
    await world.store.delete(owner, chat)


async def kept_private(world, owner, chat):
    await world.choose(owner, "deny", conversation=chat)


async def retried(world, owner, chat):
    await world.retry(owner, chat, "another")


async def taken_down(world, owner, chat):
    await world.choose(owner, "takedown", conversation=chat)


async def joined_an_organisation(world, owner, chat):
    await world.db.write(lambda db: db.execute("UPDATE accounts SET orgs = '[{\"managed\": true}]'"))


WAYS_BACK = [withdrawn, withdrawn_from_one, deleted, kept_private, retried, taken_down, joined_an_organisation]


@pytest.mark.parametrize("way", WAYS_BACK, ids=lambda way: way.__name__)
async def test_what_is_taken_back_is_out_of_head_and_history_with_a_tombstone(world, way):
    owner, (chat,) = await published(world, "secret")
    row_id = rows(world)[0]["row_id"]
    await way(world, owner, chat)
    await world.turn(60)
    assert not dug_up(world, "secret")
    assert tombstones(world) == [row_id]
    assert not any(path.startswith("data/") for path in world.repos[DATASET].now()), "an emptied shard is deleted"
    (row,) = await world.outbox()
    assert (row["state"], row["row"]) == ("retracted", None)
    assert await world.db.read(lambda db: shared_rows(db, owner)[0].retracted_in) == world.repos[DATASET].head()


async def test_taking_one_row_back_leaves_the_others(world):
    owner, chats = await published(world, *(f"word {n}" for n in range(8)))
    await world.choose(owner, "deny", conversation=chats[3])
    await world.turn(0)
    assert sorted(t for t in texts(world) if "answers" not in t) == [f"word {n}" for n in range(8) if n != 3]
    assert not dug_up(world, "word 3")
    assert not dug_up(world, owner)


async def test_agreeing_again_does_not_bring_back_what_was_taken_back(world):
    owner, (_chat,) = await published(world, "secret")
    await world.choose(owner, "withdraw")
    await world.turn(0)
    await world.choose(owner, "grant", "acme")
    await world.turn()
    assert not dug_up(world, "secret")


async def test_a_yes_withdrawn_before_the_push_is_never_sent(world):
    owner = await agreed(world)
    await world.say(owner, "secret")
    world.clock.now += QUIET
    await plan(world.db, world.rules, now=world.clock(), restored=True)
    assert await world.states() == ["publish"]
    await world.choose(owner, "withdraw")
    await world.turn(0)
    assert (await world.outbox(), world.repos) == ([], {})


async def test_a_conversation_that_goes_on_before_the_push_waits_again(world):
    owner = await agreed(world)
    chat = await world.say(owner, "one")
    world.clock.now += QUIET
    await plan(world.db, world.rules, now=world.clock(), restored=True)
    await world.say(owner, "two", conversation=chat)
    await world.turn(0)
    assert not world.repos


async def test_a_model_that_left_the_catalogue_keeps_its_way_back(world):
    owner, (_chat,) = await published(world, "secret")
    world.use(authors={})
    await world.turn(0)
    assert "secret" in texts(world)
    await world.choose(owner, "withdraw")
    await world.turn(0)
    assert not dug_up(world, "secret")


async def test_a_catalogue_that_names_other_authors_gives_them_nothing_of_what_was_agreed(world):
    owner, _ = await published(world, "one")
    world.use(authors={ALPHA: "globex"})
    await world.choose(owner, "grant", "globex")
    await world.say(owner, "two")
    planned, _ = await world.turn()
    assert "opened for acme" in planned.problems[0]
    assert not dug_up(world, "two")


async def test_a_row_under_a_replaced_text_leaves_after_30_days_of_asking_and_nothing_new_goes(world):
    owner, (_chat,) = await published(world, "vecchio")
    world.use(terms=Terms({"1": world.clock()}))
    await world.say(owner, "nuovo")
    await world.turn()
    assert not dug_up(world, "nuovo") and "vecchio" in texts(world)
    await world.turn(30 * DAY)
    assert not dug_up(world, "vecchio")


# Rules of the comparison


async def test_nothing_is_decided_before_everything_is_restored(world):
    owner, (chat,) = await published(world, "secret")
    await world.store.delete(owner, chat)
    planned, pushed = await world.turn(restored=False)
    assert (planned.stopped is not None, pushed.commits) == (True, {})
    assert await world.states() == ["published"]


def lost(owner):
    """As after a restore that did not bring everything."""
    return lambda db: db.execute("DELETE FROM conversations WHERE owner = ?", (owner,))


async def test_a_mass_loss_that_nobody_explains_stays_public_and_nothing_new_leaves(world):
    owner, chats = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 1)))
    other = await agreed(world)
    await world.say(other, "unsaid")
    await world.db.write(lost(owner))
    planned, pushed = await world.turn()
    assert "21 of 21" in planned.problems[0] and planned.held == len(chats)
    assert not pushed.commits and "word 0" in texts(world) and not dug_up(world, "unsaid")
    let_pass = await plan(world.db, world.rules, now=world.clock(), restored=True, mass=True)
    assert let_pass.retract == len(chats)


async def test_while_a_mass_loss_is_held_back_what_waits_does_not_count_as_public(world):
    owner, _ = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 1)))
    await world.say(await agreed(world), "unsaid")
    world.clock.now += QUIET
    assert (await plan(world.db, world.rules, now=world.clock(), restored=True)).publish == 1
    await world.db.write(lost(owner))
    planned, _ = await world.turn(0)
    assert planned.held
    (waits,) = (row for row in await world.outbox() if row["state"] == "publish")
    assert waits["shard"] is None


async def test_a_mass_loss_of_one_holds_up_nobody_elses_withdrawal(world):
    owner, _ = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 1)))
    other = await agreed(world)
    await world.say(other, "taken back")
    await world.turn()
    await world.db.write(lost(owner))
    await world.choose(other, "withdraw")
    planned, _ = await world.turn(0)
    assert (planned.retract, planned.held) == (1, UNEXPLAINED_ROWS + 1)
    assert not dug_up(world, "taken back") and "word 0" in texts(world)


async def test_an_operator_lets_a_mass_loss_pass_once_and_only_as_much_as_they_saw(world, capsys):
    owner, _ = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 1)))
    other = await agreed(world)
    for n in range(UNEXPLAINED_ROWS + 1):
        await world.say(other, f"letter {n}")
    await world.turn()
    assert confirm([str(world.folder)], {}) == 1, "nothing is held back yet"
    await world.db.write(lost(owner))
    await world.turn(0)
    assert "word 0" in texts(world)
    assert confirm([str(world.folder)], {}) == 0
    assert "21 rows" in capsys.readouterr().out
    await world.db.write(lost(other))
    await world.turn(0)
    assert "word 0" in texts(world), "more would leave than was looked at"
    assert confirm([], {"DATA_DIR": str(world.folder)}) == 0
    await world.turn(0)
    assert not texts(world)
    third, _ = await published(world, *(f"number {n}" for n in range(2 * UNEXPLAINED_ROWS)))
    await world.db.write(lost(third))
    planned, _ = await world.turn(0)
    assert planned.held and confirm([str(world.folder / "nowhere")], {}) == 2


async def test_one_withdrawal_explains_every_row_of_its_subject(world):
    owner, chats = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 5)))
    await world.choose(owner, "withdraw")
    planned, _ = await world.turn(0)
    assert planned.retract == len(chats)
    assert not dug_up(world, "word 1")


async def test_a_no_that_another_machine_heard_before_it_knew_of_the_yes_explains_every_row(world, tmp_path):
    """Its clock is behind, so by its date it was said before the yes that it undoes."""
    owner = await world.person()
    await world.choose(owner, "grant", "globex")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(saved_files))
    await other.choose(owner, "deny", "acme")
    heard = await other.db.read(saved_files)
    other.close()
    world.clock.now += HOUR
    await world.choose(owner, "grant", "acme")
    for n in range(UNEXPLAINED_ROWS + 5):
        await world.say(owner, f"word {n}")
    await world.turn()
    assert "word 0" in texts(world)
    await world.db.write(lambda db: restore(db, heard))
    planned, _ = await world.turn(0)
    assert (planned.retract, planned.stopped) == (UNEXPLAINED_ROWS + 5, None)
    assert not dug_up(world, "word 1")


async def test_a_rest_that_another_machine_heard_explains_every_row_that_was_written_in_it(world, tmp_path):
    """It knew nothing of the number under which they were shared."""
    owner = await world.person()
    other = await world.elsewhere(tmp_path / "other", {})
    await other.choose(owner, "grant", "globex")
    await world.choose(owner, "grant", "acme")
    await other.db.write(lambda db: pause(db, owner, world.clock()))
    heard = await other.db.read(saved_files)
    other.close()
    for n in range(UNEXPLAINED_ROWS + 5):
        await world.say(owner, f"word {n}")
    await world.turn()
    assert "word 0" in texts(world)
    await world.db.write(lambda db: restore(db, heard))
    planned, _ = await world.turn(0)
    assert (planned.retract, planned.held) == (UNEXPLAINED_ROWS + 5, 0)
    assert not dug_up(world, "word 1")


async def test_a_rest_before_or_after_the_rows_explains_no_mass_loss(world):
    owner = await agreed(world)
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    await world.db.write(lambda db: resume(db, owner, world.clock()))
    for n in range(UNEXPLAINED_ROWS + 1):
        await world.say(owner, f"word {n}")
    await world.turn()
    world.clock.now += 1
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    await world.db.write(lost(owner))
    planned, _ = await world.turn(0)
    assert planned.held == UNEXPLAINED_ROWS + 1 and "word 0" in texts(world)


async def test_deleting_all_conversations_takes_all_rows_back(world):
    owner, _chats = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 5)))
    await world.store.delete(owner)
    await world.turn(0)
    assert not dug_up(world, "word 1")


async def test_without_the_private_backup_nothing_becomes_public(world):
    owner = await agreed(world)
    await world.say(owner, "one")
    world.clock.now += QUIET

    async def fails():
        (row,) = await world.outbox()
        assert row["shard"] is not None, "the intent is written before the backup, so that the backup has it"
        raise Unreachable("The Hub is down.")

    with pytest.raises(Unreachable):
        await world.sharing(before_public=fails).turn(restored=lambda: True)
    assert not world.repos
    await world.turn(0)
    assert "one" in texts(world)


@pytest.mark.parametrize("way", WAYS_BACK, ids=lambda way: way.__name__)
async def test_what_is_taken_back_while_the_backup_is_on_its_way_is_not_sent(world, way):
    owner = await agreed(world)
    chat = await world.say(owner, "secret")
    world.clock.now += QUIET
    sent = []

    async def meanwhile():
        await way(world, owner, chat)

    def strike(name, before):
        sent.append(name == "commit" and not before and bool(dug_up(world, "secret")))

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    await world.sharing(before_public=meanwhile).turn(restored=lambda: True)
    assert sent and not any(sent) and not dug_up(world, "secret")
    assert await world.states() == ["retracted"]


async def test_a_store_that_is_found_incomplete_while_the_backup_is_on_its_way_stops_the_push(world):
    owner, _ = await published(world, *(f"word {n}" for n in range(UNEXPLAINED_ROWS + 1)))
    await world.say(owner, "more")
    world.clock.now += QUIET

    async def meanwhile():
        await world.db.write(lambda db: db.execute("DELETE FROM conversations"))

    _, pushed = await world.sharing(before_public=meanwhile).turn(restored=lambda: True)
    assert "nothing new" in pushed.problems[0]
    assert not dug_up(world, "more") and "word 0" in texts(world)


async def test_only_the_holder_of_the_lease_pushes(world):
    owner = await agreed(world)
    await world.say(owner, "one")
    world.clock.now += QUIET
    await world.sharing(holds_lease=lambda: False).turn(restored=lambda: True)
    assert not world.repos
    assert (await world.outbox())[0]["shard"] is None


async def test_a_batch_that_loses_the_lease_goes_on_within_its_hour(world):
    world.use(hours=tuple(range(24)))
    owner = await agreed(world, "acme", "globex")
    await world.say(owner, "one")
    await world.say(owner, "two", BETA)
    world.clock.now += QUIET
    await world.sharing(holds_lease=lambda: "one" not in texts(world)).turn(restored=lambda: True)
    assert await world.states() == ["publish", "published"]
    await world.turn(0)
    assert await world.states() == ["published", "published"]


def drained(world, left):
    """A quota of which so many commits are left now."""
    slots = Slots(world.clock)
    while slots.left > left:
        slots.spend()
    return slots


async def test_the_slots_kept_for_taking_back_are_spent_on_nothing_else(world):
    owner, (taken, *_) = await published(world, "canary-1", "canary-2")
    await world.say(owner, "canary-3")
    await world.choose(owner, "deny", None, taken)
    world.clock.now += QUIET
    _, pushed = await world.sharing(slots=drained(world, KEPT)).turn(restored=lambda: True)
    assert "quota of commits" in pushed.problems[0]
    assert not dug_up(world, "canary-1") and not dug_up(world, "canary-3") and "canary-2" in texts(world)
    assert await world.states() == ["publish", "published", "retracted"]
    _, pushed = await world.sharing(slots=drained(world, KEPT + 1)).turn(restored=lambda: True)
    assert "canary-3" in texts(world) and not pushed.problems


async def test_what_fails_is_tried_ever_more_rarely_and_leaves_slots_for_what_is_taken_back(world):
    owner = await agreed(world)
    await world.say(owner, "one")
    slots = Slots(world.clock)

    may_write = False

    def refuse(name, before):
        if name in ("create", "commit") and before and not may_write:
            raise Denied("The token HF_TOKEN may not write here.")

    world.open_repo = lambda id: Counted(Faulty(world.in_memory(id), refuse), slots)
    sharing = world.sharing(slots=slots)
    world.clock.now += QUIET
    for _ in range(120):
        _, pushed = await sharing.turn(restored=lambda: True)
        assert "may not write" in pushed.problems[0], "the cause is told, and not what came of it"
        world.clock.now += 10
    assert slots.left > KEPT
    may_write = True
    world.clock.now += LONGEST_WAIT
    await sharing.turn(restored=lambda: True)
    assert "one" in texts(world)


async def test_no_commit_is_sent_once_the_lease_may_have_ended(world):
    owner = await agreed(world)
    await world.say(owner, "one")
    world.clock.now += QUIET
    until, sent = world.clock.now + 120, []

    def slow(name, before):
        if name == "commit" and before:
            sent.append(world.clock.now)
            world.clock.now += 60
            raise Doubtful("There was no answer.")

    world.open_repo = lambda id: world.in_memory(id) if id.endswith("-audit") else Faulty(world.in_memory(id), slow)
    _, pushed = await world.sharing(holds_lease=lambda: world.clock.now < until).turn(restored=lambda: True)
    assert len(sent) == 2 and max(sent) < until and not pushed.finished


async def test_a_turn_that_waits_for_the_hub_says_so(world):
    await agreed(world)
    asked, sharing = asyncio.Event(), world.sharing()

    async def waits_long(**_):
        world.clock.now += 2 * PATIENCE
        asked.set()
        await asyncio.Event().wait()

    sharing.turn = waits_long
    restored = asyncio.Event()
    restored.set()
    running = asyncio.create_task(sharing.run(restored, 1.0, lambda _: None))
    await asked.wait()
    assert sharing.problems == (SLOW,)
    running.cancel()


async def test_without_any_slot_nothing_is_sent_and_it_says_when_it_goes_on(world):
    owner, _ = await published(world, "canary-1")
    await world.choose(owner, "withdraw")
    with pytest.raises(NoSlot, match="quota of commits"):
        await world.sharing(slots=drained(world, 0)).turn(restored=lambda: True)
    assert "canary-1" in texts(world) and world.backups == 1, "nothing was sent, the backup included"
    await world.turn(0)
    assert not dug_up(world, "canary-1")


async def test_a_row_that_may_be_public_cannot_be_forgotten_and_goes_one_way(world):
    await published(world, "one")
    for statement in (
        "DELETE FROM outbox",
        "UPDATE outbox SET state = 'publish'",
        "UPDATE outbox SET state = 'retracted', retracted_at = 1, row = NULL, retract_at = 1",
        "DELETE FROM sharing_datasets",
    ):
        with pytest.raises(Exception, match=r"shared row|retracted|remembered"):
            await world.db.write(lambda db, statement=statement: db.execute(statement))


async def test_a_dataset_deleted_on_the_hub_is_written_whole_again(world):
    owner, _ = await published(world, "one")
    world.repos.clear()
    await world.say(owner, "two")
    await world.turn()
    assert {"one", "two"} <= set(texts(world))


async def test_a_shard_that_no_row_explains_is_removed(world):
    owner, _ = await published(world, "one")
    repo = world.repos[DATASET]
    free = next(n for n in range(16) if f"data/shard-{n:02d}-of-16.parquet" not in repo.now())
    stray = f"data/shard-{free:02d}-of-16.parquet"
    repo.commit({stray: repo.now()[next(p for p in repo.now() if "data/" in p)]}, (), None, "stray")
    await world.choose(owner, "withdraw")
    await world.turn(0)
    assert stray not in repo.now()


async def test_a_dataset_that_fails_holds_up_no_other(world):
    owner = await agreed(world, "acme", "globex")
    await world.say(owner, "one")
    await world.say(owner, "two", BETA)

    def open_repo(id):
        def strike(call, before):
            if id == DATASET and call == "commit":
                raise Unreachable("Not now.")

        return Faulty(world.in_memory(id), strike)

    world.open_repo = open_repo
    _, pushed = await world.turn()
    assert pushed.problems == ("Not now.",)
    assert texts(world, OTHER_DATASET) and await world.states() == ["publish", "published"]


# Crashes, lost answers, races


def final(world):
    """What must be the same whatever happened on the way: contents, tombstones, announcements, states, and the evidence."""
    (audited,) = world.audit_repos.values()
    row_map = [
        (row["dataset"], row["state"])
        for path, content in audited.now().items()
        if path.endswith(".parquet")
        for row in [
            {**row, "dataset": path.rpartition("/")[0]} for row in pq.read_table(io.BytesIO(content)).to_pylist()
        ]
    ]
    return sorted(row_map), {
        id: (
            sorted(json.dumps(row["messages"]) for row in rows(world, id)),
            len(tombstones(world, id)),
            "taken back" in repo.everything(),
            len(repo.limbo),
            len(repo.announced),
        )
        for id, repo in world.repos.items()
    }


async def beginning_of_the_story(world):
    """One row stays, one is taken back, one is new, and one is the first of its dataset."""
    owner = await agreed(world, "acme", "globex")
    await world.say(owner, "stays")
    goes = await world.say(owner, "taken back")
    await world.turn()
    await world.store.delete(owner, goes)
    await world.say(owner, "new")
    await world.say(owner, "elsewhere", BETA)


async def story(world, strike=None, go_on=None):
    """The beginning and the push that follows; `strike` may end that push, then `go_on` restarts."""
    await beginning_of_the_story(world)
    if strike is not None and go_on is not None:
        world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
        with pytest.raises(Crash):
            await world.turn()
        world.open_repo = world.in_memory
        await go_on()
        await world.turn(0)
    else:
        await world.turn()
    return final(world), await world.states()


EFFECTS = ("create", "commit", "squash", "purge", "announce")


def crash_at(number, counted=None):
    calls = iter(range(1000))

    def strike(call, before):
        if call not in EFFECTS:
            return
        if counted is not None:
            counted.append((call, before))
        if next(calls) == number:
            raise Crash

    return strike


async def calls_of_a_push(folder):
    world = World(folder)
    counted = []
    world.open_repo = lambda id: Faulty(world.in_memory(id), crash_at(-1, counted))
    await beginning_of_the_story(world)
    counted.clear()
    await world.turn()
    world.close()
    return counted


async def test_a_crash_before_or_after_any_call_ends_in_the_same_state_as_none(tmp_path):
    counted = await calls_of_a_push(tmp_path / "counting")
    assert {call for call, _ in counted} == set(EFFECTS)
    whole = World(tmp_path / "whole")
    expected = await story(whole)
    whole.close()
    assert expected[1] == ["published", "published", "published", "retracted"]
    for number, where in enumerate(counted):
        world = World(tmp_path / str(number))

        async def go_on(world=world):
            world.close()
            world.open()

        assert await story(world, crash_at(number), go_on) == expected, where
        world.close()


async def test_a_crash_before_or_after_any_call_with_the_disk_lost_ends_in_the_same_state_as_none(tmp_path):
    """All that is left is what the private dataset was told before the first commit."""
    counted = await calls_of_a_push(tmp_path / "counting")
    whole = World(tmp_path / "whole")
    expected = await story(whole)
    whole.close()
    for number, where in enumerate(counted):
        world, saved = World(tmp_path / str(number)), {}

        async def back_up(world=world, saved=saved):
            saved.clear()
            saved.update(await world.db.read(saved_files))

        await beginning_of_the_story(world)
        strike = crash_at(number)
        world.open_repo = lambda id, world=world, strike=strike: Faulty(world.in_memory(id), strike)
        world.clock.now += QUIET
        with pytest.raises(Crash):
            await world.sharing(before_public=back_up).turn(restored=lambda: True)
        other = await world.elsewhere(tmp_path / f"{number} elsewhere", saved)
        await other.turn(0)
        assert (final(other), await other.states()) == expected, where
        planned, pushed = await other.turn(0)
        assert not pushed.commits and not planned.publish, where
        world.close()
        other.close()


@pytest.mark.parametrize("call", ["commit", "squash", "create"])
async def test_an_answer_lost_after_it_was_applied_changes_nothing(world, call):
    owner, (goes,) = await published(world, "taken back")
    await world.say(owner, "new")
    await world.say(owner, "other", BETA)
    await world.choose(owner, "grant", "globex")
    await world.say(owner, "other", BETA)
    await world.store.delete(owner, goes)
    lost = []

    def strike(name, before):
        if name == call and not before and not lost:
            lost.append(name)
            raise Doubtful("The answer was lost.")

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    await world.turn()
    await world.turn(0)
    assert lost and await world.states() == ["published", "published", "retracted"]
    assert not dug_up(world, "taken back")
    assert "new" in texts(world) and "other" in texts(world, OTHER_DATASET)


async def test_a_lost_race_is_compared_again_and_does_not_undo_the_other_commit(world):
    owner, _ = await published(world, "one")
    await world.say(owner, "two")
    raced = []

    def strike(name, before):
        if name == "commit" and before and not raced:
            raced.append(name)
            world.repos[DATASET].commit({"NOTES.md": b"by hand"}, (), None, "edited on the website")

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    _, pushed = await world.turn()
    assert raced and "nothing explains the file NOTES.md" in " ".join(pushed.problems)
    assert {"one", "two"} <= set(texts(world))
    assert world.repos[DATASET].now()["NOTES.md"] == b"by hand"


async def test_a_dataset_that_never_settles_is_given_up_for_now(world):
    owner = await agreed(world)
    await world.say(owner, "one")

    def strike(name, before):
        if name == "commit":
            raise Conflict("Somebody else wrote.")

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    _, pushed = await world.turn()
    assert pushed.problems == ("Somebody else wrote.",)
    assert await world.states() == ["publish"]


def withdraws(world, owner):
    """As from another thread, while a call to the Hub is on its way."""
    world.clock.now += 1
    return world.db.submit(lambda db: record(db, owner, Choice("withdraw"), shown(), world.clock())).result()


@pytest.mark.parametrize("error", [Conflict, Doubtful])
async def test_what_is_taken_back_between_two_tries_of_a_commit_is_not_sent(world, error):
    owner = await agreed(world)
    await world.say(owner, "secret")
    tries = []

    def strike(name, before):
        if name == "commit" and before:
            tries.append(name)
            if len(tries) == 1:
                withdraws(world, owner)
                raise error("Once more.")
        if name == "commit" and not before:
            assert not dug_up(world, "secret")

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    await world.turn()
    assert tries and not dug_up(world, "secret") and await world.states() == ["retracted"]


async def test_what_is_taken_back_while_another_dataset_is_written_is_not_sent(world):
    owner, other = await agreed(world, "acme"), await agreed(world, "globex")
    await world.say(owner, "goes out")
    await world.say(other, "secret", BETA)

    def open_repo(id):
        def strike(name, before):
            if id == DATASET and name == "commit" and not before:
                withdraws(world, other)
            if id == OTHER_DATASET and name == "commit" and not before:
                assert not dug_up(world, "secret")

        return Faulty(world.in_memory(id), strike)

    world.open_repo = open_repo
    await world.turn()
    assert "goes out" in texts(world) and not dug_up(world, "secret")
    assert await world.states() == ["published", "retracted"]


async def test_a_withdrawal_while_a_push_is_on_its_way_is_seen_by_the_next(world):
    owner = await agreed(world)
    await world.say(owner, "secret")

    def strike(name, before):
        if name == "commit" and not before and world.repos:

            def write(db):
                record(db, owner, Choice("withdraw"), shown(), world.clock())
                db.execute("UPDATE outbox SET state = 'retract', row = NULL, retract_at = 1 WHERE state = 'publish'")

            world.db.submit(write).result()

    world.open_repo = lambda id: Faulty(world.in_memory(id), strike)
    await world.turn()
    assert await world.states() == ["retract"], "the push's outcome does not overwrite what was decided meanwhile"
    world.open_repo = world.in_memory
    await world.turn(0)
    assert not dug_up(world, "secret") and await world.states() == ["retracted"]


# A lost disk


async def on_a_new_machine(world, folder):
    """Another World on an empty disk, with what the private dataset held, conversations included."""
    found = await world.db.read(saved_files)
    assert "taken back" not in repr(found) and "stays" not in repr(found), "no text in ledger or outbox files"
    return await world.elsewhere(folder, found)


async def test_on_a_new_machine_everything_can_still_be_taken_back_and_nothing_is_published_twice(world, tmp_path):
    owner, (_stays, goes) = await published(world, "stays", "taken back")
    before = rows(world)
    other = await on_a_new_machine(world, tmp_path / "other")
    try:
        _, pushed = await other.turn(0)
        assert not pushed.commits and rows(other) == before
        assert await other.states() == ["published", "published"]
        await other.choose(owner, "deny", conversation=goes)
        await other.turn(0)
        assert not dug_up(other, "taken back") and "stays" in texts(other)
        await other.choose(owner, "withdraw")
        await other.turn(0)
        assert not dug_up(other, "stays")
    finally:
        other.close()


async def test_a_disk_lost_between_intent_and_commit_leaves_a_row_that_still_leaves_or_can_be_taken_back(
    world, tmp_path
):
    owner = await agreed(world)
    await world.say(owner, "stays")
    goes = await world.say(owner, "taken back")
    world.clock.now += QUIET
    saved = {}

    async def back_up():
        saved.update(await world.db.read(saved_files))

    world.open_repo = lambda id: Faulty(
        world.in_memory(id), lambda call, before: _crash(id == DATASET and call == "commit" and not before)
    )
    with pytest.raises(Crash):
        await world.sharing(before_public=back_up).turn(restored=lambda: True)
    assert dug_up(world, "taken back"), "it is public, and nothing but the backup knows"
    world.open_repo = world.in_memory
    other = await on_a_new_machine(world, tmp_path / "other")
    try:
        await other.store.delete(owner, goes)
        await other.turn(0)
        assert not dug_up(other, "taken back") and "stays" in texts(other)
        assert await other.states() == ["published", "retracted"]
    finally:
        other.close()


def _crash(now):
    if now:
        raise Crash


async def test_a_row_whose_text_is_not_restored_yet_does_not_keep_another_from_leaving(world):
    """A shard is rewritten whole: a text that is missing here is taken from there, where it is the very row."""
    owner, _ = await published(world, *(f"word {n}" for n in range(20)))
    before, kept = rows(world), await world.outbox()
    crowded = Counter(row["shard"] for row in kept).most_common(1)[0][0]
    goes = next(row for row in kept if row["shard"] == crowded)
    text = next(row for row in before if row["row_id"] == goes["row_id"])["messages"][0]["content"]
    await world.store.delete(owner, goes["conversation"])
    await plan(world.db, world.rules, now=world.clock(), restored=True)
    await world.db.write(lambda db: db.execute("UPDATE outbox SET row = NULL"))
    pushed = await world.push()
    assert not pushed.problems
    left = sorted((row for row in before if row["row_id"] != goes["row_id"]), key=lambda row: row["row_id"])
    assert sorted(rows(world), key=lambda row: row["row_id"]) == left
    assert not dug_up(world, f"'{text}'")


# What its owner is shown


async def look(world, owner, chat=None, model=ALPHA):
    return await world.db.read(lambda db: outlook(db, owner, chat, model, world.rules, world.clock()))


async def test_the_chip_tells_the_truth_from_unset_to_taken_back(world):
    owner = await world.person()
    chat = await world.say(owner, "before")
    seen = await look(world, owner, chat)
    assert (seen.state, seen.readers, seen.when, seen.shared, seen.can_take_back) == ("unset", (), None, False, False)
    await world.choose(owner, "grant", "acme")
    seen = await look(world, owner, chat)
    assert (seen.readers, seen.when, seen.next_turn, seen.shared) == (("acme",), None, True, False)
    await world.say(owner, "after", conversation=chat)
    seen = await look(world, owner, chat)
    assert (seen.readers, seen.when, seen.shared) == (("acme",), world.clock() + QUIET, False)
    await world.turn()
    seen = await look(world, owner, chat)
    assert (seen.readers, seen.when, seen.shared, seen.can_take_back) == (("acme",), None, True, True)
    await world.choose(owner, "deny", conversation=chat)
    seen = await look(world, owner, chat)
    assert (seen.choice, seen.readers, seen.shared) == ("private", ("acme",), True), "still public: nothing was pushed"
    await plan(world.db, world.rules, now=world.clock(), restored=True)
    seen = await look(world, owner, chat)
    assert (seen.readers, seen.shared) == (("acme",), True), "still public: it is only planned out"
    await world.turn(0)
    seen = await look(world, owner, chat)
    assert (seen.readers, seen.when, seen.shared, seen.can_take_back) == ((), None, False, False)


async def test_the_chip_does_not_announce_what_cannot_be_redacted_and_so_never_leaves(world):
    owner = await agreed(world)
    chat = await world.say(owner, "UNREADABLE")
    await world.turn()
    seen = await look(world, owner, chat)
    assert (seen.when, seen.shared) == (None, False)


async def test_the_chip_names_who_read_the_other_models_turns(world):
    owner = await agreed(world, "acme")
    chat = await world.say(owner, "one")
    seen = await look(world, owner, chat, BETA)
    assert (seen.recipient, seen.state, seen.readers, seen.next_turn) == ("globex", "unset", ("acme",), False)


async def test_my_shared_data_shows_rows_and_receipts_and_nobody_elses(world):
    owner, (chat,) = await published(world, "mine")
    other = await agreed(world)
    (row,) = await world.db.read(lambda db: shared_rows(db, owner))
    assert (row.state, row.dataset, row.recipient, row.published_in) == (
        "published",
        DATASET,
        "acme",
        world.repos[DATASET].head(),
    )
    assert row.content["messages"][0]["content"] == "mine"
    (event,) = await world.db.read(lambda db: db.execute("SELECT hash FROM consent_events WHERE id = ?", (row.event,)))
    assert row.event_hash == event["hash"], "a ledger that is rewritten no longer has it"
    assert await world.db.read(lambda db: shared_rows(db, other)) == []
    assert await preview(world.db, other, chat, world.rules) == []
    assert await world.db.read(lambda db: recipients(db, owner, world.rules, world.clock())) == {
        "acme": ("granted", "unset"),
        "globex": ("unset", "unset"),
    }


async def test_a_preview_leaves_out_what_is_shared_already_and_what_came_through_the_api(world):
    owner = await agreed(world)
    chat = await world.say(owner, "shared")
    await world.turn()
    await world.say(owner, "by program", conversation=chat, surface="api")
    await world.say(owner, "fresh", BETA, chat)
    (row,) = await preview(world.db, owner, chat, world.rules)
    assert (row.recipient, row.content["messages"][0]["content"]) == ("globex", "fresh")
