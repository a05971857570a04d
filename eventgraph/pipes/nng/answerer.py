"""Answers: the REP side of REQ/REP.

Source: nanomsg/rfcs, sp-request-reply-01.
"""

from collections import deque
from collections.abc import Callable

import trio

from eventgraph.pipes.nng.acceptor import Acceptor
from eventgraph.pipes.nng.framing import framing
from eventgraph.pipes.nng.means import Means, closed
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol, split_question
from eventgraph.pipes.transport import Answerer
from eventgraph.pipes.url import Url

MAX_ASKERS = 1024  # connections; of more, the one that has been silent for longest is cut


class _Question:
    """One that waits, and then its answer: None when there is none."""

    __slots__ = ("answer", "is_over", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.answer: bytes | None = None
        self.is_over = trio.Event()


class SpAnswerer(Answerer):
    """One question of each connection is looked at at a time; the next stays in its buffers.

    Hangs up on who does not read an answer within the keepalive time.
    """

    def __init__(self, url: Url, means: Means) -> None:
        self._means = means
        self._frame = framing(url, dialled=False)
        self._closed = False
        self._askers: dict[trio.CancelScope, None] = {}  # who was answered last stands last
        self._questions: deque[_Question] = deque()
        self._servers = trio.lowlevel.ParkingLot()
        self._acceptor = Acceptor(url, means, Protocol.REP, self._converse)

    @property
    def url(self) -> str:
        return self._acceptor.url

    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            while not self._questions and not self._closed:
                await self._servers.park()
            if self._closed:
                raise closed()
            question = self._questions.popleft()
            try:
                question.answer = answer(question.text)
            finally:
                question.is_over.set()

    async def _converse(self, reader: Reader) -> None:
        with trio.CancelScope() as scope:
            try:
                if len(self._askers) >= MAX_ASKERS:
                    self._cut_the_longest_silent()
                while True:
                    self._askers[scope] = None
                    await self._answer_next(reader)
                    self._askers.pop(scope, None)
            finally:
                self._askers.pop(scope, None)

    async def _answer_next(self, reader: Reader) -> None:
        limits = self._means.limits
        try:
            ids, text = split_question(await reader.message())
        except ValueError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if len(text) > limits.max_message_size:
            raise trio.BrokenResourceError(f"it asks a question of {len(text)} bytes")
        answer = await self._answer(text)
        if answer is not None:
            with trio.fail_after(limits.keepalive):
                await reader.connection.write(b"".join(self._frame(ids + answer)))

    async def _answer(self, text: bytes) -> bytes | None:
        question = _Question(text)
        self._questions.append(question)
        self._servers.unpark()
        try:
            await question.is_over.wait()
        finally:
            if not question.is_over.is_set():
                self._questions.remove(question)
        return question.answer

    def _cut_the_longest_silent(self) -> None:
        oldest = next(iter(self._askers))
        del self._askers[oldest]
        oldest.cancel()
        self._acceptor.warn(f"{MAX_ASKERS} ask; the one that was silent for longest is cut")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._acceptor.close()
            self._servers.unpark_all()
