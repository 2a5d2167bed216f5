"""Reports by anybody about a shared row or a link: the row is hidden at once, a person decides later.

    python -m privacy.reports DATA_DIR                  # what is open
    python -m privacy.reports DATA_DIR uphold ID        # the row's conversation is never shared again
    python -m privacy.reports DATA_DIR reject ID        # what its owner agreed to holds again, in a new row

May run beside the app, whose next round carries it out.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from chat.db import connect
from privacy import policy
from privacy.ledger import Choice, record

ABOUT, REASON, CONTACT = 500, 4_000, 200  # characters at most
_ROW_ID = re.compile(r"\b[0-9a-f]{32}\b")

Decision = Literal["upheld", "rejected"]


class NoSuchReport(Exception):
    """There is no open report of this id."""


@dataclass(frozen=True, slots=True)
class Report:
    """`row_id`: the shared row that it names, which is hidden while the report is open."""

    id: str
    at: float
    about: str
    reason: str
    contact: str
    row_id: str | None
    state: str


def report(db: sqlite3.Connection, about: str, reason: str, contact: str, now: float) -> Report:
    """Write a report down; a row that it names, by its id or in an address, is hidden from here on."""
    row = None
    for row_id in _ROW_ID.findall(about.lower()):
        row = (
            row
            or db.execute(
                "SELECT row_id, conversation, answers FROM outbox WHERE row_id = ? AND state IN ('publish', 'published')",
                (row_id,),
            ).fetchone()
        )
    found = Report(secrets.token_hex(16), now, about, reason, contact, row["row_id"] if row else None, "open")
    db.execute(
        "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', NULL, NULL)",
        (
            found.id,
            now,
            about,
            reason,
            contact,
            found.row_id,
            row and row["conversation"],
            row["answers"] if row else "[]",
        ),
    )
    return found


def open_reports(db: sqlite3.Connection) -> list[Report]:
    names = ", ".join(Report.__dataclass_fields__)
    return [Report(**row) for row in db.execute(f"SELECT {names} FROM reports WHERE state = 'open' ORDER BY at, id")]


def decide(db: sqlite3.Connection, id: str, decision: Decision, now: float) -> None:
    """Close a report. Upheld: the conversation of the row stays private for ever, by an event of the ledger that names the
    operator. Raises `NoSuchReport`."""
    found = db.execute("SELECT * FROM reports WHERE id = ? AND state = 'open'", (id,)).fetchone()
    if found is None:
        raise NoSuchReport(f"There is no open report {id}. List them: python -m privacy.reports DATA_DIR")
    if decision == "upheld" and found["conversation"] is not None:
        owner = db.execute(
            "SELECT s.owner FROM outbox AS o JOIN subjects AS s USING (subject) WHERE o.row_id = ?", (found["row_id"],)
        ).fetchone()
        # Of somebody who closed their account nothing is shared any more.
        if owner is not None:
            choice = Choice("takedown", None, found["conversation"])
            record(db, owner["owner"], choice, policy.without_text("operator"), now)
    db.execute("UPDATE reports SET state = ?, decided_at = ? WHERE id = ?", (decision, now, id))


def main(arguments: list[str], environ: Mapping[str, str], now: float) -> int:
    folder, *wanted = arguments or [environ.get("DATA_DIR", "")]
    database = Path(folder) / "parley.db"
    decisions: dict[str, Decision] = {"uphold": "upheld", "reject": "rejected"}
    if not database.is_file() or len(wanted) not in (0, 2) or (wanted and wanted[0] not in decisions):
        print(
            f"Say which Parley: python -m privacy.reports DATA_DIR [uphold|reject ID] (no {database})", file=sys.stderr
        )
        return 2
    db = connect(database)
    try:
        if not wanted:
            for found in open_reports(db):
                day = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="minutes")
                row = f"row {found.row_id}, hidden" if found.row_id else "no row of ours"
                print(
                    f"{found.id}  {day}  {row}\n  about: {found.about}\n  reason: {found.reason}\n  answer to: {found.contact or '-'}"
                )
            return 0
        db.execute("BEGIN IMMEDIATE")
        try:
            decide(db, wanted[1], decisions[wanted[0]], now)
        except NoSuchReport as error:
            db.execute("ROLLBACK")
            print(error, file=sys.stderr)
            return 1
        db.execute("COMMIT")
        print(f"Report {wanted[1]} is {decisions[wanted[0]]}.")
        return 0
    finally:
        db.close()


if __name__ == "__main__":
    import time

    sys.exit(main(sys.argv[1:], os.environ, time.time()))
