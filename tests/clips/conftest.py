"""An action data set as people have it, made by PyAV alone, and what a player shows of each clip."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT, RATE = 64, 48, 25
CLASSES = (
    "Archery",
    "Basketball",
    "Cycling",
    "Diving",
    "Fencing",
    "Golf",
    "HorseRiding",
    "JumpRope",
    "Kayaking",
    "Swing",
)
KINDS: list[dict] = [
    dict(suffix="mp4", codec="libx264", options={"preset": "ultrafast", "bf": "2", "g": "12"}),
    dict(suffix="avi", codec="mpeg4", options={"bf": "2", "g": "12"}),
    dict(suffix="mkv", codec="libx264", options={"preset": "ultrafast"}, stamps="uneven"),
    dict(suffix="mp4", codec="libx264", options={"preset": "ultrafast", "g": "250"}, turned=90),
    dict(suffix="webm", codec="libvpx", options={"deadline": "realtime", "cpu-used": "8"}),
    dict(suffix="avi", codec="mjpeg", pixel_format="yuvj420p"),
    dict(suffix="mpg", codec="mpeg2video", options={"bf": "2", "g": "12"}),
    dict(suffix="mkv", codec="ffv1", pixel_format="yuv444p"),
    dict(suffix="mov", codec="libx264", options={"preset": "ultrafast"}, turned=180),
    dict(suffix="ts", codec="libx264", options={"preset": "ultrafast", "bf": "2", "g": "10"}),
]


@dataclass(frozen=True)
class Shown:
    """What a player shows: every frame, decoded from the start in one thread with nothing skipped."""

    pixels: list[np.ndarray]  # (h w c), upright
    brightness: list[np.ndarray]  # (h w), as the decoder has it
    starts: list[Fraction]  # seconds
    end: Fraction


def shown(path: Path) -> Shown:
    pixels, brightness, starts, length = [], [], [], Fraction(0)
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for frame in container.decode(video=0):
            pixels.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
            planes = frame.to_ndarray()
            brightness.append(planes[0] if planes.shape[0] == 3 else planes[: frame.height])
            starts.append(frame.pts * frame.time_base)
            length = (frame.duration or 0) * frame.time_base
    starts = [start - starts[0] for start in starts]
    if starts != sorted(set(starts)):  # FFmpeg stamps some frames of a program stream twice; its rate is steady
        starts, length = [Fraction(number, RATE) for number in range(len(starts))], Fraction(1, RATE)
    return Shown(pixels, brightness, starts, starts[-1] + (length or starts[-1] / (len(starts) - 1)))


def picture(number: int, seed: int, still: bool) -> np.ndarray:
    """A pattern that moves by different steps, and changes altogether now and then."""
    dice = np.random.default_rng(seed)
    steps = np.cumsum(dice.integers(0, 6, 200))
    scene = 0 if still else number // (9 + seed % 7)
    shift = 0 if still else int(steps[number])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    slopes = np.random.default_rng([seed, scene]).integers(1, 9, (3, 2))
    return np.stack([(x * a + y * b + shift) % 256 for a, b in slopes], -1).astype(np.uint8)


def write_clip(
    path: Path,
    frames: int,
    seed: int,
    *,
    codec: str,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    stamps: str = "even",
    turned: int = 0,
    still: bool = False,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.thread_count = 1
        clock = Fraction(1, 1000) if stamps == "uneven" else Fraction(1, RATE)
        stream.codec_context.time_base = clock
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, seed, still), "rgb24")
            frame.pts, frame.time_base = (40 * number + 13 * (number % 3) if stamps == "uneven" else number), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@dataclass(frozen=True)
class ActionSet:
    """100 clips in 10 classes, laid out class/v_Class_g01_c02.avi, and what else lies about in such a folder."""

    root: Path
    clips: tuple[str, ...]  # names below the root of the videos that can be read
    still: str
    broken: tuple[str, ...]

    @functools.cache  # noqa: B019 - there is one set, and it lives as long as the tests
    def shown(self, name: str) -> Shown:
        return shown(self.root / name)


@pytest.fixture(scope="session")
def action_set(tmp_path_factory: pytest.TempPathFactory) -> ActionSet:
    root = tmp_path_factory.mktemp("actions")
    names = []
    for seed in range(100):
        action, kind = CLASSES[seed // 10], dict(KINDS[(seed + seed // 10) % 10])
        names.append(f"{action}/v_{action}_g{seed % 10 // 2 + 1:02}_c{seed % 2 + 1:02}.{kind.pop('suffix')}")
        write_clip(root / names[-1], 20 + seed * 7 % 21, seed, still=seed == 40, **kind)
    whole = (root / names[0]).read_bytes()
    broken = ("Swing/v_Swing_g09_c01.mp4", "Swing/v_Swing_g09_c02.mp4", "Swing/v_Swing_g09_c03.avi")
    for name, content in zip(broken, (whole[: len(whole) // 2], b"", b"no video at all" * 99), strict=True):
        (root / name).write_bytes(content)
    (root / "Empty").mkdir()
    (root / "readme.txt").write_text("UCF-like")
    return ActionSet(root, tuple(names), names[40], broken)


@pytest.fixture
def put_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a small clip below the test's folder."""

    def put(name: str = "clip.mp4", frames: int = 30, seed: int = 1, **settings) -> Path:
        path = tmp_path / name
        write_clip(path, frames, seed, **{"codec": "libx264", "options": {"preset": "ultrafast"}, **settings})
        return path

    return put
