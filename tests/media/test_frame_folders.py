import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoetrope.media.errors import MediaError
from zoetrope.media.frame_folders import FramesOptions, frame_name, write_frames
from zoetrope.media.pictures import read_picture


def noise(frames=5, height=24, width=32, channels=3):
    return list(np.random.default_rng(0).integers(0, 256, (frames, height, width, channels), dtype=np.uint8))


def test_every_frame_is_a_picture_in_order_with_its_workflow(tmp_path):
    frames = noise(20)

    paths = write_frames(tmp_path / "run" / "frames", frames, metadata={"prompt": {"1": 2}})

    assert [path.name for path in paths] == [f"frame_{number:05}.png" for number in range(20)]
    assert sorted(path.name for path in (tmp_path / "run" / "frames").iterdir()) == [path.name for path in paths]
    assert all((read_picture(path) == frame).all() for path, frame in zip(paths, frames, strict=True))
    with Image.open(paths[7]) as image:
        assert json.loads(image.text["prompt"]) == {"1": 2}


def test_jpeg_takes_its_quality(tmp_path):
    sizes = []
    for quality in (5, 100):
        options = FramesOptions(format="jpeg", quality=quality, name="{n}")
        paths = write_frames(tmp_path / str(quality), noise(3), options)
        assert [path.name for path in paths] == ["0.jpg", "1.jpg", "2.jpg"]
        sizes.append(paths[0].stat().st_size)

    assert sizes[1] > 3 * sizes[0]


def test_transparency_is_kept_in_png(tmp_path):
    (path,) = write_frames(tmp_path / "a", noise(1, channels=4))

    with Image.open(path) as image:
        assert image.mode == "RGBA"


def test_frames_can_be_numbered_by_their_place_in_the_source(tmp_path):
    paths = write_frames(tmp_path / "a", noise(3), FramesOptions(numbers=[30, 10, 20]))

    assert [path.name for path in paths] == ["frame_00030.png", "frame_00010.png", "frame_00020.png"]


def test_one_frame_needs_no_number(tmp_path):
    assert write_frames(tmp_path / "a", noise(1), FramesOptions(name="first frame"))[0].name == "first frame.png"


@given(st.sets(st.integers(0, 10**7), min_size=2), st.sampled_from(["{n}", "{n:05}", "a{n}b{n:3}", "{n}{n}"]))
def test_no_two_numbers_share_a_name(numbers, pattern):
    names = {frame_name(pattern, number) for number in numbers}

    assert len(names) == len(numbers)
    assert all(str(number).zfill(5) == frame_name("{n:05}", number) for number in numbers)


@given(st.text())
def test_a_name_is_a_plain_file_name_on_every_system_or_refused(pattern):
    try:
        name = frame_name(pattern, 7)
    except MediaError:
        return
    assert name and len(name.encode()) < 250
    assert not re.search(r'[\x00-\x1f/\\:*?"<>|]', name)
    assert name == name.strip(" .")


HOSTILE = [
    "",
    " ",
    ".",
    "..",
    "../{n}",
    "a/{n}",
    "a\\{n}",
    "/etc/{n}",
    "C:{n}",
    "a\0{n}",
    "a\n{n}",
    "con",
    "NUL.{n}",
    "Lpt1",
    "{n",
    "{}",
    "{n!r}",
    "{n.__class__}",
    "{0}",
    "{m}",
    "{n:}",
    "{n:05d}",
    "{n:099999}",
    "n}",
    "{n:>9}",
    "a{n}.",
    "{n} ",
    "\ud800{n}",
    "x" * 300,
    "*{n}",
    "what?{n}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_before_anything_is_written(name):
    with pytest.raises(MediaError, match="name|no file"):
        FramesOptions(name=name)


def test_a_name_in_any_language_is_taken(tmp_path):
    name = "K\u00e4se \u6620\u753b {n}"

    assert write_frames(tmp_path / "a", noise(1), FramesOptions(name=name))[0].stem == "K\u00e4se \u6620\u753b 0"


REFUSED = {
    "no frames": (dict(), 0),
    "the name holds no {n}": (dict(name="still"), 2),
    "both have the number 4": (dict(numbers=[4, 5, 4]), 3),
    "There are 2 numbers, but more frames": (dict(numbers=[1, 2]), 3),
    "There are 4 numbers for 3 frames": (dict(numbers=[1, 2, 3, 4]), 3),
    "counted from 0": (dict(numbers=[-1]), 1),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, sentence):
    options, frames = REFUSED[sentence]

    with pytest.raises(MediaError, match=sentence):
        write_frames(tmp_path / "run" / "a", noise(5)[:frames], FramesOptions(**options))

    assert list(tmp_path.iterdir()) == []


def test_an_error_while_encoding_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(MediaError, match="uint8"):
        write_frames(tmp_path / "a", [*noise(9), np.zeros((4, 4, 3))])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [dict(format="gif"), dict(quality=0)])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(MediaError):
        FramesOptions(**options)


def test_a_folder_that_exists_is_not_mixed_with(tmp_path):
    (tmp_path / "mine.txt").write_text("x")

    with pytest.raises(MediaError, match="exists already"):
        write_frames(tmp_path, noise())

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("when", [1, 7, 20])
def test_a_cancelled_folder_is_gone(tmp_path, when):
    def cancel(done, frame):
        if done == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / "run" / "a", noise(20), on_frame=cancel)

    assert list(tmp_path.iterdir()) == []


def test_only_a_few_frames_are_in_the_works_at_a_time(tmp_path):
    taken = 0

    def frames():
        nonlocal taken
        for frame in noise(30):
            taken += 1
            yield frame

    ahead = []
    write_frames(tmp_path / "a", frames(), on_frame=lambda done, frame: ahead.append((done, taken - done)))

    assert [done for done, _ in ahead] == list(range(1, 31))
    assert max(more for _, more in ahead) <= 6
