"""The pulse of an etcd: a hung one gives no sign on a watch, so it is asked something small."""

from collections.abc import Set
from typing import Protocol

import trio

from eventgraph.pipes.errors import RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.messages import RANGE


class Follower(Protocol):
    """Who has a stream of the gateway."""

    @property
    def key(self) -> bytes:
        """What it may read."""


async def watch_pulse(gateway: Gateway, followers: Set[Follower], keepalive: float) -> None:
    """End the streams of an etcd that does not answer, within ``keepalive`` seconds.

    The question is a read that a majority of the members must agree to: one that has lost the
    others would go on to answer, and its watches stay silent.
    """
    while True:
        await gateway.streams()
        await trio.sleep(keepalive / 2)
        key = next((follower.key for follower in followers), b"\0")
        try:
            await gateway.call(
                RANGE,
                {"key": key, "limit": "1", "keys_only": True},
                "feel the pulse",
                timeout=keepalive / 2,
            )
        except RegistryUnavailableError:
            gateway.drop_streams()
        except RegistryError:
            pass  # it answers
