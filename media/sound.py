"""Sound: the part of a file's sound that belongs to a span of its pictures.

Sound is what ComfyUI's AUDIO is: {"waveform": (b c t) float in -1..1, "sample_rate": int}.
Axes: b batch, c channels, t samples.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TypedDict

import av
import av.error
import numpy as np
import torch
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from torch import Tensor

from .errors import MediaError
from .reading import Source, name_of, open_media

# Codecs carry sound over from one packet to the next, so decoding begins this long before the first sample wanted.
LEAD_IN_SECONDS = Fraction(1, 2)


class Sound(TypedDict):
    waveform: Tensor
    sample_rate: int


def read_sound(
    source: Source, start_seconds: Fraction, end_seconds: Fraction, zero_seconds: Fraction = Fraction(0)
) -> Sound | None:
    """The sound heard between two times, to the sample; None where the file has none.

    Times count from `zero_seconds` on the file's clock: VideoFacts.start_seconds, the moment of the first frame.
    Where the file's sound starts late, pauses or ends early there is silence, so sound and pictures stay in step.
    """
    with open_media(source) as container:
        stream = _sound_stream(container)
        if stream is None:
            return None
        rate = stream.codec_context.sample_rate
        if not rate:
            raise MediaError(f"The sound of {name_of(source)} names no sample rate. Convert the file first.")
        first, stop = (round((zero_seconds + seconds) * rate) for seconds in (start_seconds, end_seconds))
        waveform = np.zeros((stream.codec_context.layout.nb_channels, stop - first), np.float32)
        for at, samples in _pieces(container, stream, Fraction(first, rate)):
            if at >= stop:
                break
            begin, end = max(at, first), min(at + samples.shape[1], stop)
            if begin < end:
                waveform[:, begin - first : end - first] = samples[:, begin - at : end - at]
        return Sound(waveform=torch.from_numpy(waveform)[None], sample_rate=rate)


def _sound_stream(container: InputContainer) -> AudioStream | None:
    # FFmpeg has no decoder for some streams, such as a telephone's spatial sound; those have no codec context.
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _pieces(
    container: InputContainer, stream: AudioStream, start_seconds: Fraction
) -> Iterator[tuple[int, np.ndarray]]:
    """(place of the first sample on the file's clock, (c t) samples) of what is decoded from a time on."""
    rate, clock = stream.codec_context.sample_rate, stream.time_base or Fraction(1, stream.codec_context.sample_rate)
    target = round((start_seconds - LEAD_IN_SECONDS) / clock)
    if target > (stream.start_time or 0):
        container.seek(target, stream=stream)
    resampler = AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate)
    at: int | None = None
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged piece is heard as silence, as in players
        for frame in decoded:
            stamped = None if frame.pts is None else round(frame.pts * Fraction(frame.time_base or clock) * rate)
            # Time stamps are rounded to the container's clock; only a larger step than that is a real gap.
            if at is None or (stamped is not None and abs(stamped - at) > clock * rate + 1):
                at = stamped or 0
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray()
                yield at, samples
                at += samples.shape[1]
