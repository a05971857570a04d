"""Who listens and who dials within the process: zmq itself does not tell, nor dial again."""

from collections import defaultdict
from collections.abc import Callable

import msgspec
import trio


class Dialler(msgspec.Struct, eq=False):
    """A pull that wants a URL, whether somebody listens there or not."""

    connect: Callable[[], None]
    disconnect: Callable[[], None]
    on_change: Callable[[], None]


class Exchange:
    """The inproc URLs of one transport."""

    def __init__(self) -> None:
        self._listeners: dict[str, Callable[[], None]] = {}
        self._diallers: defaultdict[str, list[Dialler]] = defaultdict(list)

    def listen(self, url: str, on_change: Callable[[], None]) -> None:
        """A push listens there from now on."""
        self._listeners[url] = on_change
        for dialler in self._diallers[url]:
            dialler.connect()
        self._tell(url)

    def close(self, url: str) -> None:
        """It does no longer."""
        del self._listeners[url]
        for dialler in self._diallers[url]:
            dialler.disconnect()
        self._tell(url)

    def dial(self, url: str, dialler: Dialler) -> None:
        """A pull dials there until `hang_up`."""
        self._diallers[url].append(dialler)
        if url in self._listeners:
            dialler.connect()
            self._tell(url)

    def hang_up(self, url: str, dialler: Dialler) -> None:
        """It does no longer."""
        self._diallers[url].remove(dialler)
        if url in self._listeners:
            dialler.disconnect()
            self._tell(url)

    def connections(self, url: str) -> int:
        """Of the push that listens there."""
        return len(self._diallers[url])

    def answers(self, url: str) -> bool:
        """Whether a push listens there."""
        return url in self._listeners

    def _tell(self, url: str) -> None:
        """Soon, as whoever made the change is still at it."""
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        if url in self._listeners:
            soon(self._listeners[url])
        for dialler in self._diallers[url]:
            soon(dialler.on_change)
