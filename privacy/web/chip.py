"""The line under the box you type in: who will read this conversation, when, and whether that can be undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from privacy.mine import Outlook
from privacy.policy.words import Words, words
from privacy.rows import Rules

ENGLISH = words("en")
ONLY_YOU = ENGLISH("chip_only_you")


def chip(
    outlook: Outlook,
    conversation: str | None,
    rules: Rules,
    now: float,
    say: Words = ENGLISH,
    nobody_in: Collection[str] = (),
    held_up: bool = False,
) -> dict[str, Any]:
    """The chip's JSON. `now`: Unix seconds. `nobody_in`: datasets that nobody was let into yet. `held_up`: sharing is."""
    return {
        "sentence": sentence(outlook, conversation is None, rules, now, say, nobody_in, held_up),
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
    rules: Rules,
    now: float,
    say: Words = ENGLISH,
    nobody_in: Collection[str] = (),
    held_up: bool = False,
) -> str:
    """What is true now. It never promises more privacy than there is."""
    there = {*outlook.standing, *outlook.sending}
    gone = [name for name in outlook.leaving if name not in there]
    stopped = [name for name in outlook.stopped if name not in {*there, *gone}]
    sending = [name for name in outlook.sending if name not in outlook.standing]
    # Of somebody who has some of it, what is on its way to them is more of it.
    coming = {name: now for name in outlook.sending if name in outlook.standing} | dict(outlook.coming)
    all_of_it = "_all" if outlook.whole else ""

    def unread(name: str) -> bool:
        datasets = outlook.datasets.get(name)
        return bool(datasets) and all(dataset in nobody_in for dataset in datasets or ())

    def about(key: str, names: Iterable[str], **values: str) -> list[str]:
        """Of those who may have access, and then of those whose datasets nobody has."""
        each = {"": [name for name in names if not unread(name)], "_nobody": [name for name in names if unread(name)]}
        return [say(key + kind, len(them), who=say.all_of(them), **values) for kind, them in each.items() if them]

    said = about("chip_can_read" + ("" if coming or sending else all_of_it), outlook.standing)
    said += about("chip_sending", sending)
    said += about("chip_taking_back", gone)
    said += about("chip_stopped", stopped)
    if coming.keys() == there:
        said += [say("chip_more_follows", when=say.distance(min(coming.values()) - now))] if coming else []
    else:
        times = {name: say.distance(at - now) for name, at in sorted(coming.items(), key=lambda each: each[::-1])}
        for when in dict.fromkeys(times.values()):
            key = "chip_will_read_more" if said else "chip_will_read" + all_of_it
            said += about(key, sorted(name for name in times if times[name] == when), when=when)
    if held_up and said:
        said.append(say("chip_held_up"))
    if outlook.next_turn and outlook.recipient:
        after = _after(rules, now, say)
        if not said:
            said += about("chip_new" if is_new else "chip_here", [outlook.recipient], after=after)
        elif there == {outlook.recipient}:
            said.append(say("chip_next_follows", after=after))
        elif outlook.shared or outlook.recipient not in outlook.coming:
            said += about("chip_next", [outlook.recipient], after=after)
    return " ".join(said) or say("chip_only_you")


def _after(rules: Rules, now: float, say: Words) -> str:
    """How long after the last message a turn of now leaves."""
    if rules.quiet:
        return say("after_last_message", duration=say.duration(rules.quiet / 3600, "after_"))
    batch = rules.next_batch(now)
    return say.distance(batch - now) if batch > now else say("soon_after_last_message")
