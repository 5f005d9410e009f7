"""Whether motion_bucket_id does what it says: the higher it is, the more moves in the clip."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch

from ..clips.motion import measure as measured
from ..media.pictures import to_bytes
from ..models.svd import SVDModel, load_svd
from ..pipelines.svd import SVDOptions, image_to_video
from .clip import seconds_of
from .measuring import Measurement, MeasuringOptions, Number, OnProgress
from .phases import correlation
from .shapes import ShapesOptions, compose, render

PICTURES = 20
SPEED = 0.2  # of the shape that is drawn, in shorter sides of the picture a second
BUCKETS = (20, 60, 100, 140, 180, 220)


def measure_motion(options: MeasuringOptions, on_progress: OnProgress) -> Measurement:
    """Let the model make clips of held-out pictures of a shape, in each bucket, and measure how much moves."""
    model = load_svd(options.model or "builtin:svd", dtype=torch.float32, device=options.device)
    seeds = options.held_out(PICTURES)
    motions: list[list[float]] = []
    on_progress("Clips", 0, len(seeds) * len(BUCKETS))
    for seed in seeds:
        motions.append([])
        for bucket in BUCKETS:
            motions[-1].append(_motion(model, seed, bucket, options.steps))
            on_progress("Clips", sum(map(len, motions)), len(seeds) * len(BUCKETS))
    ranks = [rank_correlation(BUCKETS, each) for each in motions]
    means = [fmean(column) for column in zip(*motions, strict=True)]
    return Measurement(
        title="Pictures that no recipe drew: how much moves in their clips, in shares of the diagonal a second, by "
        f"motion bucket ({len(seeds)})",
        columns=("seed", *map(str, BUCKETS), "rank correlation"),
        rows=(
            *((seed, *each, rank) for seed, each, rank in zip(seeds, motions, ranks, strict=True)),
            ("mean", *means, rank_correlation(BUCKETS, means)),
        ),
        numbers=(Number(name="rank correlation, mean of the pictures", value=fmean(ranks), at_least=0.8),),
    )


def _motion(model: SVDModel, seed: int, bucket: int, steps: int) -> float:
    options = SVDOptions(motion_bucket_id=bucket, steps=steps, seed=seed)
    drawn = ShapesOptions(
        seconds=seconds_of(model.frames, options.fps_id + 1),
        frames_per_second=options.fps_id + 1,
        width=model.width,
        height=model.height,
        seed=seed,
        shapes=1,
        speed=SPEED,
        paths="straight",
    )
    clip = image_to_video(model, render(compose(drawn), drawn).images[0], options)
    return measured(to_bytes(clip), options.fps_id + 1).motion


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, of two lists of numbers: 1 where both rise together, however fast."""
    return correlation(_ranks(one), _ranks(other))


def _ranks(values: Sequence[float]) -> torch.Tensor:
    """The places of the values in order; those that are alike share theirs."""
    below = [sum(other < value for other in values) for value in values]
    alike = [sum(other == value for other in values) for value in values]
    return torch.tensor([low + (same - 1) / 2 for low, same in zip(below, alike, strict=True)])
