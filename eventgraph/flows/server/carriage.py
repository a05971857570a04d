"""Carriage: how a block travels from one machine to another, in an event of a pipe.

     0                8                16
    +----------------+----------------+- - - -
    | sequence       | timestamp      | block
    +----------------+----------------+- - - -

Little-endian, signed; the timestamp in nanoseconds by the clock of the machine that it comes
from. All of it is sealed if the servers have a key.
"""

import struct
from typing import Final

from eventgraph.flows.authentication.sealing import Sealer
from eventgraph.flows.errors import FlowProtocolError

_HEADER: Final = struct.Struct("<qq")
_LABEL: Final = b"blocks"


class Carriage:
    """Of one flow.

    Args:
        secret: 32 bytes that both machines have; empty: nothing is sealed.
    """

    def __init__(self, secret: bytes) -> None:
        self._sealer = Sealer(secret, _LABEL) if secret else None

    def pack(self, sequence: int, timestamp: int, data: memoryview) -> bytes | bytearray:
        """A block, to be sent."""
        packed = _HEADER.pack(sequence, timestamp) + data
        return packed if self._sealer is None else self._sealer.seal(packed)

    def unpack(self, packed: memoryview) -> tuple[int, int, memoryview]:
        """Sequence number, timestamp and block.

        Raises:
            FlowProtocolError: it is none.
            AuthenticationError: it was not sealed by the other side.
        """
        if self._sealer is not None:
            packed = memoryview(self._sealer.unseal(packed))
        if len(packed) < _HEADER.size:
            raise FlowProtocolError(f"{len(packed)} bytes are no block")
        sequence, timestamp = _HEADER.unpack_from(packed)
        return sequence, timestamp, packed[_HEADER.size :]
