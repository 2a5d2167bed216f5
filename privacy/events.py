"""What one event of the ledger of consent is: a value, and the order in which events count."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal["grant", "deny", "withdraw", "text_changed", "org_block", "takedown", "delete"]

# Of events at one moment, which only replicas can write, the most restrictive is taken for the last. See `that_count`.
SEVERITY = {"text_changed": 0, "grant": 1, "withdraw": 2, "deny": 3, "org_block": 4, "delete": 5, "takedown": 6}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the ledger. `hash` covers every other field; `previous`: the hash of the one before in its chain.
    `seen`: the hashes of those of the same person's other chains that it follows directly, and of what others said against
    sharing its conversation. Like the parents of a commit, these tell which of two events knew of the other, and no clock
    does."""

    id: str
    subject: str
    replica: str
    number: int
    at: float
    kind: Kind
    scope: Literal["account", "conversation"]
    conversation: str | None
    recipient: str | None
    turns: tuple[str, ...]
    purposes: tuple[str, ...]
    policy_version: str
    text_hash: str
    language: str
    surface: str
    age_affirmed: bool
    previous: str
    hash: str = ""
    seen: tuple[str, ...] = ()

    @property
    def chain(self) -> tuple[str, str]:
        return self.subject, self.replica

    def digest(self) -> str:
        without = {"hash"} if self.seen else {"hash", "seen"}  # events from before `seen` keep the hash they have
        content = {name: value for name, value in asdict(self).items() if name not in without}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def speaks_of(event: Event, surface: str) -> bool:
    """Whether an account's choice is about what comes from there: a yes about what it was said to alone, a no that was not
    said to the API alone about everything."""
    return (event.surface == "api") == (surface == "api") or (surface == "api" and event.kind != "grant")


def in_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.at, SEVERITY[event.kind], event.replica, event.number))


def event_from(row: sqlite3.Row | Mapping) -> Event:
    values = dict(row)
    for name in ("turns", "purposes", "seen"):
        given = values[name]
        values[name] = tuple(json.loads(given) if isinstance(given, str) else given)
    return Event(**{**values, "age_affirmed": bool(values["age_affirmed"])})
