"""A state is whole or not there, and known to be sound before it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoetrope.trainers import states
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.states import newest_state, prune_states, remove_unfinished, write_state

TENSORS = {"weights": {"a/b": torch.arange(4.0), "c": torch.tensor(2.0)}, "optimizer": {}}


def write(folder, step, **changes):
    return write_state(folder, step, TENSORS | changes, {"step": step})


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def must_not_be_said(note):
    raise AssertionError(note)


def test_what_was_saved_comes_back(tmp_path):
    write(tmp_path, 5)

    state = newest_state(tmp_path, must_not_be_said)

    assert state.progress == {"step": 5}
    assert torch.equal(state.tensors("weights")["a/b"], torch.arange(4.0))
    assert state.tensors("weights")["c"].shape == ()
    assert state.tensors("optimizer") == {}
    assert state.has("weights") and not state.has("average")


def test_the_newest_is_by_number_and_not_by_name(tmp_path):
    for step in (9, 100, 20):
        write(tmp_path, step)
    (tmp_path / "state-999.old").mkdir()
    (tmp_path / "state-1000").write_text("a file")

    assert newest_state(tmp_path, must_not_be_said).progress["step"] == 100


def test_a_folder_without_states_has_none(tmp_path):
    assert newest_state(tmp_path, must_not_be_said) is None


def flip_a_bit(path):
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "weights.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: (path / "weights.safetensors").unlink(),
        lambda path: (path / "weights.safetensors").write_bytes(b""),
        lambda path: (path / "progress.json").write_text("{}"),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text('{"weights'),
        lambda path: (path / "manifest.json").write_text("{}"),
        lambda path: (path / "manifest.json").write_text("3"),
        lambda path: [file.unlink() for file in path.iterdir()],
        lambda path: (path / "more.safetensors").write_bytes(b""),
    ],
    ids=["a bit", "a file gone", "empty", "progress", "no manifest", "torn", "lists nothing", "no list", "all", "more"],
)
def test_of_a_damaged_state_the_one_before_is_taken_and_it_is_said(tmp_path, damage):
    write(tmp_path, 10)
    damage(write(tmp_path, 20))
    notes = []

    assert newest_state(tmp_path, notes.append).progress["step"] == 10
    assert len(notes) == 1
    assert "state-20 is damaged" in notes[0]


def test_the_newest_and_the_milestones_are_kept(tmp_path):
    for step in range(10, 80, 10):
        write(tmp_path, step)

    prune_states(tmp_path, 70, keep=2, milestones=(20, 30, 35))

    assert names_in(tmp_path) == ["state-20", "state-30", "state-60", "state-70"]


def test_a_state_from_a_future_that_was_damaged_does_not_count_and_goes(tmp_path):
    for step in (10, 20, 90):
        write(tmp_path, step)

    prune_states(tmp_path, 20, keep=2, milestones=(90,))

    assert names_in(tmp_path) == ["state-10", "state-20"]


def test_a_damaged_state_is_replaced_when_its_step_comes_again(tmp_path):
    flip_a_bit(write(tmp_path, 10))

    write(tmp_path, 10)

    assert newest_state(tmp_path, must_not_be_said).progress["step"] == 10
    assert names_in(tmp_path) == ["state-10"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    write(tmp_path, 10)
    (tmp_path / ".state-20-abc").mkdir()
    (tmp_path / ".state-20-abc" / "weights.safetensors").write_bytes(b"half")

    remove_unfinished(tmp_path)

    assert names_in(tmp_path) == ["state-10"]


@pytest.mark.parametrize("call", ["save_file", "flush_to_disk", "_manifest_of"])
def test_a_write_that_fails_leaves_the_older_state_and_nothing_half_done(tmp_path, monkeypatch, call):
    write(tmp_path, 10)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states, call, full)
    with pytest.raises(TrainingError, match="state-20 cannot be written. The disk is full.*still there"):
        write(tmp_path, 20)
    monkeypatch.undo()

    assert names_in(tmp_path) == ["state-10"]
    assert newest_state(tmp_path, must_not_be_said).progress["step"] == 10


def test_the_disk_has_every_byte_before_the_state_gets_its_name_and_the_name_before_the_older_go(tmp_path, monkeypatch):
    told = []
    flush, rename = states.flush_to_disk, Path.rename
    monkeypatch.setattr(states, "flush_to_disk", lambda path: (flush(path), told.append(path.name)))
    monkeypatch.setattr(Path, "rename", lambda path, target: (told.append("renamed"), rename(path, target))[1])

    write(tmp_path, 5)

    assert set(told[:4]) == {"manifest.json", "progress.json", "weights.safetensors", "optimizer.safetensors"}
    assert told[4].startswith(".state-5-")
    assert told[5:] == ["renamed", tmp_path.name]


def test_another_error_is_not_taken_for_one_of_the_disk(tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        write_state(tmp_path, 1, TENSORS, {"step": object()})

    assert names_in(tmp_path) == []


WRITES_MORE_THAN_IT_MAY = """
import resource, sys
from pathlib import Path
import torch
from zoetrope.trainers.errors import TrainingError
from zoetrope.trainers.states import write_state

folder = Path(sys.argv[1])
write_state(folder, 1, {"weights": {"a": torch.zeros(10)}}, {"step": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write_state(folder, 2, {"weights": {"a": torch.zeros(100_000)}}, {"step": 2})
except TrainingError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit to the size of files")
def test_when_the_system_refuses_to_write_on_the_older_state_stays(tmp_path):
    """As the system itself does it, in the library that writes the tensors."""
    run = subprocess.run([sys.executable, "-c", WRITES_MORE_THAN_IT_MAY, str(tmp_path)], capture_output=True, text=True)

    assert "state-2 cannot be written. The file is larger than this disk allows" in run.stdout, run.stderr
    assert names_in(tmp_path) == ["state-1"]
    assert json.loads((tmp_path / "state-1" / "progress.json").read_text()) == {"step": 1}
