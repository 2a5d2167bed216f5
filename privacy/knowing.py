"""Which events of a person still say something, and which of them knew of which.

Of every chain the last event of its kind to the same says all that the ones before it said, so a choice costs the same after
ten thousand others. `speaking_events` names those that are left; where there is no such table, as in the audit's copy of the
ledger, all are, and the answers are the same.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from privacy.events import Event, event_from, in_order, speaks_of

Chain = tuple[str, str]
Known = dict[Chain, int]  # chain -> the number of its last event that is known

LAST_OF_CHAINS = """
    WITH RECURSIVE chains (subject, replica) AS (
        SELECT value, (SELECT min(replica) FROM consent_events WHERE subject = value) FROM json_each(?)
        UNION ALL
        SELECT subject, (SELECT min(replica) FROM consent_events WHERE subject = c.subject AND replica > c.replica)
        FROM chains AS c WHERE replica IS NOT NULL)
    SELECT e.* FROM chains AS c JOIN consent_events AS e ON e.subject = c.subject AND e.replica = c.replica
        AND e.number = (SELECT max(number) FROM consent_events WHERE subject = c.subject AND replica = c.replica)
"""


# -- which say something ------------------------------------------------------------------------------------------------


def speaking(db: sqlite3.Connection, subjects: Sequence[str], conversation: str | None) -> list[Event]:
    """In order: of one person's `subjects`, what they said of the account; of a conversation, what anybody said of it."""
    which, given = "conversation = ?", conversation
    if conversation is None:
        which, given = "subject IN (SELECT value FROM json_each(?)) AND conversation IS NULL", json.dumps(subjects)
    try:
        sql = f"SELECT * FROM consent_events WHERE id IN (SELECT id FROM speaking_events WHERE {which})"
        rows = db.execute(sql, (given,)).fetchall()
    except sqlite3.OperationalError:
        # There is no such table. Where there is an index by conversation, everybody's account is one of them.
        which = which.replace("AND conversation", "AND +conversation")
        rows = db.execute(f"SELECT * FROM consent_events WHERE {which}", (given,)).fetchall()
    return in_order(map(event_from, rows))


def noes_of_others(db: sqlite3.Connection, conversation: str | None, subjects: Sequence[str]) -> list[Event]:
    """What anybody but a person with these `subjects` said against sharing a conversation: its former owner, the operator."""
    if conversation is None:
        return []
    return [e for e in speaking(db, subjects, conversation) if _is_anothers_no(e, subjects)]


def note_speaking(db: sqlite3.Connection, event: Event) -> None:
    """`event` was just written: those of its chain that it says again, or that are over, say nothing more."""
    chain = [e for e in speaking(db, [event.subject], event.conversation) if e.chain == event.chain]
    if event.kind == "grant":
        silent = _grants_that_are_over(db, event, chain)
    else:
        silent = [e for e in chain if _about(e) == _about(event)]
    db.executemany("DELETE FROM speaking_events WHERE id = ?", [(e.id,) for e in silent])
    db.execute("INSERT INTO speaking_events VALUES (?, ?, ?)", (event.id, event.subject, event.conversation))


def _grants_that_are_over(db: sqlite3.Connection, grant: Event, chain: Sequence[Event]) -> list[Event]:
    """Of the yeses to the same: those before a no of this chain, which ends them on every machine; and of those after it all
    but the first and the last that this chain gave knowing the same of the others, for these have the same fate. A share may
    keep turns from the account's yes, so it goes only with what keeps its whole conversation private."""

    def ends(no: Event) -> bool:
        if no.kind in ("grant", "text_changed"):
            return False
        if grant.conversation is not None:
            return no.kind in ("deny", "takedown")
        return no.recipient in (None, grant.recipient) and speaks_of(no, grant.surface)

    over = max((e.number for e in chain if ends(e)), default=0)
    same = [e for e in chain if _about(e) == _about(grant)]
    silent, rest = [e for e in same if e.number < over], [e for e in same if e.number > over]
    if grant.conversation is None and len(rest) > 1 and not _learnt(db, rest[-2], rest[-1]):
        silent.append(rest[-1])
    return silent


def _about(event: Event) -> tuple[Any, ...]:
    """What an event says, and to what; two of one chain that agree in it say the same."""
    about = (event.kind, event.conversation, event.recipient, event.surface)
    return (*about, event.policy_version, event.turns) if event.kind == "grant" else about


def _learnt(db: sqlite3.Connection, after: Event, until: Event) -> bool:
    sql = (
        "SELECT 1 FROM consent_events WHERE subject = ? AND replica = ? AND number > ? AND number <= ? AND seen <> '[]'"
    )
    return db.execute(sql, (*after.chain, after.number, until.number)).fetchone() is not None


def _is_anothers_no(event: Event, subjects: Sequence[str]) -> bool:
    return event.kind in ("deny", "takedown") and event.subject not in subjects


# -- which knew of which ------------------------------------------------------------------------------------------------


class Knowledge:
    """What each event of one person knew of when it was said: all that can be reached by `previous` and `seen`. The version
    vectors of Mattern, "Virtual Time and Global States of Distributed Systems" (1989); only an event that names what it has
    seen knows more than the one before it. `others`: events of other people that may be among what was seen."""

    def __init__(self, db: sqlite3.Connection, subjects: Sequence[str], others: Iterable[Event] = ()) -> None:
        given = json.dumps(subjects)
        rows = db.execute(
            "SELECT subject, replica, number, seen FROM consent_events"
            " WHERE subject IN (SELECT value FROM json_each(?)) AND seen <> '[]' ORDER BY at, number",
            (given,),
        ).fetchall()
        seen = {hash for row in rows for hash in json.loads(row["seen"])}
        places = {event.hash: (event.chain, event.number) for event in others}
        # By either, whichever has an index.
        sql = (
            "SELECT hash, subject, replica, number FROM consent_events WHERE subject IN (SELECT value FROM json_each(?))"
            " AND hash IN (SELECT value FROM json_each(?))"
        )
        found = db.execute(sql, (given, json.dumps(sorted(seen)))) if seen else ()
        places |= {row["hash"]: ((row["subject"], row["replica"]), row["number"]) for row in found}
        self._steps: dict[Chain, tuple[list[int], list[Known]]] = {}
        for row in rows:
            chain = (row["subject"], row["replica"])
            known = self.of(chain, row["number"])
            for hash in json.loads(row["seen"]):
                for other, number in self.of(*places[hash]).items() if hash in places else ():
                    known[other] = max(number, known.get(other, 0))
            numbers, steps = self._steps.setdefault(chain, ([], []))
            numbers.append(row["number"])
            steps.append(known)

    def of(self, chain: Chain, number: int) -> Known:
        numbers, steps = self._steps.get(chain, ((), ()))
        before = bisect_right(numbers, number)
        return {**(steps[before - 1] if before else {}), chain: number}


def that_count(events: list[Event], knowledge: Knowledge) -> list[Event]:
    """Of `events`, one person's in order, those that count: what opens something does not, where another machine heard a no
    to the same and neither knew of the other. Of concurrent events the most restrictive wins."""
    last: dict[tuple[Any, ...], Event] = {}  # the last no of each chain to each scope
    for event in events:
        if event.kind not in ("grant", "text_changed"):
            last[(event.chain, event.recipient, event.conversation, event.surface, _opens(event))] = event
    noes = list(last.values())
    several = len({event.replica for event in events}) > 1
    return [
        e
        for e in events
        if not (several and _opens(e) and any(_outdone(e, no, knowledge.of(e.chain, e.number)) for no in noes))
    ]


def _opens(event: Event) -> bool:
    """A yes does, and so does letting a conversation that was private follow the account again."""
    return event.kind == "grant" or (event.kind == "withdraw" and event.conversation is not None)


def _outdone(opening: Event, no: Event, known: Known) -> bool:
    """Whether the no is to what is opened, and was not known there. (A no that knows of the yes ends it by its place.)"""
    if no.replica == opening.replica or known.get(no.chain, 0) >= no.number:
        return False
    if opening.kind == "withdraw":
        return no.conversation == opening.conversation and not _opens(no)
    return (
        no.recipient in (None, opening.recipient)
        and no.conversation in (None, opening.conversation)
        and speaks_of(no, opening.surface)
    )


def is_undone(db: sqlite3.Connection, event: Event, subjects: Sequence[str]) -> bool:
    """Whether another machine heard a no that this yes of a person with these `subjects` did not know of."""
    said = {event.id: event}
    for conversation in {None, event.conversation}:
        said |= {e.id: e for e in speaking(db, subjects, conversation) if conversation is None or e.subject in subjects}
    others = noes_of_others(db, event.conversation, subjects)
    return event not in that_count(in_order([*said.values(), *others]), Knowledge(db, subjects, others))


def tips(
    db: sqlite3.Connection, subjects: Sequence[str], own: tuple[Chain, int] | None, others: Sequence[Event]
) -> tuple[str, ...]:
    """The hashes of the events of these `subjects`, and of `others`, that no other follows, without the one that stands at
    `own` and what that follows."""
    knowledge = Knowledge(db, subjects, others)
    last = [event_from(row) for row in db.execute(LAST_OF_CHAINS, (json.dumps(subjects),))]
    reached: Known = knowledge.of(*own) if own else {}
    found: list[str] = []
    for event in reversed(in_order([*last, *others])):
        if reached.get(event.chain, 0) < event.number:
            found.append(event.hash)
            for chain, number in knowledge.of(event.chain, event.number).items():
                reached[chain] = max(number, reached.get(chain, 0))
    return tuple(sorted(found))
