"""Markdown on the server: safe, exact, and the same streamed as whole."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.web.render import IncrementalRenderer, Settled, render


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def stream(text: str, sizes: list[int]) -> tuple[IncrementalRenderer, str, str]:
    """Play a text in pieces the way the page does; return the renderer, the settled HTML and the tail."""
    renderer, settled, tail, at = IncrementalRenderer(), "", "", 0
    sizes = sizes or [len(text)]
    turn = 0
    while at < len(text):
        size = max(1, sizes[turn % len(sizes)])
        turn += 1
        written = renderer.feed(text[at : at + size])
        settled, tail = settled + written.html, written.tail
        at += size
    return renderer, settled, tail


BLOCKS = [
    "A paragraph with **bold**, *em* and `code`.",
    "Two lines\nof one paragraph",
    "# A heading",
    "Setext\n===",
    "- one\n- two\n  - nested",
    "1. first\n\n   more of it\n\n2. second",
    "- a\n\n  ```py\n  x = 1\n\n  y = 2\n  ```\n\n- b",
    "```python\ndef f(x):\n\treturn x\n\n\nprint(f(1))\n```",
    "~~~\nno language\n~~~",
    "```\nnever closed\n\n- still code",
    "| a | b |\n|---|---:|\n| 1 | 2<br>3 |",
    "> quoted\n> more\n\n> another",
    "    indented code\n\n    goes on",
    "$$\na\n- b\n=\nc\n$$",
    "\\[\nx^2\n\\]",
    "Inline \\(a+b\\) and $c$ and $$d$$.",
    "---",
    "[ref]: https://example.org\n\n[ref]",
    "![a cat](https://example.org/cat.png)",
    "<form action=x><script>alert(1)</script></form>",
    "שלום עולם",
    "* * *\n* x",
    "$$\nnot\n\nclosed\n$$",
    "a  \nhard\\\nbreak",
    "\\",
    "````\n```\ninner\n```\n````",
]


@given(
    st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=8),
    st.lists(st.sampled_from(["\n\n", "\n", "\r\n", "\n\n\n", "\r\n\r\n"]), min_size=8, max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_settled_blocks_and_the_rendered_tail_are_the_whole_answer_rendered(blocks, joints, sizes) -> None:
    text = "".join(block + joint for block, joint in zip(blocks, joints))
    renderer, settled, tail = stream(text, sizes)
    assert settled == renderer.html
    assert render(tail) == renderer.finish().html
    assert renderer.html == render(text)


@given(st.text(alphabet="ab \n\t`~*_-#>|$\\[]()1.:=<!&\r", max_size=120), st.lists(st.integers(1, 9), max_size=4))
@settings(max_examples=600, deadline=None)
def test_any_text_streams_to_the_same_html(text, sizes) -> None:
    renderer, settled, _ = stream(text, sizes)
    assert settled == renderer.html
    renderer.finish()
    assert renderer.html == render(text)


def test_blocks_settle_while_the_answer_runs() -> None:
    """A page that waits for the end would pass the other tests too."""
    text = "First.\n\n```py\nx = 1\n```\n- a\n- b\n\nLast paragraph goes on"
    _, settled, tail = stream(text, [1])
    assert [part in settled for part in ("First.", "hl-n", "<li", "Last")] == [True, True, False, False]
    _, settled, tail = stream(text + "\n\nEnd", [1])
    assert "<li" in settled and "Last" in settled and tail == "End"


def test_a_code_block_settles_with_its_closing_fence() -> None:
    renderer = IncrementalRenderer()
    assert renderer.feed("```py\nx\n\ny\n") == Settled("", "```py\nx\n\ny\n")
    written = renderer.feed("```\n")
    assert "hl-n" in written.html and written.tail == ""


@pytest.mark.parametrize("unit", ["- item\n\n", "A paragraph.\n\n", "1. one\n\n   two\n\n", "x\n", "```\na\n\n"])
def test_the_parsed_text_grows_linearly_with_the_answer(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in characters given to the parser, not in seconds."""
    from markdown_it import MarkdownIt

    parsed = 0
    original = MarkdownIt.parse

    def counting(self, src, env=None):
        nonlocal parsed
        parsed += len(src)
        return original(self, src, env)

    monkeypatch.setattr(MarkdownIt, "parse", counting)
    text = unit * 600
    renderer, _, _ = stream(text, [5])
    renderer.finish()
    assert parsed <= 5 * len(text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<form action='https://evil.example'><input name=a></form>",
        "<p onclick=alert(1) style='position:fixed'>x</p>",
        "<iframe src=https://evil.example></iframe><svg onload=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1)) [y](data:text/html,x) [z](vbscript:x) [r](/relative) [f](file:///etc/passwd)",
        "![x](javascript:alert(1))",
        "<javascript:alert(1)>",
        "$\\text{<img src=x onerror=alert(1)>}$ \\(\\href{javascript:alert(1)}{x}\\)",
        '```"><img/src=x/onerror=alert(1)>\n<b>\n```',
        "| <script> | b |\n|---|---|\n| <img src=x onerror=y> | 2 |",
        "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62;",
        '[x](https://e.example/"onmouseover="alert(1)) ![" onerror="x](https://e.example/a.png)',
        '[a](<https://e.example/"><script>>)',
    ],
)
def test_no_script_form_handler_or_style_of_a_message_survives(text: str) -> None:
    html = render(text)
    forbidden = set(
        ["script", "form", "input", "iframe", "svg", "img", "style", "object", "embed", "button", "link", "meta"]
    )
    for tag, attrs in read(html).tags:
        assert tag not in forbidden
        assert not {name for name in attrs if name.startswith("on") or name in ("style", "src", "action", "id")}
        assert (attrs.get("href") or "https:").startswith(("http:", "https:", "mailto:"))


@given(st.text(alphabet=st.sampled_from(list("<>\"'=/&;:()[]!`$\\ aonscriptjvhref\n")), max_size=80))
@settings(max_examples=300, deadline=None)
def test_random_markup_yields_only_allowed_tags(text: str) -> None:
    for tag, attrs in read(render(text)).tags:
        assert not tag.startswith(("script", "img", "form", "iframe"))
        assert not any(name.startswith("on") for name in attrs)


def test_a_remote_image_becomes_a_link() -> None:
    html = render("![a cat](https://example.org/cat.png)")
    assert "<img" not in html
    assert 'href="https://example.org/cat.png"' in html and ">a cat</a>" in html


def test_links_open_apart_and_tell_nothing() -> None:
    (link,) = [attrs for tag, attrs in read(render("[x](https://example.org)")).tags if tag == "a"]
    assert link["target"] == "_blank"
    assert link["rel"] == "noopener noreferrer nofollow"


def test_a_tab_stays_a_tab_and_code_is_kept_to_the_character() -> None:
    code = "if x:\n\treturn\t1\n\n\n    y  = 2  \n"
    assert read(render(f"```python\n{code}```")).text.rstrip("\n") == code.rstrip("\n")
    assert read(render(f"```nolang\n{code}```")).text.rstrip("\n") == code.rstrip("\n")


def test_code_is_highlighted_by_classes_and_names_its_language() -> None:
    html = render("```python\ndef f(): pass\n```")
    assert 'class="hl-k"' in html and 'data-lang="python"' in html and "style=" not in html


def test_tables_keep_their_alignment_and_scroll_by_themselves() -> None:
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert '<div class="table"><table>' in html and 'class="align-right"' in html


def test_every_block_finds_its_own_direction() -> None:
    html = render("שלום\n\n- אחד\n\n> c\n\n# d")
    assert re.findall(r"<(\w+) dir=\"auto\"", html) == ["p", "ul", "li", "blockquote", "p", "h3"]


@pytest.mark.parametrize("text", ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "$$\nx^2\n$$", "\\[\nx^2\n\\]"])
def test_formulas_in_four_delimiters_become_mathml(text: str) -> None:
    html = render(text)
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html
    assert ('display="block"' in html) == (text[:2] in ("$$", "\\["))


def test_prices_are_not_formulas() -> None:
    assert "<math" not in render("It costs $5 and then $6, or US$7 to $8.")


def test_an_unreadable_formula_is_shown_as_written() -> None:
    assert "\\frac{" in read(render("\\(\\frac{\\)")).text


def test_a_line_break_in_the_answer_is_a_line_break_on_the_page() -> None:
    assert "<br>" in render("one\ntwo")


def test_random_sizes_of_pieces_make_no_difference() -> None:
    rng = random.Random(5)
    text = "\n\n".join(rng.choices(BLOCKS, k=60))
    results = set()
    for _ in range(5):
        renderer, _, _ = stream(text, [rng.randint(1, 90) for _ in range(30)])
        renderer.finish()
        results.add(renderer.html)
    assert results == {render(text)}


@pytest.mark.parametrize(
    "text",
    [
        "これは**重要。**次に",
        "他说**“你好”**然后走了",
        "**「強調」**です",
        "이것은 **중요(필수)**입니다",
        "価格は**100%**です",
        "*（注）*の",
    ],
)
def test_emphasis_beside_scripts_without_spaces_is_emphasis(text: str) -> None:
    html = render(text)
    assert re.search(r"<(strong|em)>", html) and "*" not in html


@pytest.mark.parametrize("text", ["2*3*4 = 24", "a * b * c", "これは * 印です", "snake_case_name", "**not closed。次"])
def test_what_is_no_emphasis_stays_as_it_is_written(text: str) -> None:
    html = render(text)
    assert text in read(html).text or "<em>3</em>" in html
    assert "<strong>" not in html


def test_a_tab_between_words_is_kept_and_shown_as_one() -> None:
    html = render("a\tb\n\n| x\ty |\n|---|\n| 1\t2 |")
    assert html.count('<span class="tab">\t</span>') == 3
    assert "a\tb" in read(html).text
