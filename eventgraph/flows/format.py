"""Format: what the blocks of a flow contain, a type with parameters."""

import math
from typing import Final

import msgspec

from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.key import check_name

MAX_PARAMETERS: Final = 32
MAX_TEXT: Final = 256  # characters of a parameter that is a text
KNOWN_TYPES: Final = ("AUDIO", "VIDEO", "MULTIAUDIO", "RAW")

Parameter = str | int | float


class FlowFormat(msgspec.Struct, frozen=True):
    """A type, and what is to be known of it.

    Types that come with converters: ``AUDIO`` with ``rate`` (Hz), ``channels``, ``sample``
    (``s16``, ``s32``, ``f32``, ``mulaw``, ``alaw``; interleaved); ``VIDEO`` with ``width``,
    ``height`` (pixels) and ``pixels`` (a pixel format of FFmpeg's, rows without padding).
    ``MULTIAUDIO``, ``RAW`` and any other type are passed as they are.

    Raises:
        FlowNameError: the type or a parameter cannot be a name.
        FlowOptionError: a value is no text, integer or finite number, or there are too many; or
            the type is one of those, but for upper and lower case.
    """

    type: str = "RAW"
    parameters: dict[str, Parameter] = {}

    def __post_init__(self) -> None:
        check_name("type", self.type)
        if self.type not in KNOWN_TYPES and self.type.upper() in KNOWN_TYPES:
            raise FlowOptionError(
                f"the type {self.type!r} would be one of its own: write {self.type.upper()}"
            )
        if len(self.parameters) > MAX_PARAMETERS:
            raise FlowOptionError(f"{self.type}: more than {MAX_PARAMETERS} parameters")
        for name, value in self.parameters.items():
            check_name("parameter", name)
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise FlowOptionError(f"{self.type}: {name}={value!r} is no text and no number")
            if isinstance(value, float) and not math.isfinite(value):
                raise FlowOptionError(f"{self.type}: {name}={value} is not finite")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise FlowOptionError(f"{self.type}: {name}={value} does not fit into 64 bits")
            if isinstance(value, str) and not (len(value) <= MAX_TEXT and value.isprintable()):
                raise FlowOptionError(f"{self.type}: {name} is too long, or not printable")

    @classmethod
    def parse(cls, text: str) -> "FlowFormat":
        """Read ``AUDIO``, or ``AUDIO,rate=48000,channels=2``; what looks like a number is one.

        Raises:
            FlowNameError, FlowOptionError: it is none.
        """
        type_, *parts = text.split(",")
        parameters: dict[str, Parameter] = {}
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals or name in parameters:
                raise FlowOptionError(
                    f"{part!r} in {text!r}: give each parameter once, as name=value"
                )
            parameters[name] = _number_or_text(value)
        return cls(type_, parameters)

    def fits(self, wanted: "FlowFormat") -> bool:
        """Whether blocks of this format satisfy who wants that: every parameter that is named."""
        return self.type == wanted.type and all(
            self.parameters.get(name) == value for name, value in wanted.parameters.items()
        )

    def __hash__(self) -> int:
        return hash((self.type, frozenset(self.parameters.items())))

    def __str__(self) -> str:
        """As `parse` reads it, parameters by name."""
        parts = [f"{name}={value}" for name, value in sorted(self.parameters.items())]
        return ",".join([self.type, *parts])


def _number_or_text(text: str) -> Parameter:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
