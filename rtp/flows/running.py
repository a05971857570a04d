"""Running a command of flows: what all of them need of trio, signals and errors."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rtp.flows.errors import FlowCommandError

if TYPE_CHECKING:
    import trio

    from eventgraph.flows import FlowClient
    from rtp.interruption import Interruption


PROBLEM_GLANCE: Final = 5.0  # seconds between two looks whether other machines can be found


class Command(Protocol):
    """What a command does, with what it was given."""

    async def run(self, interruption: "Interruption") -> int: ...


def run_command(make: Callable[[], Command]) -> int:
    """Run a command until its end: the exit status.

    Raises:
        FlowCommandError: it did not work.
        RtpError: standard input or output did not.
    """
    import trio

    from eventgraph.flows import FlowError
    from eventgraph.pipes import PipeError
    from rtp.interruption import run_interruptibly

    begin_logging()
    try:
        return trio.run(run_interruptibly, make().run)
    except (FlowError, PipeError) as error:
        raise in_one_line(error) from error
    except BaseExceptionGroup as group:  # the client has failed, and so what it was used for
        errors = list(_leaves(group))
        if not all(isinstance(error, FlowError) for error in errors):
            raise
        raise in_one_line(_cause(errors)) from group


def counted(number: int, what: str) -> str:
    """As in "1 block" or "2 blocks"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def begin_logging() -> None:
    """Warnings go to standard error."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)


def in_one_line(error: BaseException) -> FlowCommandError:
    """As the command line says it."""
    return FlowCommandError(" ".join(str(error).split()))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _cause(errors: list[BaseException]) -> BaseException:
    """Something was closed because of another."""
    from eventgraph.flows import FlowClosedError

    return next((error for error in errors if not isinstance(error, FlowClosedError)), errors[0])


@asynccontextmanager
async def working(client: "FlowClient", interruption: "Interruption") -> AsyncIterator[None]:
    """For a block that a signal ends, or somebody who wants this client to end."""
    from eventgraph.background import open_background
    from eventgraph.flows import FlowClosedError
    from rtp.standard_streams import note

    with interruption.work() as scope:
        try:
            async with open_background() as nursery:
                nursery.start_soon(_end_when_asked, client, scope)
                nursery.start_soon(_follow_problem, client, await _tell_problem(client))
                yield
        except FlowClosedError:
            if not client.leaving.is_set():
                raise
    if client.leaving.is_set():
        note("ended: somebody has asked for it", verbose=True)


async def _follow_problem(client: "FlowClient", told: str) -> None:
    import trio

    while True:
        await trio.sleep(PROBLEM_GLANCE)
        told = await _tell_problem(client, told)


async def _tell_problem(client: "FlowClient", told: str = "") -> str:
    """Say it when the server does not find the others, and when it does; what was told last."""
    from eventgraph.flows import FlowError
    from rtp.standard_streams import note

    try:
        problem = (await client.look(everywhere=False)).machines[0].problem
    except FlowError:  # who needs a server says so itself
        return told
    if problem != told:
        text = f"warning: {problem}" if problem else "other machines can be found again"
        note(text, verbose=True)
    return problem


async def _end_when_asked(client: "FlowClient", scope: "trio.CancelScope") -> None:
    await client.leaving.wait()
    scope.cancel()
