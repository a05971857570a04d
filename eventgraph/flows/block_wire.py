"""What passes between a provider and a consumer: a datagram holds one or more such messages.

     0      1      2      4        8        12               20               28
    +------+------+------+--------+--------+----------------+----------------+- - - -
    | kind | flags| slot | length | request| sequence       | timestamp      | payload
    +------+------+------+--------+--------+----------------+----------------+- - - -

Little-endian. Provider to consumer: INLINE carries the block itself, ``length`` bytes of payload;
SLOT has no payload, but says where in the ring the block stands, ``length`` bytes of it; the
consumer holds that slot until it has sent RELEASE. ``request`` is 0 for what is live; else it
answers a HISTORY of that number, and DONE ends the answer. The timestamp is in nanoseconds,
signed; the sequence number counts all blocks of a provider from 0. The flag LOSSLESS says that
the provider waits for its consumers, so that they must not drop blocks either. A provider that
ends closes the socket.

Consumer to provider: RELEASE, with ``slot``; HISTORY, with ``request``, at most ``length`` blocks
from ``sequence`` (as a signed timestamp) to ``timestamp``, the latest of them; LEAVE: it wants
nothing more, but holds slots still, and closes the socket when it has given them back. These
have no payload. What is neither whole nor sensible ends the connection.

Small blocks that are sent in quick succession share a datagram, since what costs is the number
of system calls; a lone one never waits for another.
"""

import struct
from typing import Final

HEADER: Final = struct.Struct("<BBHIIqq")
pack = HEADER.pack
unpack = HEADER.unpack_from

INLINE: Final = 1
SLOT: Final = 2
DONE: Final = 3
RELEASE: Final = 4
HISTORY: Final = 5
LEAVE: Final = 6

LOSSLESS: Final = 1

MAX_INLINE: Final = 64 << 10  # bytes of a block; a datagram must fit into a socket's buffer
MAX_DATAGRAM: Final = HEADER.size + MAX_INLINE
MAX_RETURNS: Final = 64  # messages in a datagram from a consumer
