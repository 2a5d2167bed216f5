"""What runs as long as the app does survives its own errors, and tells them without anybody's words."""

from __future__ import annotations

import asyncio

import pytest

from chat.forever import forever

pytestmark = pytest.mark.anyio


async def test_an_error_is_told_by_its_kind_and_it_begins_again():
    told: list[str] = []
    begun = 0

    async def run() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError("a word about herons")

    await forever("Saving", run, told.append, again=0.0)
    assert begun == 3
    assert told == ["Saving met an error of its own (RuntimeError) and begins again."] * 2


async def test_it_ends_when_it_is_cancelled():
    running = asyncio.create_task(forever("Saving", asyncio.Event().wait, lambda _: None))
    await asyncio.sleep(0)
    running.cancel()
    assert await asyncio.gather(running, return_exceptions=True) and running.cancelled()
