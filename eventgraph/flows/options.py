"""What a provider and a consumer may be told, each option with its unit and bounds."""

import enum
from typing import Final

import msgspec

from eventgraph.flows.block_wire import MAX_INLINE
from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.ring import MAX_RING_SIZE, MAX_SLOTS

MAX_BACKLOG: Final = 4096  # blocks
MAX_WAIT_CLIENTS: Final = 256


class SlowConsumer(enum.StrEnum):
    """What becomes of blocks for a consumer that takes them too slowly."""

    BLOCK = "block"  # the provider waits for it
    DROP_OLDEST = "drop_oldest"  # it loses the oldest that it has not been given, counted


class ProviderOptions(msgspec.Struct, frozen=True):
    """How a flow is provided.

    Attributes:
        slow_consumer: see `SlowConsumer`.
        slots: of the ring.
        max_block: bytes; larger ones are refused. Memory is used only as far as it is written.
        inline: bytes up to which a block travels in its announcement; 0: all in shared memory.
        backlog: blocks that wait for one consumer before the oldest is dropped.
        history: small blocks that are kept for who asks for the past; those in the ring are
            kept as long as their slot.
        allow_flow_control: whether consumers may stop it.
        wait_clients: it begins when so many different clients have said START.

    Raises:
        FlowOptionError: a value is out of bounds.
    """

    slow_consumer: SlowConsumer = SlowConsumer.DROP_OLDEST
    slots: int = 16
    max_block: int = 1 << 20
    inline: int = 16 << 10
    backlog: int = 64
    history: int = 64
    allow_flow_control: bool = False
    wait_clients: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("slots", 2, MAX_SLOTS),
            ("max_block", 1, MAX_RING_SIZE // 2),
            ("inline", 0, MAX_INLINE),
            ("backlog", 1, MAX_BACKLOG),
            ("history", 0, MAX_BACKLOG),
            ("wait_clients", 0, MAX_WAIT_CLIENTS),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise FlowOptionError(f"{name} is {value!r}; it must be {low} to {high}")
