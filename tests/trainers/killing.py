"""Kills a short training run at random moments until it has ended, and compares it with one that nobody disturbed.

    python tests/trainers/killing.py --kills 50

Prints what came of it as JSON, and fails where a newest state could not be read, where more than one interval of saving
was lost, or where the final weights differ in one bit. The runs are forked from this process, which has loaded torch
once; so it needs a system that forks.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch
from toy_method import ALONE, ToyMethod, quick

from zoetrope.trainers.loop import train
from zoetrope.trainers.run_folder import opened_run
from zoetrope.trainers.states import newest_state

STEPS, SAVE_EVERY, WIDTH = 60, 5, 100_000
OPTIONS = quick(steps=STEPS, save_every=SAVE_EVERY, average_decay=0.9, validate_at=(0, 20, 40))
SECONDS = 20 * 60  # after which something hangs


def run_to_the_end(path: Path) -> None:
    with opened_run(path) as run:
        for _ in train(ToyMethod(width=WIDTH), OPTIONS, run, ALONE):
            pass


def started(path: Path) -> int:
    """A process of its own that trains; the id of it."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            run_to_the_end(path)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def killed(process: int, after_seconds: float) -> bool:
    """Whether it was still training by then, and was killed."""
    time.sleep(after_seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run ended with an error"
    return os.WIFSIGNALED(status)


def steps_logged(path: Path) -> int:
    """How far it has come, by what it has written last; a line that was torn does not count."""
    lines = (path / "metrics.jsonl").read_text().split("\n")[:-1] if (path / "metrics.jsonl").exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def weights_of(path: Path) -> str:
    state = path / f"state-{STEPS}"
    return "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(state.glob("*.safetensors")))


class Watch:
    """What the kills have done."""

    def __init__(self) -> None:
        self.kills = self.runs = self.unreadable = self.while_saving = self.most_lost = 0

    def look_at(self, path: Path) -> None:
        self.kills += 1
        done = steps_logged(path)
        self.while_saving += any(path.glob(".state-*"))
        state = newest_state(path, self._count_unreadable)
        saved = state.progress["step"] if state else 0
        self.most_lost = max(self.most_lost, done - saved)

    def _count_unreadable(self, note: str) -> None:
        self.unreadable += 1


def killed_until_it_ends(path: Path, watch: Watch, chance: random.Random, kills: int, seconds_whole: float) -> None:
    """Begin the run again and again, and kill it at random; when the kills are used up, let it end."""
    watch.runs += 1
    path.mkdir()
    while watch.kills < kills and not (path / f"state-{STEPS}").is_dir():
        if killed(started(path), chance.uniform(0, 0.7 * seconds_whole)):
            watch.look_at(path)
    _, status = os.waitpid(started(path), 0)
    assert os.WEXITSTATUS(status) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-flush", action="store_true", help="do not wait for the disk, which a kill spares anyway")
    arguments = parser.parse_args()
    if arguments.no_flush:
        os.fsync = lambda descriptor: None
    torch.set_num_threads(1)
    signal.alarm(SECONDS)

    chance, watch = random.Random(arguments.seed), Watch()
    with tempfile.TemporaryDirectory() as folder:
        run_to_the_end(Path(folder, "warm"))  # loads what is loaded late, so that the forked ones need not
        began = time.monotonic()
        run_to_the_end(Path(folder, "undisturbed"))
        seconds_whole, expected = time.monotonic() - began, weights_of(Path(folder, "undisturbed"))
        different = 0
        while watch.kills < arguments.kills:
            path = Path(folder, f"run-{watch.runs}")
            killed_until_it_ends(path, watch, chance, arguments.kills, seconds_whole)
            different += weights_of(path) != expected
    print(json.dumps(vars(watch) | {"different": different, "save_every": SAVE_EVERY}))  # noqa: T201
    sys.exit(bool(watch.unreadable or different or watch.most_lost > SAVE_EVERY))


if __name__ == "__main__":
    main()
