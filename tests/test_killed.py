"""Kept here survives `kill -9`: the app is killed under load, over and over on one disk, and nothing acknowledged is gone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.app_process import AppProcess, engine_process
from tests.support.killed_app import Kept, kill_again_and_again, lost

KILLS = 20
SEED = 4


def test_nothing_that_was_called_kept_here_is_gone_after_twenty_kills(tmp_path: Path):
    with engine_process() as engine:
        app = AppProcess(tmp_path / "data", ENGINE_URL=engine, SYNC_SECONDS="1")
        outcome = kill_again_and_again(app, KILLS, SEED)
        assert outcome.lost == []
        assert outcome.kills == KILLS and outcome.acknowledged > 5 * KILLS
        assert 0 < outcome.while_starting < KILLS
        # And it still comes up, says what it says, and saves all of it.
        with app:
            pass
    assert "Traceback" not in app.output()


def test_the_check_sees_what_is_lost(tmp_path: Path):
    """Guards the figure: a message, an answer, a title and a deletion that the disk lacks are each found."""
    database = sqlite3.connect(tmp_path / "parley.db")
    database.execute("CREATE TABLE messages (id, content, state)")
    database.execute("CREATE TABLE conversations (id, title, deletes_at)")
    database.executemany("INSERT INTO messages VALUES (?, ?, ?)", [("p1", "text", None), ("a1", "half", "interrupted")])
    database.executemany("INSERT INTO conversations (id, title) VALUES (?, ?)", [("c1", "old"), ("c2", "deleted")])
    database.commit()
    database.close()
    kept = Kept(
        {"p1": "text", "p2": "text"},
        {"a1": "half and half"},
        {"c1": "new"},
        {"c2"},
        dict.fromkeys(("p1", "p2", "a1"), "c1"),
    )
    assert lost(tmp_path, kept) == ["prompt p2", "answer a1", "title c1", "deletion c2"]
