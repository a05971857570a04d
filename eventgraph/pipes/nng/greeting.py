"""How a push comes to terms with who has dialled it; what is no pull is cut."""

import trio

from eventgraph.pipes.nng.connection import Connection
from eventgraph.pipes.nng.sp import GREETING_SIZE, PULL, PUSH, greeting
from eventgraph.pipes.nng.web import END, MAX_REQUEST, REFUSAL, web_answer


async def greet(connection: Connection) -> None:
    """Over TCP, TLS or a Unix socket.

    Raises:
        BrokenResourceError: it is no pull socket, or cut.
    """
    await connection.write(greeting(PUSH))
    heard = b""
    while len(heard) < GREETING_SIZE:
        heard += await connection.read(GREETING_SIZE - len(heard))
    if heard != greeting(PULL):
        raise trio.BrokenResourceError(f"it greets with {heard!r} and is no pull socket")


async def greet_web(connection: Connection, path: str) -> None:
    """Over WebSocket. Raises as `greet`."""
    request = b""
    while not request.endswith(END):
        if len(request) > MAX_REQUEST:
            raise trio.BrokenResourceError(f"its request is larger than {MAX_REQUEST} bytes")
        request += await connection.read(MAX_REQUEST)
    try:
        answer = web_answer(request, path)
    except ValueError as error:
        await connection.write(REFUSAL)
        raise trio.BrokenResourceError(str(error)) from error
    await connection.write(answer)
