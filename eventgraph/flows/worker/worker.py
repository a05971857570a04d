"""worker: has a process for the length of a block."""

import logging
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from eventgraph.flows.client import FlowClient
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import FlowError, FlowOptionError, FlowWorkerError
from eventgraph.flows.key import FlowKey, check_name
from eventgraph.flows.protocol import Launch
from eventgraph.flows.worker.function import SetUp, locate
from eventgraph.flows.worker.report import GROUP, decode_report

END_TIMEOUT: Final = 10.0  # seconds for a worker to end in order; then the server sees to it
GLANCE: Final = 0.02  # seconds between two looks whether it has
NAME_SIZE: Final = 40  # characters of a worker's name in that of its flow

_logger = logging.getLogger(__name__)


class Worker:
    """A process with a graph.

    Attributes:
        id: of its client; see `FlowClient.end`.
        name: likewise, for people.
    """

    def __init__(self, id: str, name: str, reports: Consumer) -> None:
        self.id = id
        self.name = name
        self._reports = reports

    async def wait_started(self) -> None:
        """Wait until its nodes are there; when that was so before, until they are there again.

        Raises:
            FlowWorkerError: its function has failed; the notes have the traceback.
        """
        with await self._reports.receive() as block:
            report = decode_report(block.data)
        if report.error:
            error = FlowWorkerError(f"worker {self.name}: {report.error}")
            error.add_note(report.traceback)
            raise error


@asynccontextmanager
async def worker(
    client: FlowClient,
    function: SetUp | str,
    *,
    scope: str,
    name: str = "",
    arguments: Mapping[str, Any] | None = None,
    machine: str = "",
    keep: bool = False,
    start_timeout: float = 30.0,
    movable: bool = False,
    respawns: int = 5,
) -> AsyncIterator[Worker]:
    """Run the graph of a scope in a process of its own, which is ended with the block::

        async def mixer(graph, client, scope):
            voices = await client.consume("*/voice")
            graph.add_node(FlowConsumerNode(scope, "voices", voices))
            ...

        async with worker(client, mixer, scope="mixer"):
            ...

    The function is called there; it adds nodes and returns. The process runs as long as there
    are any, and until the block is left or this process is gone. When it crashes, when no node
    is left after a crash, or when a node of a flow has crashed, it ends, and the server starts it
    again; but not if all that it provides was taken over.

    Args:
        client: whose server starts it.
        function: or as ``package.module:function``, or ``/path/file.py:function``. It gets the
            graph, the client of that process, the scope and the arguments.
        scope: of the nodes.
        name: of the client, for people; by default the scope.
        arguments: more for the function, by keyword; what JSON can say, and paths as text.
        machine: where; by default, here. The function must be found at the same place there.
        keep: leave it there when the block is left, and when this process is gone.
        start_timeout: seconds until its nodes must be there.
        movable: see `Launch`.
        respawns: it is started again at most so many times in a minute.
    Raises:
        FlowWorkerError: its function has failed, or did not return in time.
        FlowRefusedError: the server does not start it.
        FlowOptionError, FlowNameError: an argument makes no sense.
    """
    name = check_name("name of a worker", name or scope)
    target, path = locate(function)
    token = f"{name[:NAME_SIZE]}-{uuid.uuid4().hex[:12]}"
    command = [sys.executable, "-m", "eventgraph.flows.worker", target, "--scope", scope]
    command += ["--path", path, "--report", token, "--arguments", _encode(arguments)]
    command += ["--stay"] if keep else []
    launch = Launch(tuple(command), name, movable=movable, respawns=respawns)
    with await client.consume(FlowKey(GROUP, token)) as reports:
        await reports.start()
        with trio.CancelScope(shield=True):  # else nobody would know what was started
            started = Worker(await client.run(launch, machine), name, reports)
        kept = False
        try:
            with trio.move_on_after(start_timeout) as limit:
                await started.wait_started()
            if limit.cancelled_caught:
                raise FlowWorkerError(
                    f"worker {name} was not ready within {start_timeout:g} s; "
                    "the server's log has what it wrote"
                )
            kept = keep
            yield started
        finally:
            if not kept:
                with trio.CancelScope(shield=True):
                    await _end(client, started)


def _encode(arguments: Mapping[str, Any] | None) -> str:
    try:
        return msgspec.json.encode(dict(arguments or {}), enc_hook=os.fspath).decode()
    except (TypeError, msgspec.MsgspecError) as error:
        raise FlowOptionError(f"arguments that JSON cannot say: {error}") from None


async def _end(client: FlowClient, worker: Worker) -> None:
    try:
        with trio.fail_after(END_TIMEOUT):
            await client.end(worker.id)
            while await _is_there(client, worker.id):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(GLANCE)
    except (FlowError, trio.TooSlowError) as error:
        _logger.warning("worker %s may still be there: %s", worker.name, error or "it takes long")


async def _is_there(client: FlowClient, id: str) -> bool:
    listing = await client.look()
    return any(there.id == id for machine in listing.machines for there in machine.clients)
