"""An invisible watermark in the colours of a clip, which the invisible-watermark package reads as its "dwtDct".

A square of 8x8 pixels carries one bit; the bits repeat, row by row, over the whole picture, and whoever reads takes a
vote. What carries the bit is the bluest of the square's 2x2 cells: the mean colour of such a cell is a coefficient of
a Haar transform, and the bit is the half of a step of 36 in which that coefficient lies. (The name promises a cosine
transform; the package takes none for this method.)

Here the blue alone moves, so brightness stays as it was. A cell whose blue has no room left is moved as a whole, which
keeps its blueness: white grounds carry the mark, where the package's own are cut off. Fine detail stays as well, where
the package exchanges what is upright with what is level.

Axes: f frames, h height, w width, c channels; n squares, k the 16 cells of a square, p the 4 pixels of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor

from .errors import MediaError
from .memory import room_for_clip
from .pictures import check_clip, not_a_number, to_bytes

Bits = tuple[bool, ...]

SQUARE = 8  # pixels of a side; in it 4x4 cells of 2x2 pixels
FEWEST_PIXELS = 256 * 256  # of a picture that the package takes
HALVED = np.sqrt(0.5)  # twice applied
STEP = 36.0  # a coefficient in the step's first half means 0, in its second half 1
MARGIN = 2.0  # by which the cell that carries the bit is bluer than the others; rounding to bytes moves one by 1
BLUEST = 470.0  # a coefficient; pure blue has 478, and nothing can be bluer
LUMA = (0.299, 0.587, 0.114)
# Blueness is 0.492 (blue - luma) + 128, in bytes, as in OpenCV. One more of it, at the same luma and redness, is:
BLUENESS = 0.492
ONE_BLUER = (0.0, -LUMA[2] / LUMA[1] / BLUENESS, 1 / BLUENESS)  # red, green, blue in bytes
LONGEST_TEXT = 64  # bytes that a reader who is told no length looks for
PRICE_OF_A_BIT = 2.0  # in likelihood, so that a longer text is found only where the votes ask for it
SURE = 0.012  # evidence per vote above which there is a text; of 400 pictures without a mark the most had 0.008


def bits_of(number: int, length: int) -> Bits:
    """The binary digits of a number, the highest first."""
    return tuple(bool(number >> place & 1) for place in reversed(range(length)))


REFERENCE_NUMBER = 0xB3EC907BB19E
REFERENCE_BITS = bits_of(REFERENCE_NUMBER, 48)
"""What Stability AI's scripts write into every frame."""
FEWEST_REFERENCE_BITS = 40  # of the 48; chance has that many right in one of 600 000 readings


@dataclass(frozen=True)
class Reading:
    bits: Bits
    agreement: float  # the share of the votes that are as the majority has it; chance alone gives a little over a half

    def matches(self, bits: Bits) -> int:
        """How many bits are as in these."""
        return sum(read == known for read, known in zip(self.bits, bits, strict=True))


def bits_of_text(text: str) -> Bits:
    """The bits of a text in UTF-8, as `WatermarkEncoder.set_by_bytes` of the package takes them."""
    if not text:
        raise MediaError("The text of the watermark is empty. Write what the frames are to say, such as a name.")
    return tuple(bit for byte in text.encode() for bit in bits_of(byte, 8))


def embed(clip: Tensor, bits: Bits, on_frame: Callable[[int, Tensor], None] = lambda done, frame: None) -> Tensor:
    """Give the (f h w c) clip in 0..1 with the bits in every frame; grey becomes colour, alpha stays as it is.

    `on_frame` is told how many frames are done, and the last of them; to cancel, raise from it.
    """
    squares = _squares(clip, len(bits))
    _, height, width, channels = clip.shape
    marked = room_for_clip(
        len(clip), height, width, max(3, channels), remedy="Mark fewer frames at a time.", device=clip.device
    )
    bit_of_square = torch.tensor(bits, device=clip.device).repeat(-(-squares // len(bits)))[:squares]
    for index, frame in enumerate(clip):
        if frame.isnan().any():
            raise not_a_number(index)
        marked[index] = frame  # a grey frame's one channel fills all three
        covered = marked[index, : height // SQUARE * SQUARE, : width // SQUARE * SQUARE, :3]
        covered.copy_(_with_bits(covered, bit_of_square))
        on_frame(index + 1, marked[index])
    return marked


def read_bits(clip: Tensor, length: int) -> Reading:
    """Read so many bits from a (f h w c) clip in 0..1; the frames vote together."""
    _squares(clip, length)
    return _count(_votes(clip), length)


def read_text(clip: Tensor, length_bytes: int = 0) -> str | None:
    """Read a text from a (f h w c) clip in 0..1: what is written there, or None if that is no text.

    With a length of 0 the reader finds it, as the one with which the votes repeat: a text that repeats itself is then
    read once ("ho" for "hoho"), as both leave the same mark.
    """
    squares = _squares(clip, max(1, length_bytes) * 8)
    votes = _votes(clip)
    if length_bytes:
        return _as_text(_count(votes, length_bytes * 8).bits)
    lengths = [8 * length for length in range(1, min(LONGEST_TEXT, squares // 16) + 1)]
    evidence, length = max((_evidence(votes, length), length) for length in lengths)
    return _as_text(_count(votes, length).bits) if evidence > SURE * votes.size else None


@dataclass(frozen=True)
class Found:
    text: str  # "" where there is none; the number of the reference's mark where it is that
    is_there: bool
    agreement: float


def find(clip: Tensor, length_bytes: int = 0) -> Found:
    """Look for the reference's mark in a (f h w c) clip in 0..1, then for a text, of that length if it is known."""
    reading = read_bits(clip, len(REFERENCE_BITS))
    if reading.matches(REFERENCE_BITS) >= FEWEST_REFERENCE_BITS:
        return Found(f"0x{REFERENCE_NUMBER:X}", True, reading.agreement)
    text = read_text(clip, length_bytes)
    if not text:
        return Found("", False, reading.agreement)
    return Found(text, True, read_bits(clip, len(bits_of_text(text))).agreement)


def _squares(clip: Tensor, length: int) -> int:
    """How many bits a picture of the clip carries; refuses what is too small for the mark."""
    check_clip(clip)
    _, height, width, _ = clip.shape
    squares = (height // SQUARE) * (width // SQUARE)
    if length < 1:
        raise MediaError(f"The watermark has {length} bits. It needs at least one.")
    if height * width < FEWEST_PIXELS:
        raise MediaError(
            f"The pictures are {width}x{height}, too small for the watermark: its readers refuse less than 65536 "
            "pixels, such as 256x256. Enlarge the clip, or leave the watermark out."
        )
    if squares < length:
        raise MediaError(
            f"Pictures of {width}x{height} have room for {squares} bits, but the watermark has {length}. Choose a "
            "shorter text or larger pictures."
        )
    return squares


def _with_bits(frame: Tensor, bits: Tensor) -> Tensor:
    """Mark a (h w 3) frame in 0..1 whose sides are whole squares with its (n) bits."""
    blueness = BLUENESS * 255 * (frame[..., 2] - frame @ frame.new_tensor(LUMA)) + 128
    squares_of_a_row = frame.shape[1] // SQUARE
    cells = rearrange(blueness, "(i y p) (j x q) -> (i j) (y x) (p q)", i=frame.shape[0] // SQUARE, y=4, x=4, p=2, q=2)
    coefficients = cells.sum(-1) / 2
    bluer = (_carrying(coefficients, bits) - coefficients) / 2  # a coefficient is twice the mean
    bluer = repeat(bluer, "(i j) (y x) -> (i y p) (j x q) 1", j=squares_of_a_row, y=4, p=2, q=2)
    marked = frame + bluer * frame.new_tensor(ONE_BLUER) / 255
    # The same amount on all three channels moves brightness alone, so that the mark outlives the bounds of bytes.
    too_bright, too_dark = marked.amax(-1, keepdim=True) - 1, -marked.amin(-1, keepdim=True)
    inside = (marked - too_bright.clamp(min=0) + too_dark.clamp(min=0)).clamp(0, 1)
    return torch.where(bluer == 0, frame, inside)


def _carrying(coefficients: Tensor, bits: Tensor) -> Tensor:
    """Change (n k) coefficients as little as it takes for each row to read as its (n) bit.

    A reader looks for the largest one, without the first. It goes to the middle of the nearest half step above or below
    that means the bit, whichever asks for less; going down, it may push others before it.
    """
    values, places = coefficients[:, 1:].max(dim=1, keepdim=True)
    middle = STEP * (0.25 + 0.5 * rearrange(bits, "n -> n 1").to(values))
    below = middle + STEP * ((values - middle) / STEP).floor()
    candidates = []
    for target in (below, below + STEP):
        changed = coefficients.minimum(target - MARGIN)
        changed[:, 0] = coefficients[:, 0]
        changed.scatter_(1, places + 1, target)
        effort = (changed - coefficients).square().sum(1, keepdim=True)
        candidates.append((changed, torch.where(target > BLUEST, torch.inf, effort)))
    (lower, effort_down), (higher, effort_up) = candidates
    return torch.where(effort_down <= effort_up, lower, higher)


def _votes(clip: Tensor) -> NDArray[np.bool_]:
    """The (f n) bits that the squares of all frames say, each read from bytes as OpenCV makes them blueness."""
    return np.stack([_votes_of_frame(pixels[..., :3]) for pixels in to_bytes(clip)])


def _votes_of_frame(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    import cv2

    height, width = (side // SQUARE * SQUARE for side in pixels.shape[:2])
    blueness = cv2.cvtColor(np.ascontiguousarray(pixels[:height, :width]), cv2.COLOR_RGB2YUV)[..., 1]
    # A coefficient may lie right on a step's edge. These are the operations of PyWavelets, so that it falls to the side
    # to which it falls for the package.
    rows = HALVED * blueness[0::2] + HALVED * blueness[1::2]
    coefficients = HALVED * rows[:, 0::2] + HALVED * rows[:, 1::2]
    squares = rearrange(coefficients, "(i y) (j x) -> (i j) (y x)", y=4, x=4)
    return squares[:, 1:].max(axis=1) % STEP > STEP / 2


def _count(votes: NDArray[np.bool_], length: int) -> Reading:
    """Take the vote of (f n) bits that repeat with a length. The bound is the package's."""
    ones, cast = _ballots(votes, length)
    bits = ones * 255 > cast * 127
    return Reading(tuple(bool(bit) for bit in bits), float(np.where(bits, ones, cast - ones).sum() / cast.sum()))


def _evidence(votes: NDArray[np.bool_], length: int) -> float:
    """How much better (f n) votes are explained by bits that repeat with a length than by none.

    That is twice the logarithm of the ratio of likelihoods, less a price for each bit: chance alone gains about 1 with
    each, so of lengths that explain equally well, as a text's and its double, the shortest is best.
    """
    gained = _surprise(*_ballots(votes, 1)) - _surprise(*_ballots(votes, length))
    return 2 * gained - PRICE_OF_A_BIT * (length - 1)


def _surprise(ones: NDArray[np.int64], cast: NDArray[np.int64]) -> float:
    """The negative logarithm of the votes' likelihood, each place having the share of ones that it shows."""
    zeros = cast - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nan_to_num(ones * np.log(cast / ones)) + np.nan_to_num(zeros * np.log(cast / zeros))
    return float(parts.sum())


def _ballots(votes: NDArray[np.bool_], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each of the bits: how many votes say 1, and how many were cast."""
    frames, squares = votes.shape
    place = np.arange(squares) % length
    ones = np.bincount(place, weights=votes.sum(axis=0), minlength=length).astype(np.int64)
    return ones, np.bincount(place, minlength=length) * frames


def _as_text(bits: Sequence[bool]) -> str | None:
    try:
        text = np.packbits(bits).tobytes().decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
