"""Measures of small models: what they find of models whose answers are known, and how it is told."""

import math
from dataclasses import replace

import pytest
import torch

from zoetrope.models.errors import CheckpointError
from zoetrope.toyworld import measuring_motion, measuring_phases
from zoetrope.toyworld.held_out import FIRST_HELD_OUT
from zoetrope.toyworld.measuring import MEASURES, Measurement, MeasuringOptions, Number, as_text, measure, measure_of
from zoetrope.toyworld.measuring_motion import BUCKETS, rank_correlation

from ..small_models import put_svd_and_lora


def test_every_measure_can_be_found():
    assert all(callable(measure_of(name)) for name in MEASURES)


def test_a_measure_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(ValueError, match="no measure called 'sd'.*svd-moon-lora"):
        measure("sd")


@pytest.mark.parametrize("name", ["seeds", "first", "steps"])
def test_numbers_below_0_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is -1"):
        MeasuringOptions(**{name: -1})


@pytest.mark.parametrize(
    ("number", "holds", "wanted"),
    [
        (Number(name="error", value=0.08, at_most=0.08), True, "at most 0.08"),
        (Number(name="error", value=0.09, at_most=0.08), False, "at most 0.08"),
        (Number(name="gain", value=8.0, unit="dB", at_least=8), True, "at least 8 dB"),
        (Number(name="gain", value=math.nan, at_least=8), False, "at least 8"),
        (Number(name="gain", value=7.0), None, ""),
    ],
)
def test_a_number_knows_whether_it_is_what_was_wanted(number, holds, wanted):
    assert (number.holds, number.wanted) == (holds, wanted)


@pytest.mark.parametrize(("name", "option"), [("svd", "lora"), ("clip", "lora"), ("clip", "steps"), ("sv3d_p", "lora")])
def test_an_option_that_means_nothing_to_a_measure_is_refused(name, option):
    with pytest.raises(ValueError, match=f"{option} means nothing to the measure of {name}. Leave it out."):
        measure(name, MeasuringOptions(**{option: 3}))


def test_what_is_no_number_is_null_in_a_record():
    number = Number(name="correlation", value=float("nan"), at_least=0.5)
    record = Measurement(title="", columns=("a",), rows=((float("inf"),),), numbers=(number,)).record()

    assert record["rows"] == [[None]]
    assert record["numbers"][0]["value"] is None and record["numbers"][0]["holds"] is False


def test_a_measurement_is_told_as_a_table():
    numbers = (Number(name="error", value=0.5, at_most=0.08), Number(name="PSNR", value=23.456, unit="dB"))
    measurement = Measurement(
        title="Two moons", columns=("seed", "error"), rows=((7, 0.25), (8, math.nan)), numbers=numbers
    )

    assert as_text(measurement) == (
        "Two moons\n\nseed  error\n7     0.250\n8         -\n\n"
        "error  0.500    at most 0.08  DOES NOT HOLD\nPSNR   23.5 dB\n"
    )
    assert not measurement.holds
    assert measurement.number("PSNR") == 23.456


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return put_svd_and_lora(tmp_path_factory.mktemp("models"))


@pytest.fixture
def moons_that_wane(monkeypatch):
    """Stands in for sampling: without the LoRA the moon stays, with it it wanes."""
    given = []

    def continued(model, moon, options):
        given.append((moon.options.seed, options.seed, options.steps))
        wanes = model.unet.module is not bare(model)
        return moon.images if wanes else moon.images[:1].expand_as(moon.images)

    monkeypatch.setattr(measuring_phases, "continued", continued)
    return given


def bare(model):
    return model.unet.parts[0].module


def test_phases_are_measured_without_the_lora_and_with_it(paths, moons_that_wane):
    told = []

    found = measure("svd-moon-lora", MeasuringOptions(seeds=2, steps=3, **paths), lambda *each: told.append(each))

    assert found.number("median error of the lit fraction") < 0.02
    assert found.number("its correlation with the truth") > 0.999
    assert 0.3 < found.number("median error without the LoRA") < 0.7
    assert found.holds
    assert [row[0] for row in found.rows] == [FIRST_HELD_OUT, FIRST_HELD_OUT + 1]
    assert told == [("Moons", 0, 2), ("Moons", 1, 2), ("Moons", 2, 2)]
    assert set(moons_that_wane) == {(seed, seed, 3) for seed in (FIRST_HELD_OUT, FIRST_HELD_OUT + 1)}


def test_a_model_that_knows_no_moons_holds_nothing(paths):
    found = measure("svd-moon-lora", MeasuringOptions(seeds=1, steps=1, **paths))

    assert found.number("median error of the lit fraction") > 0.08
    assert not found.holds
    assert len(found.record()["rows"]) == 1


def test_what_is_no_lora_is_told(paths):
    with pytest.raises(CheckpointError):
        measure("svd-moon-lora", MeasuringOptions(seeds=1, model=paths["model"], lora=paths["model"]))


def test_motion_is_measured_in_each_bucket(paths, monkeypatch):
    """By a model that moves its picture as far as the bucket says, and by one that does the opposite."""
    for sign in (1, -1):

        def moved(model, picture, options, sign=sign):
            pixels = round(options.motion_bucket_id / 40) if sign == 1 else round((255 - options.motion_bucket_id) / 40)
            return torch.stack([picture.roll(pixels * frame, dims=1) for frame in range(4)])

        monkeypatch.setattr(measuring_motion, "image_to_video", moved)
        found = measure("svd", MeasuringOptions(seeds=2, model=paths["model"]))

        assert sign * found.number("rank correlation, mean of the pictures") > 0.9
        assert found.holds == (sign == 1)
        assert found.columns == ("seed", *map(str, BUCKETS), "rank correlation")
        assert len(found.rows) == 3


@pytest.mark.parametrize(
    ("values", "rank"), [((1, 2, 30), 1), ((9, 5, 1), -1), ((1, 3, 2), 0.5), ((5, 5, 7), math.sqrt(3) / 2)]
)
def test_ranks_are_spearman_s_with_ties_shared(values, rank):
    assert rank_correlation((10, 20, 30), values) == pytest.approx(rank)


def test_the_seeds_are_the_measures_own_number_unless_told():
    assert len(MeasuringOptions().held_out(100)) == 100
    assert len(replace(MeasuringOptions(), seeds=3).held_out(100)) == 3
