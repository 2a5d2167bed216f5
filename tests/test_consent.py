"""The ledger cannot be rewritten, and nothing but an explicit yes is a yes."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import replace

import pytest

from privacy import verify
from privacy.consent import ASKING, Consent, Standpoint, Terms
from privacy.ledger import Choice, ConsentRefused, Event, Shown, record, verify_chains
from privacy.saved import files, restore
from tests.support.sharing_world import DAY, HOUR, World, shown

pytestmark = pytest.mark.anyio

CHAT = "c" * 32
TURN = "a" * 32
NO_TERMS = Terms()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


async def state(world, owner, recipient="acme", terms=NO_TERMS):
    return await world.db.read(lambda db: Standpoint(db, owner, terms, world.clock()).account_state(recipient))


async def choice(world, owner, conversation=CHAT):
    return await world.db.read(
        lambda db: Standpoint(db, owner, Terms(), world.clock()).conversation_choice(conversation)
    )


async def covering(world, owner, asked_at=None, surface="page", terms=NO_TERMS, recipient="acme", answer=TURN):
    asked_at = world.clock() if asked_at is None else asked_at
    return await world.db.read(
        lambda db: Standpoint(db, owner, terms, world.clock()).covering(recipient, CHAT, answer, surface, asked_at)
    )


# The ledger


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent_events SET kind = 'grant'",
        "UPDATE consent_events SET at = at - 1",
        "DELETE FROM consent_events",
        "INSERT OR REPLACE INTO consent_events SELECT * FROM consent_events",
    ],
)
async def test_an_event_is_neither_changed_nor_removed(world, statement):
    owner = await world.person()
    await world.choose(owner, "deny", "acme")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await world.db.write(lambda db: db.execute(statement))
    assert await world.db.read(verify_chains) == []


async def test_an_event_that_does_not_follow_its_chain_is_refused(world):
    """What is left out, put in between or dated back breaks the chain, and the database says so."""
    owner = await world.person()
    first = await world.choose(owner, "grant", "acme")
    for wrong in (
        {"number": 3, "previous": first.hash, "at": first.at + 1},
        {"number": 2, "previous": "0" * 64, "at": first.at + 1},
        {"number": 2, "previous": first.hash, "at": first.at - 1},
    ):
        row = {**_row(first), "id": "f" * 32, "hash": "e" * 64, **wrong}
        with pytest.raises(sqlite3.IntegrityError, match="does not follow"):
            await world.db.write(lambda db, row=row: _insert(db, row))


async def test_a_ledger_rewritten_behind_the_database_is_noticed(world):
    owner = await world.person()
    await world.choose(owner, "deny", "acme")
    await world.choose(owner, "grant", "acme")

    def forge(db):
        db.execute("DROP TRIGGER consent_events_are_never_changed")
        db.execute("UPDATE consent_events SET recipient = 'globex' WHERE number = 1")

    await world.db.write(forge)
    assert len(await world.db.read(verify_chains)) == 1


async def test_events_name_a_random_subject_and_erasing_a_person_leaves_events_of_nobody(world):
    owner = await world.person()
    event = await world.choose(owner, "grant", "acme")
    assert owner not in json.dumps(_row(event))
    consent = Consent(world.db, world.clock, Terms())
    await consent.erase(owner)
    assert await state(world, owner) == "unset"
    assert await world.db.read(lambda db: db.execute("SELECT count(*) FROM consent_events").fetchone()[0]) == 1
    again = await world.choose(owner, "deny", "acme")
    assert again.subject != event.subject


async def test_a_clock_set_back_does_not_bring_a_withdrawn_yes_back(world):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now -= 5 * DAY
    later = await world.choose(owner, "withdraw", "acme")
    assert await state(world, owner) == "withdrawn"
    assert await world.db.read(verify_chains) == []
    assert later.previous


# States


async def test_nothing_said_is_not_a_yes(world):
    owner = await world.person()
    assert await state(world, owner) == "unset"
    assert await covering(world, owner) is None
    await world.choose(owner, "grant", "acme")
    assert await state(world, owner, "globex") == "unset", "an author who was not named is unset"


async def test_a_yes_is_per_recipient_and_withdrawn_one_by_one_or_all_at_once(world):
    owner = await world.person()
    for name in ("acme", "globex"):
        await world.choose(owner, "grant", name)
    await world.choose(owner, "withdraw", "acme")
    assert [await state(world, owner, name) for name in ("acme", "globex")] == ["withdrawn", "granted"]
    await world.choose(owner, "withdraw")
    assert [await state(world, owner, name) for name in ("acme", "globex", "initech")] == [
        "withdrawn",
        "withdrawn",
        "unset",
    ]
    world.clock.now += 1
    assert await covering(world, owner, recipient="globex") is None
    await world.choose(owner, "deny", "acme")
    assert await state(world, owner) == "denied"


@pytest.mark.parametrize("kind", ["anonymous", "managed"])
async def test_who_cannot_share_is_told_why_and_covers_nothing(world, kind):
    owner = await world.person(**{kind: True})
    with pytest.raises(ConsentRefused, match="Sign in" if kind == "anonymous" else "organisation"):
        await world.choose(owner, "grant", "acme")
    assert await state(world, owner) == ("ineligible" if kind == "anonymous" else "blocked")
    await world.choose(owner, "deny", conversation=CHAT)
    assert await choice(world, owner) == "private", "a no is always taken"


async def test_joining_an_organisation_that_opts_out_ends_what_was_agreed_before(world):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += 1
    assert await covering(world, owner)
    await world.db.write(lambda db: db.execute("UPDATE accounts SET orgs = '[{\"managed\": true}]'"))
    assert await covering(world, owner) is None


@pytest.mark.parametrize(
    "missing", [{"age_affirmed": False}, {"age_affirmed": "true"}, {"age_affirmed": 1}, {"purposes": ()}]
)
async def test_a_yes_needs_the_age_affirmed_and_a_purpose(world, missing):
    owner = await world.person()
    with pytest.raises(ConsentRefused):
        await world.db.write(
            lambda db: record(db, owner, Choice("grant", "acme"), replace(shown(), **missing), world.clock())
        )
    assert await state(world, owner) == "unset"


async def test_a_yes_to_all_or_to_a_conversation_without_its_turns_is_none(world):
    owner = await world.person()
    for wrong in (Choice("grant"), Choice("grant", "acme", CHAT)):
        with pytest.raises(ConsentRefused):
            await world.db.write(lambda db, wrong=wrong: record(db, owner, wrong, shown(), world.clock()))


async def test_the_database_itself_refuses_an_incomplete_yes(world):
    owner = await world.person()
    event = await world.choose(owner, "deny", "acme")
    for wrong in ({"recipient": None}, {"age_affirmed": 0}, {"purposes": "[]"}):
        row = {
            **_row(event),
            "id": "f" * 32,
            "hash": "e" * 64,
            "number": 2,
            "previous": event.hash,
            "kind": "grant",
            "at": event.at + 1,
            **wrong,
        }
        with pytest.raises(sqlite3.IntegrityError):
            await world.db.write(lambda db, row=row: _insert(db, row))


# What a yes covers


async def test_a_grant_covers_what_is_asked_after_it_and_nothing_before(world):
    """HuggingChat's switch was retroactive; this one never is."""
    owner = await world.person()
    before = world.clock()
    event = await world.choose(owner, "grant", "acme")
    assert await covering(world, owner, asked_at=before) is None
    assert await covering(world, owner, asked_at=event.at) is None
    assert (await covering(world, owner, asked_at=event.at + 1)).event == event


async def test_what_was_said_between_a_withdrawal_and_a_new_grant_stays_uncovered(world):
    owner = await world.person()
    first = await world.choose(owner, "grant", "acme")
    world.clock.now += 100
    await world.choose(owner, "withdraw", "acme")
    world.clock.now += 100
    between = world.clock()
    world.clock.now += 100
    second = await world.choose(owner, "grant", "acme")
    for at in (first.at + 1, between):
        assert await covering(world, owner, asked_at=at) is None
    assert await covering(world, owner, asked_at=second.at + 1)


@pytest.mark.parametrize("surface", ["import", "api"])
async def test_an_account_grant_covers_neither_imported_turns_nor_api_calls(world, surface):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    world.clock.now += 1
    assert await covering(world, owner) is not None
    assert await covering(world, owner, surface=surface) is None


async def test_private_wins_over_every_grant_and_what_was_said_meanwhile_stays_private(world):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.choose(owner, "deny", conversation=CHAT)
    world.clock.now += 1
    meanwhile = world.clock()
    assert await covering(world, owner) is None
    await world.choose(owner, "grant", "acme")
    world.clock.now += 1
    assert await covering(world, owner) is None, "a later account grant does not open it"
    await world.choose(owner, "withdraw", conversation=CHAT)
    world.clock.now += 1
    assert await choice(world, owner) == "inherit"
    assert await covering(world, owner, asked_at=meanwhile) is None
    assert await covering(world, owner) is not None


async def test_a_share_covers_exactly_its_turns_imported_ones_too_and_nothing_added_later(world):
    owner = await world.person()
    await world.choose(owner, "grant", "acme", CHAT, (TURN,))
    assert await choice(world, owner) == "share"
    assert await covering(world, owner, asked_at=0.0, surface="import")
    assert await covering(world, owner, recipient="globex") is None
    assert await covering(world, owner, answer="b" * 32) is None
    assert await covering(world, owner, surface="api") is None


@pytest.mark.parametrize(
    "no",
    [
        ("withdraw", None, None),
        ("withdraw", "acme", None),
        ("deny", None, CHAT),
        ("withdraw", None, CHAT),
        ("takedown", None, CHAT),
    ],
)
async def test_a_later_no_to_all_to_the_recipient_or_to_the_conversation_ends_a_share(world, no):
    owner = await world.person()
    await world.choose(owner, "grant", "acme", CHAT, (TURN,))
    assert await covering(world, owner)
    await world.choose(owner, *no)
    assert await covering(world, owner) is None


async def test_what_was_taken_down_is_not_shared_again_by_a_new_yes(world):
    owner = await world.person()
    await world.choose(owner, "takedown", conversation=CHAT)
    await world.choose(owner, "grant", "acme", CHAT, (TURN,))
    assert await covering(world, owner) is None


async def test_somebody_elses_yes_covers_nothing_and_a_former_owners_no_stays(world):
    owner, other = await world.person(), await world.person()
    await world.choose(other, "grant", "acme", CHAT, (TURN,))
    assert await covering(world, owner) is None
    await world.choose(owner, "grant", "acme")
    await world.choose(other, "deny", conversation=CHAT)
    world.clock.now += 1
    assert await covering(world, owner) is None


@pytest.mark.parametrize("hours", [-48, 0, 48])
@pytest.mark.parametrize("kind", ["grant", "withdraw"])
async def test_what_a_former_owner_kept_private_on_another_machine_stays_so_whatever_its_new_owner_says_meanwhile(
    world, tmp_path, hours, kind
):
    """An anonymous visitor keeps a conversation private; before that is heard here they sign in and share it, or let it
    follow the account. Once it is heard it stays private, until its owner says so in the knowledge of it."""
    visitor, owner = await world.person(anonymous=True), await world.person()
    await world.choose(owner, "grant", "acme")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    world.clock.now += hours * HOUR
    await other.choose(visitor, "deny", conversation=CHAT)
    world.clock.now -= hours * HOUR
    heard = await other.db.read(files)

    async def say(machine):
        turns, recipient = ((TURN,), "acme") if kind == "grant" else ((), None)
        await machine.choose(owner, kind, recipient, CHAT, turns)
        return await covering(machine, owner, machine.clock() + 50 * HOUR)

    assert await say(world) is not None
    await world.db.write(lambda db: restore(db, heard))
    assert (await choice(world, owner), await covering(world, owner)) == ("private", None)
    saved = await world.db.read(files)
    await other.db.write(lambda db: restore(db, saved))
    assert (await choice(other, owner), await covering(other, owner)) == ("private", None)
    other.close()
    assert await say(world) is not None
    third = await world.elsewhere(tmp_path / "third", await world.db.read(files))
    assert await choice(third, owner) == ("share" if kind == "grant" else "inherit")
    assert await third.db.read(verify_chains) == []
    third.close()


# Texts


async def test_under_a_text_that_was_replaced_nothing_new_leaves_and_what_is_public_stays_for_30_days(world):
    owner = await world.person()
    grant = await world.choose(owner, "grant", "acme", version="1")
    stale_at = grant.at + 10 * DAY
    terms = Terms({"1": stale_at})
    world.clock.now = stale_at - 1
    ahead = await covering(world, owner, stale_at + 1, terms=terms)
    assert ahead.fresh, "a text makes nothing stale before it takes effect, whatever date a turn bears"
    assert (
        await state(world, owner, terms=terms),
        (await covering(world, owner, grant.at + 1, terms=terms)).fresh,
    ) == ("granted", True)
    world.clock.now = stale_at + 1
    assert await state(world, owner, terms=terms) == "stale"
    assert not (await covering(world, owner, grant.at + 1, terms=terms)).fresh
    assert await covering(world, owner, stale_at + 1, terms=terms) is None
    world.clock.now = stale_at + ASKING
    assert await covering(world, owner, grant.at + 1, terms=terms) is None


async def test_agreeing_to_the_new_text_keeps_what_the_old_one_covered_but_not_the_time_between(world):
    owner = await world.person()
    grant = await world.choose(owner, "grant", "acme", version="1")
    stale_at = grant.at + DAY
    terms = Terms({"1": stale_at})
    world.clock.now = stale_at + DAY
    again = await world.choose(owner, "grant", "acme", version="2")
    world.clock.now += 90 * DAY
    assert (await covering(world, owner, grant.at + 1, terms=terms)).fresh
    assert await covering(world, owner, stale_at + 1, terms=terms) is None
    assert (await covering(world, owner, again.at + 1, terms=terms)).event == again


async def test_what_an_event_has_seen_cannot_be_changed_and_one_from_before_that_keeps_its_hash(world, tmp_path):
    owner = await world.person()
    first = await world.choose(owner, "deny", "acme")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    second = await other.choose(owner, "grant", "acme")
    other.close()
    assert (first.seen, second.seen) == ((), (first.hash,))
    assert replace(second, seen=()).digest() != second.hash
    named = {name: getattr(first, name) for name in Event.__dataclass_fields__ if name not in ("hash", "seen")}
    text = json.dumps(named, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert first.hash == hashlib.sha256(text.encode()).hexdigest()


async def test_an_event_holds_what_was_shown(world):
    owner = await world.person()
    consent = Consent(world.db, world.clock, Terms())
    event = await consent.record(
        owner, Choice("grant", "acme"), Shown("7", "d" * 64, "pl", "page", ("training",), True)
    )
    assert await consent.events(owner) == [event]
    assert (event.policy_version, event.text_hash, event.language, event.purposes) == (
        "7",
        "d" * 64,
        "pl",
        ("training",),
    )
    assert await consent.account_state(owner, "acme") == "granted"
    assert await consent.conversation_choice(owner, CHAT) == "inherit"
    assert await consent.verify() == []


async def test_several_choices_are_written_together_or_not_at_all(world):
    owner = await world.person()
    consent = Consent(world.db, world.clock, Terms())
    with pytest.raises(ConsentRefused):
        await consent.record_all(owner, [Choice("grant", "acme"), Choice("grant")], shown())
    assert await consent.events(owner) == []
    assert len(await consent.record_all(owner, [Choice("grant", "acme"), Choice("grant", "globex")], shown())) == 2


def _row(event):
    return {
        **{name: getattr(event, name) for name in event.__dataclass_fields__},
        **{name: json.dumps(getattr(event, name)) for name in ("turns", "purposes", "seen")},
        "age_affirmed": int(event.age_affirmed),
    }


def _insert(db, row):
    return db.execute(
        f"INSERT INTO consent_events ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


# Two machines at once


@pytest.mark.parametrize("first", ["yes", "no"])
@pytest.mark.parametrize(("scope", "recipient"), [(None, "acme"), (None, None), (CHAT, None)])
async def test_of_what_two_machines_hear_at_once_the_most_restrictive_wins(world, tmp_path, first, scope, recipient):
    """Neither knew of the other, and clocks differ: whichever says it was later, the no holds."""
    owner = await world.person()
    await world.choose(owner, "deny", "globex")  # so that both know the subject
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    turns = (TURN,) if scope else ()
    try:
        for said in ("yes", "no") if first == "yes" else ("no", "yes"):
            if said == "yes":
                yes = await world.choose(owner, "grant", "acme", scope, turns)
            else:
                await other.choose(owner, "withdraw", recipient, scope)
        heard = await other.db.read(files)
    finally:
        other.close()
    await world.db.write(lambda db: restore(db, heard))
    assert await covering(world, owner, asked_at=yes.at + 60) is None
    world.clock.now += 1
    again = await world.choose(owner, "grant", "acme", scope, turns)
    assert (await covering(world, owner, asked_at=again.at + 1)).event == again
    await world.choose(owner, "withdraw", "acme")
    assert await covering(world, owner, asked_at=again.at + 1) is None, "and a no that follows it holds at once"
    assert await world.db.read(verify_chains) == []


@pytest.mark.parametrize(("scope", "recipient"), [(None, "acme"), (None, None), (CHAT, None)])
@pytest.mark.parametrize("kind", ["withdraw", "deny"])
async def test_a_no_follows_the_yes_of_another_machine_whose_clock_was_days_ahead(
    world, tmp_path, kind, scope, recipient
):
    owner = await world.person()
    yes = await world.choose(owner, "grant", "acme", scope, (TURN,) if scope else ())
    assert (await covering(world, owner, asked_at=yes.at + 60)).event == yes
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    try:
        world.clock.now -= 5 * DAY
        no = await other.choose(owner, kind, recipient, scope)
        heard = await other.db.read(files)
    finally:
        other.close()
    assert no.at > yes.at
    await world.db.write(lambda db: restore(db, heard))
    assert await covering(world, owner, asked_at=yes.at + 60) is None
    assert await world.db.read(verify_chains) == []


@pytest.mark.parametrize("first", ["yes", "no"])
@pytest.mark.parametrize("apart", [-5 * DAY, -60, 0, 60, 5 * DAY])
async def test_of_two_machines_at_once_the_no_holds_however_far_apart_their_clocks_are(world, tmp_path, first, apart):
    """Nor does it help the yes that what both know of was said by a clock ahead of both."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    world.clock.now -= 2 * DAY
    try:
        for said in ("yes", "no") if first == "yes" else ("no", "yes"):
            if said == "yes":
                yes = await world.choose(owner, "grant", "acme")
            else:
                world.clock.now += apart
                await other.choose(owner, "deny", "acme")
                world.clock.now -= apart
        heard = await other.db.read(files)
    finally:
        other.close()
    await world.db.write(lambda db: restore(db, heard))
    assert await state(world, owner) == "denied"
    assert await covering(world, owner, asked_at=yes.at + 60) is None
    again = await world.choose(owner, "grant", "acme")
    assert (await covering(world, owner, asked_at=again.at + 1)).event == again
    assert await world.db.read(verify_chains) == []


@pytest.mark.parametrize("first", ["yes", "no"])
@pytest.mark.parametrize("back", [0, 5 * DAY])
@pytest.mark.parametrize("known", ["to both", "to the yes alone"])
async def test_of_two_machines_at_once_the_no_holds_though_a_third_ones_is_known(world, tmp_path, first, back, known):
    """That the yes knows of the one makes it no less concurrent with the other."""
    owner = await world.person()
    await world.choose(owner, "deny", "globex")
    before = await world.db.read(files)
    world.clock.now += 5 * DAY
    await world.choose(owner, "deny", "acme")
    saved = await world.db.read(files)
    here = await world.elsewhere(tmp_path / "here", saved)
    other = await world.elsewhere(tmp_path / "other", saved if known == "to both" else before)
    try:
        world.clock.now -= back
        for said in ("yes", "no") if first == "yes" else ("no", "yes"):
            if said == "yes":
                await here.choose(owner, "grant", "acme")
                yes = await here.choose(owner, "grant", "acme")
                assert (await covering(here, owner, asked_at=yes.at + 60)).event == yes
            else:
                await other.choose(owner, "deny", "acme")
        heard = await other.db.read(files)
        await here.db.write(lambda db: restore(db, heard))
        assert await state(here, owner) == "denied"
        assert await covering(here, owner, asked_at=yes.at + 60) is None
        again = await here.choose(owner, "grant", "acme")
        assert (await covering(here, owner, asked_at=again.at + 60)).event == again
        assert await here.db.read(verify_chains) == []
    finally:
        other.close()
        here.close()


@pytest.mark.parametrize("apart", [-5 * DAY, 0, 5 * DAY])
async def test_a_yes_that_knows_of_a_machines_first_no_is_undone_by_its_second(world, tmp_path, apart):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    try:
        await other.choose(owner, "withdraw", "acme")
        heard = await other.db.read(files)
        await world.db.write(lambda db: restore(db, heard))
        yes = await world.choose(owner, "grant", "acme")
        assert await state(world, owner) == "granted"
        world.clock.now += apart
        await other.choose(owner, "withdraw", "acme")
        world.clock.now -= apart
        heard = await other.db.read(files)
    finally:
        other.close()
    await world.db.write(lambda db: restore(db, heard))
    assert await state(world, owner) == "withdrawn"
    assert await covering(world, owner, asked_at=yes.at + 60) is None


@pytest.mark.parametrize("first", ["yes", "no"])
async def test_a_share_that_another_machines_no_undid_opens_nothing_to_others(world, tmp_path, first):
    """The no was to one of the authors; it gives the other nothing that the share had kept."""
    owner = await world.person()
    await world.choose(owner, "grant", "globex")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    try:
        for said in ("yes", "no") if first == "yes" else ("no", "yes"):
            if said == "yes":
                share = await world.choose(owner, "grant", "acme", CHAT, (TURN,))
            else:
                await other.choose(owner, "withdraw", "acme")
        heard = await other.db.read(files)
    finally:
        other.close()
    await world.db.write(lambda db: restore(db, heard))
    assert await covering(world, owner) is None
    assert await covering(world, owner, share.at + 1, recipient="globex", answer="9" * 32) is None
    assert await choice(world, owner) == "share"


async def test_a_command_verifies_the_ledger_beside_the_app(world, capsys):
    owner = await world.person()
    await world.choose(owner, "deny", "acme")
    await world.choose(owner, "grant", "acme")
    assert verify.main([str(world.folder)], {}) == 0
    assert "2 events in 1 chains" in capsys.readouterr().out

    def forge(db):
        db.execute("DROP TRIGGER consent_events_are_never_changed")
        db.execute("UPDATE consent_events SET recipient = 'globex' WHERE number = 1")

    await world.db.write(forge)
    assert verify.main([], {"DATA_DIR": str(world.folder)}) == 1
    said = capsys.readouterr().out
    assert "no longer enforces consent_events_are_never_changed" in said and "is not what was written" in said
    assert verify.main([str(world.folder / "nothing")], {}) == 2
