"""RtpSink: events become packets to the network."""

from collections import Counter
from collections.abc import Mapping

from eventgraph import Event, Node

from ..endpoint import RtpEndpoint
from ..errors import UnknownPayloadTypeError
from ..media import RTP


class RtpSink(Node):
    """Sends each RTP packet on to the peer of an endpoint, in the order of arrival.

    The packets leave under the endpoint's own SSRC and one unbroken numbering, whatever
    feeds the sink (see `OutgoingStream`). END is not passed on: another feed may follow;
    the peer gets its BYE when the endpoint is closed.

    Attributes:
        drops: events that could not be sent on, by reason: "unknown payload type". What the
            network refused stands in the endpoint's statistics.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        endpoint: RtpEndpoint,
        *,
        payload_types: Mapping[int, int] | None = None,
    ) -> None:
        """
        Args:
            endpoint: through which to send.
            payload_types: the endpoint's number for each payload type that arrives under
                another one; what is not in it keeps its number.
        """
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._forward = endpoint.forward
        self._payload_types = dict(payload_types or {})

    def on_event(self, event: Event) -> None:
        if event.cmd != RTP:
            return
        packet = event.obj
        try:
            self._forward(packet, self._payload_types.get(packet.payload_type))
        except UnknownPayloadTypeError:
            self.drops["unknown payload type"] += 1
