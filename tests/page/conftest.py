"""The browser, the scripted routes and the visitors of the page's tests: one browser and one server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import chromium
from tests.support.fake_backend import FakeBackend, Server
from tests.support.page import Visitor


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright keeps this thread's event loop, which other tests need."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    server = Server(FakeBackend())
    yield server
    server.stop()


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
