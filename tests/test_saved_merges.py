"""Two replicas that take in each other's files of ledger and outbox have the same ones then, and what is known changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import privacy
from chat.db import MIGRATIONS, Database
from privacy.extra import takes_back, waits_to_leave
from privacy.saved import files, restore
from privacy.squashing import must_squash, squashed, to_squash

DATASET = "ada/parley-alpha"
IDS = ("a" * 32, "b" * 32)

at = st.sampled_from([1.0, 2.0, 3.0])
later = st.none() | st.sampled_from([4.0, 5.0])
ids = st.sampled_from(IDS)


def some(*columns: st.SearchStrategy, keys: int) -> st.SearchStrategy[list[tuple]]:
    """Rows whose first `keys` columns differ."""
    return st.lists(st.tuples(*columns), unique_by=lambda row: row[:keys], max_size=3)


@st.composite
def databases(draw: st.DrawFn) -> dict[str, list[tuple]]:
    decided = draw(st.sampled_from([("open", None), ("upheld", 4.0), ("upheld", 5.0), ("rejected", 4.0)]))
    row = (IDS[0], 1.0, "a link", "why", "", None, None, "[]", *decided, None)
    erased = (IDS[1], 1.0, "-", "-", "", None, None, "[]", "upheld", 4.0, draw(later))
    return {
        "pauses": draw(some(ids, at, later, keys=2)),
        "unread": draw(some(ids.map(lambda id: id[:16]), at, later, keys=2)),
        "lost_runs": draw(some(ids.map(lambda id: id[:16]), at, keys=1)),
        "erased_owners": draw(some(ids, keys=1)),
        "erased_subjects": draw(some(ids, later, keys=1)),
        "reports": draw(st.sampled_from([[], [row], [erased], [row, erased]])),
        "told_heads": [(None, *found[::-1]) for found in draw(some(ids, at, keys=1))],
        "strays": draw(some(st.just(DATASET), ids, at, later, keys=2)),
        "unsquashed": draw(some(st.just(DATASET), at, st.none() | at, keys=1)),
        "sharing_datasets": [(DATASET, "acme/alpha", "acme", draw(at))],
    }


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Iterator[sqlite3.Connection]:
    folder = tmp_path_factory.mktemp("empty")
    Database.open(folder, migrations={**MIGRATIONS, "privacy": privacy.MIGRATIONS}).close()
    with closing(sqlite3.connect(folder / "parley.db")) as db:
        yield db


def opened(empty: sqlite3.Connection, rows: dict[str, list[tuple]]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    empty.backup(db)
    db.row_factory = sqlite3.Row
    for table in ("sharing_datasets", *rows):
        for row in rows.get(table, ()):
            db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    return db


def marks(db: sqlite3.Connection) -> list[tuple]:
    return [tuple(row) for row in db.execute("SELECT prefix, marks FROM stale_extras ORDER BY 1")]


@settings(max_examples=150, deadline=None)
@given(mine=databases(), theirs=databases())
def test_whoever_takes_in_the_files_of_the_other_has_the_same_and_twice_changes_nothing(empty, mine, theirs):
    with closing(opened(empty, mine)) as one, closing(opened(empty, theirs)) as other:
        from_one, from_other = files(one), files(other)
        restore(one, from_other)
        restore(other, from_one)
        same = files(one)
        assert same == files(other)
        before = marks(one)
        for again in (from_other, from_one, same):
            restore(one, again)
        assert files(one) == same and marks(one) == before


@pytest.mark.parametrize("first", [0, 1])
def test_a_report_that_one_replica_upheld_is_upheld_though_the_other_rejected_it(empty, first):
    decisions = [("rejected", 4.0), ("upheld", 5.0)]
    rows = [
        {"reports": [(IDS[0], 1.0, "a link", "why", "", None, None, "[]", *decided, None)]} for decided in decisions
    ]
    with closing(opened(empty, rows[first])) as one, closing(opened(empty, rows[1 - first])) as other:
        restore(one, files(other))
        assert [tuple(row) for row in one.execute("SELECT state, decided_at FROM reports")] == [decisions[1]]


def test_what_one_replica_squashed_does_not_wait_again_because_the_other_had_not_heard(empty):
    with closing(opened(empty, {"sharing_datasets": [(DATASET, "acme/alpha", "acme", 1.0)]})) as one:
        must_squash(one, DATASET, 5.0)
        old = files(one)
        squashed(one, DATASET)
        restore(one, old)
        assert to_squash(one) == set()
        must_squash(one, DATASET, 5.0)  # a clock that stands, or was put back
        assert to_squash(one) == {DATASET}
        restore(one, old)
        assert to_squash(one) == {DATASET}


@pytest.mark.parametrize(
    "waiting", [{"unsquashed": [(DATASET, 1.0, None)]}, {"strays": [(DATASET, IDS[0], 1.0, None)]}]
)
def test_a_squash_that_is_due_waits_to_leave(empty, waiting):
    """Otherwise no replica would take the lease for it."""
    known = {"sharing_datasets": [(DATASET, "acme/alpha", "acme", 1.0)]}
    with closing(opened(empty, known | waiting)) as due, closing(opened(empty, known)) as quiet:
        assert waits_to_leave(due) and not waits_to_leave(quiet)
        assert takes_back(due) and not takes_back(quiet)


def test_what_another_replica_took_back_loses_its_feedback_with_its_text(empty):
    """The reasons that somebody gave for a thumb are text of the conversation's owner too."""
    with closing(opened(empty, {"sharing_datasets": [(DATASET, "acme/alpha", "acme", 1.0)]})) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(
            "INSERT INTO outbox (row_id, dataset, recipient, subject, event, conversation, answers, segment_hash, row_hash,"
            " state, shard, row, redaction, language, month, planned_at, feedback) VALUES"
            " (:id, :dataset, 'acme', :id, :id, :id, '[\"x\"]', :hash, :hash, 'publish', 10, '{}', '1', 'en', '2026-11',"
            ' 1.0, \'[{"reason": "said in confidence"}]\')',
            {"id": IDS[0], "dataset": DATASET, "hash": "c" * 64},
        )
        found = files(db)
        with closing(opened(empty, {})) as other:
            other.execute("PRAGMA foreign_keys = OFF")
            restore(other, found)
            other.execute("UPDATE outbox SET state = 'retract', retract_at = 2.0, row = NULL")
            restore(db, files(other))
        row = db.execute("SELECT state, row, feedback FROM outbox").fetchone()
        assert tuple(row) == ("retract", None, None)
