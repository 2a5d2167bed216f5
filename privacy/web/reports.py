"""The form with which anybody reports a shared row or a link, without an account. A row that it names is hidden at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from cachetools import TTLCache
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field
from starlette.responses import Response

from chat.visitors.asking import caller_of
from chat.visitors.visitor import Refused
from privacy.policy.words import Words, words
from privacy.reports import ABOUT, CONTACT, REASON, report
from privacy.web.desk import Body, Desk
from privacy.web.language import keep, language_of, spoken
from privacy.web.page import plain_page

AN_HOUR = 3600.0
PER_CALLER, IN_ALL = 5, 100  # reports in an hour


class TooMany(Refused):
    status, code = 429, "too_many"


class Incomplete(Refused):
    status, code = 422, "incomplete"


class NewReport(Body):
    """All three fields must be there; `contact` may be empty."""

    about: str = Field(max_length=ABOUT)
    reason: str = Field(max_length=REASON)
    contact: str = Field(max_length=CONTACT)


@dataclass(slots=True)
class Limit:
    """How many reports may come in an hour, from one caller and from all. `clock`: Unix seconds."""

    clock: Callable[[], float]
    _of: TTLCache[str, deque[float]] = field(init=False)
    _all: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._of = TTLCache(10_000, AN_HOUR, timer=self.clock)

    def spend(self, caller: str) -> bool:
        """Whether one more is taken."""
        now = self.clock()
        mine = self._of.get(caller, deque())
        for times in (mine, self._all):
            while times and times[0] <= now - AN_HOUR:
                times.popleft()
        if len(mine) >= PER_CALLER or len(self._all) >= IN_ALL:
            return False
        mine.append(now)
        self._all.append(now)
        self._of[caller] = mine
        return True


def router(desk: Desk, tell: Callable[[str], None], secure: bool = False) -> APIRouter:
    """`tell`: a sentence for the operator."""
    routes = APIRouter(include_in_schema=False)
    limit = Limit(desk.clock)

    @routes.get("/takedown")
    async def form(request: Request) -> Response:
        answer = HTMLResponse(_form(words(language_of(request))))
        keep(request, answer, secure)
        return answer

    @routes.post("/api/takedown")
    async def take(request: Request, said: NewReport) -> dict[str, Any]:
        """Anybody's report. What it says reaches the operator's list, and no log."""
        say = spoken(request)
        about, reason = said.about.strip(), said.reason.strip()
        if not about or not reason:
            raise Incomplete(say("report_again"))
        if not limit.spend(caller_of(request)):
            raise TooMany(say("report_too_many"))
        now = desk.clock()
        found = await desk.db.write(lambda db: report(db, about, reason, said.contact.strip(), now))
        hidden = found.row_id is not None
        if hidden:
            desk.wake()
        tell(
            "Somebody reported a shared row or a link. Read it on /operator/decisions, or: python -m privacy.reports DATA_DIR"
        )
        return {"report": found.id, "hidden": hidden, "sentence": say("report_hidden" if hidden else "report_taken")}

    return routes


def _form(say: Words) -> str:
    def said(key: str) -> str:
        return escape(say(key))

    body = f"""
<p>{said("report_lead")}</p>
<form id="report">
<label for="about">{said("report_what")}</label><input id="about" required maxlength="{ABOUT}" autocomplete="off">
<label for="reason">{said("report_why")}</label><textarea id="reason" required maxlength="{REASON}" rows="5"></textarea>
<label for="contact">{said("report_contact")}</label><input id="contact" maxlength="{CONTACT}" autocomplete="email">
<p class="actions start"><button type="submit" class="strong">{said("report_send")}</button></p>
</form>
<p id="told" role="status"></p>
"""
    return plain_page(say, say("takedown"), body, script="report.js")
