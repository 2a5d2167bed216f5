"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from tests.support.real_engine import RealEngine, real_engine

# A property is tried with the same values in each run, and however slow the machine is. With others, so many as one likes:
# `pytest --hypothesis-profile=default --hypothesis-seed=N`.
settings.register_profile(
    "parley", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("parley")

# The client's own five seconds are few for a server that shares two cores with a browser and an engine.
for limit in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, limit, 60.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The real vLLM on the starter model. It starts once, for all tests that need nothing but an engine."""
    with real_engine(tmp_path_factory.mktemp("v")) as engine:
        yield engine
