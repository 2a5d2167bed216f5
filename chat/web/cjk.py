"""Emphasis beside Chinese, Japanese and Korean text, which Markdown's own rule does not see.

CommonMark tells an opening `**` from a closing one by the spaces around it. These scripts write none, so that
`**重要。**次に` stays as it is written. As the amendment at github.com/tats-u/markdown-cjk-friendly has it: where the marks
touch punctuation on one side, a character of these scripts on the other side counts as a space would.
"""

from __future__ import annotations

import re
import unicodedata

from markdown_it.rules_inline.state_inline import Delimiter, StateInline

_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)


def emphasis(state: StateInline, silent: bool) -> bool:
    """In the place of markdown-it's rule of this name."""
    mark = state.src[state.pos]
    if silent or mark not in "_*":
        return False
    scanned = state.scanDelims(state.pos, mark == "*")
    before = state.src[state.pos - 1 : state.pos] if state.pos else ""
    after = state.src[state.pos + scanned.length : state.pos + scanned.length + 1]
    opens = scanned.can_open or (mark == "*" and _is_punctuation(after) and bool(_CJK.match(before)))
    closes = scanned.can_close or (mark == "*" and _is_punctuation(before) and bool(_CJK.match(after)))
    for _ in range(scanned.length):
        state.push("text", "", 0).content = mark
        state.delimiters.append(Delimiter(ord(mark), scanned.length, len(state.tokens) - 1, -1, opens, closes))
    state.pos += scanned.length
    return True


def _is_punctuation(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "PS"
