"""Video: pictures to packets, and packets to pictures.

    codecs                     images to encoded frames, and back; for threads
    packetizer                 a frame's payloads to packets
    frames                     packets to whole encoded frames
        vp8  h264                  one encoding: payloads of a frame, and what is in them
            fragment                   what of a frame one packet holds

Only `codecs` runs a codec. `rtp.reorder` puts packets in order; sound goes through it as well.
"""
