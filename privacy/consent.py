"""What follows from the ledger of consent. Nothing here is preset: unset never means yes.

    account state, per recipient    unset -> granted | denied; granted -> withdrawn; granted -> stale (by a new text);
                                    blocked (an organisation decides); ineligible (anonymous: could not withdraw)
    conversation's choice           inherit | private | share (exactly the turns that its preview showed)

A grant covers turns that were written under it: prompts and answers are kept with the grants that were in force then and
there (`agreed_now`), which is what the page said. So it covers nothing from before it, from a rest, from while a conversation
was private, from an organisation that decides, or from a time in which not all of the ledger was here, whatever any clock
says; those, and imported ones, only a conversation's own share covers. What came with an API key is covered by a grant to that
alone, never by one on the page or by a share; a no on the page ends both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from chat.db import Database
from privacy.events import Event, in_order, speaks_of
from privacy.hidden import hidden
from privacy.knowing import Knowledge, noes_of_others, speaking, that_count
from privacy.ledger import (
    ASKING,
    Choice,
    Shown,
    erase_subject,
    events_of,
    record,
    standing_of,
    subject_of,
    subjects_of,
    verify_chains,
)
from privacy.pauses import pauses_of, rests
from privacy.segments import answer_of
from privacy.unread import unread_spans

AccountState = Literal["unset", "granted", "denied", "withdrawn", "stale", "blocked", "ineligible"]
ConversationChoice = Literal["inherit", "private", "share"]


@dataclass(frozen=True, slots=True)
class Terms:
    """`stale_from`: version of a consent text -> Unix seconds from which a grant to it lets nothing new leave."""

    stale_from: Mapping[str, float] = field(default_factory=dict)

    def stale_since(self, version: str, now: float) -> float | None:
        since = self.stale_from.get(version)
        return since if since is not None and since <= now else None


@dataclass(frozen=True, slots=True)
class Yes:
    """The consent that covers a turn. `fresh`: something new may leave under it. `at`: when it was given."""

    event: Event
    fresh: bool

    @property
    def at(self) -> float:
        return self.event.at


class Standpoint:
    """What one owner's events say at the moment `now`. A value of one transaction: build it anew, do not keep it."""

    def __init__(self, db: sqlite3.Connection, owner: str, terms: Terms, now: float) -> None:
        self.subjects = subjects_of(db, owner)
        self.subject = next(iter(self.subjects), None)
        self.standing = standing_of(db, owner)
        self._db, self._terms, self._now = db, terms, now
        self._knowledge = Knowledge(db, self.subjects)
        self._said = speaking(db, self.subjects, None)  # of the account
        self._events = that_count(self._said, self._knowledge)
        self._counting: set[str] = set()  # of the conversations that were looked at
        self._unread = unread_spans(db)
        self._hidden = hidden(db)
        self.is_paused = rests(db, self.subjects)
        self._conversations: dict[str, list[Event]] = {}

    def account_state(self, recipient: str, surface: str = "page") -> AccountState:
        """`surface` "api": towards what is sent with API keys."""
        if self.standing == "anonymous":
            return "ineligible"
        state: AccountState = "unset"
        for event in self._about(recipient, surface):
            if event.kind == "grant":
                state = "stale" if self._terms.stale_since(event.policy_version, self._now) is not None else "granted"
            elif event.kind == "deny":
                state = "denied"
            else:
                state = "withdrawn" if state != "unset" or event.recipient else "unset"
        return "blocked" if self.standing == "managed" else state

    def conversation_choice(self, conversation: str) -> ConversationChoice:
        choice: ConversationChoice = "inherit"
        for event in self._of_conversation(conversation):
            if event.kind in ("deny", "takedown"):
                choice = "private"
            elif event.kind == "grant" and (choice != "private" or event.id in self._counting):
                choice = "share"
            elif event.kind == "withdraw":
                choice = "inherit"
            if event.kind == "takedown":
                break
        return choice

    def covering(
        self,
        recipient: str,
        conversation: str,
        part: str,
        surface: str,
        asked_at: float,
        agreed: str | None = None,
    ) -> Yes | None:
        """The consent under which `recipient` may have this turn, or None. `part`: see `privacy.segments.Turn`. `asked_at`:
        when its prompt was written. `agreed`: see `agreed_now`; None: from before that was noted, so the dates decide. Where
        there is both, what the dates forbid is not shared either."""
        if self.standing != "account" or answer_of(part) in self._hidden:
            return None
        choice = self.conversation_choice(conversation)
        if choice == "private":
            return None
        shares = [e for e in self._shares(conversation, recipient) if part in e.turns]
        if shares and surface != "api":
            return self._yes(shares[-1])
        if surface == "import":
            return None
        since, frozen = self._follows_account(conversation)
        if asked_at > frozen or self.was_unread(asked_at) or self.was_paused(asked_at):
            return None
        grants = self._grants(recipient, surface)
        ends = [*(grant.at for grant in grants[1:]), float("inf")]
        for grant, following in zip(grants, ends, strict=False):
            stale = self._terms.stale_since(grant.policy_version, self._now)
            until = min(following if agreed is None else float("inf"), float("inf") if stale is None else stale)
            if max(grant.at, since) < asked_at < until and (agreed is None or grant.id in agreed):
                # A newer yes to the same recipient refreshes an older one: they were asked again and agreed.
                fresh = self._yes(grants[-1])
                return fresh and Yes(grant, fresh.fresh)
        return None

    def was_unread(self, at: float) -> bool:
        """Whether at that time it was not known what the owner had said: an older yes does not cover what came then."""
        return any(begun <= at <= ended for begun, ended in self._unread)

    def was_paused(self, at: float) -> bool:
        """Whether the owner let their sharing rest at that time."""
        return any(begun <= at <= ended for begun, ended in self._pauses)

    def in_force(self, conversation: str | None) -> list[Event]:
        """The account's yeses that cover what is written in a conversation (None: a new one) from now on."""
        unread = self.was_unread(self._now) or any(ended == float("inf") for _, ended in self._unread)
        if self.standing != "account" or self.is_paused or unread:
            return []
        if conversation is not None and self.conversation_choice(conversation) != "inherit":
            return []
        said = {(e.recipient, e.surface) for e in self._events if e.kind == "grant" and e.scope == "account"}
        grants = [grant for recipient, surface in said for grant in self._grants(recipient or "", surface)]
        stale = self._terms.stale_since
        return [grant for grant in grants if stale(grant.policy_version, self._now) is None]

    @cached_property
    def _pauses(self) -> tuple[tuple[float, float], ...]:
        return pauses_of(self._db, self.subjects)

    def _about(self, recipient: str, surface: str = "page") -> list[Event]:
        found = [e for e in self._events if e.scope == "account" and speaks_of(e, surface)]
        return [e for e in found if e.recipient in (None, recipient) and e.kind != "text_changed"]

    def _grants(self, recipient: str, surface: str) -> list[Event]:
        """The account's grants to `recipient` since it last said no."""
        grants: list[Event] = []
        for event in self._about(recipient, surface):
            if event.kind == "grant":
                grants.append(event)
            else:
                grants.clear()
        return grants

    def _of_conversation(self, conversation: str) -> list[Event]:
        """The owner's events about a conversation, and what anybody else said against sharing it: what its former,
        anonymous owner kept private stays so. A share that does not count is among them: it covers nothing, and still
        ends what the account's yes reaches. That it follows the account again, where that does not count, is not. What opens
        it must know of every no, its former owner's too."""
        found = self._conversations.get(conversation)
        if found is None:
            others = noes_of_others(self._db, conversation, self.subjects)
            own = [e for e in speaking(self._db, self.subjects, conversation) if e.subject in self.subjects]
            knowledge = Knowledge(self._db, self.subjects, others) if others else self._knowledge
            self._counting |= {e.id for e in that_count(in_order([*self._said, *own, *others]), knowledge)}
            own = [e for e in own if e.kind != "withdraw" or e.id in self._counting]
            found = self._conversations[conversation] = in_order([*others, *own])
        return found

    def _shares(self, conversation: str, recipient: str) -> list[Event]:
        """The shares of a conversation with `recipient` that no later no, to it or to all, has ended."""
        ends = [e.at for e in self._about(recipient) if e.kind != "grant"]
        ends += [e.at for e in self._of_conversation(conversation) if e.kind != "grant"]
        last = max(ends, default=float("-inf"))
        return [
            e
            for e in self._of_conversation(conversation)
            if e.kind == "grant" and e.recipient == recipient and e.at > last and e.id in self._counting
        ]

    def _follows_account(self, conversation: str) -> tuple[float, float]:
        """Between which times the conversation follows the account: since it last stopped being private, until a share
        of it, after which only shares count."""
        events = self._of_conversation(conversation)
        since = max((e.at for e in events if e.kind != "grant"), default=float("-inf"))
        return since, min((e.at for e in events if e.kind == "grant" and e.at > since), default=float("inf"))

    def _yes(self, event: Event) -> Yes | None:
        stale = self._terms.stale_since(event.policy_version, self._now)
        if stale is not None and self._now >= stale + ASKING:
            return None
        return Yes(event, stale is None and not self.is_paused)


def agreed_now(db: sqlite3.Connection, owner: str, conversation: str, terms: Terms, now: float) -> str:
    """What `chat.stored.Agreed` asks for: the ids of the account's yeses that are in force in `conversation` at this moment,
    as its owner is told beside the box, each followed by a comma."""
    if subject_of(db, owner) is None:
        return ""
    return "".join(f"{event.id}," for event in Standpoint(db, owner, terms, now).in_force(conversation))


class Consent:
    """The ledger as the page uses it. `clock` gives Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float], terms: Terms) -> None:
        self._db, self._clock, self._terms = db, clock, terms

    async def record(self, owner: str, choice: Choice, shown: Shown) -> Event:
        """Append a choice; durable on return. Raises `ConsentRefused`."""
        return await self._db.write(lambda db: record(db, owner, choice, shown, self._clock()))

    async def record_all(self, owner: str, choices: Sequence[Choice], shown: Shown) -> list[Event]:
        """Append several choices, or none of them. Raises `ConsentRefused`."""
        return await self._db.write(lambda db: [record(db, owner, choice, shown, self._clock()) for choice in choices])

    async def account_state(self, owner: str, recipient: str, surface: str = "page") -> AccountState:
        return await self._db.read(lambda db: self._standpoint(db, owner).account_state(recipient, surface))

    async def is_paused(self, owner: str) -> bool:
        return await self._db.read(lambda db: self._standpoint(db, owner).is_paused)

    async def conversation_choice(self, owner: str, conversation: str) -> ConversationChoice:
        return await self._db.read(lambda db: self._standpoint(db, owner).conversation_choice(conversation))

    async def events(self, owner: str) -> list[Event]:
        """Everything this owner ever chose, oldest first."""

        def read(db: sqlite3.Connection) -> list[Event]:
            return events_of(db, *subjects_of(db, owner))

        return await self._db.read(read)

    async def erase(self, owner: str) -> None:
        await self._db.write(lambda db: erase_subject(db, owner))

    async def verify(self) -> list[str]:
        return await self._db.read(verify_chains)

    def _standpoint(self, db: sqlite3.Connection, owner: str) -> Standpoint:
        return Standpoint(db, owner, self._terms, self._clock())
