"""The tables of bugs stay true of the code; `make campaign ARGS=mutants` shows that a test fails on each."""

from __future__ import annotations

import pytest

from tests.support.consent_mutants import MUTANTS
from tests.support.mutants import ROOT, Mutant
from tests.support.page_mutants import PAGE_MUTANTS

EVERY = (*MUTANTS, *PAGE_MUTANTS)


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.rule)
def test_a_bug_of_the_table_can_still_be_put_in(mutant: Mutant) -> None:
    assert (ROOT / mutant.path).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new


def test_no_rule_is_there_twice() -> None:
    assert len({mutant.rule for mutant in EVERY}) == len(EVERY)
