"""A room's sound, without I/O and without a clock: each party hears the others.

::

    mix_minus  mixed_frame             a room's frame, and who hears what of it
    packet_voice  frame_voice  voice   what a party says, frame by frame
"""
