"""What the app is told by its variables, with the defaults that follow from others, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chat.variables import HUB, LOOPBACK, PLANNED, REPOSITORY, VARIABLES


class SettingsError(ValueError):
    """Variables hold what cannot be used. `mistakes`: one sentence each, with the name, the value and the remedy."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the variables say; `VARIABLES` explains each. `warnings`: sentences for the operator.

    Secrets are in no repr.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 7860
    hf_token: str | None = field(default=None, repr=False)
    hf_endpoint: str = HUB
    models: tuple[str, ...] = ()
    models_file: Path = REPOSITORY / "chat" / "models.yaml"
    engine_url: str | None = None
    engine_api_key: str | None = field(default=None, repr=False)
    store_dataset: str | None = None
    wal_bucket: str | None = None
    share_namespace: str | None = None
    share_prefix: str = "parley"
    quiet_hours: float = 72.0
    retention_days: int | None = None
    share_hours: tuple[int, ...] | None = None
    share_blocked: tuple[str, ...] = field(default=(), repr=False)
    share_readers: tuple[str, ...] = ()
    sync_seconds: float = 60.0
    commits_per_hour: int = 128
    minimum_age: int = 18
    contact: str | None = None
    operators: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    space_id: str | None = None
    space_host: str | None = None
    space_author_name: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = field(default=None, repr=False)
    oauth_scopes: tuple[str, ...] = ("openid", "profile")
    openid_provider_url: str = HUB
    warnings: tuple[str, ...] = ()

    @property
    def on_space(self) -> bool:
        """Whether this runs as a Space of Hugging Face."""
        return self.space_id is not None

    @property
    def can_sign_in(self) -> bool:
        """Whether visitors can sign in: both the client's id and its secret are there."""
        return bool(self.oauth_client_id and self.oauth_client_secret)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """What `environ` holds; an empty variable counts as not set. Raises `SettingsError`, with all mistakes."""
        given: dict[str, Any] = {}
        mistakes: list[str] = []
        for variable in VARIABLES:
            text = environ.get(variable.name, "").strip()
            if not text:
                continue
            try:
                given[variable.name.lower()] = variable.read(text)
            except (ValueError, OSError):  # OSError: a path that is too long for the file system
                shown = "not usable" if variable.secret else repr(text)
                mistakes.append(f"{variable.name} is {shown}. {variable.allowed}")
        on_space = bool(environ.get("SPACE_ID", "").strip())
        data_dir = given.get("data_dir")
        if on_space and data_dir and data_dir.is_relative_to("/data"):
            mistakes.append(
                f"DATA_DIR is '{data_dir}', which on a Space is a network disk that damages databases. Leave it out."
            )
        if "data_dir" not in given and not any(mistake.startswith("DATA_DIR") for mistake in mistakes):
            home = _default_data_dir(environ, on_space)
            if home is None or home.resolve().is_relative_to(REPOSITORY):
                mistakes.append("DATA_DIR is not set and HOME is of no use. Set DATA_DIR to the full path of a folder.")
            given["data_dir"] = home
        if mistakes:
            raise SettingsError(mistakes)
        derived = _derived(given, on_space)
        return cls(**derived, warnings=tuple([*_warnings(derived), *_typos(environ)]))


def _default_data_dir(environ: Mapping[str, str], on_space: bool) -> Path | None:
    data_home = environ.get("XDG_DATA_HOME", "")
    if data_home.startswith("/") and not on_space:  # the XDG specification: a relative path is ignored
        return Path(data_home) / "parley"
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home) / ".local" / "share" / "parley"
    return Path("/tmp/parley") if on_space else None


def _derived(given: dict[str, Any], on_space: bool) -> dict[str, Any]:
    """`given` with the defaults that follow from other variables."""
    derived = {"openid_provider_url": given.get("hf_endpoint", HUB), **given}
    if on_space:
        derived.setdefault("host", "0.0.0.0")
        owner, _, name = given["space_id"].partition("/")
        # The owner of this Space, never of the one it was duplicated from: what is left out writes to one's own.
        owner = derived.setdefault("space_author_name", owner)
        derived.setdefault("store_dataset", f"{owner}/{name}-conversations")
        derived.setdefault("share_namespace", owner)
    return derived


def _warnings(given: Mapping[str, Any]) -> list[str]:
    found = []
    owner = given.get("space_author_name")
    for name, namespace in (
        ("STORE_DATASET", (given.get("store_dataset") or "").partition("/")[0]),
        ("WAL_BUCKET", (given.get("wal_bucket") or "").partition("/")[0]),
        ("SHARE_NAMESPACE", given.get("share_namespace")),
    ):
        if owner and namespace and namespace != owner:
            found.append(
                f"{name} points at {namespace!r}, but this Space belongs to {owner!r}. If it is a duplicate, the value "
                "came with it: remove it to keep things in your own datasets."
            )
    if owner and not given.get("hf_token"):
        found.append(
            "HF_TOKEN is not set, so conversations are kept in a folder of this machine and go with it when the Space is "
            "rebuilt or restarted. To keep them, add a token that may write as a secret named HF_TOKEN."
        )
    if given.get("wal_bucket") and not (given.get("hf_token") and given.get("store_dataset")):
        found.append("WAL_BUCKET has no effect without HF_TOKEN and STORE_DATASET.")
    for name in ("HF_ENDPOINT", "ENGINE_URL"):
        parts = urlsplit(given.get(name.lower()) or "")
        secret = given.get("hf_token" if name == "HF_ENDPOINT" else "engine_api_key")
        if secret and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            found.append(f"{name} begins with http://, so the token sent there can be read on the way. Use https://.")
    if given.get("engine_api_key") and not given.get("engine_url"):
        found.append("ENGINE_API_KEY has no effect without ENGINE_URL.")
    return found


def _typos(environ: Mapping[str, str]) -> list[str]:
    known = {variable.name for variable in VARIABLES}
    unused = [variable.name for variable in VARIABLES if variable.planned] + list(PLANNED)
    given = [name for name in unused if environ.get(name, "").strip()]
    found = [f"{name} is set, but nothing in this version uses it yet." for name in given]
    candidates = [variable.name for variable in VARIABLES if not variable.given_by_space] + list(PLANNED)
    for name in environ:
        if name in known or name in PLANNED:
            continue
        near = difflib.get_close_matches(name.upper(), candidates, n=1, cutoff=0.8)
        if near:
            found.append(f"{name} is not a variable of Parley and has no effect. Did you mean {near[0]}?")
    return found
