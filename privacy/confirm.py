"""`python -m privacy.confirm DATA_DIR`: lets the rows leave that nothing explains and that are held back, once.

The comparison holds them back, and everything new with them, as the store may be incomplete. Run this beside the app, once
you have looked; its next round takes them back. If more are held back by then, it asks again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from chat.db import connect
from privacy.notes import confirm_held


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    database = Path(arguments[0] if arguments else environ.get("DATA_DIR", "")) / "parley.db"
    if not database.is_file():
        print(
            f"There is no {database}. Name the DATA_DIR of a Parley: python -m privacy.confirm DATA_DIR",
            file=sys.stderr,
        )
        return 2
    db = connect(database)
    try:
        db.execute("BEGIN IMMEDIATE")
        held = confirm_held(db)
        db.execute("COMMIT")
    finally:
        db.close()
    if held is None:
        print("Nothing is held back: there is nothing to confirm.")
        return 1
    print(f"Confirmed: {held} rows leave the sharing datasets at the next round, within minutes while the app runs.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
