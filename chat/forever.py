"""What runs as long as the app does, and begins again after an error of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

AGAIN_SECONDS = 5.0


async def forever(
    what: str, run: Callable[[], Awaitable[None]], report: Callable[[str], None], again: float = AGAIN_SECONDS
) -> None:
    """`run` until it returns or is cancelled. An error is told with its kind, and without its words, which may be
    somebody's; `again` seconds later it begins anew."""
    while True:
        try:
            return await run()
        except Exception as error:
            report(f"{what} met an error of its own ({type(error).__name__}) and begins again.")
        await asyncio.sleep(again)
