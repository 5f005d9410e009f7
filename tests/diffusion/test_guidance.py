import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from zoetrope.diffusion.guidance import constant, guide, linear, scales_of, triangle

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/svd/schedule.json").read_text(encoding="utf-8"))["guiders"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['type']}-{case['num_frames']}")
def test_the_scales_are_those_of_the_reference_exactly(case):
    frames, lowest, highest = case["num_frames"], case["min_scale"], case["max_scale"]
    if case["type"] == "linear":
        found = linear(frames, lowest, highest)
    else:
        found = triangle(frames, lowest, highest, [case["period"]], case["period_fusing"])

    assert torch.equal(found, torch.tensor(case["scale"]))


@pytest.mark.parametrize("kind, expected", [("linear", 1.0), ("triangle", 1.0), ("constant", 2.5)])
def test_a_single_frame_has_a_scale(kind, expected):
    assert scales_of(kind, 1, 1.0, 2.5).tolist() == [expected]


@pytest.mark.parametrize("kind", ["linear", "triangle", "constant"])
def test_between_equal_numbers_every_kind_is_constant(kind):
    assert_close(scales_of(kind, 9, 2.0, 2.0), constant(9, 2.0))


def test_a_constant_scale_is_the_higher_number():
    assert scales_of("constant", 3, 1.0, 2.5).tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize(
    "fusing, expected", [("max", [1.0, 2.0, 2.0, 2.0, 1.0]), ("mean", [1.0, 1.75, 1.5, 1.75, 1.0]),
                         ("multiply", [1.0, 1.5, 1.0, 1.5, 1.0])]
)  # fmt: skip
def test_the_waves_of_several_periods_are_fused(fusing, expected):
    assert_close(triangle(5, 1.0, 2.0, (1.0, 0.5), fusing), torch.tensor(expected))


def test_scale_one_is_the_conditioned_prediction_and_scale_nought_the_free_one():
    free, conditioned = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    assert_close(guide(free, conditioned, torch.ones(3)), conditioned)
    assert torch.equal(guide(free, conditioned, torch.zeros(3)), free)


def test_each_frame_is_pushed_by_its_own_scale():
    free, conditioned = torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1)

    assert guide(free, conditioned, torch.tensor([1.0, 2.0, 3.0])).flatten().tolist() == [1.0, 2.0, 3.0]


def test_what_is_no_wave_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="Give at least one, each greater than 0"):
        triangle(5, 1.0, 2.0, (0.0,))
    with pytest.raises(ValueError, match="Choose one of max, mean, multiply"):
        triangle(5, 1.0, 2.0, (1.0,), "sum")
