"""Routes of what is inside a repository: listings, uploads, commits, downloads."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

import pygit2
from pygit2.enums import SortMode
from starlette.responses import JSONResponse, Response

from . import access, git
from .accounts import stamp
from .community import open_discussion
from .lfs import signed_url
from .repos import Repo
from .wire import Call, HubError, Route, cursor, page, ranged

_TREE_PAGE = 1000
_EXPANDED_TREE_PAGE = 50
_COMMIT_PAGE = 50
_PREUPLOAD_FILES = 256
_REGULAR_LIMIT = 10_000_000  # bytes; larger files go to large-file storage


def tree(call: Call) -> Response:
    expand = call.flag("expand")
    size = _EXPANDED_TREE_PAGE if expand else _TREE_PAGE
    items: list[git.Entry] = []
    with access.for_reading(call).open() as repository:
        commit = git.commit_at(repository, call.params["rev"])
        folder = call.params.get("rest", "")
        for entry in git.walk(repository, commit, folder, call.flag("recursive"), cursor(call)):
            items.append(entry)
            if len(items) > size:
                break
        shown = items[:size]
        described = _described(repository, commit, shown, expand)
    return page(call, described, shown[-1].key if len(items) > size else None)


def paths_info(call: Call) -> Response:
    form = call.form()
    expand = str(form.get("expand", ["false"])[0]).lower() in {"true", "1"}
    found = []
    with access.for_reading(call).open() as repository:
        commit = git.commit_at(repository, call.params["rev"])
        for path in form.get("paths", []):
            try:
                found.append(git.entry_at(repository, commit, path.rstrip("/")))
            except HubError:
                continue  # a path that does not exist is left out, without an error
        described = _described(repository, commit, [entry for entry in found if entry.path], expand)
    return JSONResponse(described)


def _described(
    repository: pygit2.Repository, commit: pygit2.Commit, entries: list[git.Entry], expand: bool
) -> list[dict[str, Any]]:
    changes = git.last_commits(repository, commit, [entry.path for entry in entries]) if expand else {}
    answer = []
    for entry in entries:
        item: dict[str, Any] = {
            "type": "directory" if entry.is_folder else "file",
            "oid": entry.oid,
            "path": entry.path,
            "size": entry.pointer.size if entry.pointer else entry.size,
        }
        if entry.pointer:
            pointer = entry.pointer
            item["lfs"] = {"oid": pointer.oid, "size": pointer.size, "pointerSize": pointer.pointer_size}
        if entry.path in changes:
            change = changes[entry.path]
            title = change.message.partition("\n")[0]
            item["lastCommit"] = {"id": str(change.id), "title": title, "date": stamp(change.commit_time)}
        answer.append(item)
    return answer


def commits(call: Call) -> Response:
    with access.for_reading(call).open() as repository:
        head = git.commit_at(repository, call.params["rev"])
        history = list(repository.walk(head.id, SortMode.TOPOLOGICAL))
        first = int(cursor(call) or 0)
        items = [_commit(found) for found in history[first : first + _COMMIT_PAGE]]
    following = first + _COMMIT_PAGE
    response = page(call, items, str(following) if following < len(history) else None)
    response.headers["X-Total-Count"] = str(len(history))
    return response


def _commit(commit: pygit2.Commit) -> dict[str, Any]:
    title, _, message = commit.message.partition("\n\n")
    return {
        "id": str(commit.id),
        "title": title,
        "message": message,
        "authors": [{"user": commit.author.name}],
        "date": stamp(commit.commit_time),
    }


def preupload(call: Call) -> Response:
    repo = access.for_reading(call) if call.flag("create_pr") else access.for_writing(call)
    files = call.json().get("files", [])
    if len(files) > _PREUPLOAD_FILES:
        raise HubError(400, f"At most {_PREUPLOAD_FILES} files a call.")
    with repo.open() as repository:
        commit = git.commit_at(repository, call.params["rev"])
        patterns = _large_patterns(repository, commit)
        answer = []
        for file in files:
            try:
                entry = git.entry_at(repository, commit, file["path"])
            except HubError:
                entry = None
            answer.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if _is_large(file, patterns) else "regular",
                    "shouldIgnore": False,
                    "oid": None if entry is None else entry.pointer.oid if entry.pointer else entry.oid,
                }
            )
    return JSONResponse({"files": answer, "commitOid": str(commit.id)})


def _large_patterns(repository: pygit2.Repository, commit: pygit2.Commit) -> list[str]:
    if ".gitattributes" not in commit.tree:
        return []
    lines = commit.tree[".gitattributes"].data.decode(errors="replace").splitlines()
    return [line.split()[0] for line in lines if "filter=lfs" in line and not line.startswith("#")]


def _is_large(file: dict[str, Any], patterns: list[str]) -> bool:
    path, name = file["path"], file["path"].rpartition("/")[2]
    matched = any(fnmatch(path if "/" in pattern else name, pattern.replace("**/", "")) for pattern in patterns)
    return matched or file["size"] > _REGULAR_LIMIT or b"\0" in base64.b64decode(file.get("sample", ""))


def commit(call: Call) -> Response:
    pull_request = call.flag("create_pr")
    repo = access.for_reading(call) if pull_request else access.for_writing(call)
    if call.token is None:
        raise HubError(401, "Invalid username or password.")
    header, operations = _operations(call)
    revision = call.params["rev"]
    call.hub.limits.count_commit(call.token.user.name)
    with repo.open() as repository:
        branch = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        parent = git.commit_at(repository, branch)
        if header.get("parentCommit") not in {None, str(parent.id)}:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        edit = git.TreeEdit(repository, parent)
        for key, value in operations:
            _apply(repo, edit, key, value)
        new_tree = edit.write()
        message = "\n\n".join(filter(None, (header.get("summary"), header.get("description"))))
        author = git.signature(call.token.user.name, call.hub.clock())
        oid = parent.id
        if new_tree != parent.tree.id or pull_request:
            oid = repository.create_commit(None, author, author, message, new_tree, [parent.id])
            if pull_request:
                with repo.changed() as settings:
                    title = str(header["summary"])
                    number = open_discussion(call, repo, settings, title, is_pull_request=True)["num"]
                branch = f"refs/pr/{number}"
            # Names are noted before the ref moves: what a commit holds is never missing in the list of large files.
            _name_large_files(repo, operations, branch)
            repository.references.create(branch, oid, force=True)
    url = f"{call.hub.endpoint}/{repo.url_path}"
    answer = {"success": True, "commitOid": str(oid), "commitUrl": f"{url}/commit/{oid}", "hookOutput": ""}
    if pull_request:
        answer["pullRequestUrl"] = f"{url}/discussions/{number}"
    return JSONResponse(answer)


def _operations(call: Call) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    try:
        lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
        parsed = [(line["key"], line["value"]) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise HubError(400, "The body is not a list of operations, one JSON object a line.") from None
    if not parsed or parsed[0][0] != "header" or not parsed[0][1].get("summary"):
        raise HubError(400, "The first line must be a header with a summary.")
    return parsed[0][1], parsed[1:]


def _apply(repo: Repo, edit: git.TreeEdit, key: str, value: dict[str, Any]) -> None:
    path = str(value.get("path"))
    if key == "file":
        edit.add(path, _content(value))
    elif key == "lfsFile":
        stored = repo.large_file(str(value.get("oid")))
        if not stored.is_file():
            raise HubError(400, f"LFS pointer of {path} points to a file that does not exist.")
        edit.add(path, git.Pointer(str(value["oid"]), stored.stat().st_size).encode())
    elif key == "deletedFile":
        edit.delete_file(path)
    elif key == "deletedFolder":
        edit.delete_folder(path)
    else:
        raise HubError(400, f"Unknown operation: {key}")


def _content(value: dict[str, Any]) -> bytes:
    if value.get("encoding") != "base64":
        return str(value.get("content", "")).encode()
    try:
        content = base64.b64decode(value.get("content", ""), validate=True)
    except binascii.Error:
        raise HubError(400, "The content is not base64.") from None
    if len(content) > _REGULAR_LIMIT:
        raise HubError(413, "Files above 10 MB must be uploaded as large files.")
    return content


def _name_large_files(repo: Repo, operations: list[tuple[str, dict[str, Any]]], ref: str) -> None:
    named = {value["oid"]: value["path"] for key, value in operations if key == "lfsFile"}
    if named:
        with repo.changed() as settings:
            for oid, path in named.items():
                settings.large[oid] |= {"filename": path, "ref": ref}


def resolve(call: Call) -> Response:
    repo = access.for_content(call)
    path = call.params["rest"]
    with repo.open() as repository:
        found = git.commit_at(repository, call.params["rev"])
        entry = git.entry_at(repository, found, path)
        if entry.is_folder:
            raise git.entry_missing(path, found)
        content = b"" if entry.pointer else repository[entry.oid].data
    name = path.rpartition("/")[2]
    headers = {
        "X-Repo-Commit": str(found.id),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{quote(name)}\";",
        "ETag": f'"{entry.oid}"',
    }
    if entry.pointer is None:
        response = ranged(call, content, headers)
        response.headers["Content-Type"] = mimetypes.guess_type(name)[0] or "text/plain; charset=utf-8"
        return response
    if not repo.large_file(entry.pointer.oid).is_file():
        raise git.entry_missing(path, found)  # deleted for good, its pointer left in history
    headers |= {
        "X-Linked-Size": str(entry.pointer.size),
        "X-Linked-ETag": f'"{entry.pointer.oid}"',
        "Location": signed_url(call, "GET", repo, entry.pointer.oid),
    }
    return Response(status_code=302, headers=headers)


ROUTES: list[Route] = [
    ("GET", "/api/{kind}/{repo}/tree/{rev}", tree),
    ("GET", "/api/{kind}/{repo}/tree/{rev}/{rest}", tree),
    ("POST", "/api/{kind}/{repo}/paths-info/{rev}", paths_info),
    ("GET", "/api/{kind}/{repo}/commits/{rev}", commits),
    ("POST", "/api/{kind}/{repo}/preupload/{rev}", preupload),
    ("POST", "/api/{kind}/{repo}/commit/{rev}", commit),
    ("GET", "/{prefix}/{repo}/resolve/{rev}/{rest}", resolve),
    ("GET", "/{repo}/resolve/{rev}/{rest}", resolve),
]
