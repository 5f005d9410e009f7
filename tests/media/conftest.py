"""Small clips of every kind that reading must cope with, made by PyAV alone so that our own writer is not trusted."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


def picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A moving pattern with detail, different for every frame."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 2 + 5 * number), (y * 3 + 7 * number), (x + y) * 2 + 11 * number]
    return np.stack([plane % 256 for plane in planes], -1).astype(np.uint8)


def encode_clip(
    path: Path,
    frames: int = 60,
    *,
    codec: str = "libx264",
    rate: Fraction = Fraction(30),
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    stamps: Iterable[int] | None = None,
    sound: np.ndarray | None = None,
    sample_rate: int = 44100,
    turned: int = 0,
) -> Path:
    """Write a clip; `stamps` (in milliseconds) let its rate vary, `turned` asks players to turn it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.options = options or {}
        if turned:
            stream.set_display_rotation(turned)
        clock = Fraction(1, 1000) if stamps is not None else 1 / rate
        stream.codec_context.time_base = clock
        if sound is not None:
            voice = container.add_stream("aac", rate=sample_rate, layout="mono")
        for number, stamp in enumerate(range(frames) if stamps is None else stamps):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24")
            frame.pts, frame.time_base = stamp, clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            heard = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), "fltp", "mono")
            heard.sample_rate, heard.pts = sample_rate, 0
            container.mux([*voice.encode(heard), *voice.encode(None)])
    return path


def decoded_in_order(path: Path) -> list[np.ndarray]:
    """What a player shows: every frame, decoded from the start in one thread with nothing skipped."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    return encode_clip


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    return lambda name="clip.mp4", *arguments, **options: encode_clip(tmp_path / name, *arguments, **options)


@pytest.fixture(scope="session")
def played() -> Callable[[Path], list[np.ndarray]]:
    return decoded_in_order
