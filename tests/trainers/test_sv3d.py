"""Training SV3D on a moment of orbits: what the network is told of the camera, that it learns, what is refused."""

import dataclasses
import json
import math

import pytest
import torch
from torch.testing import assert_close

from zoetrope.clips.cameras import camera_of
from zoetrope.clips.footage import read_footage, write_manifest
from zoetrope.diffusion.schedules import sinusoid
from zoetrope.models.svd import load_svd
from zoetrope.pipelines.conditioning import embed_picture, encode_pictures
from zoetrope.pipelines.sv3d import SV3DOptions, camera_vector, orbit
from zoetrope.trainers.caching import TensorCache
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.method import Sample
from zoetrope.trainers.randomness import Chance
from zoetrope.trainers.sv3d import SV3D, plan_sv3d, train_sv3d
from zoetrope.trainers.svd_footage import CachedFootage, choose_clips
from zoetrope.trainers.svd_loss import noise_level
from zoetrope.trainers.svd_method import Facts, SVDMethod

from .svd_runs import FRAMES, SIDE, draw_footage, draw_orbits, tiny_orbit_settings

FACTS = Facts("sv3d_p", torch.float32, "hash")
TAKEN = 3  # frames of a window


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    root = tmp_path_factory.mktemp("orbits")
    draw_orbits(root)
    return root


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    """Clips that go round once in as many frames as are taken."""
    root = tmp_path_factory.mktemp("turns")
    draw_orbits(root, clips=2, frames=TAKEN, orbit="turn")
    return root


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return load_svd(tiny_checkpoint("sv3d_p"), dtype=torch.float32, device="cpu")


def method_of(model, checkpoint, footage, cache, **changes):
    settings = tiny_orbit_settings(checkpoint, footage, footage / "run", **changes)
    cached = CachedFootage(model, settings, TensorCache(cache, pytest.fail))
    clips = SV3D.clips(choose_clips(settings, settings.frames), cached, settings, settings.frames)
    return SVDMethod(model, settings, cached, *clips, FACTS, kind=SV3D), clips


@pytest.fixture(scope="module")
def made(model, tiny_checkpoint, footage, tmp_path_factory):
    return method_of(model, tiny_checkpoint("sv3d_p"), footage, tmp_path_factory.mktemp("cache"), dropout=0.0)


def samples_of(*numbers):
    return [Sample(number % 3, Chance(7, number)) for number in numbers]


def start_of(clip, sample):
    return sample.chance.below("first frame", clip.starts)


# What the network is told


def test_angles_are_told_by_frame_as_when_sampling_and_count_from_the_last(made, model):
    method, (clips, _) = made
    starts = set()
    for sample in samples_of(*range(6)):
        clip = clips[sample.item]
        start = start_of(clip, sample)
        starts.add(start)
        frames = slice(start, start + TAKEN)
        truth = json.loads((clip.paths[0].parent / "truth.json").read_text())
        elevations, azimuths = truth["elevations_degrees"][frames], truth["azimuths_degrees"][frames]

        told = method.batch([sample]).vectors[0]

        options = SV3DOptions(frames=TAKEN, elevations_deg=elevations, azimuths_deg=azimuths)
        assert torch.equal(told, camera_vector(model, options))
        # And by the formulas, number after number: noise on the picture, angle from straight above, turn to the last.
        turns = [math.radians((azimuth - azimuths[-1]) % 360) for azimuth in azimuths]
        for frame in range(TAKEN):
            numbers = torch.tensor([math.radians(90 - elevations[frame]), turns[frame]])
            expected = torch.cat([sinusoid(torch.tensor([1e-5]), 256).flatten(), sinusoid(numbers, 512).flatten()])
            assert_close(told[frame], expected)
        assert turns[-1] == 0
    assert len(starts) > 1


def test_the_picture_is_the_last_frame_of_what_is_taken(made, model):
    method, (clips, _) = made
    sample = samples_of(4)[0]
    clip = clips[sample.item]
    window = clip.window(start_of(clip, sample))
    cached = method._cached

    batch = method.batch([sample])

    picture = cached.picture(window[-1])
    assert_close(batch.pictures, encode_pictures(model.vae, picture))  # not scaled
    assert_close(batch.tokens[0], embed_picture(model.image_encoder, picture)[0])
    assert_close(batch.clips[0], torch.cat([encode_pictures(model.vae, cached.picture(p)) for p in window]) * 0.18215)
    assert_close(batch.pictures * 0.18215, batch.clips[:, -1])


def test_the_loss_is_that_of_the_formulas(made, model):
    method, (_, _) = made
    sample = samples_of(1)[0]
    batch = method.batch([sample])
    clips, noise, sigma = batch.clips, batch.noise, batch.levels.item()
    assert sigma == pytest.approx(noise_level(sample.chance, parity=False))

    with torch.no_grad():
        loss = method.loss(batch)
        noisy = clips + sigma * noise
        beside = batch.pictures[:, None].expand(-1, TAKEN, -1, -1, -1)
        given = torch.cat([noisy / math.sqrt(sigma**2 + 1), beside], dim=2)
        said = model.unet.module(given, torch.tensor([math.log(sigma) / 4]), batch.tokens, batch.vectors)
        denoised = noisy / (sigma**2 + 1) - said * sigma / math.sqrt(sigma**2 + 1)
        expected = ((denoised - clips).square() * (sigma**2 + 1) / sigma**2).mean()

    assert_close(loss, expected, rtol=1e-4, atol=1e-6)


def test_swapping_the_camera_changes_the_loss_of_sv3d_p(made):
    method, _ = made
    batch = method.batch(samples_of(0))
    with torch.no_grad():
        loss = method.loss(batch)
        turned = method.loss(dataclasses.replace(batch, vectors=batch.vectors.flip(1)))

    assert abs(loss - turned) > 1e-6


def test_sv3d_u_is_told_of_no_camera(tiny_checkpoint, turns, tmp_path):
    model = load_svd(tiny_checkpoint("sv3d_u"), dtype=torch.float32, device="cpu")
    method, _ = method_of(model, tiny_checkpoint("sv3d_u"), turns, tmp_path / "cache")

    told = method.batch([Sample(0, Chance(7, 0))]).vectors[0]

    assert torch.equal(told, camera_vector(model, SV3DOptions(frames=TAKEN)))


# Whole runs


def test_the_loss_on_a_thing_that_is_held_out_falls_and_its_orbit_is_held_against_the_truth(
    tiny_checkpoint, footage, tmp_path
):
    settings = tiny_orbit_settings(
        tiny_checkpoint("sv3d_p"),
        footage,
        tmp_path / "run",
        preset="all weights",
        steps=25,
        learning_rate=3e-3,
        validate_at=(0,),
        samples=1,
    )

    last = list(train_sv3d(settings))[-1]

    lines = [json.loads(line) for line in (settings.run / "metrics.jsonl").read_text().splitlines()]
    before, after = (line["validation"] for line in lines if "validation" in line)
    assert after["loss"] < 0.97 * before["loss"]
    assert 0 < after["PSNR of samples"] < 60
    kept = json.loads((settings.run / "clips.json").read_text())["held out"][0]
    assert kept["elevations"] == list(camera_of(read_footage(footage)[0].clips[-1]).elevations)
    loaded = load_svd(last.exported, dtype=torch.float32, device="cpu")
    assert loaded.family == "sv3d_p"
    views = orbit(loaded, torch.rand(SIDE, SIDE, 3), SV3DOptions(frames=TAKEN, steps=1, side=SIDE))
    assert views.shape == (TAKEN, SIDE, SIDE, 3)


# What is refused before a run


def test_a_plan_for_orbits_tells_of_them(tiny_checkpoint, footage, tmp_path):
    plan = plan_sv3d(tiny_orbit_settings(tiny_checkpoint("sv3d_p"), footage, tmp_path / "run"))

    assert plan.facts.family == "sv3d_p"
    assert "3 to train on, 1 held out" in plan.text()


def test_a_model_without_a_camera_is_refused(tiny_checkpoint, footage, tmp_path):
    with pytest.raises(TrainingError, match="is an svd model, which has no camera"):
        plan_sv3d(tiny_orbit_settings(tiny_checkpoint("svd"), footage, tmp_path / "run"))


def test_footage_that_does_not_say_from_where_it_is_seen_is_refused(tiny_checkpoint, tmp_path):
    draw_footage(tmp_path / "shapes")
    settings = tiny_orbit_settings(tiny_checkpoint("sv3d_p"), tmp_path / "shapes", tmp_path / "run")

    with pytest.raises(TrainingError, match=r"4 of its clips are seen: clip_0.*and 1 more.*\"camera\""):
        plan_sv3d(settings)


def test_sv3d_u_refuses_what_is_no_even_turn(tiny_checkpoint, footage, turns, tmp_path):
    model = tiny_checkpoint("sv3d_u")
    assert plan_sv3d(tiny_orbit_settings(model, turns, tmp_path / "run")).frames == TAKEN

    with pytest.raises(TrainingError, match="4 of the clips .* do not.*sv3d_p"):
        plan_sv3d(tiny_orbit_settings(model, footage, tmp_path / "run"))

    read, _ = read_footage(turns)
    backwards = [dataclasses.replace(clip, frames=clip.frames[::-1]) for clip in read.clips]
    write_manifest(read.with_clips(backwards))
    try:
        with pytest.raises(TrainingError, match="towards the camera's right"):
            plan_sv3d(tiny_orbit_settings(model, turns, tmp_path / "run"))
    finally:
        write_manifest(read)


def test_pictures_that_are_not_square_are_refused(tiny_checkpoint, footage, tmp_path):
    with pytest.raises(TrainingError, match="height is 64. SV3D's pictures are square"):
        tiny_orbit_settings(tiny_checkpoint("sv3d_p"), footage, tmp_path / "run", height=2 * SIDE)


def test_there_are_more_frames_than_are_taken():
    assert FRAMES > TAKEN
