"""MediaContext: what nodes of a composition get from outside, and how far they may reach."""

from pathlib import Path

from .endpoint_leases import EndpointLeases


class MediaContext:
    """Give it to `eventgraph.language.compose` as ``context``.

    Attributes:
        endpoints: of RTP sources and sinks; None: there can be none.
    """

    def __init__(
        self, endpoints: EndpointLeases | None = None, *, directory: Path | None = None
    ) -> None:
        """
        Args:
            directory: paths in texts are below it, and none leads out; None: any path goes,
                relative to the working directory. Give one if others may write texts.
        """
        self.endpoints = endpoints
        self._directory = directory

    def path(self, text: str) -> Path:
        """Where a file is that a text names; the directory is made if need be.

        Raises:
            ValueError: outside the directory.
            OSError: there is no directory to be had.
        """
        if self._directory is None:
            return Path(text)
        self._directory.mkdir(parents=True, exist_ok=True)
        root = self._directory.resolve()
        path = (root / text).resolve()
        if not path.is_relative_to(root) or path == root:
            raise ValueError(f"path is {text!r}: give one below {str(self._directory)!r}")
        return path
