"""Kills short training runs at random moments until they have ended, and compares them with one that nobody disturbed.

    python tests/trainers/killing.py toy=50 svd=50

`toy` is the loop alone, `svd` the command `zoetrope train svd` on a tiny model. Half of the kills come at any moment of
the run; the others while it does something that is short: fills its cache, saves, lets old states go, validates,
exports. Prints what came of it as JSON, and fails where a newest state could not be read, where more than one interval
of saving was lost, where something half written stayed behind, or where the final states, the result or the metrics
differ in one bit. The runs are forked from this process, which has loaded torch once; so it needs a system that forks.
"""

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path

import torch
from toy_method import ALONE, ToyMethod, quick

from zoetrope.trainers import caching, run_folder
from zoetrope.trainers.learner import Learner
from zoetrope.trainers.loop import train
from zoetrope.trainers.run_folder import opened_run
from zoetrope.trainers.states import newest_state

SECONDS = 20 * 60  # for one run and its kill, after which something hangs
UNFINISHED = ".*"  # the names of what is being written


class Toy:
    """The loop, with weights that are large enough for a kill to meet their writing."""

    steps, save_every = 60, 5
    method = ToyMethod

    def __init__(self, folder: Path) -> None:
        """Nothing is needed of it."""

    def run(self, path: Path) -> None:
        options = quick(steps=self.steps, save_every=self.save_every, average_decay=0.9, validate_at=(0, 20, 40))
        with opened_run(path) as run:
            for _ in train(ToyMethod(width=100_000), options, run, ALONE):
                pass


class SVD:
    """The command, on a tiny model and footage drawn in the folder."""

    steps, save_every = 6, 2

    def __init__(self, folder: Path) -> None:
        sys.path.append(str(Path(__file__).parents[2]))
        from tests.random_checkpoints import write_tiny
        from tests.trainers.svd_runs import draw_footage
        from zoetrope.trainers.svd import SVDMethod

        self.method = SVDMethod
        self._model = write_tiny("svd", folder / "svd.safetensors")
        self._footage = folder / "footage"
        draw_footage(self._footage, clips=3, frames=4)

    def run(self, path: Path) -> None:
        from zoetrope.headless.command import main

        settings = {
            "model": self._model, "footage": self._footage, "run": path, "steps": self.steps, "rank": 4,
            "frames": 2, "width": 64, "height": 64, "learning_rate": 1e-3, "average_decay": 0.9,
            "save_every": self.save_every, "validate_at": 3, "validation_clips": 1, "validation_levels": "1, 10",
            "samples": 1, "sample_steps": 1,
        }  # fmt: skip
        told = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
        with contextlib.redirect_stdout(sys.stderr):
            assert main(["train", "svd", "--resume", *told]) == 0


class Phases:
    """What a run is doing, told to the process that watches it through memory that both have."""

    names = (
        "in between",
        "stepping",
        "filling the cache",
        "saving",
        "letting old states go",
        "validating",
        "exporting",
    )

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4 * (1 + len(self.names)))  # which one, and how often each has begun
        self.seconds = dict.fromkeys(self.names, 0.0)  # of the longest of each, in this process
        self.begun_at = [time.monotonic()]

    def reset(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    @property
    def now(self) -> str:
        return self.names[self._number(0)]

    @property
    def begun(self) -> dict[str, int]:
        """How often each has."""
        return {name: self._number(1 + number) for number, name in enumerate(self.names)}

    def told_by(self, function: Callable, name: str) -> Callable:
        """The function, which now tells when it runs."""
        number = self.names.index(name)

        @wraps(function)
        def telling(*given, **named):
            before, began = self._number(0), time.monotonic()
            self.begun_at.append(began)
            self._set(0, number)
            self._set(1 + number, self._number(1 + number) + 1)
            try:
                return function(*given, **named)
            finally:
                self._set(0, before)
                self.seconds[name] = max(self.seconds[name], time.monotonic() - began)

        return telling

    def watch(self, method: type) -> None:
        for owner, function, name in (
            (Learner, "learn", "stepping"),
            (caching.TensorCache, "get", "filling the cache"),
            (run_folder, "write_state", "saving"),
            (run_folder, "prune_states", "letting old states go"),
            (method, "validate", "validating"),
            (method, "export", "exporting"),
        ):
            setattr(owner, function, self.told_by(getattr(owner, function), name))

    def _number(self, place: int) -> int:
        return struct.unpack_from("I", self._memory, 4 * place)[0]

    def _set(self, place: int, number: int) -> None:
        struct.pack_into("I", self._memory, 4 * place, number)


@dataclass
class Watch:
    """What the kills have done."""

    kills: int = 0
    runs: int = 0
    unreadable: int = 0
    left_behind: int = 0
    most_lost: int = 0
    different: int = 0
    moments: Counter = field(default_factory=Counter)  # how many came while it did what
    met_half_written: int = 0

    def look_at(self, path: Path, moment: str) -> None:
        self.kills += 1
        self.moments[moment] += 1
        self.met_half_written += any(path.rglob(UNFINISHED))
        state = newest_state(path, self._count_unreadable) if path.is_dir() else None
        saved = state.progress["step"] if state else 0
        self.most_lost = max(self.most_lost, steps_logged(path) - saved)

    def _count_unreadable(self, note: str) -> None:
        self.unreadable += 1

    @property
    def has_failed(self) -> bool:
        return bool(self.unreadable or self.left_behind or self.different)


def steps_logged(path: Path) -> int:
    """How far it has come, by what it has written last; a line that was torn does not count."""
    return max((entry["step"] for entry in entries_of(path)), default=0)


def entries_of(path: Path) -> list[dict]:
    lines = (path / "metrics.jsonl").read_text().split("\n")[:-1] if (path / "metrics.jsonl").exists() else []
    return [json.loads(line) for line in lines]


def result_of(path: Path, steps: int) -> tuple[str, ...]:
    """All that a run leaves that does not tell the time."""
    files = [*sorted((path / f"state-{steps}").glob("*.safetensors")), *sorted((path / "exports").iterdir())]
    hashes = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files]
    entries = [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries_of(path)]
    return *hashes, json.dumps(entries)


class Killer:
    """Begins runs and kills them."""

    def __init__(self, folder: Path, subject: Toy | SVD, kills: int, chance: random.Random) -> None:
        self._folder, self._subject, self._kills, self._chance = folder, subject, kills, chance
        self._phases = Phases()
        self._phases.watch(subject.method)
        self.watch = Watch()
        (folder / "undisturbed").mkdir()
        subject.run(folder / "undisturbed" / "run")
        self._timeline = [*self._phases.begun_at, time.monotonic()]
        self._expected = result_of(folder / "undisturbed" / "run", subject.steps)

    def kill_all(self) -> Watch:
        while self.watch.kills < self._kills:
            self._kill_until_it_ends()
        return self.watch

    def _kill_until_it_ends(self) -> None:
        """Begin a run again and again, and kill it at random; when the kills are used up, let it end."""
        self.watch.runs += 1
        path = self._folder / f"{self.watch.runs}" / "run"
        path.parent.mkdir()
        has_ended = False
        while not has_ended and self.watch.kills < self._kills:
            process = self._started(path)
            self._wait_for_the_moment(process)
            has_ended = not self._killed(process)
            if not has_ended:
                self.watch.look_at(path, self._phases.now)
        if not has_ended:
            assert not self._killed(self._started(path), signal.SIGCONT), "it was left to itself"
        self.watch.left_behind += any(path.rglob(UNFINISHED))
        self.watch.different += result_of(path, self._subject.steps) != self._expected

    def _wait_for_the_moment(self, process: int) -> None:
        """Of the kills every second comes at any time, the others during something that is short."""
        if self.watch.kills % 2 == 0:
            # A time of the undisturbed run, told by what begins before it: the machine may be slower now.
            moment = self._chance.uniform(self._timeline[0], self._timeline[-1])
            earlier = [time for time in self._timeline if time < moment]
            self._wait(process, lambda: sum(self._phases.begun.values()) >= len(earlier) - 1, moment - earlier[-1])
        else:
            name = self._chance.choice([name for name, seconds in self._phases.seconds.items() if seconds])
            times = self._chance.randint(1, 2)
            self._wait(
                process,
                lambda: self._phases.begun[name] >= times,
                self._chance.uniform(0, self._phases.seconds[name]),
            )

    def _wait(self, process: int, has_come: Callable[[], bool], seconds: float) -> None:
        while not has_come() and not has_died(process):
            time.sleep(1e-4)
        time.sleep(seconds)

    def _started(self, path: Path) -> int:
        """A process of its own that trains; the id of it."""
        signal.alarm(SECONDS)
        self._phases.reset()
        process = os.fork()
        if process == 0:
            code = 1
            try:
                self._subject.run(path)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return process

    def _killed(self, process: int, how: int = signal.SIGKILL) -> bool:
        """Whether it was still training by then, and was killed."""
        os.kill(process, how)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run ended with an error"
        return os.WIFSIGNALED(status)


def has_died(process: int) -> bool:
    """Whether it has ended; who asks can still wait for it."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


METHODS = {"toy": Toy, "svd": SVD}


def method_and_kills(text: str) -> tuple[str, int]:
    name, _, kills = text.partition("=")
    if name not in METHODS:
        raise argparse.ArgumentTypeError(f"there is no method {name}")
    return name, int(kills)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "methods", nargs="+", type=method_and_kills, metavar="METHOD=KILLS", help=f"any of {', '.join(METHODS)}"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-flush", action="store_true", help="do not wait for the disk, which a kill spares anyway")
    arguments = parser.parse_args()
    if arguments.no_flush:
        os.fsync = lambda descriptor: None
    torch.set_num_threads(1)

    failed = False
    for name, kills in arguments.methods:
        subject = METHODS[name]
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(Path(folder), subject(Path(folder)), kills, random.Random(arguments.seed))
            watch = killer.kill_all()
        print(json.dumps({"method": name, "save_every": subject.save_every} | vars(watch)))  # noqa: T201
        failed |= watch.has_failed or watch.most_lost > subject.save_every
    sys.exit(failed)


if __name__ == "__main__":
    main()
