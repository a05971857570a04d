"""Broadcasts: streams by name; one publishes, many watch."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from eventgraph import Graph, NodeExistsError

from ..errors import RtpError, SdpError
from ..media_description import Direction
from .call import OpenSession
from .host import Host
from .names import check_slug
from .watching import NotLiveError, Publication, Watcher

RECEIVE: Final[Mapping[str, Direction]] = {"audio": "recvonly", "video": "recvonly"}


class StreamTakenError(RtpError):
    """Somebody publishes under this name."""


class Broadcasts(Host):
    """Who publishes what; ``async with Broadcasts(graph, open_session) as broadcasts``.

    Leaving the block ends all of it. Put it inside the block of the `WebRtcNetwork`.
    """

    def __init__(self, graph: Graph, open_session: OpenSession) -> None:
        super().__init__()
        self._graph = graph
        self._open_session = open_session
        self._publications: dict[str, Publication | None] = {}  # None: it is being negotiated

    @property
    def streams(self) -> list[str]:
        """Names of those that are live."""
        return [name for name, publication in self._publications.items() if publication]

    async def publish(self, stream: str, offer: str) -> Publication:
        """Take what a peer sends as a stream.

        Args:
            stream: its name.
            offer: SDP, to send.
        Raises:
            UnusableNameError: it cannot be called that.
            StreamTakenError: there is one of this name.
            SdpError: the offer cannot be used.
            ClosingError: it is being left.
        """
        self.check_open()
        if check_slug(stream) in self._publications:
            raise StreamTakenError(f"{stream} is being published already: end that, or wait")
        self._publications[stream] = None
        try:
            session = self._open_session(f"live/{stream}", directions=RECEIVE)
            answer = await session.accept_offer(offer)
            if self.closing:
                await session.close()
                self.check_open()
            publication = Publication(self._graph, session, answer, self._open_session)
            if not any(map(publication.has, RECEIVE)):
                await session.close()
                raise SdpError("the offer sends neither audio nor video: offer a=sendonly")
        except NodeExistsError:  # somebody else has a scope of this name
            del self._publications[stream]
            raise StreamTakenError(
                f"{stream} cannot be published now: choose another name"
            ) from None
        except BaseException:
            del self._publications[stream]
            raise
        self._publications[stream] = publication
        self.keep(publication, partial(self._forget, stream))
        return publication

    async def watch(self, stream: str, offer: str) -> Watcher:
        """Let a peer watch a stream.

        Raises:
            UnusableNameError: no stream can be called that.
            NotLiveError: nobody publishes it now.
            SdpError: the offer cannot be used.
        """
        publication = self._publications.get(check_slug(stream))
        if publication is None or publication.over:
            raise NotLiveError(f"nobody publishes {stream} now: try again later")
        return await publication.watch(offer)

    async def _forget(self, stream: str) -> None:
        del self._publications[stream]
