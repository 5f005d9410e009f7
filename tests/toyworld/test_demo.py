"""The demo makes what it promises, of tiny models that know no moon."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

from zoetrope.media.pictures import read_picture
from zoetrope.media.reading import probe
from zoetrope.toyworld.demo import FOLLOWS, DemoOptions, Made, run_demo, write_demo
from zoetrope.toyworld.demo_pictures import AFTER, BEFORE, CELL, LEFT, PANEL, SHARP, TRUTH, Shown, phases_picture
from zoetrope.toyworld.held_out import FIRST_HELD_OUT
from zoetrope.toyworld.phases import phases_in

from ..small_models import put_svd_and_lora

FILES = ["picture.png", "before.mp4", "after.mp4", "side_by_side.gif", "phases.png", "report.html"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return put_svd_and_lora(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def demo(paths, told):
    return run_demo(DemoOptions(steps=1, **paths), lambda *each: told.append(each))


@pytest.fixture(scope="module")
def folder(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert [path.name for path in write_demo(folder, demo)] == FILES
    return folder


def test_both_clips_start_from_the_same_moon_and_differ_by_the_lora(demo):
    assert demo.moon.options.seed == FIRST_HELD_OUT + DemoOptions().moon
    assert demo.before.images.shape == demo.after.images.shape == demo.moon.images.shape == (14, 64, 64, 3)
    assert (demo.before.images - demo.after.images).abs().mean() > 0.01


def test_its_progress_is_told(demo, told):
    assert told == [
        ("Without the LoRA", 0, 1),
        ("Without the LoRA", 1, 1),
        ("With the LoRA", 0, 1),
        ("With the LoRA", 1, 1),
    ]


def test_the_videos_are_enlarged_by_whole_numbers(folder):
    for name in ("before.mp4", "after.mp4"):
        facts = probe(folder / name)
        assert (facts.width, facts.height, facts.frames, facts.seconds) == (512, 512, 14, 2)


def test_the_picture_is_what_both_clips_start_from(folder, demo):
    assert np.abs(read_picture(folder / "picture.png") / 255 - demo.moon.images[0].numpy()).max() < 0.003


def test_the_gif_shows_truth_before_and_after(folder, demo):
    with Image.open(folder / "side_by_side.gif") as gif:
        frames = [np.asarray(frame.convert("RGB")) / 255 for frame in ImageSequence.Iterator(gif)]
    for column, images in enumerate((demo.moon.images, demo.before.images, demo.after.images)):
        left = 20 + column * (PANEL + 20)
        for at in (0, 13):
            panel = frames[at][66 : 66 + PANEL, left : left + PANEL].reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
            assert np.abs(panel - images[at].numpy()).mean() < 0.03  # what 256 colours leave


def test_the_chart_draws_each_clip_where_its_lit_fraction_is(demo):
    lit = {"truth": [1.0, 0.5, 0.0], "before": [1.0, 1.0, 1.0], "after": [0.9, 0.4, 0.2]}
    colors = {"truth": TRUTH, "before": BEFORE, "after": AFTER}
    clips = [Shown(name, "", colors[name], demo.moon.images[:3], lit[name]) for name in lit]

    chart = phases_picture(clips)

    for clip in clips[1:]:  # the truth's marks are rings
        x = round((LEFT + 2.5 * CELL) * SHARP)
        column = (np.abs(chart[: (104 + 300 + 10) * SHARP, x].astype(int) - clip.color).max(axis=1) < 8).nonzero()[0]
        assert column.mean() / SHARP == pytest.approx(104 + 300 * (1 - clip.lit[2]), abs=1)


def test_the_report_needs_nothing_beside_it(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    assert page.count("data:image/") == 2
    assert re.search(r"held-out moon 215, seed 1000215", page)


def made_of(demo, images):
    return Made(images, phases_in(images, demo.moon), 1.0)


def test_the_sentences_say_what_the_numbers_say(demo):
    still = demo.moon.images[:1].expand_as(demo.moon.images)
    found = replace(demo, before=made_of(demo, still), after=made_of(demo, demo.moon.images.clamp(0.01, 0.99)))

    _, before, after = found.sentences()

    assert before.startswith("Without the LoRA the moon stays as it is: its lit fraction is off by 0.4")
    assert "as much as a still picture" in before
    assert after.startswith("With it the moon wanes as it should: its lit fraction is off by 0.0")
    assert re.search(r"\d\d\.\d dB above a still picture", after)


def test_a_moon_that_waxes_instead_does_not_wane_as_it_should(demo):
    assert "changes, but not as it should" in made_of(demo, demo.moon.images.flip(0)).sentence("With it")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"moon": -1}, "first held-out clip is -1"), ({"steps": -1}, "steps is -1"), ({"seed": -1}, "seed is -1")],
)
def test_what_makes_no_sense_is_refused_at_once(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        DemoOptions(**wrong)


def test_with_the_models_that_ship_the_moon_shows_no_phase_before_and_wanes_after():
    found = run_demo(DemoOptions(steps=10))

    assert found.before.phases.error >= 0.25
    assert found.after.phases.error <= FOLLOWS
    assert found.after.phases.psnr > found.before.phases.psnr
