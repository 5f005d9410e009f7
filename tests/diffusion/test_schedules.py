import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.diffusion.schedules import karras_sigmas, sinusoid, v_prediction

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/svd/schedule.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN["sigmas"], ids=lambda case: f"{case['num_steps']}-steps")
def test_the_sigmas_are_those_of_the_reference(case):
    sigmas = karras_sigmas(case["num_steps"], case["sigma_min"], case["sigma_max"], case["rho"])

    assert_close(sigmas, torch.tensor(case["sigmas"]), rtol=1e-6, atol=0)


@given(steps=st.integers(2, 300), highest=st.floats(1, 1000), lowest=st.floats(0.001, 0.5), rho=st.floats(3, 10))
def test_noise_falls_from_the_highest_level_to_the_lowest_and_then_to_none(steps, highest, lowest, rho):
    sigmas = karras_sigmas(steps, lowest, highest, rho)

    assert len(sigmas) == steps + 1
    assert (sigmas.diff() < 0).all()
    assert_close(sigmas[[0, -2, -1]], torch.tensor([highest, lowest, 0.0]), rtol=2e-3, atol=0)


def test_the_preconditioning_is_that_of_the_reference_exactly():
    expected = GOLDEN["denoiser_scaling"]

    found = v_prediction(torch.tensor(expected["sigma"]))

    for name in ("c_skip", "c_out", "c_in", "c_noise"):
        assert_close(getattr(found, name), torch.tensor(expected[name]), rtol=2e-7, atol=0, msg=name)


def test_the_preconditioning_keeps_the_variance_of_a_noisy_clip_at_one():
    sigmas = karras_sigmas(10)[:-1].double()

    scaling = v_prediction(sigmas)

    assert_close(scaling.c_in**2 * (sigmas**2 + 1), torch.ones(10, dtype=torch.float64))
    assert_close(scaling.c_skip + scaling.c_out**2, torch.ones(10, dtype=torch.float64))  # var(D - c_skip x) = c_out^2


@pytest.mark.parametrize("case", GOLDEN["timestep_embedding"], ids=lambda case: f"{case['value']}-{case['dim']}")
def test_numbers_are_embedded_as_by_the_reference_exactly(case):
    found = sinusoid(torch.tensor([case["value"]]), case["dim"])

    assert torch.equal(found, torch.tensor([case["embedding"]]))


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused_in_a_sentence(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}. Sampling needs at least 1"):
        karras_sigmas(steps)
