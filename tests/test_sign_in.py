"""Sign-in with Hugging Face against a provider on loopback, the attacks on it, and what it offers afterwards."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from chat.visitors.oauth import ATTEMPT_LIFETIME, own_path
from tests.support.all_rows import all_rows
from tests.support.provider import CLIENT_SECRET, IdentityProvider
from tests.support.small_app import HERE, OURS, SmallApp, signed_in, small_app

pytestmark = pytest.mark.anyio


@pytest.fixture
async def provider():
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
async def small(tmp_path, provider):
    small = small_app(tmp_path, provider.url)
    yield small
    await small.aclose()


async def to_the_provider_and_back(small: SmallApp, browser, after: str = "/") -> str:
    """The callback address that the provider sends the browser to."""
    leave = await browser.get("/login", params={"next": after})
    assert leave.status_code == 302, leave.text
    return (await small.outside.get(leave.headers["location"])).headers["location"]


async def nobody(browser) -> bool:
    return (await browser.get("/api/me")).json()["signed_in"] is False


def sentence_of(page) -> str:
    """The one sentence of a sign-in page that failed."""
    assert page.headers["content-type"].startswith("text/html") and page.headers["cache-control"] == "no-store"
    return page.text.split("<p>")[1].split("</p>")[0]


async def test_signing_in_says_who_you_are_and_keeps_no_token(small: SmallApp, provider):
    provider.orgs = [{"id": "o1", "name": "acme", "plan": "enterprise"}, {"id": "o2", "name": "club"}]
    browser = small.browser()
    assert (await browser.get("/api/me")).json() == {
        "signed_in": False, "name": None, "sign_in_url": "/login", "cookie": False, "offer": None,
    }  # fmt: skip
    callback = await to_the_provider_and_back(small, browser, "/?model=starter")
    assert callback.startswith(f"{HERE}/login/callback?")
    done = await browser.get(callback)
    assert done.status_code == 303 and done.headers["location"] == "/?model=starter"
    assert (await browser.get("/api/me")).json() == {
        "signed_in": True, "name": "ada", "sign_in_url": "/login", "cookie": True, "offer": None,
    }  # fmt: skip
    dump = await small.db.read(all_rows)
    assert '"acme", "managed": true' in dump and '"club", "managed": false' in dump
    for token in (*provider.oauth_tokens, CLIENT_SECRET, browser.cookies["parley"]):
        assert token not in dump


async def test_the_same_user_comes_back_to_the_same_owner_under_a_new_name(small: SmallApp, provider):
    first, second = await signed_in(small, provider, "ada"), small.browser()
    turn = await first.post("/api/turns", headers=OURS)
    provider.userinfo = lambda _: (200, {"sub": "id-of-ada", "preferred_username": "countess"})
    await signed_in(small, provider, "ada", second)
    assert (await second.get("/api/conversations")).json()["items"] == [turn.json()["id"]]
    assert (await second.get("/api/me")).json()["name"] == "countess"


async def test_signing_in_changes_the_session_value_and_ends_the_old_one(small: SmallApp, provider):
    """Fixation: whoever knows the value from before must not become the one who signed in."""
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    before = browser.cookies["parley"]
    await signed_in(small, provider, "ada", browser)
    assert browser.cookies["parley"] != before
    spy = small.browser(Cookie=f"parley={before}")
    assert (await spy.get("/api/visitor")).json()["via"] == "none"
    assert (await spy.get("/api/conversations")).json()["items"] == []


async def test_signing_in_as_somebody_else_leaves_nothing_of_the_first(small: SmallApp, provider):
    browser = await signed_in(small, provider, "ada")
    await browser.post("/api/turns", headers=OURS)
    first = browser.cookies["parley"]
    await signed_in(small, provider, "bob", browser)
    me = (await browser.get("/api/me")).json()
    assert me["name"] == "bob" and me["offer"] is None
    assert (await browser.get("/api/conversations")).json()["items"] == []
    assert await nobody(small.browser(Cookie=f"parley={first}"))


async def test_signing_out_ends_the_session_everywhere_at_once(small: SmallApp, provider):
    browser = await signed_in(small, provider, "ada")
    value = browser.cookies["parley"]
    thief = small.browser(Cookie=f"parley={value}")
    assert not await nobody(thief)
    out = await browser.post("/logout", headers=OURS)
    assert out.status_code == 200 and "Max-Age=0" in out.headers["set-cookie"]
    assert await nobody(thief) and await nobody(browser)


async def test_the_state_is_good_for_one_use(small: SmallApp, provider):
    browser = small.browser()
    callback = await to_the_provider_and_back(small, browser)
    binding = browser.cookies["parley_sign_in"]
    assert (await browser.get(callback)).status_code == 303
    replay = small.browser(Cookie=f"parley_sign_in={binding}")
    again = await replay.get(callback)
    assert again.status_code == 400 and "start it again" in sentence_of(again)
    assert await nobody(replay)


async def test_a_callback_of_another_browser_signs_nobody_in(small: SmallApp, provider):
    """Login forgery: an attacker sends a victim the callback of the attacker's own account."""
    attacker, victim, bystander = small.browser(), small.browser(), small.browser()
    provider.user = "mallory"
    callback = await to_the_provider_and_back(small, attacker)
    await victim.get("/login")
    for tricked in (victim, bystander):
        refused = await tricked.get(callback)
        assert refused.status_code == 400 and "this browser" in sentence_of(refused)
        assert await nobody(tricked)
    assert (await attacker.get(callback)).status_code == 303, "guessing must not use up another browser's attempt"


@pytest.mark.parametrize("query", ["", "?code=abc", "?state=", "?state=forged&code=abc", "?error=access_denied"])
async def test_a_callback_without_a_state_of_ours_is_refused(small: SmallApp, provider, query: str):
    browser = small.browser()
    await browser.get("/login")
    refused = await browser.get(f"/login/callback{query}")
    assert refused.status_code == 400 and sentence_of(refused).endswith(".")
    assert "/oauth/token" not in provider.requests
    assert await nobody(browser)


async def test_an_attempt_is_over_after_ten_minutes(small: SmallApp, provider):
    browser = small.browser()
    callback = await to_the_provider_and_back(small, browser)
    small.clock.now += ATTEMPT_LIFETIME
    assert (await browser.get(callback)).status_code == 400 and await nobody(browser)


async def test_a_code_of_another_attempt_is_refused_by_pkce(small: SmallApp, provider):
    """Code injection: a stolen code, put into the thief's own attempt."""
    victim, thief = small.browser(), small.browser()
    stolen = parse_qs(urlsplit(await to_the_provider_and_back(small, victim)).query)["code"][0]
    provider.user = "mallory"
    own = parse_qs(urlsplit(await to_the_provider_and_back(small, thief)).query)["state"][0]
    refused = await thief.get("/login/callback", params={"state": own, "code": stolen})
    assert refused.status_code == 502 and await nobody(thief)


async def test_pressing_cancel_is_not_an_error_of_ours(small: SmallApp, provider):
    provider.user = None
    browser = small.browser()
    refused = await browser.get(await to_the_provider_and_back(small, browser))
    assert refused.status_code == 400 and "not signed in" in sentence_of(refused)


async def test_nothing_of_the_query_is_repeated_on_the_page(small: SmallApp, provider):
    page = await small.browser().get(
        "/login/callback", params={"state": "<script>", "error": "<b>", "error_description": "<i>"}
    )
    assert "<script>" not in page.text and "<b>" not in page.text and "<i>" not in page.text


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "javascript:alert(1)", "evil",
        "/\r\nSet-Cookie: a=b", "/login?next=/login", "/ü", "",
    ],
)  # fmt: skip
async def test_it_goes_on_to_own_paths_only(small: SmallApp, provider, after: str):
    browser = small.browser()
    done = await browser.get(await to_the_provider_and_back(small, browser, after))
    assert done.headers["location"] == "/"


def test_own_paths_keep_their_query():
    assert own_path("/privacy?tab=shared#top") == "/privacy?tab=shared#top"


async def test_the_binding_cookie_is_short_lived_and_taken_away_afterwards(small: SmallApp, provider):
    browser = small.browser()
    set_cookie = (await browser.get("/login")).headers["set-cookie"]
    for part in ("HttpOnly", "Max-Age=600", "Path=/login", "SameSite=lax"):
        assert part in set_cookie
    done = await browser.get(await to_the_provider_and_back(small, browser))
    assert any("parley_sign_in=" in value and "Max-Age=0" in value for value in done.headers.get_list("set-cookie"))


async def test_another_site_cannot_start_a_sign_in(small: SmallApp, provider):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    refused = await small.browser().get("/login", headers=link)
    assert refused.status_code == 403 and "Sign in" in sentence_of(refused)


async def test_coming_back_from_the_provider_is_a_navigation_from_another_site(small: SmallApp, provider):
    browser = small.browser()
    callback = await to_the_provider_and_back(small, browser)
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await browser.get(callback, headers=link)).status_code == 303


async def test_a_provider_that_fails_is_said_to_be_the_reason_and_can_be_tried_again(small: SmallApp, provider):
    browser = small.browser()
    provider.fault = 500
    refused = await browser.get("/login")
    assert refused.status_code == 502 and "again" in sentence_of(refused)
    provider.fault = None
    callback = await to_the_provider_and_back(small, browser)
    provider.fault = 503
    assert (await browser.get(callback)).status_code == 502 and await nobody(browser)
    provider.fault = None
    await signed_in(small, provider, "ada", browser)


async def test_a_provider_that_names_nobody_signs_nobody_in(small: SmallApp, provider):
    for who in ({}, {"sub": "x"}, {"sub": "", "preferred_username": "x"}, {"sub": 1, "preferred_username": "x"}):
        provider.userinfo = lambda _, who=who: (200, who)
        browser = small.browser()
        assert (await browser.get(await to_the_provider_and_back(small, browser))).status_code == 502
        assert await nobody(browser)


async def test_without_a_client_there_is_no_sign_in(tmp_path):
    small = small_app(tmp_path)
    browser = small.browser()
    assert (await browser.get("/api/me")).json()["sign_in_url"] is None
    assert (await browser.get("/login")).status_code == (await browser.get("/login/callback")).status_code == 404
    await small.aclose()


async def test_on_a_space_the_provider_sends_back_to_its_public_host(tmp_path, provider):
    small = small_app(tmp_path, provider.url, secure=True, public_host="me-parley.hf.space")
    leave = await small.browser().get("/login")
    asked = parse_qs(urlsplit(leave.headers["location"]).query)
    assert asked["redirect_uri"] == ["https://me-parley.hf.space/login/callback"]
    assert "Secure" in leave.headers["set-cookie"]
    await small.aclose()


# What the browser had before


async def test_what_the_browser_had_is_offered_and_moves_only_on_a_click(small: SmallApp, provider):
    browser = small.browser()
    ids = {(await browser.post("/api/turns", headers=OURS)).json()["id"] for _ in range(2)}
    before = (await browser.get("/api/visitor")).json()["owner"]
    await signed_in(small, provider, "ada", browser)
    assert (await browser.get("/api/conversations")).json()["items"] == []
    assert (await browser.get("/api/me")).json()["offer"] == {"conversations": 2}
    claimed = await browser.post("/api/offers/claim", headers=OURS)
    assert claimed.json() == {"moved": 2}
    assert set((await browser.get("/api/conversations")).json()["items"]) == ids
    assert (await browser.get("/api/me")).json()["offer"] is None
    assert (await browser.get("/api/visitor")).json()["owner"] != before
    assert (await browser.post("/api/offers/claim", headers=OURS)).json() == {"moved": 0}


async def test_moved_prompts_count_as_imported(small: SmallApp, provider):
    """No account-wide consent covers what was written before signing in."""
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    await signed_in(small, provider, "ada", browser)
    await browser.post("/api/turns", headers=OURS)
    await browser.post("/api/offers/claim", headers=OURS)
    sql = "SELECT surface, count(*) FROM messages WHERE role = 'user' GROUP BY surface"
    assert await small.db.read(lambda db: dict(map(tuple, db.execute(sql)))) == {"import": 1, "page": 1}


async def test_a_declined_offer_moves_nothing_and_is_not_repeated(small: SmallApp, provider):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    await signed_in(small, provider, "ada", browser)
    assert (await browser.post("/api/offers/decline", headers=OURS)).status_code == 200
    assert (await browser.get("/api/me")).json()["offer"] is None
    assert (await browser.post("/api/offers/claim", headers=OURS)).json() == {"moved": 0}
    assert (await browser.get("/api/conversations")).json()["items"] == []


async def test_an_offer_is_for_the_account_that_signed_in_there(small: SmallApp, provider):
    browser, stranger = small.browser(), small.browser()
    await browser.post("/api/turns", headers=OURS)
    await signed_in(small, provider, "ada", browser)
    await signed_in(small, provider, "bob", stranger)
    assert (await stranger.get("/api/me")).json()["offer"] is None
    assert (await stranger.post("/api/offers/claim", headers=OURS)).json() == {"moved": 0}
    assert (await browser.post("/api/offers/claim", headers=OURS)).json() == {"moved": 1}


async def test_offers_need_an_account(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    for path in ("/api/offers/claim", "/api/offers/decline"):
        refused = await browser.post(path, headers=OURS)
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "not_signed_in"
