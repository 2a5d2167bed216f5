"""`ModelEntry`: one model that visitors may pick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from chat.conversation import SamplingParams

Kind = Literal["vllm", "openai", "tgi", "hosted"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
GIB = 2**30
ASSUMED_CONTEXT = 4096  # tokens, where nobody says how many a model reads


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that visitors may pick. An empty text, an empty tuple or `None` means: not known.

    `kind`: which engine answers; `vllm` without a `base_url` is one that runs here. `model`: what the engine knows it
    by: a repository on the Hub, or, for a `vllm` here, the absolute path of a folder. `author`: the Hub namespace that
    made it; consent to share names it. `context`: tokens of prompt and answer together (`ASSUMED_CONTEXT` where it is
    not known). `base_url`: up to and without `/v1`. `memory_gib`: weights and cache, in GiB. `unavailable`: a sentence
    why nobody can pick it, whatever the machine. `awaited`: because the Hub has not said yet what it is, and is asked
    again. `stated`: the keys that the file gives, as against what follows from them.
    """

    name: str
    kind: Kind = "vllm"
    model: str = ""
    revision: str | None = None
    label: str = ""
    description: str = ""
    author: str = ""
    card_url: str = ""
    website: str = ""
    training_data: str = ""
    licence: str = ""
    languages: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    style: tuple[str, ...] = ()
    difficulty: tuple[str, ...] = ()
    context: int = ASSUMED_CONTEXT
    billion_parameters: float | None = None
    memory_gib: float | None = None
    needs_gpu: bool = False
    gated: bool = False
    defaults: SamplingParams = field(default_factory=SamplingParams)
    base_url: str | None = None
    api_key_env: str | None = None
    provider: str | None = None
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    reasoning: bool = False
    titles: bool = True
    unavailable: str | None = None
    awaited: bool = False
    stated: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @property
    def is_here(self) -> bool:
        """Whether Parley starts its engine itself, on this machine."""
        return self.kind == "vllm" and not self.base_url

    @property
    def is_folder(self) -> bool:
        """Whether `model` is a folder on this machine, and not a repository on the Hub."""
        return self.is_here and self.model.startswith("/")

    @property
    def may_continue(self) -> bool:
        """Whether its engine can go on with an answer that was cut off. vLLM can; of a server that is known by its address
        alone it shows when it is asked."""
        return self.kind == "vllm" or (self.kind == "openai" and not self.model)

    @property
    def answered_by(self) -> str | None:
        """Who else reads what is asked: a host, or a provider; None where this machine answers."""
        if self.base_url:
            host = urlsplit(self.base_url).hostname or self.base_url
            return None if host in LOOPBACK else host
        return "a provider on Hugging Face" if self.kind == "hosted" else None

    def over(self, found: ModelEntry) -> ModelEntry:
        """`found` (what the Hub knows), with what the file states about this entry in its place."""
        entry = replace(found, **{key: getattr(self, key) for key in self.stated}, stated=self.stated)
        if entry.defaults.max_tokens < entry.context:
            return entry
        return replace(entry, defaults=replace(entry.defaults, max_tokens=answer_that_fits(entry.context)))


def memory_for(billion_parameters: float, bytes_each: float = 2.0) -> float:
    """GiB for the weights (bf16 unless told otherwise) and a fifth more for the cache of what was said."""
    return round(billion_parameters * 1e9 * bytes_each * 1.2 / GIB, 1)


def answer_that_fits(context: int) -> int:
    """The default length of an answer, in tokens: at most half of what the model reads."""
    return min(SamplingParams().max_tokens, context // 2)
