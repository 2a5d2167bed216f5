"""The table of variables: each one's name, default and meaning, how its value is read, and what to do when it is wrong.

The settings, their errors and the README's table are made from `VARIABLES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
HUB = "https://huggingface.co"

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_READER = re.compile(rf"({_NAMESPACE.pattern}:)?{_NAMESPACE.pattern}")
_PHRASE = re.compile(r"[^,]{4,200}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?(@[A-Za-z0-9][A-Za-z0-9._/-]*)?")
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `default` is as people read it; `given_by_space`: Hugging Face sets it, nobody else needs to.

    `planned`: it is read and checked, and nothing uses it yet.
    """

    name: str
    default: str
    meaning: str
    allowed: str
    read: Callable[[str], Any]
    secret: bool = False
    given_by_space: bool = False
    planned: bool = False


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def _hours(text: str) -> tuple[int, ...]:
    return tuple(sorted({_whole(0, 23)(item.strip()) for item in text.split(",")}))


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:  # not a number is in no range
            raise ValueError
        return value

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return read


def _list_of(pattern: re.Pattern[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        items = tuple(item.strip() for item in text.split(",") if item.strip())
        names = [item.partition("@")[0] for item in items]
        if not items or len(set(names)) < len(names) or not all(pattern.fullmatch(item) for item in items):
            raise ValueError
        return items

    return read


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    if parts.username or parts.password or any(letter.isspace() for letter in text):
        raise ValueError
    parts.port  # noqa: B018  raises ValueError where it is no port
    return text.rstrip("/")


def _origins(text: str) -> tuple[str, ...]:
    found = []
    for item in (item.strip() for item in text.split(",")):
        if not item:
            continue
        url = _url(item)
        parts = urlsplit(url)
        if parts.path or "*" in url or (parts.scheme == "http" and parts.hostname not in LOOPBACK):
            raise ValueError
        found.append(url.lower())
    return tuple(found)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or path.resolve().is_relative_to(REPOSITORY):
        raise ValueError
    return path.resolve()


def _file(text: str) -> Path:
    path = Path(text) if Path(text).is_absolute() else REPOSITORY / text
    if not path.is_file():
        raise ValueError
    return path


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        raise ValueError
    return text


def _secret(text: str) -> str:
    if not text.isprintable() or any(letter.isspace() for letter in text):
        raise ValueError
    return text


_A_REPO = "Use namespace/name, such as my-name/my-dataset."
_A_URL = "Use an address such as https://example.com, without a password or a question mark in it."
_CLEAN = "It holds a space or a line break; copy it again."

VARIABLES: tuple[Variable, ...] = (
    Variable(
        "HOST",
        "127.0.0.1; on a Space 0.0.0.0",
        "The address the page listens on.",
        "Use an IP address or a host name, such as 127.0.0.1.",
        _matching(_HOST),
    ),
    Variable("PORT", "7860", "The port of the page.", "Use a whole number from 1 to 65535.", _whole(1, 65535)),
    Variable(
        "DATA_DIR",
        "$XDG_DATA_HOME/parley or ~/.local/share/parley; on a Space ~/.local/share/parley",
        "The folder that holds the conversations, on a local disk.",
        "Use the full path of a folder outside Parley's own one, whose files could be served.",
        _folder,
    ),
    Variable(
        "HF_TOKEN",
        "none",
        "A Hugging Face token: for gated models, hosted inference and the datasets.",
        _CLEAN,
        _secret,
        secret=True,
    ),
    Variable("HF_ENDPOINT", HUB, "The Hugging Face Hub to talk to.", _A_URL, _url),
    Variable(
        "MODELS",
        "every entry of models.yaml",
        "Exactly these models, in this order: org/a,org/b@revision. The first is the default; what models.yaml says "
        "about one goes before what its repository says; the starter model is added only if none of them can run.",
        "Use repositories of the Hub, each once, with commas between them: org/a,org/b@revision.",
        _list_of(_MODEL),
    ),
    Variable(
        "MODELS_FILE",
        "chat/models.yaml",
        "The file that lists the models; a path that is not full counts from Parley's folder.",
        "Use the path of a file that is there.",
        _file,
    ),
    Variable(
        "ENGINE_URL",
        "none",
        "An OpenAI-compatible server elsewhere, such as vLLM, without /v1; its model becomes the default.",
        _A_URL,
        lambda text: _url(text).removesuffix("/v1"),
    ),
    Variable("ENGINE_API_KEY", "none", "The key that the server at ENGINE_URL asks for.", _CLEAN, _secret, secret=True),
    Variable(
        "STORE_DATASET",
        "none; on a Space <its owner>/<its name>-conversations",
        "The private dataset that keeps the conversations. Without it or HF_TOKEN, a folder of DATA_DIR does.",
        _A_REPO,
        _matching(_REPO),
    ),
    Variable(
        "WAL_BUCKET",
        "none",
        "A private storage bucket: what is kept here is there within a second, until STORE_DATASET holds it.",
        "Use namespace/name, such as my-name/my-bucket.",
        _matching(_REPO),
    ),
    Variable(
        "SHARE_NAMESPACE",
        "none; on a Space its owner",
        "Whose datasets receive what visitors agreed to share. Without it nothing is shared.",
        "Use a user or an organisation of the Hub, such as my-name.",
        _matching(_NAMESPACE),
    ),
    Variable(
        "SHARE_PREFIX",
        "parley",
        "How the names of the sharing datasets begin.",
        "Use letters, digits, '.', '-' and '_'.",
        _matching(_NAMESPACE),
    ),
    Variable(
        "QUIET_HOURS",
        "72",
        "Hours that must pass after the last change, and after the consent, before anything is shared.",
        "Use a number from 0 to 8760.",
        _number(0, 8760),
    ),
    Variable(
        "RETENTION_DAYS",
        "none",
        "Days after its last message when a conversation is deleted. Visitors may choose fewer for theirs. Without it, "
        "conversations stay until somebody deletes them.",
        "Use a whole number from 1 to 3650.",
        _whole(1, 3650),
    ),
    Variable(
        "SHARE_HOURS",
        "3; any hour where QUIET_HOURS is 0",
        "Hours of the day, UTC, in which new rows are shared, all of them at once; what is taken back leaves at any time.",
        "Use whole numbers from 0 to 23 with commas between them, such as 3,15.",
        _hours,
    ),
    Variable(
        "SHARE_BLOCKED",
        "none",
        "Phrases, with commas between them, such as canaries of yours: a row with one of them is not shared.",
        "Use phrases of 4 to 200 characters.",
        _list_of(_PHRASE),
    ),
    Variable(
        "SHARE_READERS",
        "none",
        "Who may read the sharing datasets, with commas between them. author:user is a Hub user who is let in when they ask "
        "for that author's datasets, where you gated these by hand; a user alone is one whom you may have let in anywhere. "
        "The audit names all others.",
        "Use author:user, or names of Hub users, with commas between them.",
        _list_of(_READER),
    ),
    Variable(
        "SYNC_SECONDS",
        "60",
        "Seconds between two commits to STORE_DATASET.",
        "Use a number from 1 to 3600.",
        _number(1, 3600),
    ),
    Variable(
        "COMMITS_PER_HOUR",
        "128",
        "How many commits the Hub allows HF_TOKEN's account in an hour; fewer where others use the account, too.",
        "Use a whole number from 12 to 1000000.",
        _whole(12, 1_000_000),
    ),
    Variable(
        "MINIMUM_AGE",
        "18",
        "Years a visitor must have reached, and say so, before anything is shared.",
        "Use a whole number from 13 to 99: nobody younger than 13 can share.",
        _whole(13, 99),
    ),
    Variable(
        "CONTACT",
        "none",
        "Whom visitors write to about their rights, such as an e-mail address; it stands on the Privacy page.",
        "Use one line of at most 200 characters.",
        _line,
    ),
    Variable(
        "OPERATORS",
        "none",
        "Who may see /operator: users and organisations of the Hub, with commas between them.",
        "Use names of the Hub, each once, with commas between them.",
        _list_of(_NAMESPACE),
    ),
    Variable(
        "ALLOWED_ORIGINS",
        "none",
        "Other websites whose pages may use the app with its visitors' cookies, with commas between them.",
        "Use origins such as https://example.com (http only for localhost), without a path or '*'.",
        _origins,
    ),
    Variable("SPACE_ID", "", "The Space this is.", _A_REPO, _matching(_REPO), given_by_space=True),
    Variable("SPACE_HOST", "", "Its host name.", "Use a host name.", _matching(_HOST), given_by_space=True),
    Variable(
        "SPACE_AUTHOR_NAME",
        "",
        "Its owner.",
        "Use a user or an organisation.",
        _matching(_NAMESPACE),
        given_by_space=True,
    ),
    Variable("OAUTH_CLIENT_ID", "", "For signing in.", _CLEAN, _secret, given_by_space=True),
    Variable("OAUTH_CLIENT_SECRET", "", "For signing in.", _CLEAN, _secret, secret=True, given_by_space=True),
    Variable(
        "OAUTH_SCOPES",
        "openid profile",
        "What signing in asks for.",
        "Use words such as openid profile, with spaces between them.",
        _words,
        given_by_space=True,
    ),
    Variable("OPENID_PROVIDER_URL", "HF_ENDPOINT", "Who signs visitors in.", _A_URL, _url, given_by_space=True),
)

# Names that are kept for what is not built yet: set now, they would have no effect, and the operator should know.
PLANNED = ("METRICS_TOKEN", "WATERMARK_KEYS")


def variables_table() -> str:
    """The README's table of variables, as Markdown."""
    rows = ["| variable | default | what it does |", "|---|---|---|"]
    rows += [
        f"| `{variable.name}`{' (secret)' if variable.secret else ''} | {variable.default} "
        f"| {'*Planned; nothing uses it yet.* ' if variable.planned else ''}{variable.meaning} |"
        for variable in VARIABLES
        if not variable.given_by_space
    ]
    given = ", ".join(f"`{variable.name}`" for variable in VARIABLES if variable.given_by_space)
    return "\n".join([*rows, "", f"On a Space Hugging Face sets {given}."])
