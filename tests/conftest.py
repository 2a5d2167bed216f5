"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.real_engine import RealEngine, real_engine


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The real vLLM on the starter model. It starts once, for all tests that need nothing but an engine."""
    with real_engine(tmp_path_factory.mktemp("v")) as engine:
        yield engine
