"""Bugs of what is kept, each of them short, each of which chaos must find.

    python -m tests.support.chaos.planted [word ...]      # all, or those whose rule has one of the words

Each is put into a copy of the tree, and seeds are run there, one after the other, until one finds it. `SEEDS` (4) says how
many at most, `OPERATIONS` (250) how long each is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.mutants import LEFT_OUT, ROOT, Mutant

PLANTED = (
    Mutant(
        "safe is said after the bucket's answer",
        "chat/write_ahead.py",
        """        await self._threads.run(self.bucket.apply, group.add, group.delete)
        await self._db.write(lambda db: rows.done(db, group))
""",
        """        await self._db.write(lambda db: rows.done(db, group))
        await self._threads.run(self.bucket.apply, group.add, group.delete)
""",
    ),
    Mutant(
        "saved is said after the commit's answer",
        "chat/backup.py",
        "            head = await self._threads.run(self.repo.commit, add, batch.delete, head, message)\n",
        """            await self.db.write(lambda db: record(db, batch, head or ""))
            head = await self._threads.run(self.repo.commit, add, batch.delete, head, message)
""",
    ),
    Mutant("a commit has a parent", "chat/hub.py", "parent_commit=parent\n", "parent_commit=None\n"),
    Mutant(
        "a merge keeps the messages of both",
        "chat/formats.py",
        "furthest((*newer.messages, *older.messages))",
        "furthest(newer.messages)",
    ),
    Mutant(
        "a tombstone beats a conversation",
        "chat/backup_incoming.py",
        """        if _is_gone(db, remote.id):
            _delete""",
        """        if False:
            _delete""",
    ),
    Mutant(
        "a tombstone deletes",
        "chat/backup_incoming.py",
        """        db.execute("DELETE FROM conversations WHERE id = ?", (line.conversation,))
""",
        "",
    ),
    Mutant(
        "a purge squashes",
        "chat/purging.py",
        'self._threads.run(repo.squash, "Keep no history")',
        "self._threads.run(repo.head)",
    ),
    Mutant(
        "an object goes when the dataset has what it held",
        "chat/write_ahead_rows.py",
        "saved_revision < o.revision)",
        "saved_revision < 0)",
    ),
    Mutant(
        "what another disk put is taken over",
        "chat/write_ahead.py",
        "{path: kind for path, (_, kind) in unknown.items() if path not in left_over}",
        "{}",
    ),
    Mutant(
        "what changed while it was saved is saved again",
        "chat/backup_outgoing.py",
        "saved_revision = max(saved_revision, ?), part",
        "saved_revision = max(revision, ?), part",
    ),
)


def found_by(bug: Mutant, seeds: int, operations: int) -> tuple[int | None, str, float]:
    """The seed that found it (None: none did), what it said first, and the seconds it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        copy = Path(folder)
        for name in ("chat", "privacy", "tests", "bench"):
            shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
        text = (copy / bug.path).read_text()
        (copy / bug.path).write_text(text.replace(bug.old, bug.new))
        for seed in range(1, seeds + 1):
            environ = {
                **os.environ,
                "CHAOS_SEEDS": str(seed),
                "CHAOS_OPERATIONS": str(operations),
                "CHAOS_BUCKET": "yes",
            }
            command = [sys.executable, "-B", "-m", "bench.campaign", "chaos"]
            ran = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True)
            if ran.returncode:
                said = [line for line in ran.stderr.splitlines() if line.strip()]
                first = next((line for line in said if line.startswith("seed ")), said[-1])
                return seed, first.partition(": ")[2][:120] or first, time.monotonic() - began
    return None, "", time.monotonic() - began


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = [bug for bug in PLANTED if not words or any(word in bug.rule for word in words)]
    missed = []
    for bug in chosen:
        seed, said, seconds = found_by(bug, int(os.environ.get("SEEDS", "4")), int(os.environ.get("OPERATIONS", "250")))
        missed += [bug.rule] if seed is None else []
        print(f"{f'seed {seed}' if seed else 'MISSED'}, {seconds:.0f} s: {bug.rule}: {said}", flush=True)
    sys.exit(f"{len(missed)} of {len(chosen)} were missed" if missed else 0)
