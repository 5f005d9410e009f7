"""Clips into GIF files, with one palette made from all frames.

Axes: h height, w width; k colours of the palette. The clip is read twice, once for its colours and once to be written,
so a long one need not lie in memory as bytes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .errors import MediaError
from .files import Target, written_beside
from .palettes import BINS, Histogram, bins_of, choose_palette, nearest_of
from .pictures import Pixels, check_pixels, opaque, to_bytes
from .rates import delays, exact_rate
from .streams import OnFrame, check_same_size, nobody_listens

Indices = NDArray[np.uint8]  # (h w)
Clip = Tensor | Iterable[Pixels] | Callable[[], Iterable[Pixels]]

DITHERS = ("floyd-steinberg", "ordered", "none")
FASTEST = 50  # frames per second; browsers and viewers slow down what changes faster
UNITS_PER_SECOND = 100
MOST_COLORS = 256
LONGEST_SIDE = 65535
MOST_LOOPS = 65536


@dataclass(frozen=True, kw_only=True)
class GifOptions:
    colors: int = 256  # at most; of an animation's 256, one stands for a pixel that stays as it is
    dither: Literal["floyd-steinberg", "ordered", "none"] = "floyd-steinberg"
    loop: int = 0  # how often the clip plays; 0 is for ever

    def __post_init__(self) -> None:
        if not 2 <= self.colors <= MOST_COLORS:
            raise MediaError(f"A GIF of {self.colors} colours was asked for. It has from 2 to {MOST_COLORS}.")
        if self.dither not in DITHERS:
            raise MediaError(f"dither is {self.dither!r}. Choose one of {', '.join(DITHERS)}.")
        if not 0 <= self.loop <= MOST_LOOPS:
            raise MediaError(f"loop is {self.loop}. It goes from 0, for ever, to {MOST_LOOPS}.")


def write_gif(
    path: Target,
    frames: Clip,
    frames_per_second: Fraction | float,
    options: GifOptions = GifOptions(),
    on_frame: OnFrame = nobody_listens,
) -> Path:
    """Write a GIF of a (f h w c) tensor in 0..1, or of (h w c) bytes that can be read twice.

    A function is called for each reading; what can be read only once is held in memory. A GIF counts time in
    hundredths of a second: delays of 3, 4 and 3 make 30 frames per second. Above 50 frames per second, where players
    slow down, the frames that are due every 1/50 s are shown and the others left out, so that the clip takes its time.
    Alpha is left out. `on_frame` hears 0 for every frame while the colours are collected.
    """
    rate = exact_rate(frames_per_second)
    read = _reader(frames)
    histogram, count, (height, width) = _survey(read, options, on_frame)
    numbers, shares = _timing(count, rate)
    palette = choose_palette(histogram, min(options.colors, MOST_COLORS - 1) if len(numbers) > 1 else options.colors)
    mapping = _mapping(palette, histogram, options.dither)
    with written_beside(path) as draft, draft.open("wb") as file:
        animation = _Animation(file, palette, height, width, options.loop if len(numbers) > 1 else 1)
        shown = dict(zip(numbers, shares, strict=True))
        for index, frame in enumerate(read()):
            check_same_size(frame, index, height, width)
            if index in shown:
                animation.add(opaque(frame), mapping, shown.pop(index))
            on_frame(index + 1, opaque(frame))
        if shown:
            raise MediaError(f"The clip had {count} frames when it was first read, and fewer the second time.")
        animation.finish()
    return Path(path)


def _reader(frames: Clip) -> Callable[[], Iterable[Pixels]]:
    if isinstance(frames, Tensor):
        images = frames
        return lambda: to_bytes(images)
    if callable(frames):
        return frames
    pictures = list(frames) if isinstance(frames, Iterator) else frames
    return lambda: pictures


def _survey(
    read: Callable[[], Iterable[Pixels]], options: GifOptions, on_frame: OnFrame
) -> tuple[Histogram, int, tuple[int, int]]:
    """Collect the colours of all frames, and find their number and (height, width)."""
    histogram, count, size = Histogram(options.colors), 0, (0, 0)
    for frame in read():
        if count == 0:
            check_pixels(frame)
            size = frame.shape[:2]
            if max(size) > LONGEST_SIDE:
                raise MediaError(f"The clip is {size[1]}x{size[0]}, but a GIF has at most {LONGEST_SIDE} on a side.")
        check_same_size(frame, count, *size)
        histogram.add(frame)
        count += 1
        on_frame(0, None)
    if count == 0:
        raise MediaError("The clip has no frames, so there is nothing to write.")
    return histogram, count, size


def _timing(count: int, rate: Fraction) -> tuple[list[int], list[int]]:
    """Choose which frames are shown, and for how many hundredths of a second each."""
    if rate <= FASTEST:
        return list(range(count)), delays(count, rate, UNITS_PER_SECOND)
    slots = max(1, round(count * FASTEST / rate))
    numbers = [min(count - 1, int((slot + Fraction(1, 2)) * rate / FASTEST)) for slot in range(slots)]
    return numbers, [UNITS_PER_SECOND // FASTEST] * slots


# From pixels to the palette's indices ----------------------------------------------------------------------------


class Mapping(Protocol):
    def __call__(self, pixels: Pixels) -> Indices: ...


def _mapping(palette: Pixels, histogram: Histogram, dither: str) -> Mapping:
    exact = histogram.exact_colors()
    if exact is not None and len(exact) == len(palette):
        return _exact(palette)  # every colour is there, so there is nothing to dither
    if dither == "floyd-steinberg":
        return _diffused(palette)
    table, error = _table(palette, histogram)
    # A uniform scale whose steps are q apart errs by q / sqrt(12): so far apart are the palette's steps, on the whole.
    return _ordered(table, error * 12**0.5) if dither == "ordered" else lambda pixels: table[bins_of(pixels)]


def _exact(palette: Pixels) -> Mapping:
    packed = bins_of(palette, bits=8)  # in order, as the palette is
    return lambda pixels: np.searchsorted(packed, bins_of(pixels, bits=8)).astype(np.uint8)


def _diffused(palette: Pixels) -> Mapping:
    """Pass each pixel's error on to its neighbours, by Pillow's C code."""
    carrier = Image.new("P", (1, 1))
    carrier.putpalette(palette.tobytes())
    return lambda pixels: np.asarray(
        Image.fromarray(np.ascontiguousarray(pixels)).quantize(palette=carrier, dither=Image.Dither.FLOYDSTEINBERG)
    )


def _table(palette: Pixels, histogram: Histogram) -> tuple[NDArray[np.uint8], float]:
    """Give the nearest index for each bin of colours, and the root mean square error of a channel."""
    side = round(BINS ** (1 / 3))
    centers = (np.stack(np.unravel_index(np.arange(BINS), (side,) * 3), axis=1) + 0.5) * (256 / side) - 0.5
    occupied = histogram.counts > 0
    means, counts = histogram.colors()
    centers[occupied] = means
    table = nearest_of(centers.astype(np.float32), palette.astype(np.float32))
    distances = ((palette[table[occupied]] - means) ** 2).mean(axis=1)
    return table.astype(np.uint8), float((distances @ counts / counts.sum()) ** 0.5)


def _bayer(order: int) -> NDArray[np.float32]:
    """The threshold matrix of Bayer, of 2 ** order rows and columns, from -1/2 to 1/2."""
    matrix = np.zeros((1, 1))
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / matrix.size - 0.5).astype(np.float32)


def _ordered(table: NDArray[np.uint8], spread: float) -> Mapping:
    """Dither by a pattern that stands still, so that what does not move does not flicker."""
    pattern = np.round(_bayer(3) * spread).astype(np.int16)

    def mapped(pixels: Pixels) -> Indices:
        height, width = pixels.shape[:2]
        offsets = np.tile(pattern, (height // 8 + 1, width // 8 + 1))[:height, :width, None]
        return table[bins_of((pixels + offsets).clip(0, 255).astype(np.uint8))]

    return mapped


# The file ------------------------------------------------------------------------------------------------------------


class _Animation:
    """A GIF file that is being written: each frame holds only what changed since the one before."""

    def __init__(self, file: BinaryIO, palette: Pixels, height: int, width: int, loop: int):
        self.file, self.height, self.width = file, height, width
        self.transparent = len(palette)  # an index that no colour has; 256 where there is no room for one
        self.pixels: Pixels | None = None
        self.indices = np.empty((height, width), np.uint8)
        bits = max(1, (min(len(palette), MOST_COLORS - 1)).bit_length())
        file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF0 | (bits - 1), 0, 0))
        file.write(palette.tobytes().ljust(3 << bits, b"\0"))
        if loop != 1:  # a player without this block shows the clip once; it counts the repeats after that
            file.write(b"\x21\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, max(0, loop - 1), 0))

    def add(self, pixels: Pixels, mapping: Mapping, hundredths: int) -> None:
        indices = mapping(pixels)
        if self.pixels is None:
            self._write(_compressed(indices), indices.shape, 0, 0, hundredths, transparent=False)
        else:
            # A pixel that did not change keeps its index: the errors that diffuse to it from a change elsewhere would
            # make it flicker, and cost room.
            indices = np.where((pixels == self.pixels).all(axis=2), self.indices, indices)
            self._write_changes(indices, hundredths)
        self.pixels, self.indices = pixels, indices

    def _write_changes(self, indices: Indices, hundredths: int) -> None:
        changed = indices != self.indices
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
        left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 1)
        part = indices[top:bottom, left:right]
        sparse = np.where(changed[top:bottom, left:right], part, self.transparent).astype(np.uint8)
        whole_data, sparse_data = _compressed(part), _compressed(sparse)
        if len(sparse_data) < len(whole_data):
            self._write(sparse_data, sparse.shape, left, top, hundredths, transparent=True)
        else:
            self._write(whole_data, part.shape, left, top, hundredths, transparent=False)

    def _write(
        self, data: bytes, shape: tuple[int, ...], left: int, top: int, hundredths: int, *, transparent: bool
    ) -> None:
        stays = 1 << 2  # what this image does not paint over stays in sight
        flags = stays | transparent
        self.file.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, flags, hundredths, self.transparent & 255, 0))
        self.file.write(struct.pack("<BHHHHB", 0x2C, left, top, shape[1], shape[0], 0))
        self.file.write(data)

    def finish(self) -> None:
        self.file.write(b"\x3b")


def _compressed(indices: Indices) -> bytes:
    """Compress (h w) indices by LZW with codes of at first 9 bits, in blocks as GIF keeps them."""
    bits = 8
    blocks = Image.fromarray(np.ascontiguousarray(indices)).tobytes("gif", "L", bits, False)
    return bytes([bits]) + blocks + b"\0"
