"""What tests of the chat page share: a visitor in a real browser, and what they do there."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.browser import DESKTOP, PHONE

WIDTHS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}

LONG = "One.\n\n" + "\n\n".join(f"Paragraph {n} with some words in it." for n in range(40))
RICH = """First **words**.

- one
- two

```python
def f(x):
\treturn x  # a line of code that is rather long and goes on beyond the width of a phone for certain
```

| a column | another column | a third column | a fourth column | a fifth one |
|---|---|---|---|---:|
| wide words | wide words | wide words | wide words | 5 |

The last paragraph, with \\(x^2\\)."""


class Visitor:
    """A browser of their own: what it asked of other hosts, what it complained about, and what it threw."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(**{"viewport": DESKTOP, **context})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.thrown: list[str] = []

    def open(self, address: str = "/") -> Page:
        page = self.blank()
        page.goto(self.url + address)
        ready(page)
        return page

    def blank(self) -> Page:
        """A tab with nothing in it yet."""
        page = self.context.new_page()
        page.on("request", lambda request: self._asked(request.url))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.thrown.append(str(error)))
        return page

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.outside.append(url)

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)


def go_offline(page: Page) -> None:
    """Cut the browser off; return once the page notices: for a moment its requests still pass."""
    page.context.set_offline(True)
    page.wait_for_function("fetch('/api/models', {cache: 'no-store'}).then(() => false, () => true)")


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-parley=ready]")


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.locator(".turn.answer")


def answered(page: Page) -> None:
    """Wait until what stands last is an answer, complete."""
    expect(page.locator("#p-thread > .turn:last-child.answer > .foot")).to_be_visible()


def slider(page: Page, name: str) -> Locator:
    return page.get_by_label(f"number input for {name}")


def no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= innerWidth")
