"""Ticks of a clock, to hear whether sound and picture stay together."""

import math
from typing import Any

import torch

TICK_SECONDS = 0.05
TICK_HERTZ = 1000.0
TICK_FADE_SECONDS = 0.008  # after which a tick is down to a third
LOUDEST = 0.5


def ticks(seconds: float, sample_rate: int = 44100) -> dict[str, Any]:
    """ComfyUI's AUDIO, mono: silence, and a click whose first and loudest sample is that of second 0, 1, 2 ..."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds is {seconds}. Sound needs a length above 0.")
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}. It must be at least 1 sample a second; 44100 is usual.")
    samples = round(seconds * sample_rate)
    time = torch.arange(max(1, round(TICK_SECONDS * sample_rate)), dtype=torch.float64) / sample_rate
    # A cosine, because it starts at its peak: the tick's first sample is where the second begins.
    tick = LOUDEST * torch.cos(2 * math.pi * TICK_HERTZ * time) * torch.exp(-time / TICK_FADE_SECONDS)
    waveform = torch.zeros(1, 1, samples)
    for start in range(0, samples, sample_rate):
        heard = min(len(tick), samples - start)
        waveform[0, 0, start : start + heard] = tick[:heard]
    return {"waveform": waveform, "sample_rate": sample_rate}
