"""A benchmark that cannot go on says why, and does not wait."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from bench.restore import poll
from tests.support.app_process import AppProcess


def test_an_app_that_has_ended_is_not_waited_for_and_what_it_printed_is_shown(tmp_path: Path):
    with AppProcess(tmp_path / "data", wait=False, SYNC_SECONDS="often") as app, httpx.Client(base_url=app.url) as ask:
        with pytest.raises(RuntimeError, match="the app has ended(.|\n)*SYNC_SECONDS"):
            poll(app, ask, "/", lambda _: True)
        assert app.process.poll() is not None
