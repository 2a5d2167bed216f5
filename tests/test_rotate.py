"""`python -m chat.rotate`: after it not even an old version's id finds what was deleted; broken off anywhere it goes on."""

from __future__ import annotations

import time

import pytest

from chat.dataset_repo import Denied, RepoError, Unreachable
from chat.hub import HubRepo
from chat.hub_names import HubNames
from chat.lease import PATH as LEASE
from chat.rotate import main, rotate
from tests.support.backing import Machine, in_folder, in_git, owner_of
from tests.support.hub.testing import CANARY, REPO, UPLOAD_WARNING, clean_hub, running_hub  # noqa: F401

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(UPLOAD_WARNING)]


class Stage:
    """A dataset on a Hub that keeps old versions, with a deletion whose text still answers there."""

    def __init__(self, hub, folder) -> None:
        self.hub, self.folder, self.told = hub, folder, []
        self.token = hub.add_user("ada")
        hub.squash_keeps_old = True
        self.machine = Machine(folder / "disk", self.repo())

    def repo(self, id: str = REPO) -> HubRepo:
        return HubRepo(self.hub.endpoint, self.token, id)

    async def lived_in(self) -> None:
        gone = await self.machine.turn(owner_of(1), None, CANARY)
        for number in range(5):
            await self.machine.turn(owner_of(number), None, f"This one stays {number}")
        await self.machine.backup.flush()
        await self.machine.store.delete(owner_of(1), gone)
        with pytest.raises(Denied, match=r"run `python -m chat.rotate`"):
            await self.machine.backup.purge()
        self.machine.backup.lease.close()
        await self.machine.backup.flush()

    def rotate(self, names=None) -> None:
        rotate(REPO, names or HubNames(self.hub.endpoint, self.token), self.repo, self.told.append, time.time())

    def holds(self, text: str) -> bool:
        repositories = list((self.hub.repo_path("dataset", REPO).parent).glob("*.git"))
        return any(in_git(path, text) for path in repositories) or in_folder(repositories[0].parent, text)


@pytest.fixture
async def stage(hub, tmp_path):
    found = Stage(hub, tmp_path)
    await found.lived_in()
    yield found
    found.machine.close()


async def test_after_it_not_even_an_old_version_holds_what_was_deleted_and_the_app_goes_on(stage):
    assert stage.holds(CANARY)
    head = stage.repo().head()
    before = stage.repo().files("", head)
    stage.rotate()
    assert not stage.holds(CANARY)
    assert stage.holds("This one stays 4")
    assert stage.repo().files("", stage.repo().head()) == before
    assert stage.repo().visibility() == "private"
    assert stage.told[-1] == f"{REPO} was made anew: it holds what it held, and nothing from before."
    again = Machine(stage.folder / "again", stage.repo())
    await again.backup.pull()
    assert await again.everything() == await stage.machine.everything()
    again.close()
    # The app that knew the old one goes on, and now what was deleted is purged.
    await stage.machine.turn(owner_of(1), None, "and this")
    stage.hub.squash_keeps_old = False
    stage.machine.backup.lease._closed = False
    await stage.machine.backup.purge()
    assert await stage.machine.figure("SELECT count(*) FROM tombstones WHERE purged_at >= deleted_at") == 1
    assert stage.holds("and this")


class Interrupted(HubNames):
    """Breaks off before, or after, its n-th change."""

    def __init__(self, stage: Stage, at: int, after: bool) -> None:
        super().__init__(stage.hub.endpoint, stage.token)
        self.left, self.after = at, after

    def _strike(self, change) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Unreachable("The network is gone.")
        change()
        if self.left == 0:
            raise Unreachable("The network is gone.")

    def move(self, id: str, to: str) -> None:
        self._strike(lambda: super(Interrupted, self).move(id, to))

    def delete(self, id: str) -> None:
        self._strike(lambda: super(Interrupted, self).delete(id))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_broken_off_anywhere_nothing_is_lost_and_it_goes_on(stage, at, after):
    before = stage.repo().files("", stage.repo().head())
    with pytest.raises(Unreachable):
        stage.rotate(Interrupted(stage, at, after))
    stage.rotate()
    assert stage.repo().files("", stage.repo().head()) == before
    assert not stage.holds(CANARY)


@pytest.mark.parametrize("number", range(1, 5))
async def test_a_commit_that_fails_breaks_it_off_and_it_goes_on(stage, number, monkeypatch):
    monkeypatch.setattr("chat.rotate.BATCH_FILES", 4)
    before = stage.repo().files("", stage.repo().head())
    struck = stage.hub.faults.add("/commit/", method="POST", status=500, when="after", skip=number - 1)
    with pytest.raises(RepoError):
        stage.rotate()
    assert struck.hits == 1
    stage.rotate()
    assert stage.repo().files("", stage.repo().head()) == before
    assert not stage.holds(CANARY)


async def test_while_an_app_is_at_work_it_refuses(stage):
    async def yes() -> bool:
        return True

    stage.machine.backup.lease._closed = False
    stage.machine.backup._wanted_elsewhere = yes
    stage.machine.clock.now = time.time()
    await stage.machine.backup.flush()
    with pytest.raises(Denied, match=r"An app is at work on ada/chats. Stop it \(pause the Space\), wait 5 minutes"):
        stage.rotate()


async def test_the_command_says_what_is_missing(stage, capsys):
    assert main({}, 0.0) == 2
    assert "Set STORE_DATASET and HF_TOKEN" in capsys.readouterr().err
    environ = {"STORE_DATASET": "ada/none", "HF_TOKEN": stage.token, "HF_ENDPOINT": stage.hub.endpoint}
    assert main(environ, 0.0) == 2
    assert "There is no dataset ada/none." in capsys.readouterr().err
    assert main({**environ, "STORE_DATASET": REPO}, 4e9) == 0
    assert "was made anew" in capsys.readouterr().out


async def test_what_was_read_before_a_read_failed_is_not_read_again(stage):
    """Else a large dataset and a network that fails now and then come to no end."""
    before, reads = stage.repo().files("", stage.repo().head()), []

    class Failing(HubRepo):
        """Each run gets two files out of it; the third breaks off."""

        def read(self, path: str, revision: str) -> bytes:
            if path != LEASE:
                reads.append(path)
                if len(reads) % 3 == 0:
                    raise Unreachable("The network is gone.")
            return super().read(path, revision)

    def open_repo(id: str) -> HubRepo:
        return Failing(stage.hub.endpoint, stage.token, id)

    names = HubNames(stage.hub.endpoint, stage.token)
    for _ in before:
        try:
            rotate(REPO, names, open_repo, stage.told.append, time.time())
        except Unreachable:
            continue
        break
    assert stage.told and stage.told[-1] == f"{REPO} was made anew: it holds what it held, and nothing from before."
    assert len(before) > 6 and stage.repo().files("", stage.repo().head()) == before
