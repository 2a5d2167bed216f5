"""`python -m privacy.audit NAMESPACE/PREFIX-audit`: proves that the sharing datasets hold what consent allows, and nothing else.

It reads the audit repository and every sharing dataset that this names, with all references and the whole history
(`HF_TOKEN`, `HF_ENDPOINT`), and neither a database nor a conversation. It prints a sentence for everything that is wrong,
without a word of any conversation, and ends with 1 if there is any, with 2 where it could not be finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.dataset_repo import DatasetRepo, RepoError
from chat.hub import HubRepo
from chat.repo_guards import SPACE_FILE
from privacy import policy
from privacy.access import let_in_anywhere, may_read
from privacy.consent import Standpoint, Terms
from privacy.evidence import DATASETS, HEADS, HIDDEN, LEDGER, PAUSES, PEOPLE, ROWS, STRAYS, TEXTS, UNREAD
from privacy.head import as_text, said_in
from privacy.ledger import heads_hash, verify_chains
from privacy.rows import row_hash
from privacy.screening import plain
from privacy.shards import CARD, FEEDBACK, TOMBSTONE_SCHEMA, TOMBSTONES, read_rows, rows_in

ON_ITS_WAY = ("publish", "retract")
OURS = {CARD, TOMBSTONES, FEEDBACK, ".gitattributes", SPACE_FILE}
TEXT = re.compile(r"texts/[a-z]+-\d+\.[a-z]+\.md")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
LEDGER_LINE = re.compile(r"^Ledger of consent at this state: `([0-9a-f]{64})`$", re.MULTILINE)

# Of the database's schema what `Standpoint` and the ledger's functions read.
SCHEMA = """
    CREATE TABLE consent_events (id, subject, replica, number, at, kind, scope, conversation, recipient, turns, purposes,
        policy_version, text_hash, language, surface, age_affirmed, previous, hash, seen);
    CREATE TABLE subjects (owner, subject);
    CREATE TABLE owner_standing (owner, standing);
    CREATE TABLE unread (replica, begun_at, ended_at);
    CREATE TABLE reports (answers, state);
    CREATE TABLE pauses (subject, begun_at, ended_at);
    CREATE INDEX events_of_subject ON consent_events (subject, replica, number);
    CREATE INDEX events_of_conversation ON consent_events (conversation);
    CREATE INDEX subjects_of_owner ON subjects (owner);
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a repository; `str` is the sentence."""

    repo: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.repo}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an audit goes by. `blocked`: phrases that must not be there; `readers`: who may have been let in, as
    in `privacy.access.invited`."""

    terms: Terms
    blocked: Collection[str] = ()
    readers: Collection[str] = ()


@dataclass(slots=True)
class Evidence:
    """The audit repository, read. `texts`: path -> hash; `rows`: dataset -> row id -> its line of the map."""

    ledger: sqlite3.Connection
    datasets: list[dict[str, Any]]
    texts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    strays: dict[str, set[str]] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)


def audit(open_repo: Callable[[str], DatasetRepo], id: str, expected: Expected, now: float) -> list[Finding]:
    """What is wrong; empty: what is public is what is agreed to. Blocks; `now`: Unix seconds. Raises `RepoError`.

    Rows that are about to be published or taken away may be there or not.
    """
    repo = open_repo(id)
    head = repo.head()
    if head is None:
        return [Finding(id, "it is not there, so nothing can be proved.")]
    try:
        evidence = _read(repo, head)
    except (ValueError, KeyError, TypeError, sqlite3.Error):
        return [Finding(id, "it cannot be read, so nothing can be proved.")]
    # It says which rows are one person's: nobody reads it for being let into an author's datasets.
    wrong = [Finding(id, sentence) for sentence in _open_to(repo, let_in_anywhere(expected.readers))]
    wrong += [Finding(id, sentence) for sentence in verify_chains(evidence.ledger)]
    if not evidence.heads or evidence.heads[-1] != heads_hash(evidence.ledger):
        wrong.append(Finding(id, "its ledger is not the one whose hash was told last."))
    uncovered = _uncovered(evidence, expected.terms, now)
    for dataset in evidence.datasets:
        name = dataset["id"]
        readers = may_read(expected.readers, dataset["recipient"])
        rows, strays = evidence.rows.get(name, {}), evidence.strays.get(name, set())
        one = _Dataset(open_repo(name), dataset["model"], evidence.texts, rows, strays, uncovered, readers)
        wrong += [Finding(name, sentence) for sentence in one.faults(expected, evidence.heads)]
    return wrong


def _read(repo: DatasetRepo, head: str) -> Evidence:
    def lines(path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in repo.read(path, head).decode().split("\n") if line]

    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    found = Evidence(db, lines(DATASETS), heads=[line["hash"] for line in lines(HEADS)])
    paths = repo.paths("", head)
    found.texts = {line["path"]: line["hash"] for line in lines(TEXTS)} if TEXTS in paths else {}
    names = [row[1] for row in db.execute("PRAGMA table_info(consent_events)")]
    for path in (path for path in paths if path.startswith(LEDGER)):
        values = ", ".join(f":{name}" for name in names)
        db.executemany(
            f"INSERT INTO consent_events VALUES ({values})", ({"seen": "[]", **line} for line in lines(path))
        )
    for line in lines(PEOPLE):
        db.execute("INSERT INTO subjects VALUES (?, ?)", (line["person"], line["subject"]))
        db.execute("INSERT INTO owner_standing VALUES (?, ?)", (line["person"], line["standing"]))
    db.executemany("INSERT INTO unread VALUES (:replica, :begun_at, :ended_at)", lines(UNREAD))
    db.executemany("INSERT INTO pauses VALUES (:subject, :begun_at, :ended_at)", lines(PAUSES))
    hidden = json.dumps([line["answer"] for line in lines(HIDDEN)])
    db.execute("INSERT INTO reports VALUES (?, 'open')", (hidden,))
    for line in lines(STRAYS):
        found.strays.setdefault(line["dataset"], set()).add(line["row_id"])
    for path in (path for path in paths if path.startswith(ROWS)):
        dataset = path.removeprefix(ROWS).rpartition("/")[0]
        found.rows.setdefault(dataset, {}).update({row["row_id"]: row for row in read_rows(repo.read(path, head))})
    return found


def _uncovered(evidence: Evidence, terms: Terms, now: float) -> set[str]:
    """The ids of rows of which a turn is covered by no consent that is valid now."""
    person = {row["subject"]: row["owner"] for row in evidence.ledger.execute("SELECT subject, owner FROM subjects")}
    found: set[str] = set()
    standpoints: dict[str, Standpoint] = {}
    for row in (row for rows in evidence.rows.values() for row in rows.values() if row["state"] == "published"):
        owner = person.get(row["subject"])
        if owner is None:
            found.add(row["row_id"])
            continue
        if owner not in standpoints:
            standpoints[owner] = Standpoint(evidence.ledger, owner, terms, now)
        at, turns = standpoints[owner], json.loads(row["turns"])
        covered = [
            at.covering(row["recipient"], row["conversation"], part, door, asked, *agreed)
            for part, asked, door, *agreed in turns  # what was agreed was not noted at first
        ]
        if not turns or not all(covered):
            found.add(row["row_id"])
    return found


@dataclass(slots=True)
class _Dataset:
    """A sharing dataset and its model, the hashes of the texts in it, its part of the row map, which rows nothing covers, and
    who may read it, in lower case."""

    repo: DatasetRepo
    model: str
    texts: Mapping[str, str]
    known: Mapping[str, Mapping[str, Any]]
    strays: Collection[str]
    uncovered: Collection[str]
    may_read: Collection[str]

    def faults(self, expected: Expected, heads: Collection[str]) -> list[str]:
        head = self.repo.head()
        if head is None:
            return [f"row {id} counts as published and is not there." for id in self._published()]
        wrong = _open_to(self.repo, self.may_read)
        files = self.repo.files("", head)
        rows: dict[str, dict[str, Any]] = {}
        removed: set[str] = set()
        said: list[dict[str, Any]] = []
        for path in sorted(files):
            found = rows_in(self.repo.read(path, head)) if path.endswith(".parquet") else []
            if found is None:
                wrong.append(f"the file {path} cannot be read as rows.")
            elif path == TOMBSTONES:
                removed = {row["row_id"] for row in found}
                wrong += [f"the file {path} {fault}." for fault in self._of_tombstones(found)]
            elif path == FEEDBACK:
                said = found
            elif path.endswith(".parquet"):
                wrong += self._take(rows, found)
            elif TEXT.fullmatch(path):
                wrong += [] if self._is_told(path, head) else [f"the file {path} is not the text that was told."]
            elif path not in OURS:
                wrong.append(f"nothing explains the file {path}.")
        wrong += self._of_card(head, files, heads)
        wrong += [f"row {id} {fault}." for id, row in sorted(rows.items()) for fault in self._of_row(id, row)]
        wrong += self._of_feedback(said)
        wrong += self._of_words(rows.values(), said, expected.blocked)
        wrong += [f"row {id} counts as published and is not there." for id in self._published() if id not in rows]
        gone = self._in_state("retracted") | set(self.strays)
        wrong += [f"row {id} was taken back and has no tombstone." for id in sorted(gone - removed)]
        return wrong + self._of_history(head, files)

    def _in_state(self, *states: str) -> set[str]:
        return {id for id, row in self.known.items() if row["state"] in states}

    def _published(self) -> list[str]:
        return sorted(self._in_state("published"))

    def _of_tombstones(self, found: Sequence[Mapping[str, Any]]) -> list[str]:
        more = {name for row in found for name in row} - set(TOMBSTONE_SCHEMA.names)
        wrong = [f"has more than it should: {', '.join(sorted(more))}"] if more else []
        gone = self._in_state("retract", "retracted") | set(self.strays)
        if not all(row["row_id"] in gone and DAY.fullmatch(str(row.get("removed"))) for row in found):
            wrong.append("has a line that is no tombstone of ours")
        return wrong

    @staticmethod
    def _take(rows: dict[str, dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
        twice = [f"row {row['row_id']} is there twice." for row in found if row["row_id"] in rows]
        rows.update({row["row_id"]: row for row in found})
        return twice

    def _of_row(self, id: str, row: Mapping[str, Any]) -> list[str]:
        kept = self.known.get(id)
        if kept is None:
            return ["is in no row map"]
        if kept["state"] in ON_ITS_WAY:
            return []
        if kept["state"] != "published":
            return [f"is there and counts as {kept['state']}"]
        return ([] if self._is_as_published(row) else ["is not as it was published"]) + (
            ["is not covered by a consent that is valid now"] if id in self.uncovered else []
        )

    def _is_as_published(self, row: Mapping[str, Any]) -> bool:
        return row_hash(as_text(row)) == self.known[row["row_id"]]["row_hash"]

    def _is_told(self, path: str, revision: str) -> bool:
        return hashlib.sha256(self.repo.read(path, revision)).hexdigest() == self.texts.get(path)

    def _of_feedback(self, said: Sequence[Mapping[str, Any]]) -> list[str]:
        states = {id: self.known[id]["state"] if id in self.known else None for id in {one["row_id"] for one in said}}
        return [
            f"what was said about row {id} is there, and that {f'counts as {state}' if state else 'is in no row map'}."
            for id, state in sorted(states.items())
            if state not in ("published", *ON_ITS_WAY)
        ] + [f"what was said about row {id} is not what was told." for id in self._not_told(said)]

    def _not_told(self, said: Sequence[Mapping[str, Any]]) -> list[str]:
        """The published rows about which something else was said than the row map knows."""
        published = set(self._published())
        others = {one["row_id"] for one in said if one.get("model") != self.model}
        others |= {
            id
            for id, text in said_in(said).items()
            if id in published and row_hash(text) != self.known[id].get("feedback_hash")
        }
        return sorted(others & published)

    def _of_card(self, head: str, files: Collection[str], heads: Collection[str]) -> list[str]:
        found = LEDGER_LINE.search(self.repo.read(CARD, head).decode(errors="replace")) if CARD in files else None
        if found is None:
            return ["its card does not say at which state of the ledger it is."]
        return [] if found[1] in heads else ["the ledger is not the one whose hash its card has."]

    @staticmethod
    def _of_words(
        rows: Iterable[Mapping[str, Any]], said: Iterable[Mapping[str, Any]], blocked: Collection[str]
    ) -> list[str]:
        phrases = [phrase for phrase in map(plain, blocked) if phrase]
        if not phrases:
            return []
        texts = ((one["row_id"], text) for one in (*rows, *said) for text in _strings(one))
        hit = {id for id, text in texts if any(phrase in plain(text) for phrase in phrases)}
        return [f"row {id} has a phrase that is blocked, a canary perhaps." for id in sorted(hit)]

    def _of_history(self, head: str, files: Mapping[str, str]) -> list[str]:
        """Every row in every commit that can be reached is one that may be public now, as it is, and every file one of ours."""
        wrong: set[str] = set()
        seen = set(files.values())
        for revision in self.repo.history():
            if revision == head:
                continue
            for path, content in self.repo.files("", revision).items():
                if content in seen:
                    continue
                seen.add(content)
                wrong |= self._of_old_file(path, revision)
        return sorted(wrong)

    def _of_old_file(self, path: str, revision: str) -> set[str]:
        still = f"the file {path} still stands in the history, and"
        if path.endswith(".parquet"):
            found = rows_in(self.repo.read(path, revision))
            if found is not None and path == TOMBSTONES:
                return {f"{still} {fault}." for fault in self._of_tombstones(found)}
            return {f"{still} cannot be read as rows."} if found is None else self._of_old_rows(path, found)
        if TEXT.fullmatch(path):
            return set() if self._is_told(path, revision) else {f"{still} is not the text that was told."}
        return set() if path in OURS else {f"{still} nothing explains it."}

    def _of_old_rows(self, path: str, found: Sequence[Mapping[str, Any]]) -> set[str]:
        states = {row["row_id"]: self.known.get(row["row_id"], {}).get("state", "retracted") for row in found}
        wrong = {f"row {id} still stands in the history." for id, state in states.items() if state == "retracted"}
        if path == FEEDBACK:
            others = self._not_told(found)
            return wrong | {
                f"what was said about row {id} stands in the history and is not what was told." for id in others
            }
        return wrong | {
            f"row {row['row_id']} stands in the history as it was not published."
            for row in found
            if states[row["row_id"]] == "published" and not self._is_as_published(row)
        }


def _open_to(repo: DatasetRepo, may_read: Collection[str]) -> list[str]:
    """Who can read it besides those who may, in lower case."""
    wrong = ["it is open to everyone."] if repo.visibility() == "public" else []
    strangers = {name for name in repo.readers() or () if name.lower() not in may_read}
    return wrong + [f"{reader} can read it, and is nobody whom the operator named." for reader in sorted(strangers)]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a row that anybody may have written, of whatever shape."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for part in value.values() for text in _strings(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in _strings(part))


def main(arguments: list[str], environ: Mapping[str, str], now: float) -> int:
    namespace, prefix = environ.get("SHARE_NAMESPACE", ""), environ.get("SHARE_PREFIX", "parley")
    id = arguments[0] if arguments else f"{namespace}/{prefix}-audit" if namespace else ""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", id):
        print("Name the audit repository: python -m privacy.audit NAMESPACE/PREFIX-audit", file=sys.stderr)
        return 2
    endpoint, token = environ.get("HF_ENDPOINT") or "https://huggingface.co", environ.get("HF_TOKEN", "")
    expected = Expected(
        Terms(policy.stale_from()), listed(environ.get("SHARE_BLOCKED")), listed(environ.get("SHARE_READERS"))
    )
    try:
        wrong = audit(lambda id: HubRepo(endpoint, token, id), id, expected, now)
    except RepoError as error:
        print(f"The audit could not be finished. {error}", file=sys.stderr)
        return 2
    for finding in wrong:
        print(finding)
    print("What is shared is what was agreed to." if not wrong else f"{len(wrong)} wrong.")
    return 1 if wrong else 0


def listed(value: str | None) -> tuple[str, ...]:
    """The items of a comma-separated variable."""
    return tuple(item.strip() for item in (value or "").split(",") if item.strip())


if __name__ == "__main__":
    import time

    sys.exit(main(sys.argv[1:], os.environ, time.time()))
