"""Whether the LoRA of the moon does what it is for: without it the model shows no phase, with it the moon wanes."""

from __future__ import annotations

from statistics import fmean

import torch

from ..models.lora import load_lora
from ..models.svd import SVDModel, load_svd
from ..pipelines.svd import SVDOptions
from .measuring import Measurement, MeasuringOptions, Number, OnProgress
from .phases import Phases, continued, correlation, draw_moon, phases_in

MOONS = 100
COLUMNS = ("seed", "error", "correlation", "PSNR", "of a still", "error without", "PSNR without")


def measure_phases(options: MeasuringOptions, on_progress: OnProgress) -> Measurement:
    """Let the model make clips of held-out full moons, without the LoRA and with it, and measure what is lit."""
    without = load_svd(options.model or "builtin:svd", dtype=torch.float32, device=options.device)
    with_it = load_lora(without, options.lora or "builtin:svd-moon-lora")
    seeds = options.held_out(MOONS)
    pairs = []
    on_progress("Moons", 0, len(seeds))
    for done, seed in enumerate(seeds, 1):
        pairs.append([_phases(model, seed, options.steps) for model in (without, with_it)])
        on_progress("Moons", done, len(seeds))
    rows = tuple(
        (seed, after.error, after.correlation, after.psnr, after.still_psnr, before.error, before.psnr)
        for seed, (before, after) in zip(seeds, pairs, strict=True)
    )
    return Measurement(
        title=f"Moons that no recipe drew, from full to new: lit fraction and picture against the truth ({len(seeds)})",
        columns=COLUMNS,
        rows=rows,
        numbers=_numbers([before for before, _ in pairs], [after for _, after in pairs]),
    )


def _phases(model: SVDModel, seed: int, steps: int) -> Phases:
    moon = draw_moon(seed, model)
    # The noise is another for each moon, or all clips would share its luck.
    return phases_in(continued(model, moon, SVDOptions(steps=steps, seed=seed)), moon)


def _numbers(before: list[Phases], after: list[Phases]) -> tuple[Number, ...]:
    shown, true = (torch.cat([getattr(each, name) for each in after]) for name in ("shown", "true"))
    gain = fmean(each.psnr - each.still_psnr for each in after)
    return (
        Number(name="median error of the lit fraction", value=_median_error(after), at_most=0.08),
        Number(name="its correlation with the truth", value=correlation(shown, true), at_least=0.95),
        Number(name="PSNR above that of a still picture", value=gain, unit="dB", at_least=8),
        Number(name="PSNR", value=fmean(each.psnr for each in after), unit="dB"),
        Number(name="PSNR of a still picture", value=fmean(each.still_psnr for each in after), unit="dB"),
        Number(name="median error without the LoRA", value=_median_error(before), at_least=0.25),
        Number(name="PSNR without the LoRA", value=fmean(each.psnr for each in before), unit="dB"),
    )


def _median_error(phases: list[Phases]) -> float:
    """Over all frames of all clips."""
    return torch.cat([each.errors for each in phases]).median().item()
