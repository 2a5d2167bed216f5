"""Datasets that one caller alone may write to: whoever else tries is refused, whatever their token allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from starlette.requests import Request

from .wire import HubError

_NAMED_BY_PATH = re.compile(r"/(?:api/)?datasets/(?P<id>[^/]+/[^/]+?)(?:\.git)?(?P<rest>/.*)?")
# What asks although it is a POST, and who asks to be let through a gate or is answered.
_ASKS = re.compile(r"/paths-info/.*|/ask-access|/user-access-request/handle")


class Guard:
    """`datasets`: what the whole id of a guarded dataset matches, those of a Parley with the default `SHARE_PREFIX`.

    `caller`: how the one that may write names itself, as a part of the header `User-Agent`. Everything else that changes
    such a dataset is answered 403: its files, history, references, large files, name, settings, discussions and being there.
    Only requests for access may be made and answered by others: they change nothing in it.
    """

    def __init__(self, datasets: str = r"[^/]+/parley-.+", caller: str = "parley-sharing-push") -> None:
        self.datasets = re.compile(datasets)
        self.caller = caller
        self._lifted = 0

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Meanwhile anybody whose token allows it may write: an operator by hand, or whoever has stolen the token."""
        self._lifted += 1
        try:
            yield
        finally:
            self._lifted -= 1

    def check(self, request: Request, path: str, body: bytes, user: str) -> None:
        """Raises 403 for what would change a guarded dataset and is not the caller's. `user`: whose token it comes with."""
        if self._lifted or self.caller in request.headers.get("user-agent", "").split("; "):
            return
        for id in _to_be_changed(request, path, body, user):
            if self.datasets.fullmatch(id):
                raise HubError(403, f"Only {self.caller} may write to {id}.")


def _to_be_changed(request: Request, path: str, body: bytes, user: str) -> list[str]:
    """The ids of the datasets that the request would change."""
    pushes = request.query_params.get("service") == "git-receive-pack"  # with this question `git push` begins
    if request.method in ("GET", "HEAD") and not pushes:
        return []
    if path.startswith("/api/repos/"):
        return _named_by(_object(body), user)
    found = _NAMED_BY_PATH.fullmatch(path)
    if found is None or _ASKS.fullmatch(found["rest"] or "") or _downloads(path, body):
        return []
    return [unquote(found["id"])]


def _downloads(path: str, body: bytes) -> bool:
    return path.endswith(".git/info/lfs/objects/batch") and _object(body).get("operation") == "download"


def _named_by(body: dict[str, object], user: str) -> list[str]:
    """What the body of a request to create, delete or move names."""
    if body.get("type") != "dataset":
        return []
    moved = [str(body[name]) for name in ("fromRepo", "toRepo") if name in body]
    return moved or [f"{body.get('organization') or user}/{body.get('name')}"]


def _object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
