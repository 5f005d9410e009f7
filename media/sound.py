"""Sound: the part of a file's sound that belongs to a span of its pictures.

Sound is what ComfyUI's AUDIO is: {"waveform": (b c t) float in -1..1, "sample_rate": int}.
Axes: b batch, c channels, t samples.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, TypedDict

import av
import av.error
import numpy as np
import psutil
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


class SoundOnDemand(Mapping[str, Any]):
    """A sound that is decoded when somebody first asks for it: that of a long film is large, and often not wanted."""

    def __init__(self, read: Callable[[], Mapping[str, Any] | None]) -> None:
        self._read = cache(read)

    def __getitem__(self, key: str) -> Any:
        if key not in Sound.__annotations__:
            raise KeyError(key)
        return (self._read() or {})[key]

    def __iter__(self) -> Iterator[str]:
        return iter(Sound.__annotations__)

    def __len__(self) -> int:
        return len(Sound.__annotations__)


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
        waveform = _room_for_sound(stream.codec_context.layout.nb_channels, stop - first, rate)
        for at, samples in _pieces(container, stream, Fraction(first, rate)):
            if at >= stop:
                break
            begin, end = max(at, first), min(at + samples.shape[1], stop)
            if begin < end:
                waveform[:, begin - first : end - first] = samples[:, begin - at : end - at]
        return Sound(waveform=torch.from_numpy(waveform)[None], sample_rate=rate)


def _room_for_sound(channels: int, samples: int, rate: int) -> np.ndarray:
    needed, free = channels * samples * 4, psutil.virtual_memory().available
    if needed > free:
        raise MediaError(
            f"{samples / rate:.0f} s of sound take {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are "
            "free. Take a shorter range of the video."
        )
    return np.zeros((channels, samples), np.float32)


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
    layout = stream.codec_context.layout.name
    resampler, heard_as = AudioResampler(format="fltp", layout=layout, rate=rate), None
    at: int | None = None
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            continue  # a damaged piece is heard as silence, as in players
        for frame in decoded:
            stamped = None if frame.pts is None else round(frame.pts * Fraction(frame.time_base or clock) * rate)
            # Time stamps are rounded to the container's clock; only a larger step than that is a real gap.
            if at is None or (stamped is not None and abs(stamped - at) > clock * rate + 1):
                at = stamped or 0
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if heard_as not in (None, kind):  # broadcasts change from mono to stereo and back
                resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
            heard_as = kind
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray()
                yield at, samples
                at += samples.shape[1]
