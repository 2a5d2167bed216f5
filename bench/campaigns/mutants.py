"""Each bug of the two tables put into a copy of the tree, alone: a test must notice.

`python -m tests.support.consent_mutants WORD` runs those whose rule has that word.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench.report import Table
from tests.support import consent_mutants, page_mutants
from tests.support.mutants import KILLED, Mutant, outcome

TABLES = (
    (consent_mutants.MUTANTS, consent_mutants.TESTS, consent_mutants.DEFAULT),
    (page_mutants.PAGE_MUTANTS, page_mutants.TESTS, page_mutants.DEFAULT),
)


def run() -> str:
    """Raises, naming them, where bugs survive, or no test ran on them."""
    bugs = [(mutant, tests.get(mutant.path, default)) for mutants, tests, default in TABLES for mutant in mutants]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # each waits for a process of its own
        found = list(pool.map(_told, bugs))
    put_in = Counter(mutant.path for mutant, _ in bugs)
    killed = Counter(mutant.path for (mutant, _), one in zip(bugs, found, strict=True) if one == KILLED)
    table = Table("Seeded bugs of consent and its page: a test fails on each", ("file", "bugs", "killed"))
    for path in sorted(put_in):
        table.add(f"`{path}`", put_in[path], killed[path])
    table.add("all", put_in.total(), killed.total())
    if left := [mutant.rule for (mutant, _), one in zip(bugs, found, strict=True) if one != KILLED]:
        raise AssertionError(f"{table}\nNot killed: " + "; ".join(left))
    return str(table)


def _told(bug: tuple[Mutant, tuple[str, ...]]) -> str:
    mutant, tests = bug
    found = outcome(mutant, tests)
    print(f"{found:8}", mutant.rule, flush=True)
    return found
