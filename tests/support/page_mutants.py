"""Consent bugs of the page, the reports and the sign-in, each of which the tests must notice.

python -m tests.support.page_mutants [word ...]      # all, or those whose rule has one of the words
"""

from __future__ import annotations

from tests.support.mutants import Mutant, main

PAGE = ("test_privacy_page.py", "test_api_choice.py", "-k", "yes or key or share or text or language or form")
RIGHTS = ("test_privacy_rights.py", "-k", "token or language_and or inside")
TESTS: dict[str, tuple[str, ...]] = {
    "privacy/web/desk.py": PAGE,
    "privacy/web/routes.py": PAGE,
    "privacy/web/framed.py": RIGHTS,
    "chat/visitors/session_rows.py": ("test_sign_in.py", "test_sessions.py"),
}
DEFAULT = ("test_reports.py", "test_consent.py", "test_agreed.py")

PAGE_MUTANTS = (
    Mutant(
        "a word that means true is no yes",
        "privacy/web/desk.py",
        'extra="forbid", strict=True',
        'extra="forbid", strict=False',
    ),
    Mutant("a yes says nothing that is not asked", "privacy/web/desk.py", 'extra="forbid"', 'extra="ignore"'),
    Mutant(
        "the age is affirmed",
        "privacy/web/desk.py",
        "if agreed.age_affirmed is not True:",
        "if agreed.age_affirmed is None:",
    ),
    Mutant(
        "a yes is to the very text that was read",
        "privacy/web/desk.py",
        "if (agreed.policy_version, agreed.policy_hash, agreed.language) != (text.version, text.sha256, text.language):",
        "if agreed.policy_version != text.version:",
    ),
    Mutant(
        "a yes is to the purposes that the text names",
        "privacy/web/desk.py",
        "if sorted(agreed.purposes) != sorted(policy.PURPOSES):",
        "if False:",
    ),
    Mutant(
        "a page that another site covers agrees to nothing",
        "privacy/web/desk.py",
        "if not self.unframed.holds(agreed.unframed):",
        "if False:",
    ),
    Mutant(
        "a key agrees to nothing",
        "privacy/web/desk.py",
        'if visitor_of(request).via == "bearer":',
        "if False:",
    ),
    Mutant(
        "a share covers no turn that its preview did not show",
        "privacy/web/routes.py",
        "if not set(said.answers) <= parts:",
        "if False:",
    ),
    Mutant(
        "what follows the account already is not told so again, which would take it back",
        "privacy/web/desk.py",
        "if await self._follows_already(owner, choice):",
        "if False:",
    ),
    Mutant(
        "what keys send is said to be one's own",
        "privacy/web/routes.py",
        "if agreed.own_text is not True:",
        "if False:",
    ),
    Mutant(
        "a yes about what keys send is about nothing else",
        "privacy/web/desk.py",
        'surface = "api" if kind == "api" else "page"',
        'surface = "page"',
    ),
    Mutant("a token ends", "privacy/web/framed.py", " and int(until) >= self._clock()", ""),
    Mutant(
        "only our own, the Hub and the operator's may stand above the hidden document",
        "privacy/web/framed.py",
        'f"frame-ancestors {self.ancestors}"',
        '"frame-ancestors *"',
    ),
    Mutant(
        "a script does not fetch the token",
        "privacy/web/framed.py",
        'request.headers.get("sec-fetch-dest", "document") not in DOCUMENTS',
        "False",
    ),
    Mutant(
        "what a browser left before the sign-in counts as imported",
        "chat/visitors/session_rows.py",
        "UPDATE messages SET surface = 'import'",
        "UPDATE messages SET surface = 'page'",
    ),
    Mutant(
        "while sharing rests nothing new leaves",
        "privacy/consent.py",
        "return Yes(event, stale is None and not self.is_paused)",
        "return Yes(event, stale is None)",
    ),
    Mutant(
        "what is written while sharing rests is nobody's later",
        "privacy/consent.py",
        " or self.was_paused(asked_at):",
        ":",
    ),
    Mutant(
        "a pause outlives the disk", "privacy/saved.py", "    for row in _rows(found, PAUSES):", "    for row in ():"
    ),
    Mutant(
        "of a yes and a no that two machines hear at once the no holds",
        "privacy/consent.py",
        "that_count(self._said, self._knowledge)",
        "self._said",
    ),
    Mutant(
        "a yes that knows of another machine's no holds",
        "privacy/knowing.py",
        " or known.get(no.chain, 0) >= no.number",
        "",
    ),
    Mutant("a reported row is hidden", "privacy/consent.py", " or answer_of(part) in self._hidden:", ":"),
    Mutant("it is hidden while the report is open", "privacy/hidden.py", "state = 'open'", "state = 'upheld'"),
    Mutant(
        "a conversation that was taken down is never shared again",
        "privacy/reports.py",
        'if decision == "upheld" and',
        "if False and",
    ),
    Mutant(
        "reports outlive the disk", "privacy/saved.py", "    for row in _rows(found, REPORTS):", "    for row in ():"
    ),
    Mutant(
        "a copy from before does not open a report again",
        "privacy/saved.py",
        "    WHERE (reports.state = 'open' AND excluded.state <> 'open')",
        "    WHERE true",
    ),
    Mutant(
        "whose number it was is known while a row may be public",
        "privacy/closing.py",
        "o.state <> 'retracted'",
        "o.state = 'quarantined'",
    ),
    Mutant("nobody is forgotten who did not ask for it", "privacy/closing.py", " AND e.kind = 'delete'", ""),
    Mutant(
        "an account that is open is nobody's to erase",
        "privacy/closing.py",
        "      AND NOT EXISTS (SELECT 1 FROM accounts WHERE owner = s.owner)\n",
        "",
    ),
    Mutant(
        "no copy brings back whose number it was",
        "privacy/migrations/0007_reports.sql",
        "BEGIN SELECT RAISE(IGNORE); END;",
        "BEGIN SELECT 1; END;",
    ),
)


if __name__ == "__main__":
    main(PAGE_MUTANTS, TESTS, DEFAULT)
