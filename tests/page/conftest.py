"""The browser, the scripted routes and the visitors of the page's tests: one browser and one server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.app_process import AppProcess, engine_process
from tests.support.browser import chromium
from tests.support.fake_backend import FakeBackend, Server
from tests.support.page import Visitor


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright keeps this thread's event loop, which other tests need."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def server(browser: Browser) -> Iterator[Server]:
    """After the browser, whose loop runs in this thread: where none runs, Gradio makes some and closes none."""
    server = Server(FakeBackend())
    yield server
    server.stop()


@pytest.fixture(scope="package")
def real_engine_url() -> Iterator[str]:
    with engine_process("--scenario", "/say A real answer by script.") as url:
        yield url


@pytest.fixture(scope="package")
def real_app(real_engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    """The app as people start it, in front of the scripted engine."""
    with AppProcess(tmp_path_factory.mktemp("page") / "data", ENGINE_URL=real_engine_url) as app:
        yield app


@pytest.fixture
def backend(server: Server) -> FakeBackend:
    server.backend.reset()
    return server.backend


@pytest.fixture
def visit(browser: Browser, server: Server, backend: FakeBackend) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def visit(**context: object) -> Visitor:
        visitors.append(Visitor(browser, server.url, **context))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def page(visit: Callable[..., Visitor]) -> Page:
    return visit().open()
