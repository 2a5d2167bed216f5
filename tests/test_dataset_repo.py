"""A repository of files, on the Hub or in a folder: the same promises, kept by both."""

from __future__ import annotations

import json
import os
import threading

import pytest

from chat.dataset_repo import Conflict, Denied, FolderRepo, Unreachable, blob_id
from chat.hub import HubRepo
from tests.support.hub.testing import REPO, UPLOAD_WARNING, clean_hub, parquet, running_hub  # noqa: F401

pytestmark = pytest.mark.filterwarnings(UPLOAD_WARNING)

CARD = "---\nviewer: false\n---\n# Kept\n"


@pytest.fixture(params=["hub", "folder"])
def repo(request, tmp_path):
    """A repository that does not exist yet."""
    if request.param == "folder":
        return FolderRepo(tmp_path / "dataset")
    hub = request.getfixturevalue("hub")
    return HubRepo(hub.endpoint, hub.add_user("ada"), REPO)


def test_what_is_not_there_is_none(repo):
    assert (repo.head(), repo.visibility()) == (None, None)


def test_it_is_made_private_with_its_card_and_only_once(repo):
    head = repo.create(CARD)
    assert (repo.visibility(), repo.owned(), repo.head()) == ("private", True, head)
    assert repo.create("another card") == head
    assert repo.read("README.md", head) == CARD.encode()


def test_a_commit_writes_and_deletes_and_is_the_new_head(repo):
    first = repo.commit({"a/b.jsonl": b"one\n", "c": b"", "ż ?#%.txt": b"x"}, [], repo.create(CARD), "Write")
    assert first == repo.head()
    assert repo.read("a/b.jsonl", first) == b"one\n"
    assert repo.read("ż ?#%.txt", first) == b"x"
    second = repo.commit({"a/b.jsonl": b"two\n"}, ["c"], first, "Write")
    assert [path for path in repo.paths("", second) if not path.startswith(".git")] == [
        "README.md",
        "a/b.jsonl",
        "ż ?#%.txt",
    ]
    assert repo.read("a/b.jsonl", second) == b"two\n"


def test_listing_takes_a_prefix_and_tells_contents_apart(repo):
    head = repo.commit({"users/ab/1": b"x", "users/ab/2": b"x", "users.txt": b"y"}, [], repo.create(CARD), "Write")
    assert repo.files("users/", head) == {"users/ab/1": blob_id(b"x"), "users/ab/2": blob_id(b"x")}
    assert repo.paths("users/ab/2", head) == ["users/ab/2"]
    assert repo.paths("nothing/", head) == []


def test_a_missing_file_is_a_key_error(repo):
    head = repo.create(CARD)
    for path in ("a", "README.md/a"):
        with pytest.raises(KeyError):
            repo.read(path, head)


def test_a_wrong_parent_is_a_conflict_and_changes_nothing(repo):
    first = repo.create(CARD)
    second = repo.commit({"a": b"theirs"}, [], first, "Write")
    for add, delete in (({"a": b"mine"}, []), ({}, ["a"]), ({"a": b"theirs"}, [])):
        with pytest.raises(Conflict):
            repo.commit(add, delete, first, "Write")
    assert repo.head() == second
    assert repo.read("a", second) == b"theirs"


def test_without_a_parent_it_goes_on_top_of_whatever_is_there(repo):
    repo.commit({"a": b"1"}, [], repo.create(CARD), "Write")
    head = repo.commit({"b": b"2"}, [], None, "Write")
    assert {"a", "b"} <= set(repo.paths("", head))


def test_deleting_what_is_not_there_is_a_conflict(repo):
    head = repo.create(CARD)
    with pytest.raises(Conflict):
        repo.commit({"b": b"2"}, ["a"], head, "Write")
    assert repo.head() == head


def test_writing_what_is_there_already_succeeds(repo):
    """The second try of a commit whose answer was lost."""
    head = repo.commit({"a": b"1"}, [], repo.create(CARD), "Write")
    again = repo.commit({"a": b"1"}, [], head, "Write")
    assert repo.read("a", again) == b"1"


def test_a_parquet_file_is_read_as_it_was_written(repo):
    content = parquet(["one", "two"])
    head = repo.commit({"data/0.parquet": content}, [], repo.create(CARD), "Write")
    assert repo.read("data/0.parquet", head) == content


def test_of_two_writers_at_once_one_wins(repo):
    head, won, lost = repo.create(CARD), [], []

    def write(number: int) -> None:
        try:
            won.append(repo.commit({"a": b"%d" % number}, [], head, "Write"))
        except Conflict:
            lost.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    assert won == [repo.head()]


def test_writing_to_what_is_not_there_is_denied(repo):
    with pytest.raises(Denied):
        repo.commit({"a": b"1"}, [], None, "Write")


def test_squashing_keeps_the_files(repo):
    head = repo.commit({"a": b"1"}, [], repo.create(CARD), "Write")
    head = repo.commit({"a": b"2"}, [], head, "Write")
    squashed = repo.squash("Keep no history")
    repo.purge()
    assert squashed == repo.head()
    assert repo.read("a", squashed) == b"2"


# The folder alone


@pytest.mark.parametrize("path", ["../a", "/a", ".parley/head", "a/../../b", "", "a\0b"])
def test_a_folder_writes_nowhere_else(tmp_path, path):
    repo = FolderRepo(tmp_path / "dataset")
    head = repo.create(CARD)
    with pytest.raises(ValueError, match="no path inside"):
        repo.commit({path: b"x"}, [], head, "Write")


def test_a_folders_files_are_its_users_alone(tmp_path):
    repo = FolderRepo(tmp_path / "dataset")
    repo.commit({"users/ab/1.jsonl": b"secret"}, [], repo.create(CARD), "Write")
    folder = tmp_path / "dataset"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_file())


class Crash(BaseException):
    pass


@pytest.mark.parametrize("step", range(14))
def test_a_commit_to_a_folder_is_there_whole_or_not_at_all(tmp_path, monkeypatch, step):
    """The machine stops before each change that the commit makes to the disk, in turn."""
    folder = tmp_path / "dataset"
    repo = FolderRepo(folder)
    head = repo.commit({"a": b"old a", "b": b"old b", "gone": b"x"}, [], repo.create(CARD), "Write")
    left = step

    def crashing(real):
        def call(*arguments, **options):
            nonlocal left
            if not left:
                raise Crash
            left -= 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "fsync"):
            patch.setattr(os, name, crashing(getattr(os, name)))
        try:
            repo.commit({"a": b"new a", "b": b"new b"}, ["gone"], head, "Write")
        except Crash:
            pass
    again = FolderRepo(folder)
    now = again.head()
    state = {path: again.read(path, now) for path in again.paths("", now) if path != "README.md"}
    if now == head:
        assert state == {"a": b"old a", "b": b"old b", "gone": b"x"}
    else:
        assert state == {"a": b"new a", "b": b"new b"}
    again.commit({"c": b"c"}, [], now, "Write")
    assert not list((folder / ".parley").glob("staged-*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="cannot be used .* Make room there, or make it writable"):
        FolderRepo(tmp_path / "file" / "dataset").head()


def test_an_old_version_of_a_folder_is_not_read_as_the_new_one(tmp_path):
    repo = FolderRepo(tmp_path / "dataset")
    old = repo.create(CARD)
    repo.commit({"a": b"1"}, [], old, "Write")
    with pytest.raises(Conflict):
        repo.read("a", old)


def test_the_intent_of_a_folder_names_paths_only(tmp_path):
    repo = FolderRepo(tmp_path / "dataset")
    repo.commit({"a": b"secret"}, [], repo.create(CARD), "Write")
    (tmp_path / "dataset/.parley/head").read_text()
    assert not (tmp_path / "dataset/.parley/intent").exists()
    assert json.dumps(sorted(path.name for path in (tmp_path / "dataset/.parley").iterdir())) == '["head", "lock"]'
