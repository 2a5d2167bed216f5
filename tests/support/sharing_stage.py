"""The app as people start it, with a Hub on this machine, two models by two authors, and visitors who sign in there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.app_process import AppProcess, free_port
from tests.support.hub import LoopbackHub
from tests.support.hub.accounts import Org
from tests.support.scripted_engine import ScriptedEngine

MODELS = """
default: acme/small
models:
  - {{name: acme/small, label: Small, kind: openai, base_url: "{url}", author: acme}}
  - {{name: lab/large, label: Large, kind: openai, base_url: "{url}", author: lab}}
  - {{name: nameless, label: Nameless, kind: openai, base_url: "{url}"}}
"""


class SharingStage:
    """`visitor(name)` is a browser signed in as `name` (None: nobody). `environ`: what the app was started with."""

    def __init__(
        self, app: AppProcess, hub: LoopbackHub, environ: Mapping[str, str], engine: ScriptedEngine | None = None
    ) -> None:
        self.app, self.hub, self.url, self.environ, self.engine = app, hub, app.url, environ, engine

    @contextmanager
    def visitor(self, name: str | None, orgs: Sequence[Org] = ()) -> Iterator[Person]:
        # What the page of a Space says, before which stands a server that speaks https.
        origin = self.url.replace("http:", "https:") if self.environ.get("SPACE_ID") else self.url
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", "X-Parley": "1"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            client.event_hooks["response"].append(lambda _: _without_https(client.cookies))
            if name is not None:
                self.hub.add_user(name, orgs)
                self.hub.oauth.answer = name
                back = httpx.get(client.get("/login").headers["location"])
                callback = httpx.URL(back.headers["location"]).copy_with(scheme="http")
                assert client.get(callback).status_code == 303
            yield Person(client)


def _without_https(cookies: httpx.Cookies) -> None:
    """A Space's cookies are for https alone; a browser takes 127.0.0.1 for as good, and so does this."""
    for cookie in cookies.jar:
        cookie.secure = False


class Person:
    """Somebody at the page, as its scripts speak for them."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def get(self, path: str, **query: str) -> Any:
        answer = self.client.get(f"/api/privacy/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.client.post(f"/api/privacy/{path}", json=body)

    def say(
        self, text: str, model: str = "acme/small", conversation: str | None = None, system_prompt: str | None = None
    ) -> str:
        """One turn, to its end; the id of its conversation."""
        turn = {"text": text, "model": model, "conversation": conversation, "system_prompt": system_prompt}
        sent = self.client.post("/api/turns", json=turn).json()
        with self.client.stream("GET", f"/api/answers/{sent['answer']['id']}/live") as live:
            assert '"done"' in "".join(live.iter_text())
        return sent["conversation"]["id"]

    def state(self, recipient: str) -> str:
        return next(found["state"] for found in self.get("state")["recipients"] if found["name"] == recipient)

    def agreement(self, recipient: str = "acme") -> dict[str, Any]:
        """All that a yes to `recipient` must say."""
        state = self.get("state")
        text = next(found["policy"] for found in state["recipients"] if found["name"] == recipient)
        return {
            "recipient": recipient,
            "policy_version": text["version"],
            "policy_hash": text["sha256"],
            "language": text["language"],
            "age_affirmed": True,
            "purposes": state["purposes"],
            "unframed": self.unframed(),
        }

    def unframed(self) -> str:
        """The token of a page that nobody covers, as the page's hidden frame gets it."""
        shown = self.client.get("/privacy/unframed", headers={"Sec-Fetch-Dest": "iframe"})
        return shown.text.split('data-token="')[1].split('"')[0]

    def grant(self, recipient: str = "acme") -> None:
        self.wait_for(lambda: self.get("state")["known"])
        answer = self.post("grant", self.agreement(recipient))
        assert answer.json() == {"recipient": recipient, "state": "granted"}, answer.text

    def wait_for(self, is_so: Callable[[], Any], seconds: float = 180.0) -> Any:
        until = time.monotonic() + seconds
        while not (found := is_so()):
            assert time.monotonic() < until, "It did not come to be."
            time.sleep(0.1)
        return found


@contextmanager
def sharing_stage(folder: Path, **variables: str) -> Iterator[SharingStage]:
    """The Hub and the app, up; `variables` of the app go before those here."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    with LoopbackHub(folder / "hub") as hub, ScriptedEngine() as engine:
        hub.oauth.add_client(
            "parley", "secret", [f"{scheme}://127.0.0.1:{port}/login/callback" for scheme in ("http", "https")]
        )
        models = folder / "models.yaml"
        models.write_text(MODELS.format(url=engine.url))
        environ = {
            "MODELS_FILE": str(models),
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.add_user("host"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "STORE_DATASET": "host/kept",
            "SHARE_NAMESPACE": "host",
            "SYNC_SECONDS": "1",
            "COMMITS_PER_HOUR": "100000",  # a visitor a second, not a minute
            "SHARE_HOURS": ",".join(map(str, range(24))) if variables.get("QUIET_HOURS") != "0" else "",
            "OAUTH_CLIENT_ID": "parley",
            "OAUTH_CLIENT_SECRET": "secret",
            **variables,
        }
        with AppProcess(folder / "data", port=port, **environ) as app:
            yield SharingStage(app, hub, environ, engine)
