"""Settings from a YAML file and from KEY=VALUE: read into a frozen dataclass, its types checked, its names known."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import TrainingError

Settings = TypeVar("Settings")
WHOLE = re.compile(r"[+-]?[0-9]+")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
BUILT_IN = "builtin:"  # what begins so is a model of the pack, and no path
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


def read_settings(cls: type[Settings], file: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Settings of a YAML file, if there is one, with those KEY=VALUE in their place.

    Paths in the file start from its folder; those that were typed, from the current one.
    """
    values = _converted(cls, _read_yaml(file), _told_in(file), file.parent) if file else {}
    values |= _converted(cls, _parsed(overrides), "--set", Path())
    missing = [each.name for each in fields(cls) if each.name not in values and _has_no_default(each)]  # type: ignore[arg-type]
    if missing:
        names = ", ".join(missing)
        if file is None:
            raise TrainingError(
                f"Nothing says {names}. Give a file of settings with --config, or --set {missing[0]}=..."
            )
        raise TrainingError(f"{file} says nothing about {names}. Add a line for each; there is no default.")
    return cls(**values)


def plain(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as what YAML and JSON can hold."""
    return {name: _plain_value(value) for name, value in asdict(settings).items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    return [_plain_value(item) for item in value] if isinstance(value, tuple | list) else value


def _has_no_default(each: Any) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _told_in(file: Path | None) -> str:
    return str(file)


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{file} is not there. Give the path of the YAML file with the settings.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise TrainingError(f"{file} holds no settings. Each line is a name and a value, such as `steps: 500`.")
    return content or {}


def _parsed(overrides: Iterable[str]) -> dict[str, str]:
    parsed = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise TrainingError(f"--set {text!r} is not of the form KEY=VALUE, such as steps=500.")
        parsed[name.strip()] = value.strip()
    return parsed


def _converted(cls: type, values: Mapping[Any, Any], where: str, folder: Path) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    names = [each.name for each in fields(cls)]
    for name in values:
        if name not in names:
            near = get_close_matches(str(name), names, 1)
            meant = f" Did you mean {near[0]}?" if near else f" There are {', '.join(names)}."
            raise TrainingError(f"{where}: there is no setting {name}.{meant}")
    return {name: _Reader(f"{where}: {name}", folder).read(hints[name], value) for name, value in values.items()}


class _Reader:
    """Reads a value as the type that a setting has."""

    def __init__(self, subject: str, folder: Path) -> None:
        self._subject, self._folder = subject, folder

    def read(self, wanted: Any, value: Any) -> Any:
        origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
        if origin is Literal:
            return self._choice(inner, value)
        if origin in (typing.Union, types.UnionType):
            return self._optional(inner, value)
        if origin is tuple:
            return tuple(self.read(inner[0], item) for item in self._items(value))
        readers: dict[Any, Callable[[Any], Any]] = {
            int: self._int,
            float: self._float,
            bool: self._bool,
            str: self._str,
            Path: self._path,
        }
        return readers[wanted](value)

    def _optional(self, inner: tuple[Any, ...], value: Any) -> Any:
        if value is None or value in ("", "none", "null"):
            return None
        (wanted,) = (each for each in inner if each is not type(None))
        return self.read(wanted, value)

    def _choice(self, choices: tuple[str, ...], value: Any) -> str:
        if value in choices:
            return value
        near = get_close_matches(str(value), choices, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise TrainingError(f"{self._subject} is {value}, which is none of {', '.join(choices)}.{meant}")

    def _items(self, value: Any) -> list[Any]:
        """Of a YAML list, of "1, 2, 3", or of one alone."""
        if isinstance(value, str):
            return [item for item in (item.strip() for item in value.strip("[]() ").split(",")) if item]
        return value if isinstance(value, list) else [value]

    def _int(self, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
            return int(value)  # exact, as a seed of 19 digits is not as a float
        number = self._float(value, int)
        if not number.is_integer():
            raise self._refusal(value, int)
        return int(number)

    def _float(self, value: Any, wanted: type = float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self._refusal(value, wanted)
        try:
            number = float(value)  # YAML takes 1e-4, without a point, for a text
        except (ValueError, OverflowError):
            raise self._refusal(value, wanted) from None
        if number != number or number in (float("inf"), -float("inf")):
            raise self._refusal(value, wanted)
        return number

    def _bool(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in (*TRUE, *FALSE):
            return str(value).lower() in TRUE
        raise self._refusal(value, bool)

    def _str(self, value: Any) -> str:
        if isinstance(value, bool | list | dict) or value is None:  # YAML reads a bare `no` as false
            raise self._refusal(value, str, " Put it in quotes if it is meant as it stands.")
        return str(value)

    def _path(self, value: Any) -> Path:
        text = self._str(value)
        if not text:
            raise self._refusal(value, Path)
        return Path(text) if text.startswith(BUILT_IN) else self._folder / Path(text).expanduser()

    def _refusal(self, value: Any, wanted: type, hint: str = "") -> TrainingError:
        return TrainingError(f"{self._subject} is {value!r}, which is not {WORDS[wanted]}.{hint}")
