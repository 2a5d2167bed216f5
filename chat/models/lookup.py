"""What a model's repository on the Hugging Face Hub says about itself, as a catalogue entry.

Errors of `huggingface_hub` stop here; out comes `LookupFailed`, with a sentence for the page.
"""

from __future__ import annotations

import json
import re
from typing import Any

from huggingface_hub import HfApi, ModelInfo, get_session
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status
from huggingface_hub.utils import httpx as transport

from chat.conversation import SamplingParams
from chat.models.catalog import LookupFailed
from chat.models.catalog_file import LANGUAGE
from chat.models.entry import ASSUMED_CONTEXT, GIB, ModelEntry, answer_that_fits

# Bytes in memory per parameter. vLLM loads 32-bit weights as 16-bit ones.
_BYTES = {"F64": 2, "F32": 2, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F4": 0.5}
_WANTED_CONTEXT = 8192  # tokens that get room in any case, if the model can read as many
_GPU_FROM_GIB = 8.0  # above this a CPU writes more slowly than people read
_LARGEST_FILE = 1_000_000  # characters of a config or card that are read
_LONGEST_DESCRIPTION = 300  # characters
_WORDS_OF_MARKUP = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>]+>|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


class ModelLookup:
    """Makes catalogue entries from repositories of the Hub at `endpoint`.

    `token` (None: none, also where this machine has one saved). `timeout`: seconds that the Hub may stay silent in
    one request; there are three at most. Safe to call from several threads.
    """

    def __init__(self, endpoint: str, token: str | None, timeout: float = 5.0) -> None:
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token or False)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout

    def __call__(self, repo: str, revision: str | None = None) -> ModelEntry:
        """The entry of `repo` at `revision`. What its author gates is listed as such. Raises `LookupFailed`."""
        try:
            info = self._api.model_info(repo, revision=revision, timeout=self._timeout)
            try:
                config = json.loads(self._file(info, "config.json"))
                card = self._file(info, "README.md")
            except GatedRepoError:
                return _entry(info, revision, {}, "", self._endpoint, locked=True)
            return _entry(info, revision, config if isinstance(config, dict) else {}, card, self._endpoint)
        except RevisionNotFoundError:
            raise LookupFailed(
                f"The Hub has {repo}, but not its revision {revision!r}. Correct it in MODELS."
            ) from None
        except GatedRepoError:
            raise LookupFailed(_gated(repo, self._endpoint)) from None
        except RepositoryNotFoundError:
            raise LookupFailed(
                f"The Hub has no repository {repo}, or it is private. Correct it in MODELS, or set an HF_TOKEN "
                "that may read it."
            ) from None
        except HFValidationError:
            raise LookupFailed(f"{repo!r} cannot be a repository of the Hub. Correct it in MODELS.") from None
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            passing = status == 429 or (isinstance(status, int) and status >= 500)
            again = "It is asked again: reload in a minute." if passing else "Restart to ask again."
            raise LookupFailed(f"The Hub at {self._endpoint} answered {status}. {again}", passing) from None
        except (transport.TransportError, transport.InvalidURL, ConnectionError, TimeoutError):
            raise LookupFailed(
                f"The Hub at {self._endpoint} could not be reached. It is asked again: reload in a minute, or check the "
                "network and HF_ENDPOINT.",
                passing=True,
            ) from None
        except (ValueError, TypeError, KeyError, RuntimeError):
            raise LookupFailed(
                f"What {self._endpoint} says about {repo} is not what a Hub says. Check HF_ENDPOINT."
            ) from None

    def _file(self, info: ModelInfo, name: str) -> str:
        """The text of a file, read at the commit that `info` is of; "{}" or "" where there is none."""
        if info.siblings is not None and name not in {file.rfilename for file in info.siblings}:
            return "{}" if name.endswith(".json") else ""
        url = f"{self._endpoint}/{info.id}/resolve/{info.sha or 'main'}/{name}"
        response = get_session().get(url, headers=self._headers, timeout=self._timeout)
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return "{}" if name.endswith(".json") else ""
        return response.text[:_LARGEST_FILE]


def _gated(repo: str, endpoint: str) -> str:
    return (
        f"Its author asks that a licence be accepted first: do so at {endpoint}/{repo} "
        "and set HF_TOKEN to a token of that account."
    )


def _entry(
    info: ModelInfo, revision: str | None, config: dict[str, Any], card: str, endpoint: str, *, locked: bool = False
) -> ModelEntry:
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    weights = _weights_gib(info)
    context, cache = _context(text, weights)
    memory = round(weights + cache, 1) if weights else None
    said = info.card_data.to_dict() if info.card_data else {}
    datasets = _texts(said.get("datasets"))
    author = info.id.split("/")[0] if "/" in info.id else ""
    total = info.safetensors.total if info.safetensors else None
    quantised = "quantization_config" in config
    unavailable = _gated(info.id, endpoint) if locked else _not_a_chat_model(info)
    return ModelEntry(
        name=info.id,
        model=info.id,
        revision=revision,
        label=info.id.split("/")[-1],
        description=_first_paragraph(card),
        author=author,
        card_url=f"{endpoint}/{info.id}",
        website=f"{endpoint}/{author}" if author else "",
        training_data=f"Named in its card: {', '.join(datasets)}." if datasets else "",
        licence=str(said.get("license_name") or said.get("license") or ""),
        languages=tuple(code for code in _texts(said.get("language")) if LANGUAGE.fullmatch(code)),
        context=context,
        billion_parameters=round(total / 1e9, 3) if total and not quantised else None,
        memory_gib=memory,
        needs_gpu=quantised or (memory or 0.0) > _GPU_FROM_GIB,
        gated=bool(info.gated),
        defaults=SamplingParams(max_tokens=answer_that_fits(context)),
        unavailable=unavailable,
    )


def _weights_gib(info: ModelInfo) -> float:
    """GiB of the weights once loaded, from the parameter counts of the Hub; 0 where it has none."""
    if info.safetensors and info.safetensors.parameters:
        counts = info.safetensors.parameters.items()
        return sum(count * _BYTES.get(kind, 1 if kind.startswith("F8") else 2) for kind, count in counts) / GIB
    return 0.0


def _context(text: dict[str, Any], weights_gib: float) -> tuple[int, float]:
    """(tokens to make room for, GiB that their keys and values take).

    As many tokens as the model reads and a fifth of its weights' memory holds, but no fewer than `_WANTED_CONTEXT`:
    most models of today read more than any one machine has room for.
    """
    reads = _number(text, "max_position_embeddings") or _number(text, "n_positions") or _number(text, "seq_length")
    layers = _number(text, "num_hidden_layers") or _number(text, "n_layer")
    heads = _number(text, "num_attention_heads") or _number(text, "n_head")
    width = _number(text, "hidden_size") or _number(text, "n_embd")
    head = _number(text, "head_dim") or (width // heads if heads else 0)
    per_token = 2 * 2 * layers * (_number(text, "num_key_value_heads") or heads) * head / GIB  # keys and values, 16 bit
    fifth = weights_gib / 5
    if not reads:
        return ASSUMED_CONTEXT, max(fifth, ASSUMED_CONTEXT * per_token)
    if not per_token:
        return min(reads, _WANTED_CONTEXT), fifth
    fits = int(fifth / per_token) // 1024 * 1024
    context = min(reads, max(fits, _WANTED_CONTEXT))
    return context, max(fifth, context * per_token)


def _number(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _not_a_chat_model(info: ModelInfo) -> str | None:
    """Why this is no model to talk to, where the repository is clear about it."""
    tokenizer = (info.config or {}).get("tokenizer_config")
    files = {file.rfilename for file in info.siblings or ()}
    if not isinstance(tokenizer, dict) or not files:
        return None
    if tokenizer.get("chat_template") or (info.config or {}).get("chat_template_jinja"):
        return None
    if any("chat_template" in name for name in files) or "tekken.json" in files:
        return None
    return "It has no chat template: it continues texts, but holds no conversation. Pick its instruct or chat version."


def _first_paragraph(card: str) -> str:
    """The first plain sentences of a model card, without its front matter and markup; "" if there are none."""
    body = re.sub(r"\A---\n.*?\n---\n", "", card.replace("\r\n", "\n"), count=1, flags=re.DOTALL)
    body = re.sub(r"```.*?(```|\Z)|<!--.*?(-->|\Z)", "", body, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", body):
        text = " ".join(_LINK.sub(r"\1", _WORDS_OF_MARKUP.sub("", paragraph)).split())
        if len(text) < 40 or text[0] in "#|>-*+=[(0123456789":
            continue
        if len(text) <= _LONGEST_DESCRIPTION:
            return text
        cut = text[:_LONGEST_DESCRIPTION]
        return cut[: cut.rfind(". ") + 1] or cut[: cut.rfind(" ")] + " ..."
    return ""


def _texts(given: Any) -> list[str]:
    items = given if isinstance(given, list) else [given]
    return [item for item in items if isinstance(item, str)]
