"""Training a tiny autoencoder on a few pictures of plain colours."""

from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoetrope.clips.footage import Clip, Footage, write_manifest
from zoetrope.media.frame_folders import write_frames
from zoetrope.models.autoencoders import (
    SCALING,
    decoding_clips,
    is_temporal_layer,
    load_autoencoder,
    new_autoencoder,
    save_autoencoder,
)
from zoetrope.trainers.autoencoder import (
    AutoencoderMethod,
    AutoencoderTraining,
    deviation,
    encode,
    noise_ratio,
    train_autoencoder,
)
from zoetrope.trainers.autoencoder_start import begin
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.method import Sample
from zoetrope.trainers.randomness import Chance
from zoetrope.trainers.run_folder import RunFolder

SIDE, FRAMES = 16, 3


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Clips of a square of one colour on a ground of another."""
    root = tmp_path_factory.mktemp("footage")
    chance, clips = np.random.default_rng(0), []
    for number in range(12):
        ground, square = chance.integers(0, 256, (2, 3), dtype=np.uint8)
        frames = np.broadcast_to(ground, (FRAMES, SIDE, SIDE, 3)).copy()
        for frame in range(FRAMES):
            frames[frame, 4:12, 2 + frame : 10 + frame] = square
        paths = write_frames(root / f"clip_{number}", frames)
        split = "validation" if number > 9 else "train"
        names = tuple(path.name for path in paths)
        clips.append(Clip(name=f"clip_{number}", frames=names, width=SIDE, height=SIDE, split=split))
    footage = Footage(root, tuple(clips))
    write_manifest(footage)
    return footage


@pytest.fixture
def settings(footage, tmp_path):
    return AutoencoderTraining(
        footage=footage.root,
        run=tmp_path / "run",
        widths=(96, 96),
        steps=6,
        batch=2,
        warm_up_steps=2,
        learning_rate=3e-4,
        validate_at=(0,),
        validation_pictures=6,
    )


def pictures(count=24):
    colours = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(colours, scale_factor=4, mode="bilinear")


def test_a_new_one_begins_with_the_colours_of_pictures():
    vae = new_autoencoder((96, 32, 96), 1, seed=0)
    given = pictures()
    random = noise_ratio(vae.decode(encode(vae, given)).sample.detach(), given).mean()

    begin(vae, given)

    latents = encode(vae, given)
    assert noise_ratio(vae.decode(latents).sample.detach(), given).mean() > max(15, random + 5)
    assert 0.8 < deviation(latents.detach()) < 1.2
    # Also of pictures that it was not fitted to, and each in its own colour, however bright it is on the whole.
    dark, bright = torch.full((1, 3, 16, 16), -0.8), torch.full((1, 3, 16, 16), 0.6)
    with torch.no_grad():
        decoded = [vae.decode(encode(vae, each)).sample.mean().item() for each in (dark, bright)]
    assert decoded[0] < -0.4 and decoded[1] > 0.3


def test_a_run_learns_and_its_result_has_latents_that_deviate_by_one(settings, footage, tmp_path):
    untrained = tmp_path / "untrained.safetensors"
    save_autoencoder(new_autoencoder((96, 96), 1, seed=0), untrained)

    steps = list(train_autoencoder(replace(settings, start=untrained, steps=40, batch=4, validate_at=(0, 40))))

    vae = load_autoencoder(steps[-1].exported)
    assert steps[-1].ending == "finished"
    validations = [entry["validation"] for entry in RunFolder(settings.run).entries() if "validation" in entry]
    before, after = (numbers["noise ratio in decibels"] for numbers in validations)
    assert after > before + 2
    method = AutoencoderMethod(vae, settings, footage)
    assert_close(SCALING * method.validate().numbers["deviation of latents"], 1.0, rtol=1e-3, atol=0)


def test_a_run_goes_on_as_if_nobody_had_stopped_it(settings, tmp_path):
    whole = [step.loss for step in train_autoencoder(settings)]
    parted = replace(settings, run=tmp_path / "parted", session_steps=3)
    losses = [step.loss for _ in range(2) for step in train_autoencoder(parted)]

    assert losses == whole


@pytest.mark.parametrize("trains", ["decoder", "temporal layers"])
def test_parts_are_trained_and_the_rest_stays(settings, footage, trains):
    vae = new_autoencoder((32, 32), 1, seed=0)
    vae = decoding_clips(vae, 0) if trains == "temporal layers" else vae
    before = {name: weights.clone() for name, weights in vae.state_dict().items()}
    some = replace(settings, trains=trains, start=footage.root, frames=FRAMES, latent_noise=0.1)
    method = AutoencoderMethod(vae, some, footage)

    loss = method.loss(method.batch([Sample(0, Chance(0, 0)), Sample(1, Chance(0, 1))]))
    loss.backward()

    meant = is_temporal_layer if trains == "temporal layers" else (lambda name: name.startswith("decoder."))
    assert set(method.trained()) == {name for name, _ in vae.named_parameters() if meant(name)}
    for name, weights in vae.named_parameters():
        assert (weights.grad is not None) == (name in method.trained())
        assert torch.equal(weights, before[name])


def test_footage_of_two_sizes_or_without_a_split_is_refused(settings, footage, tmp_path):
    other = tmp_path / "other"
    copytree(footage.root, other)
    sizes = replace(footage.clips[0], width=32)
    for clips, words in (
        ((sizes, *footage.clips[1:]), "have 2 sizes"),
        (footage.clips[:5], "no clip in the split val"),
    ):
        write_manifest(Footage(other, tuple(clips)))
        with pytest.raises(TrainingError, match=words):
            next(train_autoencoder(replace(settings, footage=other)))


def test_parts_need_an_autoencoder_to_start_from(settings):
    with pytest.raises(TrainingError, match="trains is decoder. Give an autoencoder to start from."):
        replace(settings, trains="decoder")
