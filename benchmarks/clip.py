"""CLIP's features of a clip's frames: the pack in batches against transformers, one frame at a time.

    python benchmarks/clip.py [--frames 300] [--rounds 3] [--threads N] [--dtypes float32 bfloat16]

The network is an image encoder of the size of ViT-B/32 with random weights, the frames are 640x360 and all different.
The peer makes each frame ready with transformers' own processor and shows it to the network alone, in float32, as
scripts do. Pack and peer run alternately, in as many threads as torch takes by itself unless told another number; what
is printed is the ratio of the medians, with the lowest and highest ratio of any round, and how alike the features are.
Other programs should be quiet. Memory is the peak of a fresh process that embeds few clips, and of one that embeds six
times as many.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

HEIGHT, WIDTH = 360, 640
FEW, MANY, FRAMES_OF_A_CLIP = 2, 12, 24
AT_LEAST = {"float32": 1.3, "bfloat16": 3.0, "float16": 0.0}
PEAK_MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from clip import FRAMES_OF_A_CLIP, frames
from zoetrope.evaluation.clip_encoders import ClipEncoder, EncodingOptions
from zoetrope.models.clip import load_clip
model = load_clip(sys.argv[2], dtype=torch.float32, device="cpu", activation="quick_gelu")
encoder = ClipEncoder(model, EncodingOptions(batch=8))
for clip in range(int(sys.argv[3])):
    encoder.frames(frames(FRAMES_OF_A_CLIP, seed=clip))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def frames(count: int, seed: int = 0) -> Iterator[Any]:
    """A scene that a camera moves over, with grain, so that no frame is another."""
    generator = np.random.default_rng(seed)
    scene = cv2.resize(generator.integers(0, 256, (60, 90, 3), np.uint8), (960, 640), interpolation=cv2.INTER_CUBIC)
    grain = generator.normal(0, 4, (HEIGHT, WIDTH, 3)).astype(np.float32)
    for number in range(count):
        x, y = int(160 + 150 * np.sin(number / 40)), int(140 + 130 * np.cos(number / 55))
        moved = np.roll(grain, number, axis=1)
        yield (scene[y : y + HEIGHT, x : x + WIDTH] + moved).clip(0, 255).astype(np.uint8)


def write_model(folder: Path) -> Path:
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(hidden_act="quick_gelu", architectures=None)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def one_at_a_time(folder: Path, pictures: list[Any]) -> Callable[[], Any]:
    """transformers, as scripts use it."""
    import torch
    import transformers

    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)()

    def work() -> Any:
        found = []
        for picture in pictures:
            pixels = processor(images=picture, return_tensors="pt").pixel_values
            with torch.no_grad():
                found.append(model(pixel_values=pixels).image_embeds)
        return torch.nn.functional.normalize(torch.cat(found), dim=-1)

    return work


def in_batches(folder: Path, pictures: list[Any], dtype: str, batch: int) -> Callable[[], Any]:
    import torch

    from zoetrope.evaluation.clip_encoders import ClipEncoder, EncodingOptions
    from zoetrope.models.clip import load_clip

    model = load_clip(folder, dtype=getattr(torch, dtype), device="cpu")
    # A new encoder each time, for one that has seen a frame does not look again.
    return lambda: ClipEncoder(model, EncodingOptions(batch=batch)).frames(pictures)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak_megabytes(folder: Path, clips: int) -> float:
    command = [sys.executable, "-c", PEAK_MEMORY, str(Path(__file__).parent), str(folder), str(clips)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, help="else what torch takes by itself")
    parser.add_argument("--dtypes", nargs="+", choices=AT_LEAST, default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = write_model(Path(name))
        pictures = list(frames(arguments.frames))
        theirs = one_at_a_time(folder, pictures)
        ours = {dtype: in_batches(folder, pictures, dtype, arguments.batch) for dtype in arguments.dtypes}
        seconds: dict[str, list[float]] = {dtype: [] for dtype in ours}
        peer: list[float] = []
        alike = {}
        for _ in range(arguments.rounds):
            took, expected = timed(theirs)
            peer.append(took)
            for dtype, work in ours.items():
                took, found = timed(work)
                seconds[dtype].append(took)
                alike[dtype] = float((found * expected).sum(1).min())
        print(f"Threads: {torch.get_num_threads()}")
        print(
            "| batched | times faster | lowest and highest round | ms a frame | the peer's | smallest cosine | wanted |"
        )
        print("|---|---|---|---|---|---|---|")
        for dtype, mine in seconds.items():
            faster = median(peer) / median(mine)
            ratios = [theirs / ours for theirs, ours in zip(peer, mine, strict=True)]
            each, theirs_each = (1000 * median(times) / arguments.frames for times in (mine, peer))
            print(
                f"| {dtype} | {faster:.2f} | {min(ratios):.2f} to {max(ratios):.2f} | {each:.1f} | "
                f"{theirs_each:.1f} | {alike[dtype]:.5f} | {AT_LEAST[dtype]} |",
                flush=True,
            )
        few, many = (peak_megabytes(folder, clips) for clips in (FEW, MANY))
        print(f"Peak memory: {few:.0f} MB for {FEW} clips of {FRAMES_OF_A_CLIP} frames, {many:.0f} MB for {MANY}.")


if __name__ == "__main__":
    main()
