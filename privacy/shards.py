"""What stands in a sharing dataset: one fixed Arrow schema, 16 Parquet shards, the tombstones, and the card."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from privacy.measured import measured_text
from privacy.policy.words import words

SHARDS = 16
SCHEMA_VERSION = 1
TOMBSTONES, FEEDBACK, CARD = "tombstones.parquet", "feedback.parquet", "README.md"
ROW_ID = re.compile("[0-9a-f]{32}")
MARK = "shared by consent"  # in every card: by it a dataset is known again

MESSAGE = pa.struct(
    [("role", pa.string()), ("content", pa.string()), ("synthetic", pa.bool_()), ("generator", pa.string())]
)
SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("messages", pa.list_(MESSAGE)),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("sampling", pa.list_(pa.string())),  # one JSON object per answer
        ("finish_reason", pa.string()),  # of the last answer
        ("rating", pa.string()),
        ("turns", pa.int32()),
        ("context_omitted", pa.bool_()),
        ("attachments_omitted", pa.int32()),
        ("language", pa.string()),
        ("month", pa.string()),
        ("redactions", pa.list_(pa.struct([("type", pa.string()), ("count", pa.int32())]))),
        ("redaction_version", pa.string()),
        ("policy_version", pa.string()),
        ("purposes", pa.list_(pa.string())),
        ("licence", pa.string()),
        ("schema_version", pa.int32()),
    ]
)
FEEDBACK_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("model", pa.string()),
        ("answer", pa.int32()),  # which one of the row's, from 1
        ("rating", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("comment", pa.string()),
    ]
)
ROW_MAP_SCHEMA = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("row_id", "subject", "event", "recipient", "conversation", "turns", "state")
        ),
        ("shard", pa.int32()),
        ("row_hash", pa.string()),
        ("feedback_hash", pa.string()),
        *((name, pa.float64()) for name in ("planned_at", "published_at", "retract_at", "retracted_at")),
    ]
)
TOMBSTONE_SCHEMA = pa.schema([("row_id", pa.string()), ("removed", pa.string())])


def shard_path(shard: int) -> str:
    return f"data/shard-{shard:02d}-of-{SHARDS}.parquet"


EVERY_SHARD = tuple(shard_path(shard) for shard in range(SHARDS))


def shard_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A shard of these rows, at least one, in the order of their ids. The same rows give the same bytes."""
    return _parquet(sorted(rows, key=lambda row: row["row_id"]), SCHEMA)


def tombstone_bytes(removed: Mapping[str, str]) -> bytes:
    """`removed`: row id -> the day (ISO 8601) on which its removal was decided; at least one."""
    return _parquet([{"row_id": row, "removed": day} for row, day in sorted(removed.items())], TOMBSTONE_SCHEMA)


def feedback_bytes(said: Iterable[Mapping[str, Any]]) -> bytes:
    """What owners said about answers, at least one, without the transcript."""
    return _parquet(sorted(said, key=lambda one: (one["row_id"], one["answer"])), FEEDBACK_SCHEMA)


def row_map_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A piece of the audit repository's row map, at least one row."""
    return _parquet(rows, ROW_MAP_SCHEMA)


def read_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file, as they were written."""
    # Without threads of its own, which may outlive the process and end it by a signal; small files are read faster so, too.
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False).to_pylist()


def rows_in(content: bytes) -> list[dict[str, Any]] | None:
    """The rows of a file that anybody may have written; None where it is no Parquet, or its rows have no ids as ours have."""
    try:
        rows = read_rows(content)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return rows if all(ROW_ID.fullmatch(str(row.get("row_id"))) for row in rows) else None


def _parquet(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    if not rows:
        raise ValueError("A Parquet file without a row breaks load_dataset: delete the file instead.")
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, buffer, compression="zstd", use_content_defined_chunking=True)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `texts`: version of a consent text -> its SHA-256; `ledger`: the hash of the ledger's heads.
    `feedback`: there is some; `most`: rows of one person, model and month; `quiet`: seconds; `hours`: of the day, UTC.
    `changes`: (day, rows that came, rows that left), the newest first."""

    model: str
    recipient: str
    licence: str
    redaction: str
    texts: Mapping[str, str]
    languages: Sequence[str]
    rows: int
    removed: int
    ledger: str
    feedback: bool = False
    most: int = 0
    quiet: float = 0.0
    hours: Sequence[int] = ()
    changes: Sequence[tuple[str, int, int]] = ()


def card_bytes(facts: CardFacts) -> bytes:
    """The dataset's README.md. Its `configs` name only what exists, so `load_dataset` opens each of them."""
    configs = []
    if facts.rows:
        configs.append({"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]})
    if facts.feedback:
        configs.append({"config_name": "feedback", "data_files": [{"split": "train", "path": FEEDBACK}]})
    if facts.removed:
        configs.append({"config_name": "tombstones", "data_files": [{"split": "train", "path": TOMBSTONES}]})
    if configs:
        configs[0]["default"] = True
    texts = "\n".join(f"- {version}: SHA-256 `{digest}`" for version, digest in sorted(facts.texts.items()))
    changes = "\n".join(f"- {day}: {came} came, {went} left" for day, came, went in facts.changes)
    when = f" New rows come at {', '.join(f'{hour:02d}:00' for hour in facts.hours)} UTC." if facts.hours else ""
    # JSON is YAML, and quotes whatever a name may hold.
    return f"""---
pretty_name: {json.dumps(f"Conversations with {facts.model}, {MARK}")}
license: {json.dumps(facts.licence)}
configs: {json.dumps(configs)}
---

# Conversations with {facts.model}, {MARK}

Visitors of a Parley Space talked with this model and agreed that {facts.recipient} may read what they said.
{facts.rows} rows.

## How it was collected

Nothing is shared by default. Each row is a run of consecutive turns that this model answered, covered by a consent
to {facts.recipient} by name, given on a page after sign-in and before anything was sent. Nothing left before
{facts.quiet / 3600:g} hours had passed since the conversation last changed and since the yes.{when} Of one person and month
there are at most {facts.most} rows. System prompts, titles, discarded answers and attachments are never in it. Users' text
is theirs; they license it as stated above. The config `feedback` has what they said about answers, without the transcript.

The consent texts that were shown:

{texts or "- none yet"}

## Personal data

Recognised identifiers are replaced by placeholders (redaction {facts.redaction}); the column `redactions` counts them
by type. Names, addresses and whatever no pattern describes may remain. Do not try to find out who wrote a row.

{measured_text(words("en")) or words("en")("not_measured")}

Languages: {", ".join(facts.languages) or "none yet"}. Cells of language and month with few rows are labelled "other".

## Withdrawal

Whoever agreed may withdraw at any time. Their rows then leave this dataset **and its history, which is rewritten**;
`{TOMBSTONES}` lists the row ids ({facts.removed} so far). If you hold a copy, remove those rows from it. Always load
the newest revision.

To have a row taken down, name its id in the form `/takedown` of the Space that it came from, which needs no account: the
row is hidden at once. Or write to the Space's operators through its discussions.

## Changes

{changes or "- none yet"}

Ledger of consent at this state: `{facts.ledger}`
""".encode()
