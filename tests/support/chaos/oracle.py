"""What must be true in the end, told from what was acknowledged and what the page had called it at that time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["kept here", "safe", "saved"]
_RANK = {"kept here": 0, "safe": 1, "saved": 2}


@dataclass
class Write:
    """A message that a replica acknowledged. `life`: the disk that it was acknowledged on. `level`: the most that the page
    has called it since. `may_be_lost`: that disk was lost while it was called no more than kept here."""

    canary: str
    conversation: str
    life: str
    level: Level = "kept here"
    may_be_lost: bool = False


@dataclass
class Deletion:
    """The same of a deletion. `texts`: what went, as far as that replica knew. `purged`: it was said to be deleted from the
    backup too."""

    conversation: str
    life: str
    texts: tuple[str, ...]
    level: Level = "kept here"
    purged: bool = False
    may_be_undone: bool = False


@dataclass
class Outcome:
    """What happened under one seed. `struck`: kind of request -> (how many failed, of how many)."""

    seed: int
    bucket: bool
    operations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    struck: dict[str, tuple[int, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    at_stake: Counter[str] = field(default_factory=Counter)  # level -> writes whose disk was lost
    lost: Counter[str] = field(default_factory=Counter)  # level -> writes
    undone: Counter[str] = field(default_factory=Counter)  # level -> deletions
    found: int = 0  # deleted messages whose text was found
    writes: int = 0
    deletions: int = 0

    def share(self, kind: str) -> str:
        failed, of = self.struck.get(kind, (0, 0))
        return f"{failed}/{of} ({failed / of:.0%})" if of else "-"


class Oracle:
    """Collects what was acknowledged, and compares it with what is there."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.writes: list[Write] = []
        self.deletions: list[Deletion] = []
        self._texts: list[tuple[str, str]] = []  # (text, conversation) of all that may be there, said or not
        self._deleting: dict[str, str] = {}  # conversations that may be deleted, said or not -> the texts that go
        self._claimed: list[Write | Deletion] = []  # what was called safe, or saved, since it was last looked for

    def note(self, life: str, kind: str, text: str, conversation: str) -> None:
        """See `users.Note`."""
        if kind == "trying":
            self._texts.append((text, conversation))
        elif kind == "write":
            self.writes.append(Write(text, conversation, life))
            self._texts.append((text, conversation))
        elif kind == "deleting":
            self._deleting[conversation] = text
        else:
            self.deletions.append(Deletion(conversation, life, tuple(self._deleting[conversation].split("\n"))))

    @property
    def acknowledged(self) -> tuple[int, int]:
        return len(self.writes), len(self.deletions)

    def told(
        self,
        life: str,
        conversations: Mapping[str, Level],
        tombstones: Mapping[str, tuple[Level, bool]],
        of: tuple[int, int] | None = None,
    ) -> bool:
        """What the page of a replica says right now: of each conversation, and of each deletion (and whether purged).
        Returns whether it calls something purged for the first time. `of`: how many `acknowledged` before it looked."""
        news, (writes, deletions) = False, of or self.acknowledged
        for write in self.writes[:writes]:
            if write.life == life and write.conversation in conversations:
                self._called(write, conversations[write.conversation])
        for deletion in self.deletions[:deletions]:
            if deletion.conversation in tombstones:  # whoever knows of it has it from this one, or saw what it wrote
                level, purged = tombstones[deletion.conversation]
                self._called(deletion, level)
                news |= purged and not deletion.purged
                deletion.purged |= purged
        return news

    def _called(self, what: Write | Deletion, level: Level) -> None:
        if _RANK[level] > _RANK[what.level]:
            what.level = level
            self._claimed.append(what)

    def where_it_was_called(self, bucket: Callable[[], bytes], dataset: Callable[[], bytes]) -> None:
        """What was newly called saved is in the dataset at this moment, what was called safe in the bucket or there: the disk
        could be lost now. `bucket`, `dataset`: all their bytes."""
        claimed, self._claimed = self._claimed, []
        # What somebody else deleted meanwhile is rightly gone.
        wanted = [
            (what, _mark(what))
            for what in claimed
            if isinstance(what, Deletion) or what.conversation not in self._deleting
        ]
        if any(what.level == "safe" for what, _ in wanted):
            there = bucket()
            wanted = [(what, mark) for what, mark in wanted if what.level == "saved" or mark not in there]
        there = dataset() if wanted else b""
        for what, mark in wanted:
            if mark not in there:
                self.outcome.violations.append(f"{mark.decode()} is called {what.level} and is not there")

    def disk_lost(self, life: str) -> None:
        for write in self.writes:
            write.may_be_lost |= write.life == life and write.level == "kept here"
            self.outcome.at_stake[write.level] += write.life == life and write.conversation not in self._deleting
        for deletion in self.deletions:
            deletion.may_be_undone |= deletion.life == life and deletion.level == "kept here"

    def gone(self) -> set[str]:
        """The conversations that somebody deleted, and whose deletion may not be undone."""
        return {deletion.conversation for deletion in self.deletions if not deletion.may_be_undone}

    def disk_kept(self, life: str, contents: Iterable[str]) -> None:
        """After a crash that kept the disk: all that was acknowledged on it is on it. `contents`: of all its messages."""
        there = "\n".join(contents)
        for write in self.writes:
            if write.life == life and write.conversation not in self._deleting and write.canary not in there:
                self.outcome.violations.append(f"{write.canary} is gone from a disk that was kept")

    def purged_text(self, everything: bytes, where: str) -> None:
        """No text of what is said to be purged is in these bytes."""
        texts = {text for deletion in self.deletions if deletion.purged for text in deletion.texts if "<" in text}
        self._search(texts, everything, where)

    def _search(self, canaries: Iterable[str], everything: bytes, where: str) -> None:
        found = sorted(canary for canary in canaries if canary.encode() in everything)
        self.outcome.found += len(found)
        if found:
            self.outcome.violations.append(f"{len(found)} deleted messages are in {where}, the first is {found[0]}")

    def ends(self, states: Mapping[str, dict[str, list[tuple[Any, ...]]]], bytes_of: Mapping[str, bytes]) -> None:
        """After everything was healed and saved. `states`: of each replica, all its rows; all must be alike."""
        (first, state), *others = states.items()
        for name, other in others:
            for table, rows in state.items():
                if other[table] != rows:
                    extra = len(set(map(repr, rows)) ^ set(map(repr, other[table])))
                    self.outcome.violations.append(f"{first} and {name} differ in {extra} rows of {table}")
        alive = {row[0] for row in state["conversations"]}
        contents = "\n".join(row[4] for row in state["messages"])
        gone = self.gone()
        for deletion in self.deletions:
            if deletion.conversation in alive:
                self.outcome.undone[deletion.level if deletion.conversation in gone else "disk lost"] += 1
                if not deletion.may_be_undone:
                    self.outcome.violations.append(
                        f"a deletion ({deletion.level}) of {deletion.conversation} is undone"
                    )
        for write in self.writes:
            if write.conversation in self._deleting or write.canary in contents:
                continue
            self.outcome.lost[write.level] += 1
            if not write.may_be_lost:
                self.outcome.violations.append(f"{write.canary} ({write.level}) is lost")
        deleted = {text for text, of in self._texts if of in gone}
        for where, everything in bytes_of.items():
            self._search(deleted, everything, where)
        self.outcome.writes, self.outcome.deletions = len(self.writes), len(self.deletions)


def _mark(what: Write | Deletion) -> bytes:
    """What a file that holds it has: the text itself, or the line of its tombstone."""
    return (what.canary if isinstance(what, Write) else f'"conversation":"{what.conversation}"').encode()
