"""Training as nodes: over several queues, cancelled, refused, and equal to the command."""

import gc
import json
import os
import shutil
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.svd_runs import SIDE, draw_footage
from zoetrope.clips.footage import read_footage
from zoetrope.headless.command import main
from zoetrope.host import work
from zoetrope.host.weights import managed
from zoetrope.models.lora import load_lora
from zoetrope.models.svd import load_svd
from zoetrope.nodes import training
from zoetrope.nodes.lora import LoadLoRA
from zoetrope.nodes.svd import LoadSVD, SVDImageToVideo
from zoetrope.nodes.training import TrainingReport, TrainSVDLoRA
from zoetrope.trainers import svd, svd_plan
from zoetrope.trainers.svd import SVDTraining

SETTINGS = {"preset": "motion", "steps": 4, "width": SIDE, "height": SIDE, "frames": 3, "seed": 5, "rank": 2,
            "learning_rate": 1e-2, "warm_up_steps": 0, "samples": 0, "sample_steps": 2}  # fmt: skip
AS_COMMAND = """\
model: models/checkpoints/svd.safetensors
footage: input/moons
run: runs/moon
validate_at: [0]
validate_every: 2
validation_levels: [1.0]
{settings}
"""


@pytest.fixture(autouse=True)
def quick_and_as_nodes_run(monkeypatch):
    """In inference mode, on a disk that is not waited for, in a program that has finished nothing yet."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(training, "DONE_HERE", {})
    monkeypatch.setattr(training, "SVDTraining", partial(SVDTraining, validation_levels=(1.0,)))
    monkeypatch.setattr(svd_plan, "_measured", lambda *_: (2**20, 1e9, 1e3))  # it takes as long as all else here
    monkeypatch.setattr(training, "measured_flops_per_second", lambda *_: 1e9)
    with torch.inference_mode():
        yield


@pytest.fixture
def place(tmp_path, models, svd_file):
    """The current folder, with a model and footage where nodes look for them."""
    (models / "checkpoints" / "svd.safetensors").symlink_to(svd_file)
    draw_footage(tmp_path / "input" / "moons", clips=3)
    return tmp_path


@pytest.fixture(scope="module")
def model(svd_file):
    """As Load SVD gives it; for all tests, since no training changes it."""
    return load_svd(svd_file, dtype=torch.float32, device="cpu", place=managed)


@pytest.fixture
def footage(place):
    return read_footage(place / "input" / "moons")[0]


def load(dtype="fp32"):
    return LoadSVD.execute(checkpoint="svd.safetensors", dtype=dtype)[0]


def train(model, footage, run="moon", steps_per_queue=0, **changed):
    return TrainSVDLoRA.execute(
        model=model, footage=footage, run=run, steps_per_queue=steps_per_queue, **SETTINGS | changed
    )


def clip(model):
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    return SVDImageToVideo.execute(
        model=model, image=picture, frames=3, steps=2, width=64, height=64, fps_id=6, motion_bucket_id=127,
        cond_aug=0.02, seed=23, decoding_t=14, guidance={"guidance": "the model's own"}
    )[0]  # fmt: skip


def states(run="moon"):
    return sorted(path.name for path in Path("output/zoetrope/runs", run).glob("state-*"))


def test_a_run_over_two_queues_is_the_run_of_the_command(place, model, footage):
    before = clip(model)
    first = train(model, footage, steps_per_queue=3, validate_every=2)
    assert first[2:5] == (3, str(Path("zoetrope/moon-3.safetensors")), "moon")
    assert states() == ["state-3"]

    lora, losses, steps, name, run, summary = train(model, footage, steps_per_queue=3, validate_every=2).args

    assert (steps, run) == (4, "moon")
    assert "2 to train on, 1 held out" in summary
    assert "step 4 of 4, loss" in summary
    assert len(losses["loss"]) == 4
    assert name in LoadLoRA.GET_NODE_INFO_V1()["input"]["required"]["lora"][1]["options"]
    with_lora = LoadLoRA.execute(model, name, 1.0)[0]
    assert (clip(with_lora) - before).abs().max() > 1e-4
    assert torch.equal(clip(model), before)
    save_file(lora, place / "saved.safetensors")  # as core's SaveLoRA does

    settings = "\n".join(f"{name}: {value}" for name, value in SETTINGS.items())
    (place / "run.yaml").write_text(AS_COMMAND.format(settings=settings))
    with torch.inference_mode(False):
        assert main(["train", "svd", "--config", "run.yaml"]) == 0
    commanded = load_file(place / "runs/moon/exports/moon-4.safetensors")
    assert lora.keys() == commanded.keys()
    assert all(torch.equal(lora[each], commanded[each]) for each in lora)
    lines = [Path(run, "metrics.jsonl").read_text().splitlines() for run in ("output/zoetrope/runs/moon", "runs/moon")]
    ours, theirs = ([json.loads(line) for line in each] for each in lines)
    assert [line["loss"] for line in ours if "loss" in line] == [line["loss"] for line in theirs if "loss" in line]
    assert [line.get("validation") for line in ours] == [line.get("validation") for line in theirs]


def test_a_run_that_has_all_its_steps_answers_at_once(model, footage, monkeypatch):
    done = train(model, footage, steps=1)
    monkeypatch.setattr(training, "train_svd", lambda *_, **__: pytest.fail("nothing is left to train"))

    again = train(model, footage, steps=1)

    assert again[2:5] == done[2:5]
    assert all(torch.equal(again[0][name], done[0][name]) for name in done[0])
    assert "has its 1 steps already" in again[5]


def test_the_fingerprint_changes_with_every_queue_that_trains_and_with_no_other(place, model, footage):
    told = [TrainSVDLoRA.fingerprint_inputs(run="moon", steps=3)]
    for _ in range(2):
        train(model, footage, steps=3, steps_per_queue=2)
        told.append(TrainSVDLoRA.fingerprint_inputs(run="moon", steps=3))

    assert told[0] != told[1]  # so that ComfyUI does not answer from memory while steps remain
    assert told[1] == told[2]  # and does once there are none
    published = place / "output" / "loras" / "zoetrope" / "moon-3.safetensors"
    published.unlink()
    assert TrainSVDLoRA.fingerprint_inputs(run="moon", steps=3) != told[2]
    train(model, footage, steps=3, steps_per_queue=2)
    assert published.is_file()


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_whose_folder_was_removed_is_begun_anew(steps, model, footage, place):
    before = TrainSVDLoRA.fingerprint_inputs(run="moon", steps=2)
    train(model, footage, steps=2, steps_per_queue=steps)

    shutil.rmtree(place / "output/zoetrope/runs/moon")

    assert TrainSVDLoRA.fingerprint_inputs(run="moon", steps=2) != before  # or ComfyUI would answer from memory
    assert train(model, footage, steps=2, steps_per_queue=1)[2] == 1


def test_a_run_inside_another_one_is_refused_because_that_removes_what_it_does_not_know(model, footage):
    train(model, footage, steps=1)

    for name in ("moon/state-7", "moon/exports/more"):
        assert "lies inside the run moon" in TrainSVDLoRA.validate_inputs(run=name)
    assert TrainSVDLoRA.validate_inputs(run="moon") is True
    assert TrainSVDLoRA.validate_inputs(run="moon2/state-7") is True


def test_a_backslash_in_a_name_is_a_folder_everywhere_so_that_loaders_find_the_lora(model, footage):
    name = train(model, footage, run="moons\\first", steps=1)[3]

    assert name == str(Path("zoetrope/moons/first-1.safetensors"))
    assert LoadLoRA.execute(model, name, 1.0)[0] is not model


def test_a_name_that_is_too_long_for_the_lora_is_refused_before_it_is_trained(model, footage, place):
    with pytest.raises(ValueError, match="name is 15 letters too long"):
        train(model, footage, run="m" * 256)

    assert not (place / "output").exists()


def test_a_run_of_something_else_is_named(model, footage, place):
    (place / "output/zoetrope/runs/moon").mkdir(parents=True)
    (place / "output/zoetrope/runs/moon/run.yaml").write_text("method: next_frame\nsettings: {size: 3}\n")

    with pytest.raises(ValueError, match="is a run of next_frame, not of svd"):
        train(model, footage)


def test_a_cancel_saves_and_the_next_queue_goes_on_there(model, footage):
    def cancel(done, total, preview):
        if (done, total) == (2, 40):
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        train(model, footage, steps=40)

    assert states() == ["state-2"]
    seen = []
    with work.reporting_to(lambda done, total, preview: seen.append((done, total))):
        train(model, footage, steps=40, steps_per_queue=1)
    assert [done for done, total in seen if total == 40] == [3]


def test_a_cancel_in_comfyui_leaves_the_lora_of_its_step_too(model, footage, place, monkeypatch):
    cancelled = []

    def raise_if_cancelled():
        if cancelled:
            raise work.Cancelled

    monkeypatch.setattr(work, "is_cancelled", lambda: bool(cancelled))
    monkeypatch.setattr(work, "raise_if_cancelled", raise_if_cancelled)

    def cancel(done, total, preview):
        cancelled.extend([True] * ((done, total) == (2, 40)))

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        train(model, footage, steps=40)

    assert states() == ["state-3"]  # the step that it was at when it heard of it
    assert (place / "output" / "loras" / "zoetrope" / "moon-3.safetensors").is_file()


def test_the_node_says_how_far_it_is_and_shows_it(model, footage):
    said, pictures = [], []

    with work.reporting_to(lambda done, total, preview: pictures.append(preview), said.append):
        train(model, footage, steps=3, samples=1)

    assert "of which one clip takes" in said[0]  # the plan
    assert any("step 1 of 3, loss" in text and "s a step" in text for text in said)
    assert "on clips held out" in said[-1]
    first, last = ([picture for picture in pictures if picture is not None][place] for place in (0, -1))
    assert first.size == last.size  # the clip of step 0 is below the curves already
    assert first.tobytes() != last.tobytes()


@pytest.mark.parametrize("name", ["", ".", "../moon", "a/../../b", "/etc", "C:x", "a\0b", "\\\\host\\x"])
def test_a_hostile_name_is_no_run(name, place):
    for node in (TrainSVDLoRA, TrainingReport):
        assert isinstance(node.validate_inputs(run=name), str)
        assert node.validate_inputs(run="moon/second try") is True
        assert node.validate_inputs(run=None) is True  # it is linked
    with pytest.raises(ValueError, match="Choose"):
        TrainingReport.execute(run=name, steps_shown=5)


def test_a_run_in_a_folder_of_runs_has_its_lora_in_such_a_folder(model, footage):
    name = train(model, footage, run="moons/first", steps=1)[3]

    assert name == str(Path("zoetrope/moons/first-1.safetensors"))


def test_what_would_be_another_lora_is_refused_for_a_run_that_is_begun(model, footage):
    train(model, footage, steps_per_queue=1)

    with pytest.raises(ValueError, match="rank 2, and this asks for 3"):
        train(model, footage, rank=3)

    assert states() == ["state-1"]


def test_all_else_may_change_on_the_way_and_is_told(model, footage):
    train(model, footage, steps_per_queue=1)

    told = train(model, footage, learning_rate=1e-3, steps=2)[5]

    assert "learning_rate was 0.01 and is 0.001 now" in told


@pytest.mark.parametrize(
    "changed, told", [({"width": 40}, "multiples of 16"), ({"frames": 9}, "shorter than the 9 frames")]
)
def test_what_cannot_work_is_refused_before_anything_is_written(changed, told, model, footage, place):
    with pytest.raises(ValueError, match=told):
        train(model, footage, **changed)

    assert not (place / "output").exists()


def test_footage_without_clips_set_aside_is_told_of_the_node_that_sets_some_aside(model, footage):
    with pytest.raises(ValueError, match="with the node Split Footage"):
        train(model, footage.select("train"))


def test_clips_that_are_set_aside_in_the_graph_alone_are(model, place, footage):
    (place / "input/moons/footage.jsonl").unlink()  # the manifest, which has the splits of `footage`

    assert train(model, footage, steps=1)[2] == 1


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_model_in_half_precision_is_trained_and_stays_as_it_is(dtype, place, footage):
    model = load(dtype)
    before = {name: weight.clone() for name, weight in model.unet.module.named_parameters()}

    lora = train(model, footage, steps=2)[0]

    assert {tensor.dtype for tensor in lora.values()} == {torch.float32}
    assert any(tensor.abs().max() > 0 for name, tensor in lora.items() if "lora_up" in name)
    assert all(torch.equal(weight, before[name]) for name, weight in model.unet.module.named_parameters())
    with pytest.raises(ValueError, match=f"precision is fp32, but the model is loaded in {dtype}"):
        train(model, footage, run="other", precision="fp32")


def test_a_lora_is_trained_on_a_model_with_another_one_on_it(model, footage, place):
    first = train(model, footage, run="first", steps=2)

    second = train(load_lora(model, place / "output/loras" / first[3]), footage, run="second", steps=2)

    assert second[0].keys() == first[0].keys()
    assert any(not torch.equal(second[0][name], first[0][name]) for name in first[0])
    for other in (model, load_lora(model, place / "output/loras" / first[3], 0.5)):
        with pytest.raises(ValueError, match="holds other weights"):
            train(other, footage, run="second", steps=3)


def test_nothing_of_the_training_stays_in_memory(model, footage, monkeypatch):
    kept = []

    class Watched(svd.SVDMethod):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            kept.extend(weakref.ref(weight) for weight in self.trained().values())

    monkeypatch.setattr(svd, "SVDMethod", Watched)
    train(model, footage, steps=1)

    def cancel(done, total, preview):
        if total == 40:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        train(model, footage, run="other", steps=40)
    gc.collect()

    assert kept
    assert [weight for weight in kept if weight() is not None] == []


# The report


def test_the_report_shows_losses_and_what_was_made_at_each_step(model, footage):
    run = train(model, footage, validate_every=2, samples=1)[4]

    curves, samples, rate, summary = (report := TrainingReport.execute(run=run, steps_shown=5)).args

    assert curves.shape[0] == 1
    assert curves.std() > 0.01
    assert samples.shape[0] == 3  # frames, of the clips of steps 0, 2 and 4 beside each other
    assert samples.shape[2] > 2 * samples.shape[1]
    assert (samples[0] - samples[1]).abs().max() > 0.01
    assert rate == pytest.approx(8, rel=0.01)
    assert "step 4 of 4" in summary
    assert "at step 0 to" in summary
    assert report.ui.as_dict()["animated"] == (True,)


def test_the_report_of_a_run_that_made_no_clips_says_so(model, footage):
    run = train(model, footage, steps=1)[4]

    report = TrainingReport.execute(run=run, steps_shown=5)

    assert report[1].shape[0] == 1
    assert "animated" not in report.ui.as_dict()


def test_a_run_that_is_not_there_is_told_with_those_that_are(model, footage):
    train(model, footage, run="moons/first", steps=1)

    with pytest.raises(ValueError, match="no run called 'moons/frist'.* Did you mean moons/first"):
        TrainingReport.execute(run="moons/frist", steps_shown=5)


def test_the_fingerprint_of_a_report_follows_the_run(model, footage):
    before = TrainingReport.fingerprint_inputs(run="moon")
    train(model, footage, steps=1)

    assert TrainingReport.fingerprint_inputs(run="moon") != before
