"""What the routes under /api/privacy work with: the ledger, the rules, the texts, and the ways to be turned away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from chat.db import Database
from chat.visitors.asking import visitor_of
from chat.visitors.visitor import Account, Forbidden, NotSignedIn, NotThere, Refused
from privacy import policy
from privacy.consent import Consent
from privacy.ledger import Choice, ConsentRefused, Shown
from privacy.policy.words import Words, words
from privacy.rows import Rules, dataset_id
from privacy.web.framed import Unframed
from privacy.web.language import spoken


class TextChanged(Refused):
    status, code = 409, "text_changed"


class NotAgreed(Refused):
    status, code = 422, "not_agreed"


class NotRestored(Refused):
    status, code = 503, "not_restored"


class Body(BaseModel):
    """Nothing has a default, nothing is coerced, nothing else is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Agreement(Body):
    """What every yes says. `language`: of the text that was read. `unframed`: the token of a page that nobody covers."""

    recipient: str = Field(min_length=1, max_length=200)
    policy_version: str = Field(min_length=1, max_length=20)
    policy_hash: str = Field(pattern="^[0-9a-f]{64}$")
    language: str = Field(min_length=2, max_length=8)
    age_affirmed: bool
    purposes: list[str] = Field(min_length=1, max_length=10)
    unframed: str = Field(min_length=1, max_length=200)


class ApiAgreement(Agreement):
    """`own_text`: what the keys send is the owner's own."""

    own_text: bool


async def _nobody() -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes work with.

    `labels`: model -> what people call it. `model_of(owner, conversation)`: its model; raises where it is not the owner's.
    `saving()`: how far everything is saved, and who can read that, as the page shows it. `held_up()`: whether something is wrong with sharing; what, is the operator's business. `wake()`: something is to be
    taken back, do not wait for the next round. `restored()`: whether all that was kept is here; before that it is not known
    who can read what. `close(owner)`: delete what the account has and is. `is_whole()`: whether all that anybody has is here.
    `nobody_in()`: sharing datasets that nobody was let into yet. `can_sign_in`: whether anybody can, on this copy.
    """

    db: Database
    clock: Callable[[], float]
    consent: Consent
    rules: Rules
    labels: Mapping[str, str]
    model_of: Callable[[str, str], Awaitable[str]]
    saving: Callable[[], Awaitable[Mapping[str, Any]]]
    held_up: Callable[[], bool]
    wake: Callable[[], None]
    restored: Callable[[], bool]
    unframed: Unframed
    close: Callable[[str], Awaitable[None]]
    is_whole: Callable[[], Awaitable[bool]]
    minimum_age: int = 18
    can_sign_in: bool = True
    nobody_in: Callable[[], Awaitable[Collection[str]]] = field(default=_nobody)

    @property
    def is_set_up(self) -> bool:
        return any(self.rules.authors.values())

    def models_of(self, recipient: str) -> tuple[str, ...]:
        """The models in the catalogue that `recipient` made."""
        return tuple(model for model, author in self.rules.authors.items() if author == recipient)

    def text(self, recipient: str, kind: policy.Kind, language: str = "en") -> policy.PolicyText | None:
        """What `recipient` is agreed to with; None where nothing of theirs is on offer."""
        models = self.models_of(recipient)
        if not models:
            return None
        facts = policy.Facts(
            recipient=recipient,
            models=tuple(self.labels.get(model, model) for model in models),
            dataset=words(language).all_of(tuple(dataset_id(self.rules, model) for model in models)),
            licence=self.rules.licence,
            quiet_hours=self.rules.quiet / 3600,
            minimum_age=self.minimum_age,
        )
        return policy.current(language, facts, kind)

    def shown(self, agreed: Agreement, kind: policy.Kind, say: Words) -> Shown:
        """What a yes was said to, in the language in which it was read. Raises where that is not the text in force, or not
        all of it was affirmed, or not on a page of its own, and before it is known what was said earlier."""
        if not self.restored():
            raise NotRestored(say("restoring"))
        if agreed.age_affirmed is not True:
            raise NotAgreed(say("too_young", self.minimum_age))
        text = self.text(agreed.recipient, kind, agreed.language)
        if text is None:
            raise NotThere(say("no_such_authors"))
        if (agreed.policy_version, agreed.policy_hash, agreed.language) != (text.version, text.sha256, text.language):
            raise TextChanged(say("text_changed"))
        if sorted(agreed.purposes) != sorted(policy.PURPOSES):
            raise NotAgreed(say("wrong_purposes", purposes=", ".join(policy.PURPOSES)))
        if not self.unframed.holds(agreed.unframed):
            raise Forbidden(say("framed"))
        surface = "api" if kind == "api" else "page"
        purposes = tuple(sorted(policy.PURPOSES))
        return Shown(text.version, text.sha256, text.language, surface, purposes, age_affirmed=True)

    async def check_whole(self, say: Words) -> None:
        """Raise `NotRestored` where some of what somebody has may not be here yet."""
        if not await self.is_whole():
            raise NotRestored(say("not_back_yet"))

    async def _follows_already(self, owner: str, choice: Choice) -> bool:
        """Whether the choice is that a conversation follows the account, which it is known to do. Written down, it would end
        what the account's yes covered of it so far."""
        if choice.kind != "withdraw" or choice.conversation is None or not self.restored():
            return False
        return await self.consent.conversation_choice(owner, choice.conversation) == "inherit"

    async def record(self, owner: str, choice: Choice, shown: Shown) -> None:
        """Write a choice down, unless it changes nothing. A no is written down however often it is said: another machine may
        have heard a yes in between."""
        if await self._follows_already(owner, choice):
            return
        try:
            await self.consent.record(owner, choice, shown)
        except ConsentRefused as error:
            raise Forbidden(str(error)) from None
        if choice.kind != "grant":
            self.wake()


def account_here(request: Request) -> Account:
    """Whoever is signed in, or has a key: enough to take something back."""
    visitor = visitor_of(request)
    if visitor.account is None:
        raise NotSignedIn(spoken(request)("sign_in_to_share"))
    return visitor.account


def person_here(request: Request) -> Account:
    """Somebody at the page: a program with a key agrees to nothing."""
    account = account_here(request)
    if visitor_of(request).via == "bearer":
        raise Forbidden(spoken(request)("not_by_key"))
    return account
