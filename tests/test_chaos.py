"""Two replicas, a Hub that fails, crashes and `kill -9`: what was called saved is there, what was deleted is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars

from tests.support.chaos import chaos
from tests.support.hub.testing import UPLOAD_WARNING

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
