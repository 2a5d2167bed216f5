"""Routes of storage buckets. Their bytes go through `xet.py`."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse, Response

from . import access
from .accounts import Token, stamp
from .buckets import Bucket, State
from .wire import Call, HubError, Route, cursor, page
from .xet import token_answer

_PAGE = 1000


def _may_read(token: Token | None, bucket: Bucket, state: State) -> bool:
    return not state.private or (token is not None and token.can_read(bucket.namespace))


def _for_reading(call: Call) -> Bucket:
    return _visible(call, call.params["repo"])


def _for_writing(call: Call) -> Bucket:
    bucket = _for_reading(call)
    access.check_namespace(call, bucket.namespace)
    return bucket


def _visible(call: Call, bucket_id: str) -> Bucket:
    """One that is private does not exist for those who may not read it."""
    bucket = call.hub.buckets.find(bucket_id)
    if bucket is None or not _may_read(call.token, bucket, bucket.state()):
        raise access.hidden(call, "Bucket not found")
    return bucket


def _namespace(call: Call) -> str:
    if call.params["namespace"] != "me":
        return call.params["namespace"]
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    return call.token.user.name


def create(call: Call) -> Response:
    namespace, body = _namespace(call), call.json()
    access.check_namespace(call, namespace)
    bucket_id = f"{namespace}/{call.params['name']}"
    url = f"{call.hub.endpoint}/buckets/{bucket_id}"
    try:
        call.hub.buckets.create(bucket_id, body.get("visibility") == "private")
    except HubError as taken:
        raise HubError(taken.status, taken.message, body={"url": url}) from None
    return JSONResponse({"url": url, "name": bucket_id})


def info(call: Call) -> Response:
    bucket = _for_reading(call)
    return JSONResponse(_describe(bucket, bucket.state()))


def _describe(bucket: Bucket, state: State) -> dict[str, Any]:
    return {
        "id": bucket.id,
        "private": state.private,
        "createdAt": stamp(state.created_at),
        "size": sum(file["size"] for file in state.files.values()),
        "totalFiles": len(state.files),
    }


def listing(call: Call) -> Response:
    search = call.query.get("search", "").lower()
    found = [(bucket, bucket.state()) for bucket in call.hub.buckets.all(_namespace(call))]
    seen = [_describe(*one) for one in found if search in one[0].id.lower() and _may_read(call.token, *one)]
    return page(call, seen, None)


def delete(call: Call) -> Response:
    call.hub.buckets.delete(_for_writing(call))
    return JSONResponse({})


def move(call: Call) -> Response:
    """A move names kinds in its body; this is the one of buckets."""
    body = call.json()
    bucket = _visible(call, str(body.get("fromRepo")))
    for namespace in (bucket.namespace, str(body.get("toRepo")).partition("/")[0]):
        access.check_namespace(call, namespace)
    moved = call.hub.buckets.move(bucket, str(body.get("toRepo")))
    return JSONResponse({"url": f"{call.hub.endpoint}/buckets/{moved.id}"})


def change_settings(call: Call) -> Response:
    with _for_writing(call).changed() as state:
        state.private = bool(call.json().get("private"))
    return JSONResponse({"private": state.private})


def tree(call: Call) -> Response:
    """The files whose path begins with the prefix, letter by letter; folders stand for what is deeper."""
    files = _for_reading(call).state().files
    prefix, after = call.params.get("rest", ""), cursor(call)
    depth = prefix.rpartition("/")[0].count("/") + ("/" in prefix)
    items = {}
    for path, file in files.items():
        if path.startswith(prefix):
            parts = path.split("/")
            if call.flag("recursive") or len(parts) == depth + 1:
                items[path] = {"type": "file", "path": path, **file}
            else:
                folder = "/".join(parts[: depth + 1])
                items[folder] = {"type": "directory", "path": folder, "uploadedAt": file["uploadedAt"]}
    names = sorted(name for name in items if name > after)
    following = names[_PAGE - 1] if len(names) > _PAGE else None
    return page(call, [items[name] for name in names[:_PAGE]], following)


def paths_info(call: Call) -> Response:
    files = _for_reading(call).state().files
    wanted = call.json().get("paths", [])
    return JSONResponse([{"type": "file", "path": path, **files[path]} for path in wanted if path in files])


def batch(call: Call) -> Response:
    """Not a transaction: what can be done is done, and the report names the rest. The last word on a path counts."""
    bucket, failed = _for_writing(call), []
    operations = _operations(call)
    with bucket.changed() as state:
        for operation in operations:
            problem = _apply(call, bucket, state, operation)
            if problem is not None:
                failed.append({"path": str(operation.get("path")), "error": problem})
    done = len(operations) - len(failed)
    report = {"success": not failed, "processed": len(operations), "succeeded": done, "failed": failed}
    return JSONResponse(report, 422 if failed and not done else 200)


def _operations(call: Call) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in call.body.splitlines() if line.strip()]
    except ValueError:
        raise HubError(400, "The body is not a list of operations, one JSON object a line.") from None


def _apply(call: Call, bucket: Bucket, state: State, operation: dict[str, Any]) -> str | None:
    """What is wrong with the operation; None once it is applied. Deleting what is not there is no error."""
    path = str(operation.get("path", ""))
    if not path or path.startswith("/") or ".." in path.split("/"):
        return "Invalid path"
    if operation.get("type") == "deleteFile":
        state.files.pop(path, None)
        return None
    name = str(operation.get("xetHash"))
    if operation.get("type") == "addFile":
        content = call.hub.uploads.content(name)
    elif operation.get("type") == "copyFile":
        content = _elsewhere(call, operation, name)
    else:
        return "Unknown operation"
    stored = bucket.content(name)
    if content is None and not stored.is_file():
        return "Content not found"
    if not stored.is_file():
        partial = stored.with_suffix(".partial")
        partial.write_bytes(content or b"")
        partial.replace(stored)
    state.files[path] = {
        "size": stored.stat().st_size,
        "xetHash": name,
        "mtime": stamp(operation.get("mtime", call.hub.clock() * 1000) / 1000),
        "uploadedAt": stamp(call.hub.clock()),
    }
    if "contentType" in operation:
        state.files[path]["contentType"] = operation["contentType"]
    return None


def _elsewhere(call: Call, operation: dict[str, Any], name: str) -> bytes | None:
    if operation.get("sourceRepoType") != "bucket":
        return None
    stored = _visible(call, str(operation.get("sourceRepoId"))).content(name)
    return stored.read_bytes() if stored.is_file() else None


def resolve(call: Call) -> Response:
    bucket, path = _for_reading(call), call.params["rest"]
    file = bucket.state().files.get(path)
    if file is None:
        raise HubError(404, f"{path} does not exist in the bucket.", code="EntryNotFound")
    headers = {
        "X-Xet-Hash": file["xetHash"],
        "X-Xet-Refresh-Route": f"{call.hub.endpoint}/api/buckets/{bucket.id}/xet-read-token",
        "X-Linked-Size": str(file["size"]),
        "ETag": f'"{file["xetHash"]}"',
    }
    return Response(bucket.content(file["xetHash"]).read_bytes(), headers=headers)


def write_token(call: Call) -> Response:
    return token_answer(call, _for_writing(call), "write")


def read_token(call: Call) -> Response:
    return token_answer(call, _for_reading(call), "read")


ROUTES: list[Route] = [
    ("GET", "/api/buckets/{namespace}", listing),
    ("POST", "/api/buckets/{namespace}/{name}", create),
    ("GET", "/api/buckets/{repo}", info),
    ("DELETE", "/api/buckets/{repo}", delete),
    ("PUT", "/api/buckets/{repo}/settings", change_settings),
    ("GET", "/api/buckets/{repo}/tree", tree),
    ("GET", "/api/buckets/{repo}/tree/{rest}", tree),
    ("POST", "/api/buckets/{repo}/paths-info", paths_info),
    ("POST", "/api/buckets/{repo}/batch", batch),
    ("GET", "/api/buckets/{repo}/xet-write-token", write_token),
    ("GET", "/api/buckets/{repo}/xet-read-token", read_token),
    ("GET", "/buckets/{repo}/resolve/{rest}", resolve),
]
