"""The routes of feedback on an answer, and the form that the page fills in."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from chat.feedback import LONGEST_COMMENT, REASONS, Feedback, FeedbackBook
from chat.service import BadInput, check_characters
from chat.visitors.asking import visitor_of


class NewFeedback(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    rating: Literal["up", "down"]
    reasons: list[str] = []
    comment: str = ""


def feedback_routes(book: FeedbackBook) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.put("/answers/{id}/feedback")
    async def give(request: Request, id: str, given: NewFeedback) -> dict[str, Any]:
        comment = given.comment.strip()
        check_characters(comment)
        try:
            feedback = Feedback(given.rating, tuple(given.reasons), comment)
            await book.give(visitor_of(request).owner, id, feedback)
        except ValueError as error:
            raise BadInput(str(error)) from None
        return {"feedback": feedback.as_dict()}

    @routes.delete("/answers/{id}/feedback")
    async def remove(request: Request, id: str) -> dict[str, Any]:
        await book.remove(visitor_of(request).owner, id)
        return {"feedback": None}

    return routes


def feedback_form() -> str:
    """The inside of the form, from the one list of reasons: one group of them for each thumb, and the comment."""
    groups = "".join(
        f'<div class="reasons" data-rating="{rating}" role="group" aria-label="Reasons">'
        + "".join(
            f'<button type="button" class="reason" data-reason="{name}" aria-pressed="false">{escape(label)}</button>'
            for name, label in reasons.items()
        )
        + "</div>"
        for rating, reasons in REASONS.items()
    )
    return (
        f'{groups}<textarea rows="2" maxlength="{LONGEST_COMMENT}" aria-label="Comment" dir="auto"'
        ' placeholder="Say more, if you like"></textarea>'
    )
