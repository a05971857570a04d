"""RtpSource: packets from the network become events."""

from eventgraph import Event, Node, NodeDelegate

from ..endpoint import RtpEndpoint
from ..media import END, RTP, EndOfStream
from ..packet import RtpPacket


class RtpSource(Node):
    """Broadcasts each packet of an endpoint as RTP, straight from the task that read it.

    When a source of the peer is over (BYE, silence, or the endpoint was closed) its links
    hear END. A packet or an END that a link refuses is counted on that link.

    Attributes:
        packets_untaken: packets that no link took, as there was none or all refused.
    """

    def __init__(self, scope: str, name: str, endpoint: RtpEndpoint) -> None:
        """
        Args:
            endpoint: where the packets come from; one source for each.
        """
        super().__init__(scope, name)
        self.packets_untaken = 0
        self._endpoint = endpoint

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._broadcast = delegate.broadcast
        self._endpoint.attach(self)

    def take_packet(self, packet: RtpPacket) -> None:
        """The endpoint has received a packet."""
        if not self._broadcast(Event(RTP, packet)):
            self.packets_untaken += 1

    def take_end(self, end: EndOfStream) -> None:
        """A source of the peer is over."""
        self._broadcast(Event(END, end))

    def on_exit(self) -> None:
        self._endpoint.detach(self)
