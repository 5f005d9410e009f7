"""Fine-tuning SVD: steps per second and memory, against encoding the footage in every step as train_svd_lora.py does.

    python benchmarks/train_svd.py                               # a model of a fifth of SVD's width, 8x128x192
    python benchmarks/train_svd.py --size full --device cuda     # SVD's own shapes, 14x320x512 in bfloat16

Weights are random. Ways take turns, and the fastest of some rounds of each counts, for a busy machine only makes them
slower. They do the same arithmetic but for what the table tells: the last column is the loss of one sample, which is
equal up to rounding. "kept" is what autograd keeps between the way there and the way back; "peak" the most that a
step takes beside the weights.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from zoetrope.clips.footage import Clip, Footage, write_manifest
from zoetrope.host.weights import stationary
from zoetrope.media.pictures import to_bytes
from zoetrope.models.svd import SVDModel
from zoetrope.toyworld.shapes import ShapesOptions, compose, render
from zoetrope.trainers.caching import TensorCache
from zoetrope.trainers.method import Sample
from zoetrope.trainers.randomness import Chance
from zoetrope.trainers.svd import SVDMethod, SVDTraining
from zoetrope.trainers.svd_checkpointing import KeptBytes
from zoetrope.trainers.svd_footage import CachedFootage, choose_clips, training_clips
from zoetrope.trainers.svd_method import Facts

sys.path.append(str(Path(__file__).parents[1] / "tests" / "pipelines"))
from peak import peak_bytes

MIB = 2**20


@dataclass(frozen=True)
class Size:
    """Of a model and of what it is trained on."""

    unet: tuple[int, ...]
    head: int
    vae: tuple[int, ...]
    clip: tuple[int, int, int]  # width, layers, heads
    token: int
    frames: int
    width: int
    height: int


SIZES = {
    "tiny": Size((32, 64, 64, 64), 16, (32, 32, 32, 32), (32, 2, 2), 32, 3, 64, 64),  # to see that it runs
    "small": Size((64, 128, 256, 256), 16, (32, 64, 128, 128), (256, 8, 4), 256, 8, 192, 128),
    "full": Size((320, 640, 1280, 1280), 64, (128, 256, 512, 512), (1280, 32, 16), 1024, 14, 512, 320),
}


class NothingKept:
    """In the place of a cache: what is asked for is computed each time."""

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        return make()


@dataclass
class Way:
    """A way to do a step, and what was measured of it."""

    name: str
    method: SVDMethod
    diffusers_checkpointing: bool = False
    seconds: float = float("inf")
    kept_bytes: int = 0
    peak_bytes: int = 0
    loss: float = 0.0

    def step(self, number: int) -> float:
        """Forward and backward of one sample, in the precision of training."""
        unet, device = self.method.model.unet.module, self.method.model.unet.device
        if self.diffusers_checkpointing:
            unet.enable_gradient_checkpointing()
            unet.train()  # or else diffusers keeps everything; nothing in it depends on the mode otherwise
        batch = self.method.batch([Sample(0, Chance(0, number))])
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = self.method.loss(batch)
        loss.backward()
        for weight in self.method.trained().values():
            weight.grad = None
        return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--preset", default="motion and look", help="what is trained; as in train_svd_lora.py by default"
    )
    arguments = parser.parse_args()
    size, device = SIZES[arguments.size], torch.device(arguments.device)
    torch.manual_seed(0)
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(size, device)
        ways = make_ways(model, draw_footage(Path(folder) / "footage", size), Path(folder), size, arguments.preset)
        for way in ways:
            way.step(0)  # fills the cache, and warms up
        for number in range(arguments.rounds):
            for way in ways:
                measure(way, number, device)
        for way in ways:
            weigh(way, device)
        show(ways)


def random_model(size: Size, device: torch.device) -> SVDModel:
    from transformers import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    from zoetrope.models.svd_parts import temporal_vae
    from zoetrope.models.svd_unet import VideoUNet

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    width, layers, heads = size.clip
    with device:
        unet = VideoUNet(
            block_out_channels=size.unet,
            num_attention_heads=tuple(channels // size.head for channels in size.unet),
            cross_attention_dim=size.token,
            projection_class_embeddings_input_dim=768,
            in_channels=8,
            out_channels=4,
        ).to(dtype)
        vae = temporal_vae({"block_out_channels": size.vae, "down_block_types": ("DownEncoderBlock2D",) * 4,
                            "layers_per_block": 2, "latent_channels": 4})  # fmt: skip
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                patch_size=14,
                image_size=224,
                projection_dim=size.token,
                hidden_act="gelu",
            )
        ).to(dtype)
    for module in (unet, vae, encoder):
        module.eval().requires_grad_(False).to(device)
    parts = {"unet": stationary(unet), "image_encoder": stationary(encoder), "vae": stationary(vae)}
    return SVDModel("svd", "svd", "temporal", size.frames, "random", dtype=dtype, **parts)


def draw_footage(root: Path, size: Size) -> Path:
    clips = []
    for name, split in (("trained", "train"), ("held_out", "validation")):
        options = ShapesOptions(width=size.width, height=size.height, seconds=size.frames / 8, frames_per_second=8)
        frames = tuple(f"frame_{index}.png" for index in range(size.frames))
        (root / name).mkdir(parents=True)
        for frame, pixels in zip(frames, to_bytes(render(compose(options), options).images), strict=True):
            Image.fromarray(pixels).save(root / name / frame)
        clips.append(Clip(name=name, frames=frames, frames_per_second=8.0, split=split, motion=0.1))
    write_manifest(Footage(root, tuple(clips)))
    return root


def make_ways(model: SVDModel, footage: Path, folder: Path, size: Size, preset: str) -> list[Way]:
    kept = TensorCache(folder / "cache", print)

    def method(cache: Any, **changes: Any) -> SVDMethod:
        settings = SVDTraining(
            model=folder, footage=footage, run=folder / "run", frames=size.frames, width=size.width,
            height=size.height, dropout=0.0, rank=16, **{"preset": preset, **changes},
        )  # fmt: skip
        cached = CachedFootage(model, settings, cache)
        clips = training_clips(choose_clips(settings, size.frames), cached, settings, size.frames)
        return SVDMethod(model, settings, cached, *clips, Facts("random", model.dtype, ""))

    return [
        Way("encoding in every step, all weights", method(NothingKept(), preset="all weights", checkpointing=False)),
        Way("encoding in every step, LoRA", method(NothingKept(), checkpointing=False)),
        Way("cached, LoRA", method(kept, checkpointing=False)),
        Way("cached, LoRA, diffusers' checkpointing", method(kept, checkpointing=False), diffusers_checkpointing=True),
        Way("cached, LoRA, whole layers (the default)", method(kept, checkpointing=True)),
    ]


def measure(way: Way, number: int, device: torch.device) -> None:
    # On one thread of a processor its own time counts, which nobody else on the machine changes much.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    way.step(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    way.seconds = min(way.seconds, clock() - began)


def weigh(way: Way, device: torch.device) -> None:
    """One step more, for its memory: counting takes time."""
    unet = way.method.model.unet.module
    way.loss = way.step(0)
    way.peak_bytes = _peak_on_gpu(way, device) if device.type == "cuda" else peak_bytes(lambda: way.step(0))
    batch = way.method.batch([Sample(0, Chance(0, 0))])
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"), KeptBytes(unet) as kept:
        way.method.loss(batch)
    way.kept_bytes = kept.bytes


def _peak_on_gpu(way: Way, device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    way.step(0)
    return torch.cuda.max_memory_allocated(device) - before


def show(ways: list[Way]) -> None:
    first = ways[0]
    print("| step | seconds | times as fast | kept, MiB | peak, MiB | loss |")
    print("|---|---|---|---|---|---|")
    for way in ways:
        print(
            f"| {way.name} | {way.seconds:.2f} | {first.seconds / way.seconds:.2f} | {way.kept_bytes / MIB:.0f} | "
            f"{way.peak_bytes / MIB:.0f} | {way.loss:.6f} |"
        )
    plain, cached, theirs, ours = ways[1:]
    print(f"\ncached / encoding in every step, steps per second: {plain.seconds / cached.seconds:.2f}")
    print(
        f"whole layers / diffusers' checkpointing: {ours.kept_bytes / theirs.kept_bytes:.2f} times the memory kept, "
        f"{ours.seconds / theirs.seconds:.2f} times the seconds"
    )


if __name__ == "__main__":
    main()
