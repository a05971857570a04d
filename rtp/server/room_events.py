"""Who is in a room, as JSON, and as a feed that follows it."""

from urllib.parse import quote

import msgspec
from starlette.responses import Response

from rtp.rooms import PartyKind, Rooms
from rtp.rooms.room import PartyView

from .feed import Feed, event


class PartyBody(msgspec.Struct, frozen=True):
    """A `PartyView` as clients get it: `video` is where to watch, None if there is nothing."""

    id: str
    kind: PartyKind
    connected: bool
    speaks: bool
    hears: bool
    video: str | None
    level: int
    speaking: bool


class RoomBody(msgspec.Struct, frozen=True):
    """A room; nobody is in one that there is not."""

    room: str
    parties: list[PartyBody]


Frame = dict[str, bytes]
"""An event for each room in which somebody is."""


class RoomEvents(Feed[Frame]):
    """All rooms, five times a second: often enough for a level meter."""

    interval = 0.2
    max_watchers = 128

    def __init__(self, rooms: Rooms) -> None:
        super().__init__()
        self._rooms = rooms

    async def make(self, before: Frame | None) -> Frame:
        frame = {name: _event(room_body(self._rooms, name)) for name in self._rooms.by_name}
        return before if before == frame and before is not None else frame

    def size(self, frame: Frame) -> int:
        return max(map(len, frame.values()), default=0)

    def answer_for(self, room: str) -> Response:
        """An endless answer for one who watches a room."""
        nobody = _event(RoomBody(room, []))

        def render(seen: Frame | None, frame: Frame) -> bytes:
            now = frame.get(room, nobody)
            return b"" if seen is not None and seen.get(room, nobody) == now else now

        return self.answer(render)


def room_body(rooms: Rooms, name: str) -> RoomBody:
    """Everybody in a room."""
    room = rooms.by_name.get(name)
    return RoomBody(name, [_party_body(name, view) for view in room.view()] if room else [])


def _party_body(room: str, view: PartyView) -> PartyBody:
    path = f"/rooms/{room}/parties/{quote(view.id, safe='')}/video"
    return PartyBody(
        id=view.id,
        kind=view.kind,
        connected=view.connected,
        speaks=view.speaks,
        hears=view.hears,
        video=path if view.shows else None,
        level=view.level,
        speaking=view.speaking,
    )


def _event(body: RoomBody) -> bytes:
    return event("room", 0, msgspec.json.encode(body))
