"""What a person chose long ago, and has chosen again since, costs nothing, and everything that follows is the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import privacy
from chat.db import MIGRATIONS, Database
from privacy.consent import Standpoint, Terms, agreed_now
from privacy.events import Event
from privacy.knowing import Knowledge, speaking
from privacy.ledger import (
    Choice,
    ConsentRefused,
    Shown,
    begin_chains,
    events_of,
    record,
    subjects_of,
    verify_chains,
)
from privacy.pauses import pause, resume
from privacy.saved import files, restore

OWNER, VISITOR, CHAT, TURN = "b" * 32, "d" * 32, "c" * 32, "a" * 32
TERMS = Terms({"1": 5e5})


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Iterator[sqlite3.Connection]:
    folder = tmp_path_factory.mktemp("empty")
    Database.open(folder, migrations={**MIGRATIONS, "privacy": privacy.MIGRATIONS}).close()
    with closing(sqlite3.connect(folder / "parley.db")) as db:
        yield db


def machine(empty: sqlite3.Connection, number: int = 0) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    empty.backup(db)
    db.row_factory = sqlite3.Row
    db.execute("UPDATE replica SET id = ?", (f"{number:016x}",))
    for owner, kind in ((OWNER, "account"), (VISITOR, "anonymous")):
        db.execute("INSERT INTO owners VALUES (?, ?, 1, 1)", (owner, kind))
    db.execute("INSERT INTO accounts VALUES (?, ?, 'ada', '[]', 1)", (OWNER, OWNER))
    return db


def shown(version: str = "1", surface: str = "page") -> Shown:
    return Shown(version, "e" * 64, "en", surface, ("training",), age_affirmed=True)


def says(db: sqlite3.Connection, owner: str, choice: Choice, now: float, version: str = "1", surface: str = "page"):
    try:
        record(db, owner, choice, shown(version, surface), now)
    except ConsentRefused:
        assert owner == VISITOR and choice.kind == "grant"


KINDS = ["grant", "grant", "grant", "deny", "withdraw"]
SAID = st.tuples(
    st.just("says"),
    st.integers(0, 1),
    st.sampled_from([OWNER, OWNER, OWNER, OWNER, VISITOR]),
    st.sampled_from(KINDS),
    st.sampled_from(["acme", "acme", "globex", None]),
    st.sampled_from([None, None, None, CHAT]),
    st.sampled_from(["1", "1", "2"]),
    st.sampled_from(["page", "page", "api"]),
)
STEPS = st.lists(
    SAID
    | st.tuples(st.just("writes"), st.integers(0, 1))
    | st.tuples(st.just("hears"), st.integers(0, 1))
    | st.tuples(st.just("starts"), st.integers(0, 1)),
    min_size=4,
    max_size=40,
)


ACME, CHATS = ("acme", None, "1", "page"), ("acme", CHAT, "1", "page")
NOT_CHATS = (None, CHAT, "1", "page")
# A no to somebody else lies between two yeses.
NO_TO_ANOTHER = [
    ("says", 0, OWNER, "grant", *ACME),
    ("writes", 0),
    ("says", 0, OWNER, "deny", "globex", None, "1", "page"),
    ("says", 0, OWNER, "grant", *ACME),
]
# Of three yeses the second is the first that knows of the other machine's no.
SECOND_KNOWS = [
    ("says", 0, OWNER, "grant", *ACME),
    ("says", 1, OWNER, "deny", *ACME),
    ("hears", 0),
    ("says", 0, OWNER, "grant", *ACME),
    ("writes", 0),
    ("says", 0, OWNER, "grant", *ACME),
]
# Between two shares the conversation was to follow the account again, which another machine's no undoes.
SHARED_TWICE = [
    ("says", 0, OWNER, "grant", *ACME),
    ("says", 1, OWNER, "deny", *NOT_CHATS),
    ("says", 1, OWNER, "withdraw", *NOT_CHATS),
    ("says", 0, OWNER, "grant", *CHATS),
    ("says", 0, OWNER, "withdraw", *NOT_CHATS),
    ("writes", 0),
    ("says", 0, OWNER, "grant", *CHATS),
]


def reached(events: list[Event]) -> dict[str, set[str]]:
    """Of each event, by hash, every one that it follows, itself included; by walking, for any number of chains."""
    found: dict[str, set[str]] = {}
    for event in events:
        found[event.hash] = {event.hash}.union(*(found.get(hash, set()) for hash in (event.previous, *event.seen)))
    return found


def seen_by(at: Standpoint, turns: list[tuple[float, str | None]]) -> list[object]:
    """All that a standpoint says, without which of several yeses to the same it names."""
    found: list[object] = [at.conversation_choice(CHAT), at.is_paused]
    for recipient in ("acme", "globex"):
        found += [at.account_state(recipient), at.account_state(recipient, "api")]
        for surface in ("page", "api", "import"):
            for asked_at, agreed in turns:
                for conversation in (CHAT, "f" * 32):
                    yes = at.covering(recipient, conversation, TURN, surface, asked_at, agreed)
                    found.append(yes and yes.fresh)
    for conversation in (None, CHAT):
        found.append(sorted({(yes.recipient, yes.surface, yes.policy_version) for yes in at.in_force(conversation)}))
    return found


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, late=st.booleans())
@example(steps=NO_TO_ANOTHER, late=False)
@example(steps=SECOND_KNOWS, late=False)
@example(steps=SHARED_TWICE, late=False)
def test_those_that_say_something_say_all_that_all_of_them_say(empty, steps, late):
    with closing(machine(empty, 0)) as one, closing(machine(empty, 1)) as two:
        both, now, turns = (one, two), 100.0, [(50.0, None)]
        for step in steps:
            now += 10
            db = both[step[1]]
            if step[0] == "says":
                _, _, owner, kind, recipient, conversation, version, surface = step
                if kind == "grant":
                    recipient = recipient or "acme"
                elif conversation:
                    recipient = None
                parts = (TURN,) if conversation and kind == "grant" else ()
                says(db, owner, Choice(kind, recipient, conversation, parts), now, version, surface)
            elif step[0] == "writes":
                turns += [(now, agreed_now(db, OWNER, CHAT, TERMS, now)), (now, None)]
            elif step[0] == "hears":
                restore(db, files(both[1 - step[1]]))
            else:
                begin_chains(db)
        for db, other in (both, both[::-1]):
            restore(db, files(other))
        for db in both:
            assert verify_chains(db) == []
            subjects = subjects_of(db, OWNER)
            events = events_of(db, *subjects)
            knowledge, follows = Knowledge(db, subjects), reached(events)
            for event in events:
                known = knowledge.of(event.chain, event.number)
                assert {e.hash for e in events if known.get(e.chain, 0) >= e.number} == follows[event.hash]
            at = 6e5 if late else now + 10
            seen = seen_by(Standpoint(db, OWNER, TERMS, at), turns)
            db.execute("DROP TABLE speaking_events")
            assert seen_by(Standpoint(db, OWNER, TERMS, at), turns) == seen


def cost(db: sqlite3.Connection, act) -> int:
    """Steps of SQLite's machine, which grow with the rows that it looks at, and events that are made of them."""
    steps = 0

    def one() -> None:
        nonlocal steps
        steps += 1

    db.set_progress_handler(one, 1)
    act()
    db.set_progress_handler(None, 0)
    return steps


CHOICES = {
    "yes and no": [("grant", "acme", None), ("deny", "acme", None)],
    "yes again": [("grant", "acme", None)],
    "yes, and no to all": [("grant", "acme", None), ("grant", "globex", None), ("withdraw", None, None)],
    "in private and back": [("deny", None, CHAT), ("withdraw", None, CHAT)],
    "shared and in private": [("grant", "acme", CHAT), ("deny", None, CHAT)],
    "no again": [("withdraw", "acme", None)],
    "at rest and on": [],
}


@pytest.mark.parametrize("two_runs", [False, True])
@pytest.mark.parametrize("what", CHOICES)
def test_a_choice_and_a_turn_cost_the_same_after_many_choices(empty, what, two_runs):
    with closing(machine(empty)) as db:
        now, costs = 100.0, []
        for count in (40, 400):
            for number in range(count):
                for kind, recipient, conversation in CHOICES[what]:
                    now += 1
                    turns = (TURN,) if kind == "grant" and conversation else ()
                    says(db, OWNER, Choice(kind, recipient, conversation, turns), now)
                if not CHOICES[what]:
                    now += 1
                    (resume if number % 2 else pause)(db, OWNER, now)
            if two_runs:
                begin_chains(db)
            says(db, OWNER, Choice("grant", "acme"), now + 1)
            now += 2
            write = cost(db, lambda at=now: agreed_now(db, OWNER, CHAT, TERMS, at))
            choose = cost(db, lambda at=now: says(db, OWNER, Choice("withdraw", "globex"), at))
            told = len(speaking(db, subjects_of(db, OWNER), None)) + len(speaking(db, (), CHAT))
            costs.append((write, choose, told))
        (write, choose, told), (write_later, choose_later, told_later) = costs
        assert (told_later <= told + 4, write_later <= 2 * write) == (True, True), costs
        if CHOICES[what]:
            assert choose_later <= 2 * choose, costs
