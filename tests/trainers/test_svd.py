"""Fine-tuning SVD on a moment of footage: what the network is told, that it learns, and what comes of it."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from zoetrope.diffusion.schedules import sinusoid
from zoetrope.host.weights import Weights
from zoetrope.media.pictures import as_images, read_picture
from zoetrope.models.lora import load_lora
from zoetrope.models.svd import load_svd
from zoetrope.pipelines.conditioning import embed_picture, encode_pictures
from zoetrope.pipelines.svd import SVDOptions, image_to_video, sized_picture
from zoetrope.trainers.caching import TensorCache
from zoetrope.trainers.config import plain
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.learner import Learner
from zoetrope.trainers.method import Sample
from zoetrope.trainers.randomness import Chance
from zoetrope.trainers.run_folder import opened_run
from zoetrope.trainers.svd import SVDMethod, refuse_another, train_svd
from zoetrope.trainers.svd_footage import CachedFootage, choose_clips, training_clips
from zoetrope.trainers.svd_method import Facts
from zoetrope.trainers.svd_validation import trials

from .svd_runs import SIDE, draw_footage, tiny_settings, weights_of

FACTS = Facts("svd", torch.float32, "hash")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint):
    return tiny_checkpoint("svd")


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_svd(checkpoint, dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    root = tmp_path_factory.mktemp("footage")
    draw_footage(root)
    return root


@pytest.fixture(scope="module")
def make(checkpoint, footage, model, tmp_path_factory):
    """Makes a method, all of them with one cache."""
    cache = TensorCache(tmp_path_factory.mktemp("cache"), lambda note: pytest.fail(note))

    def made(**changes):
        settings = tiny_settings(checkpoint, footage, footage / "run", **changes)
        cached = CachedFootage(model, settings, cache)
        clips = training_clips(choose_clips(settings, settings.frames), cached, settings, settings.frames)
        return SVDMethod(model, settings, cached, *clips, FACTS), cached, clips

    return made


def samples_of(*numbers):
    return [Sample(number % 3, Chance(7, number)) for number in numbers]


def kept(method, count):
    """The first samples whose picture is not left out."""
    found = [sample for sample in samples_of(*range(40)) if method.batch([sample]).tokens.any()]
    return found[:count]


# What the network is told


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("preset", "moton", "one of motion, motion and look"),
        ("schedule", "cosin", "one of constant, cosine"),
        ("precision", "fp8", "one of auto, fp32"),
        ("fit", "pad", "one of cover, stretch"),
        ("caption", "moon \ud800", "half a character"),
    ],
)
def test_a_setting_that_is_none_of_its_choices_is_refused_where_it_is_written(name, value, told, tmp_path):
    with pytest.raises(TrainingError, match=f"^{name} is .*{told}"):
        tiny_settings(tmp_path, tmp_path, tmp_path, **{name: value})


def test_a_sample_is_told_what_sampling_tells(make, model):
    method, cached, (clips, _) = make()
    sample = kept(method, 1)[0]
    clip, chance = clips[sample.item], sample.chance
    window = clip.window(chance.below("first frame", clip.starts))

    batch = method.batch([sample])

    picture = cached.picture(window[0])
    # The crop that sampling makes of the same frame, for the network and for CLIP.
    assert torch.equal(picture, sized_picture(as_images(read_picture(window[0]))[0], SIDE, SIDE, 16))
    assert torch.equal(batch.tokens[0], embed_picture(model.image_encoder, picture)[0])
    aug = float(torch.exp(-3.0 + 0.5 * chance.normal("noise level of the picture")))
    noisy = picture + aug * chance.normal("noise on the picture", picture.shape)
    # The likeliest latent, as when sampling, and not scaled.
    assert_close(batch.pictures, encode_pictures(model.vae, noisy))
    frames = torch.cat([cached.picture(path) for path in window])
    assert_close(batch.clips[0], encode_pictures(model.vae, frames) * 0.18215)


def test_numbers_are_told_in_order_and_the_rate_less_one(make):
    method, _, (clips, _) = make()
    sample = samples_of(4)[0]
    clip, chance = clips[sample.item], sample.chance
    aug = float(torch.exp(-3.0 + 0.5 * chance.normal("noise level of the picture")))

    vector = method.batch([sample]).vectors[0]

    assert clip.frames_per_second == 8
    expected = sinusoid(torch.tensor([7.0, float(clip.motion_bucket), aug]), 256).flatten()
    assert_close(vector, expected.expand(3, -1))


def test_each_clip_of_a_batch_has_noise_levels_of_its_own(make):
    method, _, _ = make()
    first, second = kept(method, 2)

    both = method.batch([first, second])

    assert not torch.equal(both.vectors[0], both.vectors[1])  # of which the third number is the picture's noise
    assert both.levels[0] != both.levels[1]
    for row, sample in enumerate((first, second)):
        alone = method.batch([sample])
        for name in ("clips", "noise", "levels", "pictures", "tokens", "vectors"):
            assert torch.equal(getattr(both, name)[row], getattr(alone, name)[0])


def test_no_two_samples_have_the_same_noise(make):
    method, _, _ = make()

    noises = method.batch(samples_of(0, 3, 6)).noise  # of one clip

    assert (noises[0] - noises[1]).abs().max() > 0.5
    assert (noises[1] - noises[2]).abs().max() > 0.5


def test_noised_pictures_are_so_many_of_each_first_frame_and_are_encoded_once(make, model, monkeypatch):
    method, _, _ = make(noised_pictures=2, random_start=False, dropout=0.0)
    fresh, _, _ = make(random_start=False, dropout=0.0)
    samples = samples_of(*range(0, 60, 3))  # of one clip

    def told(one):
        batches = [one.batch([sample]) for sample in samples]
        return {(batch.pictures.numpy().tobytes(), batch.vectors.numpy().tobytes()) for batch in batches}

    assert len(told(fresh)) == len(samples)
    assert len(told(method)) == 2
    monkeypatch.setattr(model.vae.module, "encode", lambda picture: pytest.fail("it is kept"))
    assert len(told(method)) == 2


def test_a_picture_that_is_kept_is_told_with_the_noise_that_it_has(make, model):
    method, cached, (clips, _) = make(noised_pictures=1, random_start=False, dropout=0.0)
    sample = samples_of(3)[0]
    chance = Chance(method._settings.seed, int(cached.hash_of([clips[0].paths[0]]), 16))
    level = float(torch.exp(-3.0 + 0.5 * chance.normal("noise level of the picture")))
    picture = cached.picture(clips[0].paths[0])

    batch = method.batch([sample])

    noisy = picture + level * chance.normal("noise on the picture", picture.shape)
    assert_close(batch.pictures, encode_pictures(model.vae, noisy))
    assert_close(batch.vectors[0, 0, 512:], sinusoid(torch.tensor([level]), 256)[0])


def test_dropout_takes_away_token_and_latent_and_leaves_the_numbers(make):
    method, _, _ = make(dropout=1 / 3)
    dropped = [sample for sample in samples_of(*range(20)) if not method.batch([sample]).tokens.any()]
    with_all, _, _ = make(dropout=0.0)

    assert dropped
    for sample in dropped:
        one, other = method.batch([sample]), with_all.batch([sample])
        assert not one.pictures.any()
        assert other.pictures.any()
        assert other.tokens.any()
        assert torch.equal(one.vectors, other.vectors)
        assert torch.equal(one.clips, other.clips)


def test_parity_gives_the_loss_of_the_formulas(make, model):
    """As train_svd_lora.py goes about it: scaled input, (fps, motion, aug) ids, denoised clip, weighted square."""
    method, _, (clips, _) = make(parity=True, dropout=0.0)
    sample = samples_of(5)[0]
    clip, chance = clips[sample.item], sample.chance
    batch = method.batch([sample])
    sigma = torch.exp(0.7 + 1.6 * chance.normal("noise level"))
    aug = torch.exp(-3.0 + 0.5 * chance.normal("noise level of the picture"))
    noise = chance.normal("noise", batch.clips.shape[1:])

    noisy = batch.clips[0] + noise * sigma
    scaled = torch.cat([noisy / (sigma**2 + 1) ** 0.5, batch.pictures.expand(3, -1, -1, -1)], dim=1)
    ids = torch.tensor([7.0, float(clip.motion_bucket), float(aug)])
    vector = sinusoid(ids, 256).flatten().expand(1, 3, -1)
    predicted = model.unet.module(scaled[None], 0.25 * sigma.log()[None], batch.tokens, vector)[0]
    denoised = predicted * (-sigma / (sigma**2 + 1) ** 0.5) + noisy / (sigma**2 + 1)
    expected = ((1 + sigma**2) / sigma**2 * (denoised - batch.clips[0]) ** 2).mean()

    assert_close(method.loss(batch), expected, atol=1e-6, rtol=1e-6)


def test_the_gradient_of_a_batch_is_the_mean_of_its_clips_gradients(make):
    method, _, _ = make()
    weights = list(method.trained().values())
    samples = samples_of(1, 2)

    together = torch.autograd.grad(method.loss(method.batch(samples)), weights)

    apart = [torch.autograd.grad(method.loss(method.batch([sample])), weights) for sample in samples]
    for both, one, other in zip(together, *apart, strict=True):
        assert_close(both, (one + other) / 2, atol=1e-6, rtol=1e-4)


def test_motion_sets_the_bucket_unless_it_is_fixed(make):
    _, _, (measured, held_out) = make()
    _, _, (fixed, _) = make(motion_bucket=127)

    assert [clip.motion_bucket for clip in (*measured, *held_out)] == [1, 86, 170, 255]
    assert {clip.motion_bucket for clip in fixed} == {127}


def test_motion_that_nobody_has_measured_is(checkpoint, model, tmp_path):
    draw_footage(tmp_path / "footage", clips=3)
    manifest = tmp_path / "footage" / "footage.jsonl"
    manifest.write_text(
        "\n".join(
            json.dumps({name: value for name, value in json.loads(line).items() if name != "motion"})
            for line in manifest.read_text().splitlines()
        )
    )
    settings = tiny_settings(checkpoint, tmp_path / "footage", tmp_path)
    cached = CachedFootage(model, settings, TensorCache(tmp_path / "cache", pytest.fail))

    clips, held_out = training_clips(choose_clips(settings, 3), cached, settings, 3)

    assert len({clip.motion_bucket for clip in (*clips, *held_out)}) > 1


def test_a_clip_begins_anywhere_unless_told_otherwise(make):
    method, _, (clips, _) = make()
    fixed, _, _ = make(random_start=False)

    begins = {method._start(clips[0], Chance(0, number)) for number in range(60)}

    assert begins == {0, 1, 2, 3}
    assert {fixed._start(clips[0], Chance(0, number)) for number in range(60)} == {0}


def test_a_frame_step_takes_frames_apart_and_slows_the_rate(make):
    _, _, (clips, _) = make(frame_step=2)

    assert [path.name for path in clips[0].window(1)] == ["frame_1.png", "frame_3.png", "frame_5.png"]
    assert clips[0].frames_per_second == 4
    assert clips[0].fps_id == 3


# Validation


def test_validation_says_the_same_twice_and_its_noise_is_no_samples(make):
    method, _, (_, held_out) = make()
    with torch.no_grad():
        numbers, again = method.validate().numbers, method.validate().numbers

    assert numbers == again
    assert set(numbers) == {"loss", *(f"loss at noise {level}" for level in ("0.5", "2", "8"))}
    assert all(trial.chance.number < 0 for trial in trials(held_out, tiny_settings("", "", "")))


def test_samples_move_and_are_held_against_the_footage(make):
    method, _, _ = make(samples=1)
    with torch.no_grad():
        validation = method.validate()

    assert validation.clips["clip_3"].shape == (3, SIDE, SIDE, 3)
    footage = validation.numbers["motion of the footage"]
    assert footage > 0
    share = validation.numbers["motion, as a share of the footage's"]
    assert share == pytest.approx(validation.numbers["motion of samples"] / footage)


# Whole runs


def validated(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["validation"]["loss"] for line in lines if "validation" in line]


def train_all(settings, **more):
    return list(train_svd(settings, **more))


@pytest.mark.parametrize(
    "preset, rate", [("motion", 3e-2), ("motion and look", 1e-2), ("strong", 1e-2), ("temporal weights", 3e-3)]
)
def test_the_loss_on_a_clip_that_is_held_out_falls(checkpoint, footage, tmp_path, preset, rate):
    settings = tiny_settings(
        checkpoint, footage, tmp_path / "run", preset=preset, steps=15, learning_rate=rate, validate_at=(0,)
    )

    train_all(settings)

    before, after = validated(settings.run)
    assert after < 0.97 * before


def test_the_lora_of_a_run_loads_and_changes_what_is_sampled(checkpoint, footage, model, tmp_path):
    settings = tiny_settings(checkpoint, footage, tmp_path / "moon", alpha=2.0, caption="moon", learning_rate=0.03)

    last = train_all(settings)[-1]

    assert last.ending == "finished"
    assert last.exported == tmp_path / "moon" / "exports" / "moon-3.safetensors"
    waning = load_lora(model, last.exported)
    options = SVDOptions(frames=2, steps=2, width=SIDE, height=SIDE)
    picture = torch.rand(SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    assert (image_to_video(waning, picture, options) - image_to_video(model, picture, options)).abs().max() > 1e-4
    alphas = {tensor.item() for name, tensor in weights_of(last.exported).items() if name.endswith(".alpha")}
    assert alphas == {2.0}  # and not the rank, 4
    with safe_open(last.exported, "pt") as file:
        told = file.metadata()
    assert told["zoetrope.trigger"] == "moon"
    assert told["zoetrope.steps"] == "3"
    assert json.loads(told["zoetrope.settings"])["fit"] == "cover"
    assert str(tmp_path) not in json.dumps(told)


@pytest.mark.parametrize("preset", ["temporal weights", "all weights"])
def test_trained_weights_are_saved_as_a_checkpoint_that_loads(checkpoint, footage, model, tmp_path, preset):
    settings = tiny_settings(checkpoint, footage, tmp_path / "run", preset=preset)

    exported = train_all(settings)[-1].exported

    loaded = load_svd(exported, dtype=torch.float32, device="cpu")
    assert loaded.numbers is None  # the steps of training are not those of sampling
    ours, theirs = (dict(each.unet.module.named_parameters()) for each in (loaded, model))
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert any("temporal" in name for name in changed)
    assert any("spatial" in name for name in changed) == (preset == "all weights")


def test_a_run_that_was_stopped_and_goes_on_is_the_run_that_nobody_stopped(checkpoint, footage, tmp_path):
    whole = tiny_settings(checkpoint, footage, tmp_path / "whole", steps=5)
    stopped = tiny_settings(checkpoint, footage, tmp_path / "stopped", steps=5)
    expected = train_all(whole)[-1].exported
    with closing(train_svd(stopped)) as steps:
        next(steps)
        next(steps)
        next(steps)  # of which two are saved by plan, and the third as the loop is left

    rest = train_all(stopped)

    assert [step.step for step in rest] == [4, 5]
    ours, theirs = weights_of(rest[-1].exported), weights_of(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_that_was_killed_goes_on_from_what_was_on_the_disk(checkpoint, footage, tmp_path):
    whole = tiny_settings(checkpoint, footage, tmp_path / "whole", steps=5)
    killed = tiny_settings(checkpoint, footage, tmp_path / "killed", steps=5)
    for step in train_svd(whole):
        if step.step == 3:  # what a process that is killed here leaves behind
            shutil.copytree(whole.run, killed.run)

    rest = train_all(killed)

    assert [step.step for step in rest] == [3, 4, 5]  # the last that was saved is 2
    ours, theirs = weights_of(rest[-1].exported), weights_of(step.exported)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"rank": 8}, "rank 4, and this asks for 8"),
        ({"alpha": 2.0}, "alpha 4.0, and this asks for 2.0"),
        ({"preset": "strong"}, "preset motion, and this asks for strong"),
        ({"model": Path("models/svd_xt.safetensors")}, "model svd, and this asks for svd_xt"),
    ],
)
def test_a_run_does_not_go_on_as_another_one(changes, told, tmp_path):
    before = tiny_settings(Path("svd.safetensors"), tmp_path, tmp_path / "run")
    with opened_run(before.run) as run:
        run.describe("svd", plain(before), {})
        refuse_another(run, replace(before, **changes))  # nothing is trained yet
        run.save_state({"weights": {"a": torch.zeros(1)}}, {"step": 1}, keep=1)
        refuse_another(run, replace(before, alpha=4.0, learning_rate=1.0, model=Path("elsewhere", "svd.safetensors")))

        with pytest.raises(ValueError, match=told):
            refuse_another(run, replace(before, **changes))


def test_a_run_keeps_what_was_made_of_each_clip(checkpoint, footage, tmp_path):
    settings = tiny_settings(checkpoint, footage, tmp_path / "run", steps=1)

    train_all(settings)

    told = json.loads((tmp_path / "run" / "clips.json").read_text())
    assert [clip["clip"] for clip in told["trained"]] == ["clip_0", "clip_1", "clip_2"]
    assert len({clip.pop("hash") for clip in (*told["trained"], *told["held out"])}) == 4
    assert told["held out"][0] == {
        "clip": "clip_3",
        "frames": 6,
        "taken": 3,
        "step": 1,
        "fps_id": 7,
        "motion_bucket": 255,
        "size": [SIDE, SIDE],
        "fit": "cover",
    }


def test_a_model_that_is_loaded_already_is_used_and_left_as_it_is(checkpoint, footage, model, tmp_path):
    before = {name: weight.clone() for name, weight in model.unet.module.named_parameters()}

    train_all(tiny_settings(checkpoint, footage, tmp_path / "run"), model=model)

    assert all(torch.equal(weight, before[name]) for name, weight in model.unet.module.named_parameters())


def test_weights_that_encoding_has_put_away_are_back_before_the_loop_takes_them(
    checkpoint, footage, model, tmp_path, monkeypatch
):
    happened = []
    ready, fill = Weights.ready, SVDMethod.fill_cache
    monkeypatch.setattr(Weights, "ready", lambda self, *needed: happened.append(self) or ready(self, *needed))
    monkeypatch.setattr(SVDMethod, "fill_cache", lambda *given: fill(*given) or happened.append("encoded"))
    settings = tiny_settings(checkpoint, footage, tmp_path / "run", session_steps=1)
    train_all(settings, model=model)
    happened.clear()

    go_on = Learner.go_on_from
    monkeypatch.setattr(Learner, "go_on_from", lambda *given: happened.append("remembers") or go_on(*given))
    with closing(train_svd(settings, model=model)) as steps:
        next(steps)

    between = happened[happened.index("encoded") + 1 : happened.index("remembers")]
    assert [module.module for module in between if hasattr(module.module, "time_embedding")]


def test_training_works_where_nodes_run(checkpoint, footage, tmp_path):
    with torch.inference_mode():
        steps = train_all(tiny_settings(checkpoint, footage, tmp_path / "run", samples=1))

    assert steps[-1].ending == "finished"


def test_a_run_in_half_precision_trains_weights_of_float32(checkpoint, footage, tmp_path):
    settings = tiny_settings(checkpoint, footage, tmp_path / "run", precision="bf16", samples=1)

    last = train_all(settings)[-1]

    assert not last.skipped
    assert {tensor.dtype for tensor in weights_of(last.exported).values()} == {torch.float32}


# What may happen to footage


def test_a_cached_run_reads_no_frame_twice_and_a_changed_one_anew(make, footage, model):
    _, cached, (clips, _) = make()
    path = clips[0].paths[0]
    before = cached.latents([path])
    data, other = path.read_bytes(), clips[1].paths[3].read_bytes()
    try:
        path.write_bytes(other)

        assert not torch.equal(cached.latents([path]), before)
    finally:
        path.write_bytes(data)


def test_a_frame_that_is_gone_is_named(checkpoint, tmp_path):
    draw_footage(tmp_path / "footage", clips=2)
    settings = tiny_settings(checkpoint, tmp_path / "footage", tmp_path / "run", steps=6, frames=6)
    steps = train_svd(settings)
    next(steps)
    next(steps)
    (tmp_path / "footage" / "clip_0" / "frame_4.png").unlink()

    with pytest.raises(ValueError, match="frame_4.png is gone"):
        list(steps)

    assert (settings.run / "state-2").is_dir()
