"""``eventgraph flows new``: the beginning of a client, as a file."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from eventgraph.flows.key import check_name
from rtp.flows.errors import FlowCommandError

Kind = Literal["provider", "consumer", "both"]

EXECUTABLE: Final = 0o755


@dataclass(frozen=True, kw_only=True)
class New:
    """The command, with what it was given."""

    path: Path
    kind: Kind
    application: str

    def run(self) -> int:
        """The exit status. Raises: FlowError, FlowCommandError."""
        path = self.path if self.path.suffix == ".py" else Path(f"{self.path}.py")
        name = check_name("name of a client", path.stem)
        check_name("application", self.application)
        text = skeleton(name, self.kind, self.application)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            path.chmod(EXECUTABLE)
        except FileExistsError:
            raise FlowCommandError(
                f"{path} exists already, and stays as it is: choose another name"
            ) from None
        except OSError as error:
            raise FlowCommandError(f"{path} cannot be written: {error.strerror}") from error
        print(
            f"{path}: a {self._described()}; python {path} runs it, and so does\n"
            f"  eventgraph flows run -a {self.application} -- python {path.absolute()}"
        )
        return 0

    def _described(self) -> str:
        return "provider and consumer" if self.kind == "both" else self.kind


def skeleton(name: str, kind: Kind, application: str) -> str:
    """A program that can be run as it is."""
    text = (resources.files(__package__) / "skeletons" / f"{kind}.txt").read_text("utf-8")
    return text.replace("@NAME@", name).replace("@APPLICATION@", application)
