"""MixMinus: each party of a room hears the others. Without I/O or a clock.

The sound of all parties is one array, a row a party, so that a frame costs a few numpy calls
however many they are:

    party 0  [ ......... ]                         mix 0 = sum - party 0
    party 1  [ 000000000 ]  --sum once, minus-->   mix 1 = sum - party 3
    party 2  [ not there ]     each speaker        mix 2 = sum, for parties 1, 2 and all others
    party 3  [ ......... ]

Who is silent, listens only, or is late hears the plain sum, and they all share it: what is to be
encoded is one mix for each speaker, and one more.

The clock is the caller's: `mix` never waits. A row that was not written since the mix before is
missing; it is faded out over a few frames and then silent.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import SILENCE_LEVEL, levels_of, mean_squares, power_at
from ..packet import MAX_CSRC

Frames = NDArray[np.int16]
"""Parties (or mixes) x samples."""
Samples = NDArray[np.int16]
"""Flat."""
Limiter = Callable[[NDArray[np.int32]], Frames]

FADE_FRAMES: Final = 3
"""Times that a missing party's last frame is repeated, at half the amplitude each time; so 20 ms
frames are gone after 60 ms, as in ITU-T G.711 appendix I. What repeats for longer drones."""
_SILENT: Final = FADE_FRAMES + 1  # age of a row of zeros, of which nothing is expected

_KNEE = 24576  # where soft_limit begins to bend: -2.5 dBFS
_ROOM = 32767 - _KNEE


def clip(sums: NDArray[np.int32]) -> Frames:
    """Cut what is beyond 16 bits."""
    return np.clip(sums, -32768, 32767).astype(np.int16)


def soft_limit(sums: NDArray[np.int32]) -> Frames:
    """Bend what is beyond -2.5 dBFS towards full scale, which is never exceeded.

    It depends on nothing but the sample, so there is no step between frames. Sounds better than
    `clip`, and costs more only while somebody is that loud.
    """
    loud = np.abs(sums) > _KNEE
    if not loud.any():
        return sums.astype(np.int16)
    limited = sums.copy()
    beyond = sums[loud]
    bent = _KNEE + _ROOM * np.tanh((np.abs(beyond) - _KNEE) / _ROOM)
    limited[loud] = np.copysign(bent, beyond)
    return limited.astype(np.int16)


class Mix(msgspec.Struct, frozen=True):
    """What a room sounds like during one frame.

    Attributes:
        outputs: the distinct mixes, int16, mixes x samples. The last one is the sum of all
            speakers, for everyone who does not speak.
        mix_of: by party, the row of `outputs` that it hears.
        levels: by party, 0..127 in -dBov (RFC 6464).
        speakers: the parties that are in the mix, loudest first.
    """

    outputs: Frames
    mix_of: NDArray[np.intp]
    levels: NDArray[np.uint8]
    speakers: NDArray[np.intp]

    def heard_by(self, party: int) -> Samples:
        """The samples for a party; shared with all who hear the same, so not to be changed."""
        samples: Samples = self.outputs[self.mix_of[party]]
        return samples

    def contributors_to(self, party: int) -> list[int]:
        """The parties in what `party` hears, loudest first, at most as fit in a CSRC list."""
        loudest: list[int] = self.speakers[: MAX_CSRC + 1].tolist()
        return [speaker for speaker in loudest if speaker != party][:MAX_CSRC]


def mix(frames: Frames, *, quietest: int = SILENCE_LEVEL, limiter: Limiter = clip) -> Mix:
    """Mix one frame of a room.

    Args:
        frames: int16, parties x samples, at least one sample; zeros for who says nothing.
        quietest: level in -dBov (0..127) at which a party is left out of the mix and hears the
            shared one. 127 leaves out digital silence only, which nobody can hear.
        limiter: from sums to 16 bits.
    Raises:
        ValueError: the level is out of range.
    """
    powers = mean_squares(frames)
    audible = np.flatnonzero(powers > power_at(quietest))
    speaking = frames if len(audible) == len(frames) else frames[audible]
    sums = np.empty((len(audible) + 1, frames.shape[1]), np.int32)
    total = sums[-1]
    np.add.reduce(speaking, axis=0, dtype=np.int32, out=total)
    np.subtract(total, speaking, out=sums[:-1])
    mix_of = np.full(len(frames), len(audible), np.intp)
    mix_of[audible] = np.arange(len(audible))
    speakers = audible[np.argsort(-powers[audible], kind="stable")]
    return Mix(limiter(sums), mix_of, levels_of(powers), speakers)


def decode_all(payloads: Sequence[bytes], decode: Callable[[bytes], Samples]) -> Frames:
    """Decode payloads of equal length, a row each, in one go.

    Args:
        decode: such as `decode_pcmu`: one sample an octet.
    Raises:
        ValueError: their lengths differ.
    """
    if len(set(map(len, payloads))) > 1:
        raise ValueError(f"payloads have {sorted(set(map(len, payloads)))} octets: pass equal ones")
    return decode(b"".join(payloads)).reshape(len(payloads), -1)


def encode_all(outputs: Frames, encode: Callable[[Samples], bytes]) -> list[bytes]:
    """Encode each row, in one go.

    Args:
        encode: such as `encode_pcmu`: one octet a sample.
    """
    octets = encode(outputs.reshape(-1))
    size = outputs.shape[1]
    return [octets[start : start + size] for start in range(0, len(octets), size)]


class Room:
    """The rows of the parties of one room, and their mix each frame.

    A party keeps its number until it leaves; then a newcomer may get it. The array grows by
    doubling, and never shrinks.

    Attributes:
        faded: frames that were missing and replaced by the fading one before, over all parties.
    """

    __slots__ = ("_ages", "_frames", "_free", "_limiter", "_parties", "_quietest", "_rows", "faded")

    def __init__(
        self,
        frame_samples: int,
        *,
        capacity: int = 8,
        quietest: int = SILENCE_LEVEL,
        limiter: Limiter = clip,
    ) -> None:
        """
        Args:
            frame_samples: samples in a frame, such as 160 for 20 ms at 8 kHz.
            capacity: parties to have room for at once.
            quietest, limiter: as in `mix`.
        Raises:
            ValueError: a number is out of range.
        """
        if frame_samples < 1 or capacity < 1:
            raise ValueError(
                f"frame_samples is {frame_samples} and capacity {capacity}: give at least 1"
            )
        power_at(quietest)
        self.faded = 0
        self._quietest = quietest
        self._limiter = limiter
        self._frames: Frames = np.zeros((capacity, frame_samples), np.int16)
        # Mixes since a row was written to, or _SILENT.
        self._ages: NDArray[np.int8] = np.full(capacity, _SILENT, np.int8)
        self._parties: set[int] = set()
        self._free: list[int] = []
        self._rows = 0  # that were ever in use

    def __len__(self) -> int:
        """Parties in the room."""
        return len(self._parties)

    @property
    def capacity(self) -> int:
        """Parties that there is room for without reallocating."""
        return len(self._frames)

    def join(self) -> int:
        """Add a party; returns its number, the lowest that is free."""
        if self._free:
            party = heapq.heappop(self._free)
        else:
            party = self._rows
            self._rows += 1
            if party == self.capacity:
                self._frames = np.concatenate((self._frames, np.zeros_like(self._frames)))
                self._ages = np.concatenate((self._ages, np.full_like(self._ages, _SILENT)))
        self._parties.add(party)
        return party

    def leave(self, party: int) -> None:
        """Take a party out; it is not in the next mix.

        Raises:
            KeyError: it is not in the room.
        """
        self.write_silence(party)
        self._parties.remove(party)
        heapq.heappush(self._free, party)

    def write(self, party: int, samples: Samples) -> None:
        """Set what a party says in the next frame; of several the last one counts.

        Args:
            samples: flat, int16, `frame_samples` of them; they are copied.
        Raises:
            KeyError: the party is not in the room.
            ValueError: another shape or type.
        """
        if party not in self._parties:
            raise KeyError(f"party {party} is not in the room: join first")
        row = self._frames[party]
        if samples.shape != row.shape or samples.dtype != np.int16:
            raise ValueError(
                f"samples are {samples.dtype} of shape {samples.shape}: "
                f"pass {len(row)} of int16, flat"
            )
        row[:] = samples
        self._ages[party] = 0

    def write_all(self, parties: Sequence[int], frames: Frames) -> None:
        """As `write`, for several parties in one go.

        Args:
            frames: int16, a row for each of `parties`; they are copied.
        Raises:
            KeyError: a party is not in the room.
            ValueError: another shape or type.
        """
        if not self._parties.issuperset(parties):
            raise KeyError(f"not all of the parties {parties} are in the room: join first")
        if frames.shape != (len(parties), self._frames.shape[1]) or frames.dtype != np.int16:
            raise ValueError(
                f"frames are {frames.dtype} of shape {frames.shape}: "
                f"pass int16, {len(parties)} x {self._frames.shape[1]}"
            )
        rows = np.array(parties, np.intp)
        self._frames[rows] = frames
        self._ages[rows] = 0

    def write_silence(self, party: int) -> None:
        """Set that a party says nothing until it is written to again: then nothing is missing.

        Raises:
            KeyError: the party is not in the room.
        """
        if party not in self._parties:
            raise KeyError(f"party {party} is not in the room: join first")
        self._frames[party] = 0
        self._ages[party] = _SILENT

    def mix(self) -> Mix:
        """Mix what was written since the last time; to be called once a frame, whoever is late.

        `Mix.mix_of` and `Mix.levels` have an element for each number up to the highest in use.
        """
        frames, ages = self._frames[: self._rows], self._ages[: self._rows]
        late = np.flatnonzero((ages > 0) & (ages < _SILENT))
        if len(late):
            frames[late] >>= 1
            self.faded += len(late)
        mixed = mix(frames, quietest=self._quietest, limiter=self._limiter)
        frames[ages == FADE_FRAMES] = 0
        ages[ages < _SILENT] += 1
        return mixed
