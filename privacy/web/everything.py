"""Everything of one visitor, as a ZIP file that is made while it is sent: conversations, what was agreed to, what was shared."""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from chat.visitors.asking import visitor_of
from chat.visitors.visitor import Visitor
from privacy.mine import shared_rows
from privacy.policy.words import Words
from privacy.web.desk import Desk
from privacy.web.language import spoken

# Every conversation of an owner with all its messages, one at a time, so that no more than one is in memory.
Conversations = Callable[[str], AsyncIterator[Mapping[str, Any]]]


def router(desk: Desk, conversations: Conversations) -> APIRouter:
    routes = APIRouter(prefix="/api/privacy")

    @routes.get("/everything.zip")
    async def everything(request: Request) -> StreamingResponse:
        """A ZIP file of all that is kept of whoever asks, and of nobody else."""
        visitor, say = visitor_of(request), spoken(request)
        await desk.check_whole(say)
        files = _files(desk, conversations, visitor, say)
        headers = {"Content-Disposition": 'attachment; filename="parley.zip"', "Cache-Control": "no-store"}
        return StreamingResponse(zipped(files, desk.clock()), media_type="application/zip", headers=headers)

    return routes


async def _files(
    desk: Desk, conversations: Conversations, visitor: Visitor, say: Words
) -> AsyncIterator[tuple[str, bytes]]:
    """Name and content, in the order in which they stand in the archive. Names tell nothing of what is in a file."""
    owner, account = visitor.owner, visitor.account
    yield "README.txt", say("zip_readme").encode()
    if account is not None:
        yield (
            "account.json",
            _json({"name": account.name, "hub_id": account.hub_id, "orgs": list(map(asdict, account.orgs))}),
        )
    number = 0
    async for conversation in conversations(owner):
        number += 1
        yield f"conversations/{number:06}.json", await asyncio.to_thread(_json, conversation)
    yield "consent.json", _json([asdict(event) for event in await desk.consent.events(owner)])
    rows = await desk.db.read(lambda db: shared_rows(db, owner))
    yield "shared.json", _json([asdict(row) for row in rows])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


class Tape:
    """Takes what an archive writes, which cannot go back on it, until it is taken away. It is no file of `io`: those close
    when nobody holds them any more, and an archive that was broken off writes its end even then."""

    def __init__(self) -> None:
        self._written = bytearray()

    def flush(self) -> None:
        """All of it is here."""

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def zipped(files: AsyncIterator[tuple[str, bytes]], now: float) -> AsyncIterator[bytes]:
    """The bytes of an archive of `files`, as they come. `now`: Unix seconds, the date of each."""
    tape, date = Tape(), time.gmtime(now)[:6]
    with zipfile.ZipFile(tape, "w") as archive:
        async for name, content in files:
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            await asyncio.to_thread(archive.writestr, entry, content)
            yield tape.take()
    yield tape.take()
