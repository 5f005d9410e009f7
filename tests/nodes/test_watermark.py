import pytest
import torch

from zoetrope.host import work
from zoetrope.media.watermark import REFERENCE_BITS, bits_of_text, read_bits
from zoetrope.nodes.watermark import ReadWatermark, Watermark

NOTHING = ("", False)


def pictures(count=2, side=256):
    small = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1).movedim(1, -1)


def marked(images, **mark):
    return Watermark.execute(images=images, mark=mark)[0]


def test_the_mark_of_the_reference_is_written_and_found():
    images = marked(pictures(), mark="reference")

    assert read_bits(images, 48).bits == REFERENCE_BITS
    text, found, agreement = ReadWatermark.execute(images=images)
    assert (text, found) == ("0xB3EC907BB19E", True)
    assert agreement > 0.95


@pytest.mark.parametrize("length", [0, 8])
def test_a_text_is_written_and_read(length):
    images = marked(pictures(), mark="text", text="Zo\u00eb 2026")

    assert read_bits(images, 72).bits == bits_of_text("Zo\u00eb 2026")
    text, found, agreement = ReadWatermark.execute(images=images, bytes=9 if length else 0)
    assert (text, found) == ("Zo\u00eb 2026", True)
    assert agreement > 0.95


def test_in_what_is_not_marked_nothing_is_found():
    text, found, agreement = ReadWatermark.execute(images=pictures())

    assert (text, found) == NOTHING
    assert agreement < 0.8


def test_the_images_are_not_touched_and_hardly_change():
    images = pictures()
    before = images.clone()

    after = marked(images, mark="reference")

    assert torch.equal(images, before)
    assert 0 < (after - images).abs().mean() < 0.03


def test_a_cancel_ends_it_within_a_frame():
    told = []

    def listen(done, total, preview):
        told.append((done, total))
        raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(listen):
        marked(pictures(count=5), mark="reference")

    assert told == [(1, 5)]


def test_a_choice_that_is_none_is_told():
    with pytest.raises(ValueError, match="mark is not set to one of its options"):
        Watermark.execute(images=pictures(), mark=None)
