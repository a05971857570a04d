"""Media nodes; what their events mean stands in `rtp.media`.

network      RtpSource    packets of an endpoint  -> RTP, END
             RtpSink      RTP                     -> packets of an endpoint
any event    Forwarder    passes on
             Echo         gives media back, later
             PubSub       fans out to subscribers that come and go
sound        G711Decoder  RTP -> PCM              G711Encoder  PCM -> RTP
             AudioDecoder RTP -> PCM, any codec   AudioEncoder PCM -> RTP, in threads
             Playout      RTP -> PCM, any codec, in time, through a jitter buffer
             ToneSource   -> PCM
             Player       a file -> PCM, END
             LevelMeter   PCM -> a property
             WavRecorder  PCM -> a file
             SilenceDetector  PCM -> SILENCE, SPEECH
keys         DtmfReceiver RTP -> DTMF             DtmfSender   RTP, DTMF -> RTP
pictures     VideoDecoder RTP -> VIDEO            VideoEncoder VIDEO -> RTP, in threads
files        Recorder     RTP, PCM, VIDEO -> Ogg, WebM, MP4; sound and pictures in sync
rooms        MixerInput   RTP or PCM -> a voice in a room
             AudioMixer   voices -> PCM, mix-minus for each party
"""

from .audio_decoder import AudioDecoder
from .audio_encoder import AudioEncoder
from .audio_mixer import AudioMixer
from .dtmf_receiver import DtmfReceiver
from .dtmf_sender import DtmfSender
from .echo import Echo
from .forwarder import Forwarder
from .g711 import G711Decoder, G711Encoder
from .level_meter import LevelMeter
from .mixer_input import MixerInput
from .player import Player
from .playout import Playout
from .pubsub import PubSub
from .recorder import Recorder, RecorderStatistics
from .silence_detector import SilenceDetector
from .sink import RtpSink
from .source import RtpSource
from .tone import ToneSource
from .video_decoder import VideoDecoder
from .video_encoder import VideoEncoder
from .wav_recorder import WavRecorder

__all__ = [
    "AudioDecoder",
    "AudioEncoder",
    "AudioMixer",
    "DtmfReceiver",
    "DtmfSender",
    "Echo",
    "Forwarder",
    "G711Decoder",
    "G711Encoder",
    "LevelMeter",
    "MixerInput",
    "Player",
    "Playout",
    "PubSub",
    "Recorder",
    "RecorderStatistics",
    "RtpSink",
    "RtpSource",
    "SilenceDetector",
    "ToneSource",
    "VideoDecoder",
    "VideoEncoder",
    "WavRecorder",
]
