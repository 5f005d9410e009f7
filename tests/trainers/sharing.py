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
from svd_runs import draw_footage, tiny_settings
from toy_method import ToyMethod, quick

from zoetrope.trainers.learner import Learner
from zoetrope.trainers.loop import train
from zoetrope.trainers.processes import launched_processes
from zoetrope.trainers.run_folder import RunFolder, opened_run


class Watched(Learner):
    """Keeps the gradients of its last step, and the weights after it."""

    gradients: dict[str, torch.Tensor]
    learned: dict[str, torch.Tensor]

    def _update(self, rate):
        Watched.gradients = {name: weight.grad.clone() for name, weight in self.weights.items()}
        super()._update(rate)
        Watched.learned = {name: weight.detach().clone() for name, weight in self.weights.items()}


def gradients_of_one_step(accumulation: int, processes) -> dict[str, torch.Tensor]:
    method = ToyMethod()
    if not processes.is_first:  # as if it had loaded other weights: those of the first hold
        with torch.no_grad():
            method.model.weight.zero_()
    Watched(method, quick(accumulation=accumulation, max_gradient_norm=0.0), processes).learn()
    return Watched.gradients


def train_svd_and_tell(folder: Path, accumulation: int, processes) -> None:
    """A step of SVD's training, on the tiny model and the footage beside the folder."""
    from zoetrope.trainers import loop, svd

    drawn = []

    class Telling(svd.SVDMethod):
        def batch(self, samples):
            batch = super().batch(samples)
            places = [(sample.item, sample.chance.number) for sample in samples]
            drawn.extend((*place, noise.flatten()[0].item()) for place, noise in zip(places, batch.noise, strict=True))
            return batch

    loop.Learner, svd.SVDMethod = Watched, Telling
    settings = tiny_settings(
        folder.parent / "svd.safetensors", folder.parent / "footage", folder / "svd run", steps=1, rank=2,
        preset="motion and look", accumulation=accumulation, max_gradient_norm=0.0, validation_levels=(1.0,),
        learning_rate=1e-4, dropout=0.0,
    )  # fmt: skip
    assert [step.ending for step in svd.train_svd(settings, processes=processes)] == ["finished"]
    save_file(Watched.gradients, folder / f"svd-gradients-{processes.rank}.safetensors")
    save_file(Watched.learned, folder / f"svd-weights-{processes.rank}.safetensors")
    (folder / f"svd-drawn-{processes.rank}.json").write_text(json.dumps(drawn))


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
    train_svd_and_tell(folder, accumulation, processes)


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
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.random_checkpoints import write_tiny

    if sys.argv[2:]:
        return train_and_tell(folder, int(sys.argv[2]))
    os.fsync = lambda descriptor: None  # no power fails here
    import_module("accelerate")
    for late in ("torch._dynamo", "diffusers.models.unets", "transformers.models.clip.modeling_clip"):
        import_module(late)  # once, rather than in each process
    write_tiny("svd", folder / "svd.safetensors")
    draw_footage(folder / "footage")
    forked(folder / "two", 1, 2)
    forked(folder / "one", 2, 1)
    return None


if __name__ == "__main__":
    main()
