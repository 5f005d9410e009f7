import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoetrope.media.errors import MediaError
from zoetrope.media.pictures import content_digest, encode_jpeg, encode_png, parse_color, read_picture, to_bytes


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_every_byte_survives_the_way_to_a_float_and_back():
    clip = (torch.arange(256).reshape(1, 16, 16, 1) / 255).expand(1, 16, 16, 3)

    (pixels,) = to_bytes(clip)

    assert pixels.dtype == np.uint8 and pixels.shape == (16, 16, 3)
    assert (pixels[..., 1].reshape(-1) == np.arange(256)).all()


def test_values_out_of_range_are_clamped_and_the_clip_is_not_touched():
    clip = torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 1, 1, 3)
    before = clip.clone()

    (pixels,) = to_bytes(clip)

    assert pixels.tolist() == [[[0, 128, 255]]]
    assert torch.equal(clip, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken_too(dtype):
    assert next(to_bytes(torch.ones(1, 2, 2, 3, dtype=dtype))).tolist() == [[[255] * 3] * 2] * 2


def test_grey_becomes_color_and_alpha_stays():
    assert next(to_bytes(torch.rand(1, 4, 5, 1))).shape == (4, 5, 3)
    assert next(to_bytes(torch.rand(1, 4, 5, 4))).shape == (4, 5, 4)


def test_nan_is_refused_with_the_number_of_its_frame():
    clip = torch.zeros(3, 2, 2, 3)
    clip[2, 0, 0, 1] = float("nan")

    with pytest.raises(MediaError, match="Frame 2 holds NaN"):
        list(to_bytes(clip))


@pytest.mark.parametrize(
    "clip",
    [
        torch.zeros(2, 2, 3),
        torch.zeros(0, 2, 2, 3),
        torch.zeros(1, 0, 2, 3),
        torch.zeros(1, 2, 2, 2),
        torch.zeros(1, 2, 2, 3, dtype=torch.uint8),
    ],
)
def test_what_is_no_clip_is_refused(clip):
    with pytest.raises(MediaError):
        list(to_bytes(clip))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_gives_back_its_pixels_and_its_workflow_as_comfyui_reads_them(tmp_path, channels):
    pixels = noise(7, 5, channels)
    metadata = {"prompt": {"1": {"class_type": "Sampler"}}, "workflow": {"title": "Z\u00fcrich \u6620\u753b"}}
    (tmp_path / "a.png").write_bytes(encode_png(pixels, metadata))

    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == pixels).all()
        assert {key: json.loads(text) for key, text in image.text.items()} == metadata
    with Image.open(tmp_path / "a.png") as image:
        image.verify()  # the sums of every chunk


def test_a_jpeg_is_near_its_pixels_and_in_the_right_order_of_colors(tmp_path):
    pixels = np.full((16, 16, 3), (200, 40, 90), dtype=np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(pixels))

    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - pixels).max() <= 3


def test_a_jpeg_leaves_alpha_out_and_refuses_what_it_cannot_hold():
    assert encode_jpeg(noise(4, 4, 4)) == encode_jpeg(np.ascontiguousarray(noise(4, 4, 4)[..., :3]))
    with pytest.raises(MediaError, match="quality is 0"):
        encode_jpeg(noise(4, 4), 0)
    with pytest.raises(MediaError, match="Choose PNG"):
        encode_jpeg(np.zeros((1, 65501, 3), dtype=np.uint8))


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_not_encoded(pixels):
    with pytest.raises(MediaError):
        encode_png(pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_read_as_rgb(tmp_path, mode):
    image = Image.new("L", (6, 4), 51).convert(mode, dither=Image.Dither.NONE)
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 6), 51 * 257, dtype=np.uint16))
    name = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(name)

    pixels = read_picture(name)

    assert pixels.shape == (4, 6, 3) and pixels.dtype == np.uint8
    assert (pixels == (0 if mode == "1" else 51)).all()


def test_a_palette_with_transparency_is_read(tmp_path):
    image = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4)
    image.info["transparency"] = bytes([128, 255, 255, 255])
    image.save(tmp_path / "a.png", transparency=bytes([128, 255, 255, 255]))

    assert (read_picture(tmp_path / "a.png") == (10, 200, 30)).all()


def test_a_picture_taken_sideways_is_read_upright(tmp_path):
    image = Image.new("RGB", (8, 4), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    image.save(tmp_path / "a.png", exif=exif)

    pixels = read_picture(tmp_path / "a.png")

    assert pixels.shape == (8, 4, 3)
    assert (pixels[0, 3] == 255).all() and pixels.sum() == 3 * 255


def test_a_picture_under_a_wrong_suffix_is_read(tmp_path):
    Image.new("RGB", (2, 2), "red").save(tmp_path / "a.jpg", format="PNG")

    assert (read_picture(tmp_path / "a.jpg") == (255, 0, 0)).all()


def broken_files(folder):
    png = encode_png(noise(64, 64))
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(png[: len(png) // 2])
    (folder / "header.png").write_bytes(png[:20])
    (folder / "cut.jpg").write_bytes(encode_jpeg(noise(64, 64))[:600])
    (folder / "damaged.png").write_bytes(png[:80] + bytes(200) + png[280:])
    bomb = Image.new("1", (20000, 20000))
    bomb.save(folder / "bomb.png")
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(folder / "float.tif")
    (folder / "folder.png").mkdir()
    return [
        "text.png",
        "empty.png",
        "cut.png",
        "header.png",
        "cut.jpg",
        "damaged.png",
        "bomb.png",
        "float.tif",
        "folder.png",
        "missing.png",
    ]


def test_what_cannot_be_read_is_named_in_a_sentence(tmp_path):
    for name in broken_files(tmp_path):
        with pytest.raises(MediaError, match=name):
            read_picture(tmp_path / name)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_color_written_in_hexadecimal_is_read(color):
    assert parse_color("#{:02x}{:02x}{:02x}".format(*color)) == color


@pytest.mark.parametrize("text, color", [("teal", (0, 128, 128)), (" #FA3 ", (255, 170, 51)), ("White", (255,) * 3)])
def test_colors_have_names(text, color):
    assert parse_color(text) == color


@pytest.mark.parametrize("text", ["", "#12", "bluish", "#11223344", "None", "#gggggg", "a" * 1000])
def test_what_is_no_color_is_refused(text):
    with pytest.raises(MediaError, match="is no colour"):
        parse_color(text)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_kept_where_it_is_asked_for(tmp_path, mode):
    alpha = noise(6, 8)[..., :1]
    picture = Image.fromarray(np.concatenate([noise(6, 8), alpha], axis=2)).convert(mode)
    picture.save(tmp_path / "a.tif" if mode == "PA" else tmp_path / "a.png")
    path = next(tmp_path.iterdir())

    kept = read_picture(path, keep_alpha=True)

    assert (kept[..., 3:] == alpha).all()
    assert (kept[..., :3] == read_picture(path)).all()


def test_a_palette_keeps_its_one_transparent_color(tmp_path):
    picture = Image.fromarray((np.arange(16).reshape(4, 4) % 3).astype(np.uint8), mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png", transparency=1)

    alpha = read_picture(tmp_path / "a.png", keep_alpha=True)[..., 3]

    assert (alpha == np.where(np.arange(16).reshape(4, 4) % 3 == 1, 0, 255)).all()


def test_where_there_is_no_alpha_none_is_made(tmp_path):
    Image.fromarray(noise(6, 8)).save(tmp_path / "a.png")

    assert read_picture(tmp_path / "a.png", keep_alpha=True).shape == (6, 8, 3)


def test_pictures_are_known_again_by_their_sizes_and_colours():
    one, other = np.arange(24, dtype=np.uint8).reshape(2, 4, 3), np.full((2, 4, 3), 7, np.uint8)
    changed = one.copy()
    changed[1, 3, 2] += 1

    assert content_digest([one, other]) == content_digest([np.asfortranarray(one), other.copy()])
    different = [[one], [other], [one, other], [other, one], [changed, other], [one.reshape(4, 2, 3), other]]
    assert len({content_digest(pictures) for pictures in different}) == len(different)
