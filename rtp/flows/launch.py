"""``eventgraph flows run`` and ``end``: clients that the server looks after."""

import os
from dataclasses import dataclass
from pathlib import Path

from eventgraph.flows import ClientListing, FlowServerError, Launch, Listing, MachineListing
from rtp.flows.errors import FlowCommandError
from rtp.flows.listing import ID_SHOWN, without
from rtp.flows.options import RealmOptions
from rtp.interruption import Interruption
from rtp.pipes.listing import shown


@dataclass(frozen=True, kw_only=True)
class Run:
    """Start a client."""

    realm: RealmOptions
    launch: Launch
    machine: str  # empty: this one

    async def run(self, interruption: Interruption) -> int:
        """The exit status. Raises: FlowError."""
        with interruption.work():
            async with self.realm.open(None, "run") as client:
                id = await client.run(self.launch, self.machine)
                print(f"{self.launch.name} runs as {id}; eventgraph flows end {id[:ID_SHOWN]}")
        return 0


@dataclass(frozen=True, kw_only=True)
class End:
    """Let a client end."""

    realm: RealmOptions
    client: str  # the beginning of its id, or its name

    async def run(self, interruption: Interruption) -> int:
        """The exit status. Raises: FlowError, FlowCommandError."""
        with interruption.work():
            try:
                async with self.realm.open(None, "end", start=False) as client:
                    listing = without(await client.look(), client.id)
                    machine, found = find_client(listing, self.client)
                    await client.end(found.id)
                    print(f"{shown(found.name)} on {shown(machine.name)} was asked to end")
            except FlowServerError as error:
                raise FlowCommandError(f"{error}; without one no client runs") from error
        return 0


def find_client(listing: Listing, text: str) -> tuple[MachineListing, ClientListing]:
    """The one whose id begins so, or that is called so.

    Raises:
        FlowCommandError: there is none, or more than one.
    """
    clients = [(machine, client) for machine in listing.machines for client in machine.clients]
    found = [(m, c) for m, c in clients if c.id == text]
    found = found or [(m, c) for m, c in clients if c.name == text or c.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(_described(*each) for each in clients) or "none"
        raise FlowCommandError(f"there is no client {shown(text)}; there are: {names}")
    names = ", ".join(_described(*each) for each in found)
    raise FlowCommandError(f"there are several clients {shown(text)}, say which by its id: {names}")


def _described(machine: MachineListing, client: ClientListing) -> str:
    return f"{client.id[:ID_SHOWN]} ({shown(client.name)} on {shown(machine.name)})"


def launch_name(command: tuple[str, ...]) -> str:
    """What a client is called that was given no name: its program, or module."""
    program, *rest = command
    if Path(program).name.startswith("python") and rest:
        program = rest[1] if rest[0] == "-m" and len(rest) > 1 else rest[0]
    return Path(program).stem or "client"


def absolute(command: tuple[str, ...]) -> tuple[str, ...]:
    """The same, to be run from any directory: a program that is named by its path."""
    program, *rest = command
    return (os.path.abspath(program) if os.sep in program else program, *rest)
