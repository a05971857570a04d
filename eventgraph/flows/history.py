"""History: what a provider still has of what it sent, by timestamp.

The timestamps of a provider only go up, so blocks are sorted as they come: nothing is to be done
for a block that nobody asks for, and to find one takes a binary search.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from itertools import islice
from operator import attrgetter

from eventgraph.flows.outlet import Record

_timestamp = attrgetter("timestamp")


class History:
    """The last blocks.

    Args:
        size: records that are kept.
        stands: whether a block can still be read: its slot may have been written anew.
    """

    def __init__(self, size: int, stands: Callable[[Record], bool]) -> None:
        self._records: deque[Record] = deque(maxlen=size)
        self._stands = stands
        self.add = self._records.append

    def between(self, first: int, last: int, limit: int) -> list[Record]:
        """The latest blocks with timestamps from first to last, both included; in order."""
        records = self._records
        start = bisect_left(records, first, key=_timestamp)
        end = bisect_right(records, last, key=_timestamp)
        newest_first = islice(reversed(records), len(records) - end, len(records) - start)
        chosen = list(islice(filter(self._stands, newest_first), limit))
        return chosen[::-1]
