"""Footage out of a video: the pack against the plain OpenCV scripts that people write for training sets.

    python benchmarks/footage.py [--rounds 7] [--check]

One script reads every frame, resizes every tenth and writes it as PNG. The other reads 3 seconds, keeps every frame,
compares their grey pictures, and writes the 30 frames that differ most from the one before. The pack runs
`extract_footage`, with all that it does besides: a digest of the video, a folder that appears whole, a manifest. The
two run alternately, and what is printed is the ratio of their median times, with the lowest and highest ratio of any
round, and the ratio of processor time, which is what remains of it on a busy machine; pictures in the clip's own size
must be equal. Both write with the same encoder, so choosing is timed without writing, too. Then follow where the pack's
time goes, each part alone in one thread, and its memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np
from frames import make_clip, seconds_of

from zoetrope.clips.different import MostDifferent, brightness_difference, most_different_frames
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.clips.sources import sha256_of
from zoetrope.media.pictures import encode_png
from zoetrope.media.reading import decoded_frames, probe, upright
from zoetrope.media.resizing import ResizeOptions, resize_picture
from zoetrope.media.selection import EveryNth

WINDOW_FRAMES, MOST = 90, 30
DIFFERENT = MostDifferent(count=MOST, window_seconds=3)
SMALLER = (1024, 576)
# Prints the peak memory of this process in MB: before the extraction, when all is imported, and after it. What
# getrusage tells would include the memory of this benchmark, from which the process was forked.
PEAK_MEMORY = """
import re, sys
from pathlib import Path
import cv2
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.clips.different import MostDifferent
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
imported = peak()
options = ExtractingOptions(rule=MostDifferent()) if sys.argv[3] == "different" else ExtractingOptions()
result = extract_footage(sys.argv[1], sys.argv[2], options)
assert result.made, result.failed
print(imported, peak())
"""


def every_tenth_with_opencv(clip: Path, folder: Path, size: tuple[int, int] | None) -> None:
    """The plain loop: read every frame, resize and write every tenth."""
    folder.mkdir()
    capture, number = cv2.VideoCapture(str(clip)), 0
    while True:
        there, picture = capture.read()
        if not there:
            return
        number += 1
        if number % 10 == 0:
            if size:
                picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{clip.stem}_frame_{number}.png"), picture)


def choose_with_opencv(clip: Path) -> dict[int, np.ndarray]:
    """The plain script: read the window, rank frames by the mean absolute difference of their grey pictures."""
    capture, pictures, differences, before = cv2.VideoCapture(str(clip)), [], [], None
    while len(pictures) < WINDOW_FRAMES:
        there, picture = capture.read()
        if not there:
            break
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        if before is not None:
            differences.append((np.mean(np.abs(grey.astype(np.float32) - before.astype(np.float32))), len(pictures)))
        pictures.append(picture)
        before = grey
    return {number: pictures[number] for number in sorted(number for _, number in sorted(differences)[-MOST:])}


def choose_with_pack(clip: Path) -> dict[int, np.ndarray]:
    facts = probe(clip)
    return {
        number: upright(frame) for number, frame in most_different_frames(clip, facts, range(facts.frames), DIFFERENT)
    }


def most_different_with_opencv(clip: Path, folder: Path, size: tuple[int, int] | None) -> None:
    folder.mkdir()
    for number, picture in choose_with_opencv(clip).items():
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if size else picture
        cv2.imwrite(str(folder / f"{clip.stem}_frame_{number + 1}.png"), picture)


@dataclass(frozen=True)
class Job:
    name: str
    script: Callable[[Path, Path, tuple[int, int] | None], None]
    options: ExtractingOptions
    size: tuple[int, int] | None


class Stopwatch:
    """Wall-clock and processor seconds of two ways to do the same, which take turns."""

    def __init__(self) -> None:
        self.wall: tuple[list[float], list[float]] = ([], [])
        self.processor: tuple[list[float], list[float]] = ([], [])

    def take(self, which: int, work: Callable[[], object]) -> None:
        started = time.process_time()
        self.wall[which].append(seconds_of(work))
        self.processor[which].append(time.process_time() - started)

    @property
    def ratio(self) -> float:
        return self._of_medians(self.wall)

    @staticmethod
    def _of_medians(seconds: tuple[list[float], list[float]]) -> float:
        return median(seconds[0][1:]) / median(seconds[1][1:])  # the first round warms the file cache

    def told(self) -> str:
        each = [one / other for one, other in zip(*self.wall, strict=True)][1:]
        script, pack = (f"{1000 * median(seconds[1:]):.0f}" for seconds in self.wall)
        return (
            f"{self.ratio:5.2f} times as fast ({min(each):.2f} to {max(each):.2f}), {pack} against {script} ms; "
            f"in processor time {self._of_medians(self.processor):.2f}"
        )


def measure(job: Job, clip: Path, rounds: int, scratch: Path) -> tuple[Stopwatch, float, bool]:
    """(times, share of frames that both chose, whether those are equal)."""
    watch, alike, same = Stopwatch(), 1.0, True
    for number in range(rounds + 1):
        theirs, ours = scratch / f"{job.name}-script-{number}", scratch / f"{job.name}-pack-{number}"
        watch.take(0, lambda folder=theirs: job.script(clip, folder, job.size))
        watch.take(1, lambda folder=ours: extract_footage(clip, folder, job.options))
        one, other = ({path.name: path for path in folder.rglob("*.png")} for folder in (theirs, ours))
        both = one.keys() & other.keys()
        alike = min(alike, len(both) / max(len(one), len(other)))
        same = same and all(like(cv2.imread(str(one[name])), cv2.imread(str(other[name])), job.size) for name in both)
    return watch, alike, same


def measure_choosing(clip: Path, rounds: int) -> tuple[Stopwatch, float, bool]:
    """The same for choosing frames and holding their pixels, which leaves out what takes both equally long: writing."""
    watch = Stopwatch()
    for _ in range(rounds + 1):
        watch.take(0, lambda: choose_with_opencv(clip))
        watch.take(1, lambda: choose_with_pack(clip))
    one, other = choose_with_opencv(clip), choose_with_pack(clip)
    both = one.keys() & other.keys()
    return watch, len(both) / MOST, all(np.array_equal(one[number][..., ::-1], other[number]) for number in both)


def like(one: np.ndarray, other: np.ndarray, size: tuple[int, int] | None) -> bool:
    """Equal; where they were resized, of one size and on average within a level, as two averaging filters are."""
    if one.shape != other.shape:
        return False
    return bool(np.abs(one.astype(int) - other).mean() < 2) if size else np.array_equal(one, other)


def where_the_time_goes(clip: Path) -> None:
    """Print what each part of an extraction takes by itself, in one thread, for this clip."""
    facts = probe(clip)
    tenth = range(9, facts.frames, 10)
    frames = [frame for _, frame in decoded_frames(clip, tenth, facts)]
    pixels = [upright(frame) for frame in frames]
    options = ResizeOptions(width=SMALLER[0], height=SMALLER[1], filter="area")
    parts = {
        "look at the packets": lambda: probe(clip),
        "digest of the file": lambda: sha256_of(clip),
        "decode for every 10th": lambda: [number for number, _ in decoded_frames(clip, tenth, facts)],
        f"decode {WINDOW_FRAMES} frames": lambda: [n for n, _ in decoded_frames(clip, range(WINDOW_FRAMES), facts)],
        f"compare {len(frames) - 1} pairs": lambda: [
            brightness_difference(one, other) for one, other in pairwise(frames)
        ],
        f"{len(frames)} frames to RGB": lambda: [upright(frame) for frame in frames],
        f"resize {len(frames)} to {SMALLER[0]}x{SMALLER[1]}": lambda: [
            resize_picture(picture, options) for picture in pixels
        ],
        f"encode {len(frames)} as PNG": lambda: [encode_png(picture) for picture in pixels],
    }
    print("\nwhere the time goes, each part by itself:")
    for name, work in parts.items():
        print(f"  {name:28} {1000 * min(seconds_of(work) for _ in range(3)):7.0f} ms")


def repeated(clip: Path, path: Path, times: int) -> Path:
    """The clip, so many times in a row, without encoding it again."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        packets = [
            (packet.pts, packet.dts, bytes(packet), packet.is_keyframe)
            for packet in source.demux(stream)
            if packet.size
        ]
        length = round(len(packets) / stream.average_rate / stream.time_base)
        with av.open(str(path), "w") as container:
            copy = container.add_stream_from_template(stream)
            for turn in range(times):
                for pts, dts, data, is_key in packets:
                    packet = av.Packet(data)
                    packet.pts, packet.dts = pts + turn * length, dts + turn * length
                    packet.time_base, packet.stream, packet.is_keyframe = stream.time_base, copy, is_key
                    container.mux(packet)
    return path


def memory(clip: Path, scratch: Path, rule: str) -> tuple[float, float]:
    """(MB when all is imported, MB at the most) of a fresh process that extracts."""
    folder = scratch / f"memory-{clip.stem}-{rule}"
    command = [sys.executable, "-c", PEAK_MEMORY, str(clip), str(folder), rule]
    imported, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(imported), float(peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a ratio is below its aim")
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the ten-minute clip; Linux alone tells peaks"
    )
    arguments = parser.parse_args()
    smaller = ResizeOptions(width=SMALLER[0], height=SMALLER[1], filter="area")
    every = EveryNth(every=10)
    jobs = [
        Job("every 10th, written", every_tenth_with_opencv, ExtractingOptions(rule=every), None),
        Job(
            "every 10th to 1024x576",
            every_tenth_with_opencv,
            ExtractingOptions(rule=every, resize=smaller),
            SMALLER,
        ),
        Job("30 most different, written", most_different_with_opencv, ExtractingOptions(rule=DIFFERENT), None),
    ]
    aims = {
        "every 10th, written": (1.5, 1.0),
        "every 10th to 1024x576": (1.5, 1.0),
        "30 most different, written": (1.8, 29 / 30),
        "30 most different, chosen": (1.8, 29 / 30),
    }
    good = True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = make_clip(scratch / "clip.mp4", 10, 250)
        print(f"10 s of 720p30 H.264, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        results = {job.name: partial(measure, job, clip, arguments.rounds, scratch) for job in jobs}
        results["30 most different, chosen"] = partial(measure_choosing, clip, arguments.rounds)
        for name, result in results.items():
            watch, alike, same = result()
            faster, alike_enough = aims.get(name, (0.0, 29 / 30))
            good = good and same and alike >= alike_enough and watch.ratio >= faster
            print(f"{name:26} {watch.told()}{f', aim {faster}' if faster else ''};", end=" ")
            print(f"{alike:.0%} of the frames the same, {'pixels too' if same else 'PIXELS DIFFER'}", flush=True)
        where_the_time_goes(clip)
        if not arguments.no_memory and Path("/proc/self/status").exists():
            long = repeated(clip, scratch / "long.mp4", 60)
            print(f"\nmemory, with {probe(long).seconds / 60:.0f} minutes of 720p:")
            for name, rule in (("every 10th", "every"), ("30 most different", "different")):
                started = time.monotonic()
                imported, peak = memory(long, scratch, rule)
                print(
                    f"  {name:26} {peak:5.0f} MB at the most, of which {imported:.0f} MB are imports "
                    f"({time.monotonic() - started:.0f} s)"
                )
    return 0 if good or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
