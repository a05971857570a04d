"""The file that keeps the rules of streams: a JSON list, as ``GET /rules`` shows it.

It is replaced as a whole: whatever happens, it holds the rules before a change or after it.
"""

import errno
import os
from pathlib import Path
from typing import Final

import msgspec

from eventgraph.streams import Rule, StreamNameError
from eventgraph.streams.rule import check_rule

from .errors import StartError, reason

MAX_RULES: Final = 1000
MAX_FEEDS: Final = 1000  # of one rule
MAX_SIZE: Final = 64 * 1024 * 1024  # bytes; ten times what all of those rules usually take
CHUNK: Final = 64 * 1024  # bytes; read() takes memory for all that it is asked for

_DECODER: Final = msgspec.json.Decoder(list[Rule])


class RulesFile:
    """One file, and the one beside it that is to take its place.

    Args:
        path: of the file; a symbolic link is followed. It need not exist.
    Raises:
        StartError: there can be no such path.
    """

    def __init__(self, path: Path) -> None:
        self._named = path
        try:
            self._path = Path(os.path.realpath(path))
        except ValueError as error:  # a NUL within
            raise self._unusable(str(error)) from error
        self._next = self._path.with_name(f".{self._path.name}.next")

    def load(self) -> list[Rule]:
        """What it holds. If there is none it is made, so that a disk that refuses is told now.

        Raises:
            StartError: it can neither be read nor made, or it holds something else than rules.
        """
        try:
            if not self._path.exists():
                self.prepare([])
                self.commit()
                return []
            data = self._read()
            if not os.access(self._path.parent, os.W_OK):
                raise self._unusable("its directory cannot be written to")
        except OSError as error:
            raise self._unusable(reason(error)) from error
        if len(data) > MAX_SIZE:
            raise self._unusable(f"it has more than {MAX_SIZE} bytes")
        try:
            rules = [check_rule(rule) for rule in _DECODER.decode(data)]
        except (msgspec.MsgspecError, StreamNameError, UnicodeDecodeError) as error:
            raise self._unusable(f"it holds no rules: {error}") from error
        if len(rules) > MAX_RULES or any(len(rule.feeds) > MAX_FEEDS for rule in rules):
            raise self._unusable(f"take at most {MAX_RULES} rules of {MAX_FEEDS} feeds each")
        streams = [rule.stream for rule in rules]
        for stream in streams:
            if streams.count(stream) > 1:
                raise self._unusable(f"stream {stream!r} has two rules")
        return rules

    def _read(self) -> bytes:
        """All of it, or what is one byte too long; memory is taken only as it comes."""
        data = bytearray()
        with self._path.open("rb") as file:
            while len(data) <= MAX_SIZE and (chunk := file.read(CHUNK)):
                data += chunk
        return bytes(data)

    def prepare(self, rules: list[Rule]) -> None:
        """Write what the file is to hold after ``commit``, and have it on the disk.

        Raises:
            OSError: the disk refuses.
        """
        data = msgspec.json.format(msgspec.json.encode(rules)) + b"\n"
        if len(data) > MAX_SIZE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        with self._next.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def commit(self) -> None:
        """Put what was prepared in the place of the file.

        Raises:
            OSError: the disk refuses.
        """
        self._next.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _unusable(self, why: str) -> StartError:
        return StartError(
            f"cannot keep rules of streams in {str(self._named)!r}: {why}; "
            "mend it, or set another streams.rules_file in the configuration file"
        )
