"""What stands in a sharing dataset and in no outbox: put there by another hand, or by an outbox that is lost.

Nobody is known to have agreed to it: it is noted, and backed up, as a stray, and goes the way of a retracted row.
"""

from __future__ import annotations

import sqlite3

from chat.dataset_repo import DatasetRepo, Denied, RepoError
from privacy.head import Head, Strange, look, read, strange_in, written
from privacy.notes import note, set_note
from privacy.shards import CARD, MARK, TOMBSTONES
from privacy.squashing import must_squash
from privacy.trying import Tools

STRAYS = (
    "The sharing dataset {} held {} that nothing here explains: by another hand, or from an outbox that is lost."
    " It is taken out of the dataset and its history. If you do not know where it came from, change HF_TOKEN."
)
NOT_OURS = (
    "The dataset {} holds something that is not from here, so nothing is shared there. Rename or delete it, or set"
    " SHARE_PREFIX to another name."
)
UNWRITTEN = frozenset({".gitattributes", "space.json"})  # what a repository has before anything is written there
HEAD = "head {}"  # the note of a dataset's head as it was last written, or looked at, from here


async def check_ours(tools: Tools, repo: DatasetRepo, dataset: str, head: Head) -> None:
    """Raise `Denied` for a dataset that somebody else made for something else: nothing of ours has ever stood there."""
    bare = not head.files.keys() - UNWRITTEN  # as it is between its creation and its first commit
    if head.id is None or bare or TOMBSTONES in head.files or await tools.db.read(lambda c: _stood_there(c, dataset)):
        return
    card = await tools.threads.run(repo.read, CARD, head.id) if CARD in head.files else b""
    if MARK not in card.decode(errors="replace"):
        raise Denied(NOT_OURS.format(dataset))


def _stood_there(db: sqlite3.Connection, dataset: str) -> bool:
    sql = (
        "SELECT EXISTS (SELECT 1 FROM pushed_files WHERE dataset = :id) OR EXISTS"
        " (SELECT 1 FROM outbox WHERE dataset = :id AND (state = 'retracted' OR published_at IS NOT NULL))"
    )
    return bool(db.execute(sql, {"id": dataset}).fetchone()[0])


async def find_strays(tools: Tools, repo: DatasetRepo, dataset: str, head: Head, problems: list[str]) -> Strange:
    """What of the dataset is not from here; before it is returned, that is noted and in the private dataset."""
    known = await tools.db.read(lambda c: written(c, dataset))
    head = await tools.threads.run(read, repo, head, head.unknown(known))
    strange = await tools.db.read(lambda c: strange_in(c, dataset, head))
    if strange.foreign:
        now = tools.clock()
        await tools.db.write(lambda c: _note_strays(c, dataset, strange, now))
        await tools.before_public()
        count = len(strange.rows)
        sentence = STRAYS.format(dataset, f"{count} row{'s' * (count != 1)}" if count else "something")
        problems += [sentence] if sentence not in problems else []
    return strange


def _note_strays(db: sqlite3.Connection, dataset: str, strange: Strange, now: float) -> None:
    must_squash(db, dataset, now)
    # One that came back keeps the time when it first went: replicas would not agree on another.
    db.executemany(
        "INSERT OR IGNORE INTO strays VALUES (?, ?, ?, NULL)",
        [(dataset, row_id, now) for row_id in sorted(strange.rows)],
    )


async def look_over(tools: Tools, problems: list[str]) -> None:
    """Look at every dataset whose head is another than it was: what somebody else put there waits to leave from then on."""
    for dataset, known in await tools.db.read(_heads):
        try:
            repo = tools.open_repo(dataset)
            seen = await tools.threads.run(repo.head)
            if seen in (known, None):
                continue
            # What another machine shared until then is known from here on; what it shares meanwhile is looked at later.
            await tools.before_public()
            head = await tools.threads.run(look, repo)
            if head.id == seen:
                await check_ours(tools, repo, dataset, head)
                await find_strays(tools, repo, dataset, head, problems)
                await tools.db.write(lambda db, dataset=dataset, seen=seen: set_note(db, HEAD.format(dataset), seen))
        except RepoError as error:
            problems.append(str(error))


def _heads(db: sqlite3.Connection) -> list[tuple[str, str | None]]:
    rows = db.execute(
        "SELECT DISTINCT dataset FROM outbox WHERE state IN ('published', 'retract', 'retracted') ORDER BY 1"
    )
    return [(row["dataset"], note(db, HEAD.format(row["dataset"]))) for row in rows]
