"""Ring: a fixed number of slots in shared memory, written by one process and read by many.

Not ``multiprocessing.shared_memory``: there a reader that ends takes the segment with it, and a
name stays behind after ``kill -9``. A memfd has no name; it is there as long as somebody has it.
It is sealed: nobody can change its size, and nobody but who made it can write
(F_SEAL_FUTURE_WRITE), so a reader cannot harm the writer or another reader.

    0        4        6        8                16               4096
    +--------+--------+--------+----------------+- - - - - - - --+----------+----------+
    | "EGFR" | version| slots  | slot size      |  zero          | slot 0   | slot 1   |  ...
    +--------+--------+--------+----------------+- - - - - - - --+----------+----------+

Little-endian; the slot size is a multiple of 4096 bytes, so that each slot begins on a page.
"""

import fcntl
import mmap
import os
import struct
from typing import Final

from eventgraph.flows.errors import FlowOptionError, FlowProtocolError, FlowVersionError

PAGE: Final = 4096  # bytes
VERSION: Final = 1
MAX_SLOTS: Final = 1024
MAX_RING_SIZE: Final = 1 << 36  # bytes; a mistake rather than a wish
_MAGIC: Final = b"EGFR"
_HEADER: Final = struct.Struct("<4sHHQ")
_F_SEAL_FUTURE_WRITE: Final = 0x10  # linux/fcntl.h; since Linux 5.1, not named by Python 3.11
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _F_SEAL_FUTURE_WRITE


class Ring:
    """The writer's end. Use `fd` to hand it to readers; it is closed with the ring."""

    def __init__(self, name: str, slots: int, slot_size: int) -> None:
        """Make one.

        Args:
            name: shown by the system beside the memory, for who looks there.
            slots: 1 to 1,024.
            slot_size: bytes that a block may have; made a multiple of a page.
        Raises:
            FlowOptionError: a size is out of bounds, or there is no memory for it.
        """
        slot_size = -(-slot_size // PAGE) * PAGE
        if not 1 <= slots <= MAX_SLOTS:
            raise FlowOptionError(f"a ring of {slots} slots: there can be 1 to {MAX_SLOTS}")
        size = PAGE + slots * slot_size
        if not PAGE < size <= MAX_RING_SIZE:
            raise FlowOptionError(
                f"a ring of {slots} slots of {slot_size} bytes is no size for one"
            )
        self.slots = slots
        self.slot_size = slot_size
        self.size = size  # bytes, in all
        self.fd = -1
        try:
            self.fd = os.memfd_create(f"eventgraph:{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.fd, size)
            memory = mmap.mmap(self.fd, size)
            _HEADER.pack_into(memory, 0, _MAGIC, VERSION, slots, slot_size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        except (OSError, ValueError) as error:
            if self.fd >= 0:
                os.close(self.fd)
            raise FlowOptionError(
                f"no memory for {slots} slots of {slot_size} bytes: {error}"
            ) from None
        self._view = memoryview(memory)

    def slot(self, number: int) -> memoryview:
        """To be written to; as long as a slot."""
        start = PAGE + number * self.slot_size
        return self._view[start : start + self.slot_size]

    def close(self) -> None:
        """Forget it; it is unmapped when nobody writes any more. Readers keep what they have.

        Idempotent.
        """
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            self._view = _NOTHING


class RingView:
    """A reader's end: what the writer sees, read-only and with no copy."""

    def __init__(self, fd: int) -> None:
        """Map what came from elsewhere; takes the descriptor over, also on failure.

        Raises:
            FlowVersionError: of a layout that we do not know.
            FlowProtocolError: it is no ring, or could be changed under our hands.
        """
        try:
            self.slots, self.slot_size = check_ring(fd)
            size = PAGE + self.slots * self.slot_size
            self._view = memoryview(mmap.mmap(fd, size, prot=mmap.PROT_READ))
        except (OSError, ValueError) as error:
            raise FlowProtocolError(f"a ring that cannot be mapped: {error}") from None
        finally:
            os.close(fd)

    def block(self, slot: int, length: int) -> memoryview:
        """What stands in a slot, read-only.

        Raises:
            FlowProtocolError: there is no such place.
        """
        if not 0 <= slot < self.slots or not 0 <= length <= self.slot_size:
            raise FlowProtocolError(f"slot {slot} with {length} bytes is not within the ring")
        start = PAGE + slot * self.slot_size
        return self._view[start : start + length]

    def close(self) -> None:
        """It is unmapped as soon as nobody looks at a block any more. Idempotent."""
        self._view = _NOTHING


def check_ring(fd: int) -> tuple[int, int]:
    """Whether what came from elsewhere is a ring, and safe to read.

    Returns:
        the number of slots, and bytes in each.
    Raises:
        FlowVersionError: of a layout that we do not know.
        FlowProtocolError: it is none, or could be changed under our hands.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        magic, version, slots, slot_size = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
        size = os.fstat(fd).st_size
    except (OSError, struct.error) as error:
        raise FlowProtocolError(f"a descriptor that is no ring: {error}") from None
    if magic != _MAGIC:
        raise FlowProtocolError("a descriptor that is no ring")
    if version != VERSION:
        raise FlowVersionError(f"a ring of version {version}; here it is {VERSION}")
    if seals & _SEALS != _SEALS:
        raise FlowProtocolError("a ring that is not sealed")
    if (
        not (1 <= slots <= MAX_SLOTS and slot_size and slot_size % PAGE == 0)
        or not size == PAGE + slots * slot_size <= MAX_RING_SIZE
    ):
        raise FlowProtocolError(f"a ring of {size} bytes cannot have {slots} slots of {slot_size}")
    return slots, slot_size


_NOTHING = memoryview(b"")
