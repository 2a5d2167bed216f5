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
        "can_take_back": conversation is not None and outlook.can_take_back,
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
    """What is true now. It never promises more privacy than there is."""
    follows = f"{duration(quiet / 3600)} after the last message" if quiet else "soon after the last message"
    gone = tuple(name for name in outlook.leaving if name not in outlook.standing)
    said = []
    if outlook.standing:
        said.append(f"{names(outlook.standing)} can read part of this conversation.")
    if gone:
        said.append(f"Being taken back from {names(gone)}; until that is done they can still read part of it.")
    if outlook.when is not None:
        at = distance(outlook.when - now)
        if not said:
            said.append(f"{names(outlook.coming)} will be able to read this conversation {at}; until then only you.")
        elif outlook.coming == outlook.standing:
            said.append(f"More of it follows {at}.")
        else:
            said.append(f"{names(outlook.coming)} will be able to read more of it {at}.")
    if outlook.next_turn and outlook.recipient:
        if not said:
            said.append(
                f"{outlook.recipient} will be able to read {'this' if is_new else 'what you write here'}, {follows}."
            )
        elif outlook.standing == (outlook.recipient,):
            said.append(f"What you write next follows, {follows}.")
        elif outlook.shared or outlook.recipient not in outlook.coming:
            said.append(f"{outlook.recipient} will be able to read what you write next, {follows}.")
    return " ".join(said) or ONLY_YOU


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
