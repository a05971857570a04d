"""How a pull dials a push over WebSocket: the opening handshake, and the frames of a message.

Source: RFC 6455, sections 4.2 and 5.2; nanomsg/rfcs, sp-websocket-mapping-01.
"""

from base64 import b64encode
from hashlib import sha1

from eventgraph.pipes.nng.sp import Message

PROTOCOL = "push.sp.nanomsg.org"  # what the listening side is
MAX_REQUEST = 8192  # bytes of the request, headers and all
END = b"\r\n\r\n"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
MAX_FRAME = 64 << 10  # bytes; as nng sends them
CONTINUATION, BINARY, FINAL = 0x00, 0x02, 0x80

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def web_frame(message: Message) -> tuple[bytes, Message]:
    """A message as it goes over the wire: the head, and what follows it.

    A large one goes in several frames, as nng refuses frames of more than 1 MiB.
    """
    size = len(message)
    if size <= MAX_FRAME:
        return _head(BINARY | FINAL, size), message
    parts: list[Message] = []
    for start in range(0, size, MAX_FRAME):
        part = memoryview(message)[start : start + MAX_FRAME]
        first = (CONTINUATION if start else BINARY) | (FINAL if start + len(part) == size else 0)
        parts += (_head(first, len(part)), part)
    return b"", b"".join(parts)


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")


def web_request(authority: str, path: str, key: str) -> bytes:
    """What a pull that dials asks for; ``key`` is 16 random bytes in base64."""
    return (
        f"GET {path or '/'} HTTP/1.1\r\nHost: {authority}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    ).encode()


def web_answer(request: bytes, path: str) -> bytes:
    """What to answer to such a request.

    Raises:
        ValueError: it is none, or for another path.
    """
    line, headers = _head_of(request)
    words = line.split(" ")  # nng asks for nothing at all where the path is /
    if words[::2] != ["GET", "HTTP/1.1"] or (words[1] or "/") != (path or "/"):
        raise ValueError(f"it asks for {line[:80]!r}")
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or PROTOCOL not in offered:
        raise ValueError("it is no pull socket over WebSocket")
    if headers.get("sec-websocket-version") != "13" or not headers.get("sec-websocket-key"):
        raise ValueError("it speaks another version of WebSocket")
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {_accept(headers['sec-websocket-key'])}\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    ).encode()


def check_answer(answer: bytes, key: str) -> None:
    """Whether the other side is a push socket over WebSocket.

    Raises:
        ValueError: it is none.
    """
    line, headers = _head_of(answer)
    if line.split(" ")[:2] != ["HTTP/1.1", "101"]:
        raise ValueError(f"it answers {line[:80]!r}")
    if headers.get("sec-websocket-accept") != _accept(key):
        raise ValueError("it does not speak WebSocket")
    if headers.get("sec-websocket-protocol") != PROTOCOL:
        raise ValueError("it is no push socket over WebSocket")


def _head_of(text: bytes) -> tuple[str, dict[str, str]]:
    """The first line, and the headers with names in lower case."""
    line, *fields = text.removesuffix(END).decode("ascii").split("\r\n")
    headers = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.strip().lower()] = value.strip()
    return line, headers


def _accept(key: str) -> str:
    # SHA-1 is what the RFC says; it protects nothing.
    return b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
