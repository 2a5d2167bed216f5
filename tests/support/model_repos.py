"""A few model repositories behind the Hub's own HTTP interface, as far as a look-up of models uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class ModelRepos:
    """`info`: what `/api/models/{id}` answers; `files`: by "id/path"; `gated`: ids whose files need `token`.

    `answer`: given instead of everything else; `silent`: no answer at all. `requests`: (path, authorization) seen.
    """

    info: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_reader"
    answer: Response | None = None
    silent: bool = False
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, repo: str, info: dict[str, Any] | None = None, **files: str) -> None:
        """A repository; the keys of `files` are names with "__" for a dot."""
        named = {name.replace("__", "."): text for name, text in files.items()}
        siblings = [{"rfilename": name} for name in named]
        self.info[repo] = {"id": repo, "sha": SHA, "siblings": siblings, "tags": [], **(info or {})}
        self.files |= {f"{repo}/{name}": text for name, text in named.items()}

    async def __call__(self, request: Request) -> Response:
        path = request.url.path
        self.requests.append((path, request.headers.get("authorization")))
        if self.silent:
            await asyncio.sleep(30)
        if self.answer is not None:
            return self.answer
        if path.startswith("/api/models/"):
            return self._info(path.removeprefix("/api/models/"))
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        sha, _, name = rest.partition("/")
        if repo in self.gated and request.headers.get("authorization") != f"Bearer {self.token}":
            return _error(401, "GatedRepo", "Access to this model is restricted.")
        text = self.files.get(f"{repo}/{name}") if sha == SHA else None
        return PlainTextResponse(text) if text is not None else _error(404, "EntryNotFound", "Entry not found")

    def _info(self, path: str) -> Response:
        repo, _, revision = path.partition("/revision/")
        if repo not in self.info:
            return _error(401, "RepoNotFound", "Repository not found")
        if revision not in ("", "main", "v2", SHA):
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return JSONResponse(self.info[repo])


def _error(status: int, code: str, message: str) -> Response:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return JSONResponse({"error": message}, status_code=status, headers=headers)


@contextmanager
def serving(repos: ModelRepos) -> Iterator[ModelRepos]:
    """Serve `repos` on a free port of the loopback address."""
    app = Starlette(routes=[Route("/{path:path}", repos.__call__, methods=["GET", "HEAD"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    repos.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield repos
    finally:
        server.should_exit = True
        thread.join()
