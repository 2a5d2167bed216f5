"""Two replicas, a Hub that fails, crashes and `kill -9`: what was called saved is there, what was deleted is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars

from tests.support.chaos import chaos
from tests.support.chaos.oracle import Oracle, Outcome
from tests.support.chaos.planted import PLANTED
from tests.support.hub.testing import UPLOAD_WARNING
from tests.support.mutants import ROOT, Mutant

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]


@pytest.fixture(autouse=True)
def as_the_hub_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    disable_progress_bars()


@pytest.mark.parametrize("bucket", [False, True], ids=["without a bucket", "with a bucket"])
async def test_in_the_end_nothing_is_missing_but_what_was_only_kept_on_a_disk_that_was_lost(
    bucket: bool, tmp_path: Path
) -> None:
    """500 operations in all. What fails is run again by its number: `CHAOS_SEEDS=1 make campaign ARGS=chaos`."""
    outcome = await chaos(1, 250, tmp_path, bucket)
    assert outcome.violations == []
    assert set(outcome.lost) <= {"kept here"} and outcome.found == 0
    # Or nothing was at stake.
    assert all(outcome.counts[what] > 0 for what in ("kill -9", "disk lost", "disk kept", "purged: looked"))
    assert all(outcome.struck[kind][0] > 3 for kind in ("commit", "read", *(["batch"] if bucket else [])))
    assert outcome.writes > 100 and outcome.deletions > 5
    assert outcome.at_stake["safe" if bucket else "saved"] > 0


@pytest.mark.parametrize(
    ("level", "bucket", "dataset", "found"),
    [
        ("safe", b"", b"", True),
        ("safe", b"<1>", b"", False),
        ("safe", b"", b"<1>", False),
        ("saved", b"<1>", b"", True),
        ("saved", b"", b"<1>", False),
        ("kept here", b"", b"", False),
    ],
)
def test_what_is_called_safe_or_saved_and_is_not_there_is_found_though_no_disk_is_lost(level, bucket, dataset, found):
    oracle = Oracle(Outcome(1, bucket=True))
    oracle.note("a1", "write", "<1>", "c")
    oracle.told("a1", {"c": level}, {})
    oracle.where_it_was_called(lambda: bucket, lambda: dataset)
    assert bool(oracle.outcome.violations) == found
    oracle.told("a1", {"c": level}, {})
    oracle.where_it_was_called(lambda: b"", lambda: b"")  # it is looked for once, at the moment it is first called so
    assert bool(oracle.outcome.violations) == found


def test_a_deletion_is_looked_for_and_what_was_deleted_is_not():
    oracle = Oracle(Outcome(1, bucket=True))
    oracle.note("a1", "write", "<1>", "c")
    oracle.note("a1", "deleting", "<1>", "c")
    oracle.note("a1", "delete", "", "c")
    oracle.told("a1", {"c": "safe"}, {"c": ("safe", False)})
    oracle.where_it_was_called(lambda: b'{"conversation":"c"}', lambda: b"")
    assert oracle.outcome.violations == []
    oracle.told("a1", {}, {"c": ("saved", False)})
    oracle.where_it_was_called(lambda: b"", lambda: b'{"id":"c"}')
    assert oracle.outcome.violations == ['"conversation":"c" is called saved and is not there']


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.rule)
def test_a_bug_that_chaos_must_find_can_still_be_planted(bug: Mutant) -> None:
    """`python -m tests.support.chaos.planted` plants them."""
    assert (ROOT / bug.path).read_text().count(bug.old) == 1
    assert bug.old != bug.new
