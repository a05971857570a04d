"""RTP source and sink that hold a share of an endpoint, and let go of it when they leave."""

from . import nodes
from .endpoint_leases import EndpointLease


class RtpSource(nodes.RtpSource):
    """Broadcasts each packet of an endpoint as RTP."""

    def __init__(self, scope: str, name: str, lease: EndpointLease) -> None:
        super().__init__(scope, name, lease.endpoint)
        self._lease = lease

    def on_exit(self) -> None:
        super().on_exit()
        self._lease.release()

    def discard(self) -> None:
        """It has never got into a graph."""
        self._lease.release()


class RtpSink(nodes.RtpSink):
    """Sends each RTP packet on to the peer of an endpoint."""

    def __init__(self, scope: str, name: str, lease: EndpointLease) -> None:
        super().__init__(scope, name, lease.endpoint)
        self._lease = lease

    def on_exit(self) -> None:
        self._lease.release()

    def discard(self) -> None:
        """It has never got into a graph."""
        self._lease.release()
