"""What the files of the private dataset hold: their names, their lines, and the card. Pure: values in, bytes out.

    users/<2 hex>/<owner>.jsonl     one conversation a line, with all its messages; further parts: <owner>.1.jsonl, ...
    accounts/<2 hex>.jsonl          one owner a line: who they are, and the hashes of what opens their page
    tombstones/<2 hex>.jsonl        one deleted conversation a line, without content

The only place with text of a conversation is a line under users/. A line names the format it was written in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

# 1: the first. 2: a tombstone says when its conversation was purged; a message has its rating, what a reasoning model thought,
# how much was left out and how often it was gone on with; a conversation is pinned or archived, and says who titled it; an
# owner has defaults and a choice of days. 3: a message has what was agreed. `_upgraded` reads every one before the newest.
FORMAT = 3
PART_BYTES = 128_000  # a part that is longer starts another one; a turn sends one part, seldom two
_HEX = "[0-9a-f]"
_USER_PATH = re.compile(rf"users/({_HEX}{{2}})/(\1{_HEX}{{30}})(?:\.([1-9][0-9]{{0,5}}))?\.jsonl")
_ACCOUNT_PATH = re.compile(rf"accounts/({_HEX}{{2}})\.jsonl")
_TOMBSTONE_PATH = re.compile(rf"tombstones/({_HEX}{{2}})\.jsonl")

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class BadFile(Exception):
    """A file that this version cannot read; `str(error)` names its path and says what to do."""


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedFeedback(Line):
    """What its owner thinks of an answer. The reasons are names of a list; one that this version does not know is kept."""

    rating: Literal["up", "down"]
    reasons: tuple[str, ...]
    comment: str
    given_at: float


class SavedMessage(Line):
    id: Id
    parent: Id | None
    role: Literal["user", "assistant"]
    content: str
    created_at: float
    surface: Literal["page", "api", "import"] | None
    model: str | None
    model_revision: str | None
    params: dict[str, Any] | None
    state: Literal["running", "done", "stopped", "interrupted", "failed"] | None
    finish_reason: str | None
    error: str | None
    settled_at: float | None
    reasoning: str | None = None
    reasoning_seconds: float | None = None
    omitted: int = 0
    continued: int = 0
    agreed: str | None = None
    feedback: SavedFeedback | None = None


class SavedConversation(Line):
    """A conversation; its messages stand in the order they were written, so by time."""

    format: int = FORMAT
    id: Id
    owner: Id
    title: str
    model: str
    system_prompt: str
    params: dict[str, Any]
    leaf: Id | None
    revision: int
    created_at: float
    updated_at: float
    pinned: bool = False
    archived: bool = False
    title_by: Literal["words", "model", "visitor"] = "words"
    messages: tuple[SavedMessage, ...]

    @model_validator(mode="after")
    def _is_a_tree(self) -> SavedConversation:
        if self.leaf is not None and self.leaf not in depths(self.messages):
            raise ValueError("the leaf is no message")
        return self


class SavedSession(Line):
    token_hash: str  # SHA-256 in hex of a random value that is kept nowhere
    carrier: Literal["cookie", "header"]
    created_at: float
    expires_at: float


class SavedEnd(Line):
    """A session that was ended, kept until it would have expired."""

    token_hash: str
    expires_at: float


class SavedKey(Line):
    key_hash: str
    id: str
    name: str
    created_at: float
    revoked_at: float | None


class SavedDefault(Line):
    """What the owner's new conversations with a model begin with; `params` None: forgotten."""

    model: str
    params: dict[str, Any] | None
    system_prompt: str
    set_at: float


class SavedAccount(Line):
    hub_id: str
    name: str
    orgs: tuple[dict[str, Any], ...]
    updated_at: float


class SavedRetention(Line):
    """For how many days an owner wants conversations kept; None: a choice that was taken back."""

    days: int | None
    changed_at: float


class SavedOwner(Line):
    format: int = FORMAT
    owner: Id
    kind: Literal["anonymous", "account"]
    created_at: float
    last_seen_at: float
    account: SavedAccount | None
    sessions: tuple[SavedSession, ...]
    keys: tuple[SavedKey, ...]
    ended: tuple[SavedEnd, ...] = ()
    defaults: tuple[SavedDefault, ...] = ()
    retention: SavedRetention | None = None


class SavedTombstone(Line):
    format: int = FORMAT
    conversation: Id
    owner: Id
    deleted_at: float
    purged_at: float | None = None  # when no commit and no large file held it any more; of no use before `deleted_at`


L = TypeVar("L", SavedConversation, SavedOwner, SavedTombstone)


def encode(lines: Iterable[Mapping[str, Any] | Line]) -> bytes:
    """Lines of JSON, the same bytes for the same values."""
    given = (line.model_dump() if isinstance(line, BaseModel) else line for line in lines)
    return b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in given)


def decode(kind: type[L], path: str, content: bytes) -> list[L]:
    """The lines of the file at `path`. Raises `BadFile`, whose sentence quotes nothing of it."""
    found = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line:
            continue
        try:
            values = json.loads(line)
            refuse_newer(path, values)
            found.append(kind.model_validate(_upgraded(values)))
        except (ValueError, ValidationError, RecursionError):
            raise BadFile(
                f"Line {number} of {path} is damaged. The file is left as it is: correct it in the dataset, or take an "
                "older version of it from the dataset's history."
            ) from None
    return found


def refuse_newer(path: str, values: Any, known: int = FORMAT) -> None:
    """Raise `BadFile` where these values name a format of a later version."""
    if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > known:
        raise BadFile(
            f"{path} was written by a newer Parley (format {values['format']}, this one knows {known}). "
            "It is left as it is; run that version."
        )


def _upgraded(values: Any) -> Any:
    """A line of any earlier format as one of the newest. What an earlier one lacks has a default, so far."""
    return (
        {**values, "format": FORMAT} if isinstance(values, dict) and values.get("format") in range(FORMAT) else values
    )


_RANK = {None: 0, "running": 0, "interrupted": 1, "failed": 2, "stopped": 3, "done": 3}


def merge(one: SavedConversation, other: SavedConversation) -> SavedConversation:
    """What two copies of a conversation are together, whichever comes first.

    Messages are never taken back one by one, so all of both are kept, an answer as far as it came; the rest is that of
    the higher revision. What is in neither copy gets a revision above both.
    """
    newer, older = sorted((one, other), key=lambda copy: (copy.revision, copy.updated_at, encode([copy])), reverse=True)
    found = furthest((*newer.messages, *older.messages))
    ordered = in_order(found.values())
    if ordered == newer.messages and (newer.revision > older.revision or newer == older):
        return newer
    updated_at = max(newer.updated_at, older.updated_at)  # no message is newer than its conversation
    return newer.model_copy(update={"messages": ordered, "revision": newer.revision + 1, "updated_at": updated_at})


def furthest(messages: Iterable[SavedMessage]) -> dict[str, SavedMessage]:
    """Of each message, by id, the copy that came furthest; of two that came as far the first. `messages` are those of the
    newest copy of the conversation first: whoever changed a rating last raised the revision with it, so its rating counts,
    whichever copy holds more of the answer."""
    found: dict[str, SavedMessage] = {}
    rated: dict[str, SavedFeedback | None] = {}
    for message in messages:
        rated.setdefault(message.id, message.feedback)
        known = found.get(message.id)
        if known is None or _settled(message) > _settled(known):
            found[message.id] = message
    for id, feedback in rated.items():
        if found[id].feedback != feedback:
            found[id] = found[id].model_copy(update={"feedback": feedback})
    return found


def _settled(message: SavedMessage) -> tuple[Any, ...]:
    return (
        (message.continued, _RANK[message.state], message.settled_at or 0.0, len(message.content), message.content)
        if message.state
        else ()
    )


def in_order(messages: Iterable[SavedMessage]) -> tuple[SavedMessage, ...]:
    """The order they stand in: by time, a parent before what was written at the same moment."""
    given = {message.id: message for message in messages}
    depth = depths(given.values())
    return tuple(sorted(given.values(), key=lambda message: (message.created_at, depth[message.id], message.id)))


def depths(messages: Iterable[SavedMessage]) -> dict[str, int]:
    """How many messages stand above each, by id. Raises `ValueError` where they are no tree."""
    parents = {message.id: message.parent for message in messages}
    found: dict[str, int] = {}
    for id in parents:
        path, at = [], id
        while at is not None and at not in found:
            if at not in parents or len(path) > len(parents):
                raise ValueError("a message stands below one that is not there")
            path.append(at)
            at = parents[at]
        above = -1 if at is None else found[at]
        for step, passed in enumerate(reversed(path), start=1):
            found[passed] = above + step
    return found


def user_path(owner: str, part: int) -> str:
    return f"users/{owner[:2]}/{owner}{f'.{part}' if part else ''}.jsonl"


def account_path(owner: str) -> str:
    return f"accounts/{owner[:2]}.jsonl"


def tombstone_path(conversation: str) -> str:
    return f"tombstones/{conversation[:2]}.jsonl"


def owner_and_part(path: str) -> tuple[str, int] | None:
    """The inverse of `user_path`; None for any other path."""
    found = _USER_PATH.fullmatch(path)
    return (found[2], int(found[3] or 0)) if found else None


def prefix_of_accounts(path: str) -> str | None:
    """The two digits with which the owners in it begin; None for any other path."""
    found = _ACCOUNT_PATH.fullmatch(path)
    return found[1] if found else None


def prefix_of_tombstones(path: str) -> str | None:
    """The two digits with which the conversations in it begin; None for any other path."""
    found = _TOMBSTONE_PATH.fullmatch(path)
    return found[1] if found else None


_PARAMS = [
    {"name": name, "dtype": "int64" if name in ("top_k", "max_tokens", "seed") else "float64"}
    for name in ("temperature", "top_p", "top_k", "max_tokens", "repetition_penalty", "seed")
]
_FEEDBACK = [
    {"name": "rating", "dtype": "string"},
    {"name": "reasons", "list": "string"},
    {"name": "comment", "dtype": "string"},
    {"name": "given_at", "dtype": "float64"},
]
_MESSAGE = [
    *({"name": name, "dtype": "string"} for name in ("id", "parent", "role", "content")),
    {"name": "created_at", "dtype": "float64"},
    *({"name": name, "dtype": "string"} for name in ("surface", "model", "model_revision")),
    {"name": "params", "struct": _PARAMS},
    *({"name": name, "dtype": "string"} for name in ("state", "finish_reason", "error")),
    {"name": "settled_at", "dtype": "float64"},
    {"name": "reasoning", "dtype": "string"},
    {"name": "reasoning_seconds", "dtype": "float64"},
    {"name": "omitted", "dtype": "int64"},
    {"name": "continued", "dtype": "int64"},
    {"name": "agreed", "dtype": "string"},
    {"name": "feedback", "struct": _FEEDBACK},
]
_FEATURES = [
    {"name": "format", "dtype": "int64"},
    *({"name": name, "dtype": "string"} for name in ("id", "owner", "title", "model", "system_prompt")),
    {"name": "params", "struct": _PARAMS},
    {"name": "leaf", "dtype": "string"},
    {"name": "revision", "dtype": "int64"},
    *({"name": name, "dtype": "float64"} for name in ("created_at", "updated_at")),
    *({"name": name, "dtype": "bool"} for name in ("pinned", "archived")),
    {"name": "title_by", "dtype": "string"},
    {"name": "messages", "list": _MESSAGE},
]


def card() -> str:
    """The README.md of the dataset. The types stand in it because a file alone may hold nothing but nulls in a column."""
    front = {
        "pretty_name": "Conversations kept by Parley",
        "viewer": False,
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "users/*/*.jsonl"}]}],
        "dataset_info": {"config_name": "default", "features": _FEATURES},
    }
    # JSON is YAML, so that nothing but the standard library is needed.
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
    return f"---\n{lines}\n---\n{_CARD}"


_CARD = """
# Conversations kept by Parley

**Private.** This dataset keeps the conversations of the people who use a Parley chat Space, so that they find them again.
Nobody agreed to their being shared, read or trained on: what people did agree to share stands in datasets of its own.
Keep it private; the app stops when it finds this dataset public.

| files | hold |
|---|---|
| `users/` | one conversation a line, with all its messages |
| `accounts/` | one owner a line: who they are, and hashes of what opens their page |
| `tombstones/` | ids of deleted conversations, so that no old copy brings them back |
| `consent/`, `sharing/` | who agreed to what, and what was done about it; no text |
| `running/` | which runs of the app have not stopped in order |

The app writes here. Do not edit while it runs; it reads what changed and goes on from there. Deleting a conversation in
the app removes it from here and, soon after, from the history.
"""
