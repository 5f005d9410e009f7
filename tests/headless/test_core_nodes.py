"""What the core nodes' equivalents make is compared with ComfyUI itself in tests/comfyui/test_core_nodes.py."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch.testing import assert_close

from zoetrope.headless.core_pictures import NODES as PICTURE_NODES
from zoetrope.headless.core_pictures import load_image
from zoetrope.headless.core_sounds import NODES as SOUND_NODES
from zoetrope.headless.core_sounds import load_audio
from zoetrope.headless.core_values import in_words
from zoetrope.headless.core_videos import NODES as VIDEO_NODES
from zoetrope.host import folders
from zoetrope.host.standin_video import VideoComponents, VideoFromComponents
from zoetrope.media.pictures import read_picture

NODES = {node.GET_SCHEMA().node_id: node for node in [*PICTURE_NODES, *SOUND_NODES, *VIDEO_NODES]}
PROMPT, WORKFLOW = {"1": {"class_type": "Ünode"}}, {"nodes": []}


@pytest.fixture(autouse=True)
def output(tmp_path):
    before = folders.own_folders()
    folders.set_folders(output=tmp_path / "output", temp=tmp_path / "temp")
    yield tmp_path / "output"
    folders.set_folders(**before)


def run(kind, **inputs):
    return NODES[kind].running(prompt=PROMPT, extra_pnginfo={"workflow": WORKFLOW}).execute(**inputs)


def ramp(frames=3):
    """A (f 4 8 3) clip whose every pixel lies half-way between two of the 256 steps."""
    steps = torch.arange(frames * 4 * 8 * 3).reshape(frames, 4, 8, 3) % 255
    return (steps + 0.5) / 255


def test_a_picture_is_cut_off_to_bytes_and_not_rounded_as_comfyui_does(output):
    run("SaveImage", images=ramp(), filename_prefix="a")

    saved = np.stack([read_picture(path) for path in sorted(output.iterdir())])
    assert (saved == (np.arange(saved.size).reshape(saved.shape) % 255)).all()


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("SaveImage", {"images": ramp(2)}),
        ("SaveAnimatedWEBP", {"images": ramp(), "fps": 8, "lossless": True, "quality": 80, "method": "default"}),
        ("SaveAnimatedPNG", {"images": ramp(), "fps": 8, "compress_level": 4}),
        ("SaveAudio", {"audio": {"waveform": torch.zeros(2, 1, 100), "sample_rate": 8000}}),
        ("SaveVideo", {"video": VideoFromComponents(VideoComponents(torch.zeros(2, 32, 32, 3), Fraction(8))),
                       "format": {"format": "auto"}}),
    ],
)  # fmt: skip
def test_runs_at_the_same_time_take_nothing_from_each_other(output, kind, inputs, monkeypatch):
    monkeypatch.setattr(folders, "_highest_number", lambda *_: 0)  # as each of them counts before the others save

    runs = [run(kind, filename_prefix="a", **inputs).ui.as_dict() for _ in range(3)]

    shown = [entry["filename"] for ui in runs for items in ui.values() for entry in items if isinstance(entry, dict)]
    assert len(set(shown)) == len(shown) >= 3
    assert sorted(shown) == sorted(path.name for path in output.iterdir())


@pytest.mark.parametrize(
    ("container", "suffix"), [("auto", ".mp4"), ("mp4", ".mp4"), ("mkv", ".mkv"), ("webm", ".webm")]
)
def test_a_video_is_named_after_the_container_that_was_chosen(output, container, suffix):
    clip = VideoFromComponents(VideoComponents(torch.zeros(2, 64, 64, 3), Fraction(8)))

    run("SaveVideo", video=clip, filename_prefix="a", format={"format": container})

    (made,) = output.iterdir()
    assert made.suffix == suffix
    with av.open(str(made)) as file:
        assert (file.format.name == "matroska,webm") == (suffix in (".mkv", ".webm"))


def test_the_workflow_is_kept_in_pictures(output):
    run("SaveImage", images=ramp(1), filename_prefix="a")
    run("SaveAnimatedWEBP", images=ramp(), filename_prefix="b", fps=8, lossless=True, quality=80, method="default")
    run("SaveAnimatedPNG", images=ramp(), filename_prefix="c", fps=8, compress_level=4)

    with Image.open(output / "a_00001_.png") as picture:
        assert (json.loads(picture.text["prompt"]), json.loads(picture.text["workflow"])) == (PROMPT, WORKFLOW)
    with Image.open(output / "b_00001_.webp") as animation:
        exif = animation.getexif()
        assert (exif[0x0110], exif[0x010F]) == (f"prompt:{json.dumps(PROMPT)}", f"workflow:{json.dumps(WORKFLOW)}")
    assert b"comfworkflow\0" + json.dumps(WORKFLOW).encode() in (output / "c_00001_.png").read_bytes()


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("SaveAnimatedWEBP", {"lossless": True, "quality": 80, "method": "fastest"}, "a_00001_.webp"),
        ("SaveAnimatedPNG", {"compress_level": 1}, "a_00001_.png"),
    ],
)
def test_an_animation_has_its_frames_and_their_time(kind, options, name, output):
    shown = run(kind, images=ramp(), filename_prefix="a", fps=8, **options).ui.as_dict()

    with Image.open(output / name) as animation:
        frames = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(animation)]
    assert [milliseconds for _, milliseconds in frames] == [125, 125, 125]
    assert (np.stack([np.asarray(frame) for frame, _ in frames]) == (ramp() * 255).byte().numpy()).all()
    assert shown["images"] == [{"filename": name, "subfolder": "", "type": "output"}]
    assert shown["animated"] == (True,)


def test_numbers_that_are_no_colors_are_refused_and_leave_nothing(output):
    images = ramp()
    images[1, 0, 0, 0] = float("nan")

    with pytest.raises(ValueError, match="Image 1 holds numbers that are no colors"):
        run("SaveAnimatedPNG", images=images, filename_prefix="a", fps=8, compress_level=4)

    assert not output.exists()


def test_a_picture_comes_with_the_mask_of_what_is_transparent(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, :3] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "half.png")

    images, mask = load_image(tmp_path / "half.png")

    assert images.shape == (1, 4, 6, 3)
    assert_close(images[0, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    assert_close(mask[0, 0], torch.tensor([0.0, 0, 0, 1, 1, 1]))


def test_a_picture_without_transparency_has_an_empty_mask(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "full.png")

    assert_close(load_image(tmp_path / "full.png")[1], torch.zeros(1, 64, 64))


def test_all_frames_of_an_animated_webp_are_loaded(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)

    assert_close(load_image(tmp_path / "a.webp")[0][:, 0, 0], torch.eye(3))


@pytest.mark.parametrize(("first", "length", "expected"), [(0, 2, [0, 1]), (-1, 5, [4]), (9, 1, [4]), (3, 9, [3, 4])])
def test_images_are_taken_out_of_a_batch(first, length, expected):
    batch = torch.arange(5.0)[:, None, None, None].expand(5, 2, 2, 3)

    taken = run("ImageFromBatch", image=batch, batch_index=first, length=length).result[0]

    assert taken[:, 0, 0, 0].tolist() == expected


def test_a_batch_is_repeated():
    assert run("RepeatImageBatch", image=ramp(2), amount=3).result[0].shape[0] == 6


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_is_saved_and_comes_back(channels, output):
    waveform = (torch.rand(1, channels, 4000) - 0.5).mul(2**15).round().div(2**15)

    run("SaveAudio", audio={"waveform": waveform, "sample_rate": 8000}, filename_prefix="a")

    sound = load_audio(output / "a_00001.flac")
    assert sound["sample_rate"] == 8000
    assert_close(sound["waveform"], waveform, atol=1e-4, rtol=0)
    with av.open(str(output / "a_00001.flac")) as container:
        assert json.loads(container.metadata["prompt"]) == PROMPT


def test_what_cannot_be_saved_as_sound_is_told_in_a_sentence(output):
    with pytest.raises(ValueError, match="there is no sound"):
        run("SaveAudio", audio=None, filename_prefix="a")
    with pytest.raises(ValueError, match="the sound has 6 channels"):
        run("SaveAudio", audio={"waveform": torch.zeros(1, 6, 100), "sample_rate": 8000}, filename_prefix="a")
    assert not output.exists()


def test_a_file_that_is_something_else_is_told_in_a_sentence(tmp_path):
    (tmp_path / "a.png").write_text("I am no picture")
    (tmp_path / "a.wav").write_text("I am no sound")

    with pytest.raises(ValueError, match=r"a.png is not a picture that can be read"):
        load_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.wav is not a video or sound that can be read"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "None"),
        (True, "True"),
        (2.5, "2.5"),
        (["ü"], '[\n    "ü"\n]'),
        (torch.zeros(2), "tensor([0., 0.])"),
    ],
)
def test_anything_can_be_shown_as_text(value, text):
    assert in_words(value) == text
