"""Clips without a LoRA and with it, held against each other."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from zoetrope.clips.motion import measure
from zoetrope.media.pictures import to_bytes
from zoetrope.models.errors import CheckpointError
from zoetrope.models.lora import Lora, add_lora, load_lora, lora_targets, trained_lora
from zoetrope.pipelines import comparing
from zoetrope.pipelines.comparing import (
    Variant,
    compare,
    comparison_sheet,
    comparison_video,
    distance,
    labelled,
    told,
    variants_of,
)
from zoetrope.pipelines.svd import SVDOptions, image_to_video

OPTIONS = SVDOptions(frames=3, steps=2, seed=5)


def picture(seed=0, width=64, height=64):
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")[0].movedim(0, -1)


@pytest.fixture(scope="module")
def model(tiny):
    return tiny("svd")


@pytest.fixture(scope="module")
def loras(model):
    return {name: random_lora(model, seed) for seed, name in enumerate(("moon", "grain"))}


def random_lora(model, seed):
    unet = model.unet.module
    layers = add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=seed)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(seed))
    return trained_lora(layers)


@pytest.fixture(scope="module")
def compared(model, loras):
    """One picture, without the LoRA and with it."""
    return compare(model, picture()[None], variants_of({"moon": loras["moon"]}, [0, 0.5, 1]), OPTIONS)


def test_each_clip_is_the_one_that_its_lora_makes_alone_at_its_strength(model, loras, compared):
    assert [each.label for each in compared] == ["before", "moon at 0.5", "moon at 1"]
    assert torch.equal(compared[0].clip, image_to_video(model, picture(), OPTIONS))
    for each, strength in zip(compared[1:], (0.5, 1), strict=True):
        assert torch.equal(each.clip, image_to_video(load_lora(model, loras["moon"], strength), picture(), OPTIONS))


def test_numbers_say_how_far_a_clip_is_from_the_first_and_how_much_moves(compared):
    first = compared[0].clip
    assert compared[0].from_first is None
    for each in compared[1:]:
        assert each.from_first == pytest.approx((each.clip - first).abs().mean().item())
        assert each.from_first > 0.001
    for each in compared:
        assert each.motion == measure(to_bytes(each.clip), 7.0).motion
        assert each.from_truth is None


def test_every_picture_of_a_batch_is_compared_for_itself(model, loras):
    images = torch.stack([picture(0), picture(1)])
    variants = variants_of(loras, [1])

    both = compare(model, images, variants, OPTIONS)

    assert [(each.picture, each.label) for each in both] == [
        (0, "moon at 1"), (0, "grain at 1"), (1, "moon at 1"), (1, "grain at 1")
    ]  # fmt: skip
    alone = compare(model, images[1:], variants, OPTIONS)
    for one, other in zip(both[2:], alone, strict=True):
        assert torch.equal(one.clip, other.clip)
        assert (one.from_first, one.motion) == (other.from_first, other.motion)
    assert [clip.label for clip in labelled(both)][::2] == ["1: moon at 1", "2: moon at 1"]


def test_a_true_clip_is_brought_to_the_size_of_the_others_and_measured_against_them(model, loras):
    truth = torch.stack([picture(seed, width=160, height=128) for seed in range(5)])
    options = replace(OPTIONS, width=128, height=64)

    *made, true = compare(model, picture()[None], variants_of(loras, [0]), options, true_clips=truth)

    assert true.label == "true clip"
    assert true.clip.shape == made[0].clip.shape == (3, 64, 128, 3)
    assert (true.from_first, true.from_truth) == (None, None)
    for each in made:
        assert each.from_truth == pytest.approx((each.clip - true.clip).abs().mean().item())


def test_a_true_clip_of_the_right_size_stays_as_it_is_and_may_be_shorter(model, loras):
    truth = torch.stack([picture(seed) for seed in range(2)])

    made, true = compare(model, picture()[None], variants_of(loras, [0]), OPTIONS, true_clips=truth)

    assert torch.allclose(true.clip, truth, atol=1e-6)
    assert made.from_truth == pytest.approx((made.clip[:2] - truth).abs().mean().item(), abs=1e-6)


def test_each_picture_has_its_own_true_clip(model, loras):
    truth = torch.stack([picture(seed) for seed in range(6)])

    found = compare(model, torch.stack([picture(0), picture(3)]), variants_of(loras, [0]), OPTIONS, true_clips=truth)

    trues = [each.clip for each in found if each.label == "true clip"]
    assert torch.allclose(torch.cat(trues), truth, atol=1e-6)


def test_variants_begin_with_the_model_as_it_is_and_come_once(loras):
    variants = variants_of(loras, [1, 0, -0.5, 1, 0])

    assert [(each.label, each.strength if each.lora else 0) for each in variants] == [
        ("before", 0), ("moon at 1", 1), ("moon at -0.5", -0.5), ("grain at 1", 1), ("grain at -0.5", -0.5)
    ]  # fmt: skip
    assert variants[1].lora is loras["moon"] and variants[3].lora is loras["grain"]
    assert [each.label for each in variants_of({}, [0])] == ["before"]


@pytest.mark.parametrize(
    ("names", "strengths", "said"),
    [
        ([], [0, 1], "There is no LoRA to compare with"),
        (["moon"], [], "There is nothing to compare"),
        (["moon"], [1, 1000], "strength is 1000"),
        (["moon"], [float("nan")], "strength is nan"),
        (["moon"], [each / 100 for each in range(200)], "200 clips of each picture"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, strengths, said):
    with pytest.raises(ValueError, match=said):
        variants_of({name: Lora({}) for name in names}, strengths)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": torch.zeros(0, 64, 64, 3)}, "batch of images is empty"),
        ({"variants": []}, "no variant"),
        ({"true_clips": torch.zeros(0, 64, 64, 3)}, "0 frames in all, for 1 picture\\."),
        ({"images": torch.zeros(2, 64, 64, 3), "true_clips": torch.zeros(5, 64, 64, 3)}, "5 frames .* 2 pictures"),
        ({"true_clips": torch.full((3, 64, 64, 3), torch.nan)}, "NaN"),
        ({"options": replace(OPTIONS, width=100)}, "width is 100"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sampled(changes, said, model):
    given = {"images": picture()[None], "variants": [Variant("before")], "options": OPTIONS} | changes
    steps = []

    with pytest.raises(ValueError, match=said):
        compare(model, given.pop("images"), given.pop("variants"), given.pop("options"), on_step=steps.append, **given)

    assert not steps


def test_progress_counts_through_all_clips_and_a_cancel_ends_it(model, loras):
    told_of = []

    def listen(step):
        told_of.append((step.clip, step.clips, step.label, step.step.index))
        if len(told_of) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(
            model, torch.stack([picture(0), picture(1)]), variants_of({"moon": loras["moon"]}, [0, 1]), OPTIONS,
            on_step=listen,
        )  # fmt: skip

    assert told_of == [
        (0, 4, "before", 0), (0, 4, "before", 1), (1, 4, "before", 0), (1, 4, "before", 1), (2, 4, "moon at 1", 0)
    ]  # fmt: skip


def test_one_lora_is_on_the_model_at_a_time_and_the_model_stays_as_it_is(model, loras, monkeypatch):
    alive = []
    before = image_to_video(model, picture(), OPTIONS)

    def put_on(model, lora, strength):
        gc.collect()
        assert not any(reference() for reference in alive)
        changed = load_lora(model, lora, strength)
        alive.append(weakref.ref(changed.unet.module))
        return changed

    monkeypatch.setattr(comparing, "load_lora", put_on)
    compare(model, picture()[None], variants_of(loras, [0, 1]), OPTIONS)

    gc.collect()
    assert len(alive) == 2 and not any(reference() for reference in alive)
    assert torch.equal(image_to_video(model, picture(), OPTIONS), before)


def test_a_lora_for_another_model_is_refused(loras, tiny):
    with pytest.raises(CheckpointError, match="does not have|does not fit"):
        compare(tiny("svd_deep"), picture()[None], variants_of({"moon": misfit(loras["moon"])}, [1]), OPTIONS)


def misfit(lora):
    name, matrices = next(iter(lora.layers.items()))
    return Lora({name: replace(matrices, down=matrices.down[:, :1])}, name="moon")


def test_the_distance_of_clips_is_over_the_frames_that_both_have():
    one, other = torch.zeros(3, 2, 2, 3), torch.full((5, 2, 2, 3), 0.25)
    other[3:] = 1

    assert distance(one, other) == distance(other, one) == 0.25


def test_the_sheet_has_a_row_for_each_clip_and_the_video_a_place(compared):
    sheet, video = comparison_sheet(compared, 2), comparison_video(compared)

    assert sheet.shape[2] == 3 and sheet.shape[0] > 3 * 320 and sheet.shape[1] > 2 * 320
    assert video.shape[0] == 3 and video.shape[1] < 2 * 320 and video.shape[2] > 3 * 320
    frame = (compared[2].clip[1] * 255).round().byte().numpy().repeat(5, axis=0).repeat(5, axis=1)
    shown = (video[1] * 255).round().byte().numpy()
    places = np.argwhere((shown == frame[0, 0]).all(axis=2))
    assert any((shown[y : y + 320, x : x + 320] == frame).all() for y, x in places if x > 2 * 320)


def test_the_video_of_several_pictures_has_a_row_for_each(compared):
    two = [*compared, *(replace(each, picture=1) for each in compared)]

    assert comparison_video(two).shape[1] > 2 * 320


def test_the_text_tells_the_numbers_of_every_clip(compared):
    first, half, whole, _, meaning = told(compared).splitlines()

    assert first == f"before: motion {compared[0].motion:.4g}"
    assert half.startswith("moon at 0.5: motion ") and half.endswith(f"{compared[1].from_first:.4g} from the first")
    assert whole.startswith("moon at 1: ")
    assert "diagonal" in meaning
