"""Which frames messages travel in, by the scheme of the URL."""

from collections.abc import Callable

from eventgraph.pipes.nng.sp import Message, stream_frame, unix_frame
from eventgraph.pipes.nng.web import masked_web_frame, web_frame
from eventgraph.pipes.url import LOCAL, WEB, Url

Frame = Callable[[Message], tuple[bytes, Message]]
"""Makes a message's head, and what follows it."""


def framing(url: Url, *, dialled: bool) -> Frame:
    """For who has dialled that URL, or listens there."""
    if url.scheme in WEB:
        return masked_web_frame if dialled else web_frame
    return unix_frame if url.scheme in LOCAL else stream_frame
