"""How fast and how lean Zoetrope runs SVD, against diffusers' StableVideoDiffusionPipeline and ComfyUI's own UNet.

    python benchmarks/svd.py --size fifth
    python benchmarks/svd.py --size full --device cuda --dtype float16 --frames 25 --peak-tflops 790

All run the same random weights, steps, size and precision in one process and take turns in each round, so that a busy
machine is busy for all of them. What counts are the ratios of the medians; the milliseconds are the machine's. On a CPU
they take one thread. ComfyUI takes part where COMFYUI_PATH names a checkout whose packages are installed here too.

With random weights an approximation's cost and distance can be measured, but not whether its clips look good.

Axes: b batch, f frames, c channels, h height, w width.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from diffusers.models.autoencoders.vae import DecoderTiny
from PIL import Image
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from zoetrope.host.weights import stationary
from zoetrope.models.lean_unet import LeanUNet
from zoetrope.models.lean_vae import lean_decode
from zoetrope.models.svd import SVDModel
from zoetrope.models.svd_saving import tensors_of
from zoetrope.models.svd_unet import VideoUNet
from zoetrope.pipelines.svd import SVDOptions, image_to_video

MOTION, FPS_ID, AUGMENTATION = 127, 6, 0.02
LEAST_GUIDANCE, MOST_GUIDANCE = 1.0, 2.5


@dataclass(frozen=True)
class Size:
    """Widths of the networks, and the clip that they make where nothing else is asked for."""

    unet: tuple[int, ...]
    heads: tuple[int, ...]
    context: int
    vae: tuple[int, ...]
    clip: dict[str, int]  # of the image encoder
    frames: int
    height: int
    width: int
    steps: int


TINY_CLIP = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
REAL_CLIP = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}
SIZES = {
    "tiny": Size((32, 64), (2, 4), 64, (32, 32, 64, 64), TINY_CLIP, 8, 128, 128, 10),
    "fifth": Size((64, 128, 256, 256), (1, 2, 4, 4), 1024, (32, 64, 128, 128), TINY_CLIP, 8, 192, 320, 4),
    "full": Size((320, 640, 1280, 1280), (5, 10, 20, 20), 1024, (128, 256, 512, 512), REAL_CLIP, 14, 576, 1024, 25),
}


@dataclass(frozen=True)
class Bench:
    """The networks, and the inputs of one guided evaluation: row 0 knows nothing of the picture, row 1 does."""

    model: SVDModel
    stock: UNetSpatioTemporalConditionModel  # diffusers' own class around the same weights
    clip: Tensor  # (2 f 8 h w)
    noise_level: Tensor  # (1)
    context: Tensor  # (2 1 d)
    numbers: Tensor  # (2 3) fps, motion, augmentation
    vector: Tensor  # (2 f c) those embedded
    latents: Tensor  # (f 4 h w) to be decoded
    picture: Image.Image
    options: SVDOptions

    def diffusers_unet(self, row: slice = slice(None)) -> Tensor:
        return self.stock(self.clip[row], self.noise_level[0], self.context[row], self.numbers[row], return_dict=False)[
            0
        ]

    def diffusers_unet_one_after_another(self) -> Tensor:
        return torch.cat([self.diffusers_unet(slice(row, row + 1)) for row in range(2)])

    def lean_unet(self, **options: int) -> Callable[[], Tensor]:
        return partial(
            LeanUNet(self.model.unet.module, self.context, self.vector, **options), self.clip, self.noise_level
        )

    def diffusers_decode(self) -> Tensor:
        return self.model.vae.module.decode(self.latents, num_frames=len(self.latents)).sample

    def lean_decode(self) -> Tensor:
        return lean_decode(self.model.vae.module, self.latents)


def build(size: Size, args: argparse.Namespace) -> Bench:
    torch.manual_seed(0)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    frames, height, width = args.frames or size.frames, args.height or size.height, args.width or size.width
    with device:
        networks = (new_unet(size, frames), *new_ends(size))
    for network in networks:
        network.to(dtype).eval().requires_grad_(False)
    unet, encoder, vae = networks
    stock = stock_around(unet)
    numbers = torch.tensor([[FPS_ID, MOTION, AUGMENTATION]], device=device).expand(2, -1)
    latents = torch.randn(2, frames, 8, height // 8, width // 8, device=device, dtype=dtype)
    return Bench(
        model=SVDModel(
            family="svd", version="svd", decoder="temporal", frames=frames, width=width, height=height,
            name="random", dtype=dtype, unet=stationary(unet), image_encoder=stationary(encoder), vae=stationary(vae),
        ),
        stock=stock,
        clip=latents,
        noise_level=torch.tensor([0.5], device=device),
        context=torch.randn(2, 1, size.context).to(latents) * torch.tensor([0, 1]).to(latents)[:, None, None],
        numbers=numbers,
        vector=stock.add_time_proj(numbers.flatten()).reshape(2, 1, -1).expand(-1, frames, -1).to(dtype),
        latents=latents[0, :, :4],
        picture=Image.fromarray((torch.rand(height, width, 3) * 255).to(torch.uint8).numpy()),
        options=SVDOptions(
            frames=frames, steps=args.steps or size.steps, width=width, height=height, fps_id=FPS_ID, decoding_t=frames,
            motion_bucket_id=MOTION, cond_aug=AUGMENTATION, min_guidance=LEAST_GUIDANCE, max_guidance=MOST_GUIDANCE,
        ),
    )  # fmt: skip


def new_unet(size: Size, frames: int) -> VideoUNet:
    levels = len(size.unet)
    return VideoUNet(
        block_out_channels=size.unet,
        num_attention_heads=size.heads,
        cross_attention_dim=size.context,
        projection_class_embeddings_input_dim=3 * 256,
        down_block_types=("CrossAttnDownBlockSpatioTemporal",) * (levels - 1) + ("DownBlockSpatioTemporal",),
        up_block_types=("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * (levels - 1),
        layers_per_block=(2,) * levels,
        num_frames=frames,
    )


def new_ends(size: Size) -> tuple[CLIPVisionModelWithProjection, AutoencoderKLTemporalDecoder]:
    down = ("DownEncoderBlock2D",) * len(size.vae)
    config = CLIPVisionConfig(**size.clip, image_size=224, patch_size=14, projection_dim=size.context)
    return (
        CLIPVisionModelWithProjection(config),
        AutoencoderKLTemporalDecoder(block_out_channels=size.vae, down_block_types=down, layers_per_block=2),
    )


def stock_around(unet: VideoUNet) -> UNetSpatioTemporalConditionModel:
    """diffusers' own class around the same weights, with the reference's GroupNorms, for an equal result."""
    with torch.device("meta"):
        stock = UNetSpatioTemporalConditionModel.from_config(unet.config)
    stock.load_state_dict(unet.state_dict(), assign=True)
    for own, other in zip(unet.modules(), stock.modules(), strict=True):
        if isinstance(own, torch.nn.GroupNorm):
            other.eps = own.eps
    return stock.eval().requires_grad_(False)


# What is compared


Job = Callable[[], Any]


def diffusers_clip(bench: Bench) -> Job:
    """The whole pipeline, from the picture to the frames (f h w c)."""
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        interpolation_type="linear", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
        timestep_type="continuous", timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    model, options = bench.model, bench.options
    vae, encoder = model.vae.module, model.image_encoder.module
    pipeline = StableVideoDiffusionPipeline(vae, encoder, bench.stock, scheduler, CLIPImageProcessor())
    pipeline.set_progress_bar_config(disable=True)
    return lambda: pipeline(
        bench.picture, height=options.height, width=options.width, num_frames=options.frames,
        num_inference_steps=options.steps, min_guidance_scale=LEAST_GUIDANCE, max_guidance_scale=MOST_GUIDANCE,
        fps=FPS_ID + 1, motion_bucket_id=MOTION, noise_aug_strength=AUGMENTATION, decode_chunk_size=options.decoding_t,
        generator=torch.Generator().manual_seed(options.seed), output_type="pt",
    ).frames[0].movedim(1, -1)  # fmt: skip


def our_clip(bench: Bench, **changed: Any) -> Job:
    picture = torch.from_numpy(np.array(bench.picture)).float() / 255
    return partial(image_to_video, bench.model, picture, dataclasses.replace(bench.options, **changed))


def comfyui_unet(bench: Bench, heads_width: int) -> Job:
    """ComfyUI's UNet with the same weights, in one batch of both conditions as ComfyUI does it."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args as comfyui_args

    comfyui_args.cpu = bench.clip.device.type == "cpu"
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.model_detection import detect_unet_config

    prefix, dtype = "model.diffusion_model.", bench.model.dtype
    written = tensors_of(bench.model, dtype)
    weights = {key.removeprefix(prefix): value.tensor() for key, value in written.items() if key.startswith(prefix)}
    config = detect_unet_config(weights, "")
    unet = UNetModel(**config, num_heads=-1, num_head_channels=heads_width, dtype=dtype).eval().requires_grad_(False)
    unet.load_state_dict(weights)
    clip, frames = bench.clip.flatten(0, 1), bench.clip.shape[1]
    levels, context = bench.noise_level.expand(len(clip)), bench.context.repeat_interleave(frames, 0)
    vector = bench.vector.flatten(0, 1)
    return lambda: unet(clip, levels, context, vector, num_video_frames=frames).unflatten(0, (2, frames))


# How it is measured


def timed(job: Job, device: torch.device) -> float:
    start = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def medians(jobs: dict[str, Job], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds of each job, which take turns, after one round that does not count."""
    readings: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            seconds = timed(job, device)
            if number:
                readings[name].append(seconds)
    return {name: statistics.median(each) for name, each in readings.items()}


def peak_bytes(job: Job, device: torch.device) -> int:
    """The most memory that was taken at once, beside what was taken before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        job()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        job()
    # What the allocator was asked for and given back, one after another; `events()` hides what is inside an operation.
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def distance(one: Tensor, other: Tensor) -> float:
    """Relative to the other's size."""
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


def print_times(title: str, jobs: dict[str, Job], args: argparse.Namespace, flops: int = 0) -> None:
    """A table of the jobs, compared with the first, which is the peer; and their results with its."""
    device = torch.device(args.device)
    expected = next(iter(jobs.values()))()
    apart = {name: distance(job(), expected) for name, job in jobs.items()}
    seconds = medians(jobs, args.rounds, device)
    first = next(iter(seconds.values()))
    print(f"\n{title}, {args.rounds} rounds")
    for name, each in seconds.items():
        share = f"  {flops / each / args.peak_tflops / 1e12:4.0%} of the peak" if flops and args.peak_tflops else ""
        print(f"  {name:44} {each * 1e3:9.0f} ms  {first / each:5.2f}x  apart {apart[name]:.1e}{share}", flush=True)


def print_peaks(title: str, jobs: dict[str, Job], device: torch.device) -> None:
    peaks = {name: peak_bytes(job, device) for name, job in jobs.items()}
    first = next(iter(peaks.values()))
    print(f"\n{title}: peak memory beside the weights")
    for name, each in peaks.items():
        print(f"  {name:44} {each / 2**20:9.0f} MiB {each / first:5.2f}x", flush=True)


def print_rounding(bench: Bench) -> None:
    """How far each result is from that in double precision: the distance of the two is that of their rounding."""
    exact = dataclasses.replace(
        bench,
        stock=copy.deepcopy(bench.stock).double(),
        **{name: getattr(bench, name).double() for name in ("clip", "context", "latents")},
    )
    print("\nDistance from the result in double precision")
    truth = exact.diffusers_unet()
    plain, lean = distance(bench.diffusers_unet(), truth), distance(bench.lean_unet()(), truth)
    print(f"  UNet: diffusers {plain:.1e}, lean {lean:.1e}")
    vae = copy.deepcopy(bench.model.vae.module).double()
    truth = vae.decode(exact.latents, num_frames=len(exact.latents)).sample
    plain, lean = distance(bench.diffusers_decode(), truth), distance(bench.lean_decode(), truth)
    print(f"  decoder: diffusers {plain:.1e}, lean {lean:.1e}")


# The parts


def unet_jobs(bench: Bench, size: Size) -> dict[str, Job]:
    jobs = {
        "diffusers, both in one batch": bench.diffusers_unet,
        "diffusers, one after another": bench.diffusers_unet_one_after_another,
        "lean": bench.lean_unet(),
    }
    if os.environ.get("COMFYUI_PATH"):
        jobs["ComfyUI, both in one batch"] = comfyui_unet(bench, size.unet[0] // size.heads[0])
    return jobs


def measure_unet(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    with FlopCounterMode(display=False) as counter:
        bench.diffusers_unet()
    print_times("One guided evaluation of the UNet", unet_jobs(bench, size), args, counter.get_total_flops())


def measure_decode(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    with FlopCounterMode(display=False) as counter:
        bench.diffusers_decode()
    jobs: dict[str, Job] = {"diffusers": bench.diffusers_decode, "lean": bench.lean_decode}
    print_times("Decoding the clip", jobs, args, counter.get_total_flops())


def measure_clip(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    jobs = {
        "StableVideoDiffusionPipeline": diffusers_clip(bench),
        "image_to_video": our_clip(bench),
    }
    print_times(f"The whole clip in {bench.options.steps} steps", jobs, args)


def measure_memory(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    device = torch.device(args.device)
    print_peaks("One guided evaluation of the UNet", unet_jobs(bench, size), device)
    print_peaks("Decoding the clip", {"diffusers": bench.diffusers_decode, "lean": bench.lean_decode}, device)


def measure_rounding(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    print_rounding(bench)


def measure_approximate(bench: Bench, size: Size, args: argparse.Namespace) -> None:
    changes: dict[str, dict[str, Any]] = {"exact (lean)": {}}
    for branch in (0, 2):
        for interval in (2, 3, 5):
            changes[f"deep features of every {interval}th step, branch {branch}"] = {
                "cache_interval": interval, "cache_branch": branch,
            }  # fmt: skip
    changes["guidance in the first 60% of the steps"] = {"guidance_end": 0.6}
    changes["both, interval 3, branch 2"] = {"guidance_end": 0.6, "cache_interval": 3, "cache_branch": 2}
    jobs = {name: our_clip(bench, **change) for name, change in changes.items()}
    if bench.model.dtype == torch.float32:
        halved = stationary(copy.deepcopy(bench.model.unet.module).to(torch.bfloat16))
        model = dataclasses.replace(bench.model, unet=halved, dtype=torch.bfloat16)
        jobs["the UNet in bfloat16"] = our_clip(dataclasses.replace(bench, model=model))
    print_times(f"Approximations, the whole clip in {bench.options.steps} steps", jobs, args)
    measure_tiny_decoder(args)


def measure_tiny_decoder(args: argparse.Namespace) -> None:
    """TAESD against a VAE of the real width. The weights of both are random, so that only the times say something."""
    _, vae = new_ends(dataclasses.replace(SIZES["full"], clip=TINY_CLIP))
    tiny = DecoderTiny(4, 3, (3, 3, 3, 1), (64,) * 4, 2, "relu", "nearest")
    latents = torch.randn(4, 4, 16, 16, device=args.device, dtype=getattr(torch, args.dtype))
    vae, tiny = (module.eval().to(latents) for module in (vae, tiny))
    jobs: dict[str, Job] = {"exact (lean)": partial(lean_decode, vae, latents), "TAESD": partial(tiny, latents)}
    print_times("Decoding 4 frames of 128x128 in the real width", jobs, args)


PARTS = {
    "unet": measure_unet,
    "decode": measure_decode,
    "clip": measure_clip,
    "memory": measure_memory,
    "rounding": measure_rounding,
    "approximate": measure_approximate,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default but the last two")
    parser.add_argument("--size", choices=SIZES, default="tiny", help="tiny, a fifth of the real width, or that")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    for name in ("frames", "height", "width", "steps"):
        parser.add_argument(f"--{name}", type=int, default=0, help="by default the size's own")
    parser.add_argument("--peak-tflops", type=float, default=0, help="of the chip, to show the share that is used")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    args.parts = args.parts or [*PARTS][:4]
    return args


@torch.inference_mode()
def main() -> None:
    args = arguments()
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    if args.device == "cpu":
        torch.set_num_threads(1)
    size = SIZES[args.size]
    bench = build(size, args)
    frames, _, height, width = bench.latents.shape
    print(f"{args.size} width, {frames} frames of {8 * height}x{8 * width}, {args.dtype} on {args.device}")
    for part in args.parts:
        PARTS[part](bench, size, args)


if __name__ == "__main__":
    main()
