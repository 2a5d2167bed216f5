"""Consent bugs of the comparison, each of them short, each of which the tests must notice.

python -m tests.support.consent_mutants [word ...]      # all, or those whose rule has one of the words
"""

from __future__ import annotations

from tests.support.mutants import Mutant, main

TESTS = {
    "privacy/consent.py": ("test_consent.py", "test_api_choice.py", "test_sharing.py", "test_unread.py"),
    "privacy/ledger.py": ("test_consent.py", "test_api_choice.py", "test_sharing.py"),
    "privacy/segments.py": (
        "test_segments.py",
        "test_api_choice.py",
    ),
    "chat/hub.py": ("test_hub.py", "test_sharing_hub.py"),
    "privacy/access.py": ("test_access.py",),
    "privacy/audit.py": ("test_audit.py",),
    "app.py": ("test_kept.py", "-k", "a_new_machine"),
    "chat/backup_incoming.py": ("test_kept.py", "-k", "a_new_machine"),
}
DEFAULT = ("test_sharing.py", "test_comparison.py", "test_strays.py", "test_unread.py", "test_audit.py", "test_mine.py")

MUTANTS = (
    Mutant(
        "a grant is not retroactive",
        "privacy/consent.py",
        "if max(grant.at, since) < first",
        "if since < first",
    ),
    Mutant(
        "unset is not a yes",
        "privacy/consent.py",
        "        return None\n\n    def was_unread",
        "        return Yes(self._events[0], True) if self._events else None\n\n    def was_unread",
    ),
    Mutant(
        "private wins",
        "privacy/consent.py",
        'if choice == "private":\n            return None',
        'if choice == "never":\n            return None',
    ),
    Mutant(
        "what was said while private stays private",
        "privacy/consent.py",
        "if max(grant.at, since) < first",
        "if grant.at < first",
    ),
    Mutant(
        "imported turns need a share of their own",
        "privacy/consent.py",
        'if surface == "import":',
        "if False:",
    ),
    Mutant(
        "a yes on the page is none to what keys send",
        "privacy/ledger.py",
        'return (event.surface == "api") == (surface == "api") or',
        "return True or",
    ),
    Mutant(
        "a no on the page ends what keys send too",
        "privacy/ledger.py",
        ' or (surface == "api" and event.kind != "grant")',
        "",
    ),
    Mutant("a share covers no call of the API", "privacy/consent.py", 'if shares and surface != "api":', "if shares:"),
    Mutant(
        "a call of the API is a row by itself",
        "privacy/segments.py",
        'why, turn.answer_id if turn.surface == "api" else None)',
        "why)",
    ),
    Mutant("a share covers its preview only", "privacy/consent.py", "if answer in e.turns]", "]"),
    Mutant(
        "a withdrawal ends a share",
        "privacy/consent.py",
        'if e.kind == "grant" and e.recipient == recipient and e.at > last',
        'if e.kind == "grant" and e.recipient == recipient',
    ),
    Mutant(
        "a withdrawal ends the grants before it",
        "privacy/consent.py",
        'grants = [*grants, event] if event.kind == "grant" else []',
        'grants = [*grants, event] if event.kind == "grant" else grants',
    ),
    Mutant(
        "an event follows the one before whatever the clock does",
        "privacy/ledger.py",
        "at=next_moment(db, owner, now),",
        "at=float(now),",
    ),
    Mutant(
        "an event follows what other machines said, whatever their clocks do",
        "privacy/ledger.py",
        "SELECT max(at) FROM consent_events WHERE subject = s.subject)",
        "SELECT max(at) FROM consent_events WHERE replica = (SELECT id FROM replica) AND subject = s.subject)",
    ),
    Mutant(
        "a yes that knows of one machine's no knows of no other's",
        "privacy/ledger.py",
        "head.chain == event.chain and head.number >= event.number",
        "head.at >= event.at",
    ),
    Mutant(
        "a yes knows of no later event of the chains that it has seen",
        "privacy/ledger.py",
        " and head.number >= event.number",
        "",
    ),
    Mutant(
        "a no that undoes another machine's yes explains that its rows leave",
        "privacy/comparison.py",
        '            or self._is_undone(row["event"])\n',
        "",
    ),
    Mutant(
        "a share that another machine's no undid still ends what the account's yes reaches",
        "privacy/consent.py",
        "own = [e for e in self._said if",
        "own = [e for e in self._events if",
    ),
    Mutant(
        "what is said is dated after what was written, though the clock was set back",
        "privacy/ledger.py",
        ", (prompt or 0.0) + TICK)",
        ")",
    ),
    Mutant(
        "a yes covers nothing that was written where it was not known yet",
        "privacy/consent.py",
        "else sorted((asked_at, heard + TICK / 2))",
        "else (asked_at, max(asked_at, heard + TICK / 2))",
    ),
    Mutant(
        "what is known to have been written at rest is at rest, whatever its date",
        "privacy/consent.py",
        "else sorted((asked_at, heard + TICK / 2))",
        "else (min(asked_at, heard + TICK / 2), asked_at)",
    ),
    Mutant("a prompt is kept with what was heard", "app.py", "Store(db, clock, last_heard)", "Store(db, clock)"),
    Mutant(
        "what was heard outlives the disk",
        "chat/backup_incoming.py",
        '**message.model_dump(exclude={"feedback"}),',
        '**message.model_dump(exclude={"feedback"}), "heard": None,',
    ),
    Mutant("a yes is to a recipient by name", "privacy/consent.py", "e.recipient in (None, recipient) and", ""),
    Mutant(
        "managed accounts are opted out",
        "privacy/consent.py",
        'if self.standing != "account" or answer',
        "if answer",
    ),
    Mutant(
        "the age is affirmed by True alone",
        "privacy/ledger.py",
        "if shown.age_affirmed is not True:",
        "if not shown.age_affirmed:",
    ),
    Mutant(
        "stale lets nothing new leave",
        "privacy/consent.py",
        "return Yes(event, stale is None and not self.is_paused)",
        "return Yes(event, not self.is_paused)",
    ),
    Mutant(
        "stale rows leave after 30 days",
        "privacy/consent.py",
        "if stale is not None and self._now >= stale + ASKING:",
        "if False:",
    ),
    Mutant(
        "a former owner's no stays",
        "privacy/consent.py",
        "self._conversations[conversation] = in_order([*(event_from(row) for row in others), *own])",
        "self._conversations[conversation] = in_order(own)",
    ),
    Mutant(
        "each dataset has its own model's turns only",
        "privacy/segments.py",
        "key = (turn.model, turn.model_revision, why,",
        'key = ("", "", why,',
    ),
    Mutant(
        "a conversation does not go whole to its last model's authors",
        "privacy/comparison.py",
        "author = rules.authors.get(turn.model)",
        "author = rules.authors.get(turns[-1].model)",
    ),
    Mutant(
        "a retry inside takes a row back",
        "privacy/comparison.py",
        'if segment is None or segment.digest() != row["segment_hash"]:\n        return None',
        "if segment is None:\n        segment = Segment(tuple(turns), None, False, 0)",
    ),
    Mutant(
        "the quiet period counts from the last change",
        "privacy/comparison.py",
        "max(segment.changed_at, segment.why.at) + rules.quiet",
        "segment.why.at + rules.quiet",
    ),
    Mutant(
        "a published segment is not published again",
        "privacy/comparison.py",
        '        taken.update(json.loads(row["answers"]))\n',
        "",
    ),
    Mutant(
        "rows of people who no longer agree are compared too",
        "privacy/comparison.py",
        ".fetchall():\n        _take_back(found, row, explain, None)",
        ".fetchall():\n        pass",
    ),
    Mutant(
        "the text of a row that must leave goes at once",
        "privacy/outbox.py",
        "SET state = 'retract', row = NULL, feedback = NULL, retract_at = ? WHERE row_id = ?\",\n        [(now, row_id)",
        "SET state = 'retract', retract_at = ? WHERE row_id = ?\",\n        [(now, row_id)",
    ),
    Mutant("nothing is decided before the restore", "privacy/outbox.py", "if not restored:", "if False:"),
    Mutant(
        "a mass retraction stops",
        "privacy/outbox.py",
        "if not mass and count >",
        "if False and count >",
    ),
    Mutant(
        "rows that were not sent yet are due again when something changes",
        "privacy/comparison.py",
        'if (row["shard"] is None and not due) or _made_anew(row, rules):',
        "if _made_anew(row, rules):",
    ),
    Mutant("small cells are not labelled", "privacy/outbox.py", "SMALLEST_CELL = 10", "SMALLEST_CELL = 1"),
    Mutant(
        "the history is squashed",
        "privacy/push.py",
        '        id = await threads.run(repo.squash, "Rows were withdrawn; the history is rewritten without them")\n',
        "",
    ),
    Mutant("what squashing leaves is purged", "privacy/push.py", "        await threads.run(repo.purge)\n", ""),
    Mutant(
        "retracted only after the squash",
        "privacy/push.py",
        "    if snapshot.squash:\n        check",
        "    await db.write(lambda c: _settle(c, snapshot, id, 0.0))\n    if snapshot.squash:\n        check",
    ),
    Mutant(
        "the private backup comes first",
        "privacy/push.py",
        "    await tools.before_public()\n    finished",
        "    finished",
    ),
    Mutant(
        "what is taken back before the very commit is not sent",
        "privacy/push.py",
        "may_publish = await tools.look_again() and publish",
        "may_publish = publish",
    ),
    Mutant(
        "an older yes does not cover what was written before all was read",
        "privacy/consent.py",
        "if last > frozen or self.was_unread(asked_at) or",
        "if last > frozen or",
    ),
    Mutant(
        "it is not covered on another disk either",
        "privacy/saved.py",
        "        db.execute(_INTO_UNREAD, row)\n",
        "        pass\n",
    ),
    Mutant(
        "what is held back lets nothing new leave",
        "privacy/sharing.py",
        "publish = publish and not planned.held",
        "publish = publish",
    ),
    Mutant(
        "what somebody took back leaves while a mass loss is held back",
        "privacy/outbox.py",
        "        found.new.clear()\n",
        "        found.new.clear()\n        found.retract.clear()\n",
    ),
    Mutant(
        "what no outbox explains is squashed",
        "privacy/strays.py",
        "    must_squash(db, dataset, now)\n",
        "",
    ),
    Mutant(
        "what no outbox explains gets a tombstone",
        "privacy/snapshot.py",
        "removed = _strays(db, dataset)",
        "removed = {}",
    ),
    Mutant("a gate that opens by itself is none", "chat/hub.py", 'if info.gated == "manual"', "if info.gated"),
    Mutant(
        "after a share of a conversation nothing that follows leaves by the account",
        "privacy/consent.py",
        "if last > frozen or",
        "if",
    ),
    Mutant(
        "the shard is chosen before the backup",
        "privacy/saved.py",
        "FROM outbox WHERE shard IS NOT NULL ORDER",
        "FROM outbox WHERE state = 'published' ORDER",
    ),
    Mutant(
        "a push does not overwrite what was decided meanwhile",
        "privacy/push.py",
        "WHERE row_id = ? AND state = 'publish'",
        "WHERE row_id = ?",
    ),
    Mutant(
        "a shard is rewritten whole",
        "privacy/snapshot.py",
        'states = ("published", "publish") if publish else ("published",)',
        'states = ("publish",)',
    ),
    Mutant(
        "only the holder of the lease pushes",
        "privacy/trying.py",
        "    if not tools.holds_lease():\n        raise LeaseLost\n",
        "    pass\n",
    ),
    Mutant("a dataset open to all gets nothing new", "privacy/push.py", "publish and not opened)", "publish)"),
    Mutant("a dataset that was deleted is written whole", "privacy/push.py", "EVERY_SHARD if head.id is None else", ""),
    Mutant(
        "a failed redaction keeps the row back",
        "privacy/rows.py",
        '        return Prepared(None, kept_back="redaction")\n',
        "        messages, feedback = [{'role': 'user', 'content': segment.turns[0].prompt}], ()\n",
    ),
    Mutant(
        "assistants' text is redacted too",
        "privacy/rows.py",
        '"content": redacted.text,',
        '"content": text if role == "assistant" else redacted.text,',
    ),
    Mutant(
        "a preview leaves out what came through the API",
        "privacy/mine.py",
        'None if turn.surface == "api" else rules',
        "rules",
    ),
    Mutant(
        "the chip says shared until a push has removed it",
        "privacy/mine.py",
        'if row["state"] == "retracted":',
        'if row["state"] in ("retract", "retracted"):',
    ),
    Mutant(
        "new rows leave at set hours",
        "privacy/sharing.py",
        "return self.rules.next_batch(hour * HOUR) == hour * HOUR and",
        "return",
    ),
    Mutant(
        "of one person no more than so many rows leave",
        "privacy/comparison.py",
        "if there[cell] < rules.most:",
        "if True:",
    ),
    Mutant(
        "those that were finished first leave",
        "privacy/comparison.py",
        "segment.settled_at, segment.answers, one",
        "-segment.settled_at, segment.answers, one",
    ),
    Mutant(
        "another redaction replaces what is public",
        "privacy/comparison.py",
        'if row["redaction"] != rules.version and row["shard"] is not None:',
        "if False:",
    ),
    Mutant(
        "a row that quotes the system prompt stays",
        "privacy/screening.py",
        "if instruction and quotes(text, instruction):",
        "if False:",
    ),
    Mutant("a row with a blocked phrase stays", "privacy/screening.py", "if phrases and any(", "if False and any("),
    Mutant(
        "a change of a conversation is seen",
        "privacy/comparison.py",
        ":rules || c.revision || '/' || c.updated_at ||",
        ":rules ||",
    ),
    Mutant(
        "what its owner says is seen",
        "privacy/comparison.py",
        "SELECT s.owner, count(*) || '/' ||",
        "SELECT s.owner, '' ||",
    ),
    Mutant("what is said about a conversation is seen", "privacy/comparison.py", "coalesce(told.events, 0)", "0"),
    Mutant("its time is seen to have come", "privacy/comparison.py", "OR compared.until <= :now", ""),
    Mutant("other rules are seen", "privacy/comparison.py", '"rules": _fingerprint(db, rules, now)', '"rules": ""'),
    Mutant(
        "what a comparison may have missed is looked at again",
        "privacy/comparison.py",
        "OR kept.conversation IN (SELECT conversation FROM longest_ago)",
        "",
    ),
    Mutant(
        "nobody's comment leaves but the owner's own",
        "privacy/feedback.py",
        "AND owner IN (SELECT value FROM json_each(?))",
        "AND ? IS NOT NULL",
    ),
    Mutant(
        "what the audit finds stops new rows",
        "privacy/sharing.py",
        "publish = publish and failed is None",
        "publish = publish",
    ),
    Mutant(
        "a share covers no comment that was made after its preview",
        "privacy/feedback.py",
        "return said if event.conversation is None else",
        "return said if True else",
    ),
    Mutant(
        "a comment on an answer keeps its row back as its text does",
        "privacy/rows.py",
        ", *(one.comment for one in said))",
        ")",
    ),
    Mutant(
        "what was said about answers is shown before it leaves",
        "privacy/mine.py",
        'row = prepare(segment, "", (), rules, said)',
        'row = prepare(segment, "", (), rules)',
    ),
    Mutant(
        "the audit runs after every push",
        "privacy/sharing.py",
        "found = await self._audit(pushed.told)",
        "found = []",
    ),
    Mutant(
        "a push that was cut off before its audit is audited later",
        "privacy/untold.py",
        " or note(db, UNAUDITED) is not None",
        "",
    ),
    Mutant(
        "the history is audited", "privacy/audit.py", "return wrong + self._of_history(head, files)", "return wrong"
    ),
    Mutant(
        "a card's hash of the ledger is one that was told",
        "privacy/audit.py",
        "return [] if found[1] in heads else",
        "return [] if True else",
    ),
    Mutant(
        "a row that no consent covers is named",
        "privacy/audit.py",
        "if not turns or not all(covered):",
        "if not turns:",
    ),
    Mutant(
        "nobody may read but whom the operator named",
        "privacy/audit.py",
        "if name.lower() not in self.may_read}",
        "if False}",
    ),
    Mutant(
        "who may read one author's datasets may not read another's",
        "privacy/access.py",
        "if colon and author == recipient.lower())",
        "if colon)",
    ),
    Mutant(
        "while an audit finds something wrong nobody is let in",
        "privacy/access.py",
        "frozenset() if failed else invited(self._readers, recipient)",
        "invited(self._readers, recipient)",
    ),
    Mutant(
        "of those who ask only the named are let in", "chat/hub.py", "if request.username.lower() in names:", "if True:"
    ),
    Mutant("a day of withdrawals is announced", "privacy/push.py", " and await _announce(tools, problems)", ""),
)


if __name__ == "__main__":
    main(MUTANTS, TESTS, DEFAULT)
