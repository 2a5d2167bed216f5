"""The JSON routes under /api/privacy: what is agreed, what would leave, what has left, and the way back.

A yes needs every field, of its own type, with the hash of the very text that was shown; a no needs as little as can be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from chat.db import Database
from chat.visitors.asking import visitor_of
from chat.visitors.visitor import Account, Forbidden, NotSignedIn, NotThere, Refused
from chat.web.render import render
from privacy import policy
from privacy.consent import Consent
from privacy.ledger import Choice, ConsentRefused, Shown
from privacy.mine import (
    PreviewRow,
    SharedRow,
    WaitingRow,
    offered,
    outlook,
    preview,
    recipients,
    shared_rows,
    waiting_rows,
)
from privacy.rows import Rules, dataset_id
from privacy.web.chip import chip, unknown

NOT_SET_UP = "Sharing is not set up on this copy of Parley: everything stays between you and it."
SIGN_IN = "Sign in to share: without an account you could not take it back."
RESTORING = (
    "What was agreed to and shared is being looked up, so nobody can be agreed to yet. Nothing new is shared meanwhile."
    " Try again in a minute."
)
MANAGED = "Your account belongs to a team or enterprise organisation, so sharing is off for it."
PURPOSES = "A yes is to the purposes that its text names: {}. Reload the page and try again."


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
    """What every yes says."""

    recipient: str = Field(min_length=1, max_length=200)
    policy_version: str = Field(min_length=1, max_length=20)
    policy_hash: str = Field(pattern="^[0-9a-f]{64}$")
    age_affirmed: bool
    purposes: list[str] = Field(min_length=1, max_length=10)


class Withdrawal(Body):
    """`recipient` null: all of them. The field must be there, so that nobody withdraws from all by leaving it out."""

    recipient: str | None


class Kept(Body):
    id: str
    choice: Literal["inherit", "private"]


class Given(Agreement):
    """Exactly the turns of `answers`, which the preview showed."""

    id: str
    choice: Literal["share"]
    answers: list[str] = Field(min_length=1, max_length=2_000)


class Removal(Body):
    row: str


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes work with.

    `labels`: model -> what people call it. `model_of(owner, conversation)`: its model; raises where it is not the owner's.
    `saving()`: how far everything is saved, and who can read that, as the page shows it. `wake()`: something is to be
    taken back, do not wait for the next round. `restored()`: whether all that was kept is here; before that it is not known
    who can read what.
    """

    db: Database
    clock: Callable[[], float]
    consent: Consent
    rules: Rules
    labels: Mapping[str, str]
    model_of: Callable[[str, str], Awaitable[str]]
    saving: Callable[[], Awaitable[Mapping[str, Any]]]
    wake: Callable[[], None]
    restored: Callable[[], bool]
    minimum_age: int = 18

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
            dataset=policy.all_of(tuple(dataset_id(self.rules, model) for model in models)),
            licence=self.rules.licence,
            quiet_hours=self.rules.quiet / 3600,
            minimum_age=self.minimum_age,
        )
        return policy.current(language, facts, kind)

    def shown(self, agreed: Agreement, kind: policy.Kind) -> Shown:
        """What a yes was said to. Raises where that is not the text in force, or not all of it was affirmed, and before it
        is known what was said earlier."""
        if not self.restored():
            raise NotRestored(RESTORING)
        if agreed.age_affirmed is not True:
            raise NotAgreed(f"To share you must be {self.minimum_age} or older, and say so.")
        text = self.text(agreed.recipient, kind)
        if text is None:
            raise NotThere("No model here is by these authors.")
        if (agreed.policy_version, agreed.policy_hash) != (text.version, text.sha256):
            raise TextChanged("The text has changed since you read it. Reload the page, read it again, then decide.")
        if sorted(agreed.purposes) != sorted(policy.PURPOSES):
            raise NotAgreed(PURPOSES.format(", ".join(policy.PURPOSES)))
        return Shown(
            text.version, text.sha256, text.language, "page", tuple(sorted(policy.PURPOSES)), age_affirmed=True
        )

    async def record(self, owner: str, choice: Choice, shown: Shown) -> None:
        try:
            await self.consent.record(owner, choice, shown)
        except ConsentRefused as error:
            raise Forbidden(str(error)) from None
        if choice.kind != "grant":
            self.wake()

    def without_text(self) -> Shown:
        """A no is not to a text; the ledger says which was in force."""
        version = policy.VERSIONS[-1].number
        return Shown(version, policy.template_hash("consent", version, "en"), "en")


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api/privacy")

    @routes.get("/state")
    async def state(request: Request) -> dict[str, Any]:
        """Towards whom the visitor stands how, and the texts to agree to."""
        visitor = visitor_of(request)
        now = desk.clock()
        found = await desk.db.read(lambda db: recipients(db, visitor.owner, desk.rules, now))
        known = desk.restored()
        reason = None if known else RESTORING
        if reason is None and not desk.is_set_up:
            reason = NOT_SET_UP
        if reason is None and visitor.account is None:
            reason = SIGN_IN
        if reason is None and visitor.account and any(org.managed for org in visitor.account.orgs):
            reason = MANAGED
        return {
            "signed_in": visitor.account is not None,
            "known": known,
            "can_share": reason is None,
            "reason": reason,
            "minimum_age": desk.minimum_age,
            "quiet": policy.duration(desk.rules.quiet / 3600) if desk.rules.quiet else None,
            "purposes": list(policy.PURPOSES),
            "recipients": [_recipient(desk, name, state if known else "unknown") for name, state in found.items()],
            "saving": await desk.saving(),
        }

    @routes.post("/grant")
    async def grant(request: Request, agreed: Agreement) -> dict[str, Any]:
        """Agree that the authors named read what is written from now on."""
        owner = _person(request).owner
        await desk.record(owner, Choice("grant", agreed.recipient), desk.shown(agreed, "consent"))
        return {"recipient": agreed.recipient, "state": await desk.consent.account_state(owner, agreed.recipient)}

    @routes.post("/withdraw")
    async def withdraw(request: Request, said: Withdrawal) -> dict[str, Any]:
        """Take back what was agreed to, with one recipient or with all."""
        owner = _account(request).owner
        await desk.record(owner, Choice("withdraw", said.recipient), desk.without_text())
        return {"rows": await _public_rows(desk, owner, said.recipient)}

    @routes.post("/conversation")
    async def conversation(
        request: Request, said: Annotated[Kept | Given, Field(discriminator="choice")]
    ) -> dict[str, Any]:
        """What holds for one conversation: as for the account, private, or share the rows that were shown."""
        owner = visitor_of(request).owner
        await desk.model_of(owner, said.id)
        if isinstance(said, Given):
            _person(request)
            shown = desk.shown(said, "share")
            found = await desk.db.read(lambda db: offered(db, owner, said.id, desk.rules))
            answers = {answer for segment in found if segment.why == said.recipient for answer in segment.answers}
            if not set(said.answers) <= answers:
                raise TextChanged("The conversation has changed since you looked at it. Look again, then decide.")
            choice = Choice("grant", said.recipient, said.id, tuple(said.answers))
        else:
            shown = desk.without_text()
            choice = Choice("deny" if said.choice == "private" else "withdraw", None, said.id)
        await desk.record(owner, choice, shown)
        return {"choice": await desk.consent.conversation_choice(owner, said.id)}

    @routes.get("/preview")
    async def preview_of(request: Request, conversation: str) -> dict[str, Any]:
        """The rows as they would leave, redacted, and the text that sharing them is agreed to with."""
        owner = visitor_of(request).owner
        await desk.model_of(owner, conversation)
        rows = await preview(desk.db, owner, conversation, desk.rules)
        return {
            "choice": await desk.consent.conversation_choice(owner, conversation),
            "rows": [_preview_row(desk, row) for row in rows],
            "texts": {name: _text(desk.text(name, "share")) for name in {row.recipient for row in rows}},
        }

    @routes.get("/shared")
    async def shared(request: Request) -> dict[str, Any]:
        """Every row that left, with its state and its text as it leaves, and before them those that wait for their time."""
        owner, now = visitor_of(request).owner, desk.clock()
        rows = await desk.db.read(lambda db: shared_rows(db, owner))
        waiting = await waiting_rows(desk.db, owner, desk.rules, now)
        return {
            "rows": [_shared_row(row) for row in rows],
            "waiting": [_waiting_row(row) for row in waiting],
        }

    @routes.post("/remove")
    async def remove(request: Request, said: Removal) -> dict[str, Any]:
        """Take one row back. Its conversation stays private from then on."""
        owner = _account(request).owner
        rows = await desk.db.read(lambda db: shared_rows(db, owner))
        found = next((row for row in rows if row.row_id == said.row), None)
        if found is None:
            raise NotThere("There is no such row among yours. Reload the page.")
        await desk.record(owner, Choice("deny", None, found.conversation), desk.without_text())
        return {"row": said.row, "conversation": found.conversation}

    @routes.get("/chip")
    async def who_reads(request: Request, conversation: str | None = None, model: str | None = None) -> dict[str, Any]:
        """Who will read the conversation, or one with `model` that is about to begin."""
        owner = visitor_of(request).owner
        if conversation is not None:
            model = model or await desk.model_of(owner, conversation)
            await desk.model_of(owner, conversation)
        if not desk.restored():
            return unknown()
        now = desk.clock()
        seen = await desk.db.read(lambda db: outlook(db, owner, conversation, model, desk.rules, now))
        return chip(seen, conversation, desk.rules.quiet, now)

    return routes


def _account(request: Request) -> Account:
    """Whoever is signed in, or has a key: enough to take something back."""
    visitor = visitor_of(request)
    if visitor.account is None:
        raise NotSignedIn(SIGN_IN)
    return visitor.account


def _person(request: Request) -> Account:
    """Somebody at the page: a program with a key agrees to nothing."""
    account = _account(request)
    if visitor_of(request).via == "bearer":
        raise Forbidden("Sharing is agreed to on the page, signed in, and not with an API key.")
    return account


async def _public_rows(desk: Desk, owner: str, recipient: str | None) -> int:
    """How many rows may be with readers now, and leave."""
    rows = await desk.db.read(lambda db: shared_rows(db, owner))
    return sum(row.state in ("publish", "published", "retract") and recipient in (None, row.recipient) for row in rows)


def _recipient(desk: Desk, name: str, state: str) -> dict[str, Any]:
    return {
        "name": name,
        "models": [desk.labels.get(model, model) for model in desk.models_of(name)],
        "datasets": [dataset_id(desk.rules, model) for model in desk.models_of(name)],
        "state": state,
        "sharing": state == "granted",
        "policy": _text(desk.text(name, "consent")),
    }


def _text(text: policy.PolicyText | None) -> dict[str, Any] | None:
    return text and {
        "version": text.version,
        "language": text.language,
        "effective": text.effective.isoformat(),
        "html": render(text.text),
        "sha256": text.sha256,
    }


def _preview_row(desk: Desk, row: PreviewRow) -> dict[str, Any]:
    return {
        "recipient": row.recipient,
        "dataset": row.dataset,
        "model": desk.labels.get(row.model, row.model),
        "answers": list(row.answers),
        **_content(row.content),
    }


def _shared_row(row: SharedRow) -> dict[str, Any]:
    return {
        "row": row.row_id,
        "dataset": row.dataset,
        "recipient": row.recipient,
        "conversation": row.conversation,
        "state": row.state,
        "hash": row.row_hash,
        "consent": row.event,
        "published_at": row.published_at,
        "published_in": row.published_in,
        "retracted_at": row.retracted_at,
        "retracted_in": row.retracted_in,
        **_content(row.content),
    }


def _waiting_row(row: WaitingRow) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "recipient": row.recipient,
        "conversation": row.conversation,
        "when": row.when,
        **_content(row.content),
    }


def _content(content: Mapping[str, Any] | None) -> dict[str, Any]:
    """The messages as they leave, and how much was replaced in them; null where the row has no text here."""
    if content is None:
        return {"messages": None, "redactions": []}
    messages = [{"role": message["role"], "content": message["content"]} for message in content["messages"]]
    return {"messages": messages, "redactions": list(content["redactions"])}
