"""Envelopes: what two servers say to each other after they know who is who."""

from eventgraph.flows.authentication.sealing import Sealer
from eventgraph.flows.server.peer_protocol import Envelope


class EnvelopeSeal:
    """Both directions of one session.

    Args:
        key: None: nothing is sealed.
    """

    def __init__(self, session: bytes, key: bytes | None) -> None:
        self.session = session
        self._questions = Sealer(key, b"question") if key is not None else None
        self._answers = Sealer(key, b"answer") if key is not None else None

    def question(self, number: int, data: bytes) -> Envelope:
        """To be asked."""
        return self._close(self._questions, number, data)

    def answer(self, number: int, data: bytes) -> Envelope:
        """To the question with that number."""
        return self._close(self._answers, number, data)

    def read_question(self, envelope: Envelope) -> bytes:
        """What is asked.

        Raises:
            AuthenticationError: it was not sealed by the other side.
        """
        return self._open(self._questions, envelope)

    def read_answer(self, envelope: Envelope) -> bytes:
        """What is answered. Raises as `read_question`."""
        return self._open(self._answers, envelope)

    def _close(self, sealer: Sealer | None, number: int, data: bytes) -> Envelope:
        content = data if sealer is None else bytes(sealer.seal(data, self._context(number)))
        return Envelope(self.session, number, content)

    def _open(self, sealer: Sealer | None, envelope: Envelope) -> bytes:
        if sealer is None:
            return envelope.content
        return bytes(sealer.unseal(envelope.content, self._context(envelope.number)))

    def _context(self, number: int) -> bytes:
        return self.session + number.to_bytes(8, "little")
