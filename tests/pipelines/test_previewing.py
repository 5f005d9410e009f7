import torch
from torch.testing import assert_close

from zoetrope.pipelines.previewing import LatentColours, contact_sheet


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_where_colours_are_a_mix_of_channels_the_mix_is_found():
    latent, mix = randn(1, 4, 16, 24), randn(4, 3) * 0.05
    colours = (latent.movedim(1, -1) @ mix + 0.5).movedim(-1, 1)
    picture = colours.repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 - 1

    fitted = LatentColours.fitted(latent, picture)

    assert_close(fitted.weights, mix, rtol=0, atol=1e-3)
    assert_close(fitted.show(latent), colours.movedim(1, -1).clamp(0, 1), rtol=0, atol=1e-3)


def test_a_picture_of_one_colour_is_shown_in_that_colour():
    fitted = LatentColours.fitted(torch.full((1, 4, 8, 8), 0.7), torch.full((1, 3, 64, 64), 0.2))

    assert_close(fitted.show(torch.full((2, 4, 8, 8), 0.7)), torch.full((2, 8, 8, 3), 0.6))


def test_previews_stay_within_colours():
    fitted = LatentColours(torch.full((4, 3), 100.0), torch.zeros(3))

    shown = fitted.show(randn(3, 4, 5, 6))

    assert shown.shape == (3, 5, 6, 3)
    assert (shown.min(), shown.max()) == (0, 1)


def test_a_sheet_holds_every_frame_in_its_order_and_is_about_square():
    frames = torch.arange(1, 8).view(7, 1, 1, 1).expand(7, 2, 4, 3).float()

    sheet = contact_sheet(frames)

    assert sheet.shape == (8, 8, 3)  # four rows of two
    assert sheet[::2, ::4, 0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 0]]


def test_a_sheet_of_one_frame_is_that_frame():
    frame = randn(1, 3, 5, 3)

    assert torch.equal(contact_sheet(frame), frame[0])
