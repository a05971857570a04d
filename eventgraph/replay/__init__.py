"""Record and replay: what passed links of a running graph, kept in a file, happens again.

RecordEncoder    events of taps become records
Recording        a file of them, read up to its last whole record
ObjectCodec      which objects can be recorded, and how
run_virtually    like ``trio.run``, on a clock that jumps, with every step in the same order
Replay           the recorded events, delivered at their times
"""

from eventgraph.replay.errors import RecordingError, UnrecordableError
from eventgraph.replay.objects import ObjectCodec
from eventgraph.replay.player import Replay
from eventgraph.replay.reading import RecordedEvent, Recording
from eventgraph.replay.records import RecordEncoder, RecordingEnd
from eventgraph.replay.virtual import run_virtually

__all__ = [
    "ObjectCodec",
    "RecordEncoder",
    "RecordedEvent",
    "Recording",
    "RecordingEnd",
    "RecordingError",
    "Replay",
    "UnrecordableError",
    "run_virtually",
]
