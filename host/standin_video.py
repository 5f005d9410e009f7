"""What ComfyUI's VIDEO objects offer to our nodes, for where ComfyUI is absent: a clip in a file, or one in memory.

Frames are decoded the way ComfyUI 0.33 decodes them, so that a workflow gives the same pixels here as there.
"""

from __future__ import annotations

import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from av.container import InputContainer
from torch import Tensor

from .opening import name_of, open_local

File = str | io.BytesIO

# The formats that are decoded to 8-bit RGB; all others go through float, which keeps what 8 bits would round off.
BYTE_FORMATS = ("yuvj420p", "yuvj422p", "yuvj444p", "rgb24", "rgba", "pal8")
COLOR_SPACES = {1: "sRGB", 13: "sRGB", 18: "HDR", 16: "HDR PQ"}  # by FFmpeg's number of the transfer characteristic
ALIGNMENT = 32  # the scaler reads past a line's end where its length is no multiple of this


@dataclass
class VideoComponents:
    """A clip in memory: (f h w c) images in 0..1, frames per second, and ComfyUI's AUDIO dict or None."""

    images: Tensor
    frame_rate: Fraction
    audio: dict[str, Any] | None = None
    alpha: Tensor | None = None  # (f h w) in 0..1, where the file has transparency


class Video(ABC):
    @abstractmethod
    def get_components(self) -> VideoComponents:
        """The clip, decoded whole into memory."""

    @abstractmethod
    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels."""

    @abstractmethod
    def get_duration(self) -> float:
        """Seconds."""

    @abstractmethod
    def get_frame_rate(self) -> Fraction:
        """Frames per second, on average."""

    @abstractmethod
    def get_bit_depth(self) -> int:
        """Bits of one color of a pixel."""

    @abstractmethod
    def get_color_space(self) -> str:
        """ "sRGB", "HDR" or "HDR PQ"."""

    @abstractmethod
    def as_trimmed(self, start_time: float = 0, duration: float = 0, strict_duration: bool = True) -> Video | None:
        """The span of `duration` seconds (0: to the end) from `start_time`; None where it is not all there."""


class VideoFromFile(Video):
    """A clip in a file, or a span of it; a negative start counts from the end."""

    def __init__(self, file: File, *, start_time: float = 0, duration: float = 0):
        self._file = file
        self._start_time = start_time
        self._duration = duration

    def get_stream_source(self) -> File:
        if isinstance(self._file, io.BytesIO):
            self._file.seek(0)
        return self._file

    def get_active_trim_window(self) -> tuple[float, float]:
        start = self._start_time
        return float(start if start >= 0 else max(self._whole_duration() + start, 0.0)), float(self._duration)

    def get_dimensions(self) -> tuple[int, int]:
        with self._opened() as container:
            stream = video_stream(container)
            return stream.width, stream.height

    def get_bit_depth(self) -> int:
        with self._opened() as container:
            return bit_depth(video_stream(container))

    def get_color_space(self) -> str:
        with self._opened() as container:
            return color_space(video_stream(container)) or "sRGB"

    def get_frame_rate(self) -> Fraction:
        with self._opened() as container:
            stream = video_stream(container)
            if stream.average_rate:
                return Fraction(stream.average_rate)
            if stream.frames and container.duration:
                return Fraction(stream.frames * av.time_base, container.duration).limit_denominator()
            return Fraction(1)

    def get_duration(self) -> float:
        whole = self._whole_duration()
        left = min(whole, -self._start_time) if self._start_time < 0 else whole - self._start_time
        return min(self._duration, left) if self._duration else left

    def get_components(self) -> VideoComponents:
        with self._opened() as container:
            return decoded(container, *self.get_active_trim_window())

    def as_trimmed(
        self, start_time: float = 0, duration: float = 0, strict_duration: bool = True
    ) -> VideoFromFile | None:
        trimmed = VideoFromFile(self._file, start_time=start_time + self._start_time, duration=duration)
        return None if strict_duration and trimmed.get_duration() < duration else trimmed

    def _opened(self) -> AbstractContextManager[InputContainer]:
        return open_local(self.get_stream_source())

    def _whole_duration(self) -> float:
        with self._opened() as container:
            if container.duration is not None:
                return container.duration / av.time_base
            stream = video_stream(container)
            frames = stream.frames or sum(1 for _ in container.decode(stream))
            if not frames or not stream.average_rate:
                raise ValueError(f"{name_of(self._file)} does not say how long it is. Convert it to MP4 first.")
            return float(frames / stream.average_rate)


class VideoFromComponents(Video):
    """A clip in memory; `bit_depth` is what it will be encoded with."""

    def __init__(self, components: VideoComponents, bit_depth: int = 8):
        self._components = components
        self._bit_depth = bit_depth

    def get_components(self) -> VideoComponents:
        return self._components

    def get_dimensions(self) -> tuple[int, int]:
        return self._components.images.shape[2], self._components.images.shape[1]

    def get_duration(self) -> float:
        return float(self._components.images.shape[0] / self._components.frame_rate)

    def get_frame_rate(self) -> Fraction:
        return self._components.frame_rate

    def get_bit_depth(self) -> int:
        return self._bit_depth

    def get_color_space(self) -> str:
        return "sRGB"

    def as_trimmed(
        self, start_time: float = 0, duration: float = 0, strict_duration: bool = True
    ) -> VideoFromFile | None:
        if self.get_duration() < start_time + duration:
            return None
        from .standin_video_saving import save_components  # it imports this module

        # ComfyUI cuts a clip in memory by encoding it first; only the same detour gives the same pixels.
        encoded = io.BytesIO()
        save_components(self, encoded)
        return VideoFromFile(encoded, start_time=start_time, duration=duration)


def video_stream(container: InputContainer) -> av.VideoStream:
    if not container.streams.video:
        name = Path(container.name).name
        raise ValueError(f"{name} has no picture, only {_other_streams(container)}. Choose a video file.")
    return container.streams.video[0]


def _other_streams(container: InputContainer) -> str:
    kinds = sorted({stream.type for stream in container.streams})
    return " and ".join(kinds) or "nothing"


def audio_stream(container: InputContainer) -> av.AudioStream | None:
    """The last audio stream that can be decoded: the others crash the decoder."""
    return next((stream for stream in reversed(container.streams.audio) if stream.codec_context is not None), None)


def bit_depth(stream: av.VideoStream) -> int:
    components = stream.format.components if stream.format else ()
    return max((component.bits for component in components), default=8)


def color_space(stream: av.VideoStream) -> str | None:
    return COLOR_SPACES.get(int(stream.color_trc))


def decoded(container: InputContainer, start_seconds: float, duration_seconds: float) -> VideoComponents:
    """The span of an open file that starts at `start_seconds`; a duration of 0 means to the end."""
    stream, sound = video_stream(container), audio_stream(container)
    base = stream.time_base or Fraction(1, av.time_base)
    start = int(start_seconds / base)
    end = int((start_seconds + duration_seconds) / base) if duration_seconds else None
    if start:
        container.seek(start, stream=stream)
    pictures = _Pictures(stream, start, end)
    waves = _Waves(sound, start_seconds, duration_seconds) if sound else None
    for packet in container.demux(*filter(None, (stream, sound))):
        if pictures.complete and (waves is None or waves.complete):
            break
        taker = pictures if packet.stream.type == "video" else waves
        if taker is not None and not taker.complete:
            taker.take(packet)
    rate = Fraction(stream.average_rate) if stream.average_rate else Fraction(1)
    images, alpha = pictures.images()
    return VideoComponents(images, rate, waves.audio() if waves else None, alpha)


class _Pictures:
    """The frames of a span, collected packet by packet."""

    def __init__(self, stream: av.VideoStream, start: int, end: int | None):
        self.complete = False
        self._stream = stream
        self._start = start
        self._end = end
        self._to_pixels: Callable[[av.VideoFrame], np.ndarray] | None = None
        self._frames: list[Tensor] = []

    def take(self, packet: av.Packet) -> None:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:  # a damaged packet: ComfyUI goes on with the next one, and so do we
            return
        for frame in frames:
            if frame.pts is not None and frame.pts < self._start:
                continue
            if self._end is not None and frame.pts is not None and frame.pts >= self._end:
                self.complete = True
                return
            self._to_pixels = self._to_pixels or pixel_reader(frame, self._stream.time_base)
            pixels = np.rot90(self._to_pixels(frame), k=round(frame.rotation // 90), axes=(0, 1))
            self._frames.append(torch.from_numpy(pixels.copy()))

    def images(self) -> tuple[Tensor, Tensor | None]:
        """The frames as (f h w 3), and the (f h w) transparency where there is one."""
        if not self._frames:
            return torch.zeros(0, 0, 0, 3), None
        pixels = torch.stack(self._frames)
        self._frames.clear()
        pixels = pixels.float() / 255.0 if pixels.dtype == torch.uint8 else pixels
        return pixels[..., :3], pixels[..., 3] if pixels.shape[-1] == 4 else None


def pixel_reader(first: av.VideoFrame, time_base: Fraction | None) -> Callable[[av.VideoFrame], np.ndarray]:
    """How to turn frames like `first` into (h w 3) RGB or (h w 4) RGBA: bytes, or floats in 0..1."""
    name = first.format.name
    transparent = name == "pal8" or any(component.is_alpha for component in first.format.components)
    if name in BYTE_FORMATS:
        target = "rgba" if transparent else "rgb24"
    else:
        target = "gbrapf32le" if transparent else "gbrpf32le"
    if name in BYTE_FORMATS or first.width % ALIGNMENT == 0:
        return lambda frame: frame.to_ndarray(format=target)
    padded = _padding(first, time_base)

    def read(frame: av.VideoFrame) -> np.ndarray:
        return padded(frame).to_ndarray(format=target)[: frame.height, : frame.width]

    return read


def _padding(first: av.VideoFrame, time_base: Fraction | None) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Widen frames to a multiple of the alignment, with the border repeated so that nothing bleeds into the picture."""
    width, height = (-(-side // ALIGNMENT) * ALIGNMENT for side in (first.width, first.height))
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=time_base or Fraction(1, av.time_base)
    )
    pad = graph.add("pad", f"{width}:{height}:0:0")
    fill = graph.add("fillborders", f"right={width - first.width}:bottom={height - first.height}:mode=smear")
    sink = graph.add("buffersink")
    for one, next_one in itertools.pairwise((source, pad, fill, sink)):
        one.link_to(next_one)
    graph.configure()

    def widen(frame: av.VideoFrame, graph: av.filter.Graph = graph) -> av.VideoFrame:
        source.push(frame)  # the graph is a default value because its parts do not keep it alive
        return cast(av.VideoFrame, sink.pull())

    return widen


class _Waves:
    """The sound of a span, collected packet by packet."""

    def __init__(self, stream: av.AudioStream, start_seconds: float, duration_seconds: float):
        self.complete = False
        self._stream = stream
        self._start = start_seconds
        self._duration = duration_seconds
        self._resampler = av.AudioResampler(format="fltp")
        self._pieces: list[np.ndarray] = []

    def take(self, packet: av.Packet) -> None:
        for frame in self._planar(packet):
            if self._duration and frame.time is not None and frame.time > self._start + self._duration:
                self.complete = True
                return
            samples = frame.to_ndarray()
            if not self._pieces:
                early = self._start - float((frame.pts or 0) * (self._stream.time_base or 0))
                skipped = max(0, int(early * self._stream.sample_rate))
                if skipped >= frame.samples:
                    continue
                samples = samples[..., skipped:]
            self._pieces.append(samples)

    def _planar(self, packet: av.Packet) -> Iterator[av.AudioFrame]:
        for frame in packet.decode():
            yield from self._resampler.resample(cast(av.AudioFrame, frame))

    def audio(self) -> dict[str, Any] | None:
        if not self._pieces:
            return None
        samples = np.concatenate(self._pieces, axis=1)
        if self._duration:
            samples = samples[..., : int(self._duration * self._stream.sample_rate)]
        return {"waveform": torch.from_numpy(samples)[None], "sample_rate": int(self._stream.sample_rate or 1)}
