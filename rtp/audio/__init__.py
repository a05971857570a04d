"""Sound, without I/O and without a clock: codecs, rates, files.

::

    shared_encoding  frame_encoder     encoders, and who shares them
    codecs  g711                       sound to payloads and back
    media_file  wav                    sound from files and to them
    resampling  sample_queue           at any rate, in pieces of any length
    loudness                           how loud
    one_core                           FFmpeg without threads of its own
"""
