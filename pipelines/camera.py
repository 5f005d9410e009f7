"""Where the camera stands in each frame of an orbit around an object.

Azimuths say how far around: counter-clockwise as seen from above, and only what lies between a frame and the last one
counts, because the last frame is the view of the input picture. Elevations say how high, above the object's own
horizon; they are absolute, so that of the last frame should be the elevation at which the input picture was taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SV3D_FRAMES = 21
MOST_FRAMES = 4096
HIGHEST_DEG = 90.0
DYNAMIC_WAVES = 84
MOST_ATTEMPTS = 200
EASINGS = ("linear", "smooth", "ease")
Easing = Literal["linear", "smooth", "ease"]


@dataclass(frozen=True)
class CameraPath:
    elevations_deg: tuple[float, ...]
    azimuths_deg: tuple[float, ...]

    def __post_init__(self) -> None:
        elevations, azimuths = len(self.elevations_deg), len(self.azimuths_deg)
        if elevations != azimuths or not elevations:
            raise ValueError(
                f"The camera path has {elevations} elevations and {azimuths} azimuths. It needs one of each per frame."
            )
        for frame, (elevation, azimuth) in enumerate(zip(self.elevations_deg, self.azimuths_deg, strict=True), 1):
            _check_angles(frame, elevation, azimuth)

    def __len__(self) -> int:
        return len(self.azimuths_deg)

    @property
    def turns_deg(self) -> tuple[float, ...]:
        """How far each frame stands around from the last one, in 0..360: the azimuths as the model gets them."""
        return tuple((azimuth - self.azimuths_deg[-1]) % 360 for azimuth in self.azimuths_deg)


@dataclass(frozen=True)
class Keyframe:
    frame: int  # counted from 1
    elevation_deg: float
    azimuth_deg: float


def static_orbit(frames: int = SV3D_FRAMES, elevation_deg: float = 10.0) -> CameraPath:
    """Go around once in equal steps, at one height: the reference's default."""
    _check_frames(frames)
    azimuths = np.linspace(0, 360, frames + 1)[1:] % 360
    return CameraPath((float(elevation_deg),) * frames, _floats(azimuths))


def dynamic_orbit(
    frames: int = SV3D_FRAMES, elevation_deg: float = 5.0, *, sway: float = 1.0, seed: int = 0
) -> CameraPath:
    """Go around once in steps of random length, rising and sinking by a smoothed sum of random sines.

    With a sway of 1 this is the path of Stability AI's streamlit demo after `numpy.random.seed(seed)`; a smaller sway
    rises and sinks by that share of it. Paths that reach a pole are drawn anew.
    """
    _check_frames(frames)
    _check_angles(frames, elevation_deg, 0)
    if not 0 <= sway <= 1:
        raise ValueError(f"sway is {sway}. It goes from 0 (one height) to 1 (as in Stability AI's demo).")
    if not 0 <= seed < 2**32:
        raise ValueError(f"The seed of the camera path is {seed}. It goes from 0 to {2**32 - 1}.")
    # Numpy's old generator, because it is the one that the demo's paths come from; an own one, not the global one.
    chance = np.random.RandomState(seed)
    detail = 4 * frames  # the demo draws 84 places for 21 frames
    for _ in range(MOST_ATTEMPTS):
        swell = _sum_of_sines(chance, detail)
        azimuths = _uneven_steps(chance, detail)
        elevations = _smoothed_around(elevation_deg + swell) * sway + elevation_deg * (1 - sway)
        if np.abs(elevations).max() < HIGHEST_DEG:
            return CameraPath(_floats(np.roll(elevations[::4], -1)), _floats(np.roll(azimuths[::4], -1)))
    raise ValueError(
        f"No path around an elevation of {elevation_deg:g} degrees stays away from the poles. Choose an elevation "
        f"nearer to 0, or a sway smaller than {sway:g}."
    )


def listed(elevations: str, azimuths: str, frames: int = SV3D_FRAMES) -> CameraPath:
    """Read a path from two lists of degrees, such as "10" for all frames, or "0, 20, ... 340" as a series.

    No azimuths at all are an orbit in equal steps.
    """
    _check_frames(frames)
    around = parse_angles(azimuths, frames, "azimuths") if azimuths.strip() else static_orbit(frames).azimuths_deg
    return CameraPath(parse_angles(elevations, frames, "elevations"), around)


def parse_angles(text: str, frames: int, name: str) -> tuple[float, ...]:
    """Read one angle per frame from a list of numbers between commas, spaces or lines; one alone counts for all.

    Three dots continue the step between the two numbers before them: up to the number after them, or to the end.
    """
    words = [word for word in re.split(r"[,;\s]+", text.replace("\u2026", "...").replace("...", " ... ")) if word]
    angles: list[float] = []
    for place, word in enumerate(words):
        if word == "...":
            angles += _series(angles, words[place + 1 :], frames, name)
        else:
            angles.append(_number(word, name))
    if len(angles) == 1 and words == [words[0]]:
        angles *= frames
    if len(angles) != frames:
        raise ValueError(
            f"The list of {name} has {len(angles)} numbers, but there are {frames} frames. Write one number per frame, "
            "or a single one for all."
        )
    return tuple(angles)


def keyframes(keys: Sequence[Keyframe], frames: int = SV3D_FRAMES, easing: Easing = "smooth") -> CameraPath:
    """Move from key to key, and stand still before the first and after the last.

    "linear" changes its speed at a key, "smooth" flows through the keys without going beyond them, "ease" comes to rest
    at each. Azimuths go the way of their numbers: from 0 to 360 is once around, from 0 to -90 is clockwise.
    """
    _check_frames(frames)
    if easing not in EASINGS:
        raise ValueError(f"The easing is {easing!r}. Choose one of {', '.join(EASINGS)}.")
    if not keys:
        raise ValueError("The camera path has no keyframe. Write at least one, such as 1: 10, 0.")
    for key in keys:
        if not 1 <= key.frame <= frames:
            raise ValueError(f"A keyframe is at frame {key.frame}, but the frames are numbered from 1 to {frames}.")
        _check_angles(key.frame, key.elevation_deg, key.azimuth_deg)
    for key, next_key in pairwise(keys):
        if key.frame >= next_key.frame:
            raise ValueError(
                f"The keyframe at frame {next_key.frame} comes after the one at frame {key.frame}. Write them in "
                "order, each frame once."
            )
    places = np.array([key.frame for key in keys], dtype=float)
    angles = np.array([(key.elevation_deg, key.azimuth_deg) for key in keys])
    moved = [_between(np.arange(1, frames + 1.0), places, angles[:, axis], easing) for axis in range(2)]
    return CameraPath(_floats(moved[0]), _floats(moved[1]))


def parse_keyframes(text: str) -> list[Keyframe]:
    """Read keyframes written as "frame: elevation, azimuth", one a line or between semicolons."""
    keys = []
    for entry in filter(None, map(str.strip, re.split(r"[;\n]", text))):
        frame, colon, angles = entry.partition(":")
        numbers = [number for number in re.split(r"[,\s]+", angles.strip()) if number]
        if not colon or not re.fullmatch(r"\s*\d{1,9}\s*", frame, re.ASCII) or len(numbers) != 2:
            raise ValueError(
                f"The keyframe {entry[:60]!r} cannot be read. Write frame: elevation, azimuth, such as 11: 30, 180."
            )
        elevation_deg, azimuth_deg = (_number(number, "keyframes") for number in numbers)
        keys.append(Keyframe(int(frame), elevation_deg, azimuth_deg))
    return keys


def _check_frames(frames: int) -> None:
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"The camera path has {frames} frames. It goes from 1 to {MOST_FRAMES}; SV3D was made for 21.")


def _check_angles(frame: int, elevation_deg: float, azimuth_deg: float) -> None:
    if not -HIGHEST_DEG <= elevation_deg <= HIGHEST_DEG:
        raise ValueError(
            f"The elevation of frame {frame} is {elevation_deg:g} degrees. It goes from -90 (from below) to 90 (from "
            "above)."
        )
    if not math.isfinite(azimuth_deg):
        raise ValueError(f"The azimuth of frame {frame} is {azimuth_deg}, which is no angle. Write degrees.")


def _number(word: str, name: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not word.isascii():
        raise ValueError(
            f"{word[:30]!r} among the {name} is no number. Write degrees with a point for fractions and commas between "
            "them, such as 0, 17.5, 35."
        )
    return number


def _series(before: list[float], after: list[str], frames: int, name: str) -> list[float]:
    """What three dots stand for, given the numbers before them and the words after them."""
    if len(before) < 2:
        raise ValueError(f"The three dots in the list of {name} need two numbers before them, whose step they repeat.")
    start, step = before[-1], before[-1] - before[-2]
    if not after:
        return [start + step * count for count in range(1, max(0, frames - len(before)) + 1)]
    end = _number(after[0], name)
    steps = (end - start) / step if step else math.nan
    whole = round(steps) if math.isfinite(steps) else 0
    if whole < 1 or abs(steps - whole) > 1e-6:
        raise ValueError(
            f"In the list of {name}, steps of {step:g} do not lead from {start:g} to {end:g}. Change one of the "
            "numbers around the three dots."
        )
    return [start + step * count for count in range(1, min(whole, MOST_FRAMES))]


def _sum_of_sines(chance: np.random.RandomState, detail: int) -> NDArray[np.float64]:
    """A random wave in degrees that ends as it began; each sine has 1 to 4 periods and up to 10 degrees."""
    wave = np.zeros(detail)
    for _ in range(DYNAMIC_WAVES):
        periods = chance.randint(1, 5)
        amplitude_deg = chance.uniform(0.5, 10)
        phase = chance.choice([0, np.pi])
        wave += np.sin(np.linspace(0, 2 * np.pi * periods, detail, endpoint=False) + phase) * amplitude_deg
    return wave


def _uneven_steps(chance: np.random.RandomState, detail: int) -> NDArray[np.float64]:
    """Azimuths from 0 to a little less than 360, after random steps."""
    steps = chance.uniform(0, 2, detail - 1)
    end_deg = 360 - 360 / detail * chance.uniform(0, 2)
    return np.insert(np.cumsum(steps * (end_deg / np.sum(steps))), 0, 0)


def _smoothed_around(wave: NDArray[np.float64], window: int = 5) -> NDArray[np.float64]:
    """The mean of each value and its neighbours in a wave that closes."""
    closed = np.concatenate((wave[-window:], wave, wave[:window]))
    return np.convolve(closed, np.ones(window) / window, mode="same")[window:-window]


def _between(
    frames: NDArray[np.float64], places: NDArray[np.float64], angles: NDArray[np.float64], easing: Easing
) -> NDArray[np.float64]:
    """The angle at each frame, by cubic pieces between the keys (Hermite's form)."""
    if len(places) == 1:
        return np.full(len(frames), angles[0])
    if easing == "linear":
        return np.interp(frames, places, angles)
    slopes = np.zeros(len(places)) if easing == "ease" else _gentle_slopes(places, angles)
    piece = np.clip(np.searchsorted(places, frames, side="right") - 1, 0, len(places) - 2)
    wide = places[piece + 1] - places[piece]
    way = np.clip((frames - places[piece]) / wide, 0, 1)
    moved = way * way * (3 - 2 * way)
    leaving, arriving = way * (1 - way) ** 2, way * way * (way - 1)
    bend = (leaving * slopes[piece] + arriving * slopes[piece + 1]) * wide
    return angles[piece] + moved * (angles[piece + 1] - angles[piece]) + bend


def _gentle_slopes(places: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes at the keys with which no piece goes beyond its two keys (Fritsch and Butland 1984)."""
    wide, rise = np.diff(places), np.diff(angles) / np.diff(places)
    slopes = np.concatenate((rise[:1], np.zeros(len(places) - 2), rise[-1:]))
    for key in range(1, len(places) - 1):
        before, after = rise[key - 1], rise[key]
        if before * after > 0:  # at a turning point the slope is zero
            first, second = 2 * wide[key] + wide[key - 1], wide[key] + 2 * wide[key - 1]
            slopes[key] = (first + second) / (first / before + second / after)
    return slopes


def _floats(angles: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(angles.tolist())
