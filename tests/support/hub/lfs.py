"""Large files: the batch call, uploads and downloads on the second port, listing, deleting for good.

Both directions go through addresses that are signed and expire, as on the Hub: whoever has one needs no token.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, JSONResponse, Response

from . import access, git
from .accounts import stamp
from .repos import Repo
from .wire import Call, HubError, Route, cursor, page

_LIFETIME = 3600  # seconds for which a signed address answers
_PAGE = 1000


def signed_url(call: Call, method: str, repo: Repo, oid: str) -> str:
    expires = int(call.hub.clock()) + _LIFETIME
    path = f"/lfs/{repo.kind}s/{repo.id}/{oid}"
    return f"{call.hub.files_endpoint}{path}?expires={expires}&signature={_sign(call, method, path, expires)}"


def _sign(call: Call, method: str, path: str, expires: int) -> str:
    return hmac.new(call.hub.secret, f"{method} {path} {expires}".encode(), hashlib.sha256).hexdigest()


def _signed_file(call: Call, method: str) -> tuple[Repo, Path]:
    path, query = call.request.scope["raw_path"].decode(), call.query
    expires = int(query.get("expires", "0")) if query.get("expires", "0").isdecimal() else 0
    right = hmac.compare_digest(query.get("signature", ""), _sign(call, method, path, expires))
    if not right or expires < call.hub.clock():
        raise HubError(403, "The address has expired or its signature does not match.")
    repo = call.hub.repos.find(access.kind_of(call), call.params["repo"])
    if repo is None:
        raise HubError(404, "No such file.")
    return repo, repo.large_file(call.params["oid"])


def batch(call: Call) -> Response:
    body = call.json()
    upload = body.get("operation") == "upload"
    repo = access.for_writing(call) if upload else access.for_content(call)
    objects = [_instructions(call, repo, upload, wanted) for wanted in body.get("objects", [])]
    return JSONResponse(
        {"transfer": "basic", "objects": objects, "hash_algo": "sha256"},
        media_type="application/vnd.git-lfs+json",
    )


def _instructions(call: Call, repo: Repo, upload: bool, wanted: dict[str, Any]) -> dict[str, Any]:
    oid, answer = wanted["oid"], {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
    exists = repo.large_file(oid).is_file()
    if not upload:
        if not exists:
            return {**answer, "error": {"code": 404, "message": "Object does not exist"}}
        return {**answer, "actions": {"download": {"href": signed_url(call, "GET", repo, oid)}}}
    if exists:
        return answer  # no actions: nothing to upload
    verify = f"{call.hub.endpoint}/api/{repo.kind}s/{repo.id}/lfs/verify"
    return {
        **answer,
        "actions": {
            "upload": {"href": signed_url(call, "PUT", repo, oid), "header": {}},
            "verify": {"href": verify, "header": {}},
        },
    }


def put(call: Call) -> Response:
    repo, path = _signed_file(call, "PUT")
    if hashlib.sha256(call.body).hexdigest() != call.params["oid"]:
        raise HubError(400, "The content does not have this sha256.")
    with repo.changed() as settings:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(call.body)
        partial.replace(path)
        settings.large.setdefault(
            call.params["oid"],
            {
                "filename": call.params["oid"],  # until a commit gives it a name
                "oid": call.params["oid"],
                "size": len(call.body),
                "ref": None,
                "pushedAt": stamp(call.hub.clock()),
            },
        )
    return Response(headers={"ETag": f'"{call.params["oid"]}"'})


def get(call: Call) -> Response:
    _, path = _signed_file(call, "GET")
    if not path.is_file():
        raise HubError(404, "No such file.")
    return FileResponse(path, media_type="application/octet-stream", headers={"ETag": f'"{call.params["oid"]}"'})


def verify(call: Call) -> Response:
    body = call.json()
    path = access.for_writing(call).large_file(str(body.get("oid")))
    if not path.is_file() or path.stat().st_size != body.get("size"):
        raise HubError(404, "The object was not uploaded completely.")
    return JSONResponse({"success": True})


def listing(call: Call) -> Response:
    """Everything stored, in use or not: what no commit reaches any more, or never did, is listed too."""
    large = access.for_writing(call).settings().large
    after = cursor(call)
    oids = sorted(oid for oid in large if oid > after)
    items = [{"fileOid": oid, **large[oid]} for oid in oids[:_PAGE]]
    return page(call, items, oids[_PAGE - 1] if len(oids) > _PAGE else None)


def delete(call: Call) -> Response:
    repo = access.for_writing(call)
    deletions = call.json().get("deletions", {})
    doomed = set(deletions.get("sha", []))
    with repo.changed() as settings, repo.open() as repository:
        if deletions.get("rewriteHistory", True):

            def keep(blob: Any) -> bool:
                pointer = git.lfs_pointer(blob)
                return pointer is None or pointer.oid not in doomed

            git.rewrite(repository, keep)
        for oid in doomed:
            repo.large_file(oid).unlink(missing_ok=True)
            settings.large.pop(oid, None)
    call.hub.prune(repo)
    return JSONResponse({"success": True})


ROUTES: list[Route] = [
    ("POST", "/{repo}\\.git/info/lfs/objects/batch", batch),
    ("POST", "/{prefix}/{repo}\\.git/info/lfs/objects/batch", batch),
    ("POST", "/api/{kind}/{repo}/lfs/verify", verify),
    ("GET", "/api/{kind}/{repo}/lfs-files", listing),
    ("POST", "/api/{kind}/{repo}/lfs-files/batch", delete),
]
FILE_ROUTES: list[Route] = [
    ("GET", "/lfs/{kind}/{repo}/{oid}", get),
    ("PUT", "/lfs/{kind}/{repo}/{oid}", put),
]
