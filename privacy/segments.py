"""Segments: the consecutive turns of a kept branch that one model answered under one consent. The unit that is shared.

Titles, system prompts and abandoned branches are not in a turn, so they cannot leave with one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Generic, TypeVar

PASTED = 4_000  # characters; a longer prompt counts as an attachment, and attachments are a choice of their own

Why = TypeVar("Why", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Turn:
    """A row of chat's `finished_turn`, times in Unix seconds. `position` grows by 2 from a turn to the one after it.
    `agreed`: under which yeses it was written. `instruction`: the system prompt, which never leaves, and is read to keep a
    row back that quotes it."""

    conversation: str
    owner: str
    position: int
    prompt_id: str
    prompt: str
    answer_id: str
    answer: str
    continued: int
    agreed: str | None
    model: str
    model_revision: str | None
    params: str
    finish_reason: str | None
    surface: str
    created_at: float
    conversation_updated_at: float
    settled_at: float
    instruction: str = field(repr=False)

    @property
    def part(self) -> str:
        """What a share names it by. An answer that is gone on with says more than was previewed: it is another part."""
        return f"{self.answer_id}.{self.continued}" if self.continued else self.answer_id

    @property
    def pasted(self) -> bool:
        return len(self.prompt) > PASTED


@dataclass(frozen=True, slots=True)
class Segment(Generic[Why]):
    """`why`: what covers all of its turns. `attachments_omitted`: of the turns before it in its conversation."""

    turns: tuple[Turn, ...]
    why: Why
    context_omitted: bool
    attachments_omitted: int

    @property
    def conversation(self) -> str:
        return self.turns[0].conversation

    @property
    def model(self) -> str:
        return self.turns[0].model

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(turn.answer_id for turn in self.turns)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(turn.part for turn in self.turns)

    @property
    def changed_at(self) -> float:
        return self.turns[0].conversation_updated_at

    @property
    def settled_at(self) -> float:
        """When its last answer was finished."""
        return self.turns[-1].settled_at

    def digest(self) -> str:
        """SHA-256, hex, of what the segment says and who said it: another digest, another segment."""
        content = [
            [t.prompt_id, t.prompt, t.answer_id, t.answer, t.model, t.model_revision, t.params, t.finish_reason]
            for t in self.turns
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


SELECT = """
    SELECT conversation, owner, position, prompt_id, prompt, answer_id, answer, continued, agreed, model,
           model_revision, params, finish_reason, surface, created_at, conversation_updated_at,
           coalesce(settled_at, created_at) AS settled_at, system_prompt AS instruction
    FROM finished_turn WHERE owner = ?
"""


def answer_of(part: str) -> str:
    """The answer's id of a `Turn.part`."""
    return part.partition(".")[0]


def conversations_of(db: sqlite3.Connection, owner: str) -> Iterator[tuple[str, list[Turn]]]:
    """Every conversation of `owner` that has a finished turn, with those turns in order; one at a time in memory."""
    rows = db.execute(SELECT + "ORDER BY conversation, position", (owner,))
    for conversation, turns in groupby(map(_turn, rows), key=lambda turn: turn.conversation):
        yield conversation, list(turns)


def turns_of(db: sqlite3.Connection, owner: str, conversation: str) -> list[Turn]:
    """The finished turns of one conversation, in order; none where it is not the owner's."""
    rows = db.execute(SELECT + "AND conversation = ? ORDER BY position", (owner, conversation))
    return [_turn(row) for row in rows]


def cut(
    turns: Sequence[Turn], covering: Callable[[Turn], Why | None], taken: Collection[str] = ()
) -> list[Segment[Why]]:
    """The segments of a conversation's `turns` that `covering` gives a reason for, but for the answers in `taken`.

    A segment ends where the model, its revision or the reason changes, and where a turn is left out in between. A call of
    the API is one by itself.
    """
    runs: list[tuple[tuple[Any, ...], list[Turn], int]] = []
    pasted = 0
    for turn in turns:
        pasted += turn.pasted
        why = None if turn.pasted or turn.answer_id in taken else covering(turn)
        if why is None:
            continue
        key = (turn.model, turn.model_revision, why, turn.answer_id if turn.surface == "api" else None)
        if runs and runs[-1][0] == key and runs[-1][1][-1].position + 2 == turn.position:
            runs[-1][1].append(turn)
        else:
            runs.append((key, [turn], pasted))
    return [_segment(run, key[2], omitted) for key, run, omitted in runs]


def find(turns: Sequence[Turn], answers: Sequence[str], why: Why) -> Segment[Why] | None:
    """The segment of exactly these answers, if they still follow one another on the kept branch."""
    ids = [turn.answer_id for turn in turns]
    start = ids.index(answers[0]) if answers[0] in ids else None
    if start is None or ids[start : start + len(answers)] != list(answers):
        return None
    run = list(turns[start : start + len(answers)])
    if any(after.position != before.position + 2 for before, after in pairwise(run)):
        return None
    return _segment(run, why, sum(turn.pasted for turn in turns[:start]))


def _segment(run: list[Turn], why: Why, omitted: int) -> Segment[Why]:
    return Segment(tuple(run), why, run[0].position > 1 or run[0].instruction != "", omitted)


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(**dict(row))
