"""Words on pictures: the font, the colours of paper and ink, and names cut to fit."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

PAPER, INK, FAINT, LINE = (250, 250, 248), (32, 34, 38), (98, 102, 110), (212, 214, 216)
LONGEST_TEXT = 200  # letters; nobody reads more of a name


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # the one that Pillow carries, so that every system draws the same


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    draw.text(place, text, color, font(size), anchor=anchor)


def fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """The text's end, which tells more of a name than its beginning, as far as it fits."""
    letters = font(size)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[-LONGEST_TEXT:])
    if draw.textlength(text, letters) <= width:
        return text
    while text and draw.textlength(f"...{text}", letters) > width:
        text = text[1:]
    return f"...{text}"
