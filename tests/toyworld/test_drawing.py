import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.toyworld.drawing import (
    Outline,
    coverage,
    in_steps_of_a_screen,
    paint,
    places_around,
    polygon,
    shadow,
)

OUTLINES = {
    "circle": Outline(0),
    "triangle": polygon(3),
    "square": polygon(4),
    "hexagon": polygon(6),
    "star": Outline(5, 0.5),
}
EVERYWHERE = slice(0, 64)


def corners_of(outline, reach):
    """The corners, points and dents in turn, as (n d)."""
    angles = torch.arange(2 * outline.points, dtype=torch.float64) * math.pi / outline.points
    radii = torch.tensor([1.0, outline.dent], dtype=torch.float64).repeat(outline.points) * reach
    return torch.stack([radii * angles.cos(), radii * angles.sin()], dim=-1)


def distance_by_every_edge(place, corners):
    """The textbook way: the nearest edge, and inside where a ray crosses an odd number of them."""
    nearest, inside = math.inf, False
    for (ax, ay), (bx, by) in zip(corners.tolist(), corners.roll(-1, 0).tolist(), strict=True):
        x, y = place
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)
        along = min(max(along, 0.0), 1.0)
        nearest = min(nearest, math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return -nearest if inside else nearest


@pytest.mark.parametrize("name", ["triangle", "square", "hexagon", "star"])
@given(x=st.floats(-40, 40), y=st.floats(-40, 40))
def test_folding_into_one_wedge_gives_the_distance_to_the_nearest_edge(name, x, y):
    outline = OUTLINES[name]

    folded = outline.distance(torch.tensor([[[x, y]]], dtype=torch.float64), reach=20.0).item()

    expected = distance_by_every_edge((x, y), corners_of(outline, 20.0))
    assert abs(folded) == pytest.approx(abs(expected), abs=1e-6)
    if abs(expected) > 1e-6:  # on the line itself either side is right
        assert math.copysign(1, folded) == math.copysign(1, expected)


@pytest.mark.parametrize("outline", OUTLINES.values(), ids=OUTLINES)
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 2.0])
def test_the_covered_pixels_add_up_to_the_area_of_the_outline(outline, angle):
    places = places_around(31.7, 32.4, angle, EVERYWHERE, EVERYWHERE)

    covered = coverage(outline.distance(places, reach=20.0)).sum().item()

    assert covered == pytest.approx(outline.area * 20.0**2, rel=0.01)


def test_a_pixel_that_the_edge_halves_is_half_covered():
    assert_close(
        coverage(torch.tensor([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 3.0])), torch.tensor([1, 1, 0.75, 0.5, 0.25, 0, 0])
    )


def test_a_shadow_is_dark_inside_and_gone_a_few_pixels_outside():
    inside, edge, outside = shadow(torch.tensor([-20.0, 0.0, 20.0]), softness=5.0)

    assert inside > 0.99
    assert edge == 0.5
    assert outside < 0.01


def test_paint_covers_a_picture_as_far_as_it_is_opaque():
    picture = torch.zeros(1, 3, 3)

    paint(picture, torch.tensor([1.0, 0.5, 0.0]), torch.tensor([[0.0, 0.5, 1.0]]))

    assert_close(picture, torch.tensor([[[0, 0, 0], [0.5, 0.25, 0], [1, 0.5, 0]]]))


@given(level=st.integers(0, 255), error=st.floats(-0.4, 0.4))
def test_a_screen_shows_the_nearest_of_its_levels(level, error):
    shown = in_steps_of_a_screen(torch.tensor((level + error) / 255, dtype=torch.float64))

    assert_close(shown, torch.tensor(level / 255, dtype=torch.float64))
