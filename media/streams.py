"""Clips as streams: frames that come one by one, and what every writer asks of them."""

import itertools
from collections.abc import Callable, Iterable, Iterator

from .errors import MediaError
from .pictures import Pixels, check_pixels

OnFrame = Callable[[int, Pixels | None], None]
"""Told how many frames are done, and the last of them or None; to cancel, it raises."""


def nobody_listens(done: int, frame: Pixels | None) -> None:
    """What `on_frame` is where nobody asks."""


def with_first(frames: Iterable[Pixels]) -> tuple[Pixels, Iterator[Pixels]]:
    """Look at the first frame without losing it."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise MediaError("The clip has no frames, so there is nothing to write.")
    check_pixels(first)
    return first, itertools.chain([first], rest)


def check_same_size(frame: Pixels, index: int, height: int, width: int) -> None:
    check_pixels(frame)
    if frame.shape[:2] != (height, width):
        raise MediaError(
            f"Frame {index} is {frame.shape[1]}x{frame.shape[0]}, but the first one is {width}x{height}. The frames "
            "of a clip have one size: resize them first."
        )
