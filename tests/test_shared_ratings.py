"""What is shared of a rating is that of its row's publication, on an empty disk too and whatever its owner says since."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest

from chat.feedback import Feedback, FeedbackBook
from privacy.saved import files
from tests.support.sharing_world import World
from tests.test_comparison import feedback
from tests.test_sharing import agreed, rows

pytestmark = pytest.mark.anyio

DATASET = "ada/parley-acme__alpha"
UP = Feedback("up", (), "as me@home.example says")
CHANGES = {
    "another rating": (UP, Feedback("down", ("wrong",), "")),
    "another comment": (UP, Feedback("up", (), "on second thought")),
    "called harmful": (UP, Feedback("down", ("harmful",), "")),
    "taken back": (UP, None),
    "rated only since": (None, UP),
    "called harmful only since": (None, Feedback("down", ("harmful",), "")),
    "as it was": (UP, UP),
}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "data")
    yield world
    world.close()


async def shared(world, before):
    """A row that was published with this rating: its owner and the answer."""
    owner = await agreed(world)
    (answer,) = await world.answers(owner, await world.say(owner, "a question"))
    await rate(world, owner, answer, before)
    await world.turn()
    return owner, answer


async def rate(world, owner, answer, said):
    book = FeedbackBook(world.db, world.clock)
    world.clock.now += 1
    await (book.give(owner, answer, said) if said else book.remove(owner, answer))


@pytest.mark.parametrize("way", CHANGES)
async def test_a_row_stays_as_it_is_on_an_empty_disk_however_it_was_rated_since(world, tmp_path, way):
    before, since = CHANGES[way]
    owner, answer = await shared(world, before)
    (row,), said = rows(world), feedback(world)
    saved = await world.db.read(files)
    await rate(world, owner, answer, since)
    other = await world.elsewhere(tmp_path / "other", saved)
    planned, _ = await other.turn(0)
    assert (planned.retract, planned.publish) == (0, 0)
    (kept,) = await other.outbox()
    assert kept["row_id"] == row["row_id"] and json.loads(kept["row"])["rating"] == row["rating"]
    # The next push of the dataset writes what was said anew.
    await other.say(owner, "another question")
    planned, pushed = await other.turn()
    assert (planned.retract, planned.publish, pushed.problems) == (0, 1, ())
    assert row in rows(world) and feedback(world) == said and other.audited() == []
    other.close()


async def test_a_comment_that_is_neither_here_nor_there_any_more_is_left_out_and_told(world, tmp_path):
    owner, answer = await shared(world, UP)
    saved = await world.db.read(files)
    await rate(world, owner, answer, None)
    other = await world.elsewhere(tmp_path / "other", saved)
    world.repos[DATASET].commit({}, ("feedback.parquet",), None, "by hand")
    await other.say(owner, "another question")
    _, pushed = await other.turn()
    assert "left out" in " ".join(pushed.problems) and len(rows(world)) == 2 and feedback(world) == []
    other.close()


async def test_a_comment_that_another_hand_changed_is_not_taken_for_its_owners(world, tmp_path):
    owner, answer = await shared(world, UP)
    saved = await world.db.read(files)
    await rate(world, owner, answer, None)
    other = await world.elsewhere(tmp_path / "other", saved)
    repo = world.repos[DATASET]
    table = pq.read_table(io.BytesIO(repo.now()["feedback.parquet"]))
    forged = [{**one, "comment": "forged"} for one in table.to_pylist()]
    buffer = io.BytesIO()
    pq.write_table(table.from_pylist(forged, schema=table.schema), buffer)
    repo.commit({"feedback.parquet": buffer.getvalue()}, (), None, "by hand")
    await other.say(owner, "another question")
    _, pushed = await other.turn()
    assert pushed.problems and "forged" not in repo.everything()
    other.close()


async def test_what_was_shared_before_its_hash_was_kept_gets_one_at_the_next_start(world):
    _, _ = await shared(world, UP)
    (before,) = await world.outbox()
    said = [{"rating": "up", "answer": 1, "comment": "as [EMAIL_1] says", "reasons": []}]
    assert json.loads(before["feedback"]) == said
    older = "UPDATE outbox SET feedback = ?, feedback_hash = NULL"
    await world.db.write(lambda db: db.execute(older, (json.dumps(said),)))
    await world.sharing().begin()
    (after,) = await world.outbox()
    assert after == before


async def test_of_what_leaves_no_hash_of_a_comment_is_kept(world):
    """Few words are guessed by their hash."""
    owner, _ = await shared(world, UP)
    await world.choose(owner, "withdraw")
    await world.turn(0)
    (row,) = await world.outbox()
    assert (row["state"], row["feedback"], row["feedback_hash"]) == ("retracted", None, None)
