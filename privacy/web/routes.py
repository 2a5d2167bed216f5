"""The JSON routes under /api/privacy: what is agreed, what would leave, what has left, and the way back.

A yes needs every field, of its own type, with the hash of the very text that was shown; a no needs as little as can be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from chat.visitors.asking import visitor_of
from chat.visitors.visitor import Forbidden, NotThere, Visitor
from chat.web.render import render
from privacy import policy
from privacy.ledger import Choice
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
from privacy.pauses import pause, resume
from privacy.policy.words import Words
from privacy.rows import dataset_id
from privacy.web.chip import chip, unknown
from privacy.web.desk import Agreement, ApiAgreement, Body, Desk, NotAgreed, TextChanged, account_here, person_here
from privacy.web.language import spoken

SHOWN = ("messages", "redactions")  # of a row's content, each by itself


class Withdrawal(Body):
    """`recipient` null: all of them. The field must be there, so that nobody withdraws from all by leaving it out."""

    recipient: str | None


class ApiWithdrawal(Body):
    recipient: str


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


class Rest(Body):
    """Nothing but that somebody wants it: letting sharing rest takes no more than a click."""


class GoingOn(Body):
    """`unframed`: as with a yes, since more leaves again."""

    unframed: str = Field(min_length=1, max_length=200)


class Closing(Body):
    """Nobody closes an account by leaving something out, nor by anything but `true`."""

    close: bool


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/api/privacy")

    @routes.get("/state")
    async def state(request: Request) -> dict[str, Any]:
        """Towards whom the visitor stands how, and the texts to agree to."""
        visitor, say = visitor_of(request), spoken(request)
        now = desk.clock()
        found = await desk.db.read(lambda db: recipients(db, visitor.owner, desk.rules, now))
        known = desk.restored()
        reason = _reason(desk, visitor, say)
        events = await desk.consent.events(visitor.owner)
        return {
            "signed_in": visitor.account is not None,
            "known": known,
            "whole": await desk.is_whole(),
            "can_share": reason is None,
            "reason": reason,
            "sign_in_url": "/login" if reason == say("sign_in_to_share") else None,
            "paused": await desk.consent.is_paused(visitor.owner),
            "first": not any(event.kind == "grant" for event in events),
            "minimum_age": desk.minimum_age,
            "after": say.duration(desk.rules.quiet / 3600, "after_") if desk.rules.quiet else None,
            "purposes": list(policy.PURPOSES),
            "recipients": [
                _recipient(desk, name, states if known else ("unknown", "unknown"), say)
                for name, states in found.items()
            ],
            "saving": await desk.saving(),
            "nobody_in": sorted(await desk.nobody_in()),
            "held_up": desk.held_up(),
        }

    @routes.post("/grant")
    async def grant(request: Request, agreed: Agreement) -> dict[str, Any]:
        """Agree that the authors named read what is written from now on."""
        owner = person_here(request).owner
        await desk.record(owner, Choice("grant", agreed.recipient), desk.shown(agreed, "consent", spoken(request)))
        return {"recipient": agreed.recipient, "state": await desk.consent.account_state(owner, agreed.recipient)}

    @routes.post("/withdraw")
    async def withdraw(request: Request, said: Withdrawal) -> dict[str, Any]:
        """Take back what was agreed to, with one recipient or with all."""
        owner = account_here(request).owner
        await desk.record(owner, Choice("withdraw", said.recipient), policy.without_text())
        return {"rows": await _public_rows(desk, owner, said.recipient)}

    @routes.post("/grant-api")
    async def grant_api(request: Request, agreed: ApiAgreement) -> dict[str, Any]:
        """Agree that the authors named read what is sent with API keys from now on: a choice of its own."""
        owner, say = person_here(request).owner, spoken(request)
        shown = desk.shown(agreed, "api", say)
        if agreed.own_text is not True:
            raise NotAgreed(say("api_not_own"))
        await desk.record(owner, Choice("grant", agreed.recipient), shown)
        return {
            "recipient": agreed.recipient,
            "state": await desk.consent.account_state(owner, agreed.recipient, "api"),
        }

    @routes.post("/withdraw-api")
    async def withdraw_api(request: Request, said: ApiWithdrawal) -> dict[str, Any]:
        """Take back that choice, and no other; `/withdraw` takes back both."""
        owner = account_here(request).owner
        await desk.record(owner, Choice("withdraw", said.recipient), replace(policy.without_text(), surface="api"))
        return {"recipient": said.recipient, "state": await desk.consent.account_state(owner, said.recipient, "api")}

    @routes.post("/conversation")
    async def conversation(
        request: Request, said: Annotated[Kept | Given, Field(discriminator="choice")]
    ) -> dict[str, Any]:
        """What holds for one conversation: as for the account, private, or share the rows that were shown."""
        owner = visitor_of(request).owner
        await desk.model_of(owner, said.id)
        if isinstance(said, Given):
            person_here(request)
            shown = desk.shown(said, "share", spoken(request))
            found = await desk.db.read(lambda db: offered(db, owner, said.id, desk.rules))
            parts = {part for segment in found if segment.why == said.recipient for part in segment.parts}
            if not set(said.answers) <= parts:
                raise TextChanged(spoken(request)("rows_changed"))
            choice = Choice("grant", said.recipient, said.id, tuple(said.answers))
        else:
            shown = policy.without_text()
            choice = Choice("deny" if said.choice == "private" else "withdraw", None, said.id)
        await desk.record(owner, choice, shown)
        return {"choice": await desk.consent.conversation_choice(owner, said.id)}

    @routes.get("/preview")
    async def preview_of(request: Request, conversation: str) -> dict[str, Any]:
        """The rows as they would leave, redacted, and the text that sharing them is agreed to with."""
        owner, say = visitor_of(request).owner, spoken(request)
        await desk.model_of(owner, conversation)
        rows = await preview(desk.db, owner, conversation, desk.rules)
        return {
            "choice": await desk.consent.conversation_choice(owner, conversation),
            "rows": [_preview_row(desk, row) for row in rows],
            "texts": {name: _text(desk.text(name, "share", say.language)) for name in {row.recipient for row in rows}},
        }

    @routes.get("/shared")
    async def shared(request: Request) -> dict[str, Any]:
        """Every row that left, with its state and its text as it leaves, and before them those that wait for their time."""
        owner, now = visitor_of(request).owner, desk.clock()
        rows = await desk.db.read(lambda db: shared_rows(db, owner))
        waiting = await waiting_rows(desk.db, owner, desk.rules, now)
        return {
            "known": desk.restored(),
            "rows": [_shared_row(row) for row in rows],
            "waiting": [_waiting_row(row) for row in waiting],
        }

    @routes.post("/remove")
    async def remove(request: Request, said: Removal) -> dict[str, Any]:
        """Take one row back. Its conversation stays private from then on."""
        owner = account_here(request).owner
        rows = await desk.db.read(lambda db: shared_rows(db, owner))
        found = next((row for row in rows if row.row_id == said.row), None)
        if found is None:
            raise NotThere(spoken(request)("no_such_row"))
        await desk.record(owner, Choice("deny", None, found.conversation), policy.without_text())
        return {"row": said.row, "conversation": found.conversation}

    @routes.post("/pause")
    async def let_rest(request: Request, said: Rest) -> dict[str, Any]:
        """Nothing new leaves until its owner goes on; what is shared stays."""
        owner, now = account_here(request).owner, desk.clock()
        await desk.db.write(lambda db: pause(db, owner, now))
        desk.wake()
        return {"paused": True}

    @routes.post("/resume")
    async def go_on(request: Request, said: GoingOn) -> dict[str, Any]:
        """What was agreed to holds again, but for what was written meanwhile."""
        owner, now = person_here(request).owner, desk.clock()
        if not desk.unframed.holds(said.unframed):
            raise Forbidden(spoken(request)("framed"))
        await desk.db.write(lambda db: resume(db, owner, now))
        return {"paused": False}

    @routes.post("/close")
    async def close(request: Request, said: Closing) -> dict[str, Any]:
        """Close the account here: nothing more is shared, what was is taken back, one's own content is deleted, at once."""
        owner = person_here(request).owner
        if said.close is not True:
            raise NotAgreed(spoken(request)("close_sure"))
        await desk.check_whole(spoken(request))
        # The ledger first: whatever fails after it, nothing is shared any more.
        await desk.record(owner, Choice("delete"), policy.without_text())
        rows = await _public_rows(desk, owner, None)
        await desk.close(owner)
        desk.wake()
        return {"rows": rows, "sentence": spoken(request)("closed")}

    @routes.get("/chip")
    async def who_reads(request: Request, conversation: str | None = None, model: str | None = None) -> dict[str, Any]:
        """Who will read the conversation, or one with `model` that is about to begin."""
        owner = visitor_of(request).owner
        if conversation is not None:
            model = model or await desk.model_of(owner, conversation)
            await desk.model_of(owner, conversation)
        if not desk.restored():
            return unknown(spoken(request))
        now = desk.clock()
        seen = await desk.db.read(lambda db: outlook(db, owner, conversation, model, desk.rules, now))
        nobody_in, held_up = await desk.nobody_in(), desk.held_up()
        return chip(seen, conversation, desk.rules, now, spoken(request), nobody_in, held_up)

    return routes


async def _public_rows(desk: Desk, owner: str, recipient: str | None) -> int:
    """How many rows may be with readers now, and leave."""
    rows = await desk.db.read(lambda db: shared_rows(db, owner))
    out = (row for row in rows if row.sent and row.state != "retracted")
    return sum(recipient in (None, row.recipient) for row in out)


def _reason(desk: Desk, visitor: Visitor, say: Words) -> str | None:
    """Why this visitor cannot agree to anybody now; None: they can."""
    if not desk.restored():
        return say("restoring")
    lacks = [] if desk.is_set_up else [say("not_set_up")]
    if not desk.can_sign_in and visitor.account is None:
        lacks.append(say("no_sign_in"))
    if lacks:
        return " ".join(lacks)
    if visitor.account is None:
        return say("sign_in_to_share")
    return say("managed") if any(org.managed for org in visitor.account.orgs) else None


def _recipient(desk: Desk, name: str, states: tuple[str, str], say: Words) -> dict[str, Any]:
    state, api = states
    return {
        "name": name,
        "models": [desk.labels.get(model, model) for model in desk.models_of(name)],
        "datasets": [dataset_id(desk.rules, model) for model in desk.models_of(name)],
        "state": state,
        "sharing": state == "granted",
        "policy": _text(desk.text(name, "consent", say.language)),
        "api": {"state": api, "sharing": api == "granted", "policy": _text(desk.text(name, "api", say.language))},
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
        "answers": list(row.parts),
        **_content(row),
    }


def _shared_row(row: SharedRow) -> dict[str, Any]:
    return {
        "row": row.row_id,
        "dataset": row.dataset,
        "recipient": row.recipient,
        "conversation": row.conversation,
        "state": row.state,
        "sent": row.sent,
        "hash": row.row_hash,
        "consent": row.event,
        "consent_hash": row.event_hash,
        "published_at": row.published_at,
        "published_in": row.published_in,
        "retracted_at": row.retracted_at,
        "retracted_in": row.retracted_in,
        "reported": row.reported,
        **_content(row),
    }


def _waiting_row(row: WaitingRow) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "recipient": row.recipient,
        "conversation": row.conversation,
        "when": row.when,
        **_content(row),
    }


def _content(row: PreviewRow | SharedRow | WaitingRow) -> dict[str, Any]:
    """The messages as they leave, how much was replaced in them, what was said about the answers, and the rest of the row;
    null where the row has no text here, and why it stays where it does."""
    if row.content is None:
        return {"messages": None, "redactions": [], "feedback": [], "rest": {}, "kept_back": row.kept_back}
    messages = [{"role": message["role"], "content": message["content"]} for message in row.content["messages"]]
    # Which text was agreed to, a row that nobody agreed to yet does not say.
    rest = {name: value for name, value in row.content.items() if name not in SHOWN and value not in ("", [])}
    return {
        "messages": messages,
        "redactions": list(row.content["redactions"]),
        "feedback": list(row.feedback),
        "rest": rest,
        "kept_back": row.kept_back,
    }
