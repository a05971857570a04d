"""How figures are written for people."""

from typing import Final

UNITS: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns"))


def duration(ns: float) -> str:
    """Three digits and a unit that fits: 165 ns, 3.41 µs, 12.9 ms."""
    for size, unit in UNITS:
        value = ns / size
        if value >= 0.9995 or size == 1:
            digits = 2 if value < 9.995 and size > 1 else 1 if value < 99.95 else 0
            return f"{value:,.{digits}f} {unit}"
    raise AssertionError("the last unit takes all")
