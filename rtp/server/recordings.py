"""The files of this run: made at once, so that a disk that refuses is told at the start."""

import itertools
import time
from pathlib import Path

from .config import RecordingsConfig
from .errors import StartError, reason


class Recordings:
    """Hands out files that nobody else has: recordings of earlier runs stay.

    Attributes:
        paths: handed out so far.
    """

    def __init__(self, config: RecordingsConfig) -> None:
        self.paths: list[Path] = []
        self._config = config

    def create(self, name: str) -> list[Path]:
        """An empty file for one recorder; none if recording is off.

        Raises:
            StartError: it cannot be made.
        """
        if not self._config.enabled:
            return []
        directory = Path(self._config.directory)
        stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for number in itertools.count(2):
                path = directory / f"{name}-{stamp}.wav"
                try:
                    path.open("xb").close()
                except FileExistsError:
                    stamp = f"{stamp[:19]}-{number}"
                    continue
                self.paths.append(path)
                return [path]
        except OSError as error:
            why = reason(error)
        except ValueError as error:  # a NUL within
            why = str(error)
        raise StartError(
            f"cannot record in {str(directory)!r}: {why}; choose another with --recordings, "
            "or set recordings.enabled = false in the configuration file"
        )
