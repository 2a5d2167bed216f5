"""The chat page: Gradio Blocks, whose settings are Gradio's widgets and whose thread, list, box and model picker are
`gr.HTML` pieces driven by the modules in `static/`. The pieces talk to the JSON routes; no Gradio event leaves the browser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat.conversation import RANGES

STATIC = Path(__file__).parent / "static"

# Gradio compiles the templates of `gr.HTML` in the browser: hence 'unsafe-eval'. Model text never enters a template.
CSP = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    ]
)

HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)

TITLE = "Parley"
TRUTH = "You are talking to an AI; it may be wrong."
READERS = "Only you can read this conversation."

_LABELS = {
    "temperature": "Temperature",
    "top_p": "Top-p",
    "top_k": "Top-k",
    "max_tokens": "Max tokens",
    "repetition_penalty": "Repetition penalty",
    "seed": "Seed",
}


def build(*, extra: Callable[[], None] | None = None, readers_url: str | None = None) -> gr.Blocks:
    """The page. `extra` is called inside the Blocks, to register named endpoints (`gr.api`) of other modules.

    `readers_url`: a route that says who will read a conversation, for the line under the box; None: nobody else ever does.
    """
    talk = TALK.replace("data-readers", f'data-readers="{readers_url}"') if readers_url else TALK
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_height=True) as blocks:
        with gr.Column(elem_id="parley"):
            _piece("p-side", SIDE)
            _piece("p-talk", talk)
            with gr.Column(elem_id="p-settings"):
                _settings()
            _piece("p-dialogs", DIALOGS)
        if extra:
            extra()
    return blocks


def mount(app: FastAPI, blocks: gr.Blocks, **options: Any) -> FastAPI:
    """Serve the page at `/` of `app`, with its files at an address that changes when they do.

    Routes that `app` has by now win over Gradio's. `options` go to `gr.mount_gradio_app`.
    """
    app.mount(assets_path(), _Files(directory=STATIC), name="parley-static")
    head = (
        f'<link rel="stylesheet" href="{assets_path()}/parley.css">'
        f'<script type="module" src="{assets_path()}/main.js"></script>'
    )
    defaults: dict[str, Any] = {
        "theme": gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "head": head,
        "css": FIRST_PAINT,
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "enable_monitoring": False,
        "show_error": False,
        "favicon_path": str(STATIC / "icon.png"),
    }
    return gr.mount_gradio_app(app, blocks, path="/", **{**defaults, **options})


def assets_path() -> str:
    """Where the page's files are served. The version is a hash of them, so browsers may keep them for ever."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"/static/parley/{digest.hexdigest()[:12]}"


class Headers:
    """ASGI middleware: what every answer tells the browser about where it may fetch from, and what it may pass on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self.app(scope, receive, send_on)


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def _piece(elem_id: str, html: str) -> gr.HTML:
    return gr.HTML(html_template=html, elem_id=elem_id, apply_default_css=False, js_on_load=None)


def _settings() -> None:
    """The panel's widgets. They report to the browser's own module and are set by it; the server is not asked."""
    _piece("p-settings-head", SETTINGS_HEAD)
    prompt = gr.Textbox(
        label="System prompt",
        info="What the model is told before the conversation. Sent with every message; nobody else sees it.",
        placeholder="You are a patient teacher …",
        lines=3,
        max_lines=12,
        elem_id="p-system-prompt",
    )
    widgets = {"system_prompt": prompt, **{name: _widget(name) for name in RANGES}}
    for name, widget in widgets.items():
        report = f"(value) => {{ window.parley?.settings?.changed('{name}', value); }}"
        widget.input(None, inputs=[widget], outputs=None, js=report, api_visibility="private", queue=False)
    reset = gr.Button("Back to this model's defaults", elem_id="p-reset", size="sm")
    reset.click(
        None, None, None, js="() => { window.parley?.settings?.reset(); }", api_visibility="private", queue=False
    )
    bridge = gr.HTML(html_template="<span></span>", elem_id="p-bridge", js_on_load=BRIDGE, apply_default_css=False)
    bridge.submit(
        None,
        inputs=None,
        outputs=list(widgets.values()),
        js="() => window.parley.settings.values()",
        api_visibility="private",
        queue=False,
    )


def _widget(name: str) -> gr.Slider | gr.Number:
    allowed = RANGES[name]
    common: dict[str, Any] = {"label": _LABELS[name], "info": allowed.help, "elem_id": f"p-{name.replace('_', '-')}"}
    if allowed.default is None:
        return gr.Number(
            value=None, minimum=allowed.low, maximum=allowed.high, precision=0, placeholder="a new one each time", **common
        )
    return gr.Slider(
        allowed.low, allowed.high, value=allowed.default, step=allowed.step, buttons=[], **common
    )


# Until the style sheet is there, a blank page in the right colour rather than an unstyled one.
FIRST_PAINT = """
footer { display: none !important; }
#parley { visibility: var(--p-loaded, hidden); }
"""

BRIDGE = """
window.parley = window.parley || {};
window.parley.bridge = () => trigger('submit');
window.parley.settings?.tell();
"""

SIDE = """
<div id="p-shade"></div>
<nav id="p-nav" aria-label="Conversations">
  <div class="top">
    <a class="brand" href="/"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 11a7.5 7.5 0 0 1 15 0 7.5 7.5 0 0 1-7.5 7.5H4.6l1.2-2.7A7.5 7.5 0 0 1 4 11z"/><path class="eye" d="M8.6 11h.01M14.4 11h.01"/></svg>Parley</a>
    <button id="p-new" class="plain" type="button">New chat</button>
  </div>
  <div id="p-conversations"></div>
  <button id="p-more" class="link" type="button" hidden>Show older conversations</button>
  <div class="foot">
    <a id="p-open-models" href="/models">Models</a>
    <a href="/privacy">Privacy</a>
    <a href="/about">About</a>
    <div class="row"><span id="p-account"></span><button id="p-theme" class="bare" type="button" aria-label="Dark colours"></button></div>
  </div>
</nav>
"""

TALK = f"""
<div id="p-main">
  <header>
    <button id="p-menu" class="bare" type="button" aria-label="Conversations" aria-expanded="false" aria-controls="p-nav"><span data-icon="menu"></span></button>
    <h1 id="p-title" dir="auto">New chat</h1>
    <button id="p-new-phone" class="bare" type="button" aria-label="New chat" title="New chat"><span data-icon="plus"></span></button>
    <button id="p-open-settings" class="bare" type="button" aria-label="Settings" title="Settings" aria-expanded="false" aria-controls="p-settings"><span data-icon="sliders"></span></button>
  </header>
  <div id="p-bars"></div>
  <div id="p-scroll" tabindex="-1">
    <div class="lines">
      <button id="p-earlier" class="plain" type="button" hidden>Show earlier messages</button>
      <div id="p-start" hidden><p class="hello">What would you like to talk about?</p><div id="p-start-card"></div></div>
      <ol id="p-thread" aria-label="Messages"></ol>
    </div>
  </div>
  <div id="p-composer">
    <button id="p-down" class="bare" type="button" aria-label="Go to the newest message" hidden><span data-icon="down"></span></button>
    <p id="p-problem" role="alert" hidden></p>
    <p id="p-engine" role="status" hidden></p>
    <div class="box">
      <textarea id="p-prompt" rows="1" aria-label="Message" placeholder="Ask anything" dir="auto" autocomplete="off"></textarea>
      <button id="p-send" type="button" aria-label="Send" disabled></button>
    </div>
    <div class="under">
      <button id="p-model" class="bare" type="button" aria-haspopup="dialog"><span class="unseen">Model: </span><span id="p-model-name">…</span><span data-icon="chevron"></span></button>
      <span class="readers" id="p-readers" data-readers><span data-icon="lock"></span><span id="p-readers-say">{READERS}</span> <button id="p-take-back" class="link" type="button" hidden>Keep private</button></span>
    </div>
    <p class="truth">{TRUTH}</p>
  </div>
</div>
"""

SETTINGS_HEAD = """
<div class="head"><h2>Settings</h2><button id="p-close-settings" class="bare" type="button" aria-label="Close the settings"><span data-icon="close"></span></button></div>
<p>They hold for this conversation, from your next message on.</p>
"""

DIALOGS = """
<dialog id="p-models" aria-labelledby="p-models-title">
  <div class="head"><h2 id="p-models-title">Models</h2><button class="bare" type="button" data-close aria-label="Close"><span data-icon="close"></span></button></div>
  <p class="hint">The choice holds from your next message on. <a href="/models">More about them</a></p>
  <input id="p-models-filter" type="search" aria-label="Find a model" placeholder="Find a model" hidden>
  <ul id="p-models-list"></ul>
</dialog>
<dialog id="p-confirm" aria-labelledby="p-confirm-title"></dialog>
<div id="p-announce" class="unseen" role="status" aria-live="polite"></div>
"""
