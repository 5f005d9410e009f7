"""Colours that people tell apart, those too who see red and green alike: Okabe and Ito's; and dashes beside them."""

from __future__ import annotations

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4fa0", "#7a5230")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "5 2 1 2", "3 6", "10 2 2 2 2 2")
"""Lengths of stroke and gap in pixels, "" for a line without gaps: what tells lines apart where colour cannot."""


def colour_of(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def dash_of(number: int) -> str:
    return DASHES[number % len(DASHES)]
