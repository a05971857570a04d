"""Video: pictures to packets, and packets to pictures.

    codecs                     images to encoded frames, and back; for threads
    frames                     packets to whole encoded frames
        vp8  h264                  one encoding: payloads of a frame, and what is in them
            fragment                   what of a frame one packet holds

Only `codecs` runs a codec. `rtp.packetizer` numbers the packets and `rtp.reorder` puts them in
order; sound goes through both as well.
"""
