"""What the Hub reads out of a repository's files to describe it: the card's metadata, a model's config and size."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pygit2
import yaml

from . import git
from .repos import Repo


def _read(repository: pygit2.Repository, commit: pygit2.Commit, path: str) -> bytes | None:
    try:
        found = commit.tree[path]
    except KeyError:
        return None
    return found.data if isinstance(found, pygit2.Blob) else None


def card_data(repository: pygit2.Repository, commit: pygit2.Commit) -> dict[str, Any] | None:
    """The YAML head of README.md; None where there is none or it cannot be read."""
    text = (_read(repository, commit, "README.md") or b"").decode(errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return None
    try:
        found = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError:
        return None
    # Dates and the like become the strings that they are in JSON.
    return json.loads(json.dumps(found, default=str)) if isinstance(found, dict) else None


def model_facts(repo: Repo, repository: pygit2.Repository, commit: pygit2.Commit) -> dict[str, Any]:
    """`config`, `pipeline_tag`, `library_name` and `safetensors` of a model's information."""
    card = card_data(repository, commit) or {}
    facts: dict[str, Any] = {name: card[name] for name in ("pipeline_tag", "library_name") if name in card}
    config = _json(_read(repository, commit, "config.json"))
    if config is not None:
        facts["config"] = {name: config[name] for name in ("architectures", "model_type") if name in config}
        tokenizer = _json(_read(repository, commit, "tokenizer_config.json"))
        if tokenizer is not None:
            facts["config"]["tokenizer_config"] = tokenizer
    parameters: dict[str, int] = {}
    for entry in git.walk(repository, commit, recursive=False):
        if entry.path.endswith(".safetensors"):
            for tensor in _tensors(repo, repository, entry):
                size = math.prod(tensor["shape"])
                parameters[tensor["dtype"]] = parameters.get(tensor["dtype"], 0) + size
    if parameters:
        facts["safetensors"] = {"parameters": parameters, "total": sum(parameters.values())}
    return facts


def _json(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(content or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _tensors(repo: Repo, repository: pygit2.Repository, entry: git.Entry) -> list[dict[str, Any]]:
    """The tensors that a safetensors file names: 8 bytes of length (little-endian), then JSON."""
    if entry.pointer is None:
        content = repository[entry.oid].data
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    else:
        header = _large_header(repo.large_file(entry.pointer.oid))
    return [tensor for name, tensor in (_json(header) or {}).items() if name != "__metadata__"]


def _large_header(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(int.from_bytes(file.read(8), "little"))
