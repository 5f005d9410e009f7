"""Rays meet solids where textbooks say."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.toyworld.solids import NOTHING, Solid, box, cylinder, ellipsoid, prism

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
EYE = (0.4, 0.7, 5.0)


def cast(solid, towards, eye=EYE):
    """What a ray from the eye to a point meets: its color and normal, or None."""
    eye, towards = torch.tensor(eye, dtype=torch.float64), torch.tensor(towards, dtype=torch.float64)
    hits = solid.seen_from(eye).cast(torch.nn.functional.normalize(towards - eye, dim=0)[None])
    if hits.faces[0] == NOTHING:
        return None
    return tuple(round(255 * level) for level in hits.colors[0].tolist()), hits.normals[0]


def is_inside(part, point, slack):
    flat = all(
        sum(a * b for a, b in zip(normal, point, strict=True)) <= offset + slack
        for normal, offset in zip(part.normals, part.offsets, strict=True)
    )
    return flat and all(
        math.hypot(*(sum(m * (x - c) for m, x, c in zip(row, point, wall.center, strict=True)) for row in wall.matrix))
        <= 1 + slack
        for wall in part.walls
    )


def walks_through(part, towards, eye, slack):
    return any(
        is_inside(part, [e + (p - e) * step / 800 for e, p in zip(eye, towards, strict=True)], slack)
        for step in range(1600)
    )


PARTS = {
    "box": box((-0.5, -0.3, -0.4), (0.2, 0.6, 0.5), RED),
    "prism": prism([(-0.5, -0.5), (0.6, -0.4), (0.1, 0.7)], -0.4, 0.3, RED),
    "clockwise prism": prism([(0.1, 0.7), (0.6, -0.4), (-0.5, -0.5)], -0.4, 0.3, RED),
    "cylinder": cylinder((0.1, -0.1, 0.0), 1, 0.5, 0.6, RED),
    "ellipsoid": ellipsoid((0.0, 0.1, -0.2), (0.3, 0.6, 0.4), RED),
}


@pytest.mark.parametrize("name", PARTS)
@given(x=st.floats(-1, 1), y=st.floats(-1, 1), eye=st.sampled_from([EYE, (0.1, 5.0, 0.05), (-3.0, -3.0, 1.0)]))
def test_a_ray_meets_a_part_where_walking_along_it_does(name, x, y, eye):
    part = PARTS[name]

    met = cast(Solid((part,)), (x, y, 0.0), eye)

    # A ray that grazes the part may meet it between two steps, so a part a little smaller and one larger decide.
    if walks_through(part, (x, y, 0.0), eye, slack=-0.01):
        assert met is not None
    if not walks_through(part, (x, y, 0.0), eye, slack=0.01):
        assert met is None


@given(x=st.floats(-0.4, 0.4), y=st.floats(-0.4, 0.4))
def test_a_ball_faces_away_from_its_middle(x, y):
    ball = ellipsoid((0, 0, 0), (1, 1, 1), GREEN)
    z = math.sqrt(1 - x**2 - y**2)

    color, normal = cast(Solid((ball,)), (x, y, z))

    assert color == GREEN
    assert_close(normal, torch.tensor([x, y, z], dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("eye", "side"),
    [((5, 0, 0), "right"), ((-5, 0, 0), "left"), ((0, 5, 0), "top"), ((0, -5, 0), "bottom"), ((0, 0, 5), "front")],
)
def test_a_box_shows_the_side_that_faces_the_eye(eye, side):
    solid = Solid((box((-1, -1, -1), (1, 1, 1), RED, {side: BLUE}),))

    color, normal = cast(solid, (0.3, 0.2, 0.1), eye)

    assert color == BLUE
    assert_close(normal, torch.tensor(eye, dtype=torch.float64) / 5)


def test_of_two_parts_the_nearer_is_seen():
    near, far = box((-1, -1, 0.5), (1, 1, 1), RED), ellipsoid((0, 0, 0), (0.6, 0.6, 0.6), GREEN)

    assert cast(Solid((near, far)), (0, 0, 0))[0] == RED
    assert cast(Solid((far, near)), (0, 0, 0))[0] == RED
    assert cast(Solid((far, near)), (0, 0, 0), (0, 0, -5))[0] == GREEN


def test_what_is_hollow_shows_its_inside():
    """A cup, seen from above, shows its floor and the inside of its far wall, and its rim is as before."""
    cup = replace(
        cylinder((0, 0, 0), 1, 0.5, 0.5, RED), hollow=replace(cylinder((0, 0.2, 0), 1, 0.4, 0.5, BLUE, ends=GREEN))
    )
    solid = Solid((cup,))

    floor, upward = cast(solid, (0.1, -0.3, 0.1), (0, 5, 0.01))
    wall, towards = cast(solid, (0, 0.2, -0.4), (0, 2, 2))
    rim, _ = cast(solid, (0.45, 0.5, 0), (0, 5, 0))

    assert (floor, wall, rim) == (GREEN, BLUE, RED)
    assert_close(upward, torch.tensor([0, 1, 0], dtype=torch.float64))
    assert_close(towards, torch.tensor([0, 0, 1], dtype=torch.float64))


def test_through_a_hole_one_sees_what_is_behind():
    ring = replace(cylinder((0, 0, 0), 2, 0.5, 0.1, RED), hollow=cylinder((0, 0, 0), 2, 0.3, 1.0, BLUE))

    assert cast(Solid((ring,)), (0, 0, 0), (0, 0, 5)) is None
    assert cast(Solid((ring, ellipsoid((0, 0, -2), (1, 1, 1), GREEN))), (0, 0, 0), (0, 0, 5))[0] == GREEN
    assert cast(Solid((ring,)), (0.4, 0, 0.1), (0, 0, 5))[0] == RED


def test_a_solid_reaches_as_far_as_its_farthest_part():
    assert Solid(tuple(PARTS.values())).reach == max(part.reach for part in PARTS.values())
    assert box((-3, -2, -1), (1, 1, 6), RED).reach == pytest.approx(7)
