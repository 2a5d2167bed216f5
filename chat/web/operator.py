"""What the operator is shown: how far everything is kept. Counts, times and sentences with what to do, never text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from chat.visitors.asking import visitor_of
from chat.visitors.visitor import Forbidden, account_of
from chat.web.page import assets_path
from chat.web.pages import page_html

NOT_YOURS = "This is for the operator. If that is you, add your user name, or an organisation of yours, to the variable OPERATORS."
FAILURES = {
    "conflict": "somebody else wrote first",
    "doubtful": "no clear answer; looked up and made once",
    "unreachable": "the Hub was not there",
    "quota": "the quota was used up",
    "denied": "refused; see the problem above",
    "own": "an error of this app",
}
ROWS = {  # by state
    "quarantined": "Rows held back",
    "publish": "Waiting to be shared",
    "published": "Shared",
    "retract": "Being taken back",
    "retracted": "Taken back",
}


def router(figures: Callable[[], Awaitable[Mapping[str, Any]]], operators: Collection[str]) -> APIRouter:
    """`/api/operator` and `/operator`. `operators`: users and organisations of the Hub, in lower case."""
    routes = APIRouter()
    assets = assets_path()

    @routes.get("/api/operator")
    async def as_json(request: Request) -> JSONResponse:
        check_operator(request, operators)
        return JSONResponse(dict(await figures()), headers={"Cache-Control": "no-store"})

    @routes.get("/operator", include_in_schema=False)
    async def as_page(request: Request) -> HTMLResponse:
        check_operator(request, operators)
        return HTMLResponse(
            page_html(assets, "Operator", _page(await figures())), headers={"Cache-Control": "no-store"}
        )

    return routes


def check_operator(request: Request, operators: Collection[str]) -> None:
    """Raise where whoever asks is not the operator. `operators`: as in `router`."""
    account = account_of(visitor_of(request))
    names = {account.name.lower(), *(org.name.lower() for org in account.orgs)}
    if not names & set(operators):
        raise Forbidden(NOT_YOURS)


def _page(found: Mapping[str, Any]) -> str:
    saved, safe = found["saved"], found["safe"]
    shared = found["shared"]
    access = found["access"]
    problems = [saved["problem"], safe and safe["problem"], *shared["problems"], *access["problems"]]
    told = "".join(f"<p class='reason'>{escape(text)}</p>" for text in dict.fromkeys(problems) if text)
    place = "the private dataset" if found["outlives_the_machine"] else "a folder of this machine, lost with it"
    rows = [
        ("Saved in", f"{found['where']} ({place})"),
        ("Not saved yet", saved["backlog"]),
        ("Oldest of that", _seconds(saved["oldest"])),
        ("Commits left now", "no limit" if saved["commits_left"] is None else saved["commits_left"]),
        ("Everything restored", "yes" if saved["restored"] and (safe is None or safe["restored"]) else "not yet"),
        *_failures(saved["failures"], "Saving"),
    ]
    if safe is None:
        rows.append(("Write-ahead objects", "none: WAL_BUCKET is not set, so the newest minute is on this disk alone"))
    else:
        rows += [
            ("Write-ahead objects in", found["bucket"]),
            ("Not safe yet", safe["backlog"]),
            ("Oldest of that", _seconds(safe["oldest"])),
            ("Objects", safe["objects"]),
            *_failures(safe["failures"], "Write-ahead"),
        ]
    tables = f"{_table(rows)}<h2>What is shared</h2>{_shared(shared['datasets'], access['readers'])}"
    waiting = (
        f"<p><a href='/operator/decisions'>To decide: {shared['decisions']}</a></p>" if shared["decisions"] else ""
    )
    return f"{told or '<p>All is well.</p>'}{waiting}<h2>How conversations are kept</h2>{tables}"


def _table(rows: Sequence[tuple[str, object]]) -> str:
    cells = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows
    )
    return f"<table class='facts'>{cells}</table>"


def _shared(datasets: Sequence[Mapping[str, Any]], readers: Mapping[str, Sequence[str] | None]) -> str:
    """How many rows of each sharing dataset are in which state, and who was let in."""
    tables = [
        f"<h3>{escape(dataset['id'])}</h3>"
        + _table(
            [*((name, dataset[state]) for state, name in ROWS.items()), ("Let in", _names(readers.get(dataset["id"])))]
        )
        for dataset in datasets
    ]
    return "".join(tables) or "<p>Nothing, so far.</p>"


def _names(names: Sequence[str] | None) -> str:
    return "not known" if names is None else ", ".join(names) or "nobody"


def _failures(failures: Mapping[str, int], what: str) -> list[tuple[str, str]]:
    return [(f"{what}: {FAILURES.get(kind, kind)}", f"{count} times") for kind, count in sorted(failures.items())]


def _seconds(seconds: float) -> str:
    return "-" if not seconds else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
