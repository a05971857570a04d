"""The nodes of `rtp.nodes` for the node language: their types, properties, formats, converters.

    audio/rtp    RTP packets of sound      audio/pcm    `AudioFrame`
    video/rtp    RTP packets of pictures   video/raw    `av.VideoFrame`
    event/dtmf   keys of a telephone       event/level  speech and silence
    audio/voice  a voice in a room         request/keyframe  against the stream

Costs of converters are about their microseconds for 20 ms of sound or a picture, measured on
one machine. G.711's own cost more than those for any codec, which do all that they can do.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from eventgraph import Node
from eventgraph.formats import Capabilities
from eventgraph.language import Registry

from . import nodes
from .endpoint_leases import FORMATS, EndpointLease, EndpointSettings
from .leased_nodes import RtpSink, RtpSource
from .media_context import MediaContext
from .payload_format import GRAPH_FORMATS

RTP_SOUND: Final = "audio/rtp"
PCM: Final = "audio/pcm"
RTP_PICTURES: Final = "video/rtp"
PICTURES: Final = "video/raw"
KEYS: Final = "event/dtmf"
LEVEL: Final = "event/level"
VOICE: Final = "audio/voice"
KEYFRAME: Final = "request/keyframe"

_PASSES_ON: Final = Capabilities(passes_on=True)
_PAYLOAD_TYPES: Final = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 96}
_PICTURE_TYPES: Final = {"VP8": 97, "H264": 99}

PayloadType = Annotated[int, msgspec.Meta(ge=0, le=127)]


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class EndpointOptions(_Options, frozen=True):
    """Of `rtp_source` and `rtp_sink`: those with one endpoint, by default one a scope, share it."""

    endpoint: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    host: str | None = None
    port: Annotated[int, msgspec.Meta(ge=0, le=65534, multiple_of=2)] | None = None
    listener: str | None = None  # HOST:PORT, of IPv6 [HOST]:PORT


class DecoderOptions(_Options, frozen=True):
    """Of `audio_decoder`."""

    sample_rate: Annotated[int, msgspec.Meta(ge=8000, le=192000)] = 8000  # Hz


class EncoderOptions(_Options, frozen=True):
    """Of `audio_encoder`."""

    encoding: Literal["PCMU", "PCMA", "G722", "opus"] = "PCMU"
    payload_type: PayloadType | None = None


class PictureOptions(_Options, frozen=True):
    """Of `video_encoder`."""

    encoding: Literal["VP8", "H264"] = "VP8"
    payload_type: PayloadType | None = None
    bit_rate: int = 1_000_000
    max_width: int = 1920
    max_height: int = 1080
    mtu: int = 1200
    key_interval: float = 10.0
    request_interval: float = 0.5


def media_registry() -> Registry:
    """A registry with all of `rtp.nodes`; compose with a `MediaContext`."""
    registry = Registry()
    register_media(registry)
    return registry


def register_media(registry: Registry) -> None:
    """Let texts name the nodes of `rtp.nodes`.

    Raises:
        ValueError: one of the names is taken.
    """
    _register_network(registry)
    _register_sound(registry)
    _register_pictures(registry)
    for name, node_class in (
        ("echo", nodes.Echo),
        ("forwarder", nodes.Forwarder),
        ("pubsub", nodes.PubSub),
    ):
        registry.register(name, node_class, capabilities=_PASSES_ON)


def _register_network(registry: Registry) -> None:
    for name, node_class, capabilities in (
        ("rtp_source", RtpSource, Capabilities((RTP_SOUND,), ())),
        ("rtp_sink", RtpSink, Capabilities((), (RTP_SOUND,))),
    ):
        registry.register(
            name,
            node_class,
            options=EndpointOptions,
            make=partial(_make_leased, node_class),
            capabilities=capabilities,
        )


def _register_sound(registry: Registry) -> None:
    add = registry.register
    sound = (PCM,)
    add("tone_source", nodes.ToneSource, capabilities=Capabilities(sound, ()))
    add("level_meter", nodes.LevelMeter, capabilities=Capabilities((), sound))
    add("silence_detector", nodes.SilenceDetector, capabilities=Capabilities((LEVEL,), sound))
    add("playout", nodes.Playout, capabilities=Capabilities(sound, (RTP_SOUND,)))
    add("dtmf_receiver", nodes.DtmfReceiver, capabilities=Capabilities((KEYS,), (RTP_SOUND,)))
    add("dtmf_sender", nodes.DtmfSender, capabilities=Capabilities((RTP_SOUND,), (RTP_SOUND, KEYS)))
    add("mixer_input", nodes.MixerInput, capabilities=Capabilities((VOICE,), (RTP_SOUND, PCM)))
    add("audio_mixer", nodes.AudioMixer, capabilities=Capabilities(sound, (VOICE,)))
    for name, node_class, capabilities in (
        ("player", nodes.Player, Capabilities(sound, ())),
        ("wav_recorder", nodes.WavRecorder, Capabilities((), sound)),
    ):
        add(name, node_class, make=_with_path(node_class), capabilities=capabilities)
    add(
        "audio_decoder",
        nodes.AudioDecoder,
        options=DecoderOptions,
        make=_make_decoder,
        converts=(RTP_SOUND, PCM),
        cost=30,
    )
    add(
        "audio_encoder",
        nodes.AudioEncoder,
        options=EncoderOptions,
        make=_make_encoder,
        converts=(PCM, RTP_SOUND),
        cost=115,
    )
    add("g711_decoder", nodes.G711Decoder, converts=(RTP_SOUND, PCM), cost=1000)
    add("g711_encoder", nodes.G711Encoder, converts=(PCM, RTP_SOUND), cost=1000)


def _register_pictures(registry: Registry) -> None:
    registry.register(
        "video_decoder",
        nodes.VideoDecoder,
        capabilities=Capabilities((PICTURES, KEYFRAME), (RTP_PICTURES,)),
        converts=(RTP_PICTURES, PICTURES),
        cost=5000,
    )
    registry.register(
        "video_encoder",
        nodes.VideoEncoder,
        options=PictureOptions,
        make=_make_picture_encoder,
        capabilities=Capabilities((RTP_PICTURES,), (PICTURES, KEYFRAME)),
        converts=(PICTURES, RTP_PICTURES),
        cost=20000,
    )
    registry.register(
        "recorder",
        nodes.Recorder,
        make=_with_path(nodes.Recorder),
        capabilities=Capabilities((KEYFRAME,), (RTP_SOUND, PCM, RTP_PICTURES, PICTURES)),
    )


def _make_leased(
    node_class: type[RtpSource] | type[RtpSink],
    scope: str,
    name: str,
    options: EndpointOptions,
    context: Any,
) -> Node:
    endpoints = context.endpoints if isinstance(context, MediaContext) else None
    if endpoints is None:
        raise ValueError("compose with a MediaContext that has endpoints")
    listener = None if options.listener is None else _host_and_port(options.listener)
    settings = EndpointSettings(options.host, options.port, listener)
    lease: EndpointLease = endpoints.lease(options.endpoint or scope, settings)
    return node_class(scope, name, lease)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535:
        raise ValueError(f"listener is {text!r}: give HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _with_path(node_class: type[Node]) -> Callable[[str, str, Any, Any], Node]:
    def make(scope: str, name: str, options: Any, context: Any) -> Node:
        keywords = msgspec.structs.asdict(options)
        if isinstance(context, MediaContext):
            keywords["path"] = context.path(keywords["path"])
        return node_class(scope, name, **keywords)

    return make


def _make_decoder(scope: str, name: str, options: DecoderOptions, _context: Any) -> Node:
    return nodes.AudioDecoder(scope, name, formats=FORMATS, sample_rate=options.sample_rate)


def _make_encoder(scope: str, name: str, options: EncoderOptions, _context: Any) -> Node:
    number = _PAYLOAD_TYPES[options.encoding]
    payload_type = number if options.payload_type is None else options.payload_type
    return nodes.AudioEncoder(scope, name, wanted=FORMATS[number], payload_type=payload_type)


def _make_picture_encoder(scope: str, name: str, options: PictureOptions, _context: Any) -> Node:
    keywords = msgspec.structs.asdict(options)
    number = _PICTURE_TYPES[keywords.pop("encoding")]
    given = keywords.pop("payload_type")
    return nodes.VideoEncoder(
        scope,
        name,
        wanted=GRAPH_FORMATS[number],
        payload_type=number if given is None else given,
        **keywords,
    )
