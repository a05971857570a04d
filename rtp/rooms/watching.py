"""Publication and Watcher: one shows, many watch; packets are forwarded, no codec runs."""

import itertools
from collections.abc import Collection, Mapping
from typing import Final

import trio

from eventgraph import Address, Graph

from ..errors import RtpError, SdpError
from ..media_description import Direction
from ..webrtc import WebRtcSession, link_forwarding
from .call import Call, OpenSession

SEND: Final[Mapping[str, Direction]] = {"audio": "sendonly", "video": "sendonly"}


class NotLiveError(RtpError):
    """There is nothing to watch now."""


class Watcher(Call):
    """Somebody who watches a publication, and leaves with it."""


class Publication(Call):
    """What a session sends, for all who want to watch it."""

    def __init__(
        self,
        graph: Graph,
        session: WebRtcSession,
        answer: str,
        open_session: OpenSession,
        *,
        kinds: Collection[str] = ("audio", "video"),
    ) -> None:
        """
        Args:
            session: whose tracks are shown; forwarded.
            open_session: makes those of watchers.
            kinds: what of it is shown.
        """
        super().__init__(session, answer)
        self._graph = graph
        self._open_session = open_session
        self._kinds = kinds
        self._watchers: set[Watcher] = set()
        self._numbers = itertools.count(1)

    def has(self, kind: str) -> bool:
        """Whether there is something of this kind to be watched."""
        return kind in self._kinds and self._source(kind) in self._session.nodes

    async def watch(self, offer: str) -> Watcher:
        """Let one more watch; the sources are asked for a key frame.

        Args:
            offer: SDP, to receive.
        Raises:
            SdpError: the offer cannot be used, or takes nothing that there is.
            NotLiveError: the publication ends just now.
            GraphError: it has too many watchers.
        """
        self._watchers = {watcher for watcher in self._watchers if not watcher.over}
        scope = f"{self.scope}/watcher-{next(self._numbers)}"
        session = self._open_session(scope, directions=SEND)
        watcher = Watcher(session, await session.accept_offer(offer))
        try:
            if self.over:
                raise NotLiveError("what was to be watched has just ended")
            if not [kind for kind in self._kinds if self._link(kind, session)]:
                raise SdpError(
                    f"the offer takes nothing of {' and '.join(self._kinds)} that is shown here: "
                    "offer to receive it (a=recvonly), in the codec of who shows it"
                )
        except BaseException:
            await session.close()
            raise
        self._watchers.add(watcher)
        return watcher

    async def wait_left(self) -> None:
        """Wait until it is over, and send those home who still watch."""
        await super().wait_left()
        async with trio.open_nursery() as nursery:
            for watcher in self._watchers:
                nursery.start_soon(_see_off, watcher)

    def _source(self, kind: str) -> Address:
        return Address(self.scope, f"{kind}-source")

    def _link(self, kind: str, session: WebRtcSession) -> bool:
        source, sink = self._source(kind), Address(session.scope, f"{kind}-sink")
        in_common = set(self._session.formats(kind)) & set(session.formats(kind))
        if not self.has(kind) or sink not in session.nodes or not in_common:
            return False
        if kind == "video":
            link_forwarding(self._graph, source, sink)
        else:
            self._graph.link_up(source, sink)
        return True


async def _see_off(watcher: Watcher) -> None:
    await watcher.close()
    await watcher.wait_left()
