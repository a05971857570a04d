"""Registry: where destinations and groups find each other.

Keys with values, which live no longer than who put them there: each is put under a *lease*.
Whoever wants to know what stands below a prefix opens a *view*. A view is a state and not a
list of changes: after a failure it is read anew, so that nothing depends on having seen every
change. Two backends: ``pipes.embedded`` for one machine, ``pipes.etcd``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager


class View(ABC):
    """What stands below a prefix, as last seen.

    ``on_change`` of `Registry.watch` is called after each change of either property.
    """

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, bytes]:
        """All keys that begin with the prefix, with their values. A new mapping each time."""

    @property
    @abstractmethod
    def live(self) -> bool:
        """Whether it is up to date. False: the registry is away, and entries are the last seen.

        A registry that hangs is away as soon as it has been silent for its keepalive time.
        """


class Lease(ABC):
    """The right to have keys in the registry; kept alive by the registry's own task.

    Lost when the registry says so, or when it could not be renewed for its time to live: then
    ``on_lost`` of `Registry.grant` is called, once, and every call raises `LeaseLostError`.
    """

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether its keys are gone, as far as one can know."""

    @abstractmethod
    async def put(self, key: str, value: bytes) -> None:
        """Set a key, whoever had it before.

        Raises:
            RegistryUnavailableError: no answer in time; it may be set or not.
            RegistryError: the registry refused the value.
            LeaseLostError: set nothing.
        """

    @abstractmethod
    async def create(self, key: str, value: bytes) -> bool:
        """Set a key if there is none: an atomic compare-and-swap.

        Returns:
            Whether this lease has it now; also when it had it before, so it can be repeated.
        Raises:
            As `put`.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove a key if this lease put it; nothing happens to one that is another's, or gone.

        Raises:
            As `put`.
        """

    @abstractmethod
    async def revoke(self) -> None:
        """Give it back: its keys are removed at once. Never raises for a registry that is away:

        then they vanish when the time to live has passed. ``on_lost`` is not called.
        """


class Registry(ABC):
    """A connection to a registry. Made by `eventgraph.pipes.open_registry`, which runs its tasks.

    Every call ends within ``timeout`` seconds of `open_registry`, cancellation apart.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, without a password."""

    @abstractmethod
    async def read(self, prefix: str) -> dict[str, bytes]:
        """All keys that begin with a prefix, at one instant.

        Raises:
            RegistryUnavailableError: no answer in time.
            RegistryError: it refused.
        """

    @abstractmethod
    def watch(
        self, prefix: str, on_change: Callable[[], None]
    ) -> AbstractAsyncContextManager[View]:
        """A view that follows what stands below a prefix, until it is left.

        Entering waits for the first read, and raises what `read` raises. After that it rides
        out every failure by itself: it reconnects, with growing pauses, and reads all anew.

        Args:
            on_change: called from a task of the registry; it must not block. Changes that come
                close together may be one call.
        """

    @abstractmethod
    async def grant(self, ttl: float, on_lost: Callable[[], None]) -> Lease:
        """A new lease, renewed until it is revoked, lost, or the registry is left.

        Args:
            ttl: seconds that its keys outlive their owner's death at most. The embedded registry
                sees a death at once and ignores it; etcd knows whole seconds, and at least 2.
        Raises:
            As `read`.
        """
