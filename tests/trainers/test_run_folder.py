"""The folder of a run, and that it belongs to one process at a time."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from zoetrope.trainers.config import plain
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.options import TrainingOptions
from zoetrope.trainers.run_folder import RunFolder, opened_run

STATE = {"weights": {"a": torch.zeros(1)}}


@pytest.fixture
def notes():
    return []


@pytest.fixture
def run(tmp_path, notes):
    with opened_run(tmp_path / "run", notes.append) as run:
        yield run


def test_a_second_run_in_the_folder_is_refused_while_the_first_lives(run):
    with pytest.raises(TrainingError, match=r"is being trained in by process \d+ on .+ choose another run folder"):
        opened_run(run.path).__enter__()


def test_a_run_that_has_ended_gives_the_folder_free(tmp_path):
    with opened_run(tmp_path):
        pass
    with pytest.raises(KeyboardInterrupt), opened_run(tmp_path):
        raise KeyboardInterrupt

    with opened_run(tmp_path):
        pass


def test_what_a_killed_process_was_writing_is_cleared_away_when_the_run_is_opened(tmp_path):
    draft = ".zoetrope-0123456789abcdef.safetensors"
    places = [tmp_path, tmp_path / "cache" / "ab", tmp_path / "samples" / "5", tmp_path / "exports"]
    others = tmp_path / "another run"
    for place in (*places, others):
        place.mkdir(parents=True, exist_ok=True)
        (place / draft).write_bytes(b"half")

    with opened_run(tmp_path):
        assert not any((place / draft).exists() for place in places)
    assert (others / draft).exists()  # which may be written at this moment


KILLED_WITH_THE_LOCK = """
import os, signal, sys
from zoetrope.trainers.lock import only_one_in
from pathlib import Path
with only_one_in(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_was_killed_gives_the_folder_free(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WITH_THE_LOCK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(TrainingError, match=f"process {process.pid} "):
            opened_run(tmp_path).__enter__()
        process.kill()
        process.wait()

    with opened_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(TrainingError, match="run cannot be written. A part of that path is a file"):
        opened_run(tmp_path / "file" / "run").__enter__()


def test_what_is_asked_for_is_written_down(run):
    run.describe("toy", {"steps": 10, "validate_at": [0, 5]}, {"footage": "abc"})

    told = run.description()
    assert told["method"] == "toy"
    assert told["settings"] == {"steps": 10, "validate_at": [0, 5]}
    assert told["hashes"] == {"footage": "abc"}
    assert told["versions"]["torch"]
    assert told["changes"] == []


def test_what_is_asked_for_otherwise_later_is_said_and_kept(run, notes):
    run.describe("toy", {"steps": 10, "rank": 4}, {"footage": "abc"})
    began = run.description()["began"]
    run.describe("toy", {"steps": 20, "rank": 4}, {"footage": "xyz"})

    assert len(notes) == 2
    assert "steps was 10 and is 20 now" in notes[0]
    assert "footage has changed" in notes[1]
    told = run.description()
    assert told["began"] == began
    assert [change["what"] for change in told["changes"]] == ["steps", "footage"]


def test_what_is_asked_for_again_is_no_change(run, notes):
    for _ in range(2):
        run.describe("toy", plain(TrainingOptions(learning_rate=1e-5, validate_at=(0, 5))), {"footage": "abc"})

    assert not notes


def test_what_is_to_be_done_before_closing_is_done_however_the_folder_is_left(tmp_path):
    done = []

    def try_to_open_it():
        with pytest.raises(TrainingError, match="being trained in"):
            opened_run(tmp_path).__enter__()
        done.append("refused, for the folder is still ours")

    with pytest.raises(ZeroDivisionError), opened_run(tmp_path) as run:
        run.before_closing(try_to_open_it)
        raise ZeroDivisionError

    assert done


def test_a_line_for_which_there_was_no_room_is_said_and_forgotten(run):
    class Small:
        def write(self, line):
            return len(line) - 1

        def close(self):
            """Nothing to close."""

    run.log(step=1)
    run._close_metrics()
    run._metrics = Small()

    with pytest.raises(TrainingError, match="metrics.jsonl cannot be written. The disk is full"):
        run.log(step=2)


def test_a_run_of_another_method_is_refused(run):
    run.describe("toy", {}, {})

    with pytest.raises(TrainingError, match="is a run of toy, not of svd"):
        run.describe("svd", {}, {})


def test_a_description_that_somebody_spoilt_is_named(run):
    (run.path / "run.yaml").write_text("a: [")

    with pytest.raises(TrainingError, match="no longer YAML"):
        run.describe("toy", {}, {})


@pytest.mark.parametrize("text", ["settings: []", "hashes: 5", "changes: {at: 1}"])
def test_a_description_whose_parts_are_something_else_is_named(run, text):
    (run.path / "run.yaml").write_text(text)

    with pytest.raises(TrainingError, match=r"no longer holds the run's \w+\. Mend or remove it"):
        run.describe("toy", {}, {})


def test_lines_that_tell_of_no_step_are_no_metrics(run):
    run.log(step=1, loss=0.5)
    with run.metrics_file.open("a") as file:
        file.write('5\n{}\n{"step": null}\n[1]\n{"step": 2, "loss"')

    assert list(run.entries()) == [{"step": 1, "loss": 0.5}]


def test_metrics_are_read_back_and_hold_no_nan(run):
    run.log(step=1, loss=0.5)
    run.log(step=2, loss=float("nan"), validation={"psnr": float("inf")})

    assert list(run.entries()) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None, "validation": {"psnr": None}}]


def test_rewinding_forgets_later_metrics_and_a_torn_line(run):
    for step in range(5):
        run.log(step=step)
    run.close()
    with run.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')

    run.rewind(3)
    run.log(step=4, again=True)

    assert list(run.entries()) == [{"step": 0}, {"step": 1}, {"step": 2}, {"step": 3}, {"step": 4, "again": True}]


def test_a_state_is_saved_and_the_older_ones_pruned(run):
    for step in (1, 2, 3):
        run.log(step=step)
        run.save_state(STATE, {"step": step}, keep=2)

    assert run.newest_state().progress == {"step": 3}
    assert not (run.path / "state-1").exists()


def test_samples_are_clips_named_by_step(run):
    run.write_sample(10, "a/b c", torch.rand(3, 16, 16, 3), 8)
    run.write_sample(9, "still", torch.rand(1, 16, 16, 3), 8)

    assert list(run.samples()) == [9, 10]
    (path,) = run.samples()[10]
    assert path.relative_to(run.path).as_posix() == "samples/10/a_b_c.webp"
    with Image.open(path) as picture:
        assert picture.n_frames == 3


def test_a_file_asks_the_run_to_stop_and_means_no_later_one(tmp_path):
    with opened_run(tmp_path) as run:
        assert not run.is_asked_to_stop()
        (tmp_path / "stop").touch()
        assert run.is_asked_to_stop()

    with opened_run(tmp_path) as run:
        assert not run.is_asked_to_stop()


def test_looking_at_a_run_needs_no_lock(run):
    run.log(step=1)

    assert list(RunFolder(run.path).entries()) == [{"step": 1}]
