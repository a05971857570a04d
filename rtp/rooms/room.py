"""Room: one mixer, and the parties round it."""

import itertools

import msgspec
import trio

from eventgraph import Address, Graph

from ..nodes import AudioMixer
from .party import Party, PartyKind

SPEAKING_LEVEL = 45
"""In -dBov: what is louder counts as speech; a quiet room is at 60 and more."""


class PartyView(msgspec.Struct, frozen=True):
    """A party, as others may know of it.

    Attributes:
        connected: whether media flows.
        speaks, hears, shows: whether it may be heard, hears, has pictures.
        level: of what it says now, 0..127 in -dBov (RFC 6464): 127 is silence.
        speaking: whether that is loud enough for speech.
    """

    id: str
    kind: PartyKind
    connected: bool
    speaks: bool
    hears: bool
    shows: bool
    level: int
    speaking: bool


class Room:
    """A mixer, and who is in the room.

    Attributes:
        name: of the room.
        parties: by id.
        closing: whether nobody can come in any more.
        closed: set when its place is free for another room of this name.
        mixer: where its node is.
        sample_rate: of the mixer, Hz.
    """

    def __init__(self, graph: Graph, name: str, sample_rate: int) -> None:
        self.name = name
        self.parties: dict[str, Party] = {}
        self.sample_rate = sample_rate
        self._mixer = AudioMixer(f"room/{name}", "mixer", sample_rate=sample_rate)
        self._delegate = graph.add_node(self._mixer)
        self.mixer: Address = self._delegate.address
        self._taken: set[str] = set()
        self._empty = trio.Event()
        self.closing = False
        self.closed = trio.Event()

    def reserve(self, name: str) -> str:
        """An id for a newcomer: its name, with a number if there is one of that name."""
        names = itertools.chain((name,), (f"{name}-{n}" for n in itertools.count(2)))
        party_id = next(wanted for wanted in names if wanted not in self._taken)
        self._taken.add(party_id)
        return party_id

    def scope_of(self, party_id: str) -> str:
        """Where the nodes of a party are."""
        return f"{self.mixer.scope}/{party_id}"

    def admit(self, party: Party) -> None:
        """A party has come in."""
        self.parties[party.id] = party

    def release(self, party_id: str) -> None:
        """It has left, or has not come in the end: the id is free again."""
        self.parties.pop(party_id, None)
        self._taken.discard(party_id)
        if self.closing and self.is_empty:
            self._empty.set()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in it, or on the way in."""
        return not self._taken

    def close(self) -> None:
        """Let nobody in any more, and ask the mixer to leave the graph. Idempotent."""
        self.closing = True
        if self.is_empty:
            self._empty.set()
        self._delegate.request_exit()

    async def wait_mixer_left(self) -> None:
        """Wait until the mixer is no longer in the graph."""
        await self._delegate.wait_exited()

    async def wait_empty(self) -> None:
        """Wait until everybody has left; after `close`."""
        await self._empty.wait()

    def view(self) -> list[PartyView]:
        """Everybody in it, in the order in which they came."""
        levels = self._mixer.statistics().levels
        views = []
        for party in self.parties.values():
            level = levels.get(party.scope, 127)
            views.append(
                PartyView(
                    party.id,
                    party.kind,
                    party.connected,
                    party.speaks,
                    party.hears,
                    party.shows,
                    level,
                    level < SPEAKING_LEVEL,
                )
            )
        return views
