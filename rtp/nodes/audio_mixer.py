"""AudioMixer: a room in which each party hears the others, paced by absolute deadlines."""

import msgspec
import numpy as np
import trio

from eventgraph import Event

from ..audio.loudness import SILENCE_LEVEL
from ..audio.shared_encoding import SharedMix
from ..media import PCM, Samples
from ..mixing.mix_minus import Limiter, Mix, Room, clip, decode_all
from ..mixing.mixed_frame import MixedFrame, MixPayloads
from ..mixing.voice import JOIN, Decode, Voice, VoiceStatistics
from ..packet import MAX_CSRC
from .paced import PacedNode


class MixerStatistics(msgspec.Struct, frozen=True):
    """A room in numbers.

    Attributes:
        voices: of each party that speaks, by party; several if it has several inputs.
        listeners: links that hear the room.
        speakers: parties in the last frame, loudest first.
        levels: by party, in -dBov (0..127, RFC 6464), in the last frame.
        frames: mixed so far.
        frames_skipped: left out after a stall.
        mixes: distinct ones that were needed for the last frame, for those who listen.
        faded: frames of PCM that were not there in time, and were replaced by the fading one
            before; over all parties.
        concealed: the same for packets, of the parties that are here.
        encoded: frames that were encoded by codecs with a memory, once for all who do not speak.
    """

    voices: dict[str, list[VoiceStatistics]]
    listeners: int
    speakers: list[str]
    levels: dict[str, int]
    frames: int
    frames_skipped: int
    mixes: int
    faded: int
    concealed: int
    encoded: int


class _Seat:
    """A party's row in the room, what it says, and the last frame in which that was heard."""

    __slots__ = ("heard_in", "row", "voices")

    def __init__(self, row: int) -> None:
        self.row = row
        self.heard_in: int | None = None
        self.voices: list[Voice] = []


class AudioMixer(PacedNode):
    """Mixes parties that come and go, and sends each what all others say, as PCM.

    A party is a scope. It speaks through a `MixerInput` there that is linked to the mixer, and
    hears through every node there that the mixer is linked to: a `G711Encoder` for RTP, or
    whatever takes PCM. A scope that does not speak hears everybody; a recorder, for example.

    A frame is mixed at the time that it is due, with what is there: late input is faded out or
    concealed, and delays nobody. Frames are `MixedFrame`; who hears the same gets the same one.
    Who does not speak, and has not done so for a while, shares encoders with a memory, too.
    What it does after a stall, see `PacedNode`.
    """

    max_links = 1024
    channel_size = 1024  # a whole room may join at once

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        sample_rate: int = 8000,
        frame_duration: float = 0.02,
        quietest: int = SILENCE_LEVEL,
        limiter: Limiter = clip,
        resync_after: float = 0.2,
        speaker_hold: float = 1.0,
    ) -> None:
        """
        Args:
            sample_rate: Hz; all inputs are to have the same.
            frame_duration: seconds; a whole number of samples.
            quietest: level in -dBov at which a party is left out of the mix; see `rtp.mixing`.
            limiter: from sums to 16 bits, `clip` or `soft_limit`.
            resync_after: seconds that a frame may be late by.
            speaker_hold: seconds after it was heard for which a party keeps an encoder of its
                own, so that pauses in speech do not make it change encoders.
        Raises:
            ValueError: an option is out of range.
        """
        if not speaker_hold >= 0:
            raise ValueError(f"speaker_hold is {speaker_hold} s: it must not be negative")
        super().__init__(
            scope,
            name,
            sample_rate=sample_rate,
            frame_duration=frame_duration,
            resync_after=resync_after,
        )
        self._room = Room(self.frame_samples, quietest=quietest, limiter=limiter)
        self._seats: dict[str, _Seat] = {}
        self._parties: dict[int, str] = {}  # by row
        self._mix: Mix | None = None
        self._frames = self._listeners = self._mixes = 0
        self._hold = round(speaker_hold / frame_duration)  # frames
        self._everything = SharedMix()
        self._decoding = trio.CapacityLimiter(1)  # of this room; another one has its own

    def statistics(self) -> MixerStatistics:
        """The room in numbers, as of the last frame."""
        voices = {
            party: [voice.statistics() for voice in seat.voices]
            for party, seat in self._seats.items()
        }
        rows = self._parties
        mixed = self._mix
        return MixerStatistics(
            voices=voices,
            listeners=self._listeners,
            speakers=[rows[row] for row in mixed.speakers.tolist() if row in rows] if mixed else [],
            levels={
                rows[row]: level
                for row, level in enumerate(mixed.levels.tolist() if mixed else [])
                if row in rows
            },
            frames=self._frames,
            frames_skipped=self.frames_skipped,
            mixes=self._mixes,
            faded=self._room.faded,
            concealed=sum(voice.concealed for several in voices.values() for voice in several),
            encoded=sum(encoding.encoded for encoding in self._everything.encodings),
        )

    def on_input(self, event: Event) -> None:
        if event.cmd == JOIN:
            self._seat(event.obj)

    def on_exit(self) -> None:
        self._seats.clear()
        self._everything.forget()

    async def on_frame(self) -> None:
        self._unseat_who_left()
        await self._listen(self.due)
        self._mix = self._room.mix()
        self._send(self._mix)
        self._frames += 1

    async def _listen(self, due: float) -> None:
        """Let each party say what it has for the frame that is due."""
        size = self.frame_samples
        alike: dict[Decode, list[tuple[int, Voice, bytes]]] = {}
        others: list[_Seat] = []
        for seat in self._seats.values():
            for voice in seat.voices:
                voice.gather(due, size)
            undecoded = seat.voices[0].undecoded(size) if len(seat.voices) == 1 else None
            if undecoded is None:
                others.append(seat)
            else:
                decode, payload = undecoded
                alike.setdefault(decode, []).append((seat.row, seat.voices[0], payload))
        for decode, said in alike.items():
            rows, speakers, payloads = zip(*said, strict=True)
            frames = decode_all(payloads, decode)
            for voice, samples in zip(speakers, frames, strict=True):
                voice.take_decoded(samples)
            self._room.write_all(rows, frames)
        if others:
            await self._render(others)

    async def _render(self, seats: list[_Seat]) -> None:
        """The same for those who need a decoder of their own."""
        size = self.frame_samples
        heavy = [voice for seat in seats for voice in seat.voices if voice.heavy]
        rendered: dict[int, Samples | None] = {}
        if heavy:
            # All in one go: a hop to a thread and back costs as much as decoding two packets.
            decoded = await trio.to_thread.run_sync(_render, heavy, size, limiter=self._decoding)
            rendered = dict(zip(map(id, heavy), decoded, strict=True))
        for seat in seats:
            said = [
                samples
                for voice in seat.voices
                if (samples := rendered[id(voice)] if id(voice) in rendered else voice.render(size))
                is not None
            ]
            if len(said) == 1:
                self._room.write(seat.row, said[0])
            elif said:
                together = np.sum(said, axis=0, dtype=np.int32)
                self._room.write(seat.row, np.clip(together, -32768, 32767).astype(np.int16))

    def _send(self, mixed: Mix) -> None:
        """Give everyone who listens what is for them; one event for all who hear the same."""
        everything = len(mixed.outputs) - 1
        mix_of: list[int] = mixed.mix_of.tolist()
        payloads = MixPayloads(mixed.outputs)
        csrc_of, csrc = self._contributors(mixed)

        def frame(output: int, csrc: tuple[int, ...], shared: SharedMix | None) -> MixedFrame:
            samples = mixed.outputs[output]
            return MixedFrame(
                samples, self.sample_rate, self.first_sample, csrc, payloads, output, shared
            )

        plain = frame(everything, csrc, self._everything)
        self._everything.note(plain)
        plain_event = Event(PCM, plain)
        kept_event: Event | None = None
        events: dict[int, Event] = {}
        for row in mixed.speakers.tolist():
            if row in self._parties:
                self._seats[self._parties[row]].heard_in = self.frame_number
        deliver = self._delegate.deliver
        links = self._delegate.links
        outputs: set[int] = set()
        for link_id, address in links.items():
            seat = self._seats.get(address.scope)
            output = everything if seat is None else mix_of[seat.row]
            outputs.add(output)
            if output == everything or seat is None:
                event = plain_event
                if seat is not None and self._is_held(seat):
                    # The same, but for encoders of their own; payloads without a memory are one.
                    if kept_event is None:
                        kept_event = Event(PCM, msgspec.structs.replace(plain, shared=None))
                    event = kept_event
            else:
                found = events.get(output)
                if found is None:
                    made = frame(output, csrc_of.get(seat.row, csrc), None)
                    found = events[output] = Event(PCM, made)
                event = found
            deliver(link_id, event)
        self._listeners, self._mixes = len(links), len(outputs)

    def _is_held(self, seat: _Seat) -> bool:
        """Whether a party that is not heard now was so a moment ago."""
        return seat.heard_in is not None and self.frame_number - seat.heard_in <= self._hold

    def _contributors(self, mixed: Mix) -> tuple[dict[int, tuple[int, ...]], tuple[int, ...]]:
        """SSRCs in the mix: by row, for the loudest, who do not hear themselves; for all others.

        One tuple for all others, made once: a list for each of a hundred parties took as long as
        mixing.
        """
        loudest = mixed.speakers[: MAX_CSRC + 1].tolist()
        ssrcs = {
            row: [
                voice.ssrc
                for voice in self._seats[self._parties[row]].voices
                if voice.ssrc is not None
            ]
            for row in loudest
        }

        def without(own: int) -> tuple[int, ...]:
            others = [row for row in loudest if row != own][:MAX_CSRC]
            return tuple([ssrc for row in others for ssrc in ssrcs[row]][:MAX_CSRC])

        return {row: without(row) for row in loudest}, without(-1)

    def _seat(self, voice: Voice) -> None:
        seat = self._seats.get(voice.party)
        if seat is None:
            seat = self._seats[voice.party] = _Seat(self._room.join())
            self._parties[seat.row] = voice.party
        seat.voices.append(voice)

    def _unseat_who_left(self) -> None:
        for party, seat in list(self._seats.items()):
            for voice in seat.voices:  # not all(): a generator for each party costs more
                if not voice.open:
                    break
            else:
                continue
            seat.voices = [voice for voice in seat.voices if voice.open]
            if not seat.voices:
                self._room.leave(seat.row)
                del self._seats[party], self._parties[seat.row]


def _render(voices: list[Voice], frame_samples: int) -> list[Samples | None]:
    return [voice.render(frame_samples) for voice in voices]
