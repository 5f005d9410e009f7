import json

import numpy as np
import pytest
from PIL import Image, ImageSequence

from zoetrope.media.errors import MediaError
from zoetrope.media.webp import WebpOptions, read_webp, write_webp


def noise(frames=5, height=24, width=32):
    return list(np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def test_every_frame_comes_back_and_the_clip_plays_for_ever_in_its_time(tmp_path):
    frames = noise(24)

    path = write_webp(tmp_path / "a.webp", frames, 24, WebpOptions(lossless=True))

    with Image.open(path) as image:
        shown = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert all((pixels == frame).all() for (pixels, _), frame in zip(shown, frames, strict=True))
    assert sum(duration for _, duration in shown) == 1000
    assert {duration for _, duration in shown} == {41, 42}


def test_what_was_written_is_read_again_with_its_rate(tmp_path):
    frames = noise(7)

    read, rate = read_webp(write_webp(tmp_path / "a.webp", frames, 7, WebpOptions(lossless=True)))

    assert all((pixels == frame).all() for pixels, frame in zip(read, frames, strict=True))
    assert rate == pytest.approx(7)


def test_frames_that_stand_still_are_read_as_often_as_they_were_written(tmp_path):
    first, second, third = noise(3)
    frames = [first, second, second, second, third]

    read, rate = read_webp(write_webp(tmp_path / "a.webp", frames, 8, WebpOptions(lossless=True)))

    assert all((pixels == frame).all() for pixels, frame in zip(read, frames, strict=True))
    assert rate == pytest.approx(8)


def test_what_is_no_webp_is_told_by_name(tmp_path):
    (tmp_path / "a.webp").write_bytes(b"RIFF....")

    with pytest.raises(MediaError, match=r"a\.webp cannot be read as WebP"):
        read_webp(tmp_path / "a.webp")


def test_quality_makes_the_file_larger(tmp_path):
    sizes = [
        write_webp(tmp_path / "a.webp", noise(), 8, WebpOptions(quality=quality)).stat().st_size for quality in (5, 95)
    ]

    assert sizes[1] > 2 * sizes[0]


def test_the_workflow_is_kept_where_comfyui_reads_it(tmp_path):
    metadata = {"prompt": {"1": {}}, "workflow": {"nodes": [1]}, "extra": "Z\u00fcrich"}

    path = write_webp(tmp_path / "a.webp", noise(), 8, metadata=metadata)

    with Image.open(path) as image:
        exif = image.getexif()
    assert exif[0x0110] == "prompt:" + json.dumps(metadata["prompt"])
    assert exif[0x010F] == "workflow:" + json.dumps(metadata["workflow"])
    assert exif[0x010E] == "extra:" + json.dumps("Z\u00fcrich")


@pytest.mark.parametrize(
    "sentence, frames, rate",
    [
        ("no frames", [], 8),
        ("Frame 2 is 2x4", [*noise(2), np.zeros((4, 2, 3), np.uint8)], 8),
        ("at most 16383", [np.zeros((1, 16384, 3), np.uint8)], 8),
        ("frames per second is inf", noise(), float("inf")),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, sentence, frames, rate):
    with pytest.raises(MediaError, match=sentence):
        write_webp(tmp_path / "a.webp", frames, rate)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [dict(quality=101), dict(method=7)])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(MediaError, match="goes from 0"):
        WebpOptions(**options)


def test_it_can_be_cancelled(tmp_path):
    def cancel(done, frame):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_webp(tmp_path / "a.webp", noise(), 8, on_frame=cancel)

    assert list(tmp_path.iterdir()) == []
