"""Footage out of a video: the pack against the plain OpenCV scripts that people write for training sets.

    python benchmarks/footage.py [--rounds 7] [--check]

One script reads every frame, resizes every tenth and writes it as PNG. The other reads 3 seconds, keeps every frame,
compares their grey pictures, and writes the 30 frames that differ most from the one before. The pack runs
`extract_footage`, with all that it does besides: a digest of the video, a folder that appears whole, a manifest. The
two run alternately, and what is printed is the ratio of their median times, with the lowest and highest ratio of any
round; pictures in the clip's own size must be equal. Then follow where the pack's time goes, each part alone in one
thread, and its memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np
from frames import make_clip, seconds_of

from zoetrope.clips.different import MostDifferent, brightness_difference
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.clips.sources import sha256_of
from zoetrope.media.pictures import encode_png
from zoetrope.media.reading import decoded_frames, probe, upright
from zoetrope.media.resizing import ResizeOptions, resize_picture
from zoetrope.media.selection import EveryNth

WINDOW_FRAMES, MOST = 90, 30
SMALLER = (1024, 576)
# Prints the peak memory of this process in MB: before the extraction, when all is imported, and after it.
PEAK_MEMORY = """
import resource, sys
import cv2
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.clips.different import MostDifferent
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
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


def most_different_with_opencv(clip: Path, folder: Path, size: tuple[int, int] | None) -> None:
    """The plain script: read the window, rank frames by the mean absolute difference of their grey pictures."""
    folder.mkdir()
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
    for number in sorted(number for _, number in sorted(differences, reverse=True)[:MOST]):
        picture = cv2.resize(pictures[number], size, interpolation=cv2.INTER_AREA) if size else pictures[number]
        cv2.imwrite(str(folder / f"{clip.stem}_frame_{number + 1}.png"), picture)


@dataclass(frozen=True)
class Job:
    name: str
    script: Callable[[Path, Path, tuple[int, int] | None], None]
    options: ExtractingOptions
    size: tuple[int, int] | None
    at_least: float
    at_least_alike: float  # which share of the frames both must choose


def measure(job: Job, clip: Path, rounds: int, scratch: Path) -> tuple[list[float], list[float], float, bool]:
    """(seconds of the script, seconds of the pack, share of frames that both chose, whether those are equal)."""
    script, pack, alike, same = [], [], 1.0, True
    for number in range(rounds + 1):
        theirs, ours = scratch / f"{job.name}-script-{number}", scratch / f"{job.name}-pack-{number}"
        script.append(seconds_of(lambda folder=theirs: job.script(clip, folder, job.size)))
        pack.append(seconds_of(lambda folder=ours: extract_footage(clip, folder, job.options)))
        one, other = ({path.name: path for path in folder.rglob("*.png")} for folder in (theirs, ours))
        both = one.keys() & other.keys()
        alike = min(alike, len(both) / max(len(one), len(other)))
        same = same and all(like(cv2.imread(str(one[name])), cv2.imread(str(other[name])), job.size) for name in both)
    return script[1:], pack[1:], alike, same  # the first round warms the file cache


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
    parser.add_argument("--no-memory", action="store_true", help="leave out the ten-minute clip")
    arguments = parser.parse_args()
    smaller = ResizeOptions(width=SMALLER[0], height=SMALLER[1], filter="area")
    every, different = EveryNth(every=10), MostDifferent(count=MOST, window_seconds=3)
    jobs = [
        Job("every 10th of 10 s", every_tenth_with_opencv, ExtractingOptions(rule=every), None, 1.5, 1),
        Job(
            "every 10th, 1024x576 area",
            every_tenth_with_opencv,
            ExtractingOptions(rule=every, resize=smaller),
            SMALLER,
            1.5,
            1,
        ),
        Job(
            "30 most different of 3 s",
            most_different_with_opencv,
            ExtractingOptions(rule=different),
            None,
            1.8,
            29 / 30,
        ),
    ]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = make_clip(scratch / "clip.mp4", 10, 250)
        print(f"720p30 H.264, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds")
        for job in jobs:
            script, pack, alike, same = measure(job, clip, arguments.rounds, scratch)
            ratios = [a / b for a, b in zip(script, pack, strict=True)]
            ratio = median(script) / median(pack)
            good = good and same and alike >= job.at_least_alike and ratio >= job.at_least
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}, aim {job.at_least}"
            print(f"{job.name:28} {ratio:5.2f} times as fast ({spread}),", end=" ")
            print(f"{1000 * median(pack):.0f} against {1000 * median(script):.0f} ms,", end=" ")
            print(f"{alike:.0%} of the frames the same, {'pixels too' if same else 'PIXELS DIFFER'}")
        where_the_time_goes(clip)
        if not arguments.no_memory:
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
