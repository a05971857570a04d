"""Answers over nng.

What waits for a message waits in pynng's ``arecv``, as the descriptor of a rep socket stays
readable when who asked has hung up.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pynng  # type: ignore[import-untyped]  # has no types
import trio

from eventgraph.pipes.nng.bind import abstract_name
from eventgraph.pipes.nng.socket import (
    Means,
    closed,
    listen,
    open_socket,
    wait_for,
)
from eventgraph.pipes.transport import Answerer
from eventgraph.pipes.url import Url

ROOM_TIMEOUT = 0.1  # seconds that one who does not read may hold up the others
HEADER = 64  # bytes that REQ/REP puts before a message, at the most


class NngAnswerer(Answerer):
    """Hangs up on who asks and does not read the answers."""

    def __init__(self, url: Url, means: Means) -> None:
        self._closed = False
        self._means = means
        self._listener: object = None
        self._socket = open_socket(pynng.Rep0, means.limits)
        self._socket.recv_max_size = means.limits.max_message_size + HEADER
        self._fd: int = self._socket.send_fd
        means.closer.expect(url)
        try:
            place = url
            if url.scheme == "inproc":
                place = Url("abstract", path=abstract_name(url.path))
            self._listener, listening = listen(self._socket, place, means.certificates)
            self._url = str(url) if place is not url else listening
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return self._url

    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        while True:
            if self._closed:
                raise closed()
            try:
                question = await self._socket.arecv_msg()
                if len(question.bytes) <= self._means.limits.max_message_size:  # inproc has none
                    await self._answer(question, answer(question.bytes))
            except pynng.Closed:
                raise closed() from None

    async def _answer(self, question: Any, answer: bytes) -> None:
        """Send it once its connection has sent the answer before.

        A send that nng refuses ends the question, so it is not tried before there is room.
        """
        with trio.move_on_after(ROOM_TIMEOUT):
            await wait_for(self._fd)
            with suppress(pynng.TryAgain):
                self._socket.send(answer, block=False)
            return
        with suppress(pynng.NNGException, AttributeError):  # it is gone already
            question.pipe.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._means.closer.close(self._socket, fd=self._fd, listener=self._listener)
