"""What waits for the operator, and the decision by a click: the page of what `python -m privacy.reports` and
`python -m privacy.confirm` do, for those who have no shell on the machine."""

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
from privacy.notes import HELD, confirm_held, note
from privacy.policy.words import words
from privacy.reports import NoSuchReport, Report, decide, open_reports
from privacy.web.desk import Body, Desk
from privacy.web.page import plain_page

REPORTS = "A row that somebody named is hidden until you decide. You see what the report says, and nothing of the conversation."
HELD_BACK = (
    "{} rows would be taken back, and no withdrawal, deletion or change explains it. They stay, and nothing new is shared, until"
    " you have looked: is everything here that was kept?"
)
DECISIONS = {"upheld": "Never share it again", "rejected": "It may be shared"}


class Decided(Body):
    report: str = Field(min_length=1, max_length=64)
    decision: Literal["upheld", "rejected"]


class Confirmed(Body):
    """As many rows as the page said."""

    rows: int


def router(desk: Desk, operators: Collection[str]) -> APIRouter:
    """`operators`: as in `chat.web.operator`."""
    routes = APIRouter()
    # A decision is a click: nobody else's page may stand above it.
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"frame-ancestors {desk.unframed.ancestors}",
    }

    async def waiting() -> tuple[list[Report], int | None]:
        reports, held = await desk.db.read(lambda db: (open_reports(db), note(db, HELD)))
        return reports, held and int(held)

    @routes.get("/operator/decisions", include_in_schema=False)
    async def as_page(request: Request) -> HTMLResponse:
        check_operator(request, operators)
        body = _page(*await waiting())
        return HTMLResponse(plain_page(words("en"), "To decide", body, script="decide.js"), headers=headers)

    @routes.get("/api/operator/decisions")
    async def as_json(request: Request) -> dict[str, Any]:
        check_operator(request, operators)
        reports, held = await waiting()
        return {"reports": list(map(asdict, reports)), "held": held}

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

    @routes.post("/api/operator/confirm")
    async def confirmed(request: Request, said: Confirmed) -> dict[str, int]:
        check_operator(request, operators)
        if not await desk.db.write(lambda db: note(db, HELD) == str(said.rows) and confirm_held(db)):
            raise NotThere(f"{said.rows} rows are not what is held back now. Look again.")
        desk.wake()
        return {"rows": said.rows}

    return routes


def _page(reports: list[Report], held: int | None) -> str:
    parts = []
    if held is not None:
        button = f"<button type='button' data-route='confirm' data-body='{{\"rows\": {held}}}'>Let them leave</button>"
        parts.append(f"<section><p>{HELD_BACK.format(held)}</p><p class='actions start'>{button}</p></section>")
    if reports:
        parts.append(f"<p>{REPORTS}</p><ol id='reports'>{''.join(map(_item, reports))}</ol>")
    return "".join(parts or ["<p>Nothing waits for you.</p>"]) + "<p id='told' role='alert'></p>"


def _item(found: Report) -> str:
    day = datetime.fromtimestamp(found.at, UTC).strftime("%Y-%m-%d %H:%M")
    about = f"row {found.row_id}, hidden" if found.row_id else "no row of ours"
    told = [("About", found.about), ("Reason", found.reason), ("Answer to", found.contact or "-")]
    said = "".join(f"<p><b>{name}:</b> {escape(text)}</p>" for name, text in told)
    buttons = "".join(
        f'<button type=\'button\' data-route=\'reports\' data-body=\'{{"report": "{found.id}", "decision": "{name}"}}\'>'
        f"{text}</button>"
        for name, text in DECISIONS.items()
    )
    return f"<li><p>{day} UTC · {about}</p>{said}<p class='actions start'>{buttons}</p></li>"
