"""The life of one process of a launched client, and how it is ended if it does not end itself."""

import logging
import signal
from typing import Final

import trio

from eventgraph.flows.server.client_process import ClientProcess
from eventgraph.flows.server.launched import Launched

LEAVE_TIME: Final = 2.0  # seconds from Leave to SIGTERM
TERM_TIME: Final = 2.0  # seconds from SIGTERM to SIGKILL
FAREWELL: Final = 1.0  # seconds to read what a client has said before its process ended
END_TIME: Final = LEAVE_TIME + 2 * TERM_TIME + FAREWELL
"""Seconds in which one ends that is to end, whatever it does."""

_logger = logging.getLogger(__name__)


async def live(client: Launched, process: ClientProcess, connect_timeout: float) -> int | None:
    """Wait for the end of a process; end it when the client is to end.

    Args:
        connect_timeout: seconds after which one that has never connected is ended.
    Returns:
        the exit status, negative for a signal; None: nobody knows.
    """
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_press, client, process, connect_timeout)
            status = await process.wait()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(FAREWELL):
            await client.wait_gone()
    finally:
        client.process = None
        process.close()
    return status


async def _press(client: Launched, process: ClientProcess, connect_timeout: float) -> None:
    with trio.move_on_after(connect_timeout):
        await client.wait_came()
    if client.came or client.to_end:
        await client.wait_to_end()
        if client.connected and not client.at_once:
            await trio.sleep(LEAVE_TIME)
    else:
        _logger.warning("%s: not connected in %g s: ended", client, connect_timeout)
    process.signal(signal.SIGTERM)
    await trio.sleep(TERM_TIME)
    _logger.warning("%s: did not end, and is killed", client)
    process.signal(signal.SIGKILL)
