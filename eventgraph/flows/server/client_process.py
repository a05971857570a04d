"""The process of a client that a server has started: this one, or one before it.

It has a session of its own, so that Ctrl-C in a terminal ends the server, which ends its clients
in order. Signals go to all of its process group: a client may be started by a script.
"""

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from typing import Final

import msgspec
import trio

from eventgraph.flows.errors import FlowRefusedError
from eventgraph.flows.opening import ENVIRONMENT, Started
from eventgraph.flows.server.output import Output, find_output, open_output

MAX_ENVIRONMENT: Final = 64 << 10
"""Bytes for a launch and the options; Linux takes 128 KiB in one variable."""


class ClientProcess:
    """It has a descriptor of the process, so that no signal goes to another of the same number.

    Attributes:
        pid: of what was started; the client may be a child of it.
        output: what it writes.
    """

    def __init__(
        self,
        pid: int,
        descriptor: int,
        output: Output,
        group: int,
        child: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        """Made by `start_client` and `find_client`."""
        self.pid = pid
        self.output = output
        self._descriptor = descriptor
        self._group = group  # 0: no more than the process is known to be the client's
        self._child = child

    async def wait(self) -> int | None:
        """Wait until it has ended, and clear away what is left of it.

        Returns:
            its exit status, negative for a signal; None: another server has started it, so that
            nobody tells.
        """
        await trio.lowlevel.wait_readable(self._descriptor)
        if self._child is None:
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, signal.SIGKILL)  # a number in use until it is waited for
        return self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """To all of it."""
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._descriptor, 0)  # it lives, or was not waited for
            if self._group:
                os.killpg(self._group, number)
            else:
                signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Look at it no longer."""
        self.output.pass_on(last=True)
        self.output.close()
        os.close(self._descriptor)


async def start_client(started: Started) -> ClientProcess:
    """Start what a launch says.

    Raises:
        FlowRefusedError: it cannot be started; says why.
    """
    launch = started.launch
    text = msgspec.json.encode(started, enc_hook=str).decode()
    if len(text) > MAX_ENVIRONMENT:
        raise FlowRefusedError(f"{launch.name}: {len(text)} bytes, over {MAX_ENVIRONMENT}")

    def start(memory: int, end: int) -> ClientProcess:
        child = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=end,
            env={**os.environ, ENVIRONMENT: text},
            start_new_session=True,
        )
        try:
            descriptor = os.pidfd_open(child.pid)
        except OSError:
            child.kill()
            child.wait()
            raise
        return ClientProcess(child.pid, descriptor, Output(launch.name, memory), child.pid, child)

    memory = end = -1
    try:
        memory, end = open_output()
        with trio.CancelScope(shield=True):  # nobody would know what was started
            process = await trio.to_thread.run_sync(start, memory, end)
    except (OSError, ValueError) as error:
        if memory >= 0:
            os.close(memory)
        raise FlowRefusedError(
            f"{launch.name}: cannot start {shlex.join(launch.command)}: {error}"
        ) from None
    finally:
        if end >= 0:
            os.close(end)
    return process


def find_client(pid: int, client: str, name: str) -> ClientProcess | None:
    """The process of a client that another server has started; None: it is not that one.

    Its environment tells, so that nobody makes us signal what is none of ours.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return None
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
        group, session = os.getpgid(pid), os.getsid(pid)
        ours = any(_is_told(variable, client) for variable in variables)
    except OSError:  # it has ended
        ours = False
    if not ours:
        os.close(descriptor)
        return None
    alone = group == session != os.getpgrp()
    return ClientProcess(pid, descriptor, Output(name, find_output(pid)), group if alone else 0)


def _is_told(variable: bytes, client: str) -> bool:
    name, _, value = variable.partition(b"=")
    if name != ENVIRONMENT.encode():
        return False
    try:
        told: object = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return False
    return isinstance(told, dict) and told.get("client") == client
