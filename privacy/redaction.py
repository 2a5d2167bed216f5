"""Find personal data with a form of its own, and put numbered placeholders in its place. Pure: text in, text out.

What has no form (names, street addresses, what somebody tells about themselves) is not found; the consent text says so.

    1. A copy is made in which look-alikes are equal: NFKC, digits of every script, one kind of dash, nothing invisible.
       One byte per character, and a map back to the author's own characters.
    2. Each detector searches the copy with a pattern that RE2 runs in linear time; what has a checksum is verified.
       What was found is blanked, and the search is repeated until a round finds nothing more.
    3. The author's own characters are replaced, with what is invisible at the edges; everything else stays as it was.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from privacy.detectors import DETECTORS, Budget, Finding

VERSION = "2"

# What shows no ink and may stand between the characters of an address.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_LETTER, _OTHER, _BLANK = 0xE9, 0xA4, 0x00


@dataclass(frozen=True, slots=True)
class Span:
    """Where something stood in the author's text (characters, end exclusive), and what stands there now."""

    kind: str
    start: int
    end: int
    placeholder: str


@dataclass(frozen=True, slots=True)
class Redacted:
    """`text` as it may leave; `spans` in order, without overlaps; `counts` per kind."""

    text: str
    spans: tuple[Span, ...]
    counts: Mapping[str, int]


@dataclass(slots=True)
class Placeholders:
    """The numbering of one conversation: the same value has the same placeholder in all its messages.

    Holds the values themselves; it lives as long as one conversation is redacted and is kept nowhere.
    """

    _given: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    _last: Counter[str] = field(default_factory=Counter, repr=False)

    def of(self, kind: str, value: str) -> str:
        """The placeholder of `value`, such as "[EMAIL_1]"."""
        key = (kind, value)
        if key not in self._given:
            self._last[kind] += 1
            self._given[key] = f"[{kind}_{self._last[kind]}]"
        return self._given[key]


def redact(text: str, placeholders: Placeholders) -> Redacted:
    """`text` with every recognised value replaced. A text without findings comes back as it is.

    Takes time linear in the length. Whatever it raises, the caller must treat the text as one that cannot leave.
    """
    data, offsets = _plain_copy(text)
    findings = _find(data)
    if not findings:
        return Redacted(text, (), {})
    parts: list[str] = []
    spans: list[Span] = []
    done = 0
    for finding in findings:
        start, end = _in_text(text, finding, offsets)
        start = max(start, done)
        value = data[finding.start : finding.end].decode("latin-1")
        placeholder = placeholders.of(finding.kind, finding.canonical or "".join(value.lower().split()))
        parts += (text[done:start], placeholder)
        spans.append(Span(finding.kind, start, end, placeholder))
        done = end
    parts.append(text[done:])
    return Redacted("".join(parts), tuple(spans), dict(Counter(span.kind for span in spans)))


def _find(data: bytes) -> list[Finding]:
    """All findings, in order, without overlaps. What an earlier detector took, a later one does not see."""
    found: list[Finding] = []
    left = bytearray(data)
    budget = Budget()
    while True:
        before = len(found)
        for detector in DETECTORS:
            for finding in detector(bytes(left), budget):
                left[finding.start : finding.end] = bytes(finding.end - finding.start)
                found.append(finding)
        # Blanking makes new edges, beside which something may now be recognised.
        if len(found) == before:
            return sorted(found, key=lambda finding: finding.start)


def _in_text(text: str, finding: Finding, offsets: list[int] | None) -> tuple[int, int]:
    """The author's characters of a finding, with the invisible ones around it."""
    if offsets is None:
        return finding.start, finding.end
    start, end = offsets[finding.start], offsets[finding.end - 1] + 1
    while start and _invisible(text[start - 1]):
        start -= 1
    while end < len(text) and _invisible(text[end]):
        end += 1
    return start, end


def _plain_copy(text: str) -> tuple[bytes, list[int] | None]:
    """The copy that is searched, and for each of its bytes the index in `text` (None: the same)."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii"), None
    data = bytearray()
    offsets: list[int] = []
    known: dict[str, bytes] = {}
    for index, character in enumerate(text):
        plain = known.get(character)
        if plain is None:
            plain = known[character] = _plain(character)
        data += plain
        offsets += (index,) * len(plain)
    return bytes(data), offsets


def _plain(character: str) -> bytes:
    """The bytes that stand for one character: none if it is invisible, one for most, several for a ligature."""
    if character in "\n\r\t":
        return character.encode()
    if _invisible(character):
        return b""
    return bytes(_byte(part) for part in unicodedata.normalize("NFKC", character) if not _invisible(part))


def _byte(character: str) -> int:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return code
    category = unicodedata.category(character)
    if category == "Nd":
        return 0x30 + unicodedata.decimal(character)
    if category == "Pd" or character == "\u2212":
        return 0x2D
    if category in ("Zs", "Zl", "Zp"):
        return 0x20
    if character == "\u3002":  # the full stop of Chinese and Japanese
        return 0x2E
    # Letters of alphabets with words between spaces may be part of a name in an address; ideographs stand beside one.
    return _LETTER if code < 0x0600 and category[0] in "LM" else _OTHER


def _invisible(character: str) -> bool:
    """Format, control and bidirectional characters, fillers, variation selectors: nothing that people see."""
    code = ord(character)
    if code < 0x7F:
        return code < 0x20 and character not in "\n\r\t"
    return (
        unicodedata.category(character) in ("Cf", "Cc")
        or character in _INVISIBLE
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0000 <= code <= 0xE0FFF
    )
