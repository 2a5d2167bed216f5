"""`models.yaml`, the file that lists the models, read and checked.

Every mistake in the file is one sentence that names the file, the line, the key and what is allowed there; all of
them are reported at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chat.conversation import RANGES, SamplingParams
from chat.models import yaml_lines
from chat.models.entry import ASSUMED_CONTEXT, Kind, ModelEntry, answer_that_fits, memory_for

Domain = Literal["general", "this Space", "writing", "code", "mathematics", "science"]
Style = Literal["brief", "conversational", "thorough", "step by step"]
Difficulty = Literal["simple", "everyday", "hard"]

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_URL = re.compile(r"https?://(?P<host>[^\s/@?#]+)(/[^\s@]*)?")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class CatalogError(ValueError):
    """The catalogue, or the variable `MODELS`, has mistakes. `mistakes`: one sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


# What may be handed through to vLLM, with the type and, where it has one, the range or the choices.
_ENGINE_ARGS: dict[str, tuple[type, Any]] = {
    "tensor_parallel_size": (int, (1, 1024)),
    "pipeline_parallel_size": (int, (1, 1024)),
    "data_parallel_size": (int, (1, 1024)),
    "distributed_executor_backend": (str, ("mp", "ray", "uni")),
    "data_parallel_backend": (str, ("mp", "ray")),
    "enable_expert_parallel": (bool, None),
    "max_model_len": (int, (16, 100_000_000)),
    "max_num_seqs": (int, (1, 65_536)),
    "max_num_batched_tokens": (int, (16, 10_000_000)),
    "dtype": (str, ("auto", "bfloat16", "float16", "float32")),
    "quantization": (str, None),
    "kv_cache_dtype": (str, None),
    "gpu_memory_utilization": (float, (0.05, 1.0)),
    "cpu_offload_gb": (float, (0.0, 10_000.0)),
    "enforce_eager": (bool, None),
    "enable_prefix_caching": (bool, None),
    "enable_chunked_prefill": (bool, None),
    "disable_custom_all_reduce": (bool, None),
    "language_model_only": (bool, None),
    "load_format": (str, ("auto", "hf", "safetensors", "fastsafetensors", "pt", "mistral", "runai_streamer", "dummy")),
    "tokenizer": (str, None),
    "tokenizer_mode": (str, ("auto", "hf", "mistral")),
    "config_format": (str, ("auto", "hf", "mistral")),
    "chat_template": (str, None),
    "reasoning_parser": (str, None),
}
_REFUSED_ARGS = {
    "trust_remote_code": "it would run code from the model's repository here",
    "api_key": "Parley makes a new random key at each start",
    "host": "Parley decides where its own engine listens",
    "port": "Parley decides where its own engine listens",
    "uds": "Parley decides where its own engine listens",
    "model": "the key model of the entry says it",
    "served_model_name": "the key name of the entry says it",
    "revision": "the key revision of the entry says it",
    "hf_token": "the variable HF_TOKEN says it, and secrets do not stand in a file",
    "download_dir": "the variable HF_HOME says it",
    "watermark_config": "its key would stand in a file; watermarking is set elsewhere",
    "logits_processors": "it would load code by name",
    "allowed_local_media_path": "visitors could read files of this machine",
}


class _Row(BaseModel):
    """An entry as the file says it, before what is missing is worked out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    kind: Kind = "vllm"
    model: str | None = None
    revision: str | None = None
    label: str = ""
    description: str = ""
    author: str = ""
    card_url: str = ""
    website: str = ""
    training_data: str = ""
    licence: str = ""
    languages: list[str] = []
    domain: list[Domain] = []
    style: list[Style] = []
    difficulty: list[Difficulty] = []
    context: int = Field(default=ASSUMED_CONTEXT, ge=16)
    billion_parameters: float | None = Field(default=None, gt=0)
    memory_gib: float | None = Field(default=None, gt=0)
    needs_gpu: bool = False
    gated: bool = False
    defaults: dict[str, Any] = {}
    base_url: str | None = None
    api_key_env: str | None = None
    provider: str | None = None
    engine_args: dict[str, Any] = {}
    reasoning: bool = False
    titles: bool = True
    unavailable: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    default: str
    models: list[_Row] = Field(min_length=1)


def read_catalog(path: Path) -> tuple[tuple[ModelEntry, ...], str]:
    """The entries of the file at `path`, in its order, and the name of the default one. Raises `CatalogError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CatalogError([f"{path} is not readable as UTF-8 text. Save it as UTF-8."]) from None
    except OSError as error:
        why = error.strerror or str(error)
        raise CatalogError([f"{path} cannot be read ({why}). Point MODELS_FILE at a readable file."]) from None
    try:
        document = yaml_lines.read(text)
    except yaml_lines.NotYaml as error:
        raise CatalogError([f"{path}, line {error.line}: {error}"]) from None
    found = list(document.mistakes)
    parsed: _File | None = None
    try:
        parsed = _File.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        found += [_sentence(document, problem) for problem in error.errors()]
    # What pydantic cannot see is looked for in every row that it could read, so that one run shows every mistake.
    for at, row in _readable_rows(document.data):
        found += _row_mistakes(document, at, row)
    found += _names_twice(document)
    if parsed and parsed.default not in {row.name for row in parsed.models}:
        hint = _nearest(parsed.default, [row.name for row in parsed.models])
        found.append((document.line(("default",)), f"default is {parsed.default!r}, which no entry is named.{hint}"))
    if found or parsed is None:
        raise CatalogError([f"{path}, line {line}: {what}" for line, what in sorted(set(found))])
    return tuple(_entry(row) for row in parsed.models), parsed.default


def nearest(word: str, known: list[str]) -> list[str]:
    """Up to three of `known` that `word` may have meant, the likeliest first."""
    by_lower = {name.lower(): name for name in known}
    return [by_lower[near] for near in difflib.get_close_matches(word.lower(), list(by_lower), n=3, cutoff=0.6)]


def _nearest(word: str, known: list[str]) -> str:
    near = nearest(word, known)
    return f" Did you mean {near[0]!r}?" if near else ""


def _readable_rows(data: Any) -> list[tuple[int, _Row]]:
    rows = data.get("models") if isinstance(data, dict) else None
    found = []
    for at, row in enumerate(rows if isinstance(rows, list) else []):
        try:
            found.append((at, _Row.model_validate(row)))
        except ValidationError:
            continue
    return found


_EXPECTED = {
    "string_type": "text; put it in quotes",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list: [one, two]",
    "too_short": "at least one entry",
    "dict_type": "keys with values",
    "model_type": "keys with values",
}


def _sentence(document: yaml_lines.Document, problem: Mapping[str, Any]) -> tuple[int, str]:
    """One of pydantic's errors, as (line, sentence)."""
    where = tuple(problem["loc"])
    kind, given = problem["type"], problem["input"]
    key = str(where[-1]) if where else "the file"
    if isinstance(where[-1:][0] if where else None, int):
        key = f"item {where[-1] + 1} of {where[-2]}"
    line = document.line(where)
    if kind == "extra_forbidden":
        allowed = list((_Row if where[:1] == ("models",) else _File).model_fields)
        return line, f"unknown key {key!r}.{_nearest(key, allowed)} Allowed here: {', '.join(allowed)}."
    if kind == "missing":
        return line, f"the key {key!r} is missing."
    if kind == "literal_error":
        choices = [str(choice) for choice in _choices(where)]
        return line, f"{key} is {given!r}.{_nearest(str(given), choices)} Allowed: {', '.join(choices)}."
    if kind in _EXPECTED:
        return line, f"{key} is {_short(given)}; expected: {_EXPECTED[kind]}."
    return line, f"{key} is {_short(given)}; {problem['msg'][:1].lower()}{problem['msg'][1:]}."


def _short(given: Any) -> str:
    return "empty" if given is None else repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "..."


def _choices(where: yaml_lines.Where) -> tuple[Any, ...]:
    for part, choices in (("kind", Kind), ("domain", Domain), ("style", Style), ("difficulty", Difficulty)):
        if part in where:
            return get_args(choices)
    return ()


def _names_twice(document: yaml_lines.Document) -> list[tuple[int, str]]:
    rows = document.data.get("models") if isinstance(document.data, dict) else None
    first: dict[str, int] = {}
    found = []
    for at, row in enumerate(rows if isinstance(rows, list) else []):
        name = row.get("name") if isinstance(row, dict) else None
        line = document.line(("models", at, "name"))
        if isinstance(name, str) and first.setdefault(name, line) != line:
            found.append((line, f"the name {name!r} is taken by the entry on line {first[name]}; names must differ."))
    return found


def _row_mistakes(document: yaml_lines.Document, at: int, row: _Row) -> list[tuple[int, str]]:
    """What a row says that cannot be, though each value has the right type."""
    found: list[tuple[int, str]] = []

    def wrong(key: str, what: str, *rest: str) -> None:
        found.append((document.line(("models", at, key, *rest)), what))

    if not NAME.fullmatch(row.name):
        wrong("name", f"name is {row.name!r}. Use letters, digits, '.', '-' and '_', as in my-model or org/my-model.")
    for key in ("card_url", "website", "base_url"):
        given = getattr(row, key)
        if given and not _URL.fullmatch(given):
            wrong(key, f"{key} is {given!r}. Use an address such as https://example.com, without a password in it.")
    for code in row.languages:
        if not LANGUAGE.fullmatch(code):
            wrong("languages", f"languages holds {code!r}. Use language codes such as en, pl or pt-BR.")
    if row.api_key_env and not _VARIABLE.fullmatch(row.api_key_env):
        wrong("api_key_env", "api_key_env must be the name of a variable, such as MY_API_KEY, never the key itself.")
    if row.kind in ("openai", "tgi") and not row.base_url:
        wrong("kind", f"kind {row.kind} needs base_url, the address of the server.")
    if row.kind == "hosted" and row.base_url:
        wrong("base_url", "kind hosted takes no base_url. For a server elsewhere use kind vllm, openai or tgi.")
    if row.provider and row.kind != "hosted":
        wrong("provider", f"kind {row.kind} takes no provider; only kind hosted does.")
    if row.engine_args and row.kind != "vllm":
        wrong("engine_args", f"kind {row.kind} takes no engine_args; only kind vllm does.")
    if row.engine_args and row.kind == "vllm" and row.base_url:
        wrong("engine_args", "engine_args are for a vLLM that Parley starts, not for one at base_url. Leave them out.")
    for key, given in row.engine_args.items():
        if what := _engine_arg_mistake(key, given):
            wrong("engine_args", what, key)
    if isinstance(length := row.engine_args.get("max_model_len"), int) and length < row.context:
        wrong("engine_args", f"max_model_len is {length}, less than context ({row.context}).", "max_model_len")
    for key, given in row.defaults.items():
        if key not in RANGES:
            hint = _nearest(key, list(RANGES))
            wrong("defaults", f"unknown key {key!r}.{hint} Allowed here: {', '.join(RANGES)}.", key)
            continue
        try:
            SamplingParams.from_mapping({key: given})
        except ValueError as error:
            wrong("defaults", str(error), key)
    longest = row.defaults.get("max_tokens")
    if isinstance(longest, int) and row.context <= longest <= RANGES["max_tokens"].high:
        wrong("defaults", f"max_tokens is {longest}; it must be less than the context ({row.context}).", "max_tokens")
    return found


def _engine_arg_mistake(key: str, given: Any) -> str | None:
    if key in _REFUSED_ARGS:
        return f"{key} is refused: {_REFUSED_ARGS[key]}. Leave it out."
    if key not in _ENGINE_ARGS:
        known = sorted(_ENGINE_ARGS)
        return f"unknown key {key!r}.{_nearest(key, known)} Allowed in engine_args: {', '.join(known)}."
    kind, allowed = _ENGINE_ARGS[key]
    if kind is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given)
    if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
        expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        return f"{key} is {_short(given)}; expected: {expected}."
    if kind is str and allowed and given not in allowed:
        return f"{key} is {given!r}.{_nearest(given, list(allowed))} Allowed: {', '.join(allowed)}."
    if kind is str and (given.startswith("-") or not given.isprintable() or not given):
        return f"{key} is {_short(given)}; expected: a plain value."
    if kind in (int, float) and allowed and not allowed[0] <= given <= allowed[1]:
        return f"{key} is {given:g}; it must be between {allowed[0]:g} and {allowed[1]:g}."
    return None


def _entry(row: _Row) -> ModelEntry:
    """`row` with what follows from it: the label, the author, the addresses on the Hub, the memory."""
    model = row.model or row.name
    here = row.kind == "vllm" and not row.base_url
    on_hub = (here or row.kind == "hosted") and not model.startswith((".", "/"))
    if here and model.startswith("."):
        model = str((REPOSITORY / model).resolve())
    author = row.author or (model.split("/")[0] if on_hub and "/" in model else "")
    longest = answer_that_fits(row.context)
    memory = row.memory_gib or (memory_for(row.billion_parameters) if row.billion_parameters else None)
    base_url = row.base_url.rstrip("/") if row.base_url else None
    if base_url and row.kind in ("vllm", "openai"):
        base_url = base_url.removesuffix("/v1")
    stated = row.model_fields_set | ({"memory_gib"} if row.billion_parameters else set())
    given = row.model_dump(exclude={"languages", "domain", "style", "difficulty"})
    return ModelEntry(
        **given
        | {
            "model": model,
            "label": row.label or row.name.split("/")[-1],
            "author": author,
            "card_url": row.card_url or (f"https://huggingface.co/{model}" if on_hub else ""),
            "website": row.website or (f"https://huggingface.co/{author}" if on_hub and author else ""),
            "memory_gib": memory,
            "base_url": base_url,
            "stated": frozenset(stated),
            "languages": tuple(row.languages),
            "domain": tuple(row.domain),
            "style": tuple(row.style),
            "difficulty": tuple(row.difficulty),
            "defaults": SamplingParams.from_mapping({"max_tokens": longest, **row.defaults}),
        }
    )
