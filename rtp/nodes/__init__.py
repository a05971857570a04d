"""Media nodes; what their events mean stands in `rtp.media`.

network      RtpSource    packets of an endpoint  -> RTP, END
             RtpSink      RTP                     -> packets of an endpoint
any event    Forwarder    passes on
             PubSub       fans out to subscribers that come and go
sound        G711Decoder  RTP -> PCM              G711Encoder  PCM -> RTP
             ToneSource   -> PCM
             LevelMeter   PCM -> a property
             WavRecorder  PCM -> a file
"""

from .forwarder import Forwarder
from .g711 import G711Decoder, G711Encoder
from .level_meter import LevelMeter
from .pubsub import PubSub
from .sink import RtpSink
from .source import RtpSource
from .tone import ToneSource
from .wav_recorder import WavRecorder

__all__ = [
    "Forwarder",
    "G711Decoder",
    "G711Encoder",
    "LevelMeter",
    "PubSub",
    "RtpSink",
    "RtpSource",
    "ToneSource",
    "WavRecorder",
]
