import io
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from zoetrope.clips.different import MostDifferent, OnePerScene
from zoetrope.clips.extracting import ExtractingOptions, ExtractingStep
from zoetrope.clips.footage import read_footage
from zoetrope.headless.command import _parser, main
from zoetrope.headless.footage_extract import note_of, options_of
from zoetrope.headless.progress import ProgressDisplay
from zoetrope.media.resizing import ResizeOptions
from zoetrope.media.selection import AtRate, EveryNth, FrameRange, SecondsRange, Spread


def options(*arguments):
    line = ["footage", "extract", "videos", "--out", "out", *arguments]
    return options_of(_parser(line).parse_args(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("--every 5", dict(rule=EveryNth(every=5))),
        ("--rate 7.5", dict(rule=AtRate(frames_per_second=7.5))),
        ("--count 12", dict(rule=Spread(count=12))),
        ("--most-different 20", dict(rule=MostDifferent(count=20))),
        (
            "--most-different 20 --window 5 --minimum-distance 3 --seconds 2:",
            dict(
                rule=MostDifferent(count=20, window_seconds=5, minimum_distance=3), extent=SecondsRange(start=2, end=0)
            ),
        ),
        ("--scenes", dict(rule=OnePerScene())),
        (
            "--scenes --threshold 20 --shortest-scene 1 --take first",
            dict(rule=OnePerScene(threshold=20, shortest_seconds=1, take="first")),
        ),
        ("--all", dict(rule=EveryNth(every=1))),
        ("--seconds 1.5:3", dict(extent=SecondsRange(start=1.5, end=3))),
        ("--seconds :.5", dict(extent=SecondsRange(start=0, end=0.5))),
        ("--frames 10:20", dict(extent=FrameRange(first=9, last=19))),
        ("--frames=-10:", dict(extent=FrameRange(first=-10, last=-1))),
        ("--frames :20 --count-from 0", dict(extent=FrameRange(first=0, last=20), count_from=0)),
        ("--size 1024x576 --filter area", dict(resize=ResizeOptions(width=1024, height=576, filter="area"))),
        ("--size 512x512 --pad white", dict(resize=ResizeOptions(width=512, height=512, fit="pad", ground="white"))),
        (
            "--size 512x512 --fit pad --pad #1a6b5f",
            dict(resize=ResizeOptions(width=512, height=512, fit="pad", ground="#1a6b5f")),
        ),
        (
            "--size x576 --fit cover --anchor top --multiple-of 64",
            dict(resize=ResizeOptions(height=576, fit="cover", anchor="top", multiple_of=64)),
        ),
        ("--multiple-of 8", dict(resize=ResizeOptions(multiple_of=8))),
        ("--format jpg --quality 80", dict(format="jpeg", quality=80)),
        ("--keep-folders --jobs 3", dict(keep_folders=True, jobs=3)),
    ],
)
def test_arguments_mean_options_and_what_is_left_out_is_the_options_own(line, expected):
    assert options(*line.split()) == ExtractingOptions(**expected)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    with av.open(str(tmp_path / "videos" / "run.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            pixels = np.full((48, 64, 3), 8 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return tmp_path


def test_a_folder_of_videos_becomes_footage(folder, capsys):
    line = ["footage", "extract", "videos", "--out", "frames", "--count", "3", "--size", "32x32", "--pad", "white"]

    assert main(line) == 0

    told = capsys.readouterr()
    assert told.out == "frames: 3 frames of 1 video.\n"
    (clip,) = read_footage(folder / "frames")[0].clips
    assert clip.frames == ("run_frame_1.png", "run_frame_16.png", "run_frame_30.png")
    with Image.open(folder / "frames" / "run" / "run_frame_1.png") as image:
        assert image.size == (32, 32)
        assert image.getpixel((16, 1)) == (255, 255, 255)

    assert main(line) == 0
    assert capsys.readouterr().out == "frames: 3 frames of 1 video, 1 were there already.\n"


def test_a_broken_video_is_told_at_the_end_and_by_the_exit_code(folder, capsys):
    (folder / "videos" / "bad.mp4").write_bytes(b"nothing")

    assert main(["footage", "extract", "videos", "--out", "frames"]) == 2

    told = capsys.readouterr()
    assert told.out == "frames: 3 frames of 1 video, 1 gave no frames.\n"
    assert told.err.splitlines()[-1].startswith("bad.mp4: bad.mp4 is not a video")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("none --out x", "none does not exist"),
        ("videos --out x --size 1024", '--size is "1024"'),
        ("videos --out x --size x", '--size is "x"'),
        ("videos --out x --fit cover", "--fit says how to reach a size"),
        ("videos --out x --size 8x8 --fit cover --pad white", "--pad belongs to --fit pad"),
        ("videos --out x --size 8x8 --pad mauvish", "'mauvish' is no colour"),
        ("videos --out x --window 3", "--window belongs to --most-different"),
        ("videos --out x --scenes --minimum-distance 3", "--minimum-distance belongs to --most-different"),
        ("videos --out x --threshold 3", "--threshold belongs to --scenes"),
        ("videos --out x --quality 80", "--quality is of JPEG"),
        ("videos --out x --seconds 5", '--seconds is "5"'),
        ("videos --out x --frames 1:2:3", '--frames is "1:2:3"'),
        ("videos --out x --frames 0:9", "Frame 0 is asked for, and frames are counted from 1"),
        ("videos --out x --frames 1:9 --seconds 1:2", "Give one of them"),
        ("videos --out x --every 0", "Every nth frame needs an n of 1 or more"),
        ("videos --out x --most-different 0", "number of frames to take is 0"),
        ("videos --out videos/run.mp4", "is a file, not a folder"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(line, sentence, folder, capsys):
    assert main(["footage", "extract", *line.split()]) == 2

    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert not (folder / "x").exists()


def test_the_help_teaches_with_examples_and_imports_no_torch(capsys):
    with pytest.raises(SystemExit):
        main(["footage", "extract", "--help"])
    told = capsys.readouterr().out
    for option in ("--every", "--rate", "--count", "--most-different", "--window", "--scenes", "--all", "--pad"):
        assert option in told
    lines = [line.split()[1:] for line in told.splitlines() if line.startswith("    zoetrope footage extract")]
    assert len(lines) == 5
    for line in lines:
        options_of(_parser(line).parse_args(line))  # every example is one that works

    quick = "import sys; from zoetrope.headless.command import _parser; _parser(['footage']); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", quick], check=True, capture_output=True, text=True).stdout.split()
    assert "zoetrope.headless.footage_extract" in modules
    assert "torch" not in modules


def test_progress_tells_a_rate_and_the_time_that_is_left():
    step = ExtractingStep(videos_done=3, videos=9, frames=200, share=0.25, seconds=20)
    stream = io.StringIO()

    with ProgressDisplay(stream) as display:
        display.show("Extracting frames", step.videos_done, step.videos, note_of(step))

    assert note_of(step) == "200 frames, 10 a second, 1 min 00 s left"
    assert "30 % (3 of 9, 200 frames, 10 a second, 1 min 00 s left)" in stream.getvalue()
