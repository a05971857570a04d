"""Door: how a client comes to the server of its realm, which it starts if there is none."""

import logging
import socket
import sys
from typing import Final

import trio

from eventgraph.flows.errors import FlowServerError
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.launch import start_server
from eventgraph.flows.place.peer import peer_pid
from eventgraph.flows.server.options import ServerOptions, encode_options

STARTS: Final = 20  # of servers that are gone again when we come
PAUSE: Final = 0.03  # seconds between two tries to connect
RETURN: Final = 5.0  # seconds for somebody else to start a server again, if we must not
BUSY: Final = 3.0  # seconds in which a server has to accept somebody
PATIENCE: Final = 5.0  # seconds for somebody else who starts a server; then we do, too

_logger = logging.getLogger(__name__)


class Door:
    """To the server with these options.

    Args:
        start: whether one may be started.
    """

    def __init__(self, options: ServerOptions, *, start: bool = True) -> None:
        self._options = options
        self._start = start
        self._directory = RuntimeDirectory(
            options.runtime_directory, options.realm, options.own_machine
        )
        self._pid = 0  # of the server that was connected to last

    async def connect(self) -> socket.socket:
        """A connection with the server, which is started if there is none.

        Raises:
            FlowServerError: there is none, and none could be started.
            FlowDirectoryError: there is no place for one.
        """
        began = trio.current_time()
        busy_until = began + BUSY
        starts = 0
        while starts < STARTS:
            try:
                sock = self._directory.connect()
            except BlockingIOError:  # too many wait to be accepted
                if trio.current_time() > busy_until:
                    await self._end(self._directory.server_pid())
                    busy_until = trio.current_time() + BUSY
                await trio.sleep(PAUSE)
                continue
            if sock is not None:
                self._pid = peer_pid(sock)
                return sock
            waited = trio.current_time() - began
            if self._start:
                starts += await self._start_one(alone=waited < PATIENCE)
            elif self._pid and waited < RETURN:
                await trio.sleep(PAUSE)
            else:
                raise FlowServerError(
                    f"no server of {self._options.realm} in {self._directory.path}: start one"
                )
        raise FlowServerError(f"servers in {self._directory.path} come and go; see its log")

    async def _start_one(self, *, alone: bool) -> bool:
        """Start a server; False: somebody else is at it, and it was not done."""
        options = encode_options(self._options)
        command = [sys.executable, "-m", "eventgraph.flows.server", options, "--detach"]
        try:
            with self._directory.starting() as first:
                if first or not alone:
                    await start_server(command)
                    return True
        except FileNotFoundError:  # a server that ends has removed the directory
            pass
        await trio.sleep(PAUSE)
        return False

    async def replace(self) -> None:
        """The server does not answer: end it, so that another can be started."""
        await self._end(self._pid)

    async def _end(self, pid: int | None) -> None:
        if pid is not None and await self._directory.kill_server(pid):
            _logger.warning("server %d of %s did not answer: ended", pid, self._options.realm)
