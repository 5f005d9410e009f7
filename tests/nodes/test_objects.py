import pytest
import torch

from zoetrope.nodes.objects import PrepareObject
from zoetrope.pipelines.objects import ObjectOptions, prepare_object

SETTINGS = {"frame_ratio": 0.9, "side": 64}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    return tmp_path


def picture(count=1, channels=3):
    return torch.rand(count, 20, 30, channels, generator=torch.Generator().manual_seed(0))


def square_mask(count=1):
    mask = torch.zeros(count, 20, 30)
    mask[:, 5:15, 8:20] = 1
    return mask


def prepare(image, way, mask=None, **settings):
    return PrepareObject.execute(image=image, cut_out={"cut_out": way}, mask=mask, **SETTINGS | settings)


def expected(image, mask):
    return prepare_object(image, ObjectOptions(frame_ratio=0.9, side=64), mask=mask)


def test_the_object_is_where_the_mask_is():
    image, mask = prepare(picture(), "mask", square_mask())

    same, same_mask = expected(picture()[0], square_mask()[0])
    assert torch.equal(image[0], same)
    assert torch.equal(mask[0], same_mask)


def test_with_transparency_the_object_is_where_the_mask_of_load_image_is_not():
    image, _ = prepare(picture(), "transparency", 1 - square_mask())

    assert torch.equal(image[0], expected(picture()[0], square_mask()[0])[0])


def test_a_fourth_channel_is_transparency_too():
    with_alpha = torch.cat([picture(), square_mask()[..., None]], dim=-1)

    image, _ = prepare(with_alpha, "transparency")

    assert torch.equal(image[0], expected(picture()[0], square_mask()[0])[0])


def test_the_whole_picture_may_be_the_object():
    image, mask = prepare(picture(), "nothing")

    assert torch.equal(image[0], expected(picture()[0], torch.ones(20, 30))[0])
    assert mask[0, 32].mean() == pytest.approx(0.9, abs=0.03)  # as wide as the ratio says


def test_a_batch_is_prepared_with_a_mask_each_or_one_for_all():
    both = picture(count=2)
    one, _ = prepare(both, "mask", square_mask())
    each, _ = prepare(both, "mask", square_mask(count=2))

    assert one.shape == (2, 64, 64, 3)
    assert torch.equal(one, each)
    with pytest.raises(ValueError, match="3 masks for 2 pictures"):
        prepare(both, "mask", square_mask(count=3))


def test_a_ratio_of_0_keeps_the_objects_size():
    image, _ = prepare(picture(), "mask", square_mask(), frame_ratio=0.0)

    same, _ = prepare_object(picture()[0], ObjectOptions(frame_ratio=None, side=64), mask=square_mask()[0])
    assert torch.equal(image[0], same)


def test_edges_can_be_those_of_the_reference():
    image, _ = prepare(picture(), "mask", square_mask(), edges="reference")

    options = ObjectOptions(frame_ratio=0.9, side=64, edges="reference")
    assert torch.equal(image[0], prepare_object(picture()[0], options, mask=square_mask()[0])[0])


@pytest.mark.parametrize(
    ("way", "mask", "said"),
    [
        ("mask", None, "no mask is connected"),
        ("mask", torch.ones(1, 5, 5), "5 x 5|5x5"),
        ("transparency", None, "no transparency"),
        ("transparency", torch.zeros(1, 64, 64), "no transparency"),  # what Load Image gives for a JPEG
        ("nothing", torch.ones(1, 20, 30), "cut_out is nothing, which takes none"),
    ],
)
def test_what_does_not_fit_together_is_told(way, mask, said):
    with pytest.raises(ValueError, match=said):
        prepare(picture(), way, mask)


def test_a_missing_model_of_rembgs_is_told_with_its_folder_and_where_it_comes_from():
    with pytest.raises(ValueError, match=r"models.rembg.*u2net\.onnx \(176 MB\).*github\.com/danielgatis/rembg"):
        PrepareObject.execute(image=picture(), cut_out={"cut_out": "rembg", "model": "none"}, **SETTINGS)
    with pytest.raises(ValueError, match=r"'u2net\.onnx' is not in the folder of rembg"):
        PrepareObject.execute(image=picture(), cut_out={"cut_out": "rembg", "model": "u2net.onnx"}, **SETTINGS)


def test_models_of_rembgs_are_offered_and_handed_on_as_a_file(here, monkeypatch):
    (here / "models" / "rembg").mkdir(parents=True)
    (here / "models" / "rembg" / "u2net.onnx").touch()
    options = PrepareObject.GET_NODE_INFO_V1()["input"]["required"]["cut_out"][1]["options"]
    (rembg,) = (option for option in options if option["key"] == "rembg")
    assert rembg["inputs"]["required"]["model"][1]["options"] == ["u2net.onnx"]
    told = {}

    def prepare_object(image, options, **object_of):
        told.update(object_of)
        return image, image[..., 0]

    monkeypatch.setattr("zoetrope.nodes.objects.prepare_object", prepare_object)
    PrepareObject.execute(image=picture(), cut_out={"cut_out": "rembg", "model": "u2net.onnx"}, **SETTINGS)

    assert (here / told["rembg_model"]).samefile(here / "models" / "rembg" / "u2net.onnx")


def test_the_result_is_shown():
    shown = prepare(picture(), "nothing").ui.as_dict()["images"]

    assert shown[0]["type"] == "temp"
