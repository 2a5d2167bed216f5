"""Who is asking: sessions by cookie and header, keys, origins, and what expires."""

from __future__ import annotations

import asyncio

import pytest

from chat.visitors.asking import session_cookie
from chat.visitors.origins import Head, OriginRules, cookie_name
from chat.visitors.session_rows import LIFETIME, digest
from chat.visitors.sessions import SEEN_EVERY
from tests.support.all_rows import all_rows
from tests.support.provider import IdentityProvider
from tests.support.small_app import FRIEND, HERE, OURS, THERE, SmallApp, signed_in, small_app

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def provider():
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
async def small(tmp_path, provider):
    provider.user, provider.fault, provider.orgs = "ada", None, []
    provider.tokens.clear()
    small = small_app(tmp_path, provider.url)
    yield small
    await small.aclose()


def sentence_of(response) -> str:
    """The message of an error in the one shape errors have."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"} and error["message"].endswith(".")
    return error["message"]


# Anonymous owners


async def test_a_reader_without_a_session_is_nobody_and_nothing_is_written(small: SmallApp):
    crawler = small.browser()
    first, second = [(await crawler.get("/api/visitor")).json() for _ in range(2)]
    assert first["via"] == "none" and first["new"] and first["owner"] != second["owner"]
    assert "set-cookie" not in (await crawler.get("/api/conversations")).headers
    assert await small.count("owners") == await small.count("sessions") == 0


async def test_the_first_look_hands_out_a_value_and_the_first_change_writes_it_down(small: SmallApp):
    browser = small.browser()
    assert (await browser.get("/api/me")).json()["cookie"] is False
    assert (await browser.get("/api/me")).json()["cookie"] is True
    owner = (await browser.get("/api/visitor")).json()["owner"]
    assert await small.count("owners") == 0
    turn = await browser.post("/api/turns", headers=OURS)
    assert turn.status_code == 200
    assert (await browser.get("/api/visitor")).json() == {"owner": owner, "via": "cookie", "new": False, "name": None}
    assert (await browser.get("/api/conversations")).json()["items"] == [turn.json()["id"]]
    assert await small.count("owners") == await small.count("sessions") == 1


async def test_a_change_by_a_newcomer_gives_the_cookie_at_once(small: SmallApp):
    browser = small.browser()
    turn = await browser.post("/api/turns", headers=OURS)
    assert turn.headers["cache-control"] == "no-store"
    assert (await browser.get("/api/conversations")).json()["items"] == [turn.json()["id"]]


async def test_only_the_hash_of_a_session_value_is_kept(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    value = browser.cookies["parley"]
    rows = await small.db.read(lambda db: [tuple(row) for row in db.execute("SELECT * FROM sessions")])
    assert rows[0][0] == digest(value)
    assert value not in repr(rows)


async def test_a_value_that_this_server_did_not_make_is_never_accepted(small: SmallApp):
    """Fixation: an attacker plants a value, and waits until somebody's conversations stand behind it."""
    planted = "A" * 43
    browser = small.browser()
    browser.cookies.set("parley", planted)
    turn = await browser.post("/api/turns", headers=OURS)
    assert turn.status_code == 200 and planted not in turn.headers["set-cookie"]
    attacker = small.browser(Cookie=f"parley={planted}")
    assert (await attacker.get("/api/visitor")).json()["via"] == "none"
    assert (await attacker.get("/api/conversations")).json()["items"] == []


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "A" * 5000, "' OR 1=1 --", "\xff\xfe"])
async def test_a_forged_cookie_is_a_stranger(small: SmallApp, value: str):
    await small.browser().post("/api/turns", headers=OURS)
    forger = small.browser()
    answer = await forger.get("/api/conversations", headers={"Cookie": f"parley={value}".encode("latin-1")})
    assert answer.status_code == 200 and answer.json()["items"] == []


async def test_of_two_different_cookies_neither_is_believed(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    value = browser.cookies["parley"]
    torn = small.browser()
    for cookies in (f"parley={value}; parley={'A' * 43}", f"parley={'A' * 43}; parley={value}"):
        assert (await torn.get("/api/visitor", headers={"Cookie": cookies})).json()["via"] == "none"
    twice = await torn.get("/api/visitor", headers={"Cookie": f"parley={value}; parley={value}"})
    assert twice.json()["via"] == "cookie"


async def test_the_hash_in_the_database_opens_nothing(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    leaked = digest(browser.cookies["parley"]).hex()
    assert (await small.browser().get("/api/visitor", headers={"Cookie": f"parley={leaked[:43]}"})).json()[
        "via"
    ] == "none"


def test_the_cookie_reaches_into_the_frame_on_https_and_stays_plain_on_http():
    assert session_cookie("parley", "v", secure=True) == (
        "parley=v; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=None; Partitioned"
    )
    assert (
        session_cookie("parley-7860", "v", secure=False)
        == "parley-7860=v; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
    )
    assert "Max-Age=0" in session_cookie("parley", "", secure=True)


async def test_two_apps_on_one_host_do_not_take_each_others_cookie(small: SmallApp):
    """Cookies ignore ports; browsers send what the app next door set."""
    browser = small.browser()
    first, second = {"Host": "localhost:7860"}, {"Host": "localhost:7861"}
    for host in (first, second, first, second):
        await browser.get("/api/me", headers=host)
    owners = [(await browser.get("/api/visitor", headers=host)).json() for host in (first, second)]
    assert [owner["via"] for owner in owners] == ["cookie", "cookie"]
    assert owners[0]["owner"] != owners[1]["owner"]
    assert set(browser.cookies) == {"parley-7860", "parley-7861"}


@pytest.mark.parametrize(
    ("host", "secure", "name"),
    [
        ("localhost:7861", False, "parley-7861"),
        ("[::1]:7861", False, "parley-7861"),
        ("[::1]", False, "parley"),
        ("parley.test", False, "parley"),
        ("a:b; x=1", False, "parley"),
        ("parley.test:7861", True, "parley"),
    ],
)
def test_the_cookie_is_named_by_the_port_on_plain_http(host: str, secure: bool, name: str):
    assert cookie_name(host, secure) == name


# Framed pages that get no cookie back


async def test_a_page_without_cookies_asks_for_a_value_and_sends_it_as_a_header(small: SmallApp):
    page = small.browser()
    assert "x-parley-session" not in (await page.get("/api/me")).headers
    page.cookies.clear()
    answer = await page.get("/api/me", headers={"X-Parley-Session": "new"})
    assert answer.json()["cookie"] is False and "set-cookie" not in answer.headers
    session = {"X-Parley-Session": answer.headers["x-parley-session"]}
    turn = await page.post("/api/turns", headers={**session, **OURS})
    assert "set-cookie" not in turn.headers
    assert (await page.get("/api/conversations", headers=session)).json()["items"] == [turn.json()["id"]]
    assert (await page.get("/api/visitor", headers=session)).json()["via"] == "header"


async def test_a_value_for_a_cookie_is_never_shown_to_scripts_nor_accepted_from_them(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    asked = await browser.get("/api/me", headers={"X-Parley-Session": "new"})
    assert asked.json()["cookie"] is True and "x-parley-session" not in asked.headers
    by_header = await small.browser().get("/api/visitor", headers={"X-Parley-Session": browser.cookies["parley"]})
    assert by_header.json()["via"] == "none"


async def test_a_value_for_a_header_is_not_accepted_as_a_cookie(small: SmallApp):
    page = small.browser()
    value = (await page.get("/api/me", headers={"X-Parley-Session": "new"})).headers["x-parley-session"]
    planted = await small.browser().get("/api/visitor", headers={"Cookie": f"parley={value}"})
    assert planted.json()["via"] == "none"


async def test_a_session_in_the_address_counts_for_nothing(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    value = browser.cookies["parley"]
    answer = await small.browser().get(f"/api/visitor?parley={value}&X-Parley-Session={value}")
    assert answer.json()["via"] == "none"


# Time


async def test_a_visit_is_written_down_at_most_once_an_hour(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    seen = lambda db: db.execute("SELECT last_seen_at, expires_at FROM sessions").fetchone()[:]  # noqa: E731
    began = small.clock.now
    small.clock.now += SEEN_EVERY - 1
    assert "set-cookie" not in (await browser.get("/api/visitor")).headers
    assert await small.db.read(seen) == (began, began + LIFETIME)
    small.clock.now += 1
    assert "Max-Age=2592000" in (await browser.get("/api/visitor")).headers["set-cookie"]
    assert "set-cookie" not in (await browser.get("/api/visitor")).headers
    assert await small.db.read(seen) == (small.clock.now, small.clock.now + LIFETIME)


async def test_a_session_ends_thirty_days_after_the_last_visit(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    for _ in range(3):
        small.clock.now += LIFETIME - 1
        assert (await browser.get("/api/visitor")).json()["via"] == "cookie"
    small.clock.now += LIFETIME
    assert (await browser.get("/api/visitor", headers={"Cookie": f"parley={browser.cookies.get('parley')}"})).json()[
        "via"
    ] == "none"


async def test_anonymous_owners_expire_and_are_named_until_they_are_forgotten(small: SmallApp, provider):
    stale, fresh = small.browser(), small.browser()
    await stale.post("/api/turns", headers=OURS)
    account = await signed_in(small, provider, "ada")
    await account.post("/api/turns", headers=OURS)
    gone = (await stale.get("/api/visitor")).json()["owner"]
    small.clock.now += LIFETIME - 1
    await fresh.post("/api/turns", headers=OURS)
    assert await small.sessions.expire(small.clock.now) == []
    small.clock.now += 1
    assert await small.sessions.expire(small.clock.now) == [gone] == await small.sessions.expire(small.clock.now)
    await small.sessions.forget(gone)
    assert await small.sessions.expire(small.clock.now) == [gone], "it still owns a conversation"
    await small.db.write(lambda db: db.execute("DELETE FROM conversations WHERE owner = ?", (gone,)))
    await small.sessions.forget(gone)
    assert await small.sessions.expire(small.clock.now) == []
    assert (await fresh.get("/api/visitor")).json()["via"] == "cookie"
    assert await small.count("accounts") == 1 and await small.count("owners") == 2


# Keys


async def test_a_key_is_shown_once_listed_without_its_secret_and_works_until_revoked(small: SmallApp, provider):
    browser = await signed_in(small, provider, "ada")
    turn = await browser.post("/api/turns", headers=OURS)
    made = (await browser.post("/api/keys", json={"name": " my script "}, headers=OURS)).json()
    secret, id = made["secret"], made["key"]["id"]
    assert secret.startswith("parley_") and made["key"]["name"] == "my script"
    listed = await browser.get("/api/keys")
    assert [key["id"] for key in listed.json()["keys"]] == [id] and secret not in listed.text
    script = small.browser(Authorization=f"Bearer {secret}")
    assert (await script.get("/api/conversations")).json()["items"] == [turn.json()["id"]]
    assert (await script.get("/api/visitor")).json()["via"] == "bearer"
    stored = await small.db.read(lambda db: repr([tuple(row) for row in db.execute("SELECT * FROM api_keys")]))
    assert secret not in stored
    assert (await browser.delete(f"/api/keys/{id}", headers=OURS)).status_code == 200
    refused = await script.get("/api/conversations")
    assert refused.status_code == 401 and "revoked" in sentence_of(refused)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert (await browser.get("/api/keys")).json()["keys"] == []


async def test_nobody_revokes_a_key_of_somebody_else(small: SmallApp, provider):
    ada, bob = await signed_in(small, provider, "ada"), await signed_in(small, provider, "bob")
    made = (await ada.post("/api/keys", json={"name": "hers"}, headers=OURS)).json()
    refused = await bob.delete(f"/api/keys/{made['key']['id']}", headers=OURS)
    assert refused.status_code == 404 and sentence_of(refused)
    assert (await bob.get("/api/keys")).json()["keys"] == []
    assert (await small.browser(Authorization=f"Bearer {made['secret']}").get("/api/visitor")).json()["name"] == "ada"


async def test_a_key_does_not_make_or_revoke_keys(small: SmallApp, provider):
    """Whoever finds a key must not be able to stay after it was revoked."""
    ada = await signed_in(small, provider, "ada")
    made = (await ada.post("/api/keys", json={"name": "found"}, headers=OURS)).json()
    finder = small.browser(Authorization=f"Bearer {made['secret']}")
    assert (await finder.post("/api/keys", json={"name": "another"})).status_code == 403
    assert (await finder.delete(f"/api/keys/{made['key']['id']}")).status_code == 403


async def test_keys_need_an_account_and_a_name_and_have_a_limit(small: SmallApp, provider):
    assert "sign in" in sentence_of(await small.browser().post("/api/keys", json={"name": "x"}, headers=OURS))
    ada = await signed_in(small, provider, "ada")
    for name in ("", "  ", "x" * 81):
        assert (await ada.post("/api/keys", json={"name": name}, headers=OURS)).status_code == 422
    for number in range(20):
        assert (await ada.post("/api/keys", json={"name": str(number)}, headers=OURS)).status_code == 200
    assert "revoke one first" in sentence_of(await ada.post("/api/keys", json={"name": "21"}, headers=OURS))


@pytest.mark.parametrize("key", ["parley_" + "A" * 43, "sk-something", "hf_unknown", "parley_\xff", ""])
async def test_a_wrong_key_is_refused_and_not_passed_over_for_the_cookie(small: SmallApp, key: str):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    refused = await browser.get("/api/conversations", headers={"Authorization": f"Bearer {key}".encode("latin-1")})
    assert refused.status_code == 401 and sentence_of(refused)


async def test_a_hub_token_opens_its_users_account_and_is_checked_every_ten_minutes(small: SmallApp, provider):
    provider.tokens["hf_mine"] = "ada"
    provider.requests.clear()
    browser = await signed_in(small, provider, "ada")
    turn = await browser.post("/api/turns", headers=OURS)
    script = small.browser(Authorization="Bearer hf_mine")
    for _ in range(3):
        assert (await script.get("/api/conversations")).json()["items"] == [turn.json()["id"]]
    assert provider.requests["/api/whoami-v2"] == 1
    del provider.tokens["hf_mine"]
    small.clock.now += 601
    refused = await script.get("/api/conversations")
    assert refused.status_code == 401 and "hf_mine" not in refused.text
    await script.get("/api/conversations")
    assert provider.requests["/api/whoami-v2"] == 2
    dump = await small.db.read(all_rows)
    assert "hf_mine" not in dump


async def test_a_token_that_another_apps_sign_in_made_is_not_accepted(small: SmallApp, provider):
    """Otherwise any app that ada signed in to could read her conversations here."""
    provider.tokens["hf_oauth_elsewhere"] = provider.oauth_tokens["hf_renamed"] = "ada"
    for token in ("hf_oauth_elsewhere", "hf_renamed"):
        assert (await small.browser(Authorization=f"Bearer {token}").get("/api/visitor")).status_code == 401


async def test_a_hub_that_does_not_answer_is_said_to_be_the_reason(small: SmallApp, provider):
    provider.fault = 500
    refused = await small.browser(Authorization="Bearer hf_mine").get("/api/visitor")
    assert refused.status_code == 503 and "hf_mine" not in refused.text and "again" in sentence_of(refused)


async def test_the_token_that_gradio_client_sends_unasked_counts_but_locks_nobody_out(small: SmallApp, provider):
    provider.tokens["hf_mine"] = "ada"
    script = small.browser(**{"X-HF-Authorization": "Bearer hf_mine"})
    assert (await script.get("/api/visitor")).json()["name"] == "ada"
    stale = small.browser(**{"X-HF-Authorization": "Bearer hf_stale"})
    assert (await stale.get("/api/visitor")).json()["via"] == "none"
    provider.fault = 500
    assert (await small.browser(**{"X-HF-Authorization": "Bearer hf_new"}).get("/api/visitor")).json()["via"] == "none"


class SlowReads:
    """A database whose reads stand still, once they have their answer, until `go` is set."""

    def __init__(self, db) -> None:
        self.write, self.go, self.has_read = db.write, asyncio.Event(), asyncio.Event()
        self._db = db

    async def read(self, fn):
        answer = await self._db.read(fn)
        self.has_read.set()
        await self.go.wait()
        return answer


async def test_a_look_up_that_a_sign_out_overtook_is_not_remembered(small: SmallApp, provider):
    browser = await signed_in(small, provider, "ada")
    value = browser.cookies["parley"]
    small.sessions.db = slow = SlowReads(small.db)
    looking = asyncio.create_task(small.sessions.session(value, "cookie"))
    await slow.has_read.wait()
    await small.sessions.sign_out(value)
    slow.go.set()
    await looking
    assert await small.sessions.session(value, "cookie") is None


# Origins


async def test_another_sites_request_with_a_cookie_is_refused_and_told_nothing(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    for origin in (
        THERE,
        "null",
        "https://parley.test.evil.test",
        "http://parley.test:81",
        "http://parley.test@evil.test",
    ):
        for method, path in (
            ("GET", "/api/conversations"),
            ("POST", "/api/turns"),
            ("GET", "/"),
            ("OPTIONS", "/api/me"),
        ):
            headers = {**OURS, "Origin": origin, "Access-Control-Request-Method": "GET"}
            refused = await browser.request(method, path, headers=headers)
            assert refused.status_code == 403 and "Another site" in sentence_of(refused), (origin, method, path)
            assert not [name for name in refused.headers if name.startswith("access-control-")]


async def test_another_sites_request_without_an_origin_is_known_by_its_fetch_site(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    for site in ("cross-site", "same-site"):
        assert (await browser.get("/api/conversations", headers={"Sec-Fetch-Site": site})).status_code == 403
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert (await browser.get("/api/visitor", headers=link)).status_code == 200
        assert (await browser.post("/api/turns", headers={**link, **OURS})).status_code == 403


async def test_an_own_origin_on_a_request_of_another_site_is_not_believed(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    mixed = {"Origin": HERE, "Sec-Fetch-Site": "cross-site"}
    assert (await browser.get("/api/visitor", headers=mixed)).status_code == 403


async def test_gradios_routes_take_a_cookie_from_our_page_alone(small: SmallApp):
    """Our page cannot add a header to what Gradio sends, so the browser has to vouch for it. (Gradio is not mounted: 404.)"""
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    join = "/gradio_api/queue/join"
    assert (await browser.post(join)).status_code == 403
    assert (await browser.post(join, headers={"Origin": HERE})).status_code == 404
    assert (await browser.post(join, headers={"Sec-Fetch-Site": "same-origin"})).status_code == 404
    assert (await small.browser().post(join)).status_code == 404, "gradio_client sends neither cookie nor origin"


async def test_the_pages_own_requests_and_allowed_origins_pass(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    own = await browser.post("/api/turns", headers={**OURS, "Origin": HERE, "Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200 and "access-control-allow-origin" not in own.headers
    friend = await browser.post("/api/turns", headers={**OURS, "Origin": FRIEND, "Sec-Fetch-Site": "cross-site"})
    assert friend.status_code == 200
    assert friend.headers["access-control-allow-origin"] == FRIEND
    assert friend.headers["access-control-allow-credentials"] == "true"


async def test_a_header_session_is_refused_to_other_sites_too(small: SmallApp):
    page = small.browser()
    value = (await page.get("/api/me", headers={"X-Parley-Session": "new"})).headers["x-parley-session"]
    refused = await page.get("/api/visitor", headers={"X-Parley-Session": value, "Origin": THERE})
    assert refused.status_code == 403


async def test_a_change_needs_the_header_that_only_our_page_sends(small: SmallApp):
    browser = small.browser()
    await browser.get("/api/me")
    for path in ("/api/turns", "/logout", "/api/offers/claim"):
        for headers in ({}, {"X-Parley": "0"}):
            refused = await browser.post(path, headers=headers)
            assert refused.status_code == 403 and "X-Parley" in sentence_of(refused)
    assert (await small.browser().post("/api/turns")).status_code == 403


async def test_other_sites_use_a_key_and_may_read_the_answer_without_cookies(small: SmallApp, provider):
    provider.tokens["hf_mine"] = "ada"
    site = small.browser(Origin=THERE)
    asked = await site.get("/api/conversations")
    assert asked.status_code == 401 and "API key" in sentence_of(asked)
    assert "access-control-allow-origin" not in asked.headers
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = await site.options("/api/turns", headers=wanted)
    assert preflight.status_code == 204 and preflight.headers["access-control-allow-origin"] == THERE
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "x-parley" not in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    answer = await site.post("/api/turns", headers={"Authorization": "Bearer hf_mine"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == THERE
    assert "access-control-allow-credentials" not in answer.headers and answer.headers["vary"] == "Origin"


async def test_a_forwarded_host_makes_no_origin_ours(small: SmallApp):
    browser = small.browser()
    await browser.post("/api/turns", headers=OURS)
    forwarded = {"Origin": THERE, "X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test"}
    assert (await browser.get("/api/visitor", headers=forwarded)).status_code == 403


@pytest.mark.parametrize(
    ("rules", "origin", "host", "expected"),
    [
        (OriginRules(), "http://a.test", "a.test", "own"),
        (OriginRules(), "http://A.test:80", "a.test", "own"),
        (OriginRules(), "http://[::1]:7860", "[::1]:7860", "own"),
        (OriginRules(), "http://a.test:7861", "a.test:7860", "foreign"),
        (OriginRules(), "file://a.test", "a.test", "foreign"),
        (OriginRules(), "http://a.test:port", "a.test", "foreign"),
        (OriginRules(secure=True), "http://a.test", "a.test", "foreign"),
        (OriginRules(secure=True), "https://a.test", "a.test:443", "own"),
        (
            OriginRules(secure=True, public_host="me-parley.hf.space"),
            "https://me-parley.hf.space",
            "10.0.0.3:7860",
            "own",
        ),
        (OriginRules(("https://Friend.test/",)), "https://friend.test", "a.test", "allowed"),
        (OriginRules(("null", "")), "null", "a.test", "foreign"),
        (OriginRules(), "", "", "foreign"),
    ],
)
def test_an_origin_is_ours_by_scheme_host_and_port(rules: OriginRules, origin: str, host: str, expected: str):
    headers = [(b"origin", origin.encode()), (b"host", host.encode())]
    head = Head.of({"method": "GET", "path": "/", "headers": headers})
    assert rules.relation(head) == expected


async def test_there_is_no_websocket(small: SmallApp):
    sent = []

    async def send(message):
        sent.append(message["type"])

    await small.app({"type": "websocket", "path": "/", "headers": []}, None, send)
    assert sent == ["websocket.close"]


async def test_on_a_space_the_cookie_is_partitioned_and_plain_http_pages_are_foreign(tmp_path):
    small = small_app(tmp_path, secure=True, public_host="parley.test")
    browser = small.browser()
    cookie = (await browser.get("/api/me")).headers["set-cookie"]
    assert cookie.endswith("HttpOnly; Secure; SameSite=None; Partitioned")
    assert (await browser.get("/api/visitor", headers={"Origin": "https://parley.test"})).status_code == 200
    assert (await browser.get("/api/visitor", headers={"Origin": "http://parley.test"})).status_code == 403
    await small.aclose()
