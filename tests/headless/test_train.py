"""The command that trains, from its settings to what it leaves behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from tests.trainers.svd_runs import draw_footage
from zoetrope.headless.command import main
from zoetrope.headless.train import _Stopping

SETTINGS = """\
model: models/svd.safetensors
footage: moons
run: runs/moons
rank: 2
frames: 3
width: 32
height: 32
steps: 4
learning_rate: 1e-3
batch: 1
seed: 5
save_every: 2
validate_at: [0]
validation_clips: 1
validation_levels: [1.0]
samples: 0
"""


@pytest.fixture
def folder(tmp_path, tiny_checkpoint, monkeypatch):
    """With a model, footage and run.yaml; the current folder is another one."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "svd.safetensors").symlink_to(tiny_checkpoint("svd"))
    draw_footage(tmp_path / "moons", clips=3)
    (tmp_path / "run.yaml").write_text(SETTINGS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def train(folder, *arguments):
    return main(["train", "svd", "--config", str(folder / "run.yaml"), *arguments])


def exported(folder, step):
    return load_file(folder / "runs" / "moons" / "exports" / f"moons-{step}.safetensors")


def test_a_run_tells_its_plan_trains_and_names_its_result(folder, capsys):
    assert train(folder) == 0

    told = capsys.readouterr()
    assert "2 to train on, 1 held out" in told.out
    assert told.out.endswith("moons-4.safetensors\n")
    assert "Step 4, on clips held out: loss" in told.err
    run = folder / "runs" / "moons"
    assert {"run.yaml", "state-4", "report.html", "metrics.jsonl"} <= {path.name for path in run.iterdir()}


def test_a_plan_alone_writes_nothing(folder, capsys):
    assert train(folder, "--plan") == 0

    assert "memory" in capsys.readouterr().out
    assert not (folder / "runs").exists()


def test_settings_are_set_and_the_steps_too(folder):
    assert train(folder, "--set", "rank=3", "--set", "preset=motion and look", "--steps", "1") == 0

    tensors = exported(folder, 1)
    assert {tensor.shape[0] for name, tensor in tensors.items() if name.endswith("lora_down.weight")} == {3}


def test_the_usual_warm_up_is_shortened_for_a_short_run(folder):
    assert train(folder, "--steps", "2") == 0
    assert train(folder, "--resume", "--set", "warm_up_steps=50") == 2


def test_a_run_goes_on_only_when_asked_and_is_then_as_if_never_left(folder, capsys):
    assert train(folder, "--set", "session_steps=3") == 0
    assert "stands at step 3 of 4" in capsys.readouterr().out

    assert train(folder) == 2
    assert "Add --resume to go on with it" in capsys.readouterr().err
    assert train(folder, "--resume") == 0

    resumed = exported(folder, 4)
    assert train(folder, "--set", f"run={folder / 'other' / 'moons'}") == 0
    whole = load_file(folder / "other" / "moons" / "exports" / "moons-4.safetensors")
    assert all((whole[name] == resumed[name]).all() for name in whole)


def test_a_finished_run_says_so(folder, capsys):
    assert train(folder) == 0
    capsys.readouterr()

    assert train(folder, "--resume") == 0

    assert "has its 4 steps already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--set", "width=40"], "multiples of 16"),
        (["--set", "rate=3"], "there is no setting rate"),
        (["--set", "model=missing.safetensors"], "does not exist"),
        (["--steps", "0"], "steps is 0"),
        (["--set", "frames=9"], "shorter than the 9 frames"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(folder, capsys, arguments, told):
    assert train(folder, *arguments) == 2

    errors = capsys.readouterr().err
    assert told in errors
    assert "Traceback" not in errors
    assert not (folder / "runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to all processes of a console")
def test_ctrl_c_saves_and_the_run_goes_on(folder):
    command = [sys.executable, "-m", "zoetrope", "train", "svd", "--config", str(folder / "run.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--set", "steps=5000", "--set", "save_every=5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    metrics = folder / "runs" / "moons" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count('"seconds"') > 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "Go on with it with --resume" in out
    (state,) = (folder / "runs" / "moons").glob("state-*")
    step = int(state.name.removeprefix("state-"))
    assert metrics.read_text().count('"seconds"') == step >= 3
    assert (folder / "runs" / "moons" / "exports" / f"moons-{step}.safetensors").is_file()
    assert train(folder, "--resume", "--steps", str(step + 1)) == 0


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_the_first_wish_to_stop_waits_for_the_step_and_the_second_does_not(wish):
    said = []
    before = signal.getsignal(wish)

    with _Stopping(said.append) as stopping:
        with pytest.raises(KeyboardInterrupt):  # before training there is no step to wait for
            signal.raise_signal(wish)
        stopping.is_training = True
        signal.raise_signal(wish)
        assert stopping.asked
        assert "after this step" in said[0]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(wish)

    assert signal.getsignal(wish) is before
