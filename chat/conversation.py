"""The values a conversation is made of. Frozen; they know no ids, no SQL, no widgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One role and its content, as an engine reads it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Written:
    """What an answer holds: its text, and the thoughts of a model that reasons first, with the seconds that it took.

    `reasoning` None: there was none. The two never mix: reasoning is shown folded, and is no part of what an engine reads
    afterwards or of what is shared.
    """

    text: str
    reasoning: str | None = None
    reasoning_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """What one sampling parameter may be. The only place where a limit is written down."""

    low: float
    high: float
    step: float
    default: float | int | None
    help: str


RANGES: dict[str, Range] = {
    "temperature": Range(0.0, 2.0, 0.05, 0.7, "How adventurous the next word is: 0 always takes the likeliest."),
    "top_p": Range(0.01, 1.0, 0.01, 0.95, "Keep the likeliest words until their probabilities add up to this."),
    "top_k": Range(0, 200, 1, 0, "Keep only this many of the likeliest words. 0 keeps all."),
    "max_tokens": Range(1, 32768, 1, 1024, "The longest answer, in tokens (about three quarters of a word each)."),
    "repetition_penalty": Range(0.8, 2.0, 0.01, 1.0, "Above 1, words already used become less likely."),
    "seed": Range(
        0, 2**31 - 1, 1, None, "The same seed and settings give the same answer. Empty: a new one each time."
    ),
}


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How an engine draws the next token. Ranges and defaults: `RANGES`.

    Raises `ValueError`, with a sentence that names the parameter and its range, when a value is out of range.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    max_tokens: int = 1024
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            if value is None and allowed.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} must be a number, not {value!r}.")
            if isinstance(allowed.step, int) and isinstance(value, float) and not value.is_integer():
                raise ValueError(f"{name} must be a whole number, not {value}.")
            if not allowed.low <= value <= allowed.high:
                given = f"{value:g}" if abs(value) < 1e300 or isinstance(value, float) else "a number of that length"
                raise ValueError(f"{name} must be between {allowed.low:g} and {allowed.high:g}, not {given}.")
            if isinstance(allowed.step, int):
                object.__setattr__(self, name, int(value))

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], base: SamplingParams | None = None) -> SamplingParams:
        """`given` laid over `base` (default: the defaults). An unknown name is a `ValueError`, never ignored."""
        names = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - names)
        if unknown:
            raise ValueError(f"Unknown sampling parameter {unknown[0]!r}. Known: {', '.join(sorted(names))}.")
        return cls(**{**asdict(base or cls()), **given})

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)
