"""The sentences of the line under the box, in every language: who, when, and whether anybody has access, in every state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from privacy.mine import Outlook, outlook, shared_rows, waiting_rows
from privacy.notes import BATCH, set_note
from privacy.outbox import plan
from privacy.pauses import pause, resume
from privacy.policy.words import LANGUAGES, words
from privacy.reports import report
from privacy.web.chip import ONLY_YOU, chip
from tests.support.sharing_world import ALPHA, BETA, DAY, HOUR, QUIET, RULES, World

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
DATASETS = {"acme": frozenset({"ada/parley-acme__alpha"}), "globex": frozenset({"ada/parley-globex__beta"})}
CLOSED = frozenset().union(*DATASETS.values())
NOBODY = {
    "en": "nobody has access yet",
    "pl": "nikt nie ma jeszcze do {} dostępu",
    "fr": "personne n'y a encore accès",
}
THREE_DAYS = {"en": "in 3 days", "pl": "za 3 dni", "fr": "dans 3 jours"}
NO_ACCESS = {"en": "nobody has access", "pl": "nikt nie ma", "fr": "personne n'y a"}
# What a sentence about somebody who has access, or may have it, says in some form.
ACCESS = {"en": ("can read", "be able to read", "still read"), "pl": ("może", "mogą", "mieć dostęp", "mieć do tego dostęp", "można"), "fr": ("peu", "pourr", "lisible", "lire")}  # fmt: skip

ONE, TWO = ("acme",), ("acme", "globex")


def seen(**what: object) -> Outlook:
    return Outlook(**{"recipient": "acme", "state": "granted", "choice": "inherit", "datasets": DATASETS, **what})


def says(found: Outlook, language: str = "en", conversation: str | None = "c", **more: object) -> str:
    rules = more.pop("rules", RULES)
    return chip(found, conversation, rules, NOW, words(language), **more)["sentence"]


HALVES = {
    "some of it is there": {"standing": ()},
    "it is on its way": {"sending": ()},
    "it is being taken back": {"leaving": ()},
    "it was stopped": {"stopped": ()},
    "it is about to leave": {"coming": ()},
}


def state_of(name: str, who: tuple[str, ...], **more: object) -> Outlook:
    (field,) = HALVES[name]
    return seen(**{field: dict.fromkeys(who, NOW + 3 * DAY) if field == "coming" else who}, **more)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("who", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("name", HALVES)
def test_where_nobody_has_access_it_says_so_and_not_that_anybody_can_read_it(name, who, language):
    found = state_of(name, who)
    for nobody_in, is_read in ((frozenset(), True), (CLOSED, False)):
        said = says(found, language, nobody_in=nobody_in)
        assert words(language).all_of(who) in said
        assert (NO_ACCESS[language] in said) is not is_read
        if not is_read:
            assert not any(part in said for part in ACCESS[language]), said
        elif name != "it was stopped":
            assert any(part in said for part in ACCESS[language]), said
    if name == "it is about to leave":
        assert THREE_DAYS[language] in says(found, language) and THREE_DAYS[language] in said
    if name not in ("it is being taken back", "it was stopped"):
        it = {"one": "niego", "two": "nich"}["one" if who == ONE else "two"]
        assert NOBODY[language].format(it) in said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", HALVES)
def test_of_two_of_whom_one_has_access_each_is_told_by_itself(name, language):
    said = says(state_of(name, TWO), language, nobody_in=DATASETS["globex"])
    acme, globex = said.index("acme"), said.index("globex")
    assert acme < globex and NO_ACCESS[language] in said[globex:] and NO_ACCESS[language] not in said[:globex]
    assert not any(part in said[globex:] for part in ACCESS[language]), said


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("conversation", [None, "c"])
def test_what_is_written_next_goes_to_a_dataset_that_nobody_has_access_to_yet(conversation, language):
    for found in (seen(next_turn=True), seen(next_turn=True, standing=("globex",))):
        for nobody_in in (frozenset(), CLOSED):
            said = says(found, language, conversation, nobody_in=nobody_in)
            last = said[said.rindex("acme") :]
            assert (NO_ACCESS[language] in last) == bool(nobody_in)
            assert any(part in said for part in ACCESS[language]) != bool(nobody_in)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_of_the_chip_is_said_somewhere_and_no_value_is_left_out(language):
    said, table = set(), words(language).table
    after = (0.0, QUIET)
    for who in (ONE, TWO):
        for nobody_in in (frozenset(), CLOSED):
            for name in HALVES:
                for more in ({}, {"next_turn": True}, {"whole": True}, {"coming": {"acme": NOW}}, {"coming": {"acme": NOW}, "next_turn": True}, {"coming": dict.fromkeys((*TWO, "lab"), NOW)}):  # fmt: skip
                    for held_up in (False, True):
                        found = replace(state_of(name, who), **more)
                        said.add(says(found, language, nobody_in=nobody_in, held_up=held_up))
            for conversation in (None, "c"):
                for quiet in after:
                    rules = replace(RULES, quiet=quiet)
                    said.add(says(seen(next_turn=True), language, conversation, nobody_in=nobody_in, rules=rules))
    everything = " ".join(said)
    assert "{" not in everything and "}" not in everything
    for key, sentences in table.items():
        if not key.startswith("chip_") or key in ("chip_only_you", "chip_only_you_and_hosts", "chip_restoring"):
            continue
        forms = {sentences} if isinstance(sentences, str) else {sentences["one"], list(sentences.values())[1]}
        for form in forms:
            start = max(
                form.replace("{who}", "\0").replace("{when}", "\0").replace("{after}", "\0").split("\0"), key=len
            )
            assert start in everything, key


def test_all_of_a_conversation_is_said_only_where_one_reader_has_all_of_it():
    assert says(seen(standing=ONE, whole=True)) == "acme can read this conversation."
    assert says(seen(standing=ONE)) == "acme can read part of this conversation."
    more = seen(standing=ONE, coming={"acme": NOW + DAY}, whole=True)
    assert says(more) == "acme can read part of this conversation. More of it follows in 24 hours."


def test_who_gets_it_later_is_told_when():
    found = seen(coming={"acme": NOW + 3 * DAY, "globex": NOW + 2 * DAY})
    assert says(found) == (
        "globex will be able to read part of this conversation in 2 days; until then only you."
        " acme will be able to read more of it in 3 days."
    )


def test_of_somebody_who_has_some_of_it_what_is_on_its_way_is_more_of_it():
    assert says(seen(standing=ONE, sending=ONE)) == (
        "acme can read part of this conversation. More of it follows within minutes."
    )


def test_where_sharing_is_held_up_no_time_is_promised_without_saying_so():
    for name in HALVES:
        found = state_of(name, ONE)
        assert says(found, held_up=True) == f"{says(found)} Sharing is held up, so this may take longer."
    assert says(seen(), held_up=True) == ONLY_YOU


def test_without_a_rest_before_sharing_it_is_soon_only_where_no_hour_is_set_for_it():
    five_from_now = int(NOW // HOUR + 5) % 24
    for hours, after in (((), "soon after the last message"), ((five_from_now,), "in 5 hours")):
        said = says(seen(next_turn=True), rules=replace(RULES, quiet=0.0, hours=hours))
        assert said == f"acme will be able to read what you write here, {after}."


# From the database to the sentence


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


async def look(world: World, owner: str, chat: str | None, model: str = ALPHA) -> tuple[Outlook, str]:
    found = await world.db.read(lambda db: outlook(db, owner, chat, model, world.rules, world.clock()))
    return found, chip(found, chat, world.rules, world.clock())["sentence"]


async def agreed(world: World, *authors: str) -> str:
    owner = await world.person()
    for author in authors or ("acme",):
        await world.choose(owner, "grant", author)
    return owner


@pytest.mark.parametrize("case", ["unset", "denied", "blocked", "ineligible", "private", "paused", "another author"])
async def test_only_its_owner_reads_what_nobody_may_have(world: World, case: str):
    owner = await world.person(managed=case == "blocked", anonymous=case == "ineligible")
    if case == "denied":
        await world.choose(owner, "deny", "acme")
    if case in ("private", "paused", "another author"):
        await world.choose(owner, "grant", "globex" if case == "another author" else "acme")
    if case == "paused":
        world.clock.now += 1
        await world.db.write(lambda db: pause(db, owner, world.clock()))
    chat = await world.say(owner, "nobody else's")
    if case == "private":
        await world.choose(owner, "deny", conversation=chat)
    for conversation in (chat, None) if case != "private" else (chat,):
        found, said = await look(world, owner, conversation)
        assert (said, found.readers, found.datasets) == (ONLY_YOU, (), {})


async def test_after_a_pause_what_waited_before_it_leaves_and_what_was_written_in_it_does_not(world: World):
    """As the page says when sharing goes on (`gone_on`)."""
    owner = await agreed(world)
    waited = await world.say(owner, "before the pause")
    world.clock.now += 1
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    meanwhile = await world.say(owner, "meanwhile")
    assert (await look(world, owner, waited))[1] == ONLY_YOU
    world.clock.now += 1
    await world.db.write(lambda db: resume(db, owner, world.clock()))
    world.clock.now += 1
    assert (await look(world, owner, waited))[0].coming and not (await look(world, owner, meanwhile))[0].coming
    for language, part in (("en", "what waited here"), ("pl", "czekało"), ("fr", "attendait")):
        assert part in words(language)("gone_on")


async def test_a_turn_from_before_the_yes_makes_it_a_part(world: World):
    owner = await world.person()
    chat = await world.say(owner, "before")
    await world.choose(owner, "grant", "acme")
    assert (await look(world, owner, chat))[1] == (
        "acme will be able to read what you write here, 3 days after the last message at the earliest."
    )
    await world.say(owner, "after", conversation=chat)
    found, said = await look(world, owner, chat)
    assert said == "acme will be able to read part of this conversation in 3 days; until then only you."
    assert found.datasets == {"acme": DATASETS["acme"]}
    await world.turn()
    assert (await look(world, owner, chat, "nobody/knows"))[1] == "acme can read part of this conversation."


async def test_all_turns_of_one_author_make_it_all(world: World):
    owner = await agreed(world)
    chat = await world.say(owner, "first")
    await world.say(owner, "second", conversation=chat)
    assert (await look(world, owner, chat))[1] == (
        "acme will be able to read this conversation in 3 days; until then only you."
    )
    await world.turn()
    assert (await look(world, owner, chat, "nobody/knows"))[1] == "acme can read this conversation."
    await world.say(owner, "UNREADABLE", conversation=chat)
    await world.turn()
    assert (await look(world, owner, chat, "nobody/knows"))[1] == "acme can read part of this conversation."


async def test_what_is_stale_stays_with_its_reader_and_nothing_follows(world: World):
    owner = await agreed(world)
    chat = await world.say(owner, "shared")
    await world.turn()
    world.use(terms=type(world.rules.terms)({"1": world.clock()}))
    world.clock.now += 1
    await world.say(owner, "under a text that is no longer in force", conversation=chat)
    assert (await look(world, owner, chat))[1] == "acme can read part of this conversation."


async def test_a_share_is_to_its_rows_and_to_nothing_that_follows(world: World):
    owner = await world.person()
    chat = await world.say(owner, "to be shared")
    await world.choose(owner, "grant", "acme", chat, await world.answers(owner, chat))
    await world.choose(owner, "grant", "acme")
    whole = "acme will be able to read this conversation in 3 days; until then only you."
    assert (await look(world, owner, chat))[1] == whole
    await world.say(owner, "not shared", conversation=chat)
    assert (await look(world, owner, chat))[1] == whole.replace("this", "part of this")


async def test_what_somebody_reported_is_leaving(world: World):
    owner = await agreed(world)
    chat = await world.say(owner, "reported")
    await world.turn()
    (row,) = await world.db.read(lambda db: shared_rows(db, owner))
    world.clock.now += 1
    await world.db.write(lambda db: report(db, row.row_id, "why", "", world.clock()))
    assert (await look(world, owner, chat, "nobody/knows"))[1] == (
        "Being taken back from acme; until that is done they can still read it."
    )


async def test_what_was_sent_and_not_seen_to_arrive_is_on_its_way(world: World):
    owner = await agreed(world)
    chat = await world.say(owner, "sent")
    world.clock.now += QUIET
    await plan(world.db, world.rules, now=world.clock(), restored=True)
    await world.db.write(lambda db: db.execute("UPDATE outbox SET shard = 0"))
    found, said = await look(world, owner, chat, "nobody/knows")
    assert said == "On its way to acme, who may be able to read it already."
    assert (found.readers, found.shared, found.can_take_back, found.when) == (("acme",), True, True, None)


async def test_what_is_due_after_the_hour_of_its_day_waits_for_the_next_one(world: World):
    """The batch of three o'clock has left: what is due a minute later leaves on the next day, and is not said to be soon."""
    world.clock.now = (world.clock() // DAY + 1) * DAY + 3 * HOUR + 60 - QUIET
    world.use(hours=(3,))
    owner = await agreed(world)
    chat = await world.say(owner, "just too late")
    world.clock.now += QUIET
    await world.db.write(lambda db: set_note(db, BATCH, str(int(world.clock() // HOUR))))
    (row,) = await waiting_rows(world.db, owner, world.rules, world.clock())
    found, said = await look(world, owner, chat)
    assert found.when == row.when == (world.clock() // DAY + 1) * DAY + 3 * HOUR
    assert said == "acme will be able to read this conversation in 24 hours; until then only you."


async def test_a_conversation_of_two_authors_is_read_in_part_by_each(world: World):
    owner = await agreed(world, "acme", "globex")
    chat = await world.say(owner, "for acme")
    await world.say(owner, "for globex", BETA, chat)
    found, said = await look(world, owner, chat)
    assert said == "acme and globex will be able to read part of this conversation in 3 days; until then only you."
    assert found.datasets == DATASETS
