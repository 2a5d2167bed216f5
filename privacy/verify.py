"""`python -m privacy.verify DATA_DIR`: proves that the ledger of consent is what was written, event after event.

Prints how many events and chains there are and the hash of their heads, which the cards of the sharing datasets name, or a
sentence for everything that is wrong; then it ends with 1. Changes nothing, and may run beside the app.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from chat.db import connect
from privacy.ledger import heads_hash, verify_chains

# Without these the database would let somebody rewrite what was said.
GUARDS = ("consent_events_stay", "consent_events_are_never_changed", "consent_events_continue_their_chain")


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    database = Path(arguments[0] if arguments else environ.get("DATA_DIR", "")) / "parley.db"
    if not database.is_file():
        print(
            f"There is no {database}. Name the DATA_DIR of a Parley: python -m privacy.verify DATA_DIR", file=sys.stderr
        )
        return 2
    db = connect(database)
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("BEGIN")
        there = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        wrong = [f"The database no longer enforces {guard}." for guard in GUARDS if guard not in there]
        wrong += verify_chains(db)
        events, chains = db.execute(
            "SELECT count(*), count(DISTINCT subject || replica) FROM consent_events"
        ).fetchone()
        heads = heads_hash(db)
    finally:
        db.close()
    for sentence in wrong:
        print(sentence)
    print(
        f"{events} events in {chains} chains; the hash of their heads is {heads}."
        if not wrong
        else f"{len(wrong)} wrong."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
