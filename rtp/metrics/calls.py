"""CallsCollector: rooms, broadcasts, and how many more may come."""

from collections import Counter
from collections.abc import Sized

from prometheus_client import Metric

from eventgraph.metrics.collector import TrioCollector, gauge, gauges

from ..codec_pool import codec_pool
from ..rooms import Broadcasts, Rooms
from ..rooms.party import PartyKind


class CallsCollector(TrioCollector):
    """Counts those who are in."""

    def __init__(self, rooms: Rooms, broadcasts: Broadcasts, sessions: Sized, limit: int) -> None:
        """
        Args:
            sessions: those that clients began.
            limit: of them.
        """
        super().__init__()
        self._rooms = rooms
        self._broadcasts = broadcasts
        self._sessions = sessions
        self._limit = limit

    def read(self) -> list[Metric]:
        rooms = self._rooms.by_name.values()
        parties = Counter({(kind.value,): 0 for kind in PartyKind})
        parties.update((party.kind.value,) for room in rooms for party in room.parties.values())
        pool = codec_pool().statistics()
        return [
            gauge("rtp_rooms", "Rooms in which somebody is.", len(rooms)),
            gauges("rtp_room_parties", "Who is in rooms.", "kind", parties),
            gauge("rtp_broadcasts", "Streams that are live.", len(self._broadcasts.streams)),
            gauge("rtp_calls", "Sessions that clients began over HTTP.", len(self._sessions)),
            gauge("rtp_calls_limit", "How many of them there may be.", self._limit),
            gauge("rtp_codec_threads", "Threads for codecs.", pool.total_tokens),
            gauge("rtp_codec_threads_busy", "Those that code.", pool.borrowed_tokens),
            gauge("rtp_codec_tasks_waiting", "Who waits for one.", pool.tasks_waiting),
        ]
