"""The line under the box you type in: who will read this conversation, when, and whether that can be undone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from privacy.mine import Outlook
from privacy.policy.words import Words, words

ENGLISH = words("en")
ONLY_YOU = ENGLISH("chip_only_you")


def chip(
    outlook: Outlook,
    conversation: str | None,
    quiet: float,
    now: float,
    say: Words = ENGLISH,
    nobody_in: Collection[str] = (),
) -> dict[str, Any]:
    """The chip's JSON. `quiet`: seconds; `now`: Unix seconds. `nobody_in`: authors who were let into no dataset yet."""
    return {
        "sentence": sentence(outlook, conversation is None, quiet, now, say, nobody_in),
        "who": list(outlook.readers),
        "when": outlook.when,
        "shared": outlook.shared,
        "can_take_back": conversation is not None and outlook.can_take_back,
        "choice": outlook.choice,
        "state": outlook.state,
    }


def unknown(say: Words = ENGLISH) -> dict[str, Any]:
    """The chip's JSON while the ledger and the outbox are still coming back: a guess could promise too much."""
    return {
        "sentence": say("chip_restoring"),
        "who": [],
        "when": None,
        "shared": None,
        "can_take_back": False,
        "choice": None,
        "state": None,
    }


def sentence(
    outlook: Outlook,
    is_new: bool,
    quiet: float,
    now: float,
    say: Words = ENGLISH,
    nobody_in: Collection[str] = (),
) -> str:
    """What is true now. It never promises more privacy than there is."""

    def about(key: str, names: tuple[str, ...], **values: str) -> str:
        return say(key, len(names), who=say.all_of(names), **values)

    gone = tuple(name for name in outlook.leaving if name not in outlook.standing)
    stopped = tuple(name for name in outlook.stopped if name not in (*outlook.standing, *gone))
    said = []
    let_in = tuple(name for name in outlook.standing if name not in nobody_in)
    not_yet = tuple(name for name in outlook.standing if name in nobody_in)
    if let_in:
        said.append(about("chip_can_read", let_in))
    if not_yet:
        said.append(about("chip_nobody_yet", not_yet))
    if gone:
        said.append(about("chip_taking_back", gone))
    if stopped:
        said.append(about("chip_stopped", stopped))
    if outlook.when is not None:
        when = say.distance(outlook.when - now)
        if not said:
            said.append(about("chip_will_read", outlook.coming, when=when))
        elif outlook.coming == outlook.standing:
            said.append(say("chip_more_follows", when=when))
        else:
            said.append(about("chip_will_read_more", outlook.coming, when=when))
    if outlook.next_turn and outlook.recipient:
        after = say("soon_after_last_message")
        if quiet:
            after = say("after_last_message", duration=say.duration(quiet / 3600, "after_"))
        if not said:
            said.append(about("chip_new" if is_new else "chip_here", (outlook.recipient,), after=after))
        elif outlook.standing == (outlook.recipient,):
            said.append(say("chip_next_follows", after=after))
        elif outlook.shared or outlook.recipient not in outlook.coming:
            said.append(about("chip_next", (outlook.recipient,), after=after))
    return " ".join(said) or say("chip_only_you")
