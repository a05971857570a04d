"""Fixtures of pipes: each test that asks for a registry runs once on each backend."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.registry import Registry


@pytest.fixture(scope="session")
def etcd_url() -> Iterator[str]:
    """An etcd server of the session's own, empty at its start."""
    from tests.pipes.etcd_server import running_etcd

    with running_etcd() as server:
        yield server.url


@pytest.fixture(params=["embedded", pytest.param("etcd", marks=pytest.mark.interop("etcd-server"))])
def registry_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a registry can be opened."""
    if request.param == "etcd":
        url: str = request.getfixturevalue("etcd_url")
        return url
    return f"embedded:{tmp_path}/registry.sock"


@pytest.fixture
def prefix() -> str:
    """Keys of this test begin with it: the tests share the registry's server."""
    return f"/test/{uuid.uuid4().hex}/"


@pytest.fixture
async def registry(registry_url: str) -> AsyncIterator[Registry]:
    """A connection to the registry."""
    async with open_registry(registry_url) as registry:
        yield registry


@pytest.fixture
async def second_registry(registry: Registry, registry_url: str) -> AsyncIterator[Registry]:
    """Another connection to the same, as another process would have it."""
    async with open_registry(registry_url) as second:
        yield second
