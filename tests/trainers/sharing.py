"""Trains a little, as one of several processes, and writes down what it drew and learned.

`torchrun --nproc_per_node 2 sharing.py FOLDER ACCUMULATION` starts them as `accelerate launch` does. Without an
accumulation, `python sharing.py FOLDER` forks two processes with the same environment, and then one that does twice as
much in a step; so torch is loaded only once.
"""

import json
import os
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file
from toy_method import ToyMethod, quick

from zoetrope.trainers.learner import Learner
from zoetrope.trainers.loop import train
from zoetrope.trainers.processes import launched_processes
from zoetrope.trainers.run_folder import RunFolder, opened_run


def gradients_of_one_step(accumulation: int, processes) -> dict[str, torch.Tensor]:
    class Watched(Learner):
        def _update(self, rate):
            self.gradients = {name: weight.grad.clone() for name, weight in self.weights.items()}
            super()._update(rate)

    method = ToyMethod()
    if not processes.is_first:  # as if it had loaded other weights: those of the first hold
        with torch.no_grad():
            method.model.weight.zero_()
    learner = Watched(method, quick(accumulation=accumulation, max_gradient_norm=0.0), processes)
    learner.learn()
    return learner.gradients


def train_and_tell(folder: Path, accumulation: int) -> None:
    processes = launched_processes(torch.device("cpu"))
    save_file(gradients_of_one_step(accumulation, processes), folder / f"gradients-{processes.rank}.safetensors")
    method = ToyMethod()
    options = quick(accumulation=accumulation, save_every=5, average_decay=0.9)
    # The second session goes on from a state that only the first process has written.
    for stop_at in (6, None):

        def asked(stop_at=stop_at):
            return processes.rank == processes.count - 1 and len(method.drawn) == (stop_at or 0) * accumulation

        if processes.is_first:
            with opened_run(folder / "run") as run:
                steps = list(train(method, options, run, processes, asked))
        else:
            steps = list(train(method, options, RunFolder(folder / "run"), processes, asked))
    told = {
        "rank": processes.rank,
        "count": processes.count,
        "ending": steps[-1].ending,
        "first step of the second session": steps[0].step,
        "drawn": [[sample.item, sample.chance.number, sample.chance.normal("noise").item()] for sample in method.drawn],
    }
    (folder / f"told-{processes.rank}.json").write_text(json.dumps(told))
    save_file(
        {name: weight.detach() for name, weight in method.trained().items()},
        folder / f"weights-{processes.rank}.safetensors",
    )


def forked(folder: Path, accumulation: int, count: int) -> None:
    """Let that many processes train together."""
    folder.mkdir()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    children = [os.fork() or run_as(rank, folder, accumulation) for rank in range(count)]
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    assert not failed, "what went wrong stands above"


def run_as(rank: int, folder: Path, accumulation: int) -> int:
    """Be one of the processes; never returns."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
    try:
        train_and_tell(folder, accumulation)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if sys.argv[2:]:
        return train_and_tell(folder, int(sys.argv[2]))
    os.fsync = lambda descriptor: None  # no power fails here
    import_module("accelerate")
    import_module("torch._dynamo")  # which the first step of an optimizer loads
    forked(folder / "two", 1, 2)
    forked(folder / "one", 2, 1)
    return None


if __name__ == "__main__":
    main()
