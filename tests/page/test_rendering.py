"""What an answer looks like, over the real app: as it streams and after a reload the same; and what a hostile one cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from starlette.responses import PlainTextResponse

from tests.page.test_answers import SIZES, again, ask, come, settled  # noqa: F401  (a fixture)
from tests.support.page import Visitor, answers, no_sideways_scroll
from tests.support.serving import serving

EVERYTHING = r"""Prices of $5 and $10 stay text; $x^2$ and \(y^2\) do not.

\[
\int_0^1 \frac{x^2}{\sqrt{1-x}}\,dx = \begin{pmatrix} a & b \\ c & d \end{pmatrix}
\]

$$\sum_{i=1}^n i = \frac{n(n+1)}{2}$$

```python
def f(x):
	return x  # a line that is rather long and goes on beyond the width of any phone, for certain it does
```

| Left | Right |
|:---|---:|
| wide words in a cell | 1 |
| **strong** and `code` | 22 |

مرحبا بالعالم، هذا **نص** من اليمين إلى اليسار.

これは**重要。**次に、普通の文字です。

one	two	three

- a list
  1. and in it
  2. another

> quoted"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another host, and the paths that were asked of it."""
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append(scope["path"])
        await PlainTextResponse("")(scope, receive, send)

    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        await app(scope, receive, send)

    with serving(without_lifespan) as url:
        yield url.replace("127.0.0.1", "localhost"), asked


def body(page: Page) -> str:
    """The answer's HTML, without the buttons that the page lays over it."""
    return page.evaluate(
        """() => { const md = document.querySelector(".turn.answer .md").cloneNode(true);
            md.querySelectorAll("button").forEach((button) => button.remove());
            md.querySelectorAll(".ready").forEach((block) => block.classList.remove("ready"));
            md.querySelectorAll("[tabindex]").forEach((block) => block.removeAttribute("tabindex"));
            return md.innerHTML; }"""
    )


@pytest.mark.parametrize("size", SIZES)
def test_everything_an_answer_may_hold_is_drawn_and_the_same_after_a_reload(
    come: Callable[..., Visitor],  # noqa: F811
    size: dict[str, Any],
) -> None:
    visitor = come(**size)
    page = visitor.open()
    ask(page, "/say " + EVERYTHING)
    settled(page)
    streamed = body(page)
    again(page)
    assert body(page) == streamed
    answer = answers(page)
    expect(answer.locator("math")).to_have_count(4)
    expect(answer.get_by_text("Prices of $5 and $10 stay text")).to_be_visible()
    assert all(
        box["width"] > 5 and box["height"] > 5 for box in (m.bounding_box() for m in answer.locator("math").all())
    )
    expect(answer.locator(".hl-k").first).to_have_text("def")
    expect(answer.locator("strong")).to_have_text(["strong", "نص", "重要。"])
    assert answer.locator("p", has_text="مرحبا").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert answer.locator("td.align-right").first.evaluate("e => getComputedStyle(e).textAlign") == "right"
    assert answer.locator("p", has_text="three").evaluate("e => e.textContent") == "one\ttwo\tthree"
    assert answer.locator(".tab").first.evaluate("e => e.getBoundingClientRect().width") > 2
    assert "\tone\ttwo" not in page.locator(".said").inner_text()
    assert page.locator(".said").evaluate("e => e.textContent") == "/say " + EVERYTHING
    assert no_sideways_scroll(page)
    page.get_by_role("button", name="Copy the code").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("def f(x):\n\treturn x  # a line")
    page.get_by_role("button", name="Copy the answer").click()
    assert page.evaluate("navigator.clipboard.readText()") == EVERYTHING
    assert visitor.outside == []


def test_markdown_has_its_shape_before_the_answer_is_complete(come: Callable[..., Visitor]) -> None:  # noqa: F811
    page = come().open()
    ask(
        page,
        "/stall after=14 Some **bold** text.\n\n- one\n- two\n\n```py\nx = 1\n```\n\nand $x^2$ and more that never comes",
    )
    answer = answers(page)
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("li")).to_have_text(["one", "two"])
    expect(answer.locator(".code code")).to_have_text("x = 1\n")
    expect(page.get_by_role("button", name="Copy the code")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answer).to_contain_text("Stopped.")


HOSTILE = """\
![remote]({there}/image.png) <img src="{there}/tag.png" onerror="window.hurt = 1">
![scheme](//{host}/relative.png) ![quoted]({there}/a.png "x\\" onerror=\\"window.hurt = 2")

<form action="{there}/form"><input name="password"><button onclick="window.hurt = 3">Sign in again</button></form>

<script src="{there}/script.js"></script><script>window.hurt = 4</script>
<svg onload="window.hurt = 5"><image href="{there}/svg.png" /></svg>
<iframe src="{there}/frame"></iframe><object data="{there}/object"></object><embed src="{there}/embed">
<link rel="stylesheet" href="{there}/style.css"><meta http-equiv="refresh" content="0;url={there}/refresh"><base href="{there}">
<style>@import url({there}/import.css); body {{ background: url({there}/body.png) }}</style>
<p style="background: url({there}/inline.png); position: fixed; inset: 0" onmouseover="window.hurt = 6" id="p-send">over all</p>
<video src="{there}/video" autoplay poster="{there}/poster"></video><audio src="{there}/audio" autoplay></audio>
<details ontoggle="window.hurt = 7" open><summary>x</summary></details>

[click](javascript:window.hurt=8) [data](data:text/html,<script>window.hurt=9</script>) <javascript:window.hurt=10>
[styled]({there}/page){{style="background:url({there}/attr.png)"}}

$\\href{{javascript:window.hurt=11}}{{x}}$ \\(\\includegraphics{{{there}/tex.png}}\\) $$\\style{{background:url({there}/tex2.png)}}{{x}}$$

```html" onclick="window.hurt = 12
<img src="{there}/code.png" onerror="window.hurt = 13">
```

| <img src="{there}/cell.png" onerror="window.hurt = 14"> | ![cell]({there}/cell2.png) |
|---|---|
| <script>window.hurt = 15</script> | <a href="javascript:window.hurt=16" ping="{there}/ping">x</a> |
"""


@pytest.mark.parametrize("size", SIZES)
def test_a_hostile_answer_runs_nothing_sends_nothing_and_fetches_nothing(
    come: Callable[..., Visitor],  # noqa: F811
    elsewhere: tuple[str, list[str]],
    size: dict[str, Any],
) -> None:
    there, asked = elsewhere
    visitor = come(**size)
    page = visitor.open()
    text = HOSTILE.format(there=there, host=there.removeprefix("http://"))
    ask(page, "/say " + text)
    settled(page)
    for _ in range(2):
        turns = page.locator(".turn")
        assert (
            turns.locator(
                "img, script, form, input, iframe, svg:not(.icon), object, embed, link, meta, style, video"
            ).count()
            == 0
        )
        handlers = (
            "e => [...e.querySelectorAll('*')].flatMap((n) => n.getAttributeNames()).filter((n) => n.startsWith('on'))"
        )
        assert page.locator("#p-thread").evaluate(handlers) == []
        assert answers(page).locator(".md [style], .md [id]").count() == 0
        for link in answers(page).locator(".md a").all():
            assert (link.get_attribute("href") or "http:").startswith("http")
        for place in answers(page).locator(".md p").all()[:6]:
            place.hover()
        expect(answers(page).get_by_role("link", name="remote")).to_have_attribute("href", f"{there}/image.png")
        assert page.evaluate("window.hurt") is None
        again(page)
    page.wait_for_load_state("networkidle")
    assert (asked, visitor.outside, visitor.thrown) == ([], [], [])


def test_hostile_thoughts_and_comments_are_text(
    come: Callable[..., Visitor],  # noqa: F811
    elsewhere: tuple[str, list[str]],
) -> None:
    there, asked = elsewhere
    visitor = come()
    page = visitor.open()
    evil = f'<img/src="{there}/x.png"/onerror="window.hurt=1">'
    ask(page, f"/reasoning thoughts={evil} Done.")
    settled(page)
    page.get_by_role("button", name="Good answer").click()
    page.get_by_label("Comment").fill(evil)
    page.get_by_role("button", name="Save").click()
    for _ in range(2):
        answers(page).locator("summary").click()
        expect(answers(page).locator(".thoughts")).to_have_text(evil)
        page.get_by_role("button", name="Good answer").click()
        expect(page.get_by_label("Comment")).to_have_value(evil)
        again(page)
    assert page.evaluate("window.hurt") is None
    assert (asked, visitor.outside) == ([], [])
