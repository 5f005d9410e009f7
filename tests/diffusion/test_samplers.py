"""Two denoisers whose answer is known: one knows the clip, the other knows that clips are Gaussian."""

import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from torch.testing import assert_close

from zoetrope.diffusion.samplers import SAMPLERS, sample
from zoetrope.diffusion.schedules import karras_sigmas, v_prediction

SHAPE = (3, 4, 5, 6)
of_their_numpy = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


def randn(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network(noisy, noise):
    """Something smooth that depends on the clip and on the noise, in the place of a trained F."""
    return torch.sin(noisy + noise) * 0.5 + noisy.roll(1, 0) * 0.3


def denoise(noisy, sigma):
    scaling = v_prediction(sigma)
    return scaling.c_skip * noisy + scaling.c_out * network(scaling.c_in * noisy, scaling.c_noise)


@every_sampler
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_an_ideal_denoiser_gives_back_its_data(sampler, steps):
    clip, sigmas = randn(0), karras_sigmas(steps).double()

    result = sample(lambda noisy, sigma: clip, clip + sigmas[0] * randn(1), sigmas, sampler)

    assert_close(result, clip, rtol=0, atol=1e-10)


def error_on_gaussian_clips(sampler: str, steps: int) -> float:
    """How far the sampled clip is from the exact solution where clips are Gaussian with a mean and a deviation."""
    mean, deviation, sigmas = randn(0), 0.5, karras_sigmas(steps, 0.02, 80.0).double()[:-1]
    start = mean + randn(1) * (sigmas[0] ** 2 + deviation**2) ** 0.5

    def ideal(noisy, sigma):
        return mean + (noisy - mean) * deviation**2 / (deviation**2 + sigma**2)

    result = sample(ideal, start, sigmas, sampler)
    exact = mean + (start - mean) * ((sigmas[-1] ** 2 + deviation**2) / (sigmas[0] ** 2 + deviation**2)) ** 0.5
    return (result - exact).abs().max().item()


@pytest.mark.parametrize("sampler, order", [("euler", 1), ("heun", 2), ("dpm++2m", 2)])
def test_half_the_step_leaves_the_share_of_the_error_that_the_order_promises(sampler, order):
    rough, fine = error_on_gaussian_clips(sampler, 80), error_on_gaussian_clips(sampler, 160)

    assert rough / fine == pytest.approx(2**order, rel=0.2)


def test_the_samplers_of_second_order_are_nearer_than_euler_at_the_same_cost():
    euler = error_on_gaussian_clips("euler", 80)

    assert error_on_gaussian_clips("heun", 40) < euler / 3
    assert error_on_gaussian_clips("dpm++2m", 80) < euler / 3


@of_their_numpy
@pytest.mark.parametrize("steps", [5, 25])
def test_euler_steps_are_those_of_diffusers(steps):
    scheduler = EulerDiscreteScheduler(
        prediction_type="v_prediction", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
        timestep_type="continuous", timestep_spacing="leading", steps_offset=1,
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    start = theirs = randn(1, torch.float32) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        predicted = network(scheduler.scale_model_input(theirs, time), time)
        theirs = scheduler.step(predicted, time, theirs).prev_sample

    assert_close(sample(denoise, start, karras_sigmas(steps)), theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("steps", [2, 5, 14, 25])
def test_dpm_steps_are_those_of_diffusers(steps):
    scheduler = EDMDPMSolverMultistepScheduler(
        sigma_min=0.002, sigma_max=700.0, sigma_data=1.0, prediction_type="v_prediction"
    )
    scheduler.set_timesteps(steps)
    sigmas = karras_sigmas(steps)
    start = theirs = randn(1, torch.float32) * sigmas[0]
    for time in scheduler.timesteps:
        predicted = network(scheduler.scale_model_input(theirs, time), time)
        theirs = scheduler.step(predicted, time, theirs).prev_sample

    assert_close(sample(denoise, start, sigmas, "dpm++2m"), theirs, rtol=0, atol=2e-5)


@of_their_numpy
@pytest.mark.parametrize("steps", [3, 6, 20])
def test_heun_steps_are_those_of_diffusers(steps):
    """Told a clip instead of v: its own arithmetic for v is the same, and its schedule knows no sigma above 157."""
    scheduler = HeunDiscreteScheduler(prediction_type="sample", use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2], scheduler.sigmas[-1:]])
    start = theirs = randn(1, torch.float32) * sigmas[0]
    for index, time in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[index]
        theirs = scheduler.step(denoise(theirs, sigma), time, theirs).prev_sample

    assert_close(sample(denoise, start, sigmas, "heun"), theirs, rtol=0, atol=2e-5)


@every_sampler
def test_each_step_is_told_before_it_is_taken(sampler):
    sigmas, told = karras_sigmas(4), []

    sample(denoise, randn(1, torch.float32), sigmas, sampler, lambda index, level: told.append((index, level.sigma)))

    assert told == list(enumerate(sigmas[:-1]))


@every_sampler
def test_the_noise_that_came_in_is_left_as_it_was(sampler):
    noise = randn(1, torch.float32)

    sample(denoise, noise, karras_sigmas(3), sampler)

    assert torch.equal(noise, randn(1, torch.float32))
