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


@pytest.mark.parametrize(("seed", "bucket"), [(1, False), (2, True)])
async def test_in_the_end_nothing_is_missing_but_what_was_only_kept_on_a_disk_that_was_lost(
    seed: int, bucket: bool, tmp_path: Path
) -> None:
    """500 operations in all. What fails is run again by its number: `CHAOS_SEEDS=2 make campaign ARGS=chaos`."""
    outcome = await chaos(seed, 250, tmp_path, bucket)
    assert outcome.violations == []
    # Or nothing was at stake.
    assert all(outcome.counts[what] > 0 for what in ("kill -9", "disk lost", "disk kept", "purged: looked"))
    assert outcome.struck["commit"][0] > 5 and outcome.struck["squash"][1] > 0 and outcome.struck["read"][0] > 5
    assert (outcome.struck["batch"][0] > 5) is bucket
    assert outcome.lost["kept here"] > 0
    assert set(outcome.lost) == {"kept here"}
