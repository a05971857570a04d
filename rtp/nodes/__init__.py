"""Media nodes; what their events mean stands in `rtp.media`.

network      RtpSource    packets of an endpoint  -> RTP, END
             RtpSink      RTP                     -> packets of an endpoint
any event    Forwarder    passes on
             Echo         gives media back, later
             PubSub       fans out to subscribers that come and go
sound        G711Decoder  RTP -> PCM              G711Encoder  PCM -> RTP
             AudioDecoder RTP -> PCM, any codec   AudioEncoder PCM -> RTP, in threads
             ToneSource   -> PCM
             Player       a file -> PCM, END
             LevelMeter   PCM -> a property
             WavRecorder  PCM -> a file
rooms        MixerInput   RTP or PCM -> a voice in a room
             AudioMixer   voices -> PCM, mix-minus for each party
"""

from .audio_decoder import AudioDecoder
from .audio_encoder import AudioEncoder
from .audio_mixer import AudioMixer
from .echo import Echo
from .forwarder import Forwarder
from .g711 import G711Decoder, G711Encoder
from .level_meter import LevelMeter
from .mixer_input import MixerInput
from .player import Player
from .pubsub import PubSub
from .sink import RtpSink
from .source import RtpSource
from .tone import ToneSource
from .wav_recorder import WavRecorder

__all__ = [
    "AudioDecoder",
    "AudioEncoder",
    "AudioMixer",
    "Echo",
    "Forwarder",
    "G711Decoder",
    "G711Encoder",
    "LevelMeter",
    "MixerInput",
    "Player",
    "PubSub",
    "RtpSink",
    "RtpSource",
    "ToneSource",
    "WavRecorder",
]
