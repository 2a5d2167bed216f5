"""From a segment to the row that would leave. Pure, and the only way a turn's text gets towards a sharing dataset."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from privacy.consent import Terms
from privacy.segments import Segment
from privacy.shards import SCHEMA_VERSION

OTHER = "other"
UNDETERMINED = "und"


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

    `language`: the language tag of a row's messages.
    """

    namespace: str
    prefix: str
    quiet: float
    terms: Terms
    authors: Mapping[str, str]
    redaction: Redaction
    licence: str = "cc-by-4.0"
    language: Callable[[list[str]], str] = field(default=lambda texts: UNDETERMINED)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A redacted row without its id. `content` None: redaction failed, and the row stays here."""

    content: Mapping[str, Any] | None
    language: str = OTHER
    month: str = OTHER

    def as_json(self, language: str, month: str) -> str:
        row = {**(self.content or {}), "language": language, "month": month}
        return json.dumps(row, ensure_ascii=False, sort_keys=True)


def prepare(segment: Segment[Any], policy_version: str, purposes: tuple[str, ...], rules: Rules) -> Prepared:
    """The row of a segment, redacted. An error of the redaction, of whatever kind, keeps the row back."""
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
    except Exception:
        # Not logged either: what the redaction says of its failure may quote the text.
        return Prepared(None)
    first, last = segment.turns[0], segment.turns[-1]
    content = {
        "messages": messages,
        "model": first.model,
        "revision": first.model_revision,
        "sampling": [turn.params for turn in segment.turns],
        "finish_reason": last.finish_reason,
        "rating": None,
        "turns": len(segment.turns),
        "context_omitted": segment.context_omitted,
        "attachments_omitted": segment.attachments_omitted,
        "redactions": [{"type": kind, "count": count} for kind, count in sorted(found.items())],
        "redaction_version": rules.redaction.version,
        "policy_version": policy_version,
        "purposes": list(purposes),
        "licence": rules.licence,
        "schema_version": SCHEMA_VERSION,
    }
    month = datetime.fromtimestamp(first.created_at, UTC).strftime("%Y-%m")
    return Prepared(content, rules.language([message["content"] for message in messages]), month)


def row_hash(row: str) -> str:
    """SHA-256, hex, of a row's JSON."""
    return hashlib.sha256(row.encode()).hexdigest()


def dataset_id(rules: Rules, model: str) -> str:
    """The sharing dataset of a model. The Hub allows no "--" in a name, and 96 characters of letters, digits, ".-_"."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in model.replace("/", "__"))
    name = f"{rules.prefix}-{name}".strip(".-")
    while "--" in name or ".." in name:
        name = name.replace("--", "-").replace("..", ".")
    if len(name) > 96 or name.endswith(".git"):
        name = f"{name[:80].rstrip('.-')}-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
    return f"{rules.namespace}/{name}"
