"""The plain pages beside the chat: what the models are, how this works, what is kept. They are read without scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from chat.conversation import RANGES
from chat.web.page import LABELS, TITLE, TRUTH, assets_path

ModelList = Callable[[], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pages say about this installation. `None` leaves the sentence out."""

    code_url: str | None = None
    discussions_url: str | None = None
    contact: str | None = None
    anonymous_days: int = 30
    privacy_updated: str = "2026-11-21"


def router(models: ModelList, facts: Facts) -> APIRouter:
    """`/models`, `/about` and `/privacy`. `models` gives the entries of `/api/models`."""
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    assets = assets_path()

    @routes.get("/models")
    async def models_page() -> str:
        entries = "".join(_model(model) for model in models())
        intro = "<p>What you may pick here, and who made it.</p>"
        return page_html(assets, "Models", f"{intro}<ul class='entries'>{entries}</ul>")

    @routes.get("/about")
    async def about_page() -> str:
        return page_html(assets, "About", _about(facts))

    @routes.get("/privacy")
    async def privacy_page() -> str:
        return page_html(assets, "Privacy", _privacy(facts, models()), script="delete_all.js")

    return routes


def page_html(
    assets: str,
    title: str,
    body: str,
    script: str | None = None,
    head: str = "",
    language: str = "en",
    names: tuple[str, str, str] = ("Models", "Privacy", "About"),
) -> str:
    """A plain page around `body`. `script`: a module of chat's own; `head`: more for the head, as HTML. `names`: what the
    plain pages are called in `language`."""
    models, privacy, about = map(escape, names)
    module = f'<script type="module" src="{assets}/{script}"></script>' if script else ""
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · {TITLE}</title>
<link rel="stylesheet" href="{assets}/pages.css">
<link rel="icon" href="{assets}/icon.png">
<script type="module" src="{assets}/pages.js"></script>
{module}
{head}
</head>
<body>
<header>
<a href="/">{TITLE}</a>
<nav><a href="/models">{models}</a> <a href="/privacy">{privacy}</a> <a href="/about">{about}</a></nav>
</header>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def _model(model: Mapping[str, Any]) -> str:
    memory = f"{model['memory_gib']:,.3g} GiB of memory" if model.get("memory_gib") else None
    context = f"{model['context']:,} tokens of context" if model.get("context") else None
    host = f"answered by {model['answered_by']}" if model.get("answered_by") else None
    facts = [model.get("author"), memory, context, model.get("licence"), host]
    kinds = [
        f"{kind.capitalize()}: {', '.join(words)}" for kind, words in (model.get("categories") or {}).items() if words
    ]
    training = f"<p>Trained on: {escape(str(model['training_data']))}</p>" if model.get("training_data") else ""
    links = [_link("Model card", model.get("card_url")), _link("Website", model.get("website"))]
    reason = escape(str(model.get("reason") or ""))
    state = "" if model["available"] else f"<p class='reason'>Not available here: {reason}</p>"
    talk = f"<a href='/?model={escape(str(model['name']), quote=True)}'>Talk to it</a>" if model["available"] else ""
    return (
        f"<li><h2>{escape(str(model['label']))}</h2>"
        f"<p class='by'>{escape(' · '.join(str(fact) for fact in facts if fact))}</p>"
        f"<p>{escape(str(model.get('description') or ''))}</p>{training}{state}"
        f"<p class='by'>{escape(' · '.join(kinds))}</p>"
        f"<p class='links'>{' '.join(part for part in [*links, talk] if part)}</p></li>"
    )


def _link(text: str, address: str | None) -> str:
    if not address or not address.startswith(("http://", "https://")):
        return ""
    return f'<a href="{escape(address, quote=True)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'


def _about(facts: Facts) -> str:
    settings = "".join(
        f"<dt>{escape(LABELS[name])}</dt><dd>{escape(limits.help)} From {limits.low:g} to {limits.high:g}.</dd>"
        for name, limits in RANGES.items()
    )
    code = f"<p>{_link('The code', facts.code_url)} {_link('Discussions and feedback', facts.discussions_url)}</p>"
    return f"""
<p>{TITLE} is a chat page for open models. {TRUTH}</p>
<h2>How it works</h2>
<p>Your message goes to this app. It keeps it, and hands the conversation to an engine (vLLM, on this machine unless
the model's entry says otherwise), which writes the answer piece by piece. The answer is written on the server: you
may reload the page or close it and find the answer when you are back.</p>
<p><strong>Stop</strong> frees the engine at once and keeps exactly the text that was shown.</p>
<h2>The settings of an answer</h2>
<p>Behind the sliders icon, at the top right of the chat. They belong to the conversation and are sent with each
message.</p>
<dl>{settings}</dl>
<h2>Have your own</h2>
<p>On this Space's page on Hugging Face, open the three-dot menu and choose “Duplicate this Space”. You choose the
models, the terms and the look.</p>
{code}
"""


def others_html(models: Sequence[Mapping[str, Any]]) -> str:
    """Which models answer on another host, which therefore reads what they are asked, as HTML; "" where none does."""
    items = "".join(
        f"<li>{escape(str(model['label']))}: only you, and {escape(str(model['answered_by']))}, which answers.</li>"
        for model in models
        if model.get("answered_by")
    )
    return (
        f"<p>Some models do not run here. Whoever runs them reads what you ask them:</p><ul>{items}</ul>"
        if items
        else ""
    )


def _privacy(facts: Facts, models: Sequence[Mapping[str, Any]]) -> str:
    others = others_html(models)
    if others:
        lead, readers = (
            "Only you can read your conversations, and where a model runs elsewhere, the host that answers.",
            "",
        )
    else:
        lead, readers = "Only you can read your conversations.", ", or with anyone else"
    contact = f"<p>For questions about your rights: {escape(facts.contact)}.</p>" if facts.contact else ""
    return f"""
<p class="by">Last updated {escape(facts.privacy_updated)}</p>
<p class="lead">{lead}</p>
<h2>What is kept</h2>
<p>Your conversations, their settings and their titles, in a database on the server of this app, so that you find them
again. They serve no other purpose: no research, no training.</p>
<p>Without an account, this browser alone has the key to them, in a cookie; they are deleted {facts.anonymous_days}
days after your last visit. If you sign in with Hugging Face, we keep your user name and the account's number there,
no token.</p>
<h2>Who can read it</h2>
<p>You. Nothing is shared with the authors of a model{readers}. Whoever runs this server could technically
reach its disk; the app shows them no text.</p>
{others}
<p>The text of a conversation goes to the engine that answers it, and to no log.</p>
<h2>Delete</h2>
<p>Each conversation in the list has a bin. Here you can delete all of them at once. For ten
seconds either can be undone.</p>
<p><button id="delete-all" type="button">Delete all conversations</button> <span id="deleted" role="status"></span></p>
<h2>Where this runs</h2>
<p>On a Hugging Face Space, the
{_link("privacy policy of Hugging Face", "https://huggingface.co/privacy")} holds as well.</p>
{contact}
"""
