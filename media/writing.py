"""Clips into video files: MP4, MOV, MKV and WebM, with sound.

Axes: h height, w width, c channels; b batch, t time of sound. Frames come one by one as (h w c) bytes, so a clip of any
length takes the memory of a few frames.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeGuard, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from torch import Tensor

from .errors import MediaError
from .files import written_beside
from .pictures import Pixels, opaque
from .rates import exact_rate
from .sound import Sound
from .streams import OnFrame, check_same_size, nobody_listens, with_first

# Numbers of ITU-T H.273, for color_primaries, color_trc, colorspace and color_range. A screen's picture is sRGB; its
# primaries are those of BT.709, and so is the matrix by which it becomes luma and chroma.
BT709 = 1
SRGB_TRANSFER = 13
LIMITED_RANGE = 1

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
OPUS_RATE = 48000


@dataclass(frozen=True)
class Container:
    """What a suffix means."""

    muxer: str
    codecs: tuple[str, ...]  # the first one is the usual one
    sound_codec: str = "aac"
    options: tuple[tuple[str, str], ...] = ()


# The index goes to the front, so that a browser can play while it loads; free tags keep the workflow.
MP4_OPTIONS = (("movflags", "use_metadata_tags+faststart"),)
CONTAINERS = {
    ".mp4": Container("mp4", ("h264", "av1", "vp9"), options=MP4_OPTIONS),
    ".mov": Container("mov", ("h264",), options=MP4_OPTIONS),
    ".mkv": Container("matroska", ("h264", "av1", "vp9")),
    ".webm": Container("webm", ("vp9", "av1"), sound_codec="libopus"),
}


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg: its name, its range of crf, and the options that make it fast at the same quality."""

    encoder: str
    largest_crf: int
    options: tuple[tuple[str, str], ...] = ()


CODECS = {
    "h264": Codec("h264", 51),
    "vp9": Codec("libvpx-vp9", 63, (("deadline", "good"), ("cpu-used", "4"), ("row-mt", "1"))),
    "av1": Codec("libsvtav1", 63),
}
# With smaller pictures some versions of SVT-AV1 fail, and others never come back.
SMALLEST_AV1_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    codec: Literal["auto", "h264", "vp9", "av1"] = "auto"  # auto is the usual one of the file's suffix
    crf: int | None = None  # 0 is without loss and large, the largest is worst; None leaves it to the encoder
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"  # 444 keeps colour sharp, but few players show it

    def __post_init__(self) -> None:
        if self.codec != "auto" and self.codec not in CODECS:
            raise MediaError(f"{self.codec!r} is no codec that can be written. Choose one of {', '.join(CODECS)}.")
        if self.pixel_format not in ("yuv420p", "yuv444p"):
            raise MediaError(f"{self.pixel_format!r} is no pixel format that can be written. Choose yuv420p.")


def write_video(
    path: str | Path,
    frames: Iterable[Pixels],
    frames_per_second: Fraction | float,
    options: VideoOptions = VideoOptions(),
    sound: Sound | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_frame: OnFrame = nobody_listens,
) -> Path:
    """Write a video, its container chosen by the suffix, with sound from the first frame to the last at most.

    A side that the pixel format cannot hold, such as an odd one, is padded by repeating the edge. `metadata` is kept
    as JSON under its keys, as ComfyUI keeps a workflow. Of several sounds in a batch the first one is heard.
    """
    path, rate = Path(path), exact_rate(frames_per_second)
    container, codec = _formats(path, options)
    first, frames = with_first(frames)
    with (
        written_beside(path) as draft,
        av.open(str(draft), "w", format=container.muxer, options=dict(container.options)) as output,
    ):
        output.metadata.update({key: json.dumps(value) for key, value in (metadata or {}).items()})
        pictures = _PictureTrack(output, codec, options, rate, opaque(first).shape)
        track = _SoundTrack(output, container.sound_codec, sound) if has_samples(sound) else None
        for done, frame in enumerate(frames, 1):
            pictures.add(frame)
            if track:
                track.write_until(done / rate)
            on_frame(done, opaque(frame))
        pictures.finish()
        if track:
            track.finish()
    return path


def _formats(path: Path, options: VideoOptions) -> tuple[Container, str]:
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise MediaError(f"{path.name} does not end in a suffix of video. Choose one of {', '.join(CONTAINERS)}.")
    codec = container.codecs[0] if options.codec == "auto" else options.codec
    if codec not in container.codecs:
        raise MediaError(f"A {path.suffix} file holds no {codec}. Choose {' or '.join(container.codecs)}.")
    if options.crf is not None and not 0 <= options.crf <= CODECS[codec].largest_crf:
        raise MediaError(f"crf is {options.crf}, but for {codec} it goes from 0 to {CODECS[codec].largest_crf}.")
    if codec == "av1" and options.pixel_format != "yuv420p":
        raise MediaError("AV1 is written in yuv420p only. Choose that pixel format, or the codec h264 or vp9.")
    return container, codec


class _PictureTrack:
    """The stream of pictures in a video file."""

    def __init__(
        self, output: OutputContainer, codec: str, options: VideoOptions, rate: Fraction, shape: tuple[int, ...]
    ):
        self.height, self.width = shape[:2]
        self.output, self.codec, self.rate, self.frames = output, codec, rate, 0
        if codec == "av1" and min(self.height, self.width) < SMALLEST_AV1_SIDE:
            raise MediaError(
                f"The clip is {self.width}x{self.height}, but AV1 is written from {SMALLEST_AV1_SIDE} pixels a side. "
                "Choose another codec, or enlarge the clip."
            )
        try:
            self.stream = cast(VideoStream, output.add_stream(CODECS[codec].encoder, rate=rate))
        except ValueError as error:
            raise MediaError(f"This build of FFmpeg cannot write {codec}: {error}. Choose another codec.") from error
        multiple = 2 if options.pixel_format == "yuv420p" else 1
        self.stream.width = math.ceil(self.width / multiple) * multiple
        self.stream.height = math.ceil(self.height / multiple) * multiple
        self.stream.pix_fmt = options.pixel_format
        self.stream.options = {**dict(CODECS[codec].options), **_quality(codec, options.crf)}
        context = self.stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = BT709, SRGB_TRANSFER, BT709
        context.color_range = LIMITED_RANGE

    def add(self, pixels: Pixels) -> None:
        check_same_size(pixels, self.frames, self.height, self.width)
        padding = ((0, self.stream.height - self.height), (0, self.stream.width - self.width), (0, 0))
        padded = np.pad(opaque(pixels), padding, mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = frame.reformat(format=self.stream.pix_fmt, dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
        frame.pts, frame.time_base = self.frames, 1 / self.rate
        self.frames += 1
        self._encode(frame)

    def finish(self) -> None:
        self._encode(None)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        with _encoder_errors(f"{self.codec} of {self.stream.width}x{self.stream.height}"):
            self.output.mux(self.stream.encode(frame))


def _quality(codec: str, crf: int | None) -> dict[str, str]:
    if crf is None:
        return {}
    if crf == 0 and codec == "av1":  # this encoder takes a crf of 0 for none given
        return {"svtav1-params": "lossless=1"}
    if crf == 0 and codec == "vp9":  # here 0 is only the best of the lossy ones
        return {"lossless": "1"}
    return {"crf": str(crf)}


@contextmanager
def _encoder_errors(what: str) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # the disk's, told in words where the file is made
            raise
        raise MediaError(
            f"The encoder refused {what}: {error.strerror}. Try another size of picture, or another codec."
        ) from error


def has_samples(sound: Sound | None) -> TypeGuard[Sound]:
    """Tell whether there is anything to hear in an AUDIO, which may be None or of no length."""
    return sound is not None and sound["waveform"].numel() > 0


class _SoundTrack:
    """The stream of sound in a video file; it begins with the first frame."""

    def __init__(self, output: OutputContainer, codec: str, sound: Sound):
        waveform, self.sample_rate = _checked_sound(sound)
        self.waveform = waveform.detach().to("cpu").float().contiguous().numpy()
        self.layout = LAYOUTS[len(self.waveform)]
        self.output, self.written = output, 0
        rate = _nearest_rate(codec, self.sample_rate)
        self.stream = cast(AudioStream, output.add_stream(codec, rate=rate, layout=self.layout))
        self.resampler = (
            av.AudioResampler(format="fltp", layout=self.layout, rate=rate) if rate != self.sample_rate else None
        )

    def write_until(self, seconds: Fraction) -> None:
        """Write what is heard before that time, beside the frames that are seen then, so that players need not seek."""
        end = min(math.ceil(seconds * self.sample_rate), self.waveform.shape[1])
        if end > self.written:
            samples = np.ascontiguousarray(self.waveform[:, self.written : end])
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self.layout)
            frame.sample_rate, frame.time_base = self.sample_rate, Fraction(1, self.sample_rate)
            frame.pts, self.written = self.written, end
            self._encode(self.resampler.resample(frame) if self.resampler else [frame])

    def finish(self) -> None:
        self._encode(self.resampler.resample(None) if self.resampler else [])
        self._encode([None])

    def _encode(self, frames: Iterable[av.AudioFrame | None]) -> None:
        with _encoder_errors(f"sound of {self.stream.rate} Hz"):
            for frame in frames:
                self.output.mux(self.stream.encode(frame))


def _checked_sound(sound: Sound) -> tuple[Tensor, int]:
    """Give the first sound of the batch as (c t), and its sample rate."""
    waveform, sample_rate = sound["waveform"][0], int(sound["sample_rate"])
    if waveform.ndim != 2 or len(waveform) not in LAYOUTS:
        channels = len(waveform) if waveform.ndim == 2 else tuple(waveform.shape)
        raise MediaError(f"The sound has {channels} channels. It must have 1 (mono), 2 (stereo) or 6 (5.1).")
    if not 1000 <= sample_rate <= 768000:
        raise MediaError(f"The sound has {sample_rate} samples a second. It must have from 1000 to 768000.")
    if not waveform.isfinite().all():
        raise MediaError("The sound holds NaN or infinity, which is no sound. Look for the node before that made it.")
    return waveform, sample_rate


def _nearest_rate(codec: str, sample_rate: int) -> int:
    """Give the sample rate that a codec takes without losing high tones, or its highest."""
    if codec == "libopus":
        return OPUS_RATE
    return next((rate for rate in AAC_RATES if rate >= sample_rate), AAC_RATES[-1])
