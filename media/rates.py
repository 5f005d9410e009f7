"""Frame rates, kept exact, and how long each frame is shown where a format counts in coarse units of time."""

import math
from fractions import Fraction
from itertools import pairwise

from .errors import MediaError

SLOWEST, FASTEST = Fraction(1, 100), Fraction(1000)
# The broadcast rates are n * 1000 / 1001, so this is the largest denominator that a camera or an editor writes. Binary
# fractions of a float such as 23.976 come back to what was meant; no clip of hours is off by a millisecond.
LARGEST_DENOMINATOR = 1001
WRITTEN_TO = Fraction(1, 1000)  # people write 23.976 and 29.97 for the broadcast rates


def exact_rate(frames_per_second: Fraction | float) -> Fraction:
    """Give the frame rate that was meant, as 24000/1001 for 23.976."""
    if not math.isfinite(frames_per_second) or not SLOWEST <= frames_per_second <= FASTEST:
        raise MediaError(
            f"frames per second is {_plain(frames_per_second)}. It must be a number from {float(SLOWEST)} to "
            f"{FASTEST}; 24 suits most clips."
        )
    broadcast = (Fraction(whole * 1000, 1001) for whole in (24, 30, 48, 60, 120))
    meant = (rate for rate in broadcast if abs(float(frames_per_second - rate)) < WRITTEN_TO)
    return next(meant, Fraction(frames_per_second).limit_denominator(LARGEST_DENOMINATOR))


def _plain(number: Fraction | float) -> str:
    return str(number) if isinstance(number, int) else f"{float(number):g}"


def delays(frames: int, rate: Fraction, units_per_second: int) -> list[int]:
    """Share out whole units of time over the frames, so that no frame's start is off by more than half a unit.

    30 frames per second in hundredths of a second are 3 4 3 3 4 3 ...
    """
    starts = [math.floor(index * units_per_second / rate + Fraction(1, 2)) for index in range(frames + 1)]
    return [end - start for start, end in pairwise(starts)]
