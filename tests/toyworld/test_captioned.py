import pytest
import torch

from zoetrope.toyworld.captioned import ONE_PICTURE, ONE_SHAPE, draw_different, draw_pictures, joined
from zoetrope.toyworld.moons import MoonsOptions
from zoetrope.toyworld.scenes import draw


def test_a_caption_says_where_a_shape_is_and_in_which_phase_a_moon():
    shapes = draw_pictures(ONE_SHAPE, [3])
    moons = draw_pictures(MoonsOptions(phases="steady", **ONE_PICTURE), [3])

    pictures = joined([shapes, moons])

    assert pictures.images.shape == (2, 3, 64, 64) and pictures.images.dtype == torch.uint8
    assert " on a " in pictures.captions[0] and "moon" in pictures.captions[1]
    clip = draw(MoonsOptions(phases="steady", seed=3, **ONE_PICTURE))
    assert torch.equal(pictures.images[1].movedim(0, -1) / 255, clip.images[0])


def test_different_pictures_have_captions_of_their_own():
    pictures = draw_different(30, range(60))

    assert len(set(pictures.captions)) == len(pictures.images) == 30
    with pytest.raises(ValueError, match="Only .* of these seeds have captions of their own, and 30 are wanted"):
        draw_different(30, range(20))
