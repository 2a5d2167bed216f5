"""The Privacy page: what is kept, who can read it, what is shared with whom, and every way back. The figures and lists are
filled in by `static/privacy.js` from the JSON routes; what is true of everybody is in the page itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from chat.web.page import assets_path
from chat.web.pages import Facts, others_html, page_html
from privacy import policy

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where conversations are kept. `dataset`: the private dataset, None for a folder of this machine; `folder`: for
    people, without a path. `custodian`: whose dataset it is."""

    dataset: str | None
    dataset_url: str | None = None
    custodian: str | None = None


def mount(
    app: FastAPI, facts: Facts, keeping: Keeping, models: Sequence[Mapping[str, Any]] = (), minimum_age: int = 18
) -> None:
    """Serve /privacy and its files. Included before chat's own pages, it takes the place of the plain one there.

    `models`: the entries of `/api/models`, for those that another host answers.
    """
    app.mount(privacy_assets(), _Files(directory=STATIC), name="privacy-static")
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    html = page_html(
        assets_path(), "Privacy", _body(facts, keeping, models, minimum_age), script="delete_all.js", head=_head()
    )

    @routes.get("/privacy")
    async def privacy_page() -> str:
        return html

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


def _head() -> str:
    # The page uses chat's modules by a name that does not change when they do.
    imports = json.dumps({"imports": {"chat/": f"{assets_path()}/"}})
    return (
        f'<script type="importmap">{imports}</script>'
        f'<link rel="stylesheet" href="{privacy_assets()}/privacy.css">'
        f'<script type="module" src="{privacy_assets()}/privacy.js"></script>'
    )


def _body(facts: Facts, keeping: Keeping, models: Sequence[Mapping[str, Any]], minimum_age: int) -> str:
    contact = f"<p>For questions about your rights: {escape(facts.contact)}.</p>" if facts.contact else ""
    newest = policy.VERSIONS[-1]
    return f"""
<p class="by">Last updated {max(facts.privacy_updated, newest.posted.isoformat())} · text {newest.number}, in force since {newest.effective}</p>
<p class="lead" id="summary" role="status">…</p>
<p id="saving" class="by"></p>

<section id="one" hidden>
<h2 id="one-title">This conversation</h2>
<p id="one-says" role="status"></p>
<div id="one-choice" role="group" aria-labelledby="one-title"></div>
<div id="one-rows"></div>
</section>

<h2 id="share">Share with the model's authors</h2>
<p>Who made a model learns from what people ask it. Off until you say yes, for each of them by name; a model you have not
used yet is not agreed to by using it. Saying no changes nothing about the answers.</p>
<p id="reason" class="reason" hidden></p>
<ul id="recipients" class="switches"></ul>

<h2 id="mine">My shared data</h2>
<p>Every row that left this page for a dataset, or is about to, as it stands there. What was replaced is <mark>marked</mark>.</p>
<p><button id="take-back" type="button" class="danger" hidden>Take back everything</button> <span id="taken" role="status"></span></p>
<ol id="rows"></ol>

<h2>What is kept</h2>
<p>Your conversations, their settings and their titles, so that you find them again. With sharing off they serve no other
purpose: no research, no training.</p>
{_kept_where(keeping)}
<p>Without an account, this browser alone has the key to them, in a cookie; they are deleted {facts.anonymous_days} days
after your last visit. If you sign in with Hugging Face, we keep your user name and the account's number there, no token.
The text of a conversation goes to the engine that answers it, and to no log.</p>

<h2>Who can read it</h2>
<p>You. The authors of a model, where you said yes above, and only the rows under “My shared data”. {_insiders(keeping)}</p>
<div id="others">{others_html(models)}</div>

<h2>Delete</h2>
<p>Each conversation in the list has a bin. Here you can delete all of them at once; it cannot be undone. What was shared of
them is taken back too.</p>
<p><button id="delete-all" type="button" class="danger">Delete all conversations</button> <span id="deleted" role="status"></span></p>

<h2>What cannot be recalled</h2>
<p>A row that is taken back leaves the dataset and its history, and its readers are told to remove it. Copies that others
already made, and models already trained on them, are out of our reach.</p>

<h2>Where this runs</h2>
<p>On a Hugging Face Space, the <a href="https://huggingface.co/privacy" target="_blank" rel="noopener noreferrer">privacy
policy of Hugging Face</a> holds as well. Sharing is for people of {minimum_age} years and older.</p>
{contact}

<dialog id="agree" aria-labelledby="agree-title">
<h2 id="agree-title"></h2>
<div id="agree-text" tabindex="0"></div>
<label class="check"><input id="agree-age" type="checkbox"> I am {minimum_age} or older.</label>
<p id="agree-problem" class="reason" role="alert" hidden></p>
<div class="actions"><button type="button" id="agree-no">Not now</button><button type="button" id="agree-yes" class="strong" disabled>Yes, share</button></div>
</dialog>
"""


def _kept_where(keeping: Keeping) -> str:
    if keeping.dataset is None:
        return "<p>They are in a database and a folder on this server, and nowhere else.</p>"
    name = escape(keeping.dataset)
    linked = (
        f'<a href="{escape(keeping.dataset_url)}" rel="noopener noreferrer">{name}</a>' if keeping.dataset_url else name
    )
    return (
        f"<p>They are in a database on this server and, within minutes, in the private dataset {linked} on Hugging Face, so that "
        "they outlive this machine.</p>"
    )


def _insiders(keeping: Keeping) -> str:
    whose = (
        f" and who has access to the account or organisation {escape(keeping.custodian)} on Hugging Face"
        if keeping.custodian
        else ""
    )
    also = ", and Hugging Face, which stores it" if keeping.dataset else ""
    return f"Technically, whoever runs this server{whose} could reach what is kept{also}; the app shows them no text."
