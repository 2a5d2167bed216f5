"""`make screenshots`: the pictures of docs/images, taken of the running app in Chromium.

The answers come from the scripted engine, so that they are the same each time; the model's card says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.support.app_process import AppProcess
from tests.support.browser import DESKTOP, PHONE, chromium
from tests.support.scripted_engine import ScriptedEngine

IMAGES = Path(__file__).parent / "images"
LARGEST = 150_000  # bytes of a picture

MODELS = """
default: example/Example-8B
models:
  - name: example/Example-8B
    kind: openai
    model: scripted
    base_url: {url}
    label: Example 8B
    author: example
    description: Stands for an open model of your choice. Its answers in these pictures are written by a script.
    licence: apache-2.0
    languages: [en, de, fr]
    context: 8192
"""

EARLIER = {
    "A short poem about rain": "Small drums all night; the roof learns every name of the rain.",
    "Plan two days in Lisbon": "Day one: Alfama on foot. Day two: the tram to Belém, and the river.",
    "Explain Bayes' rule simply": "Start with a guess. Each clue you see makes it stronger or weaker.",
}
QUESTION = "What does temperature do?"
ANSWER = """\
Temperature decides how **adventurous** the next word is. The model gives every word a score; dividing the scores by \
the temperature draws them together or pulls them apart.

| Temperature | What you get | Good for |
|---|---|---|
| 0.2 | the likeliest words | facts, code |
| 0.7 | some variety | conversation |
| 1.2 | surprises | verse, ideas |

```python
def softmax(scores, temperature):
    weights = [exp(score / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]
```

You set it in the settings, at the top right."""
FOLLOW_UP = "And which one should I begin with?"
SECOND_ANSWER = """Leave it where it is. Then:

- **lower** it when answers wander,
- **raise** it when they all sound the same."""


@contextmanager
def app_with_engine() -> Iterator[tuple[AppProcess, ScriptedEngine]]:
    """The app on an empty DATA_DIR, with one model, which says what `engine.scenario` holds."""
    with tempfile.TemporaryDirectory() as folder, ScriptedEngine() as engine:
        models = Path(folder) / "models.yaml"
        models.write_text(MODELS.format(url=engine.url), encoding="utf-8")
        with AppProcess(Path(folder) / "data", forked=False, MODELS_FILE=str(models)) as app:
            yield app, engine


def opened(browser: Browser, app: AppProcess, **context: object) -> Page:
    page = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **context}).new_page()
    page.goto(app.url)
    page.wait_for_selector("html[data-parley=ready]")
    return page


def ask(page: Page, engine: ScriptedEngine, question: str, answer: str) -> None:
    """Send a message and return when its answer is complete."""
    engine.scenario = f"/say {answer}"
    answers = page.locator(".turn.answer")
    count = answers.count()
    page.get_by_label("Message", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(answers).to_have_count(count + 1)
    expect(answers.last.locator(".foot")).to_be_visible()


def take(page: Page, name: str) -> None:
    """Write docs/images/NAME.png, with the pointer out of the way and nothing in motion."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)  # the fonts and the last transition
    picture = page.screenshot(animations="disabled", caret="hide")
    if len(picture) > LARGEST:
        raise SystemExit(f"{name}.png has {len(picture)} bytes, more than the {LARGEST} that a page should load.")
    (IMAGES / f"{name}.png").write_bytes(picture)
    print(f"docs/images/{name}.png: {len(picture) // 1000} kB")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with app_with_engine() as (app, engine), chromium() as browser:
        page = opened(browser, app)
        take(page, "desktop-start")
        for question, answer in EARLIER.items():
            ask(page, engine, question, answer)
            page.get_by_role("button", name="New chat").first.click()
        ask(page, engine, QUESTION, ANSWER)
        take(page, "desktop-chat")
        page.get_by_role("button", name="Settings").first.click()
        take(page, "desktop-settings")
        page.keyboard.press("Escape")

        address, visitor = page.url, page.context.storage_state()
        dark = opened(browser, app, storage_state=visitor, color_scheme="dark")
        dark.goto(address)
        expect(dark.locator(".turn.answer .foot")).to_be_visible()
        take(dark, "desktop-dark")

        ask(page, engine, FOLLOW_UP, SECOND_ANSWER)
        phone = opened(browser, app, storage_state=visitor, viewport=PHONE, device_scale_factor=1, has_touch=True)
        phone.goto(address)
        expect(phone.locator(".turn.answer .foot").last).to_be_visible()
        take(phone, "phone-chat")


if __name__ == "__main__":
    main()
