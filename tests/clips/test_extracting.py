import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoetrope.clips import extracting
from zoetrope.clips.different import MostDifferent, OnePerScene
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.clips.footage import MANIFEST, FootageError, read_footage, write_manifest
from zoetrope.media.errors import MediaError
from zoetrope.media.resizing import ResizeOptions, resize
from zoetrope.media.selection import AtRate, EveryNth, FrameRange, SecondsRange, Spread

# How often the tests kill an extraction. ZOETROPE_KILLS=20 is the long version.
KILLS = int(os.environ.get("ZOETROPE_KILLS", "5"))


# Each rule, as one would write it down for one clip that has been decoded from its start.


def every_tenth(clip):
    return [n for n in range(len(clip.pixels)) if (n + 1) % 10 == 0]


def eight_a_second(clip):
    times = [Fraction(k, 8) for k in range(1000) if Fraction(k, 8) < clip.end]
    return sorted({max(n for n, start in enumerate(clip.starts) if start <= t) for t in times})


def five_spread(clip):
    steps = [later - earlier for earlier, later in pairwise(clip.starts)]
    if max(steps) - min(steps) > Fraction(1, 500):  # an uneven clip is spread over its time
        times = [clip.starts[0] + (clip.starts[len(clip.pixels) - 1] - clip.starts[0]) * k / 4 for k in range(5)]
        return [max(n for n, start in enumerate(clip.starts) if start <= t + Fraction(1, 2000)) for t in times]
    return [int(Fraction(k * (len(clip.pixels) - 1), 4) + Fraction(1, 2)) for k in range(5)]


def grey_changes(clip, numbers):
    return {n: np.abs(clip.brightness[n].astype(int) - clip.brightness[n - 1].astype(int)).mean() for n in numbers[1:]}


def eight_most_different(clip):
    changes = grey_changes(clip, [n for n, start in enumerate(clip.starts) if start < 1])
    return sorted(sorted(changes, key=lambda n: (-changes[n], n))[:8])


def four_most_different_apart(clip):
    changes = grey_changes(clip, range(len(clip.pixels)))
    changes[0] = -1
    chosen = []
    for n in sorted(changes, key=lambda n: (-changes[n], n)):
        if len(chosen) < 4 and all(abs(n - other) >= 5 for other in chosen):
            chosen.append(n)
    return sorted(chosen)


def middles_of_scenes(clip):
    """A change ends a scene when it lasts, and is twice the second largest of the four nearest others."""
    import cv2

    small = [cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA).astype(float) for pixels in clip.pixels]

    def change(one, other):
        return np.abs(small[one] - small[other]).mean()

    frames = len(small)
    starts = [0]
    for n in range(1, frames):
        first = max(1, min(n - 2, frames - 5))
        others = sorted(change(k - 1, k) for k in range(first, min(first + 5, frames)) if k != n)
        lasting = min(
            [change(n - 1, n)]
            + ([change(n - 2, n)] if n > 1 else [])
            + ([change(n - 1, n + 1)] if n + 1 < frames else [])
        )
        is_apart = clip.starts[n] - clip.starts[starts[-1]] >= Fraction(1, 5)
        if lasting >= max(30, 2 * others[-2]) and is_apart:
            starts.append(n)
    stops = [*starts[1:], frames]
    return [(start + stop - 1) // 2 for start, stop in zip(starts, stops, strict=True)]


RULES = {
    "every 10th": (EveryNth(every=10), every_tenth),
    "8 a second": (AtRate(frames_per_second=8), eight_a_second),
    "5 spread": (Spread(count=5), five_spread),
    "8 most different of a second": (MostDifferent(count=8, window_seconds=1), eight_most_different),
    "4 most different, 5 apart": (
        MostDifferent(count=4, window_seconds=0, minimum_distance=5),
        four_most_different_apart,
    ),
    "one per scene": (OnePerScene(threshold=30, shortest_seconds=0.2), middles_of_scenes),
    "all": (EveryNth(every=1), lambda clip: list(range(len(clip.pixels)))),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_takes_the_frames_that_a_plain_loop_takes(rule, action_set, tmp_path):
    how, plainly = RULES[rule]

    result = extract_footage(action_set.root, tmp_path / "out", ExtractingOptions(rule=how))

    assert sorted(video for video, _ in result.failed) == sorted(action_set.broken)
    assert len(result.made) == 100
    footage, notes = read_footage(tmp_path / "out")
    assert notes == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*result.made, MANIFEST])
    for video in action_set.clips:
        name, played = Path(video).stem, action_set.shown(video)
        clip, expected = footage.clip(name), plainly(played)
        assert list(clip.indices) == expected, video
        assert list(clip.frames) == [f"{name}_frame_{n + 1}.png" for n in expected]
        assert sorted(path.name for path in (tmp_path / "out" / name).iterdir()) == sorted(clip.frames)
        for path, number in zip(footage.paths(clip), expected, strict=True):
            with Image.open(path) as image:
                assert np.array_equal(np.asarray(image), played.pixels[number]), f"frame {number} of {video}"


def test_the_manifest_says_where_a_clip_came_from(put_clip, tmp_path):
    import hashlib

    video = put_clip("videos/run.mp4", frames=40)

    extract_footage(tmp_path / "videos", tmp_path / "out")

    (line,) = (tmp_path / "out" / MANIFEST).read_text().splitlines()
    record = json.loads(line)
    assert record["name"] == "run"
    assert record["frames"] == [f"run_frame_{n}.png" for n in (10, 20, 30, 40)]
    assert record["indices"] == [9, 19, 29, 39]
    assert record["source"] == "run.mp4"
    assert record["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    assert (record["width"], record["height"], record["frames_per_second"]) == (64, 48, 2.5)
    assert str(tmp_path) not in line


def test_frames_can_be_counted_from_0(put_clip, tmp_path):
    put_clip("videos/run.mp4", frames=21)

    result = extract_footage(tmp_path / "videos", tmp_path / "out", ExtractingOptions(count_from=0))

    assert result.footage.clips[0].frames == ("run_frame_0.png", "run_frame_10.png", "run_frame_20.png")
    assert result.footage.clips[0].indices == (0, 10, 20)


@pytest.mark.parametrize(
    ("rule", "extent", "expected"),
    [
        (EveryNth(every=5), FrameRange(first=4, last=20), [8, 13, 18]),
        (EveryNth(every=5), SecondsRange(start=0.4, end=0.8), [14, 19]),
        (Spread(count=3), FrameRange(first=10, last=-1), [10, 20, 29]),
        (AtRate(frames_per_second=5), SecondsRange(start=0.2), [5, 10, 15, 20, 25]),
        (AtRate(frames_per_second=100), FrameRange(first=3, last=6), [3, 4, 5, 6]),
    ],
)
def test_every_rule_has_its_range(rule, extent, expected, put_clip, tmp_path):
    put_clip("videos/run.mp4", frames=30)
    options = ExtractingOptions(rule=rule, extent=extent)

    result = extract_footage(tmp_path / "videos", tmp_path / "out", options)

    assert list(result.footage.clips[0].indices) == expected


def test_most_different_frames_come_from_the_window_that_starts_with_the_range(put_clip, tmp_path):
    put_clip("videos/run.mp4", frames=40)
    options = ExtractingOptions(rule=MostDifferent(count=99, window_seconds=0.4), extent=SecondsRange(start=0.8))

    result = extract_footage(tmp_path / "videos", tmp_path / "out", options)

    assert list(result.footage.clips[0].indices) == list(range(20, 30))


@pytest.mark.parametrize(
    "options",
    [
        ResizeOptions(width=32, height=32, fit="pad", ground="white"),
        ResizeOptions(width=40, height=24, fit="cover", filter="area"),
    ],
)
def test_frames_are_resized_as_resize_frames_does(options, action_set, tmp_path):
    import torch

    video = action_set.clips[0]

    result = extract_footage(action_set.root / video, tmp_path / "out", ExtractingOptions(resize=options))

    clip = result.footage.clips[0]
    assert (clip.width, clip.height) == (options.width, options.height)
    for path, number in zip(result.footage.paths(clip), clip.indices, strict=True):
        frame = torch.from_numpy(action_set.shown(video).pixels[number].copy())[None] / 255
        expected = (resize(frame, options)[0][0] * 255).round().byte().numpy()
        difference = np.abs(np.asarray(Image.open(path)).astype(int) - expected)
        assert difference.max() <= 1  # see resize_picture


def test_jpeg_takes_its_quality(put_clip, tmp_path):
    put_clip("videos/run.mp4")
    sizes = []
    for quality in (10, 95):
        options = ExtractingOptions(format="jpeg", quality=quality)
        result = extract_footage(tmp_path / "videos", tmp_path / str(quality), options)
        paths = result.footage.paths(result.footage.clips[0])
        assert {path.suffix for path in paths} == {".jpg"}
        sizes.append(paths[0].stat().st_size)

    assert sizes[0] < sizes[1]


def test_a_broken_video_does_not_stop_the_others(put_clip, tmp_path):
    put_clip("videos/b.mp4")
    put_clip("videos/short.mp4", frames=4)
    (tmp_path / "videos" / "a.mp4").write_bytes(b"nothing")

    result = extract_footage(tmp_path / "videos", tmp_path / "out")

    assert result.made == ("b",)
    assert [video for video, _ in result.failed] == ["a.mp4", "short.mp4"]
    assert "damaged" in result.failed[0][1]
    assert "there is no 10th" in result.failed[1][1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b", MANIFEST]


def test_a_video_that_breaks_off_leaves_nothing_behind(put_clip, tmp_path, monkeypatch):
    put_clip("videos/b.mp4")
    original = extracting.decoded_frames

    def breaks_off(*arguments):
        for number, frame in original(*arguments):
            if number > 20:
                raise MediaError("The disc is scratched.")
            yield number, frame

    monkeypatch.setattr(extracting, "decoded_frames", breaks_off)
    result = extract_footage(tmp_path / "videos", tmp_path / "out")

    assert result.failed == (("b.mp4", "The disc is scratched."),)
    assert not (tmp_path / "out").exists()


def test_a_mistake_of_ours_is_not_taken_for_a_broken_video(put_clip, tmp_path, monkeypatch):
    put_clip("videos/b.mp4")
    monkeypatch.setattr(extracting, "write_picture", lambda frame, path, options: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        extract_footage(tmp_path / "videos", tmp_path / "out")


def test_a_full_disk_stops_the_run_with_a_sentence(put_clip, tmp_path, monkeypatch):
    for name in "abcdef":
        put_clip(f"videos/{name}.mp4")
    tried = []

    def full(frame, path, options):
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extracting, "write_picture", full)
    with pytest.raises(MediaError, match="The disk is full"):
        extract_footage(tmp_path / "videos", tmp_path / "out", ExtractingOptions(jobs=1))

    assert len({path.stem.partition("_")[0] for path in tried}) < 6


# Doing it again


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def written(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}


def test_what_is_done_and_unchanged_is_not_done_again(put_clip, tmp_path):
    for name in "ab":
        put_clip(f"videos/{name}.mp4")
    extract_footage(tmp_path / "videos", tmp_path / "out")
    before = written(tmp_path / "out")
    put_clip("videos/c.mp4")
    os.utime(tmp_path / "videos" / "b.mp4", ns=(1, 1))  # copied, as it were: another time, the same bytes

    result = extract_footage(tmp_path / "videos", tmp_path / "out")

    assert (result.made, result.kept) == (("c",), ("a", "b"))
    assert [clip.name for clip in result.footage.clips] == ["a", "b", "c"]
    assert before.items() <= written(tmp_path / "out").items()


@pytest.mark.parametrize(
    "change",
    [
        "another video",
        "a frame is gone",
        dict(rule=EveryNth(every=5)),
        dict(format="jpeg"),
        dict(count_from=0),
        dict(extent=FrameRange(first=3)),
        dict(resize=ResizeOptions(width=32)),
    ],
    ids=str,
)
def test_what_has_changed_is_done_again_as_if_for_the_first_time(change, put_clip, tmp_path):
    put_clip("videos/a.mp4")
    extract_footage(tmp_path / "videos", tmp_path / "out")
    options = ExtractingOptions(**change) if isinstance(change, dict) else ExtractingOptions()
    if change == "another video":
        put_clip("videos/a.mp4", seed=2)
    if change == "a frame is gone":
        (tmp_path / "out" / "a" / "a_frame_20.png").unlink()

    result = extract_footage(tmp_path / "videos", tmp_path / "out", options)

    extract_footage(tmp_path / "videos", tmp_path / "fresh", options)
    assert result.made == ("a",)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_splits_and_captions_are_kept_when_a_clip_is_made_again(put_clip, tmp_path):
    from dataclasses import replace

    put_clip("videos/a.mp4")
    footage = extract_footage(tmp_path / "videos", tmp_path / "out").footage
    write_manifest(
        footage.with_clips(replace(clip, split="test", caption="a cat", motion=1.0) for clip in footage.clips)
    )

    extract_footage(tmp_path / "videos", tmp_path / "out", ExtractingOptions(rule=Spread(count=2)))

    (clip,) = read_footage(tmp_path / "out")[0].clips
    assert (clip.split, clip.caption, clip.motion) == ("test", "a cat", None)


def test_two_sources_can_go_into_one_folder(put_clip, tmp_path):
    put_clip("one/a.mp4")
    put_clip("two/b.mp4")
    for source in ("one", "two"):
        extract_footage(tmp_path / source, tmp_path / "out")

    assert [clip.name for clip in read_footage(tmp_path / "out")[0].clips] == ["a", "b"]


def test_another_video_of_the_same_name_does_not_replace_a_clip(put_clip, tmp_path):
    put_clip("one/a.mp4")
    put_clip("two/a.mp4", seed=2)
    extract_footage(tmp_path / "one", tmp_path / "out")
    before = contents(tmp_path / "out")

    result = extract_footage(tmp_path / "two", tmp_path / "out")

    assert "from another video" in result.failed[0][1]
    assert contents(tmp_path / "out") == before


def test_a_folder_of_somebody_elses_is_left_alone(put_clip, tmp_path):
    put_clip("videos/a.mp4")
    put_clip("videos/b.mp4")
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "diary.txt").write_text("dear diary")

    result = extract_footage(tmp_path / "videos", tmp_path / "out")

    assert result.made == ("b",)
    assert "was not extracted from a video" in result.failed[0][1]
    assert (tmp_path / "out" / "a" / "diary.txt").read_text() == "dear diary"


def test_the_output_may_lie_among_the_videos(put_clip, tmp_path):
    put_clip("videos/a.mp4")
    extract_footage(tmp_path / "videos", tmp_path / "videos" / "out")
    shutil.copy(tmp_path / "videos" / "a.mp4", tmp_path / "videos" / "out" / "b.mp4")

    result = extract_footage(tmp_path / "videos", tmp_path / "videos" / "out")
    in_place = extract_footage(tmp_path / "videos", tmp_path / "videos")

    assert (result.made, result.kept) == ((), ("a",))
    assert in_place.made == ("a", "b")


def test_two_extractions_into_one_folder_do_not_mix(put_clip, tmp_path):
    put_clip("videos/a.mp4")
    refused = []

    def meanwhile(step):
        if not refused:
            with pytest.raises(FootageError, match="Another extraction is writing"):
                extract_footage(tmp_path / "videos", tmp_path / "out")
            refused.append(step)

    extract_footage(tmp_path / "videos", tmp_path / "out", on_step=meanwhile)

    assert refused
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", MANIFEST]


def test_what_is_finished_before_a_cancel_stays(put_clip, tmp_path):
    for name in "abcdefgh":
        put_clip(f"videos/{name}.mp4")

    def cancel(step):
        if step.videos_done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_footage(tmp_path / "videos", tmp_path / "out", ExtractingOptions(jobs=1), cancel)

    footage, notes = read_footage(tmp_path / "out")
    assert len(footage.clips) >= 2
    assert notes == []
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_progress_rises_to_the_whole_and_tells_frames(put_clip, tmp_path):
    for name in "abc":
        put_clip(f"videos/{name}.mp4", frames=30)
    steps = []

    extract_footage(tmp_path / "videos", tmp_path / "out", on_step=steps.append)

    assert [step.share for step in steps] == sorted(step.share for step in steps)
    assert (steps[-1].videos_done, steps[-1].videos, steps[-1].frames, steps[-1].share) == (3, 3, 9, 1.0)
    assert steps[-1].seconds_left == 0
    assert steps[-1].frames_per_second > 0


# Killed at any moment


# A process that has imported everything, and forks one that extracts for each line that it reads.
FORKER = """
import json, os, sys
import cv2
from zoetrope.clips.extracting import EveryNth, ExtractingOptions, extract_footage

for line in sys.stdin:
    source, root, every, count_from = json.loads(line)
    child = os.fork()
    if not child:
        options = ExtractingOptions(rule=EveryNth(every=every), count_from=count_from)
        try:
            extract_footage(source, root, options)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def forker():
    """Extracts in a process; gives its id, and a function that waits for it and gives how it ended."""
    with subprocess.Popen([sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:

        def extract(source, root, every, count_from):
            server.stdin.write(f"{json.dumps([str(source), str(root), every, count_from])}\n".encode())
            server.stdin.flush()
            return int(server.stdout.readline()), lambda: int(server.stdout.readline())

        yield extract
        server.stdin.close()


def kill(process):
    with suppress(ProcessLookupError):  # it was quicker
        os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_any_moment_and_started_again_the_result_is_that_of_an_undisturbed_run(action_set, tmp_path, forker):
    """Half of the kills hit an extraction that replaces another one's clips."""
    source = tmp_path / "videos"
    shutil.copytree(action_set.root, source, ignore=lambda folder, names: names if folder.endswith(("e", "g")) else [])
    extract_footage(source, tmp_path / "old", ExtractingOptions(rule=EveryNth(every=4)))
    started = time.monotonic()
    assert forker(source, tmp_path / "new", 3, 0)[1]() == 0
    seconds = time.monotonic() - started
    new, old = contents(tmp_path / "new"), contents(tmp_path / "old")
    kills = 0
    for attempt in range(10 * KILLS):
        root = tmp_path / f"killed-{attempt}"
        if attempt % 2:
            shutil.copytree(tmp_path / "old", root)
        started = time.monotonic()
        process, ended = forker(source, root, 3, 0)
        time.sleep(random.uniform(0, seconds))
        kill(process)
        if ended() != signal.SIGKILL:  # it was quicker, as the machine's other work lets it
            seconds = min(seconds, time.monotonic() - started)
            continue
        kills += 1
        for clip in (path.name for path in root.glob("*") if path.is_dir() and not path.name.startswith(".")):
            there = contents(root / clip)
            assert there in (clip_in(new, clip), clip_in(old, clip)), f"{clip} is half-written"

        assert forker(source, root, 3, 0)[1]() == 0

        assert contents(root) == new
        if kills == KILLS:
            return
    pytest.fail(f"only {kills} of {KILLS} kills came in time")


def clip_in(run, clip):
    return {name.partition("/")[2]: data for name, data in run.items() if name.startswith(f"{clip}/")}


EXTRACTS = """
import re, sys
from pathlib import Path
sys.modules["torch"] = None  # whoever imports it fails
from zoetrope.clips.different import MostDifferent, OnePerScene
from zoetrope.clips.extracting import ExtractingOptions, extract_footage
from zoetrope.media.resizing import ResizeOptions
from zoetrope.media.selection import EveryNth
options = eval(sys.argv[3])
result = extract_footage(sys.argv[1], sys.argv[2], options)
assert result.made, result.failed
status = Path("/proc/self/status")
print(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1] if status.exists() else 0)
"""


def peak_megabytes(video, out, options):
    """The most memory that a fresh process takes for an extraction, without torch."""
    done = subprocess.run(
        [sys.executable, "-c", EXTRACTS, video, out, options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


@pytest.mark.parametrize(
    "resize",
    ["width=32, height=32, fit='pad', ground='teal', filter='area'", "width=40, fit='cover', filter='bilinear'", ""],
)
def test_extracting_needs_no_torch_and_with_it_no_second_to_start(resize, put_clip, tmp_path):
    video = put_clip("run.mp4", frames=20)

    peak_megabytes(video, tmp_path / "out", f"ExtractingOptions(resize=ResizeOptions({resize}))")

    assert len(list((tmp_path / "out" / "run").iterdir())) == 2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells a process's peak memory")
@pytest.mark.parametrize("rule", ["EveryNth(every=10)", "MostDifferent(count=4, window_seconds=0)", "OnePerScene()"])
def test_memory_does_not_grow_with_the_length_of_a_video(rule, tmp_path):
    import av

    peaks = []
    for frames in (60, 360):  # a frame of 640x480 is 0.5 MB as decoded, so keeping the rest would take 138 MB
        video = tmp_path / f"{frames}.mp4"
        with av.open(str(video), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for number in range(frames):
                pixels = np.full((480, 640, 3), number % 8 * 30, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode(None))
        peaks.append(peak_megabytes(video, tmp_path / f"out-{frames}", f"ExtractingOptions(rule={rule})"))

    assert peaks[1] - peaks[0] < 20
    assert peaks[1] < 300
