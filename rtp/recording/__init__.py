"""Recording: sound and pictures that arrive become a file; `rtp.nodes.Recorder` runs it.

inputs                     what arrives, in order and with a place in the file
    clock                      where in the file it belongs
tracks                     packets of a container of it, without seams; for threads
    opus_packet                what an Opus packet says of itself
writer                     sound and pictures in order into the file; for threads
    container                  Ogg, WebM, MP4
    file                       the file, and what the disk says
recorded                   what goes from one to the next
"""
