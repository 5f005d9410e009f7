"""Objects come to SV3D as from the reference's script, or with better edges; nothing is ever downloaded."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zoetrope.pipelines.objects import ObjectOptions, cut_out, prepare_object

GOLDEN = Path(__file__).parents[1] / "golden" / "svd" / "preprocess"
CASES = json.loads((GOLDEN / "config.json").read_text())["sv3d"]


def picture_in(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).float() / 255


def disc(height: int = 200, width: int = 300, *, center=(60, 210), radius: float = 40) -> torch.Tensor:
    """A soft-edged alpha (h w)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (radius + 0.5 - ((y - center[0]) ** 2 + (x - center[1]) ** 2).sqrt()).clamp(0, 1)


def extent(picture: torch.Tensor) -> tuple[int, int, int, int]:
    """The first and last row and column that are not white."""
    rows, columns = ((picture < 0.5).any(-1).any(axis).nonzero().flatten() for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_edges_of_the_reference_are_the_references_pixels(case):
    options = ObjectOptions(frame_ratio=case["image_frame_ratio"], edges="reference")

    prepared, _ = prepare_object(picture_in(GOLDEN / case["input"]), options=options)

    assert torch.equal(
        (prepared * 255).round().to(torch.uint8), torch.from_numpy(np.array(Image.open(GOLDEN / case["output"])))
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_fine_edges_show_the_same_object(case):
    options = ObjectOptions(frame_ratio=case["image_frame_ratio"])

    prepared, _ = prepare_object(picture_in(GOLDEN / case["input"]), options=options)

    assert (prepared - picture_in(GOLDEN / case["output"])).abs().mean() < 0.02


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.917, 1.0])
def test_the_object_takes_its_share_of_the_middle(ratio):
    image = torch.zeros(200, 300, 3)

    prepared, _ = prepare_object(image, ObjectOptions(frame_ratio=ratio, side=256), mask=disc())

    top, bottom, left, right = extent(prepared)
    assert bottom - top == pytest.approx(256 * ratio, abs=6)
    assert (top + bottom) / 2 == pytest.approx(127.5, abs=2) and (left + right) / 2 == pytest.approx(127.5, abs=2)
    assert prepared.shape == (256, 256, 3) and prepared.dtype == torch.float32


@pytest.mark.parametrize("edges", ["fine", "reference"])
def test_the_mask_that_comes_back_lies_on_the_object(edges):
    picture, mask = prepare_object(torch.zeros(200, 300, 3), ObjectOptions(side=128, edges=edges), mask=disc())

    assert mask.shape == (128, 128) and mask.max() == 1 and mask.min() == 0
    assert (picture - (1 - mask[..., None])).abs().max() < 1.5 / 255


def test_a_mask_does_what_alpha_does():
    image = torch.rand(200, 300, 3, generator=torch.Generator().manual_seed(0))

    by_mask, _ = prepare_object(image, mask=disc())
    by_alpha, _ = prepare_object(torch.cat([image, disc()[..., None]], -1))

    assert torch.equal(by_mask, by_alpha)


def test_fine_edges_leave_no_dark_rim():
    """Its transparent ground is black, as cut-outs leave it."""
    alpha = (disc() > 0.5).float()
    image = torch.cat([alpha[..., None].expand(-1, -1, 3) * 0.9, alpha[..., None]], -1)

    better, reference = (prepare_object(image, ObjectOptions(edges=name))[0] for name in ("fine", "reference"))

    assert better.min() > 0.8999
    assert reference.min() < 0.89


def test_faint_traces_far_away_do_not_move_the_object():
    alpha = disc()
    with_trace = alpha.clone()
    with_trace[199, 0] = 0.02

    prepared, without = (prepare_object(torch.zeros(200, 300, 3), mask=mask)[0] for mask in (with_trace, alpha))

    assert torch.equal(prepared, without)


def test_without_a_ratio_the_object_keeps_its_size_in_the_pictures_height():
    options = ObjectOptions(frame_ratio=None, side=400)  # twice the height

    picture, _ = prepare_object(torch.zeros(200, 300, 3), options, mask=disc())

    top, bottom, _, _ = extent(picture)

    assert bottom - top == pytest.approx(160, abs=3)


@pytest.mark.parametrize(
    "image, mask, options, complaint",
    [
        (torch.zeros(9, 9, 3), None, {}, "no transparency that says where the object is"),
        (torch.zeros(9, 9, 3), torch.zeros(9, 9), {}, "empty everywhere"),
        (torch.zeros(9, 9, 3), torch.ones(9, 8), {}, "mask is 9 x 8 and the picture 9 x 9"),
        (torch.zeros(9, 9, 3), torch.full((9, 9), torch.nan), {}, "mask holds NaN"),
        (torch.zeros(9, 9, 3) + 200, torch.ones(9, 9), {}, "values go from 200 to 200"),
        (torch.zeros(9, 20, 3), torch.ones(9, 20), {"frame_ratio": None}, "20 pixels wide, but .* picture, 9"),
    ],
)
@pytest.mark.parametrize("edges", ["fine", "reference"])
def test_what_shows_no_object_is_refused(image, mask, options, complaint, edges):
    with pytest.raises(ValueError, match=complaint):
        prepare_object(image, mask=mask, options=ObjectOptions(**options, edges=edges))


def test_the_faintest_trace_is_an_object_for_the_reference_alone():
    image, trace = torch.zeros(9, 9, 3), torch.full((9, 9), 0.01)

    prepare_object(image, ObjectOptions(edges="reference"), mask=trace)
    with pytest.raises(ValueError, match="empty everywhere"):
        prepare_object(image, mask=trace)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"frame_ratio": 0.0}, "frame_ratio is 0.0"),
        ({"frame_ratio": 1.2}, "frame_ratio is 1.2"),
        ({"side": 8}, "side is 8"),
        ({"edges": "nice"}, "edges is 'nice'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        ObjectOptions(**options)


class BaseSession:
    """As rembg's: asks its class for the file, which downloads it."""

    def __init__(self, name, options):
        self.file = self.download_models()
        if Path(self.file).read_bytes().startswith(b"<html>"):
            raise RuntimeError("Protobuf parsing failed")

    @classmethod
    def download_models(cls):
        raise AssertionError("rembg would download now")


class U2net(BaseSession):
    @staticmethod
    def name():
        return "u2net"


class Sam(BaseSession):
    def __init__(self, name, options):
        raise AssertionError("several files")

    @staticmethod
    def name():
        return "sam"


@pytest.fixture
def rembg(monkeypatch):
    """A stand-in for rembg that cuts out the left half, and remembers how it was asked."""
    asked = SimpleNamespace()

    def remove(picture, *, alpha_matting, session):
        if Path(session.file).read_bytes() == b"clothes":
            return Image.new("RGBA", (picture.width, 3 * picture.height))
        asked.size, asked.matting, asked.file = picture.size, alpha_matting, session.file
        cut = np.array(picture)
        cut[:, picture.width // 2 :, 3] = 0
        return Image.fromarray(cut)

    contents = {
        "onnxruntime": {"SessionOptions": object},
        "rembg": {"remove": remove},
        "rembg.sessions": {"sessions_class": [U2net, Sam]},
        "rembg.sessions.base": {"BaseSession": BaseSession},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return asked


def test_rembg_is_given_the_local_file(rembg, tmp_path):
    model = tmp_path / "u2net.onnx"
    model.write_bytes(b"weights")

    cut = cut_out(torch.rand(500, 1000, 3), model)

    assert rembg.file == str(model) and rembg.matting
    assert rembg.size == (768, 384)
    assert cut.shape == (384, 768, 4)
    assert cut[:, :384, 3].min() == 1 and cut[:, 384:, 3].max() == 0


def test_an_object_is_prepared_from_what_rembg_cuts_out(rembg, tmp_path):
    (tmp_path / "u2net.onnx").touch()

    picture, mask = prepare_object(torch.zeros(100, 200, 3), rembg_model=tmp_path / "u2net.onnx")

    assert mask.mean() == pytest.approx(0.917**2, abs=0.01)
    assert picture[288, 288].max() == 0 and picture[5, 5].min() == 1


def test_a_missing_model_is_named_with_its_folder(rembg, tmp_path):
    with pytest.raises(ValueError, match=f"no u2net.onnx in {tmp_path}"):
        cut_out(torch.rand(9, 9, 3), tmp_path / "u2net.onnx")


@pytest.mark.parametrize(
    "content, complaint",
    [(b"<html>", "cannot be read as a model of rembg's: Protobuf parsing failed"), (b"clothes", "several things")],
)
def test_a_file_that_is_no_model_for_one_object_is_refused(rembg, tmp_path, content, complaint):
    (tmp_path / "u2net.onnx").write_bytes(content)

    with pytest.raises(ValueError, match=complaint):
        cut_out(torch.rand(9, 9, 3), tmp_path / "u2net.onnx")


@pytest.mark.parametrize("name", ["sam.onnx", "mine.onnx"])
def test_a_model_of_another_name_is_told_what_names_there_are(rembg, tmp_path, name):
    (tmp_path / name).touch()

    with pytest.raises(ValueError, match=r"Name it as it was released: u2net.onnx\."):
        cut_out(torch.rand(9, 9, 3), tmp_path / name)


@pytest.mark.parametrize("missing", ["onnxruntime", "rembg"])
def test_without_rembg_the_extra_to_install_is_named(rembg, monkeypatch, tmp_path, missing):
    (tmp_path / "u2net.onnx").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ValueError, match=rf"{missing}.* is not installed. Run pip install .comfyui-zoetrope\[cutout\]"):
        cut_out(torch.rand(9, 9, 3), tmp_path / "u2net.onnx")
