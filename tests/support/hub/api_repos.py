"""Routes of whole repositories: create, delete, move, settings, information, refs, squashing."""

from __future__ import annotations

from typing import Any

import yaml
from starlette.responses import JSONResponse, Response

from . import access, git
from .accounts import object_id, stamp
from .api_buckets import move as move_bucket
from .cards import card_data, model_facts
from .repos import Kind, Repo, Settings, not_found
from .wire import Call, HubError, Redirect, Route, cursor, page

_PAGE = 100

# What the Hub puts into every new repository: these go to large-file storage whatever their size.
_LARGE = """
    *.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx
    *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz
    *.wasm *.xz *.zip *.zst *tfevents*
"""
_GIT_ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LARGE.split())


def create(call: Call) -> Response:
    body = call.json()
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    namespace = body.get("organization") or call.token.user.name
    access.check_namespace(call, namespace)
    kind: Kind = body.get("type") or "model"
    private = body.get("visibility", "private" if body.get("private") else "public") == "private"
    extra = {name: body[name] for name in ("sdk", "hardware") if body.get(name) is not None}
    settings = Settings(call.token.user.name, call.hub.clock(), private, extra=extra)
    repo = call.hub.repos.at(kind, f"{namespace}/{body.get('name')}")
    url = f"{call.hub.endpoint}/{repo.url_path}"
    # No other request may see the repository without its first commit.
    with repo.lock:
        try:
            call.hub.repos.create(kind, repo.id, settings)
        except HubError as taken:
            raise HubError(taken.status, taken.message, body={"url": url}) from None
        with repo.open() as repository:
            edit = git.TreeEdit(repository, None)
            edit.add(".gitattributes", _GIT_ATTRIBUTES.encode())
            author = git.signature(call.token.user.name, call.hub.clock())
            repository.create_commit("refs/heads/main", author, author, "initial commit", edit.write(), [])
    return JSONResponse({"url": url, "name": repo.id, "id": object_id(f"{kind}:{repo.id}")})


def delete(call: Call) -> Response:
    body = call.json()
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    namespace = body.get("organization") or call.token.user.name
    repo = access.named_for_writing(call, body.get("type") or "model", f"{namespace}/{body.get('name')}")
    call.hub.repos.delete(repo)
    return JSONResponse({})


def move(call: Call) -> Response:
    body = call.json()
    if body.get("type") == "bucket":
        return move_bucket(call)
    kind: Kind = body.get("type") or "model"
    try:
        repo = access.named_for_writing(call, kind, str(body.get("fromRepo")))
    except Redirect:
        raise not_found() from None  # a name that was given up is not moved again
    target = str(body.get("toRepo"))
    access.check_namespace(call, target.partition("/")[0])
    repo = call.hub.repos.move(repo, target)
    return JSONResponse({"url": f"{call.hub.endpoint}/{repo.url_path}"})


def change_settings(call: Call) -> Response:
    repo, body = access.for_writing(call), call.json()
    with repo.changed() as settings:
        if "visibility" in body or "private" in body:
            settings.private = body.get("visibility", "private" if body.get("private") else "public") == "private"
        if "gated" in body:
            if body["gated"] not in ("auto", "manual", False):
                raise HubError(400, '"gated" must be "auto", "manual" or false')
            settings.gated = body["gated"]
    return JSONResponse({"private": settings.private, "gated": settings.gated})


def info(call: Call) -> Response:
    repo = access.for_reading(call)
    wanted = call.query_list("expand")
    answer = _describe(repo, call.params.get("rev", "main"), call.flag("blobs"))
    if wanted:
        answer = {name: value for name, value in answer.items() if name in {"_id", "id", *wanted}}
    return JSONResponse(answer)


def _describe(repo: Repo, revision: str, blobs: bool) -> dict[str, Any]:
    settings = repo.settings()
    with repo.open() as repository:
        commit = git.commit_at(repository, revision)
        entries = [entry for entry in git.walk(repository, commit) if not entry.is_folder]
        card = card_data(repository, commit)
        facts = model_facts(repo, repository, commit) if repo.kind == "model" else {}
    answer = {
        **_summary(repo, settings, str(commit.id), commit.commit_time, card),
        "disabled": False,
        "cardData": card,
        "siblings": [_sibling(entry, blobs) for entry in entries],
        "usedStorage": sum(entry.pointer.size if entry.pointer else entry.size for entry in entries),
        **facts,
    }
    if repo.kind == "space":
        subdomain = repo.id.replace("/", "-").lower()
        answer |= {
            "sdk": settings.extra.get("sdk"),
            "subdomain": subdomain,
            "host": f"https://{subdomain}.hf.space",
            "models": [],
            "datasets": [],
        }
    return answer


def _summary(
    repo: Repo, settings: Settings, sha: str, changed_at: float, card: dict[str, Any] | None
) -> dict[str, Any]:
    answer = {
        "_id": object_id(f"{repo.kind}:{repo.id}"),
        "id": repo.id,
        "author": repo.namespace,
        "sha": sha,
        "createdAt": stamp(settings.created_at),
        "lastModified": stamp(changed_at),
        "private": settings.private,
        "gated": settings.gated,
        "downloads": 0,
        "likes": 0,
        "tags": [str(tag) for tag in (card or {}).get("tags") or []],
    }
    return {**answer, "modelId": repo.id} if repo.kind == "model" else answer


def _sibling(entry: git.Entry, blobs: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        answer |= {"size": entry.pointer.size if entry.pointer else entry.size, "blobId": entry.oid}
        if entry.pointer:
            answer["lfs"] = {
                "size": entry.pointer.size,
                "sha256": entry.pointer.oid,
                "pointerSize": entry.pointer.pointer_size,
            }
    return answer


def listing(call: Call) -> Response:
    """The repositories that the sender may read, by name."""
    kind = access.kind_of(call)
    author, search, after = call.query.get("author"), call.query.get("search", "").lower(), cursor(call)
    limit = int(call.query.get("limit", _PAGE))
    found = []
    for repo in call.hub.repos.all(kind):
        settings = repo.settings()
        wanted = repo.id > after and author in {None, repo.namespace} and search in repo.id.lower()
        if wanted and access.may_read(call.token, repo, settings):
            with repo.open() as repository:
                commit = git.commit_at(repository, "main")
            found.append(_summary(repo, settings, str(commit.id), commit.commit_time, None))
    return page(call, found[:limit], found[limit - 1]["id"] if len(found) > limit else None)


def auth_check(call: Call) -> Response:
    access.for_writing(call) if call.request.url.path.endswith("/write") else access.for_content(call)
    return JSONResponse({})


def refs(call: Call) -> Response:
    answer: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    folders = {"refs/heads/": "branches", "refs/convert/": "converts", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
    with access.for_reading(call).open() as repository:
        for name in repository.references:
            for folder, group in folders.items():
                if name.startswith(folder):
                    target = git.commit_at(repository, name).id
                    short = name.removeprefix("refs/pr/" if group == "pullRequests" else folder)
                    answer[group].append({"name": short, "ref": name, "targetCommit": str(target)})
    if not call.flag("include_prs"):
        del answer["pullRequests"]
    return JSONResponse(answer)


def create_ref(call: Call) -> Response:
    """A branch, or a tag of the revision in the path."""
    repo, body = access.for_writing(call), call.json()
    if "branch" in call.params:
        name, start = f"refs/heads/{call.params['branch']}", body.get("startingPoint", "main")
    else:
        name, start = f"refs/tags/{body.get('tag')}", call.params["rev"]
    with repo.open() as repository:
        if name in repository.references:
            raise HubError(409, f"Reference already exists: {name}")
        repository.references.create(name, git.commit_at(repository, start).id)
    return JSONResponse({"ref": name})


def delete_ref(call: Call) -> Response:
    repo = access.for_writing(call)
    name = f"refs/heads/{call.params['branch']}" if "branch" in call.params else f"refs/tags/{call.params['rev']}"
    if name == "refs/heads/main":
        raise HubError(403, "The branch main cannot be deleted.")
    with repo.open() as repository:
        if name not in repository.references:
            raise HubError(404, f"Reference does not exist: {name}", code="RevisionNotFound")
        repository.references.delete(name)
    return JSONResponse({})


def squash(call: Call) -> Response:
    repo, message = access.for_writing(call), call.json().get("message") or "Super-squash"
    assert call.token is not None  # for_writing
    with repo.open() as repository:
        author = git.signature(call.token.user.name, call.hub.clock())
        git.squash(repository, call.params["branch"], message, author)
        call.hub.prune(repo)
    return JSONResponse({})


def validate_yaml(call: Call) -> Response:
    content = str(call.json().get("content", ""))
    warning = {"message": "empty or missing yaml metadata in repo card"}
    if not content.startswith("---\n"):
        return JSONResponse({"errors": [], "warnings": [warning]})
    try:
        metadata = yaml.safe_load(content[4:].partition("\n---")[0])
    except yaml.YAMLError as error:
        return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
    if metadata is not None and not isinstance(metadata, dict):
        return JSONResponse({"errors": [{"message": "The metadata is not a mapping."}], "warnings": []}, 400)
    return JSONResponse({"errors": [], "warnings": [] if metadata else [warning]})


ROUTES: list[Route] = [
    ("POST", "/api/repos/create", create),
    ("DELETE", "/api/repos/delete", delete),
    ("POST", "/api/repos/move", move),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", "/api/{kind}", listing),
    ("GET", "/api/{kind}/{repo}", info),
    ("GET", "/api/{kind}/{repo}/revision/{rev}", info),
    ("PUT", "/api/{kind}/{repo}/settings", change_settings),
    ("GET", "/api/{kind}/{repo}/auth-check", auth_check),
    ("GET", "/api/{kind}/{repo}/auth-check/write", auth_check),
    ("GET", "/api/{kind}/{repo}/refs", refs),
    ("POST", "/api/{kind}/{repo}/branch/{branch}", create_ref),
    ("DELETE", "/api/{kind}/{repo}/branch/{branch}", delete_ref),
    ("POST", "/api/{kind}/{repo}/tag/{rev}", create_ref),
    ("DELETE", "/api/{kind}/{repo}/tag/{rev}", delete_ref),
    ("POST", "/api/{kind}/{repo}/super-squash/{branch}", squash),
]
