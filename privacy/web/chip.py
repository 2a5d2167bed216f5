"""The line under the box you type in: who will read this conversation, when, and whether that can be undone."""

from __future__ import annotations

from typing import Any

from privacy.mine import Outlook
from privacy.policy import duration

ONLY_YOU = "Only you can read this conversation."
RESTORING = "Who can read this is being looked up; until that is done nothing new is shared."


def chip(outlook: Outlook, conversation: str | None, quiet: float, now: float) -> dict[str, Any]:
    """The chip's JSON. `quiet`: seconds; `now`: Unix seconds."""
    return {
        "sentence": sentence(outlook, conversation is None, quiet, now),
        "who": list(outlook.readers),
        "when": outlook.when,
        "shared": outlook.shared,
        "can_take_back": conversation is not None and outlook.can_take_back and not going(outlook),
        "choice": outlook.choice,
        "state": outlook.state,
    }


def unknown() -> dict[str, Any]:
    """The chip's JSON while the ledger and the outbox are still coming back: a guess could promise too much."""
    return {
        "sentence": RESTORING,
        "who": [],
        "when": None,
        "shared": None,
        "can_take_back": False,
        "choice": None,
        "state": None,
    }


def sentence(outlook: Outlook, is_new: bool, quiet: float, now: float) -> str:
    """One sentence that is true now. It never promises more privacy than there is."""
    who = names(outlook.readers)
    if outlook.shared and going(outlook):
        return f"Being taken back from {who}; until that is done they can still read part of it."
    if outlook.shared:
        more = f" More of it follows {distance(outlook.when - now)}." if outlook.when is not None else ""
        return f"{who} can read part of this conversation.{more}"
    if outlook.when is not None:
        return f"{who} will be able to read this conversation {distance(outlook.when - now)}; until then only you."
    if outlook.next_turn:
        wait = f"{duration(quiet / 3600)} after the last message" if quiet else "soon after the last message"
        return f"{who} will be able to read {'this' if is_new else 'what you write here'}, {wait}."
    return ONLY_YOU


def going(outlook: Outlook) -> bool:
    """What was shared is on its way out, and nothing else is on its way in."""
    ended = outlook.choice == "private" or (outlook.choice == "inherit" and outlook.state in ("withdrawn", "denied", "blocked"))
    return outlook.shared and outlook.when is None and not outlook.next_turn and ended


def names(who: tuple[str, ...]) -> str:
    return who[0] if len(who) == 1 else f"{', '.join(who[:-1])} and {who[-1]}" if who else "Nobody else"


def distance(seconds: float) -> str:
    """Words for a time from now: "in 3 days"."""
    if seconds <= 0:
        return "within minutes"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length or (unit == "minute"):
            count = max(1, round(seconds / length))
            return f"in {count} {unit}{'s' if count != 1 else ''}"
    raise AssertionError("minutes end the list")
