"""Encoding for the stand-in's VIDEO objects, with ComfyUI 0.33's containers, encoders, color tags and metadata."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from torch import Tensor

from . import standin_video
from .opening import open_local

ENCODERS = {"h264": "h264", "av1": "libsvtav1"}
MUXERS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
WEBM_CODECS = {"video": {"av1", "vp8", "vp9"}, "audio": {"opus", "vorbis"}, "subtitle": {"webvtt"}}
WEBM_SOUND_RATE = 48000  # Opus knows no other of the usual rates
TRANSFERS = {"sRGB": ColorTrc.IEC61966_2_1, "HDR": ColorTrc.ARIB_STD_B67, "HDR PQ": ColorTrc.SMPTE2084}
HDR = ("HDR", "HDR PQ")
BT709_MATRIX, BT2020_MATRIX = 1, 9


@dataclass(frozen=True)
class Encoding:
    """How to write a video; None leaves a choice to the encoder, or to the video."""

    container: str = "auto"  # or mp4, mkv, webm
    codec: str = "auto"  # or h264, av1
    crf: float | None = None
    color_space: str | None = None  # or sRGB, HDR, HDR PQ
    metadata: dict[str, Any] = field(default_factory=dict)

    def for_target(self, target: Path | BytesIO) -> Encoding:
        """The same with "auto" resolved: the container by the target's suffix, the codec by the container."""
        container, codec = self.container, self.codec
        if container == "auto":
            suffix = target.suffix.lower() if isinstance(target, Path) else ""
            container = {".mkv": "mkv", ".webm": "webm"}.get(suffix, "mp4")
        if codec == "auto":
            codec = "av1" if container == "webm" else "h264"
        if container == "webm" and codec != "av1":
            raise ValueError(f"A WebM file cannot hold {codec}. Choose the codec av1, or the format mp4 or mkv.")
        return replace(self, container=container, codec=codec)

    def encoder_options(self) -> dict[str, str]:
        if self.crf is None:
            return {}
        return {"svtav1-params": "lossless=1"} if self.codec == "av1" and self.crf == 0 else {"crf": str(self.crf)}


def save(video: standin_video.Video, path: Path, encoding: Encoding) -> None:
    """Write a video as ComfyUI's Save Video does: a file's streams are copied where nothing asks for more."""
    if isinstance(video, standin_video.VideoFromFile):
        _save_file(video, path, encoding)
    else:
        save_components(video, path, encoding)


def save_components(video: standin_video.Video, target: Path | BytesIO, encoding: Encoding = Encoding()) -> None:
    """Encode a clip that is in memory."""
    encoding = encoding.for_target(target)
    color = encoding.color_space or "sRGB"
    depth = max(video.get_bit_depth(), 10 if color in HDR else 8)
    components = video.get_components()
    images, sound = components.images, components.audio
    rate = _stored_rate(components.frame_rate)
    _refuse_odd_sides(images.shape[2], images.shape[1], encoding)
    with _opened(target, encoding) as output:
        stream = output.add_stream(ENCODERS[encoding.codec], rate=rate, options=encoding.encoder_options())
        stream.width, stream.height = images.shape[2], images.shape[1]
        stream.pix_fmt = _pixel_format(depth)
        _tag(stream.codec_context, color)
        voice = _Voice(output, encoding, sound, images.shape[0] / rate) if sound else None
        for image in images:
            output.mux(stream.encode(_frame_of(image, depth, color)))
        output.mux(stream.encode(None))
        if voice:
            voice.speak()


def _stored_rate(frames_per_second: Fraction) -> Fraction:
    """To thousandths, as ComfyUI stores it."""
    rate = Fraction(round(frames_per_second * 1000), 1000)
    if rate <= 0:
        raise ValueError(
            f"{float(frames_per_second):g} frames per second is too slow for a video file. Choose 0.001 or more."
        )
    return rate


def _opened(target: Path | BytesIO, encoding: Encoding, source_tags: dict[str, str] | None = None) -> OutputContainer:
    options = {}
    if encoding.container == "mp4":
        # Only with this flag does MP4 keep keys of our own. The index goes to the front where the file can be reopened.
        options["movflags"] = "use_metadata_tags+faststart" if isinstance(target, Path) else "use_metadata_tags"
    file = str(target) if isinstance(target, Path) else target
    output = av.open(file, mode="w", format=MUXERS[encoding.container], options=options)
    _write_tags(output, source_tags or {}, encoding.metadata)
    return output


def _write_tags(output: OutputContainer, source_tags: dict[str, str], metadata: dict[str, Any]) -> None:
    output.metadata.update({key: value for key, value in source_tags.items() if key not in metadata})
    output.metadata.update({key: json.dumps(value) for key, value in metadata.items()})


def _refuse_odd_sides(width: int, height: int, encoding: Encoding) -> None:
    if width % 2 or height % 2:
        raise ValueError(
            f"The frames are {width}x{height}, and {encoding.codec} video needs even sides. Resize them first, for "
            "example with Resize Frames and multiple_of 2."
        )


def _pixel_format(depth: int) -> str:
    return "yuv420p10le" if depth >= 10 else "yuv420p"


def _tag(target: Any, color: str) -> None:
    """Say of an encoder or a frame what its numbers mean."""
    target.color_primaries = ColorPrimaries.BT2020 if color in HDR else ColorPrimaries.BT709
    target.color_trc = TRANSFERS[color]
    target.colorspace = BT2020_MATRIX if color in HDR else BT709_MATRIX
    target.color_range = ColorRange.MPEG


def _copy_tags(source: Any, target: Any) -> None:
    for tag in ("color_primaries", "color_trc", "colorspace", "color_range"):
        setattr(target, tag, getattr(source, tag))


def _frame_of(image: Tensor, depth: int, color: str) -> av.VideoFrame:
    """Encode-ready (h w 3) pixels; ComfyUI cuts off where rounding would be nearer, and so do we."""
    if depth >= 10:  # 16 bits keep what the conversion to 10-bit YUV needs
        pixels = (image.float() * 65535).clamp(0, 65535).cpu().numpy().astype(np.uint16)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
    else:
        frame = av.VideoFrame.from_ndarray((image * 255).clamp(0, 255).byte().cpu().numpy(), format="rgb24")
    matrix = BT2020_MATRIX if color in HDR else BT709_MATRIX
    frame = frame.reformat(format=_pixel_format(depth), dst_colorspace=matrix)
    _tag(frame, color)
    return frame


class _Voice:
    """The sound of a clip that is in memory."""

    def __init__(self, output: OutputContainer, encoding: Encoding, sound: dict[str, Any], seconds: Fraction):
        self._output = output
        self._rate = int(sound["sample_rate"])
        waveform = sound["waveform"][0]
        self._samples = waveform[:, : math.ceil(self._rate * seconds)].float().cpu().contiguous().numpy()
        self._layout = LAYOUTS.get(waveform.shape[0], "stereo")
        webm = encoding.container == "webm"
        rate = WEBM_SOUND_RATE if webm else self._rate
        self._stream = output.add_stream("libopus" if webm else "aac", rate=rate, layout=self._layout)
        needed = rate != self._rate
        self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=rate) if needed else None

    def speak(self) -> None:
        frame = av.AudioFrame.from_ndarray(self._samples, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = 0
        resample = self._resampler.resample if self._resampler else None
        for piece in [*resample(frame), *resample(None)] if resample else [frame]:
            self._output.mux(self._stream.encode(piece))
        self._output.mux(self._stream.encode(None))


def _save_file(video: standin_video.VideoFromFile, path: Path, encoding: Encoding) -> None:
    with open_local(video.get_stream_source()) as container:
        stream = standin_video.video_stream(container)
        color = standin_video.color_space(stream)
        if color and encoding.color_space not in (None, color):
            raise ValueError(
                f"The video is {color}, and saving it as {encoding.color_space} would need a conversion of its colors. "
                f"Choose the color space auto or {color}."
            )
        if _copying_suffices(video, container, path, encoding):
            _copy_streams(container, path, encoding)
        else:
            _Recoder(video, container, path, encoding.for_target(path)).run()


def _copying_suffices(
    video: standin_video.VideoFromFile, container: InputContainer, path: Path, encoding: Encoding
) -> bool:
    if encoding.crf is not None or encoding.color_space is not None or any(video.get_active_trim_window()):
        return False
    if encoding.container != "auto" and MUXERS[encoding.container] not in container.format.name.split(","):
        return False
    if encoding.codec not in ("auto", standin_video.video_stream(container).codec.canonical_name):
        return False
    return encoding.for_target(path).container != "webm" or all(_fits_webm(stream) for stream in container.streams)


def _fits_webm(stream: Any) -> bool:
    allowed = WEBM_CODECS.get(stream.type)
    return allowed is None or stream.codec_context is None or stream.codec.canonical_name in allowed


def _copy_streams(container: InputContainer, path: Path, encoding: Encoding) -> None:
    encoding = replace(encoding, container=encoding.for_target(path).container)
    with _opened(path, encoding, container.metadata) as output:
        copies = {
            stream: output.add_stream_from_template(template=stream, opaque=True)
            for stream in container.streams
            if stream.type in ("video", "audio", "subtitle") and stream.codec_context is not None
        }
        for packet in container.demux():
            if packet.stream in copies and packet.dts is not None:
                packet.stream = copies[packet.stream]
                output.mux(packet)


class _Recoder:
    """Encodes a file, or a span of one, anew: one frame at a time, each keeping its time."""

    def __init__(self, video: standin_video.VideoFromFile, container: InputContainer, path: Path, encoding: Encoding):
        self._container = container
        self._path = path
        self._encoding = encoding
        self._stream = standin_video.video_stream(container)
        self._base: Fraction = self._stream.time_base or Fraction(1, av.time_base)
        self._rate = Fraction(self._stream.average_rate or 1)
        self._start_seconds, self._seconds = video.get_active_trim_window()
        self._start = int(self._start_seconds / self._base)
        self._end = int((self._start_seconds + self._seconds) / self._base) if self._seconds else None
        self._color = standin_video.color_space(self._stream)
        self._depth = standin_video.bit_depth(self._stream)
        if self._color in HDR or encoding.color_space in HDR:
            self._depth = max(self._depth, 10)
        self._output: OutputContainer | None = None
        self._sound: _SoundTrack | None = None
        self._offset: int | None = None  # the time of the first frame kept, which becomes 0
        self._last: int | None = None  # the time of the last frame kept
        self._shown_until = 0  # when it ends
        self._durations: dict[int | None, int] = {}
        self._cut_off = False  # the source goes on after the span

    def run(self) -> None:
        if self._start:
            self._container.seek(self._start, stream=self._stream)
        source = standin_video.audio_stream(self._container)
        if source is not None and source.codec_context.sample_rate:
            self._sound = _SoundTrack(source, self._start_seconds, self._seconds, self._encoding)
        try:
            self._take_packets(source if self._sound else None)
            if self._output is None:
                name = Path(self._container.name).name
                raise ValueError(f"{name} holds no frame that can be decoded in that span of time.")
            self._finish()
        finally:
            if self._output is not None:
                self._output.close()

    def _take_packets(self, sound: av.AudioStream | None) -> None:
        for packet in self._container.demux(*filter(None, (self._stream, sound))):
            if self._cut_off and (self._sound is None or self._sound.complete):
                return
            if packet.stream == self._stream:
                if not self._cut_off:
                    self._take_pictures(packet)
            elif self._sound is not None and not self._sound.complete:
                self._sound.take(packet)
            if self._sound is not None and self._output is not None:
                self._sound.write(self._shown_until * self._base)
                self._sound.complete |= self._cut_off and self._sound.covers(self._shown_until * self._base)

    def _take_pictures(self, packet: av.Packet) -> None:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:  # a damaged packet: ComfyUI goes on with the next one, and so do we
            return
        for frame in frames:
            if frame.pts is not None and frame.pts < self._start:
                continue
            if self._end is not None and frame.pts is not None and frame.pts >= self._end:
                self._cut_off = True  # the last frame kept is shown to the end of the span
                self._shown_until = max(self._shown_until, self._end - (self._offset or self._start))
                return
            self._encode(frame)

    def _encode(self, frame: av.VideoFrame) -> None:
        if self._output is None:
            self._open(frame)
        if (frame.width, frame.height) != self._size:
            raise ValueError(
                f"The frames of {self._container.name} change from {self._size[0]}x{self._size[1]} to "
                f"{frame.width}x{frame.height} on the way. Convert the file to one size first."
            )
        known_pts, lasts = frame.pts, frame.duration or self._step()
        frame = self._converted(self._turn(frame))
        if not self._place(frame, known_pts, lasts):
            return
        # What the frame was in the source would force the encoder's choice of key frames.
        frame.pict_type = 0
        self._mux(self._coder.encode(frame))

    def _step(self) -> int:
        return max(1, round(1 / self._rate / self._base))

    def _place(self, frame: av.VideoFrame, pts: int | None, lasts: int) -> bool:
        """Give a frame its time in the new file; False where no room is left for it."""
        ends = [end for end in (self._end, self._stream_end()) if end is not None]
        if pts is not None:
            self._offset = pts if self._offset is None else self._offset
            if self._end is not None:
                lasts = min(lasts, self._end - pts)
            pts -= self._offset
        limit = min(ends) - (self._offset or 0) if ends else None
        if pts is not None and limit is not None and pts + lasts > limit:
            earlier = limit - lasts
            if earlier >= 0 and (self._last is None or earlier > self._last):
                pts = min(pts, earlier)
            elif pts < limit:
                lasts = limit - pts
            else:
                return False
        if pts is None or (self._last is not None and pts <= self._last):
            # A broken source leaves times out or goes backward, which no file may: one frame's time on, then.
            pts = 0 if self._last is None else self._last + self._step()
            if limit is not None and pts + lasts > limit:
                if pts >= limit:
                    return False
                lasts = limit - pts
        frame.pts, self._last, self._shown_until = pts, pts, pts + lasts
        self._durations[pts] = lasts
        return True

    def _stream_end(self) -> int | None:
        if self._stream.duration is None:
            return None
        return (self._stream.start_time or 0) + self._stream.duration

    def _open(self, first: av.VideoFrame) -> None:
        """Begin the new file, as late as this because the first frame kept decides its size."""
        self._size = (first.width, first.height)
        self._turn = _turner(first, self._base)
        quarter_turns = round(first.rotation // 90) % 4
        width, height = reversed(self._size) if quarter_turns % 2 else self._size
        _refuse_odd_sides(width, height, self._encoding)
        self._output = _opened(self._path, self._encoding, self._container.metadata)
        encoder = ENCODERS[self._encoding.codec]
        options = self._encoding.encoder_options()
        coder = cast(av.VideoStream, self._output.add_stream(encoder, rate=self._rate, options=options))
        # Frames out of order would make MP4 count their times in the order of decoding, and spans end wrong.
        coder.codec_context.max_b_frames = 0
        coder.width, coder.height, coder.pix_fmt = width, height, _pixel_format(self._depth)
        if self._color:
            _copy_tags(self._stream, coder.codec_context)
        elif self._encoding.color_space:
            _tag(coder.codec_context, self._encoding.color_space)
        coder.codec_context.time_base = self._base
        self._coder = coder
        if self._sound is not None:
            self._sound.open(self._output)

    def _converted(self, frame: av.VideoFrame) -> av.VideoFrame:
        target = _pixel_format(self._depth)
        if frame.color_range == ColorRange.JPEG and not self._color:
            frame = frame.reformat(format=target, src_color_range="JPEG", dst_color_range="MPEG")
        else:
            frame = frame.reformat(format=target)
        if self._color:
            _copy_tags(self._stream, frame)
        elif self._encoding.color_space:
            _tag(frame, self._encoding.color_space)
        return frame

    def _mux(self, packets: list[av.Packet]) -> None:
        assert self._output is not None
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0)
            self._output.mux(packet)

    def _finish(self) -> None:
        assert self._output is not None
        if self._sound is not None:
            self._sound.write(self._shown_until * self._base, final=True)
        if self._cut_off and self._last in self._durations:
            self._durations[self._last] = max(self._durations[self._last], self._shown_until - (self._last or 0))
        self._mux(self._coder.encode(None))
        if self._sound is not None:
            self._sound.close()


def _turner(first: av.VideoFrame, base: Fraction) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Turns frames like `first` the way up that its display matrix says."""
    turns: dict[int, list[tuple[str, str | None]]] = {
        1: [("transpose", "cclock")], 2: [("hflip", None), ("vflip", None)], 3: [("transpose", "clock")],
    }  # fmt: skip
    steps = turns.get(round(first.rotation // 90) % 4)
    if not steps:
        return lambda frame: frame
    graph = av.filter.Graph()
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=base)
    tail = source
    for name, setting in steps:
        step = graph.add(name, setting)
        tail.link_to(step)
        tail = step
    sink = graph.add("buffersink")
    tail.link_to(sink)
    graph.configure()

    def turn(frame: av.VideoFrame, graph: av.filter.Graph = graph) -> av.VideoFrame:
        source.push(frame)  # the graph is a default value because its parts do not keep it alive
        return cast(av.VideoFrame, sink.pull())

    return turn


class _SoundTrack:
    """The sound of a file that is encoded anew: begins at the span's start, and never outlasts the picture."""

    def __init__(self, source: av.AudioStream, start_seconds: float, seconds: float, encoding: Encoding):
        self.complete = False
        self._webm = encoding.container == "webm"
        self._rate = WEBM_SOUND_RATE if self._webm else source.codec_context.sample_rate
        self._layout = LAYOUTS.get(source.codec_context.channels, "stereo")
        self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
        self._start = start_seconds
        self._seconds = seconds
        self._most = math.ceil(seconds * self._rate) if seconds else None  # samples
        self._waiting: deque[np.ndarray] = deque()  # (channels, samples) each
        self._begun = False
        self._written = 0

    def open(self, output: OutputContainer) -> None:
        self._output = output
        codec = "libopus" if self._webm else "aac"
        self._stream = cast(av.AudioStream, output.add_stream(codec, rate=self._rate, layout=self._layout))

    def take(self, packet: av.Packet) -> None:
        for frame in self._planar(packet):
            begins = float(frame.pts * (frame.time_base or Fraction(1, self._rate))) if frame.pts is not None else 0.0
            samples = frame.to_ndarray()
            if not self._begun:
                if self._seconds and begins >= self._start + self._seconds:
                    self.complete = True
                    return
                skipped = max(0, int((self._start - begins) * self._rate))
                if skipped >= frame.samples:
                    continue
                self._begun = True
                samples = samples[..., skipped:]
                if self._most is not None and begins > self._start:
                    late = math.ceil((self._start + self._seconds - begins) * self._rate)
                    self._most = min(self._most, late)
            self._waiting.append(samples)

    def _planar(self, packet: av.Packet) -> Iterator[av.AudioFrame]:
        for frame in packet.decode():
            yield from self._resampler.resample(cast(av.AudioFrame, frame))

    def _cap(self, shown_until: Fraction) -> int:
        cap = math.ceil(shown_until * self._rate)
        return cap if self._most is None else min(cap, self._most)

    def covers(self, shown_until: Fraction) -> bool:
        """Whether there is sound enough, written or waiting, for a picture that ends then."""
        return self._written + sum(piece.shape[-1] for piece in self._waiting) >= self._cap(shown_until)

    def write(self, shown_until: Fraction, final: bool = False) -> None:
        """Encode what is waiting, as far as the picture has come; at the end, cut the last piece to fit."""
        cap = self._cap(shown_until)
        while self._waiting and self._written + self._waiting[0].shape[-1] <= cap:
            self._encode(self._waiting.popleft())
        if final and self._waiting and cap > self._written:
            self._encode(self._waiting.popleft()[..., : cap - self._written])

    def _encode(self, samples: np.ndarray) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
        self._output.mux(self._stream.encode(frame))
        self._written += samples.shape[-1]

    def close(self) -> None:
        self._output.mux(self._stream.encode(None))
