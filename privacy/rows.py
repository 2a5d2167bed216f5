"""From a segment to the row that would leave. Pure, and the only way a turn's text gets towards a sharing dataset."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from privacy.consent import Terms
from privacy.feedback import Said
from privacy.languages import language_of
from privacy.screening import FLAG, KeptBack, reason_to_keep
from privacy.segments import Segment
from privacy.shards import SCHEMA_VERSION

HOUR = 3600
MOST_ROWS = 20  # of one person, model and month
OTHER = "other"


class Redacted(Protocol):
    """A text as it may leave, and how much of each kind was replaced in it."""

    text: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Redaction:
    """`redact(text, placeholders)` replaces personal data; `placeholders()` starts the numbering of one row.

    `version` changes whenever the same text may give another result.
    """

    version: str
    redact: Callable[[str, Any], Redacted]
    placeholders: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What sharing goes by. `quiet`: seconds. `authors`: model -> who made it; a model without one is not shared.

    `hours`: of the day, UTC, in which new rows leave; none: at any time.
    `most`: rows of one person, model and month. `blocked`: phrases of which none leaves. `texts`: path in a sharing dataset -> a text that was agreed to.
    """

    namespace: str
    prefix: str
    quiet: float
    terms: Terms
    authors: Mapping[str, str]
    redaction: Redaction
    licence: str = "cc-by-4.0"
    hours: tuple[int, ...] = ()
    most: int = MOST_ROWS
    blocked: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Of the redaction and of what is blocked: a row made under another one is made anew."""
        phrases = hashlib.sha256("\n".join(sorted(self.blocked)).encode()).hexdigest()[:8]
        return f"{self.redaction.version}+{phrases}" if self.blocked else self.redaction.version

    def next_batch(self, at: float) -> float:
        """The first moment from `at` on, Unix seconds, in which new rows leave."""
        hour = int(at // HOUR)
        wait = min(((wanted - hour) % 24 for wanted in self.hours), default=0)
        return at if wait == 0 else (hour + wait) * HOUR


@dataclass(frozen=True, slots=True)
class Prepared:
    """A redacted row without its id. `content` None: the row stays here, for the reason `kept_back`.

    `feedback`: what its owner said about its answers, redacted, as JSON objects.
    """

    content: Mapping[str, Any] | None
    language: str = OTHER
    month: str = OTHER
    kept_back: KeptBack | None = None
    feedback: tuple[Mapping[str, Any], ...] = ()

    def as_json(self, language: str, month: str) -> str:
        row = {**(self.content or {}), "language": language, "month": month}
        return json.dumps(row, ensure_ascii=False, sort_keys=True)


def prepare(
    segment: Segment[Any],
    policy_version: str,
    purposes: tuple[str, ...],
    rules: Rules,
    said: Sequence[Said] = (),
) -> Prepared:
    """The row of a segment, redacted, with what its owner `said` about its answers. An error of the redaction, of whatever
    kind, keeps the row back."""
    said = [one for one in said if one.answer in segment.answers]
    texts = (*(text for turn in segment.turns for text in (turn.prompt, turn.answer)), *(one.comment for one in said))
    if (reason := reason_to_keep(texts, segment.turns[0].instruction, rules.blocked)) is not None:
        return Prepared(None, kept_back=reason)
    if any(FLAG in one.reasons for one in said):
        return Prepared(None, kept_back="flagged")
    found: Counter[str] = Counter()
    placeholders = rules.redaction.placeholders()
    messages = []
    try:
        for turn in segment.turns:
            generator = f"{turn.model}@{turn.model_revision}" if turn.model_revision else turn.model
            for role, text in (("user", turn.prompt), ("assistant", turn.answer)):
                redacted = rules.redaction.redact(text, placeholders)
                found.update(redacted.counts)
                by = generator if role == "assistant" else None
                messages.append({"role": role, "content": redacted.text, "synthetic": by is not None, "generator": by})
        feedback = tuple(_feedback(one, segment, placeholders, rules) for one in said)
    except Exception:
        # Not logged either: what the redaction says of its failure may quote the text.
        return Prepared(None, kept_back="redaction")
    first, last = segment.turns[0], segment.turns[-1]
    content = {
        "messages": messages,
        "model": first.model,
        "revision": first.model_revision,
        "sampling": [turn.params for turn in segment.turns],
        "finish_reason": last.finish_reason,
        "rating": next((one["rating"] for one in reversed(feedback)), None),
        "turns": len(segment.turns),
        "context_omitted": segment.context_omitted,
        "attachments_omitted": segment.attachments_omitted,
        "redactions": [{"type": kind, "count": count} for kind, count in sorted(found.items())],
        "redaction_version": rules.version,
        "policy_version": policy_version,
        "purposes": list(purposes),
        "licence": rules.licence,
        "schema_version": SCHEMA_VERSION,
    }
    month = datetime.fromtimestamp(first.created_at, UTC).strftime("%Y-%m")
    return Prepared(content, language_of([message["content"] for message in messages]), month, feedback=feedback)


def _feedback(one: Said, segment: Segment[Any], placeholders: Any, rules: Rules) -> dict[str, Any]:
    return {
        "answer": segment.answers.index(one.answer) + 1,
        "rating": one.rating,
        "reasons": list(one.reasons),
        "comment": rules.redaction.redact(one.comment, placeholders).text if one.comment else None,
    }


def feedback_text(said: Iterable[Mapping[str, Any]]) -> str | None:
    """The JSON of what was said about a row's answers, the same in whatever order; None where nothing was."""
    ordered = sorted(json.dumps(one, ensure_ascii=False, sort_keys=True, default=str) for one in said)
    return f"[{', '.join(ordered)}]" if ordered else None


def row_hash(row: str) -> str:
    """SHA-256, hex, of a row's JSON, of what was said about it, or of a text that people agree to."""
    return hashlib.sha256(row.encode()).hexdigest()


def dataset_id(rules: Rules, model: str) -> str:
    """The sharing dataset of a model. The Hub allows no "--" in a name, and 96 characters of letters, digits, ".-_"."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in model.replace("/", "__"))
    name = f"{rules.prefix}-{name}".strip(".-")
    if name == f"{rules.prefix}-audit":  # that is another one's
        name = f"{name}-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
    while "--" in name or ".." in name:
        name = name.replace("--", "-").replace("..", ".")
    if len(name) > 96 or name.endswith(".git"):
        name = f"{name[:80].rstrip('.-')}-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
    return f"{rules.namespace}/{name}"
