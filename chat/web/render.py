"""Markdown of an answer as sanitised HTML, whole or while it streams.

Nothing in a message is markup by itself: raw HTML is shown as text, a remote image is a link, and what the renderer
makes passes an allow-list afterwards. The same code renders pieces and wholes, so an answer looks the same streamed
and reloaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import nh3
from latex2mathml.converter import convert as latex_to_mathml
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from chat.web import cjk

HIGHLIGHT_LIMIT = 50_000  # characters of one code block; longer ones stay plain
MATH_LIMIT = 4_000  # characters of one formula

_SCHEMES = ("http://", "https://", "mailto:")
_MATH_TAGS = {
    "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot",
    "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose",
    "mmultiscripts", "mprescripts",
}  # fmt: skip
_TEXT_TAGS = {
    "p", "br", "strong", "em", "s", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h3", "h4", "h5", "h6",
    "hr", "a", "table", "thead", "tbody", "tr", "th", "td", "div", "span",
}  # fmt: skip
_MATH_ATTRIBUTES = {
    "display", "mathvariant", "stretchy", "fence", "form", "lspace", "rspace", "width", "height", "depth", "accent",
    "linethickness", "columnalign", "columnspacing", "rowspacing", "columnlines", "rowlines", "separator", "notation",
    "displaystyle", "scriptlevel", "movablelimits", "minsize", "maxsize", "voffset", "symmetric", "accentunder",
}  # fmt: skip
_CLEANER = nh3.Cleaner(
    tags=_TEXT_TAGS | _MATH_TAGS,
    clean_content_tags={"script", "style"},
    attributes={
        "*": {"dir"},
        "a": {"href", "title"},
        "ol": {"start"},
        "div": {"class", "data-lang"},
        "span": {"class"},
        "th": {"class"},
        "td": {"class"},
        **{tag: _MATH_ATTRIBUTES for tag in _MATH_TAGS},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


def render(text: str) -> str:
    """The whole of `text` as sanitised HTML. Any text is valid; the cost is linear in its length."""
    return _render_tokens(_markdown().parse(text))


@dataclass(frozen=True, slots=True)
class Settled:
    """What one piece of text brought: blocks that no later text changes ("" mostly), and the text after them."""

    html: str
    tail: str


class IncrementalRenderer:
    """Renders a growing text block by block, each block once.

    A top-level block is settled when no later text can change it. Markdown decides that from left to right, with
    three exceptions that are therefore kept out: reference definitions (off), formulas over several lines (never
    across a blank line) and unclosed fences (never looked into). So settled blocks followed by the rendered tail are
    exactly `render(whole)`. The cost is linear: a tail that could not be settled is parsed again only after it has
    grown by half.
    """

    def __init__(self) -> None:
        self._settled: list[str] = []
        self._tail = ""
        self._scanned = 0  # the tail's complete lines before it were looked at
        self._parsed = 0  # length of the tail at the last parse that settled nothing
        self._fence: tuple[str, int] | None = None  # the open fence's marker and indentation
        self._after_blank = False
        self._held_return = False  # a "\r" at the end of a delta, which may be half of "\r\n"

    def feed(self, delta: str) -> Settled:
        """Take more text; return the HTML that it settled, if any, and the text after it that is not settled yet."""
        delta = self._newlines(delta)
        self._tail += delta
        html, end = "", self._block_end()
        if end and len(self._tail) >= self._parsed * 1.5:
            html = self._settle(end)
        return Settled(html, self._tail)

    def finish(self) -> Settled:
        """The text is complete: settle what is left."""
        html = render(self._tail + "\n" if self._held_return else self._tail)
        self._tail, self._scanned, self._held_return = "", 0, False
        self._settled.append(html)
        return Settled(html, "")

    @property
    def html(self) -> str:
        """What is settled so far; after `finish`, the same as `render` of the whole text."""
        return "".join(self._settled)

    def _newlines(self, delta: str) -> str:
        if self._held_return:
            delta = "\r" + delta
        self._held_return = delta.endswith("\r")
        if self._held_return:
            delta = delta[:-1]
        return delta.replace("\r\n", "\n").replace("\r", "\n")

    def _block_end(self) -> int:
        """Scan the complete lines that are new; where the last of them ends that may have ended a top-level block.

        0 where none did. What follows that line is not looked at: half a formula reads like a list.
        """
        complete, found = self._tail.rfind("\n") + 1, 0
        while self._scanned < complete:
            end = self._tail.index("\n", self._scanned) + 1
            if self._line_may_end_block(self._tail[self._scanned : end - 1]):
                found = end
            self._scanned = end
        return found

    def _line_may_end_block(self, line: str) -> bool:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if self._fence:
            marker, fence_indent = self._fence
            closed = stripped.startswith(marker) and not stripped.strip(marker[0])
            if closed or (stripped and fence_indent >= 2 and indent < fence_indent):
                self._fence = None
            return closed
        if opened := _FENCE.match(line):
            self._fence, self._after_blank = (opened[2], len(opened[1])), False
            return False
        first_after_blank = self._after_blank and bool(stripped) and indent < 2 and not _LIST_ITEM.match(line)
        self._after_blank = not stripped
        return not stripped or first_after_blank

    def _settle(self, end: int) -> str:
        lines = self._tail[:end].split("\n")
        tokens = _markdown().parse(self._tail[:end])
        starts = [i for i, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
        if not starts or _is_closed(tokens[starts[-1]], lines):
            settled, cut = tokens, end
        else:
            settled = tokens[: starts[-1]]
            cut = sum(len(line) + 1 for line in lines[: tokens[starts[-1]].map[0]])
        if not settled:
            self._parsed = len(self._tail)
            return ""
        html = _render_tokens(settled)
        self._tail, self._scanned, self._parsed = self._tail[cut:], self._scanned - cut, 0
        self._settled.append(html)
        return html


_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})(?:(?<=~)[^\n]*|[^`\n]*)$")
_LIST_ITEM = re.compile(r"^\s{0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)")
_ENDED_BY_A_BLANK_LINE = {"paragraph_open", "heading_open", "hr", "table_open", "blockquote_open", "math_block"}


def _is_closed(last: Token, lines: list[str]) -> bool:
    """Whether the last top-level block of a text cut after a complete line can take no more lines."""
    first, end = last.map
    if last.type == "fence":
        closing = lines[end - 1].strip()
        return end - first >= 2 and closing.startswith(last.markup) and not closing.strip(last.markup[0])
    return last.type in _ENDED_BY_A_BLANK_LINE and end < len(lines) - 1 and not lines[end].strip()


def _render_tokens(tokens: Sequence[Token]) -> str:
    md = _markdown()
    return _CLEANER.clean(md.renderer.render(tokens, md.options, {}))


@cache
def _markdown() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    md.disable(["reference", "html_block", "html_inline"])
    md.validateLink = lambda url: url.lower().startswith(_SCHEMES)
    md.block.ruler.before("fence", "math_block", _math_block, {"alt": ["paragraph", "blockquote", "list"]})
    md.inline.ruler.before("escape", "math_inline", _math_inline)
    md.inline.ruler.before("text", "line_break_tag", _line_break_tag)
    md.inline.ruler.at("emphasis", cjk.emphasis)
    md.core.ruler.push("page_rules", _page_rules)
    for name in ("text", "fence", "code_block", "image", "math_block", "math_inline", "table_open", "table_close"):
        md.add_render_rule(name, globals()[f"_html_{name}"])
    return md


def _page_rules(state: StateCore) -> None:
    """Headings start below the page's own; each block finds its own direction."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        if token.nesting == 1 and token.tag in _DIRECTED:
            token.attrSet("dir", "auto")
        style = token.attrs.pop("style", None)
        if style:
            token.attrSet("class", "align-" + str(style).rpartition(":")[2])


_DIRECTED = {"p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "th", "td"}


def _html_text(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    # Browsers show a tab between words as a space, so a table that was pasted would lose its columns.
    return escapeHtml(tokens[index].content).replace("\t", '<span class="tab">\t</span>')


def _html_fence(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    return _code_html(token.content, token.info.strip().split(maxsplit=1)[0] if token.info.strip() else "")


def _html_code_block(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return _code_html(tokens[index].content, "")


def _code_html(code: str, language: str) -> str:
    lexer = _lexer(language.lower()) if language and len(code) <= HIGHLIGHT_LIMIT else None
    body = highlight(code, lexer, _FORMATTER) if lexer else escapeHtml(code)
    label = escapeHtml(language[:30])
    return f'<div class="code" data-lang="{label}"><pre dir="ltr"><code>{body}</code></pre></div>\n'


_FORMATTER = HtmlFormatter(nowrap=True, classprefix="hl-")


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _html_image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    address = escapeHtml(str(token.attrs.get("src", "")))
    label = renderer.renderInlineAsText(token.children or [], options, env)
    return f'<a href="{address}">{escapeHtml(label) or address}</a>'


def _html_table_open(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return '<div class="table"><table>\n'


def _html_table_close(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _line_break_tag(state: StateInline, silent: bool) -> bool:
    """`<br>`, which models write in tables, is the one tag that means something."""
    found = re.compile(r"<br\s*/?>", re.IGNORECASE).match(state.src, state.pos)
    if not found:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = found.end()
    return True


# Formulas: \( \) and $ $ within a line of text, \[ \] and $$ $$ within it or on lines of their own.

_CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)", "$": "$"}


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]].rstrip()
    opening = first[:2]
    if opening not in ("$$", "\\["):
        return False
    closing, lines, line = _CLOSING[opening], [first[2:]], start
    while not lines[-1].endswith(closing):
        line += 1
        if line >= end or state.sCount[line] < state.blkIndent:
            return False
        text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
        if not text or _FENCE.match(text):
            return False
        lines.append(text)
    content = "\n".join(lines)[: -len(closing)]
    if not content.strip() or closing in content:
        return False
    if not silent:
        token = state.push("math_block", "div", 0)
        token.content, token.map, token.markup = content, [start, line + 1], opening
    state.line = line + 1
    return True


def _math_inline(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    if source[start] not in "$\\":
        return False
    opening = next((mark for mark in _CLOSING if source.startswith(mark, start)), None)
    if opening is None:
        return False
    begin, closing = start + len(opening), _CLOSING[opening]
    close = source.find(closing, begin, begin + MATH_LIMIT)
    content = source[begin:close] if close > begin else ""
    if not content.strip() or (opening == "$" and not _is_dollar_math(source, start, content, close)):
        return False
    if not silent:
        token = state.push("math_inline", "span", 0)
        token.content, token.markup = content, opening
    state.pos = close + len(closing)
    return True


def _is_dollar_math(source: str, start: int, content: str, close: int) -> bool:
    """Prices are not formulas: no space inside the dollars, no digit after them, no word before (Pandoc's rule)."""
    before, after = source[start - 1 : start] if start else "", source[close + 1 : close + 2]
    return not (content[0].isspace() or content[-1].isspace() or after.isdigit() or before.isalnum() or "\n" in content)


def _html_math_block(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<div class="math">{_math_html(tokens[index], display=True)}</div>\n'


def _html_math_inline(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return _math_html(tokens[index], display=tokens[index].markup in ("$$", "\\["))


def _math_html(token: Token, display: bool) -> str:
    """MathML, which browsers draw themselves; a formula that cannot be read is shown as it was written."""
    source = token.content.strip()
    try:
        if len(source) > MATH_LIMIT:
            raise ValueError
        return latex_to_mathml(source, display="block" if display else "inline")
    except Exception:  # the converter raises whatever it stumbles over
        return f"<code>{escapeHtml(token.markup + token.content + _CLOSING[token.markup])}</code>"
