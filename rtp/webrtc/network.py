"""WebRtcNetwork: what all WebRTC sessions share, the asyncio thread and the ways to and from it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self

from eventgraph import Graph, NodeDelegate

from ..asyncio_thread import AsyncioThread
from ..mailbox import HopToAsyncio, HopToTrio
from ..media_description import Direction
from .session import WayName, WebRtcSession

BOTH_WAYS: Final[Mapping[str, Direction]] = MappingProxyType(
    {"audio": "sendrecv", "video": "sendrecv"}
)


class WebRtcNetwork:
    """WebRTC sessions on a graph; ``async with WebRtcNetwork(graph) as network``.

    Leaving the block closes every session, and joins the thread. Put it inside the block of
    the graph.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._thread = AsyncioThread("webrtc")
        self._to_trio = HopToTrio(self._thread)
        self._to_asyncio = HopToAsyncio(self._thread)
        self._sessions: dict[WebRtcSession, None] = {}
        self._told_ended: list[Callable[[WebRtcSession], None]] = []

    async def __aenter__(self) -> Self:
        await self._thread.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._thread.__aexit__(kind, error, traceback)
        for session in list(self._sessions):  # those that had not begun
            await session.close()

    @property
    def sessions(self) -> list[WebRtcSession]:
        """Those that are not over."""
        return list(self._sessions)

    def on_ended(self, tell: Callable[[WebRtcSession], None]) -> None:
        """Tell of each session that ends from now on."""
        self._told_ended.append(tell)

    def _ended(self, session: WebRtcSession) -> None:
        self._sessions.pop(session, None)
        for tell in self._told_ended:
            tell(session)

    def open(
        self,
        scope: str,
        *,
        audio: WayName = "decoded",
        video: WayName = "forwarded",
        directions: Mapping[str, Direction] = BOTH_WAYS,
        consent_timeout: float = 15.0,
        connect_timeout: float = 30.0,
        on_data_channel: Callable[[NodeDelegate], object] | None = None,
    ) -> WebRtcSession:
        """A session for one peer; then exchange offer and answer.

        Args:
            scope: of its nodes, not empty.
            audio, video: how tracks of that kind pass: "decoded", as frames, or "forwarded",
                as RTP with no codec run.
            directions: by kind, what we are able to do: an offer of "sendrecv" is answered by
                no more than that.
            consent_timeout: seconds without an answer to consent checks until the peer
                counts as gone. RFC 7675 §5.1 allows 30; zombies ask for less.
            connect_timeout: seconds that the peer has to connect.
            on_data_channel: gets the delegate of the node of each data channel that opens.
        Raises:
            ValueError: an option is out of range.
        """
        if not consent_timeout > 0 or not connect_timeout > 0:
            raise ValueError(
                f"consent_timeout is {consent_timeout} s, connect_timeout {connect_timeout} s: "
                "give more than 0"
            )
        session = WebRtcSession(
            self._graph,
            self._thread,
            self._to_trio,
            self._to_asyncio,
            scope,
            audio=audio,
            video=video,
            directions=directions,
            consent_timeout=consent_timeout,
            connect_timeout=connect_timeout,
            on_data_channel=on_data_channel,
            ended=self._ended,
        )
        self._sessions[session] = None
        return session
