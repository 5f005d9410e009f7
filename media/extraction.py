"""Frames taken out of a clip, with all that goes with them: their rate, their sound, their numbers.

Axes: f frames, h height, w width, c channels; b batch and t samples of sound.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from .errors import MediaError
from .memory import room_for_clip
from .reading import FEWER_FRAMES, Source, load_frames, name_of, probe
from .selection import WHOLE_CLIP, Extent, Rule, Timeline, select
from .sound import Sound, SoundOnDemand, read_sound

Watch = Callable[[int, int, object], None]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Frames of a clip, the rate at which they keep its time, the sound of the span they stand for, their numbers."""

    images: Tensor  # (f h w c) in 0..1
    frames_per_second: Fraction
    sound: Mapping[str, Any] | None  # ComfyUI's AUDIO; of a file, it is decoded when it is first asked for
    numbers: list[int]


def extract_from_file(
    file: Source,
    rule: Rule,
    extent: Extent = WHOLE_CLIP,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float = 0.0,
    on_frame: Watch = lambda done, total, pixels: None,
) -> Extraction:
    """Decode the chosen frames of a file and nothing else.

    Where a start and a duration are given (0 is to the end), the clip is that span of the file, on the file's clock.
    """
    facts = probe(file)
    span = _span(facts.timeline, Fraction(start_seconds) - facts.start_seconds, Fraction(duration_seconds))
    if not span:
        raise MediaError(
            f"{name_of(file)} has no frame in the {duration_seconds:g} s from {start_seconds:g} s on: it is "
            f"{facts.seconds:.3f} s long. Trim it to a span that holds at least one frame."
        )
    selection = select(facts.timeline.part(span), rule, extent)
    total = len(selection.numbers)
    images = load_frames(
        file,
        [span.start + number for number in selection.numbers],
        facts,
        lambda done, pixels: on_frame(done, total, pixels),
    )
    cut = facts.timeline.start_of(span.start)
    heard = (cut + selection.start_seconds, cut + selection.end_seconds, facts.start_seconds)
    return Extraction(
        images=images,
        frames_per_second=selection.frames_per_second,
        sound=SoundOnDemand(lambda: read_sound(file, *heard)) if facts.has_sound else None,
        numbers=selection.numbers,
    )


def extract_from_clip(
    images: Tensor,
    frames_per_second: Fraction,
    sound: Mapping[str, Any] | None,
    rule: Rule,
    extent: Extent = WHOLE_CLIP,
    *,
    on_frame: Watch = lambda done, total, pixels: None,
) -> Extraction:
    """Choose among the frames of a clip that is in memory."""
    selection = select(Timeline.steady(len(images), frames_per_second), rule, extent)
    total = len(selection.numbers)
    chosen = room_for_clip(total, *images.shape[1:], remedy=FEWER_FRAMES, device=images.device)
    for place, number in enumerate(selection.numbers):
        chosen[place] = images[number]
        on_frame(place + 1, total, chosen[place])
    return Extraction(
        images=chosen,
        frames_per_second=selection.frames_per_second,
        sound=sound and _cut(sound, selection.start_seconds, selection.end_seconds),
        numbers=selection.numbers,
    )


def _span(timeline: Timeline, start: Fraction, duration: Fraction) -> range:
    stop = timeline.first_from(start + duration) if duration else timeline.frames
    return range(timeline.first_from(start), stop)


def _cut(sound: Mapping[str, Any], start: Fraction, end: Fraction) -> Sound:
    """A span of a sound, with silence where it has ended."""
    rate, waveform = sound["sample_rate"], sound["waveform"]
    first, stop = round(start * rate), round(end * rate)
    heard = waveform[..., first:stop]
    return Sound(waveform=torch.nn.functional.pad(heard, (0, stop - first - heard.shape[-1])), sample_rate=rate)
