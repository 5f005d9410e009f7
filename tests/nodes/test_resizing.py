import pytest
import torch

from zoetrope.host import work
from zoetrope.media.resizing import ResizeOptions, resize
from zoetrope.nodes.resizing import ResizeFrames


def resized(images, **changed):
    given = {"width": 8, "height": 8, "fit": {"fit": "stretch"}, "multiple_of": 1, "filter": "lanczos"}
    return ResizeFrames.execute(images=images, **{**given, **changed})


@pytest.mark.parametrize(
    "fit, options",
    [
        ({"fit": "stretch"}, dict(fit="stretch")),
        ({"fit": "cover", "anchor": "left"}, dict(fit="cover", anchor="left")),
        ({"fit": "pad", "ground": {"ground": "white"}}, dict(fit="pad", ground="white")),
        ({"fit": "pad", "ground": {"ground": "black"}}, dict(fit="pad", ground="black")),
        ({"fit": "pad", "ground": {"ground": "color", "color": "#aabbcc"}}, dict(fit="pad", ground="#aabbcc")),
        ({"fit": "pad", "ground": {"ground": "blurred edges"}}, dict(fit="pad", ground="blur")),
    ],
)
def test_each_choice_is_what_the_library_does(fit, options):
    images = torch.rand(2, 6, 12, 3)

    result = resized(images, fit=fit, filter="bicubic", multiple_of=4, width=9)

    expected, mask = resize(images, ResizeOptions(width=9, height=8, filter="bicubic", multiple_of=4, **options))
    assert torch.equal(result[0], expected) and torch.equal(result[1], mask)
    assert result[0].shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    "fit", [None, {}, {"fit": "pad"}, {"fit": "pad", "ground": None}, {"fit": "pad", "ground": {}}]
)
def test_a_choice_unknown_to_comfyui_is_told(fit):
    with pytest.raises(ValueError, match="Choose"):
        resized(torch.rand(1, 4, 4, 3), fit=fit)


def test_a_color_that_is_none_is_told():
    with pytest.raises(ValueError, match="'bluish' is no colour"):
        resized(torch.rand(1, 4, 4, 3), fit={"fit": "pad", "ground": {"ground": "color", "color": "bluish"}})


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_progress_is_told_and_the_work_can_be_cancelled(channels):
    told = []

    def report(done, total, picture):
        told.append((done, total))
        if done == 2:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(report):
        resized(torch.rand(4, 4, 5, channels))

    assert told == [(1, 4), (2, 4)]
