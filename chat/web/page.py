"""The chat page: Gradio Blocks, whose settings are Gradio's widgets and whose thread, list, box and model picker are
`gr.HTML` pieces driven by the modules in `static/`. The pieces talk to the JSON routes; no Gradio event leaves the
browser.
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
from chat.web.blocks import Blocks
from chat.web.feedback import feedback_form

STATIC = Path(__file__).parent / "static"
PIECES = Path(__file__).parent / "pieces"

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

LABELS = {
    "temperature": "Temperature",
    "top_p": "Top-p",
    "top_k": "Top-k",
    "max_tokens": "Max tokens",
    "repetition_penalty": "Repetition penalty",
    "seed": "Seed",
}


def build(*, extra: Callable[[], None] | None = None, readers_url: str = "") -> gr.Blocks:
    """The page. `extra` is called inside the Blocks, to register named endpoints (`gr.api`) of other modules.

    `readers_url`: a route that says who will read a conversation, for the line under the box; empty: its owner alone.
    """
    with Blocks(title=TITLE, analytics_enabled=False, fill_height=True) as blocks:
        with gr.Column(elem_id="parley"):
            _piece("p-side", "side")
            _piece("p-talk", "talk", readers=readers_url, feedback=feedback_form())
            with gr.Column(elem_id="p-settings"):
                _settings()
            _piece("p-dialogs", "dialogs")
        if extra:
            extra()
    return blocks


def mount(app: FastAPI, blocks: gr.Blocks, **options: Any) -> FastAPI:
    """Serve the page at `/` of `app`, with its files at an address that changes when they do.

    Routes that `app` has by now win over Gradio's, whose own app is returned. `options` go to `gr.mount_gradio_app`.
    """
    app.mount(assets_path(), _Files(directory=STATIC), name="parley-static")
    head = (
        f'<link rel="stylesheet" href="{assets_path()}/parley.css">'
        f'<link rel="stylesheet" href="{assets_path()}/lists.css">'
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
    gr.mount_gradio_app(app, blocks, path="/", **{**defaults, **options})
    return app.routes[-1].app


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


def _piece(elem_id: str, name: str, **filled: str) -> gr.HTML:
    """The frame of one part of the page, from `pieces/`; what is in it comes from the modules in `static/`."""
    html = (PIECES / f"{name}.html").read_text()
    for mark, text in {"truth": TRUTH, **filled}.items():
        html = html.replace(f"[[{mark}]]", text)
    return gr.HTML(html_template=html, elem_id=elem_id, apply_default_css=False, js_on_load=None)


def _settings() -> None:
    """The panel's widgets. The browser's own module reads them as they change and sets them through `bridge`, an event
    that Gradio runs in the browser; the server is not asked."""
    _piece("p-settings-head", "settings")
    prompt = gr.Textbox(
        label="System prompt",
        info="What the model is told before the conversation. Sent with every message; nobody else sees it.",
        placeholder="You are a patient teacher …",
        lines=3,
        max_lines=12,
        elem_id="p-system-prompt",
        interactive=True,
    )
    widgets = {"system_prompt": prompt, **{name: _widget(name) for name in RANGES}}
    reset = gr.Button("Back to this model's defaults", elem_id="p-reset", size="sm")
    _piece("p-own", "own_defaults")
    reset.click(None, None, None, js="() => { window.parley?.settings?.reset(); }", **_IN_THE_BROWSER)
    bridge = gr.HTML(html_template="<span></span>", elem_id="p-bridge", js_on_load=BRIDGE, apply_default_css=False)
    bridge.submit(
        None,
        inputs=None,
        outputs=list(widgets.values()),
        js="() => window.parley.settings.values()",
        **_IN_THE_BROWSER,
    )


# Gradio's default drops an event that comes while another one of its kind is under way.
_IN_THE_BROWSER: dict[str, Any] = {"api_visibility": "private", "queue": False, "trigger_mode": "multiple"}


def _widget(name: str) -> gr.Slider | gr.Number:
    allowed = RANGES[name]
    common: dict[str, Any] = {
        "label": LABELS[name],
        "info": allowed.help,
        "elem_id": f"p-{name.replace('_', '-')}",
        "interactive": True,
    }
    if allowed.default is None:
        common["placeholder"] = "a new one each time"
        return gr.Number(value=None, minimum=allowed.low, maximum=allowed.high, precision=0, **common)
    return gr.Slider(allowed.low, allowed.high, value=allowed.default, step=allowed.step, buttons=[], **common)


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
