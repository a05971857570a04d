"""Endpoints that nodes of a composition share: open as long as one of them uses it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from .endpoint import RtpEndpoint
from .latch import Address
from .network import SILENCE_LIMIT, RtpNetwork
from .payload_format import STATIC_FORMATS, PayloadFormat

FORMATS: Final = MappingProxyType(
    {
        **{number: STATIC_FORMATS[number] for number in (0, 8, 9)},
        96: PayloadFormat("opus", 48000, 2),
        101: PayloadFormat("telephone-event", 8000),
    }
)
"""Of endpoints that texts open, and of nodes in texts that make or read RTP of sound."""


class EndpointSettings(msgspec.Struct, frozen=True):
    """What a text says of an endpoint; None: nothing.

    Attributes:
        host, port: where it takes packets; numeric, even.
        listener: where it sends to, whoever sends to it.
    """

    host: str | None = None
    port: int | None = None
    listener: Address | None = None


class _Shared:
    __slots__ = ("endpoint", "settings", "users")

    def __init__(self, endpoint: RtpEndpoint, settings: EndpointSettings | None) -> None:
        self.endpoint = endpoint
        self.settings = settings  # None: it is somebody else's, and is not closed here
        self.users = 0


class EndpointLease:
    """The right to use an endpoint until it is released.

    Attributes:
        endpoint: which.
    """

    def __init__(self, endpoint: RtpEndpoint, release: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Use it no more; the last one closes it. Idempotent."""
        release, self._release = self._release, None
        if release is not None:
            release()


class EndpointLeases:
    """Endpoints by name."""

    def __init__(
        self,
        network: RtpNetwork,
        *,
        host: str = "127.0.0.1",
        formats: Mapping[int, PayloadFormat] = FORMATS,
        silence_limit: float | None = SILENCE_LIMIT,
        may_send_to: Callable[[str], bool] = lambda _host: True,
    ) -> None:
        """
        Args:
            host: where to bind, if nobody says.
            formats, silence_limit: see `RtpNetwork.open`.
            may_send_to: whether a listener may be at that host.
        """
        self._network = network
        self._host = host
        self._formats = formats
        self._silence_limit = silence_limit
        self._may_send_to = may_send_to
        self._shared: dict[str, _Shared] = {}

    def lend(self, name: str, endpoint: RtpEndpoint) -> None:
        """Let nodes use an endpoint that is open; it is closed by whoever opened it."""
        self._shared[name] = _Shared(endpoint, None)

    def statistics(self) -> dict[str, int]:
        """The endpoints that are open, and how many nodes use each."""
        return {name: shared.users for name, shared in self._shared.items()}

    def lease(self, name: str, settings: EndpointSettings) -> EndpointLease:
        """Use an endpoint; the first to do so opens it, with its settings.

        Raises:
            ValueError: it is open with other settings, or may not be opened so.
            OSError: the port cannot be had.
        """
        shared = self._shared.get(name)
        if shared is None:
            shared = _Shared(self._open(settings), settings)
            self._shared[name] = shared
        elif settings not in {EndpointSettings(), shared.settings}:
            raise ValueError(
                f"endpoint {name!r} is open already, with other settings; "
                "say them once, or use another by endpoint=NAME"
            )
        shared.users += 1

        def release() -> None:
            shared.users -= 1
            if not shared.users and shared.settings is not None:
                shared.endpoint.close()
                del self._shared[name]

        return EndpointLease(shared.endpoint, release)

    def _open(self, settings: EndpointSettings) -> RtpEndpoint:
        if settings.listener is not None and not self._may_send_to(settings.listener[0]):
            raise ValueError(
                f"media may not be sent to {settings.listener[0]} from here; "
                "rtp.any_target in the configuration of the server allows it"
            )
        return self._network.open(
            self._formats,
            host=settings.host or self._host,
            port=settings.port or 0,
            remote_rtp=settings.listener,
            learn=True,
            silence_limit=self._silence_limit,
        )
