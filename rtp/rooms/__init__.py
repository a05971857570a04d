"""Rooms and broadcasts: who is in a call, and what of the graph serves them.

    rooms                      rooms by name; a newcomer's offer becomes a party
        room                       one mixer, and the parties round it
            webrtc_party               a browser
            rtp_party                  a caller by plain RTP
    broadcasts                 streams by name: one publishes, many watch
        publisher
            watching                   the session of one who watches, in a room as well
    host                       what both have in common: a block that sends people home
    names                      what rooms, parties and streams may be called

All of a party is in one scope of the graph, ``room/lobby/Alice``, beside the room's own,
``room/lobby`` with its mixer; a stream is ``live/NAME``. So the graph shows who hears whom.
"""

from .broadcasts import Broadcasts
from .names import check_party_name, check_slug
from .party import Party, PartyKind
from .rooms import Rooms
from .watching import Publication, Watcher

__all__ = [
    "Broadcasts",
    "Party",
    "PartyKind",
    "Publication",
    "Rooms",
    "Watcher",
    "check_party_name",
    "check_slug",
]
