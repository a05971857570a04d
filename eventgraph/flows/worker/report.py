"""Report: what a worker says of its start, as the only block of a flow."""

from typing import Final

import msgspec

from eventgraph.flows.errors import FlowProtocolError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey

GROUP: Final = "workers"
FORMAT: Final = FlowFormat("WORKER")
MAX_TRACEBACK: Final = 8000  # characters, of its end


class Report(msgspec.Struct, frozen=True):
    """How it went.

    Attributes:
        error: what went wrong; empty: nothing, the nodes are there.
        traceback: of that.
    """

    error: str = ""
    traceback: str = ""


def is_report(key: FlowKey, format: FlowFormat) -> bool:
    """Whether that is the flow of a report; the server keeps no worker for that alone."""
    return key.group == GROUP and format == FORMAT


encode_report: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Report)


def decode_report(data: bytes | memoryview) -> Report:
    """Read one.

    Raises:
        FlowProtocolError: it is none.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FlowProtocolError(f"not a report of a worker: {error}") from None
