"""Which language a visitor reads: the one they switched to, which is kept, or what their browser prefers."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from privacy.policy.words import LANGUAGES, Words, preferred, words

COOKIE = "parley_language"
A_YEAR = 365 * 86400


def language_of(request: Request) -> str:
    """Of a page: `?lang=` (the switch), else what was switched to before, else `Accept-Language`, else English."""
    for asked in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if asked in LANGUAGES:
            return asked
    return preferred(request.headers.get("accept-language", ""))


def keep(request: Request, answer: Response, secure: bool) -> None:
    """Have the browser remember what it was switched to just now. `secure`: served over https, maybe in a frame."""
    answer.headers["Vary"] = "Accept-Language, Cookie"
    answer.headers["Cache-Control"] = "no-cache"
    asked = request.query_params.get("lang")
    if asked in LANGUAGES:
        where = "Secure; SameSite=None; Partitioned" if secure else "SameSite=Lax"
        answer.headers["Set-Cookie"] = f"{COOKIE}={asked}; Path=/; Max-Age={A_YEAR}; HttpOnly; {where}"


def spoken(request: Request) -> Words:
    """Of a JSON route: what the page that asks says it speaks, `?lang=`; a program that says nothing gets English."""
    return words(request.query_params.get("lang", "en"))
