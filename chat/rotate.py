"""`python -m chat.rotate`: makes the private dataset anew, for a Hub that keeps old versions readable after a squash.

    1. Copy its head to <name>-next, compare, and mark the copy as whole.
    2. Move <name> to <name>-old, and <name>-next to <name>.
    3. Delete <name>-old, with all its history, and take the mark away.

Reads STORE_DATASET, HF_TOKEN and HF_ENDPOINT. Stop the app first. Whatever breaks it off, at every moment one of the three
is whole, and the same command goes on from there. Says what it did.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from chat.dataset_repo import Conflict, DatasetRepo, Denied, RepoError
from chat.formats import card
from chat.hub import HubRepo
from chat.hub_names import HubNames
from chat.lease import PATH as LEASE

MARK = "rotation.json"
BATCH_BYTES, BATCH_FILES = 32_000_000, 500  # of one commit


class Names(Protocol):
    """Which datasets there are, as `chat.hub_names.HubNames` does it."""

    def there(self, id: str) -> bool: ...
    def move(self, id: str, to: str) -> None: ...
    def delete(self, id: str) -> None: ...


def rotate(
    id: str, names: Names, open_repo: Callable[[str], DatasetRepo], tell: Callable[[str], None], now: float
) -> None:
    """Make the dataset `id` anew, or finish doing so. Blocks; raises `RepoError`, whose sentence says what to do."""
    new, old = f"{id}-next", f"{id}-old"
    if names.there(id) and not _is_whole(open_repo(id)):
        if names.there(old):
            raise Denied(f"{old} is in the way. If it is not needed, delete it on the Hub, and run this again.")
        _refuse_while_in_use(open_repo(id), now)
        head = _copy(open_repo(id), open_repo(new), names.there(new), tell)
        if open_repo(id).head() != head:
            raise Conflict(f"Somebody wrote to {id} meanwhile. Stop the app, and run this again.")
        names.move(id, old)
        tell(f"Moved {id} to {old}.")
    if not names.there(id):
        if not (names.there(new) and _is_whole(open_repo(new))):
            kept = f" What it held is in {old}: move it back on the Hub." if names.there(old) else ""
            raise Denied(f"There is no dataset {id}.{kept}")
        names.move(new, id)
        tell(f"Moved {new} to {id}.")
    # Here `id` is the whole copy, and nothing else is needed any more.
    if names.there(old):
        names.delete(old)
        tell(f"Deleted {old} with its history.")
    repo = open_repo(id)
    head = repo.head()
    repo.commit({}, [MARK], head, "Made anew")
    tell(f"{id} was made anew: it holds what it held, and nothing from before.")


def _is_whole(repo: DatasetRepo) -> bool:
    head = repo.head()
    return head is not None and MARK in repo.paths(MARK, head)


def _refuse_while_in_use(repo: DatasetRepo, now: float) -> None:
    if repo.visibility() != "private":
        raise Denied(f"{repo.id} is not private. Make it private in its settings, and run this again.")
    head = repo.head() or ""
    try:
        lease = json.loads(repo.read(LEASE, head))
        held, until = lease["replica"] is not None, float(lease["until"])
    except (KeyError, ValueError, TypeError):
        return
    if held and until > now:
        minutes = max(1, round((until - now) / 60))
        raise Denied(
            f"An app is at work on {repo.id}. Stop it (pause the Space), wait {minutes} minutes, and run this again."
        )


def _copy(source: DatasetRepo, target: DatasetRepo, there: bool, tell: Callable[[str], None]) -> str:
    """Make `target` equal to the head of `source`, and mark it; returns that head."""
    head = source.head() or ""
    wanted = source.files("", head)
    at = target.head() if there else target.create(card())
    if target.visibility() != "private":
        raise Denied(f"{target.id} is not private. Delete it on the Hub, and run this again.")
    has = target.files("", at or "")
    if strange := sorted(has.keys() - wanted.keys() - {".gitattributes", "README.md"}):
        # Of a rotation that was broken off, or not ours at all.
        at = target.commit({}, strange, at, f"Remove {len(strange)} files")
    copied = 0
    batch: dict[str, bytes] = {}

    def put() -> None:
        nonlocal at, copied
        if batch:
            at, copied = target.commit(batch, (), at, f"Copy {len(batch)} files"), copied + len(batch)
            batch.clear()

    for path in sorted(path for path, content in wanted.items() if has.get(path) != content):
        try:
            batch[path] = source.read(path, head)
        except RepoError:
            put()  # the next run need not read again what this one had
            raise
        if len(batch) >= BATCH_FILES or sum(map(len, batch.values())) >= BATCH_BYTES:
            put()
    put()
    if target.files("", at or "") != wanted:
        raise Conflict(f"Somebody wrote to {target.id} meanwhile. Stop the app, and run this again.")
    target.commit({MARK: json.dumps({"format": 1, "of": source.id}).encode() + b"\n"}, (), at, "This copy is whole")
    tell(f"Copied {copied} of {len(wanted)} files of {source.id} to {target.id}; the others were there.")
    return head


def main(environ: Mapping[str, str], now: float) -> int:
    """Returns 0 where the dataset is made anew, 2 where it could not be finished."""
    id, token = environ.get("STORE_DATASET", "").strip(), environ.get("HF_TOKEN", "").strip()
    endpoint = environ.get("HF_ENDPOINT", "").strip() or "https://huggingface.co"
    if not id or not token:
        print(
            "Set STORE_DATASET and HF_TOKEN to those of the app: STORE_DATASET=... python -m chat.rotate",
            file=sys.stderr,
        )
        return 2
    try:
        rotate(
            id,
            HubNames(endpoint, token),
            lambda name: HubRepo(endpoint, token, name),
            lambda sentence: print(sentence, flush=True),
            now,
        )
    except RepoError as error:
        print(f"This could not be finished; nothing is lost. {error} Run it again to go on.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ, time.time()))
