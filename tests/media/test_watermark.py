"""The watermark is there for the invisible-watermark package, hardly there for the eye, and found by our own reader.

The pictures in tests/golden/watermark come from that package (0.2.0), but for our_bits and our_text, which are ours;
readings.json is what the package's decoder reads from each.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoetrope.media.errors import MediaError
from zoetrope.media.watermark import (
    REFERENCE_BITS,
    bits_of,
    bits_of_text,
    embed,
    read_bits,
    read_text,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "watermark"
READINGS = json.loads((GOLDEN / "readings.json").read_text())["read_by_the_package"]


def golden_picture(name: str) -> np.ndarray:
    return np.asarray(Image.open(GOLDEN / f"{name}.png"))


def clip_of(*pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels)).float() / 255


def bytes_of(clip: torch.Tensor) -> np.ndarray:
    return (clip * 255).round().to(torch.uint8).numpy()


def digits(bits) -> str:
    return "".join(str(int(bit)) for bit in bits)


def flat(color: tuple[int, int, int], height: int = 256, width: int = 256) -> torch.Tensor:
    return (torch.tensor(color) / 255).expand(1, height, width, 3)


def cloudy(height: int = 264, width: int = 261, seed: int = 0) -> torch.Tensor:
    """A (1 h w 3) picture of soft colours."""
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return soft.clamp(0, 1).permute(0, 2, 3, 1).contiguous()


def plain_reading(pixels: np.ndarray, length: int) -> str:
    """The package's way of reading, square by square, written as slowly as it can be told."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    brightness = (4899 * red + 9617 * green + 1868 * blue + 2**13) >> 14  # OpenCV's whole numbers
    blueness = ((8061 * (blue - brightness) + 2**13) >> 14) + 128
    half = 0.5**0.5
    votes: list[list[bool]] = [[] for _ in range(length)]
    number = 0
    for top in range(0, pixels.shape[0] - 7, 8):
        for left in range(0, pixels.shape[1] - 7, 8):
            square = blueness[top : top + 8, left : left + 8]
            rows = [half * square[y] + half * square[y + 1] for y in range(0, 8, 2)]
            cells = [half * row[x] + half * row[x + 1] for row in rows for x in range(0, 8, 2)]
            votes[number % length].append(max(cells[1:]) % 36 > 18)
            number += 1
    return "".join("1" if np.mean(said) * 255 > 127 else "0" for said in votes)


@pytest.mark.parametrize("length", [48, 32])
@pytest.mark.parametrize("name", READINGS)
def test_our_reader_reads_what_the_package_reads(name, length):
    reading = read_bits(clip_of(golden_picture(name)), length)

    assert digits(reading.bits) == READINGS[name][f"bits{length}"]


@pytest.mark.parametrize("name", READINGS)
def test_the_plain_reading_below_is_the_packages(name):
    assert plain_reading(golden_picture(name), 48) == READINGS[name]["bits48"]


def test_the_package_read_our_bits_and_our_text():
    assert READINGS["our_bits"]["bits48"] == digits(REFERENCE_BITS) == f"{0xB3EC907BB19E:048b}"
    assert READINGS["our_text"]["bits32"] == digits(bits_of_text("Zoë"))


def test_what_the_package_read_is_still_what_we_write():
    plain = clip_of(golden_picture("plain"))

    for name, bits in (("our_bits", REFERENCE_BITS), ("our_text", bits_of_text("Zoë"))):
        difference = np.abs(bytes_of(embed(plain, bits))[0].astype(int) - golden_picture(name))
        assert difference.max() <= 1  # a rounding, on another processor


def test_the_packages_own_marks_are_found():
    assert read_bits(clip_of(golden_picture("grey_bits")), 48).matches(REFERENCE_BITS) == 48
    assert read_text(clip_of(golden_picture("grey_text"))) == "Zoë"


@pytest.mark.parametrize("bits", [REFERENCE_BITS, bits_of_text("a name"), (True,), (False, True)])
@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 0), (90, 90, 90)])
def test_every_square_of_every_flat_ground_carries_its_bit(color, bits):
    marked = embed(flat(color), bits)

    reading = read_bits(marked, len(bits))

    assert reading.bits == bits
    assert reading.agreement == 1
    assert marked.min() >= 0 and marked.max() <= 1
    assert plain_reading(bytes_of(marked)[0], len(bits)) == digits(bits)


@given(st.binary(min_size=1, max_size=16), st.integers(0, 2**31))
def test_any_bits_are_read_back_from_any_noise(message, seed):
    noise = torch.rand(1, 256, 256, 3, generator=torch.Generator().manual_seed(seed))
    bits = bits_of(int.from_bytes(message, "big"), 8 * len(message))

    assert read_bits(embed(noise, bits), len(bits)).bits == bits


@pytest.mark.parametrize(
    "text",
    [
        "me",
        "Zoetrope",
        "Zoë, 2026",
        "31 bytes of text in a picture..",
        "forty-eight bytes, each of them read a few times",
    ],
)
def test_a_text_is_found_without_its_length(text):
    assert read_text(embed(cloudy(320, 576), bits_of_text(text))) == text


def test_a_text_that_repeats_itself_is_read_once_unless_its_length_is_told():
    marked = embed(cloudy(), bits_of_text("hoho"))

    assert read_text(marked) == "ho"
    assert read_text(marked, length_bytes=4) == "hoho"


@pytest.mark.parametrize("seed", range(12))
def test_no_text_is_found_where_none_is(seed):
    assert read_text(cloudy(seed=seed)) is None
    assert read_text(torch.rand(1, 256, 256, 3, generator=torch.Generator().manual_seed(seed))) is None


def test_bits_that_are_no_text_are_not_read_as_one():
    assert read_text(embed(cloudy(), REFERENCE_BITS)) is None
    assert read_text(embed(cloudy(), REFERENCE_BITS), length_bytes=6) is None


def test_frames_vote_together():
    """Some of them are too noisy to read alone."""
    marked = embed(cloudy().expand(24, -1, -1, -1), REFERENCE_BITS)
    noisy = (marked + 0.06 * torch.randn(marked.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)

    alone = [read_bits(frame[None], 48).matches(REFERENCE_BITS) for frame in noisy]

    assert np.mean(alone) < 48
    assert read_bits(noisy, 48).matches(REFERENCE_BITS) == 48


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


HARM = {
    "a JPEG of quality 95": lambda pixels: jpeg(pixels, 95),
    "noise": lambda pixels: (pixels + np.random.default_rng(0).normal(0, 5, pixels.shape)).round().clip(0, 255),
    "more contrast": lambda pixels: ((pixels.astype(float) - 128) * 1.05 + 128).round().clip(0, 255),
    "a covered third": lambda pixels: np.where(np.arange(pixels.shape[1])[:, None] < 90, 0, pixels),
}


@pytest.mark.parametrize("harm", HARM)
def test_the_mark_survives(harm):
    marked = bytes_of(embed(cloudy(), REFERENCE_BITS))[0]

    harmed = HARM[harm](marked).astype(np.uint8)

    assert not np.array_equal(harmed, marked)
    assert read_bits(clip_of(harmed), 48).matches(REFERENCE_BITS) == 48


def test_the_eye_loses_little():
    plain = cloudy(512, 512)
    marked = embed(plain, REFERENCE_BITS)
    brightness = torch.tensor([0.299, 0.587, 0.114])
    inside = ((plain > 0.1) & (plain < 0.9)).all(-1)

    assert 10 * torch.log10(1 / (plain - marked).square().mean()) > 39  # decibels
    assert ((plain - marked) @ brightness)[inside].abs().max() < 2e-6


def test_only_the_pixels_of_the_mark_change():
    plain = cloudy(260, 267)
    marked = embed(plain, REFERENCE_BITS)
    changed = (plain != marked).any(-1)[0]

    assert not changed[256:].any() and not changed[:, 264:].any()  # beyond the last whole square
    assert changed.float().mean() < 0.5


def test_alpha_stays_and_grey_becomes_colour():
    alpha = torch.rand(1, 256, 256, 1, generator=torch.Generator().manual_seed(0))
    with_alpha = embed(torch.cat([cloudy(256, 256), alpha], -1), REFERENCE_BITS)
    grey = embed(cloudy(256, 256)[..., :1], REFERENCE_BITS)

    assert torch.equal(with_alpha[..., 3:], alpha)
    assert grey.shape == (1, 256, 256, 3)
    assert read_bits(with_alpha, 48).bits == read_bits(grey, 48).bits == REFERENCE_BITS


def test_the_clip_that_comes_in_stays_as_it_is():
    clip = cloudy()
    before = clip.clone()

    embed(clip, REFERENCE_BITS)

    assert torch.equal(clip, before)


@pytest.mark.parametrize("size", [(256, 256), (8, 8192), (255, 258), (240, 274)])
def test_the_smallest_pictures_that_the_package_takes_are_marked(size):
    assert read_bits(embed(cloudy(*size), REFERENCE_BITS), 48).bits == REFERENCE_BITS


@pytest.mark.parametrize(
    "clip, bits, complaint",
    [
        (flat((9, 9, 9), 255, 256), REFERENCE_BITS, "are 256x255, too small for the watermark"),
        (flat((9, 9, 9), 7, 10000), REFERENCE_BITS, "room for 0 bits, but the watermark has 48"),
        (flat((9, 9, 9)), (True,) * 1025, "room for 1024 bits, but the watermark has 1025"),
        (flat((9, 9, 9)), (), "has 0 bits"),
        (flat((9, 9, 9)) * torch.nan, REFERENCE_BITS, "Frame 0 holds NaN"),
        (torch.zeros(256, 256, 3), REFERENCE_BITS, "A clip is"),
    ],
)
def test_what_cannot_be_marked_is_refused(clip, bits, complaint):
    with pytest.raises(MediaError, match=complaint):
        embed(clip, bits)


def test_an_empty_text_is_refused():
    with pytest.raises(MediaError, match="empty"):
        bits_of_text("")


def test_marking_tells_each_frame_and_can_be_cancelled():
    told = []

    def cancel(done, frame):
        told.append((done, frame.shape))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(flat((1, 2, 3)).expand(5, -1, -1, -1), REFERENCE_BITS, cancel)

    assert told == [(1, (256, 256, 3)), (2, (256, 256, 3))]


@pytest.mark.parametrize("text", ["", "Zoë"])
def test_the_package_itself_reads_our_mark_where_it_is_installed(text):
    imwatermark = pytest.importorskip("imwatermark")
    bits = bits_of_text(text) if text else REFERENCE_BITS
    marked = np.ascontiguousarray(bytes_of(embed(cloudy(), bits))[0][..., ::-1])

    read = imwatermark.WatermarkDecoder("bits", len(bits)).decode(marked, "dwtDct")

    assert digits(read) == digits(bits)
