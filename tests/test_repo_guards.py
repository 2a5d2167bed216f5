"""A duplicate never reads or writes what belongs to the Space it was made from."""

from __future__ import annotations

import inspect

import pytest

from chat.dataset_repo import Conflict, DatasetRepo, Denied
from chat.repo_guards import SPACE_FILE, OfOneSpace, Repo
from tests.support.memory_repo import MemoryRepo


def test_the_first_space_that_writes_owns_it_and_no_other_reads_or_writes():
    repo = MemoryRepo("ada/kept")
    original = OfOneSpace(repo, "ada/parley")
    original.create("A card")
    original.commit({"users/a": b"text"}, [], original.head(), "Save")
    before = repo.now()
    duplicate = OfOneSpace(repo, "bob/parley")
    for act in (
        duplicate.head,
        lambda: duplicate.create("Mine"),
        lambda: duplicate.commit({"users/a": b"mine"}, [], None, "Save"),
        lambda: duplicate.commit({"users/a": b"mine"}, [], repo.head(), "Save"),
        lambda: duplicate.accept({"grace"}),
    ):
        with pytest.raises(
            Denied, match=r"belongs to the Space ada/parley, and this is bob/parley.*remove STORE_DATASET"
        ):
            act()
    assert repo.now() == before


def test_a_repository_from_before_is_taken_over_with_the_next_commit_and_not_with_a_look():
    repo = MemoryRepo("ada/kept")
    repo.create("A card")
    looking = OfOneSpace(repo, "bob/parley")
    assert looking.head() == repo.head()
    original = OfOneSpace(repo, "ada/parley")
    original.commit({"a": b"1"}, [], original.head(), "Save")
    assert b"ada/parley" in repo.now()[SPACE_FILE]
    assert repo.commits == 2
    with pytest.raises(Denied, match="belongs to the Space ada/parley"):
        looking.head()


def test_of_two_that_mark_it_at_once_one_gets_it():
    repo = MemoryRepo("ada/kept")
    repo.create("A card")
    one, other = OfOneSpace(repo, "ada/one"), OfOneSpace(repo, "ada/other")
    head = repo.head()
    one.head(), other.head()
    one.commit({"a": b"1"}, [], head, "Save")
    with pytest.raises((Denied, Conflict)):
        other.commit({"a": b"2"}, [], head, "Save")
    assert repo.now()["a"] == b"1"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"space": 1}', b"\xff"])
def test_a_damaged_mark_is_nobodys_permission(content):
    repo = MemoryRepo("ada/kept")
    repo.create("A card")
    repo.commit({SPACE_FILE: content}, [], repo.head(), "Damage it")
    with pytest.raises(Denied, match="belongs to the Space of another app"):
        OfOneSpace(repo, "ada/parley").head()


@pytest.mark.parametrize("name", sorted(name for name in vars(DatasetRepo) if not name.startswith("_")))
def test_every_method_of_a_repository_is_handed_on(name):
    asked = []

    class Asked:
        id = "ada/kept"

        def __getattr__(self, name):
            return lambda *arguments: asked.append((name, *arguments))

    parameters = list(inspect.signature(getattr(DatasetRepo, name)).parameters)[1:]
    getattr(Repo(Asked()), name)(*parameters)
    assert asked == [(name, *parameters)]
