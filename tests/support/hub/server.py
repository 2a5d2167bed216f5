"""The loopback Hub: both ports in one thread, everything behind them in one object."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp

from tests.support.ports import free_port

from . import accounts, api_buckets, api_files, api_repos, community, git, lfs, oauth, xet
from .accounts import Accounts, Org, Role
from .buckets import Buckets
from .faults import FaultMiddleware, Faults, Logged
from .guard import Guard
from .limits import Limits
from .oauth import OAuth
from .repos import KINDS, Kind, Repo, Repos
from .wire import Router
from .xet import Uploads

_ROUTES = [
    route
    for concern in (accounts, oauth, api_buckets, api_repos, lfs, api_files, community)
    for route in concern.ROUTES
]


class LoopbackHub:
    """A server that speaks the Hugging Face Hub's protocol to its unmodified clients.

    root: the folder of the repositories; what is there already is served again.
    port: of the Hub; 0 takes a free one, which is kept when the Hub is stopped and started again. Files of large
        storage come from a second port.
    clock: unix seconds; decides times of commits, life of signed addresses and codes, and the commit quota.

    `squash_keeps_old`: after a squash, and after large files were deleted, old commits still answer by their id
        (and git still finds them); otherwise they are gone. Which of the two the real Hub does is its own affair.
    `limits`: the quota of commits and of requests; off at first.
    `guard`: the datasets that one caller alone may write to; always on, those of a Parley at first.
    `faults`, `requests`, `accounts`, `oauth`: see their classes.
    """

    def __init__(self, root: Path, port: int = 0, clock: Callable[[], float] = time.time, seed: int = 0) -> None:
        self.root = Path(root)
        self.clock = clock
        self.secret = secrets.token_bytes(32)
        self.accounts = Accounts(clock)
        self.oauth = OAuth(self.accounts, clock)
        self.repos = Repos(self.root, clock)
        self.buckets = Buckets(self.root, clock)
        self.uploads = Uploads()
        self.faults = Faults(seed)
        self.requests: list[Logged] = []
        self.squash_keeps_old = False
        self.limits = Limits(clock)
        self.guard = Guard()
        self._ports = [port, 0]
        self._servers: list[uvicorn.Server] = []
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def files_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    def start(self) -> LoopbackHub:
        """Serves until `stop`. Returns when both ports answer."""
        if self._thread is not None:
            raise RuntimeError("The loopback Hub is running already.")
        sockets = [_listen(port or free_port()) for port in self._ports]
        self._ports = [bound.getsockname()[1] for bound in sockets]
        apps = [Router(self, _ROUTES), Router(self, [*lfs.FILE_ROUTES, *xet.FILE_ROUTES], own_tokens=False)]
        self._servers = [self._server(app) for app in apps]
        self._thread = threading.Thread(target=self._serve, args=(sockets,), name="loopback-hub", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 60
        while not all(server.started for server in self._servers):
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("The loopback Hub did not start.")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Ends every connection and frees both ports. Repositories, users and tokens stay."""
        if self._thread is None:
            return
        for server in self._servers:
            server.should_exit = True
        self._thread.join()
        self._thread = None
        self._servers = []

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add_user(
        self,
        name: str,
        orgs: Iterable[Org | str] = (),
        token: str | None = None,
        role: Role = "write",
        is_pro: bool = False,
    ) -> str:
        """Adds a user, or changes one's organisations, and returns a new token of theirs (or the one given)."""
        self.accounts.add_user(name, orgs, is_pro)
        return self.add_token(name, role, token)

    def add_token(self, name: str, role: Role = "write", token: str | None = None) -> str:
        return self.accounts.add_token(name, role, token).value

    def revoke(self, token: str) -> None:
        self.accounts.revoke(token)

    def repo_path(self, repo_type: Kind, repo_id: str) -> Path:
        """The bare repository, for the git command."""
        return self.repos.path(repo_type, repo_id)

    def bucket_path(self, bucket_id: str) -> Path:
        """The folder of a bucket: its files' bytes are in `content/`, and nothing else is."""
        return self.buckets.path(bucket_id)

    def prune(self, repo: Repo) -> None:
        """Removes what no ref reaches any more, unless this Hub keeps old commits."""
        if not self.squash_keeps_old:
            with repo.lock:
                git.prune(repo.path)

    def reset(self) -> None:
        """Forgets repositories, faults, the log, every limit and switch; users and tokens stay."""
        for kind in KINDS.values():
            for repo in self.repos.all(kind):
                self.repos.delete(repo)
        for note in self.root.rglob("*.moved"):
            note.unlink()
        for bucket in self.buckets.all():
            self.buckets.delete(bucket)
        self.faults.clear()
        self.requests.clear()
        self.squash_keeps_old = False
        self.limits.clear()
        self.oauth.answer = None

    def _server(self, app: ASGIApp) -> uvicorn.Server:
        faulty = FaultMiddleware(app, self.faults, self.requests, self.revoke, lambda: server.server_state.connections)
        server = uvicorn.Server(
            uvicorn.Config(
                faulty,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=75,  # or a slow machine's client meets connections that were just closed
            )
        )
        return server

    def _serve(self, sockets: list[socket.socket]) -> None:
        async def both() -> None:
            await asyncio.gather(
                *(server.serve(sockets=[bound]) for server, bound in zip(self._servers, sockets, strict=True))
            )

        asyncio.run(both())


def _listen(port: int) -> socket.socket:
    # asyncio sends small packets at once only on sockets that say they are TCP; else each answer waits for 40 ms.
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
