"""What may go wrong while a run rests or trains, through the command: a sentence, nothing lost, and it can go on."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from tests.random_checkpoints import tiny_tensors, write_tensors
from zoetrope.clips.footage import read_footage, write_manifest
from zoetrope.headless import train as command
from zoetrope.headless.command import main
from zoetrope.trainers import svd_plan

from .svd_runs import draw_footage

SETTINGS = """\
model: svd.safetensors
footage: footage
run: run
rank: 2
frames: 3
width: 32
height: 32
steps: 4
save_every: 1
validation_clips: 1
validation_levels: [1.0]
samples: 0
"""


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_checkpoint):
    """A folder with all that a run needs, and with a run that rests at step 2 of 4."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copy(tiny_checkpoint("svd"), folder / "svd.safetensors")
    draw_footage(folder / "footage")
    (folder / "run.yaml").write_text(SETTINGS)
    assert train(folder, "--set", "session_steps=2") == 0
    return folder


@pytest.fixture
def folder(begun, tmp_path, monkeypatch):
    # Both take a moment, and there are many runs here.
    monkeypatch.setattr(svd_plan, "measured_flops_per_second", lambda *_: 1e9)
    monkeypatch.setattr(svd_plan, "_measured", lambda *_: (2**20, 1e9, 1e3))
    return shutil.copytree(begun, tmp_path / "copy")


@pytest.fixture(scope="module")
def undisturbed(begun, tmp_path_factory):
    """What the run comes to when nothing happens to it."""
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("undisturbed") / "copy")
    assert train(folder) == 0
    return result_of(folder / "run")


def train(folder, *arguments):
    return main(["train", "svd", "--config", str(folder / "run.yaml"), "--resume", *arguments])


def result_of(run):
    return (run / "exports" / "run-4.safetensors").read_bytes(), load_file(run / "state-4" / "optimizer.safetensors")


def check_goes_on_as_if_nothing_had_been(folder, undisturbed, run=None, *arguments):
    assert train(folder, *arguments) == 0
    exported, memory = result_of(run or folder / "run")
    assert exported == undisturbed[0]
    assert all((memory[name] == tensor).all() for name, tensor in undisturbed[1].items())


def refusal(folder, capsys, *arguments):
    """What the command says when it refuses to go on."""
    capsys.readouterr()
    assert train(folder, *arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "Error:" not in said
    return said.splitlines()[-1]


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# While it rests


def test_damaged_entries_of_the_cache_are_made_again(folder, undisturbed, capsys):
    ways = (flip_a_bit, lambda path: path.write_bytes(path.read_bytes()[:-4]), lambda path: path.write_bytes(b""))
    for number, path in enumerate(sorted((folder / "run" / "cache").rglob("*.safetensors"))):
        ways[number % 3](path)

    check_goes_on_as_if_nothing_had_been(folder, undisturbed)

    assert capsys.readouterr().err.count("is damaged, so it is made again") >= 3


def test_the_state_before_a_damaged_one_is_taken(folder, undisturbed, capsys):
    flip_a_bit(folder / "run" / "state-2" / "optimizer.safetensors")

    check_goes_on_as_if_nothing_had_been(folder, undisturbed)

    said = capsys.readouterr().err
    assert said.count("state-2 is damaged (optimizer.safetensors is not as it was written), so state-1 is taken") == 1


def test_a_run_without_a_sound_state_is_not_begun_anew(folder, undisturbed, capsys):
    flip_a_bit(folder / "run" / "state-1" / "weights.safetensors")
    (folder / "run" / "state-2" / "manifest.json").write_text("")

    assert "No saved state of the run is sound" in refusal(folder, capsys)

    flip_a_bit(folder / "run" / "state-1" / "weights.safetensors")
    check_goes_on_as_if_nothing_had_been(folder, undisturbed)


def test_footage_that_has_changed_is_trained_on_and_named(folder, capsys):
    footage = folder / "footage"
    shutil.copytree(footage / "clip_0", footage / "clip_9")
    shutil.copy(footage / "clip_2" / "frame_3.png", footage / "clip_1" / "frame_0.png")
    read, _ = read_footage(footage)
    clips = {clip.name: clip for clip in read.clips}
    clips["clip_2"] = replace(clips["clip_2"], split="validation")
    clips["clip_3"] = replace(clips["clip_3"], split="train")
    clips["clip_9"] = replace(clips["clip_0"], name="clip_9")
    write_manifest(read.with_clips(clips.values()))

    (footage / "clip_1" / "frame_5.png").unlink()

    assert train(folder) == 0

    told, said = capsys.readouterr()
    assert "Frames that the manifest names are missing: 1 of clip_1" in told
    assert "clip_9 is new; clip_1 is of other frames; clip_2 is held out after being trained on" in said
    assert "clip_3 is trained on after being held out" in said


def test_another_model_under_the_same_name_is_refused(folder, undisturbed, capsys, tiny_checkpoint):
    tensors = tiny_tensors("svd")
    name = next(name for name in tensors if name.startswith("model.diffusion_model") and name.endswith("weight"))
    widths = {"zoetrope.head_channels": "16", "zoetrope.clip_head_channels": "16"}
    write_tensors(folder / "svd.safetensors", {**tensors, name: tensors[name] * 1.5}, widths)

    assert "svd.safetensors holds other weights" in refusal(folder, capsys)

    shutil.copy(tiny_checkpoint("svd"), folder / "svd.safetensors")
    check_goes_on_as_if_nothing_had_been(folder, undisturbed)


def test_a_frame_that_cannot_be_read_is_named(folder, undisturbed, capsys):
    frame = folder / "footage" / "clip_1" / "frame_2.png"
    data = frame.read_bytes()
    frame.write_bytes(data[: len(data) // 2])

    assert "frame_2.png" in refusal(folder, capsys)

    frame.write_bytes(data)
    check_goes_on_as_if_nothing_had_been(folder, undisturbed)


# While it trains


def happening(monkeypatch, step, what):
    """Let something happen after a step."""
    tell = command._tell

    def telling(done, display):
        tell(done, display)
        if done.step == step:
            what()

    monkeypatch.setattr(command, "_tell", telling)


def test_frames_that_go_away_end_the_run_with_what_is_done_saved(folder, undisturbed, monkeypatch, capsys):
    clips = [folder / "footage" / f"clip_{number}" for number in range(3)]
    away = folder / "away"

    def go():
        away.mkdir()
        for clip in clips:
            clip.rename(away / clip.name)

    happening(monkeypatch, 3, go)

    assert "png is gone since the footage was read" in refusal(folder, capsys, "--set", "save_every=4")

    assert (folder / "run" / "state-3").is_dir()
    for clip in clips:
        (away / clip.name).rename(clip)
    check_goes_on_as_if_nothing_had_been(folder, undisturbed)


def test_a_file_that_may_grow_no_further_ends_the_run_and_costs_no_state(folder, undisturbed, monkeypatch, capsys):
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    happening(monkeypatch, 3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1])))
    try:
        said = refusal(folder, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "state-4 cannot be written. The file is larger than this disk allows" in said
    assert sorted(path.name for path in (folder / "run").glob("*state-*")) == ["state-2", "state-3"]
    check_goes_on_as_if_nothing_had_been(folder, undisturbed)


@contextmanager
def small_disk(path):
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="small disks are mounted as on Linux")
def test_a_full_disk_ends_the_run_and_costs_no_state(folder, undisturbed, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(svd_plan, "SPARE_DISK", 0)  # or else so small a disk is refused
    with small_disk(tmp_path / "disk") as disk:
        shutil.copytree(folder / "run", disk / "run")
        filler = disk / "filler"

        def fill():
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))

        happening(monkeypatch, 3, fill)
        there = ("--set", f"run={disk / 'run'}")

        said = refusal(folder, capsys, *there)

        assert "cannot be written. The disk is full" in said
        assert sorted(path.name for path in (disk / "run").glob("*state-*")) == ["state-2", "state-3"]
        filler.unlink()
        check_goes_on_as_if_nothing_had_been(folder, undisturbed, disk / "run", *there)
