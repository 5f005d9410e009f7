"""What a run would take, and what is refused before it begins."""

import dataclasses

import pytest
import torch

from zoetrope.clips.footage import read_footage, write_manifest
from zoetrope.models import svd_parts
from zoetrope.models.svd import load_svd
from zoetrope.trainers import svd_plan
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.svd import train_svd
from zoetrope.trainers.svd_checkpointing import KeptBytes, checkpointed_unet
from zoetrope.trainers.svd_plan import measured_flops_per_second, plan_svd
from zoetrope.trainers.svd_trained import make_trainable

from .svd_runs import SIDE, draw_footage, tiny_settings

PRESETS = ("motion", "motion and look", "strong", "temporal weights", "all weights")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    root = tmp_path_factory.mktemp("footage")
    draw_footage(root, clips=5)
    return root


@pytest.fixture
def settings(tiny_checkpoint, footage, tmp_path):
    return tiny_settings(tiny_checkpoint("svd"), footage, tmp_path / "run")


def changed(settings, **changes):
    return dataclasses.replace(settings, **changes)


def test_nothing_is_loaded_and_nothing_written(settings, monkeypatch):
    monkeypatch.setattr(svd_parts, "fill", lambda *_: pytest.fail("weights were read"))

    plan_svd(settings)

    assert not settings.run.exists()


def test_it_tells_what_is_asked_before_a_run(settings):
    plan = plan_svd(changed(settings, batch=2, accumulation=1, steps=40), lambda: 1e9)

    assert len(plan.clips.trained) == 4
    assert plan.steps_per_epoch == 2
    assert plan.seconds_per_step > 0
    assert plan_svd(changed(settings, accumulation=2), processes=2).steps_per_epoch == 1
    text = plan.text()
    for told in ("4 to train on, 1 held out", "an epoch is 2.0 steps", "memory", "free", "time", "LoRA of rank 4"):
        assert told in text


@pytest.mark.parametrize("preset", PRESETS)
def test_the_count_is_of_what_is_trained(settings, preset):
    model = load_svd(settings.model, dtype=torch.float32, device="cpu")
    trained = make_trainable(model, preset, 4, 4.0, 0).weights

    plan = plan_svd(changed(settings, preset=preset))

    assert plan.trained_parameters == sum(weight.numel() for weight in trained.values())


def test_rank_and_weights_cost_memory_and_disk(settings):
    small, large = plan_svd(changed(settings, rank=1)), plan_svd(changed(settings, rank=64))
    weights = plan_svd(changed(settings, preset="all weights"))

    assert small.memory_bytes < large.memory_bytes
    assert small.disk_bytes < large.disk_bytes < weights.disk_bytes
    assert small.step_flops < weights.step_flops


def test_weights_in_half_precision_take_half_unless_they_are_trained(settings):
    def taken(preset, precision):
        plan = plan_svd(changed(settings, preset=preset, precision=precision))
        return plan.memory_bytes - plan.activation_bytes

    assert taken("motion", "bf16") < 0.6 * taken("motion", "fp32")
    assert taken("all weights", "bf16") == taken("all weights", "fp32")


def test_without_checkpointing_more_memory_is_taken_and_less_work_done(settings):
    recomputed, kept = plan_svd(settings), plan_svd(changed(settings, checkpointing=False))

    assert recomputed.activation_bytes < 0.7 * kept.activation_bytes
    assert recomputed.step_flops > kept.step_flops


def test_what_is_kept_without_checkpointing_is_what_was_told(settings):
    plan = plan_svd(changed(settings, checkpointing=False))
    model = load_svd(settings.model, dtype=torch.float32, device="cpu")
    unet = make_trainable(model, "motion", 4, 4.0, 0).model.unet.module
    shapes = ((1, 3, 8, SIDE // 8, SIDE // 8), (1,), (1, 1, 32), (1, 3, 768))
    given = [torch.randn(shape) for shape in shapes]

    with KeptBytes(unet) as kept:
        unet(*given)

    assert kept.bytes == pytest.approx(plan.activation_bytes, rel=0.05)
    with KeptBytes(unet) as less:
        checkpointed_unet(unet, *given)
    assert less.bytes < plan_svd(settings).activation_bytes


def test_what_is_no_settings_is_refused():
    for wrong in (None, {"model": "svd.safetensors"}):
        with pytest.raises(TrainingError, match="SVDTraining"):
            plan_svd(wrong)
        with pytest.raises(TrainingError, match="SVDTraining"):
            next(train_svd(wrong))


def test_the_time_is_that_of_arithmetic_and_of_starting_operations(settings):
    def seconds(speed, **changes):
        return plan_svd(changed(settings, **changes), lambda: speed).seconds_per_step

    only_starting = seconds(1e30)

    assert 0.05 < only_starting < 0.5  # measured 0.24 s on one core, arithmetic included
    assert seconds(1e9) > 2 * only_starting
    assert seconds(1e30, batch=4) == pytest.approx(only_starting)
    assert seconds(1e30, accumulation=4) == pytest.approx(4 * only_starting)


def test_a_device_multiplies_matrices_at_some_speed():
    assert measured_flops_per_second(torch.device("cpu"), torch.float32, 0.01) > 1e6


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(width=40), "width is 40, but this model makes multiples of 16. Choose 32 or 48."),
        (dict(height=8), "Choose 16."),
        (dict(frames=7), "5 of the clips .* shorter than the 7 frames: clip_0, clip_1, clip_2 and 2 more"),
        (dict(frames=4, frame_step=2), "shorter than the 7 frames that 4 frames, each 2 apart, take"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, changes, told):
    with pytest.raises(TrainingError, match=told):
        plan_svd(changed(settings, **changes))


@pytest.mark.parametrize("kind", ["sv3d_u", "sv3d_p"])
def test_a_model_that_turns_the_camera_is_refused(settings, tiny_checkpoint, kind):
    with pytest.raises(TrainingError, match=f"is an {kind} model"):
        plan_svd(changed(settings, model=tiny_checkpoint(kind)))


@pytest.mark.parametrize("split, told", [("train", "zoetrope footage split"), ("validation", "no clip to train on")])
def test_footage_that_is_all_for_one_purpose_is_refused(settings, tmp_path, split, told):
    draw_footage(tmp_path / "footage", clips=2)
    read, _ = read_footage(tmp_path / "footage")
    write_manifest(read.with_clips(dataclasses.replace(clip, split=split) for clip in read.clips))

    with pytest.raises(TrainingError, match=told):
        plan_svd(changed(settings, footage=tmp_path / "footage"))


def test_a_run_folder_that_cannot_be_made_is_refused(settings, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(TrainingError, match="is a file, so the run cannot be kept"):
        plan_svd(changed(settings, run=tmp_path / "file" / "run"))


def test_a_run_folder_that_may_not_be_written_is_refused(settings, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)

    with pytest.raises(TrainingError, match="may not write into"):
        plan_svd(settings)


def test_a_disk_that_is_too_small_is_refused(settings, monkeypatch):
    free = plan_svd(settings).disk_bytes - 1
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": free}))

    with pytest.raises(TrainingError, match="Free some space"):
        plan_svd(settings)


@pytest.mark.parametrize(
    "changes",
    [
        dict(rank=0),
        dict(frames=1),
        dict(motion_bucket=256),
        dict(dropout=0.4),
        dict(validation_levels=()),
        dict(validation_levels=(0.0,)),
        dict(alpha=float("nan")),
        dict(frame_step=0),
    ],
)
def test_settings_out_of_range_are_refused(settings, changes):
    with pytest.raises(TrainingError, match=next(iter(changes))):
        changed(settings, **changes)


class TestCountingOnce:
    @pytest.fixture(autouse=True)
    def counted(self, monkeypatch):
        """The networks that were counted, each with its answer."""
        counted = []

        def count(*arguments):
            counted.append(arguments)
            return len(counted), 1, 1

        monkeypatch.setattr(svd_plan, "_KNOWN", {})
        monkeypatch.setattr(svd_plan, "_counted", count)
        return counted

    @pytest.mark.parametrize("change", [{}, {"steps": 7}, {"batch": 2}, {"learning_rate": 0.5}], ids=str)
    def test_what_does_not_change_the_network_is_not_counted_again(self, settings, counted, change):
        plan_svd(settings)
        plan = plan_svd(changed(settings, **change))

        assert len(counted) == 1 and plan.activation_bytes == 1

    @pytest.mark.parametrize(
        "change",
        [{"rank": 3}, {"preset": "strong"}, {"width": SIDE * 2}, {"frames": 2}, {"checkpointing": False}],
        ids=str,
    )
    def test_what_does_is(self, settings, counted, change):
        plan_svd(changed(settings, checkpointing=True))
        plan = plan_svd(changed(settings, **{"checkpointing": True, **change}))

        assert len(counted) == 2 and plan.activation_bytes == 2

    def test_not_more_than_some_are_kept(self, settings, monkeypatch):
        monkeypatch.setattr(svd_plan, "MOST_KNOWN", 2)
        for rank in (1, 2, 3):
            plan_svd(changed(settings, rank=rank))

        assert len(svd_plan._KNOWN) <= 2
