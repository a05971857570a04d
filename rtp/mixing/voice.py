"""Voice: what one party says in a room, a room's frame at a time. Without I/O or a clock.

Sound arrives when it likes, and the room takes a frame when it is due. A voice stands between::

    packets -> JitterBuffer --gather--> decoder --render--> a frame
    frames  -> SampleQueue  ----------------------render--> a frame

`gather` decides what is played, and belongs to the thread that `put` is called on. `render` does
the decoding; where that is `heavy` it may run in another thread, while `put` goes on. Where it is
so light that calling it costs most, the room does it for all who speak alike (`undecoded`).
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from ..media import Samples
from ..playout import JitterStatistics

JOIN: Final = 40
"""In `Event.cmd`, with a `Voice`: it is part of the room from now on, until it is not open."""

Decode = Callable[[bytes], Samples]


class VoiceStatistics(msgspec.Struct, frozen=True):
    """A voice in numbers, since it began.

    Attributes:
        party: who speaks.
        delay: seconds that its sound waited, as of the last that was played.
        target: seconds; what `delay` is brought to.
        concealed: times that an earlier packet was played, ever fainter, for one that was not
            there; 0 for PCM, whose gaps are in the room's `faded`.
        drops: packets that were not decoded, or frames, by reason: "unknown payload type",
            "undecodable", "overflow".
        jitter: of the jitter buffer; None for PCM.
        level: of the packet that came last, 0..127 in -dBov (RFC 6464); None: it does not tell.
    """

    party: str
    delay: float
    target: float
    concealed: int
    drops: dict[str, int]
    jitter: JitterStatistics | None = None
    level: int | None = None


class Voice(Protocol):
    """What a mixer needs of a party."""

    party: str
    open: bool

    @property
    def ssrc(self) -> int | None:
        """Of what is being played; None if it has none."""

    @property
    def heavy(self) -> bool:
        """Whether what was gathered should be rendered in a worker thread."""

    def gather(self, due: float, frame_samples: int) -> None:
        """Decide what is in the next frame, which is to sound at `due` (seconds)."""

    def undecoded(self, frame_samples: int) -> tuple[Decode, bytes] | None:
        """A payload that is all of the frame, and what decodes many such in one go.

        None: `render` it, this does not apply. Otherwise call `take_decoded` instead.
        """

    def take_decoded(self, samples: Samples) -> None:
        """That payload was decoded to these samples."""

    def render(self, frame_samples: int) -> Samples | None:
        """Its samples; None if there are none in time."""

    def statistics(self) -> VoiceStatistics:
        """The voice in numbers."""
