"""`zoetrope svd`, with a tiny model."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from zoetrope.headless.clip_making import numbers_in
from zoetrope.headless.command import main
from zoetrope.media.pictures import as_images, read_picture
from zoetrope.media.reading import load_frames, probe
from zoetrope.models.lora import add_lora, load_lora, lora_targets, save_lora
from zoetrope.models.svd import load_svd
from zoetrope.nodes.watermark import ReadWatermark
from zoetrope.pipelines.svd import SVDOptions, image_to_video

SMALL = ["--num-frames", "3", "--num-steps", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here, tiny_checkpoint):
    shutil.copy(tiny_checkpoint("svd"), here / "svd_xt.safetensors")
    return "svd_xt.safetensors"


@pytest.fixture
def picture(here):
    noise = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((80, 64), Image.Resampling.BICUBIC).save(here / "picture.png")
    return "picture.png"


def svd(*arguments):
    return main(["svd", *map(str, arguments)])


def frames_of(path):
    return load_frames(path, range(probe(path).frames), probe(path))


def test_a_picture_becomes_a_video_with_the_picture_it_was_made_of_beside_it(here, model, picture, capsys):
    assert svd(picture, "--model", model, "--out", "clips", *SMALL) == 0

    assert capsys.readouterr().out.split() == ["clips/000000.mp4", "clips/000000.jpg"]
    facts = probe(here / "clips" / "000000.mp4")
    assert (facts.frames, facts.width, facts.height, float(facts.timeline.rate)) == (3, 80, 64, 7.0)
    assert np.abs(read_picture("clips/000000.jpg").astype(int) - read_picture(picture)).mean() < 6
    same = image_to_video(
        load_svd(model, dtype=torch.float32, device="cpu"),
        as_images(read_picture(picture))[0],
        SVDOptions(frames=3, steps=2),
    )
    assert (frames_of(here / "clips" / "000000.mp4") - same).abs().mean() < 0.06  # of noise, which H.264 is bad at


def test_every_parameter_of_the_reference_is_taken_as_it_is_called_there(here, model, picture):
    said = {"num_frames": 2, "num_steps": 1, "fps_id": 11, "motion_bucket_id": 40, "cond_aug": 0.1, "seed": 5,
            "decoding_t": 1, "version": "svd", "device": "cpu"}  # fmt: skip
    flags = [f"--{name}={value}" for name, value in said.items()]

    assert svd(picture, "--model", model, "--out", "clips", *flags) == 0

    facts = probe(here / "clips" / "000000.mp4")
    assert (facts.frames, float(facts.timeline.rate)) == (2, 12.0)


@pytest.fixture
def written(monkeypatch):
    """The frames of each video that is written, as they are before they are encoded."""
    videos = []
    monkeypatch.setattr(
        "zoetrope.media.writing.write_video", lambda path, frames, rate: videos.append(np.stack(list(frames)))
    )
    return videos


def test_what_is_transparent_becomes_white(model, here, written):
    pixels = np.zeros((64, 64, 4), np.uint8)  # black below, as many programs leave it
    pixels[:, 32:] = (200, 100, 0, 255)
    pixels[:32, 32:, 3] = 128
    Image.fromarray(pixels).save(here / "cut_out.png")

    assert svd("cut_out.png", "--model", model, "--out", "clips", *SMALL) == 0

    seen = read_picture("clips/000000.jpg").astype(int)
    assert np.abs(seen[8:56, 4:24] - 255).max() < 12
    assert np.abs(seen[40:56, 40:60] - (200, 100, 0)).mean() < 8
    assert np.abs(seen[8:24, 40:60] - (227, 177, 127)).mean() < 8  # half of it


@pytest.mark.parametrize(("bucket", "told"), [("300", True), ("0", True), ("255", False), ("1", False)])
def test_a_motion_that_svd_was_not_trained_on_is_told(bucket, told, model, picture, written, capsys):
    assert svd(picture, "--model", model, "--out", "clips", *SMALL, "--motion-bucket-id", bucket) == 0

    note = f"--motion-bucket-id is {bucket}, and SVD was trained on 1 to 255"
    assert (note in capsys.readouterr().err) == told


@pytest.fixture
def loras(here, model):
    """Two LoRAs: a file, and one among the models."""
    unet = load_svd(model, dtype=torch.float32, device="cpu").unet.module
    (here / "models" / "loras").mkdir(parents=True)
    files = [here / "moon.safetensors", here / "models" / "loras" / "grain.safetensors"]
    for seed, path in enumerate(files):
        layers = add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=seed)
        for parameter in layers.parameters():
            torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(seed))
        save_lora(path, layers)
    return files


def test_loras_are_put_on_at_their_strengths(loras, model, picture, written):
    flags = ["--lora", "moon.safetensors", "--lora-strength", "0.5", "--lora", "grain.safetensors"]

    assert svd(picture, "--model", model, "--out", "clips", *SMALL, *flags) == 0

    changed = load_svd(model, dtype=torch.float32, device="cpu")
    for path, strength in zip(loras, (0.5, 1.0), strict=True):
        changed = load_lora(changed, path, strength)
    same = image_to_video(changed, as_images(read_picture(picture))[0], SVDOptions(frames=3, steps=2))
    assert (written[0] == (same * 255).round().to(torch.uint8).numpy()).all()


def test_a_folder_becomes_a_clip_of_each_picture_and_numbers_count_on(here, model, picture, written, capsys):
    (here / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(picture, here / "pictures" / name)
    (here / "clips").mkdir()
    (here / "clips" / "000007.mp4").touch()

    assert svd("pictures", "--model", model, "--out", "clips", *SMALL) == 0

    assert capsys.readouterr().out.split()[::2] == ["clips/000008.mp4", "clips/000009.mp4"]
    assert (written[0] == written[1]).all()  # each gets the clip that it gets alone


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_made(here, model, picture, capsys):
    (here / "pictures").mkdir()
    shutil.copy(picture, here / "pictures" / "b.png")
    (here / "pictures" / "a.png").write_text("no picture")

    assert svd("pictures", "--model", model, "--out", "clips", *SMALL) == 2

    said = capsys.readouterr()
    assert said.out.split() == ["clips/000000.mp4", "clips/000000.jpg"]
    assert re.search(r"a\.png: .* is no picture that can be read", said.err)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--out", "clips", "--watermark"], "too small for the watermark"),
        (["--out", "clips", "--fps-id", "-1"], "frames per second is 0"),
        (["--out", "picture.png"], "cannot be written"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_sampled(here, model, picture, flags, said, capsys):
    before = sorted(here.iterdir())

    assert svd(picture, "--model", model, *SMALL, *flags) == 2

    told = capsys.readouterr().err
    assert re.search(said, told)
    assert "1 of 2" not in told and "2 of 2" not in told
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(("flags", "mark"), [(["--watermark"], "0xB3EC907BB19E"), (["--watermark", "hi"], "hi")])
def test_a_watermark_is_written_where_it_is_asked_for(model, picture, flags, mark, written):
    assert svd(picture, "--model", model, "--out", "clips", "--width", "256", "--height", "256", *SMALL, *flags) == 0

    clip = torch.cat([as_images(frame) for frame in written[0]])
    assert ReadWatermark.execute(images=clip)[0] == mark


def test_without_asking_there_is_no_watermark(here, model, picture, monkeypatch):
    monkeypatch.setattr("zoetrope.media.watermark.embed", None)

    assert svd(picture, "--model", model, "--out", "clips", *SMALL) == 0


def test_a_model_is_found_by_its_name(here, model, picture):
    (here / "all models" / "checkpoints").mkdir(parents=True)
    shutil.move(model, here / "all models" / "checkpoints" / model)

    assert svd(picture, "--model", model, "--models", "all models", "--out", "clips", *SMALL) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "svd.safetensors"], r"'svd.safetensors' is not in .*9\.56 GB"),
        (["--model", "svd_xt.safetensors", "--decoding-t", "0"], "decoding_t is 0"),
        (["--model", "svd_xt.safetensors", "--width", "100"], "width is 100"),
        (["--model", "picture.png"], "picture.png is not a safetensors file"),
        (["--model", "svd_xt.safetensors", "--motion-bucket-id", "3000"], "motion_bucket_id is 3000"),
        (["--model", "svd_xt.safetensors", "--lora", "sun.safetensors"], "'sun.safetensors' is not in .*loras"),
        (["--model", "svd_xt.safetensors", "--lora", "svd_xt.safetensors"], "svd_xt.safetensors is .* and no LoRA"),
        (["--model", "svd_xt.safetensors", "--lora-strength", "1"], "is given once, and --lora not at all"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence_with_exit_code_2(here, model, picture, arguments, said, capsys):
    assert svd(picture, "--out", "clips", *arguments) == 2

    told = capsys.readouterr().err
    assert re.search(said, told)
    assert "Traceback" not in told
    assert not (here / "clips").exists()


def test_a_model_that_turns_the_camera_is_told_with_its_own_command(here, tiny_checkpoint, picture, capsys):
    shutil.copy(tiny_checkpoint("sv3d_u"), here / "sv3d_u.safetensors")

    assert svd(picture, "--model", "sv3d_u.safetensors", "--out", "clips") == 2

    told = capsys.readouterr().err
    assert "sv3d_u.safetensors is an sv3d_u model" in told and "`zoetrope sv3d`, or give --model" in told
    assert "SV3D Orbit" not in told


def test_a_version_of_another_family_is_refused(model, picture, capsys):
    with pytest.raises(SystemExit):
        svd(picture, "--model", model, "--out", "clips", "--version", "sv3d_u")
    assert "invalid choice" in capsys.readouterr().err


def test_progress_is_told(model, picture, capsys):
    svd(picture, "--model", model, "--out", "clips", *SMALL)

    assert "picture: 100 % (2 of 2)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0,-20.5,40", "[0, -20.5, 40]", "0 -20.5 40"])
def test_numbers_are_read_as_people_write_them(text):
    assert numbers_in(text.split(), "--x") == [0, -20.5, 40]


def test_what_is_no_number_is_told():
    with pytest.raises(ValueError, match="--elevations-deg holds 'up', which is no number"):
        numbers_in(["10,up"], "--elevations-deg")
