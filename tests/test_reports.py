"""Anybody may report a row: it is hidden at once and decided later. Closing an account ends with nobody's number."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from chat.visitors.asking import answer_refusals
from chat.visitors.visitor import Account, Visitor
from privacy import reports
from privacy.closing import erase_closed
from privacy.consent import Standpoint, Terms
from privacy.ledger import verify_chains
from privacy.mine import shared_rows
from privacy.notes import CONFIRMED, HELD, note, set_note
from privacy.pauses import pause, resume
from privacy.reports import NoSuchReport, decide, open_reports, report
from privacy.saved import files, restore
from privacy.web import deciding
from tests.support.sharing_world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


async def public_row(world: World, text: str = "told") -> tuple[str, str]:
    """(owner, row id) of a row that is in its dataset."""
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.say(owner, text)
    await world.turn()
    (row,) = [row for row in await world.outbox() if row["state"] == "published"]
    return owner, row["row_id"]


async def reported(world: World, owner: str) -> list[str | None]:
    """What their owner is told of rows that somebody reported."""
    return [row.reported for row in await world.db.read(lambda db: shared_rows(db, owner))]


async def test_its_owner_sees_that_a_row_was_reported_and_what_was_decided(world: World):
    owner, row = await public_row(world)
    assert await reported(world, owner) == [None]
    id = await complain(world, row)
    assert await reported(world, owner) == ["open"]
    await world.turn(0)
    await world.db.write(lambda db: decide(db, id, "rejected", world.clock()))
    await world.turn()
    assert await reported(world, owner) == [None, "rejected"]
    (row,) = [row["row_id"] for row in await world.outbox() if row["state"] == "published"]
    id = await complain(world, row)
    await world.db.write(lambda db: decide(db, id, "upheld", world.clock()))
    assert await reported(world, owner) == ["upheld", "rejected"]


async def complain(world: World, about: str) -> str:
    found = await world.db.write(lambda db: report(db, about, "It is about me.", "", world.clock()))
    return found.id


def in_history(world: World, text: str) -> bool:
    return any(text in repo.everything() for repo in world.repos.values())


async def test_a_reported_row_leaves_head_and_history_and_what_is_not_there_is_only_written_down(world: World):
    _, row = await public_row(world)
    await complain(world, "https://parley.test/nothing/here")
    await world.turn(0)
    assert in_history(world, "told")
    await complain(world, f"https://huggingface.co/datasets/ada/x?row={row.upper()}")
    await world.turn(0)
    assert not in_history(world, "told")
    assert await world.states() == ["retracted"]
    found = await world.db.read(open_reports)
    assert {entry.row_id for entry in found} == {None, row}


async def test_rejected_it_is_shared_again_in_a_new_row_and_upheld_never(world: World):
    _, row = await public_row(world)
    id = await complain(world, row)
    await world.turn(0)
    await world.turn()
    assert await world.states() == ["retracted"], "while it is open nothing of it leaves"
    await world.db.write(lambda db: decide(db, id, "rejected", world.clock()))
    await world.turn()
    assert await world.states() == ["published", "retracted"]
    (again,) = [entry["row_id"] for entry in await world.outbox() if entry["state"] == "published"]
    assert again != row
    id = await complain(world, again)
    await world.db.write(lambda db: decide(db, id, "upheld", world.clock()))
    await world.turn()
    assert await world.states() == ["retracted", "retracted"]
    assert not in_history(world, "told")
    assert await world.db.read(verify_chains) == []


async def test_a_report_is_decided_once(world: World):
    _, row = await public_row(world)
    id = await complain(world, row)
    await world.db.write(lambda db: decide(db, id, "upheld", world.clock()))
    with pytest.raises(NoSuchReport, match="no open report"):
        await world.db.write(lambda db: decide(db, id, "rejected", world.clock()))
    with pytest.raises(sqlite3.IntegrityError, match="decided before"):
        await world.db.write(lambda db: db.execute("UPDATE reports SET state = 'rejected'"))


async def test_many_reports_are_no_mass_retraction_that_nothing_explains(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    for number in range(25):
        await world.say(owner, f"told {number}")
    await world.turn()
    for row in await world.outbox():
        await complain(world, row["row_id"])
    await world.turn(0)
    assert set(await world.states()) == {"retracted"}


async def test_what_is_hidden_stays_so_on_another_disk(world: World, tmp_path: Path):
    _, row = await public_row(world)
    await complain(world, row)
    other = World(tmp_path / "other")
    try:
        kept = await world.db.read(files)
        await other.db.write(lambda db: restore(db, kept))
        await other.db.write(lambda db: restore(db, kept))
        (found,) = await other.db.read(open_reports)
        assert found.row_id == row
        await other.db.write(lambda db: decide(db, found.id, "rejected", 5.0))
        await other.db.write(lambda db: restore(db, kept))
        assert await other.db.read(open_reports) == [], "a copy from before does not open it again"
    finally:
        other.close()


async def test_the_operators_command_lists_and_decides(world: World, capsys: pytest.CaptureFixture[str]):
    _, row = await public_row(world)
    id = await complain(world, row)
    folder = str(world.folder)
    assert reports.main([folder], {}, 1.0) == 0
    assert id in capsys.readouterr().out
    assert reports.main([folder, "uphold", "0" * 32], {}, 1.0) == 1
    assert reports.main([folder, "uphold", id], {}, world.clock()) == 0
    assert reports.main([folder], {}, 1.0) == 0
    assert id not in capsys.readouterr().out.split("upheld.")[1]
    assert reports.main([folder, "burn", id], {}, 1.0) == 2
    assert reports.main([folder + "/nothing"], {}, 1.0) == 2


# Closing an account


async def closed(world: World, owner: str) -> None:
    await world.choose(owner, "delete")
    await world.store.delete(owner)
    await world.db.write(lambda db: db.execute("DELETE FROM accounts WHERE owner = ?", (owner,)))


async def test_an_account_that_is_closed_ends_with_its_rows_out_and_nobodys_number(world: World):
    owner, _ = await public_row(world)
    events = await world.db.read(lambda db: db.execute("SELECT count(*) FROM consent_events").fetchone()[0])
    await closed(world, owner)
    assert await world.db.write(erase_closed) == [], "while a row may be public, whose it is must be known"
    await world.turn(0)
    assert not in_history(world, "told")
    assert await world.db.write(erase_closed) == [owner]
    left = await world.db.read(
        lambda db: [
            db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("subjects", "owners", "consent_events")
        ]
    )
    assert left == [0, 0, events + 1], "the events stay"
    everything = await world.db.read(
        lambda db: json.dumps([list(map(str, row)) for row in db.execute("SELECT * FROM consent_events")])
    )
    assert owner not in everything


async def test_no_copy_brings_back_whose_number_it_was(world: World):
    owner, _ = await public_row(world)
    before = await world.db.read(files)
    await closed(world, owner)
    await world.turn(0)
    await world.db.write(erase_closed)
    await world.db.write(lambda db: restore(db, before))
    assert await world.db.read(lambda db: db.execute("SELECT count(*) FROM subjects").fetchone()[0]) == 0


async def test_a_closed_account_is_forgotten_though_another_machine_heard_something_after_it(
    world: World, tmp_path: Path
):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    await closed(world, owner)
    await other.choose(owner, "withdraw", "acme")
    heard = await other.db.read(files)
    other.close()
    await world.db.write(lambda db: restore(db, heard))
    assert await world.db.write(erase_closed) == [owner]


@pytest.mark.parametrize("on_a_third", [False, True])
async def test_a_number_that_another_machine_gave_somebody_who_has_closed_their_account_is_forgotten_too(
    world: World, tmp_path: Path, on_a_third: bool
):
    """It comes after they were forgotten, maybe on a machine that never knew them; what was shared under it leaves first."""
    owner = await world.person()
    other = await world.elsewhere(tmp_path / "other", {})
    await other.choose(owner, "grant", "acme")
    await other.say(owner, "told")
    await other.turn()
    heard = await other.db.read(files)
    other.close()
    await world.choose(owner, "withdraw", "acme")
    await closed(world, owner)
    assert await world.db.write(erase_closed) == [owner]
    here = await world.elsewhere(tmp_path / "third", await world.db.read(files)) if on_a_third else world
    conversation = json.loads(heard["sharing/outbox-parley-acme__alpha.jsonl"])["conversation"]
    await here.db.write(lambda db: restore(db, heard))
    await here.db.write(
        lambda db: db.execute(
            "INSERT INTO tombstones (conversation, owner, deleted_at) VALUES (?, ?, 1)", (conversation, owner)
        )
    )
    assert await here.db.write(erase_closed) == []
    await here.turn(0)
    assert not in_history(here, "told") and here.audited() == []
    assert await here.db.write(erase_closed) == [owner]
    assert await here.db.read(lambda db: db.execute("SELECT count(*) FROM subjects").fetchone()[0]) == 0
    await here.db.write(lambda db: restore(db, heard))
    assert await here.db.read(lambda db: db.execute("SELECT count(*) FROM subjects").fetchone()[0]) == 0
    if on_a_third:
        here.close()


async def test_an_account_that_is_open_is_nobodys_to_erase(world: World):
    owner, nobody = await world.person(), await world.person(anonymous=True)
    await world.choose(owner, "withdraw")
    await world.choose(nobody, "deny")
    other = await world.person()
    await world.choose(other, "delete")
    assert await world.db.write(erase_closed) == [], "an account is closed where it is no more"


async def test_closing_ends_every_yes(world: World):
    owner = await world.person()
    await world.choose(owner, "grant", "acme")
    await world.choose(owner, "delete")
    state = await world.db.read(lambda db: Standpoint(db, owner, Terms(), world.clock()).account_state("acme"))
    assert state == "withdrawn"


# Letting it rest


async def test_while_sharing_rests_nothing_new_leaves_and_what_is_public_stays(world: World):
    owner, _ = await public_row(world, "public before")
    await world.say(owner, "waited before")
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    await world.say(owner, "written meanwhile")
    await world.turn()
    assert in_history(world, "public before")
    assert not in_history(world, "waited before") and not in_history(world, "written meanwhile")
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    await world.db.write(lambda db: resume(db, owner, world.clock()))
    await world.say(owner, "written after")
    await world.turn()
    assert in_history(world, "waited before") and in_history(world, "written after")
    assert not in_history(world, "written meanwhile"), "going on reaches nothing that was written meanwhile"


async def test_a_pause_outlives_the_disk_and_going_on_elsewhere_ends_it(world: World, tmp_path: Path):
    owner, _ = await public_row(world)
    await world.db.write(lambda db: pause(db, owner, world.clock()))
    other = await world.elsewhere(tmp_path / "other", await world.db.read(files))
    try:
        at = await other.db.read(lambda db: Standpoint(db, owner, Terms(), world.clock()))
        assert at.is_paused
        world.clock.now += 5
        await other.db.write(lambda db: resume(db, owner, world.clock()))
        ended = await other.db.read(files)
    finally:
        other.close()
    await world.db.write(lambda db: restore(db, ended))
    at = await world.db.read(lambda db: Standpoint(db, owner, Terms(), world.clock()))
    assert not at.is_paused


# Rows that nothing explains, on the operator's page


async def test_the_operator_lets_as_many_rows_leave_as_the_page_said(world: World):
    await world.db.write(lambda db: set_note(db, HELD, "31"))
    woken: list[bool] = []
    desk = SimpleNamespace(
        db=world.db, clock=world.clock, wake=lambda: woken.append(True), unframed=SimpleNamespace(ancestors="'self'")
    )
    app = FastAPI()
    answer_refusals(app)
    app.include_router(deciding.router(desk, ["olga"]))
    olga = Visitor("o", Account("o", "1", "Olga"), "cookie", new_session=False)

    async def as_olga(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "parley.asking": SimpleNamespace(visitor=olga)}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(as_olga), base_url="http://parley.test") as client:
        page = await client.get("/operator/decisions")
        assert "31 rows would be taken back" in page.text and "frame-ancestors" in str(page.headers)
        for body in ({}, {"rows": "31"}, {"rows": True}, {"rows": 31, "more": 1}):
            assert (await client.post("/api/operator/confirm", json=body)).status_code == 422
        assert (await client.post("/api/operator/confirm", json={"rows": 30})).status_code == 404
        assert await world.db.read(lambda db: note(db, CONFIRMED)) is None and not woken
        assert (await client.post("/api/operator/confirm", json={"rows": 31})).json() == {"rows": 31}
        assert await world.db.read(lambda db: note(db, CONFIRMED)) == "31" and woken
        await world.db.write(lambda db: set_note(db, HELD, None))
        assert (await client.get("/api/operator/decisions")).json() == {"reports": [], "held": None}
        assert (await client.post("/api/operator/confirm", json={"rows": 31})).status_code == 404
