"""The loop: a run that is interrupted, however, is in the end the run that nobody disturbed."""

import json
from contextlib import closing, suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zoetrope.host.work import Cancelled
from zoetrope.trainers import loop, states
from zoetrope.trainers.errors import Diverged, TrainingError
from zoetrope.trainers.loop import train
from zoetrope.trainers.run_folder import opened_run

from .toy_method import ALONE, ToyMethod, quick

FULL = dict(batch=2, accumulation=2, average_decay=0.9, validate_at=(0, 3, 6))


def run_to_the_end(path, method=None, notes=None, asked_to_stop=loop.nobody_asks, **changes):
    """All that the loop yields."""
    with opened_run(path, (notes if notes is not None else []).append) as run:
        return list(train(method or ToyMethod(), quick(**changes), run, ALONE, asked_to_stop))


def content_of(path: Path, step=10):
    """All of a state but what it is called, and what the run has logged but the seconds."""
    state = path / f"state-{step}"
    tensors = {file.name: load_file(file) for file in sorted(state.glob("*.safetensors"))}
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return tensors, json.loads((state / "progress.json").read_text()), [{**line, "seconds": 0} for line in lines]


def assert_same(one: Path, other: Path, step=10):
    (tensors, progress, lines), (others, progress_there, lines_there) = content_of(one, step), content_of(other, step)
    assert progress == progress_there
    assert lines == lines_there
    assert tensors.keys() == others.keys()
    for file, group in tensors.items():
        assert group.keys() == others[file].keys()
        assert all(torch.equal(tensor, others[file][name]) for name, tensor in group.items()), file


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed")
    run_to_the_end(path, **FULL)
    return path


def test_a_step_is_yielded_for_each_and_the_last_tells_that_it_is(tmp_path):
    steps = run_to_the_end(tmp_path)

    assert [step.step for step in steps] == list(range(1, 11))
    assert [step.ending for step in steps] == [None] * 9 + ["finished"]
    assert [step.step for step in steps if step.saved] == [4, 8, 10]
    assert steps[-1].exported == tmp_path / "exports" / "toy-10.safetensors"
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("done", range(1, 10))
def test_a_run_that_is_left_and_resumed_is_the_undisturbed_run(tmp_path, undisturbed, done):
    with opened_run(tmp_path) as run, closing(train(ToyMethod(), quick(**FULL), run, ALONE)) as steps:
        for step in steps:
            if step.step == done:
                break
    assert (tmp_path / f"state-{done}").is_dir()

    run_to_the_end(tmp_path, **FULL)

    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize(
    "pausing",
    [dict(session_steps=3), dict(session_minutes=1e-9), dict(asked_to_stop=lambda: True)],
    ids=["steps", "minutes", "asked"],
)
def test_a_run_that_pauses_saves_exports_and_goes_on(tmp_path, undisturbed, pausing):
    last = run_to_the_end(tmp_path, **FULL, **pausing)[-1]

    assert last.ending == "paused"
    assert last.step == pausing.get("session_steps", 1)
    assert last.saved == tmp_path / f"state-{last.step}"
    assert last.exported.is_file()

    while run_to_the_end(tmp_path, **FULL, **pausing)[-1].ending == "paused":
        pass
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
def test_steps_that_are_left_without_a_word_are_saved_while_the_folder_is_ours(tmp_path, undisturbed, leave):
    steps = None
    with suppress(ZeroDivisionError), opened_run(tmp_path) as run:
        steps = train(ToyMethod(), quick(**FULL), run, ALONE)
        for _ in range(3):
            next(steps)
        leave()
    assert (tmp_path / "state-3").is_dir()

    run_to_the_end(tmp_path, **FULL)
    steps.close()  # which must not write into what is another's by now

    assert_same(tmp_path, undisturbed)
    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-10", "state-8"]


@pytest.mark.parametrize("error", [FileNotFoundError, TrainingError])
def test_an_error_of_the_method_loses_nothing(tmp_path, undisturbed, error):
    class Failing(ToyMethod):
        def batch(self, samples):
            if samples[0].chance.number >= 4 * 6:
                raise error("clip.mp4 is gone")
            return super().batch(samples)

    with pytest.raises(error, match=r"clip.mp4 is gone"):
        run_to_the_end(tmp_path, Failing(), **FULL)
    assert (tmp_path / "state-6").is_dir()

    run_to_the_end(tmp_path, **FULL)
    assert_same(tmp_path, undisturbed)


def test_a_file_called_stop_pauses_the_run(tmp_path):
    with opened_run(tmp_path) as run:
        steps = train(ToyMethod(), quick(), run, ALONE)
        assert next(steps).ending is None
        (tmp_path / "stop").touch()

        assert [step.ending for step in steps] == ["paused"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled])
def test_an_interrupt_within_a_step_saves_the_step_before(tmp_path, undisturbed, error):
    class Interrupted(ToyMethod):
        def loss(self, batch):
            if batch.samples[0].chance.number == 4 * 5 + 2:  # the second part of the sixth step
                raise error
            return super().loss(batch)

    with pytest.raises(error):
        run_to_the_end(tmp_path, Interrupted(), **FULL)
    assert (tmp_path / "state-5").is_dir()

    run_to_the_end(tmp_path, **FULL)
    assert_same(tmp_path, undisturbed)


def test_an_interrupt_within_an_update_saves_nothing_half_done(tmp_path, undisturbed, monkeypatch):
    update = torch.optim.AdamW.step

    def interrupted(optimizer, closure=None):
        update(optimizer)
        if optimizer.state_dict()["state"][0]["step"] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(tmp_path, **FULL)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-4"]

    run_to_the_end(tmp_path, **FULL)
    assert_same(tmp_path, undisturbed)


def test_an_interrupt_within_a_save_saves_all_the_same(tmp_path, undisturbed, monkeypatch):
    def interrupted(tensors, path):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(states, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(tmp_path, **FULL)
    assert [path.name for path in tmp_path.glob("*state-*")] == ["state-4"]

    run_to_the_end(tmp_path, **FULL)
    assert_same(tmp_path, undisturbed)


def test_an_interrupt_within_a_validation_saves_the_step_and_validates_later(tmp_path, undisturbed):
    class Interrupted(ToyMethod):
        validations = 0

        def validate(self):
            self.validations += 1
            if self.validations == 2:  # at step 3
                raise KeyboardInterrupt
            return super().validate()

    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(tmp_path, Interrupted(), **FULL)
    assert (tmp_path / "state-3").is_dir()

    run_to_the_end(tmp_path, **FULL)
    assert_same(tmp_path, undisturbed)
    assert (tmp_path / "samples" / "3" / "weights.webp").is_file()


def test_a_damaged_newest_state_costs_the_steps_since_the_one_before(tmp_path, undisturbed):
    run_to_the_end(tmp_path, **FULL)
    notes = []
    file = tmp_path / "state-10" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

    steps = run_to_the_end(tmp_path, notes=notes, **FULL)

    assert [step.step for step in steps] == [9, 10]
    assert "state-10 is damaged" in notes[0]
    assert_same(tmp_path, undisturbed)


def test_a_full_disk_ends_the_run_in_a_sentence_and_loses_one_interval_at_most(tmp_path, undisturbed, monkeypatch):
    def full(tensors, path):
        if "state-8" in str(path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return save(tensors, path)

    save = states.save_file
    monkeypatch.setattr(states, "save_file", full)
    with pytest.raises(TrainingError, match="state-8 cannot be written. The disk is full.*still there"):
        run_to_the_end(tmp_path, **FULL)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob("*state-*")] == ["state-4"]

    assert [step.step for step in run_to_the_end(tmp_path, **FULL)] == [5, 6, 7, 8, 9, 10]
    assert_same(tmp_path, undisturbed)


def test_a_finished_run_does_nothing_more_and_has_its_export_again(tmp_path):
    run_to_the_end(tmp_path)
    (tmp_path / "exports" / "toy-10.safetensors").unlink()

    assert run_to_the_end(tmp_path) == []
    assert (tmp_path / "exports" / "toy-10.safetensors").is_file()


def test_a_finished_run_that_is_given_more_steps_goes_on(tmp_path):
    run_to_the_end(tmp_path, schedule="constant")
    straight = run_to_the_end(tmp_path / "straight", steps=14, schedule="constant")

    more = run_to_the_end(tmp_path, steps=14, schedule="constant")

    assert [step.step for step in more] == [11, 12, 13, 14]
    assert [step.loss for step in more] == [step.loss for step in straight[10:]]


def test_a_run_that_diverges_ends_in_a_sentence_and_keeps_only_states_that_are_numbers(tmp_path):
    class Diverging(ToyMethod):
        def loss(self, batch):
            return super().loss(batch) * (float("nan") if batch.samples[0].chance.number >= 5 else 1)

    with pytest.raises(Diverged, match="was not a number"):
        run_to_the_end(tmp_path, Diverging())

    assert not (tmp_path / "exports").exists()
    for file in tmp_path.glob("state-*/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("loss", 0) is None] == [6, 7, 8, 9]
    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-4", "state-8"]


def test_a_run_that_diverges_in_its_last_step_is_no_success_however_often_it_is_asked(tmp_path):
    class Diverging(ToyMethod):
        def loss(self, batch):
            return super().loss(batch) * (float("nan") if batch.samples[0].chance.number == 9 else 1)

    for _ in range(2):
        with pytest.raises(Diverged, match="the last of the run"):
            run_to_the_end(tmp_path, Diverging())
    assert not (tmp_path / "exports").exists()


def test_a_validation_that_is_no_number_ends_the_run(tmp_path):
    class Unmeasured(ToyMethod):
        def validate(self):
            found = super().validate()
            found.numbers["held-out loss"] *= float("nan")
            return found

    with pytest.raises(Diverged, match="validation at step 0 is not a number .held-out loss."):
        run_to_the_end(tmp_path, Unmeasured())


def test_validations_come_at_their_steps_and_at_the_last(tmp_path):
    steps = run_to_the_end(tmp_path, validate_at=(0, 3), validate_every=4)

    assert [step.step for step in steps if step.validation] == [3, 4, 8, 10]
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "validation" in entry] == [0, 3, 4, 8, 10]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["0", "10", "3", "4", "8"]


def test_the_newest_states_and_the_milestones_are_kept(tmp_path):
    run_to_the_end(tmp_path, save_every=1, keep_states=2, milestones=(5,))

    assert sorted(path.name for path in tmp_path.glob("state-*")) == ["state-10", "state-5", "state-9"]


def test_a_run_that_goes_on_with_other_batches_draws_no_sample_twice_and_leaves_none_out(tmp_path):
    method = ToyMethod()
    run_to_the_end(tmp_path, method, session_steps=4)
    run_to_the_end(tmp_path, method, batch=3, accumulation=2)

    assert [sample.chance.number for sample in method.drawn] == list(range(4 + 6 * 6))


def test_the_average_is_what_is_exported(tmp_path):
    (*_, last) = run_to_the_end(tmp_path, average_decay=0.9)

    exported, average = load_file(last.exported), load_file(last.saved / "average.safetensors")
    assert all(torch.equal(exported[name], average[name]) for name in average)
    assert not torch.equal(exported["weight"], load_file(last.saved / "weights.safetensors")["weight"])


def test_the_average_may_begin_in_the_middle_of_a_run(tmp_path):
    run_to_the_end(tmp_path, session_steps=4)

    (*_, last) = run_to_the_end(tmp_path, average_decay=0.9)

    assert (last.saved / "average.safetensors").is_file()


def test_half_precision_is_resumed_with_its_scale(tmp_path):
    options = dict(precision="fp16", steps=10)
    run_to_the_end(tmp_path / "straight", **options)
    run_to_the_end(tmp_path / "paused", session_steps=5, **options)
    run_to_the_end(tmp_path / "paused", **options)

    assert_same(tmp_path / "straight", tmp_path / "paused")


def test_a_state_of_other_weights_is_refused(tmp_path):
    run_to_the_end(tmp_path)

    with pytest.raises(TrainingError, match="other weights than this run asks for: 1 differ, such as ballast"):
        run_to_the_end(tmp_path, ToyMethod(width=3), steps=12)


def test_a_state_of_another_optimizer_is_refused(tmp_path):
    run_to_the_end(tmp_path)
    state = tmp_path / "state-10"
    progress = (state / "progress.json").read_text().replace('"adamw"', '"adamw8bit"')
    states.write_state(
        tmp_path, 11, {"weights": load_file(state / "weights.safetensors")}, json.loads(progress) | {"step": 11}
    )

    with pytest.raises(TrainingError, match="trained with the optimizer adamw8bit, and this run asks for adamw"):
        run_to_the_end(tmp_path, steps=12)


def test_training_within_inference_mode_learns_and_leaves_it_on(tmp_path):
    method = ToyMethod()
    with opened_run(tmp_path) as run, torch.inference_mode():
        for step in train(method, quick(), run, ALONE):
            assert step.gradient_norm > 0
            assert torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()


def test_a_caller_that_stops_asking_within_inference_mode_finds_its_state_saved(tmp_path):
    method = ToyMethod()
    with opened_run(tmp_path) as run, torch.inference_mode():
        steps = train(method, quick(), run, ALONE)
        next(steps)
        steps.close()

    assert (tmp_path / "state-1").is_dir()


def test_training_leaves_global_randomness_and_settings_alone(tmp_path):
    def settings():
        return torch.get_default_dtype(), torch.is_autocast_enabled("cpu"), torch.get_num_threads()

    method = ToyMethod()
    before, random = settings(), torch.random.get_rng_state()

    run_to_the_end(tmp_path, method, precision="bf16")

    assert settings() == before
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_loop_knows_no_method():
    """It is written for all; a method's name in it would be a branch for one."""
    sources = [Path(module.__file__).read_text() for module in (loop, states)]

    assert not any(name in source.lower() for source in sources for name in ("svd", "lora", "unet", "vae"))
