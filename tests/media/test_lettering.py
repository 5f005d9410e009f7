import pytest
from PIL import Image, ImageDraw

from zoetrope.media.lettering import drawable, fitting, font


@pytest.fixture
def draw():
    return ImageDraw.Draw(Image.new("RGB", (8, 8)))


@pytest.mark.parametrize(
    ("text", "drawn"),
    [("moon-500 at 0.5", "moon-500 at 0.5"), ("Pêche à l'été", "Peche a l'ete"), ("月 a\nb\0", "? a?b?"), ("", "")],
)
def test_what_the_font_lacks_is_told_without_empty_boxes(text, drawn):
    assert drawable(text) == drawn


@pytest.mark.parametrize(("keep", "shown"), [("end", ["...", "-30000"]), ("start", ["a_long", "..."])])
def test_a_long_text_keeps_the_end_that_is_asked_for_and_fits(draw, keep, shown):
    text = fitting(draw, "a_long_name_" * 50 + "-30000", 20, 200, keep)

    assert draw.textlength(text, font(20)) <= 200
    assert text.startswith(shown[0]) and text.endswith(shown[1])


def test_a_text_that_fits_stays_whole(draw):
    assert fitting(draw, "before", 20, 200) == "before"


def test_where_nothing_fits_there_is_no_letter(draw):
    assert fitting(draw, "before", 20, 1) == "..."
