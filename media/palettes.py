"""The colours for a clip that may have only a few: one palette for all its frames.

Axes: n colours that occur, k colours of the palette, 3 red, green and blue.
"""

import numpy as np
from numpy.typing import NDArray

from .pictures import Pixels

BITS = 6  # of each channel that tell two bins of the histogram apart
BINS = 1 << 3 * BITS
REFINED_BITS = 5  # the same for refining the palette, where fewer points do as well
ROUNDS = 12

Colors = NDArray[np.float32]  # (n 3), 0 to 255


def bins_of(pixels: NDArray[np.uint8], bits: int = BITS) -> NDArray[np.int32]:
    """Give the bin of every (... 3) colour."""
    channels = pixels.astype(np.int32) >> (8 - bits)
    return (channels[..., 0] << 2 * bits) | (channels[..., 1] << bits) | channels[..., 2]


class Histogram:
    """How often which colour occurs in a clip, in memory that does not grow with the clip.

    Colours are told apart exactly as long as there are at most `exact` of them, so that a drawing of few colours keeps
    each; beyond that, near ones are averaged.
    """

    def __init__(self, exact: int):
        self.exact = exact
        self.seen: NDArray[np.bool_] | None = np.zeros(1 << 24, dtype=bool)
        self.counts = np.zeros(BINS)
        self.sums = np.zeros((3, BINS))

    def add(self, pixels: Pixels) -> None:
        colors = pixels[..., :3].reshape(-1, 3)
        bins = bins_of(colors)
        self.counts += np.bincount(bins, minlength=BINS)
        for channel, values in enumerate(colors.T):
            self.sums[channel] += np.bincount(bins, weights=values, minlength=BINS)
        if self.seen is not None:
            self.seen[bins_of(colors, bits=8)] = True
            if np.count_nonzero(self.seen) > self.exact:
                self.seen = None

    def exact_colors(self) -> Colors | None:
        """Give every colour that occurs, or None if they are too many."""
        if self.seen is None:
            return None
        packed = np.flatnonzero(self.seen)
        return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.float32)

    def colors(self, bits: int = BITS) -> tuple[Colors, NDArray[np.float64]]:
        """Give the mean colour of each bin that occurs, and how often it does."""
        shape = [1 << bits, 1 << BITS - bits] * 3
        counts = self.counts.reshape(shape).sum(axis=(1, 3, 5)).reshape(-1)
        sums = self.sums.reshape(3, *shape).sum(axis=(2, 4, 6)).reshape(3, -1)
        occupied = counts > 0
        return (sums[:, occupied] / counts[occupied]).T.astype(np.float32), counts[occupied]


def choose_palette(histogram: Histogram, size: int) -> Pixels:
    """Choose the (k 3) colours, at most `size`, that leave the least squared error over the whole clip.

    Wu's cuts find a good start, Lloyd's rounds refine it (X. Wu, Efficient statistical computations for optimal color
    quantization, Graphics Gems II, 1991; M. E. Celebi, Improving the performance of k-means for color quantization,
    2011).
    """
    exact = histogram.exact_colors()
    if exact is not None and len(exact) <= size:
        return exact.astype(np.uint8)
    colors, counts = histogram.colors(REFINED_BITS)
    centers = _cut(colors, counts, size)
    for _ in range(ROUNDS):
        nearest = nearest_of(colors, centers)
        weights = np.bincount(nearest, counts, len(centers))
        sums = np.stack([np.bincount(nearest, counts * channel, len(centers)) for channel in colors.T], axis=1)
        centers = np.where(weights[:, None] > 0, sums / np.maximum(weights, 1)[:, None], centers).astype(np.float32)
    return np.unique(centers.round().astype(np.uint8), axis=0)


def _cut(colors: Colors, counts: NDArray[np.float64], size: int) -> Colors:
    """Cut the set of colours again and again where that lowers the squared error most; give the means of the parts."""
    parts = [_Part(colors, counts)]
    while len(parts) < size:
        widest = max(range(len(parts)), key=lambda at: parts[at].gain)
        if parts[widest].gain <= 0:
            break
        parts[widest : widest + 1] = parts[widest].halves()
    return np.stack([part.mean for part in parts]).astype(np.float32)


class _Part:
    """Some of the colours, and the best cut through them: across one channel, at one value."""

    def __init__(self, colors: Colors, counts: NDArray[np.float64]):
        self.colors, self.counts = colors, counts
        total = counts.sum()
        self.mean = (counts @ colors) / total
        self.gain, self.order, self.at = 0.0, np.arange(len(colors)), 0
        for channel in range(3):
            order = np.argsort(colors[:, channel], kind="stable")
            # The error falls by what the means of both sides lie apart, weighed by their sizes.
            below = np.cumsum(counts[order])[:-1]
            distance = np.cumsum(counts[order, None] * (colors[order] - self.mean), axis=0)[:-1]
            gains = (distance**2).sum(axis=1) * total / (below * (total - below))
            if len(gains) and gains.max() > self.gain:
                self.gain, self.order, self.at = float(gains.max()), order, int(gains.argmax()) + 1

    def halves(self) -> list["_Part"]:
        return [_Part(self.colors[side], self.counts[side]) for side in (self.order[: self.at], self.order[self.at :])]


def nearest_of(colors: Colors, palette: Colors) -> NDArray[np.intp]:
    """Give the index of the palette's nearest colour for each of (n 3) colours."""
    nearest = np.empty(len(colors), dtype=np.intp)
    lengths = (palette**2).sum(axis=1)
    for begin in range(0, len(colors), 16384):  # the table of distances stays in the processor's cache
        part = slice(begin, begin + 16384)
        nearest[part] = (lengths - 2 * (colors[part] @ palette.T)).argmin(axis=1)
    return nearest
