"""Starting a server that outlives who has started it."""

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

import trio

from eventgraph.flows.errors import FlowServerError
from eventgraph.flows.place.daemon import DIED
from eventgraph.flows.place.log import open_memory, written

START_TIMEOUT: Final = 30.0  # seconds; importing takes its time on a busy machine
GRACE: Final = 2.0  # seconds for a start that is given up to end in order
QUOTED_SIZE: Final = 2000  # bytes of the last lines that it wrote


async def start_server(command: Sequence[str], timeout: float = START_TIMEOUT) -> None:
    """Start a server, and return when it is ready, or has found that another serves already.

    It has a session of its own, and none of our descriptors; it is not our child in the end.

    Args:
        command: a program that calls `eventgraph.flows.place.daemon.detach`, and its arguments.
        timeout: seconds for it to become ready, after which it is ended.
    Raises:
        FlowServerError: it could not be started, failed, or was not ready in time; the message
            holds the last line that it wrote, a note all the last ones.
    """
    output = open_memory()
    try:
        status = await _run(command, output, timeout)
        if status != 0:
            problem = "failed" if status is not None else f"was not ready within {timeout:g} s"
            said = written(output, QUOTED_SIZE).decode(errors="replace").strip()
            error = FlowServerError(
                f"the server {problem}; "
                + (f"it wrote:\n{_reason(said)}" if said else "it wrote nothing")
            )
            if said:
                error.add_note(f"{shlex.join(command)}\n{said}")
            raise error
    finally:
        os.close(output)


def _reason(said: str) -> str:
    """Why it failed: its last line, and of one that died what it died of."""
    lines = said.splitlines()
    return "\n".join(lines[-2:] if lines[-1].startswith(DIED) else lines[-1:])


async def _run(command: Sequence[str], output: int, timeout: float) -> int | None:
    """Run a program until it ends: its exit status. None: it was ended, as it took too long."""
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise FlowServerError(f"cannot start {shlex.join(command)}: {error}") from None
    status: int | None = None
    try:
        with trio.move_on_after(timeout):
            status = await process.wait()
    finally:
        if process.returncode is None:
            with trio.CancelScope(shield=True):
                await _end(process)
    return status


async def _end(process: trio.Process) -> None:
    """End it, and the server that is to come out of it: those are one process group yet."""
    process.terminate()
    with trio.move_on_after(GRACE):
        await process.wait()
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        with trio.move_on_after(GRACE):
            while _has_group(process.pid):  # noqa: ASYNC110  # they are not our children
                await trio.sleep(0.005)


def _has_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
