"""Asking small models whether they do what they are for, on clips that no recipe trained them on.

Each model that ships has a measure: a function that draws held-out clips, lets the model work on them, and holds the
results against what is true. A model of one's own, or a LoRA, is measured in the same way in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .held_out import held_out_seeds

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much; to cancel, raise from it."""


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    seeds: int = 0  # how many held-out clips; 0 is the measure's own number
    first: int = 0  # of the held-out clips
    model: str | Path = ""  # a checkpoint in place of the one that ships
    lora: str | Path = ""  # a LoRA in place of the one that ships
    steps: int = 0  # of sampling; 0 is the model's own number
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("seeds", "first", "steps"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name} is {value}. Give a whole number from 0 on.")

    def held_out(self, own: int) -> range:
        """The seeds to measure on, where `own` is the measure's own number of them."""
        return held_out_seeds(self.seeds or own, self.first)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A result over all clips, and what it has to be for the model to do what it is for."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.at_least is not None:
            return f"at least {self.at_least:g}{unit}"
        return f"at most {self.at_most:g}{unit}" if self.at_most is not None else ""

    @property
    def holds(self) -> bool | None:
        """None where nothing is wanted. What is not a number holds nothing."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most if self.at_most is not None else None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came out: a row for each clip, and the numbers of all of them together."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[float | int | str, ...], ...]
    numbers: tuple[Number, ...]

    def number(self, name: str) -> float:
        return next(number.value for number in self.numbers if number.name == name)

    @property
    def holds(self) -> bool:
        return all(number.holds is not False for number in self.numbers)

    def record(self) -> dict[str, Any]:
        """All of it as JSON holds it, which has no word for what is no number."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [[_finite(cell) for cell in row] for row in self.rows],
            "numbers": [
                asdict(number) | {"value": _finite(number.value), "holds": number.holds} for number in self.numbers
            ],
        }


Measure = Callable[[MeasuringOptions, OnProgress], Measurement]

MEASURES: Mapping[str, tuple[str, str]] = {
    "svd": ("measuring_motion", "measure_motion"),
    "svd-moon-lora": ("measuring_phases", "measure_phases"),
    "clip": ("measuring_retrieval", "measure_retrieval"),
    "sv3d_p": ("measuring_views", "measure_paths"),
    "sv3d_u": ("measuring_views", "measure_turns"),
}
"""By the name of the model that ships: the module here and the function in it, imported when it is asked for."""
NOT_FOR: Mapping[str, tuple[str, ...]] = {
    "svd": ("lora",),
    "clip": ("lora", "steps"),
    "sv3d_p": ("lora",),
    "sv3d_u": ("lora",),
}
"""The options that mean nothing to a measure."""


def measure(
    name: str,
    options: MeasuringOptions = MeasuringOptions(),
    on_progress: OnProgress = lambda title, done, total: None,
) -> Measurement:
    """Measure a model that ships, or another in its place."""
    found = measure_of(name)
    for option in NOT_FOR.get(name, ()):
        if getattr(options, option):
            raise ValueError(f"{option} means nothing to the measure of {name}. Leave it out.")
    return found(options, on_progress)


def _finite(cell: float | int | str) -> float | int | str | None:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def measure_of(name: str) -> Measure:
    if name not in MEASURES:
        raise ValueError(f"There is no measure called {name!r}. Choose one of {', '.join(MEASURES)}.")
    module, function = MEASURES[name]
    found: Measure = getattr(import_module(f".{module}", __package__), function)
    return found


def as_text(measurement: Measurement) -> str:
    """The measurement as a table to read."""
    lines = [measurement.title, "", *_table([measurement.columns, *measurement.rows]), ""]
    results = [(_result(number), number.wanted, _judged(number)) for number in measurement.numbers]
    names = [number.name for number in measurement.numbers]
    lines += _table([(name, *result) for name, result in zip(names, results, strict=True)], left=4)
    return "\n".join(lines) + "\n"


def _result(number: Number) -> str:
    return f"{_shown(number.value)} {number.unit}".rstrip()


def _judged(number: Number) -> str:
    return {True: "holds", False: "DOES NOT HOLD", None: ""}[number.holds]


def _table(rows: Sequence[Sequence[Any]], left: int = 1) -> list[str]:
    """Lines with columns below each other, the first `left` of them flush left."""
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return "-" if cell != cell else f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}"
    return str(cell)
