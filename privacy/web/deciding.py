"""What people reported, for the operator, and the decision: the page of what `python -m privacy.reports` does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from chat.visitors.visitor import NotThere
from chat.web.operator import check_operator
from privacy.policy.words import words
from privacy.reports import NoSuchReport, Report, decide, open_reports
from privacy.web.desk import Body, Desk
from privacy.web.page import plain_page

LEAD = "A row that somebody named is hidden until you decide. You see what the report says, and nothing of the conversation."
DECISIONS = {"upheld": "Never share it again", "rejected": "It may be shared"}


class Decided(Body):
    report: str = Field(min_length=1, max_length=64)
    decision: Literal["upheld", "rejected"]


def router(desk: Desk, operators: Collection[str]) -> APIRouter:
    """`operators`: as in `chat.web.operator`."""
    routes = APIRouter()
    # A decision is a click: nobody else's page may stand above it.
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"frame-ancestors {desk.unframed.ancestors}",
    }

    @routes.get("/operator/reports", include_in_schema=False)
    async def as_page(request: Request) -> HTMLResponse:
        check_operator(request, operators)
        found = await desk.db.read(open_reports)
        items = "".join(map(_item, found))
        body = f"<p>{LEAD}</p><ol id='reports'>{items}</ol>" if found else "<p>Nothing is open.</p>"
        page = plain_page(words("en"), "Reports", f"{body}<p id='told' role='alert'></p>", script="decide.js")
        return HTMLResponse(page, headers=headers)

    @routes.get("/api/operator/reports")
    async def listed(request: Request) -> dict[str, Any]:
        check_operator(request, operators)
        return {"reports": [asdict(found) for found in await desk.db.read(open_reports)]}

    @routes.post("/api/operator/reports")
    async def decided(request: Request, said: Decided) -> dict[str, str]:
        check_operator(request, operators)
        now = desk.clock()
        try:
            await desk.db.write(lambda db: decide(db, said.report, said.decision, now))
        except NoSuchReport as error:
            raise NotThere(str(error)) from None
        desk.wake()
        return {"report": said.report, "state": said.decision}

    return routes


def _item(found: Report) -> str:
    day = datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%d %H:%M")
    about = f"row {found.row_id}, hidden" if found.row_id else "no row of ours"
    told = [("About", found.about), ("Reason", found.reason), ("Answer to", found.contact or "-")]
    said = "".join(f"<p><b>{name}:</b> {escape(text)}</p>" for name, text in told)
    buttons = "".join(
        f"<button type='button' data-report='{found.id}' data-decision='{name}'>{text}</button>"
        for name, text in DECISIONS.items()
    )
    return f"<li><p>{day} UTC · {about}</p>{said}<p class='actions start'>{buttons}</p></li>"
