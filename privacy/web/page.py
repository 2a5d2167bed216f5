"""The Privacy page and the terms, in the visitor's language: what is kept, who can read it, what is shared with whom, and
every way back. The figures and lists are filled in by `static/` from the JSON routes; what is true of everybody stands in
the page itself, from the texts of `privacy/policy`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from chat.web.page import assets_path
from chat.web.pages import page_html
from privacy import policy
from privacy.measured import measured_text
from privacy.policy.words import LANGUAGES, Words, words
from privacy.web.framed import Unframed
from privacy.web.language import keep, language_of

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pages stand. `models`: the entries of `/api/models`, for those that another host answers. `secure`: served
    over https. `dataset_url`: of the private dataset."""

    house: policy.House
    models: Sequence[Mapping[str, Any]] = ()
    dataset_url: str | None = None
    secure: bool = False


def mount(app: FastAPI, place: Place, unframed: Unframed) -> None:
    """Serve /privacy, /terms and their files. Included before chat's own pages, it takes the place of the plain one there."""
    app.mount(privacy_assets(), _Files(directory=STATIC), name="privacy-static")
    routes = APIRouter(include_in_schema=False)
    made: dict[tuple[str, str, str], str] = {}

    def answer(request: Request, name: str) -> HTMLResponse:
        """The page as it reads today: a text that takes effect changes it without a restart."""
        language = language_of(request)
        key = (name, language, policy.in_force().number)
        if key not in made:
            make = {"privacy": _privacy, "terms": _terms}[name]
            made[key] = make(place, words(language))
        response = HTMLResponse(made[key])
        keep(request, response, place.secure)
        return response

    @routes.get("/privacy")
    async def privacy_page(request: Request) -> Response:
        return answer(request, "privacy")

    @routes.get("/terms")
    async def terms_page(request: Request) -> Response:
        return answer(request, "terms")

    @routes.get("/privacy/unframed")
    async def unframed_page(request: Request) -> Response:
        return unframed.page(request)

    app.include_router(routes)


def privacy_assets() -> str:
    """Where the page's files are served; the version is a hash of them."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"/static/privacy/{digest.hexdigest()[:12]}"


class _Files(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def plain_page(say: Words, title: str, body: str, script: str | None = None) -> str:
    """A page of this part of the app, with the switch of languages on top. `script`: a module in `static/`."""
    # The page uses chat's modules by a name that does not change when they do.
    imports = json.dumps({"imports": {"chat/": f"{assets_path()}/"}})
    head = (
        f'<script type="importmap">{imports}</script>'
        f'<link rel="stylesheet" href="{privacy_assets()}/privacy.css">'
        f'<script type="application/json" id="words">{_for_script(dict(say.table))}</script>'
    )
    head += f'<script type="module" src="{privacy_assets()}/{script}"></script>' if script else ""
    switch = " · ".join(
        f'<b aria-current="true">{name}</b>'
        if tag == say.language
        else f'<a href="?lang={tag}" hreflang="{tag}" lang="{tag}">{name}</a>'
        for tag, name in LANGUAGES.items()
    )
    languages = f'<p class="languages" role="group" aria-label="{escape(say("language"))}">{switch}</p>'
    names = (say("models"), say("privacy"), say("about"))
    return page_html(assets_path(), title, languages + body, head=head, language=say.language, names=names)


def _for_script(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def markdown(text: str) -> str:
    """Our own texts as HTML; what is HTML in a value stays text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)


def dates(say: Words, today: date | None = None) -> str:
    """Since when which text is in force, and which one follows."""
    text = policy.in_force(today)
    said = say("dates", updated=say.day(text.posted), version=text.number, effective=say.day(text.effective))
    for later in policy.VERSIONS[policy.VERSIONS.index(text) + 1 :]:
        said += " " + say("dates_later", posted=say.day(later.posted), effective=say.day(later.effective))
    return said


def _privacy(place: Place, say: Words) -> str:
    house = replace(place.house, measured=measured_text(say))
    if house.dataset and place.dataset_url:
        house = replace(house, dataset=f"[{house.dataset}]({place.dataset_url})")
    text = policy.for_everybody(say.language, house, "privacy")
    return plain_page(say, say("privacy"), _body(place, say, markdown(text.text)), script="privacy.js")


def _terms(place: Place, say: Words) -> str:
    text = policy.for_everybody(say.language, place.house, "terms")
    return plain_page(say, say("terms"), f'<p class="by">{escape(dates(say))}</p>\n{markdown(text.text)}')


def _others(models: Sequence[Mapping[str, Any]], say: Words) -> str:
    """Which models answer on another host, which therefore reads what they are asked; "" where none does."""
    items = "".join(
        f"<li>{escape(say('others_item', model=model['label'], host=model['answered_by']))}</li>"
        for model in models
        if model.get("answered_by")
    )
    return f"<p>{escape(say('others_lead'))}</p><ul>{items}</ul>" if items else ""


def _body(place: Place, say: Words, prose: str) -> str:
    def said(key: str, n: int | None = None) -> str:
        return escape(say(key, n))

    return f"""
<p class="by">{escape(dates(say))}</p>
<p class="lead" id="summary" role="status">…</p>
<p id="saving" class="by"></p>
<p id="held-up" class="reason" hidden>{said("sharing_problem")}</p>

<section id="one" hidden>
<h2 id="one-title">{said("this_conversation")}</h2>
<p id="one-says" role="status"></p>
<div id="one-choice" role="group" aria-labelledby="one-title"></div>
<div id="one-rows"></div>
</section>

<h2 id="share">{said("share_heading")}</h2>
<p>{said("share_lead")}</p>
<p id="reason" class="reason" hidden></p>
<ul id="recipients" class="switches"></ul>

<h2 id="mine">{said("mine_heading")}</h2>
<p>{said("mine_lead")}</p>
<p class="actions start"><button id="pause" type="button" hidden>{said("pause")}</button>
<button id="take-back" type="button" class="danger" hidden>{said("take_back_all")}</button></p>
<p><span id="taken" role="status"></span></p>
<ol id="rows"></ol>

<h2 id="yours">{said("yours_heading")}</h2>
<p>{said("yours_lead")}</p>
<p class="actions start"><a id="download" class="button" href="/api/privacy/everything.zip?lang={say.language}" download>{said("download")}</a>
<button id="delete-all" type="button" class="danger" disabled>{said("delete_all")}</button>
<button id="close-account" type="button" class="danger" hidden>{said("close_account")}</button></p>
<p id="deleted" role="status"></p>

<div id="others">{_others(place.models, say)}</div>
{prose}
<p><a href="/terms">{said("see_terms")}</a> <a href="/takedown">{said("report_it")}</a></p>

<dialog id="agree" aria-labelledby="agree-title">
<h2 id="agree-title"></h2>
<div id="agree-text" tabindex="0"></div>
<p id="agree-sensitive" class="warn" hidden>{said("sensitive")}</p>
<label id="agree-thought-label" class="check" hidden><input id="agree-thought" type="checkbox"> {said("affirm_sensitive")}</label>
<label class="check"><input id="agree-age" type="checkbox"> {said("affirm_age", place.house.minimum_age)}</label>
<label id="agree-own-label" class="check" hidden><input id="agree-own" type="checkbox"> {said("affirm_own")}</label>
<p id="agree-problem" class="reason" role="alert" hidden></p>
<div class="actions"><button type="button" id="agree-no">{said("not_now")}</button><button type="button" id="agree-yes" class="strong" disabled>{said("yes_share")}</button></div>
</dialog>
"""
