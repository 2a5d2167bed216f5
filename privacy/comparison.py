"""What is, or may be, public is compared with what consent allows now. Only reads; `privacy/outbox.py` writes it down.

A conversation is looked at where anything that its last comparison rested on is another: its own revision, what its owner
and anybody else said, its rows, the rules, the time. One query over all conversations finds those, so nothing has to be
told that something changed; and the ones looked at longest ago are looked at again whatever that query says.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from privacy.consent import Standpoint, Yes
from privacy.knowing import is_undone
from privacy.ledger import ASKING, event_of
from privacy.rows import HOUR, Rules
from privacy.segments import Segment, Turn, cut, find, turns_of

ANEW, ANEW_AFTER = (
    100,
    3600.0,
)  # conversations looked at again each time, and how long ago that must have been (seconds)
FOREVER = 9e15

LIVE = "state IN ('publish', 'published', 'quarantined')"
AGREED = """
    agreed AS MATERIALIZED (
        SELECT s.owner, count(*) || '/' || coalesce((SELECT standing FROM owner_standing WHERE owner = s.owner), '') || '/'
               || (SELECT count(*) || '-' || count(ended_at) FROM pauses JOIN subjects USING (subject) WHERE owner = s.owner)
               AS said
        FROM subjects AS s JOIN consent_events AS e USING (subject)
        GROUP BY s.owner HAVING max(e.kind = 'grant'))
"""
TO_LOOK_AT = f"""
    WITH {AGREED},
    told AS MATERIALIZED (
        SELECT conversation, count(*) AS events FROM consent_events WHERE conversation IS NOT NULL GROUP BY conversation),
    reported AS MATERIALIZED (
        SELECT conversation, count(*) || '-' || sum(state = 'open') AS open FROM reports
        WHERE conversation IS NOT NULL GROUP BY conversation),
    out AS MATERIALIZED (SELECT conversation, count(*) AS live FROM outbox WHERE {LIVE} GROUP BY conversation),
    unfinished AS MATERIALIZED (
        SELECT DISTINCT conversation FROM outbox
        WHERE (state = 'publish' AND shard IS NULL) OR (state IN ('publish', 'published') AND row IS NULL)),
    longest_ago AS MATERIALIZED (
        SELECT conversation FROM compared WHERE at < :now - :after ORDER BY at LIMIT :anew),
    kept AS (
        SELECT c.owner, c.conversation, c.updated_at, :rules || c.revision || '/' || c.updated_at || '/' || agreed.said
               || '/' || coalesce(told.events, 0) || '/' || coalesce(reported.open, 0) || '/' || coalesce(out.live, 0)
               AS basis
        FROM agreed CROSS JOIN kept_conversation AS c ON c.owner = agreed.owner
        LEFT JOIN told ON told.conversation = c.conversation
        LEFT JOIN reported ON reported.conversation = c.conversation
        LEFT JOIN out ON out.conversation = c.conversation)
    SELECT kept.owner, kept.conversation, kept.updated_at, kept.basis FROM kept
    LEFT JOIN compared ON compared.conversation = kept.conversation
    WHERE CASE WHEN :only IS NOT NULL THEN kept.conversation IN (SELECT value FROM json_each(:only)) ELSE
        compared.basis IS NOT kept.basis OR compared.until <= :now OR compared.at > :now
        OR kept.conversation IN (SELECT conversation FROM unfinished)
        OR kept.conversation IN (SELECT conversation FROM longest_ago) END
    ORDER BY kept.owner, kept.conversation
"""
# Rows whose conversation is gone, or whose owner has said yes to nobody, or is nobody any more.
ORPHANS = f"""
    WITH {AGREED}
    SELECT * FROM outbox WHERE row_id IN (
        SELECT o.row_id FROM outbox AS o INDEXED BY outbox_live WHERE o.{LIVE} AND NOT EXISTS
            (SELECT 1 FROM kept_conversation AS c JOIN agreed USING (owner) WHERE c.conversation = o.conversation)
        AND (:only IS NULL OR o.conversation IN (SELECT value FROM json_each(:only)))) ORDER BY row_id
"""


@dataclass(slots=True)
class Comparison:
    """The difference between the outbox and what consent allows. `refill`: rows whose text is to be made again.
    `unexplained`: rows to retract for no reason that anybody gave; where there are any, `public`: how many may be public
    now.
    `touched`: the conversations of all these. `settled`: conversation -> (basis, until) of those in which there is no
    difference: they need no look before that time, in Unix seconds, unless their basis is another."""

    new: list[tuple[str, Segment[Yes]]] = field(default_factory=list)
    refill: list[tuple[sqlite3.Row, Segment[Yes]]] = field(default_factory=list)
    retract: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    public: int = 0
    touched: set[str] = field(default_factory=set)
    settled: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.refill or self.retract or self.forget or self.unexplained)


def compare(
    db: sqlite3.Connection,
    rules: Rules,
    now: float,
    *,
    publish: bool = True,
    only: Collection[str] | None = None,
    whole: bool = False,
) -> Comparison:
    """What the outbox lacks and what it has too much of, in the caller's transaction. `publish`: it is time for new rows.
    `only`: these conversations, whatever is noted about them. `whole`: all of them."""
    found = Comparison()
    explain = _Explained(db, rules)
    given = None if only is None else json.dumps(sorted(only))
    if whole:
        given = json.dumps([row["conversation"] for row in db.execute("SELECT conversation FROM kept_conversation")])
    parameters = {"now": now, "rules": _fingerprint(db, rules, now), "only": given, "anew": ANEW, "after": ANEW_AFTER}
    looked: list[_Looked] = []
    at: Standpoint | None = None
    owner = None
    for row in db.execute(TO_LOOK_AT, parameters).fetchall():
        if at is None or row["owner"] != owner:
            owner, at = row["owner"], Standpoint(db, row["owner"], rules.terms, now)
        looked.append(_look(db, found, at, row, rules, now, publish, explain))
    _choose(db, found, looked, rules, now)
    for row in db.execute(ORPHANS, {"only": None if whole else given}).fetchall():
        _take_back(found, row, explain, None)
    if found.unexplained:
        found.public = db.execute(
            "SELECT count(*) FROM outbox WHERE state IN ('publish', 'published') AND shard IS NOT NULL"
        ).fetchone()[0]
    for one in looked:
        if one.conversation not in found.touched:
            found.settled[one.conversation] = (one.basis, one.until)
    return found


@dataclass(slots=True)
class _Looked:
    """`due`: segments that may leave now, with the subject. `until`: when time alone may make a difference."""

    conversation: str
    basis: str
    until: float
    due: list[tuple[str, Segment[Yes]]] = field(default_factory=list)


def _look(
    db: sqlite3.Connection,
    found: Comparison,
    at: Standpoint,
    kept: sqlite3.Row,
    rules: Rules,
    now: float,
    publish: bool,
    explain: _Explained,
) -> _Looked:
    looked = _Looked(kept["conversation"], kept["basis"], FOREVER)
    turns = turns_of(db, kept["owner"], kept["conversation"])
    taken: set[str] = set()
    rows = db.execute(f"SELECT * FROM outbox WHERE conversation = ? AND {LIVE} ORDER BY row_id", (looked.conversation,))
    for row in rows.fetchall():
        segment = stands(row, at, turns, rules, now)
        if segment is None:
            _take_back(found, row, explain, kept["updated_at"])
            continue
        if row["redaction"] != rules.version and row["shard"] is not None:
            # The old row and its new one change places at once, when it is time for new rows.
            if publish and segment.why.fresh:
                found.retract.append(row["row_id"])
                found.touched.add(looked.conversation)
                continue
            looked.until = min(looked.until, _later(rules, now))
        taken.update(json.loads(row["answers"]))
        if row["row"] is None and row["state"] != "quarantined":
            found.refill.append((row, replace(segment, why=Yes(event_of(db, row["event"]), fresh=False))))
            found.touched.add(looked.conversation)

    def covering(turn: Turn) -> Yes | None:
        author = rules.authors.get(turn.model)
        yes = author and covered(at, author, turn)
        return yes if yes and yes.fresh else None

    for segment in cut(turns, covering, taken):
        leaves = leaves_at(segment, rules)
        if leaves > now:
            looked.until = min(looked.until, leaves)
        elif publish:
            looked.due.append((at.subject or "", segment))
        else:
            looked.until = min(looked.until, _later(rules, now))
    return looked


def _choose(db: sqlite3.Connection, found: Comparison, looked: Iterable[_Looked], rules: Rules, now: float) -> None:
    due = {segment.answers: one for one in looked for _, segment in one.due}
    leave = those_that_leave(db, [each for one in looked for each in one.due], found.retract, rules)
    for subject, segment in leave:
        found.new.append((subject, segment))
        found.touched.add(due.pop(segment.answers).conversation)
    for one in due.values():
        one.until = min(one.until, _later(rules, now))


def those_that_leave(
    db: sqlite3.Connection, due: Iterable[tuple[str, Segment[Yes]]], leaving: Collection[str], rules: Rules
) -> list[tuple[str, Segment[Yes]]]:
    """Of each person, model and month no more than `rules.most` rows leave: of those that are `due`, with their subjects, the
    ones that were finished first. `leaving`: rows that make room."""
    due = sorted(due, key=lambda each: (each[1].settled_at, each[1].answers))
    there = _live_rows(db, {subject for subject, _ in due}, leaving)
    found = []
    for subject, segment in due:
        cell = (subject, segment.model, month_of(segment))
        if there[cell] < rules.most:
            there[cell] += 1
            found.append((subject, segment))
    return found


def _live_rows(
    db: sqlite3.Connection, subjects: Collection[str], leaving: Collection[str]
) -> Counter[tuple[str, str, str]]:
    """(subject that new events name, model, month) -> rows of that person there now."""
    there: Counter[tuple[str, str, str]] = Counter()
    for subject in subjects:
        rows = db.execute(
            "SELECT d.model, o.first_month, count(*) FROM outbox AS o JOIN sharing_datasets AS d ON d.id = o.dataset"
            " WHERE o.subject IN (SELECT b.subject FROM subjects AS a JOIN subjects AS b USING (owner) WHERE a.subject = ?)"
            " AND o.state IN ('publish', 'published') AND o.row_id NOT IN (SELECT value FROM json_each(?)) GROUP BY 1, 2",
            (subject, json.dumps(list(leaving))),
        )
        there.update({(subject, model, month): count for model, month, count in rows})
    return there


def _later(rules: Rules, now: float) -> float:
    """When it is time for new rows again."""
    return rules.next_batch((now // HOUR + 1) * HOUR) if rules.hours else now + 60


def _fingerprint(db: sqlite3.Connection, rules: Rules, now: float) -> str:
    """Everything that every comparison rests on; another one and all are compared."""
    times = sorted(t for since in rules.terms.stale_from.values() for t in (since, since + ASKING) if t <= now)
    own = "SELECT id FROM replica UNION SELECT id FROM former_replicas"
    elsewhere = db.execute(f"SELECT count(*) FROM unread WHERE replica NOT IN ({own})").fetchone()[0]
    facts = [rules.version, rules.quiet, rules.hours, sorted(rules.authors.items()), times, elsewhere, rules.most]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16] + "/"


def month_of(segment: Segment[Yes]) -> str:
    return datetime.fromtimestamp(segment.turns[0].created_at, UTC).strftime("%Y-%m")


def covered(at: Standpoint, recipient: str, turn: Turn) -> Yes | None:
    return at.covering(recipient, turn.conversation, turn.part, turn.surface, turn.created_at, turn.agreed)


def leaves_at(segment: Segment[Yes], rules: Rules) -> float:
    return max(segment.changed_at, segment.why.at) + rules.quiet


def stands(row: sqlite3.Row, at: Standpoint, turns: list[Turn], rules: Rules, now: float) -> Segment[Yes] | None:
    """The segment of an outbox row that may stay there; None where the next plan takes the row out."""
    segment = _still_covered(row, at, turns)
    due = segment is not None and segment.why.fresh and leaves_at(segment, rules) <= now
    if (row["shard"] is None and not due) or _made_anew(row, rules):
        return None
    return segment


def _still_covered(row: sqlite3.Row, at: Standpoint, turns: list[Turn]) -> Segment[Yes] | None:
    """The segment of an outbox row, if it still is what it was and every turn of it is covered."""
    if row["subject"] not in at.subjects:
        return None
    segment = find(turns, json.loads(row["answers"]), None)
    if segment is None or segment.digest() != row["segment_hash"]:
        return None
    reasons = [covered(at, row["recipient"], turn) for turn in segment.turns]
    if not all(reasons):
        return None
    return Segment(segment.turns, _latest(reasons), segment.context_omitted, segment.attachments_omitted)


def _latest(reasons: list[Yes | None]) -> Yes:
    given = [yes for yes in reasons if yes]
    return Yes(max(given, key=lambda yes: yes.at).event, all(yes.fresh for yes in given))


def _made_anew(row: sqlite3.Row, rules: Rules) -> bool:
    """A row that never left, or whose text is lost, is made anew once the redaction is another."""
    return row["redaction"] != rules.version and (row["shard"] is None or row["row"] is None)


def _take_back(found: Comparison, row: sqlite3.Row, explain: _Explained, changed_at: float | None) -> None:
    found.touched.add(row["conversation"])
    if row["shard"] is None:
        found.forget.append(row["row_id"])
    else:
        (found.retract if explain(row, changed_at) else found.unexplained).append(row["row_id"])


class _Explained:
    """Whether somebody did something that makes a row leave: without it, a mass retraction is taken for lost data."""

    def __init__(self, db: sqlite3.Connection, rules: Rules) -> None:
        self._db, self._rules = db, rules
        self._undone: dict[str, bool] = {}  # event -> another machine heard a no that it did not know of

    def __call__(self, row: sqlite3.Row, changed_at: float | None) -> bool:
        if changed_at is not None and changed_at > row["planned_at"]:
            return True  # the conversation is here and went another way
        if _made_anew(row, self._rules):
            return True
        one = self._db.execute
        return bool(
            one("SELECT 1 FROM tombstones WHERE conversation = ?", (row["conversation"],)).fetchone()
            or one(
                "SELECT 1 FROM consent_events WHERE kind <> 'grant' AND ((subject IN (SELECT ? UNION SELECT b.subject FROM"
                " subjects AS a JOIN subjects AS b USING (owner) WHERE a.subject = ?) AND at > (SELECT at FROM"
                " consent_events WHERE id = ?)) OR conversation = ?)",
                (row["subject"], row["subject"], row["event"], row["conversation"]),
            ).fetchone()
            or self._is_undone(row["event"])
            or one(
                "SELECT 1 FROM pauses WHERE subject IN (SELECT ? UNION SELECT b.subject FROM subjects AS a"
                " JOIN subjects AS b USING (owner) WHERE a.subject = ?) AND begun_at <= ? AND coalesce(ended_at, 9e999) >="
                " (SELECT coalesce(min(json_extract(value, '$[1]')), 0) FROM json_each(?))",
                (row["subject"], row["subject"], row["planned_at"], row["turns"]),
            ).fetchone()
            or one("SELECT 1 FROM reports WHERE row_id = ? AND state = 'open'", (row["row_id"],)).fetchone()
            or one(
                "SELECT 1 FROM subjects JOIN owner_standing USING (owner) WHERE subject = ? AND standing = 'managed'",
                (row["subject"],),
            ).fetchone()
            or one("SELECT policy_version FROM consent_events WHERE id = ?", (row["event"],)).fetchone()[0]
            in self._rules.terms.stale_from
        )

    def _is_undone(self, id: str) -> bool:
        if id not in self._undone:
            event = event_of(self._db, id)
            same = self._db.execute(
                "SELECT b.subject FROM subjects AS a JOIN subjects AS b USING (owner) WHERE a.subject = ?",
                (event.subject,),
            )
            subjects = {event.subject, *(row["subject"] for row in same)}
            self._undone[id] = is_undone(self._db, event, sorted(subjects))
        return self._undone[id]
