import hashlib
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.toyworld.shapes import (
    COLORS,
    GROUNDS,
    OUTLINES,
    PATHS,
    PLACES,
    Path,
    Scene,
    Shape,
    ShapesOptions,
    compose,
    render,
)

SMALL = ShapesOptions(seconds=1.0, frames_per_second=8.0, width=96, height=64)
QUICK = replace(SMALL, frames_per_second=2.0)
RED_CIRCLE = Scene(ground="blue", shapes=(Shape(kind="circle", color="red", path=Path(name="right")),))


def centroids(masks):
    """The (s d) centres of mass of (s h w) masks, in pixels."""
    _, height, width = masks.shape
    x = torch.arange(width, dtype=torch.float64) + 0.5
    y = torch.arange(height, dtype=torch.float64) + 0.5
    mass = masks.double().sum(dim=(1, 2))
    return torch.stack([(masks * x).sum(dim=(1, 2)) / mass, (masks * y[:, None]).sum(dim=(1, 2)) / mass], dim=-1)


def nearest_name(color, names):
    levels = torch.tensor(list(names.values())) / 255
    return list(names)[int((levels - color).norm(dim=-1).argmin())]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", OUTLINES)
def test_a_shape_stands_where_its_mask_says(kind, path):
    shape = Shape(kind=kind, color="red", path=Path(name=path, across=0.3, start=0.15), spins=1)
    clip = render(Scene(ground="black", shapes=(shape,)), SMALL)

    for frame in range(SMALL.frames):
        assert_close(centroids(clip.masks(frame)), clip.positions[frame], atol=0.1, rtol=0)  # of a pixel


@pytest.mark.parametrize("kind", OUTLINES)
def test_shapes_of_one_size_look_equally_large(kind):
    clip = render(
        Scene(ground="black", shapes=(Shape(kind=kind, color="red", path=Path(name="up"), size=0.15),)), QUICK
    )

    assert clip.masks(0).sum() == pytest.approx(math.pi * (0.15 * 64) ** 2, rel=0.2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), shapes=st.integers(1, 4), width=st.integers(16, 80), height=st.integers(16, 80))
def test_every_shape_is_always_wholly_in_the_picture(seed, shapes, width, height):
    options = ShapesOptions(seconds=1, frames_per_second=4, width=width, height=height, seed=seed, shapes=shapes)
    scene = compose(options)

    for shape in scene.shapes:
        alone = Scene(ground=scene.ground, shapes=(shape,))
        masks = render(alone, options).masks(2)
        border = torch.cat(
            [masks[:, 0].flatten(), masks[:, -1].flatten(), masks[..., 0].flatten(), masks[..., -1].flatten()]
        )
        assert masks.sum() > 0
        assert border.sum() == 0


@pytest.mark.parametrize("color", COLORS)
def test_a_shape_has_the_color_that_it_is_called(color):
    clip = render(Scene(ground="black", shapes=(Shape(kind="square", color=color, path=Path(name="down")),)), QUICK)

    shown = clip.images[0][clip.masks(0)[0] == 1]

    assert {nearest_name(pixel, COLORS) for pixel in shown} == {color}


@pytest.mark.parametrize("ground", GROUNDS)
def test_a_ground_has_the_color_that_it_is_called(ground):
    clip = render(replace(RED_CIRCLE, ground=ground), QUICK)

    assert nearest_name(clip.images[0][:, 64:].mean(dim=(0, 1)), GROUNDS) == ground


def test_a_later_shape_covers_an_earlier_one():
    below = Shape(kind="square", color="red", path=Path(name="up"))
    above = Shape(kind="circle", color="white", path=Path(name="up"), size=0.1)
    clip = render(Scene(ground="black", shapes=(below, above)), QUICK)

    seen_below, seen_above = clip.masks(0)

    assert (seen_below + seen_above).max() <= 1 + 1e-6
    assert seen_below[seen_above == 1].max() == 0
    assert seen_below.sum() > 0


@pytest.mark.parametrize(
    ("path", "axis", "direction"), [("right", 0, 1), ("left", 0, -1), ("down", 1, 1), ("up", 1, -1)]
)
def test_a_straight_path_goes_its_way_at_one_speed(path, axis, direction):
    steps = render(
        replace(RED_CIRCLE, shapes=(Shape(kind="star", color="red", path=Path(name=path)),)), SMALL
    ).positions.diff(dim=0)

    assert (steps[..., axis] * direction > 0).all()
    assert_close(steps, steps[:1].expand_as(steps))
    assert (steps[..., 1 - axis] == 0).all()


@pytest.mark.parametrize("name", ["circle", "swing", "bounce"])
@given(start=st.floats(0, 1), laps=st.integers(1, 9))
def test_a_path_that_comes_back_ends_where_it_began_so_that_the_clip_loops(name, start, laps):
    path = Path(name=name, start=start, laps=laps)

    assert path.at(1.0) == pytest.approx(path.at(0.0), abs=1e-9)


@given(name=st.sampled_from(list(PATHS)), time=st.floats(0, 1), across=st.floats(0, 1), start=st.floats(0, 1))
def test_a_path_stays_in_its_room(name, time, across, start):
    assert all(0 <= place <= 1 for place in Path(name=name, across=across, start=start).at(time))


def test_a_caption_says_it_all():
    yellow_star = Shape(kind="star", color="yellow", path=Path(name="bounce"))
    orange_square = Shape(kind="square", color="orange", path=Path(name="circle"))

    assert RED_CIRCLE.caption == "a red circle moves right over a blue ground"
    assert replace(RED_CIRCLE, shapes=(*RED_CIRCLE.shapes, yellow_star)).caption == (
        "a red circle moves right and a yellow star bounces over a blue ground"
    )
    assert replace(RED_CIRCLE, shapes=(*RED_CIRCLE.shapes, yellow_star, orange_square)).caption == (
        "a red circle moves right, a yellow star bounces and an orange square goes round in a circle over a blue ground"
    )


@given(seed=st.integers(0, 2**64 - 1), shapes=st.integers(1, 4))
def test_a_scene_has_shapes_that_words_tell_apart(seed, shapes):
    scene = compose(ShapesOptions(seed=seed, shapes=shapes))

    assert len({shape.kind for shape in scene.shapes}) == shapes
    assert len({shape.path.name for shape in scene.shapes}) == shapes
    assert len({shape.color for shape in scene.shapes} | {scene.ground}) == shapes + 1


def test_every_kind_color_path_and_ground_comes_up():
    scenes = [compose(ShapesOptions(seed=seed)) for seed in range(200)]

    shapes = [shape for scene in scenes for shape in scene.shapes]
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    assert {shape.kind for shape in shapes} == set(OUTLINES)
    assert {shape.color for shape in shapes} == set(COLORS)
    assert {shape.path.name for shape in shapes} == set(PATHS)


def test_a_seed_means_the_same_scene_and_the_same_pixels_everywhere():
    clip = render(compose(SMALL), SMALL)
    levels = (clip.images * 255).round().byte()

    assert clip.scene.caption == (
        "an orange star moves left, a green square goes round in a circle and a white circle swings from side to side "
        "over a blue ground"
    )
    assert (
        hashlib.sha256(levels.numpy().tobytes()).hexdigest()
        == "a4248ee167fc440fd6fecd5f4d5eec9f7c3147ee7aab0ba319dcb05091541180"
    )
    assert torch.equal(levels / 255, clip.images)


def test_the_generators_of_others_are_left_alone():
    before = torch.random.get_rng_state()

    render(compose(QUICK), QUICK)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_seed_means_another_scene():
    assert len({compose(ShapesOptions(seed=seed)) for seed in range(50)}) == 50


def test_each_frame_is_shown_as_it_is_made():
    seen = []

    clip = render(RED_CIRCLE, SMALL, lambda done, image: seen.append((done, image.clone())))

    assert [done for done, _ in seen] == list(range(1, SMALL.frames + 1))
    assert torch.equal(torch.stack([image for _, image in seen]), clip.images)


def test_raising_from_the_callback_ends_the_work():
    def cancel_after_two(done, image):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(RED_CIRCLE, SMALL, cancel_after_two)


@pytest.mark.parametrize("shapes", [0, 5])
def test_more_shapes_than_there_are_kinds_are_refused(shapes):
    with pytest.raises(ValueError, match=f"shapes is {shapes}. A scene holds 1 to 4"):
        ShapesOptions(shapes=shapes)


def test_options_of_every_clip_are_checked_here_too():
    with pytest.raises(ValueError, match="seconds is 0"):
        ShapesOptions(seconds=0)


@pytest.mark.parametrize("path", [path for path in PATHS if path != "bounce"])
@pytest.mark.parametrize("speed", [0.05, 0.2])
def test_a_shape_moves_at_the_speed_that_was_asked_for(path, speed):
    options = replace(SMALL, seconds=2.0, frames_per_second=30.0, shapes=1, speed=speed)
    options = next(
        wish for seed in range(100) if compose(wish := replace(options, seed=seed)).shapes[0].path.name == path
    )

    moved = render(compose(options), options).truth.pixels_per_frame

    # A swing goes slower near its ends and an ellipse near its tips, so within a part of a lap the mean is not all.
    assert moved == pytest.approx(speed * 64 / 30, rel=0.01 if path in ("right", "left", "up", "down") else 0.6)


def test_more_speed_is_more_motion():
    def motion(seed, speed):
        options = replace(SMALL, seconds=2.0, frames_per_second=7.0, shapes=1, speed=speed, seed=seed)
        return render(compose(options), options).truth.pixels_per_frame

    for seed in range(8):
        motions = [motion(seed, speed) for speed in (0, 0.05, 0.1, 0.2)]
        assert motions[0] == 0
        assert motions == sorted(motions)
        assert len(set(motions)) == 4


def test_a_shape_that_is_too_fast_stops_being_faster_where_its_room_ends():
    options = replace(SMALL, shapes=1, speed=50.0)

    for seed in range(20):
        wish = replace(options, seed=seed)
        for masks in map(render(compose(wish), wish).masks, range(options.frames)):
            assert masks[..., 0].sum() + masks[..., -1].sum() + masks[:, 0].sum() + masks[:, -1].sum() == 0


def test_shapes_that_stand_still_are_told_by_their_places():
    for seed in range(60):
        options = replace(QUICK, width=64, shapes=1 + seed % 2, speed=0.0, seed=seed)
        clip = render(compose(options), options)

        assert torch.equal(clip.images[0], clip.images[1])
        assert "stands still" in clip.caption
        for (x, y), shape in zip(centroids(clip.masks(0)).tolist(), clip.scene.shapes, strict=True):
            row = "top" if y < 64 / 3 else "bottom" if y > 128 / 3 else ""
            column = "left" if x < 64 / 3 else "right" if x > 128 / 3 else ""
            told = clip.truth.still_captions[0]
            place = told[told.index(shape.name) + len(shape.name) :].split(" and ")[0]
            assert (" ".join(filter(None, [row, column])) or "middle") in place
        assert clip.truth.still_captions[0].endswith(f"on a {clip.scene.ground} ground")


def test_every_place_comes_up():
    options = replace(QUICK, width=64, shapes=1, speed=0.0)
    captions = [compose(wish := replace(options, seed=seed)).still_caption(wish) for seed in range(150)]

    for place in (place for row in PLACES for place in row):
        assert any(f" {place} on a " in caption for caption in captions), place


def test_the_truth_is_what_the_clip_shows():
    clip = render(compose(SMALL), SMALL)
    record = clip.truth.record()

    assert record["positions"] == clip.positions.tolist()
    assert record["ground"] in clip.caption
    for shape in record["shapes"]:
        assert f"{shape['color']} {shape['kind']} {PATHS[shape['path']]}" in clip.caption


def test_a_speed_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="speed is -0.1"):
        ShapesOptions(speed=-0.1)
