"""Frames out of a video: the pack against the plain OpenCV loop that people write.

    python benchmarks/frames.py [--rounds 7] [--check]

The loop reads every frame and writes those that are wanted. Both write the same frames; their pixels are compared. The
two run alternately, and what is printed is the ratio of their median times, with the lowest and highest ratio of any
round. Memory is the peak of a fresh process, for a clip and for one six times as long.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from zoetrope.media.frame_folders import FramesOptions, write_frames
from zoetrope.media.reading import probe, read_frames
from zoetrope.media.selection import EveryNth, Spread, select

RATE = 30
PEAK_MEMORY = """
import resource, sys
from benchmarks_frames import take_with_pack
from zoetrope.media.selection import EveryNth
take_with_pack(sys.argv[1], sys.argv[2], EveryNth(every=10), "png")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Job:
    name: str
    clip: Path
    wanted: Callable[[int], Sequence[int]]  # from the number of frames in the clip
    rule: EveryNth | Spread
    format: str
    at_least: float


def make_clip(path: Path, seconds: int, group: int) -> Path:
    """A 720p clip with texture, grain and motion, in H.264 with B-frames, as cameras and screen recorders make."""
    generator = np.random.default_rng(7)
    coarse = generator.integers(0, 256, (60, 90, 3), np.uint8)
    scene = cv2.resize(coarse, (1920, 1280), interpolation=cv2.INTER_CUBIC)
    grain = [generator.normal(0, 4, (720, 1280, 3)).astype(np.float32) for _ in range(5)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": str(group), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(seconds * RATE):
            x, y = int(320 + 300 * np.sin(number / 40)), int(280 + 250 * np.cos(number / 55))
            picture = (scene[y : y + 720, x : x + 1280] + grain[number % 5]).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def take_with_opencv(clip: Path, folder: Path, wanted: Iterable[int], suffix: str) -> None:
    """The plain loop: read every frame, write those that are wanted."""
    folder.mkdir()
    wanted, number, capture = set(wanted), 0, cv2.VideoCapture(str(clip))
    while True:
        there, picture = capture.read()
        if not there:
            return
        if number in wanted:
            cv2.imwrite(str(folder / f"frame_{number:05}.{suffix}"), picture)
        number += 1


def take_with_pack(clip: Path | str, folder: Path | str, rule: EveryNth | Spread, format: str) -> None:
    facts = probe(clip)
    numbers = select(facts.timeline, rule).numbers
    pixels = (picture for _, picture in read_frames(clip, numbers, facts))
    write_frames(Path(folder), pixels, FramesOptions(name="frame_{n:05}", format=format, numbers=numbers))


def seconds_of(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def same_pictures(one: Path, other: Path) -> bool:
    names = sorted(path.stem for path in one.iterdir())
    if names != sorted(path.stem for path in other.iterdir()):
        return False
    pairs = zip(sorted(one.iterdir()), sorted(other.iterdir()), strict=True)
    return all(np.array_equal(cv2.imread(str(a)), cv2.imread(str(b))) for a, b in pairs)


def measure(job: Job, rounds: int, scratch: Path) -> tuple[float, float, float, bool]:
    """(ratio of median times, lowest and highest ratio of a round, whether all pixels are equal)."""
    frames = probe(job.clip).frames
    suffix = "jpg" if job.format == "jpeg" else job.format
    loop, pack, same = [], [], True
    for number in range(rounds + 1):
        theirs, ours = scratch / f"{job.name}-loop-{number}", scratch / f"{job.name}-pack-{number}"
        loop.append(seconds_of(lambda folder=theirs: take_with_opencv(job.clip, folder, job.wanted(frames), suffix)))
        pack.append(seconds_of(lambda folder=ours: take_with_pack(job.clip, folder, job.rule, job.format)))
        same = same and same_pictures(theirs, ours)
    ratios = [a / b for a, b in zip(loop[1:], pack[1:], strict=True)]  # the first round warms the file cache
    return median(loop[1:]) / median(pack[1:]), min(ratios), max(ratios), same


def peak_megabytes(clip: Path, scratch: Path) -> float:
    """The peak memory of a fresh process that takes every tenth frame."""
    (scratch / "benchmarks_frames.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-c", PEAK_MEMORY, str(clip), str(scratch / f"peak-{clip.stem}")]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a ratio is below its aim")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        short, long = make_clip(scratch / "short.mp4", 10, 250), make_clip(scratch / "long.mp4", 30, 30)
        every, spread = EveryNth(every=10), Spread(count=10)
        jobs = [
            Job("every 10th of 10 s to PNG", short, lambda n: range(0, n, 10), every, "png", 1.5),
            Job("every 10th of 10 s to JPEG", short, lambda n: range(0, n, 10), every, "jpeg", 1.3),
            Job("10 spread over 30 s to PNG", long, lambda n: _spread(n, 10), spread, "png", 4.0),
        ]
        good = True
        for job in jobs:
            ratio, low, high, same = measure(job, arguments.rounds, scratch)
            good = good and same and ratio >= job.at_least
            pixels = "same pixels" if same else "PIXELS DIFFER"
            print(f"{job.name:28} {ratio:5.2f} times as fast ({low:.2f} to {high:.2f}, aim {job.at_least}), {pixels}")
        longest = make_clip(scratch / "longest.mp4", 60, 250)
        peaks = [peak_megabytes(clip, scratch) for clip in (short, longest)]
        print(f"{'peak memory, 10 s and 60 s':28} {peaks[0]:.0f} and {peaks[1]:.0f} MB")
    return 0 if good or not arguments.check else 1


def _spread(frames: int, count: int) -> list[int]:
    """`count` numbers from the first frame to the last, by exact fractions, apart from the pack's own arithmetic."""
    return [int(Fraction(n * (frames - 1), count - 1) + Fraction(1, 2)) for n in range(count)]


if __name__ == "__main__":
    sys.exit(main())
