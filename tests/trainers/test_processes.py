"""Several processes share the work of one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from zoetrope.trainers import processes
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.processes import Processes, launched_processes

SCRIPT = Path(__file__).with_name("sharing.py")
on_linux = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="forking is safe on Linux only")


@pytest.fixture(scope="module")
def two_and_one(tmp_path_factory):
    """A run of two processes, and of one that does twice as much in a step: their folder and what they tell."""
    folder = tmp_path_factory.mktemp("processes")
    run = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    told = [
        json.loads((folder / name).read_text()) for name in ("two/told-0.json", "two/told-1.json", "one/told-0.json")
    ]
    return folder, told[:2], told[2:]


@on_linux
def test_two_processes_have_the_gradients_of_one_that_accumulates(two_and_one):
    folder, _, _ = two_and_one

    expected = load_file(folder / "one" / "gradients-0.safetensors")
    for rank in (0, 1):
        gradients = load_file(folder / "two" / f"gradients-{rank}.safetensors")
        for name, gradient in expected.items():
            assert_close(gradients[name], gradient, atol=1e-6, rtol=0)
            assert gradient.abs().max() > 0.1


@on_linux
def test_two_processes_learn_what_one_learns_also_after_a_pause(two_and_one):
    folder, two, (one,) = two_and_one

    expected = load_file(folder / "one" / "weights-0.safetensors")
    assert [told["ending"] for told in (*two, one)] == ["finished"] * 3
    assert [told["first step of the second session"] for told in (*two, one)] == [7] * 3
    for rank in (0, 1):
        for name, weight in load_file(folder / "two" / f"weights-{rank}.safetensors").items():
            assert_close(weight, expected[name], atol=1e-5, rtol=0)


@on_linux
def test_no_process_draws_what_another_has_drawn_and_together_they_draw_what_one_would(two_and_one):
    _, (first, second), (one,) = two_and_one

    numbers = [{number for _, number, _ in told["drawn"]} for told in (first, second)]
    noises = [{noise for _, _, noise in told["drawn"]} for told in (first, second)]
    assert (first["rank"], second["rank"], first["count"]) == (0, 1, 2)
    assert not numbers[0] & numbers[1]
    assert not noises[0] & noises[1]
    assert sorted(first["drawn"] + second["drawn"]) == sorted(one["drawn"])


@on_linux
def test_only_the_first_process_writes(two_and_one):
    folder, _, _ = two_and_one

    lines = [json.loads(line) for line in (folder / "two" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 11))


@on_linux
def test_two_processes_that_fine_tune_svd_do_the_step_of_one_that_accumulates(two_and_one):
    folder, _, _ = two_and_one

    for what in ("gradients", "weights"):
        expected = load_file(folder / "one" / f"svd-{what}-0.safetensors")
        for rank in (0, 1):
            found = load_file(folder / "two" / f"svd-{what}-{rank}.safetensors")
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert_close(found[name], tensor, atol=1e-6, rtol=0)
        assert max(tensor.abs().max() for tensor in expected.values()) > 1e-3


@on_linux
def test_two_processes_that_fine_tune_svd_take_other_clips_with_other_noise(two_and_one):
    folder, _, _ = two_and_one
    first, second, one = (
        json.loads((folder / name).read_text())
        for name in ("two/svd-drawn-0.json", "two/svd-drawn-1.json", "one/svd-drawn-0.json")
    )

    assert len(first) == len(second) == 1
    assert not set(first[0]) & set(second[0])  # clip, number and noise
    assert sorted(first + second) == sorted(one)


def test_a_process_that_nobody_launched_is_alone(monkeypatch):
    for name in (*processes.COUNTS, "ACCELERATE_USE_CPU", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)

    assert launched_processes(torch.device("cpu")) == Processes(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "1")  # as `accelerate launch` with a single process
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert launched_processes(torch.device("cpu")) == Processes(torch.device("cpu"))


def test_a_process_whose_fellows_accelerate_has_not_started_says_so(monkeypatch):
    for name in processes.COUNTS:
        monkeypatch.delenv(name, raising=False)
    # What `accelerate launch --cpu --num_processes 2` leaves, whose second process never comes.
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    with pytest.raises(TrainingError, match="has started one.*torchrun --nproc_per_node"):
        launched_processes(torch.device("cpu"))


def test_tensors_are_averaged_in_portions_of_one_type(monkeypatch):
    monkeypatch.setattr(processes, "BYTES_AT_ONCE", 40)
    tensors = [torch.zeros(5), torch.zeros(5), torch.zeros(1), torch.zeros(100), torch.zeros(2, dtype=torch.float64)]

    portions = list(processes._in_portions(tensors))

    assert [[len(tensor) for tensor in portion] for portion in portions] == [[5, 5], [1], [100], [2]]
    assert list(processes._in_portions([])) == []
