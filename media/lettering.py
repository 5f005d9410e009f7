"""Words on pictures: the font, the colours of paper and ink, and names cut to fit."""

from __future__ import annotations

import unicodedata
from typing import Literal

from PIL import ImageDraw, ImageFont

PAPER, INK, FAINT, LINE = (250, 250, 248), (32, 34, 38), (98, 102, 110), (212, 214, 216)
LONGEST_TEXT = 200  # letters; nobody reads more of a name
UNKNOWN = "?"


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


def drawable(text: str) -> str:
    """The text in letters that the font has, which are those of ASCII: accents go, and what is left is told as "?"."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() and letter.isprintable() else UNKNOWN for letter in letters)


def fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: int, keep: Literal["end", "start"] = "end") -> str:
    """As much of the text as fits: its end, which tells more of a name than its beginning, or its start."""
    letters, at_end = font(size), keep == "end"
    text = drawable(text[-LONGEST_TEXT:] if at_end else text[:LONGEST_TEXT])
    shown = text
    while text and draw.textlength(shown, letters) > width:
        text = text[1:] if at_end else text[:-1]
        shown = f"...{text}" if at_end else f"{text}..."
    return shown
