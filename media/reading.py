"""Reading video: what is in a file, and exactly the frames that are asked for, decoding as little as possible.

Frame n is the n-th picture that a player shows when it plays the file from its start, whatever was skipped to reach
it. A pass over the packets, without decoding, lists when each frame is shown and from which key frames it can be
reached. Where that list cannot be trusted (no time stamps, a stream that starts in the middle), we decode from the
start and count.

Pixels are uint8 RGB arrays (h w c), upright; a clip is a float tensor (f h w c) in 0..1.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from ..host.opening import Playlist, Unreadable, open_local
from .errors import MediaError
from .memory import room_for_clip
from .selection import Timeline

if TYPE_CHECKING:  # only clips need torch: extracting frames does without the second and the 190 MB that it takes
    from torch import Tensor

Source = str | os.PathLike[str] | BytesIO

# In these codecs no frame ever refers to one marked as non-reference, so leaving those out changes no other frame.
# HEVC is not among them: there the mark holds within one temporal layer only.
CODECS_WITH_SKIPPABLE_FRAMES = {"h264", "mpeg1video", "mpeg2video", "vp9"}
PREDICTED = {PictureType.P, PictureType.B}
# The matrices that files name by number (ITU-T H.273); what names none is taken for BT.601, as players do.
MATRICES, BT601 = {1, 4, 7, 9}, 5
FEWER_FRAMES = "Take fewer, for example with a larger n or a shorter range, or make the video smaller."
# FFmpeg's own choice is one more than there are processors, which takes a quarter longer on two; and each holds frames.
MOST_DECODERS = 8
# Starting afresh at a key frame idles the decoder's threads, which costs about as much as decoding this many frames.
PACKETS_WORTH_A_JUMP = 4
# Reading packets and dropping them is cheaper than a seek in the file over fewer than this many.
PACKETS_WORTH_A_SEEK = 64


class Key(NamedTuple):
    """A frame at which decoding can start."""

    place: int  # in the file's order of packets
    stamp: int
    decoding_stamp: int | None


@dataclass(frozen=True)
class FrameTable:
    """The frames of a file in the order they are shown, and where decoding can start."""

    stamps: list[int]  # of frame n, rising
    place_of: dict[int, int]  # time stamp -> place in the file's order of packets
    keys: list[Key]

    def key_for(self, number: int) -> Key:
        """The last key frame stored and shown no later than a frame, so that the frame needs nothing from before it."""
        stamp = self.stamps[number]
        at = bisect_right(self.keys, self.place_of[stamp], key=lambda key: key.place) - 1
        while at > 0 and self.keys[at].stamp > stamp:  # shown before its key frame, so it also needs the one before
            at -= 1
        return self.keys[at]


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video file holds. Width and height are those of the upright picture."""

    name: str
    width: int
    height: int
    timeline: Timeline
    rotation: int  # degrees, counter-clockwise, that the file asks a player to turn its pictures by
    codec: str
    container: str
    has_sound: bool
    start_seconds: Fraction  # when the first frame is shown, on the clock that the file's sound shares
    table: FrameTable | None = field(repr=False)  # None: frames can be reached only by decoding from the start

    @property
    def frames(self) -> int:
        return self.timeline.frames

    @property
    def seconds(self) -> float:
        return float(self.timeline.seconds)

    @property
    def frames_per_second(self) -> Fraction:
        return self.timeline.average_rate

    @property
    def variable_rate(self) -> bool:
        return self.timeline.rate is None


class PacketFacts(NamedTuple):
    """What a packet of a video stream tells without being decoded."""

    stamp: int | None
    decoding_stamp: int | None
    duration: int
    is_key: bool
    is_hidden: bool  # cut away by an edit list: the decoder may need it, and nobody sees it


def probe(source: Source) -> VideoFacts:
    """Look at a video file: size, exact number of frames, when each is shown. Decodes one frame where that will do."""
    name = name_of(source)
    with _opened_video(source) as (container, stream):
        packets = _packet_facts(container, stream)
        if not packets:
            raise MediaError(f"{name} is a video without a single frame in it. Make or download it again.")
        if len(packets) < stream.frames and _reaches_beyond_its_end(container, stream):
            raise MediaError(
                f"{name} is cut off: it announces {stream.frames} frames, and only {len(packets)} are in the file. "
                "Copy or download it again."
            )
    with _opened_video(source) as (container, stream):
        first = next(_decoded(container, stream), None)
        if first is None:
            raise MediaError(f"None of the frames of {name} can be decoded. Check that it plays elsewhere.")
        table = _table(packets, first.pts)
        clock = stream.time_base or Fraction(1, 1000)
        on_its_side = first.rotation % 180 != 0
        return VideoFacts(
            name=name,
            width=first.height if on_its_side else first.width,
            height=first.width if on_its_side else first.height,
            timeline=_timeline(table.stamps if table else _counted_stamps(source), packets, clock, stream),
            rotation=int(first.rotation),
            codec=stream.codec_context.name,
            container=container.format.name,
            has_sound=any(sound.codec_context is not None for sound in container.streams.audio),
            start_seconds=(first.pts or 0) * clock,
            table=table,
        )


def read_frames(
    source: Source, numbers: Sequence[int], facts: VideoFacts | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Give (number, pixels) for the frames asked for, in rising order and each once."""
    for number, frame in decoded_frames(source, numbers, facts):
        yield number, upright(frame)


def decoded_frames(
    source: Source, numbers: Sequence[int], facts: VideoFacts | None = None
) -> Iterator[tuple[int, VideoFrame]]:
    """Give the frames asked for, in rising order and each once, as the decoder has them; `upright` gives their pixels.

    The conversion to pixels costs as much as decoding does, and may be left to another thread, or out.
    """
    facts = facts or probe(source)
    wanted = sorted(set(numbers))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < facts.frames:
        beyond = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise MediaError(
            f"Frame {beyond} is not in {facts.name}, which has {facts.frames} frames, "
            f"numbered 0 to {facts.frames - 1}. Ask for frames within them."
        )
    by_table = facts.table and _frames_by_table(source, wanted, facts, facts.table)
    yield from by_table or _frames_by_counting(source, wanted, facts)


def upright(frame: VideoFrame) -> np.ndarray:
    """The frame's (h w c) pixels, turned as the file asks."""
    # Both ends are named because PyAV before 17 takes no notice of what the frame says, and converts only between two.
    matrix = int(frame.colorspace) if int(frame.colorspace) in MATRICES else BT601
    spread = int(frame.color_range) or ColorRange.MPEG.value
    pixels = frame.to_ndarray(
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=BT601,
        src_color_range=spread,
        dst_color_range=ColorRange.JPEG.value,
    )
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def load_frames(
    source: Source,
    numbers: Sequence[int],
    facts: VideoFacts | None = None,
    on_frame: Callable[[int, np.ndarray], None] = lambda done, pixels: None,
) -> Tensor:
    """Read frames into a (f h w c) clip, in the order asked for, repeats included."""
    import torch

    facts = facts or probe(source)
    clip = room_for_clip(len(numbers), facts.height, facts.width, remedy=FEWER_FRAMES)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    done = 0
    for number, pixels in read_frames(source, numbers, facts):
        first, *others = places[number]
        if pixels.shape != clip.shape[1:]:
            raise MediaError(
                f"{facts.name} changes its size from {facts.width}x{facts.height} to "
                f"{pixels.shape[1]}x{pixels.shape[0]} at frame {number}, and one clip has one size. "
                "Take frames from before it, or convert the file first."
            )
        torch.div(torch.from_numpy(pixels), 255, out=clip[first])
        for other in others:
            clip[other] = clip[first]
        done += len(places[number])
        on_frame(done, pixels)
    return clip


def name_of(source: Source) -> str:
    """What to call a source in a message."""
    return "The video" if isinstance(source, BytesIO) else Path(source).name


@contextmanager
def open_media(source: Source) -> Iterator[InputContainer]:
    """Open a file for reading; what FFmpeg says of a bad one becomes a sentence, also later, while it is read."""
    try:
        with open_local(source if isinstance(source, BytesIO) else _existing(Path(source))) as container:
            yield container
    except (Unreadable, Playlist) as error:
        raise MediaError(str(error)) from error
    except av.error.FFmpegError as error:
        name = name_of(source)
        raise MediaError(f"{name} cannot be read: {error.strerror}. Check that it plays elsewhere.") from error


def _existing(path: Path) -> str:
    if "\0" in str(path):
        raise MediaError(f"{str(path)!r} holds a NUL character, which no file name may. Choose another file.")
    if path.is_dir():
        raise MediaError(f"{path.name} is a folder, not a video file. Choose a file in it.")
    if not path.is_file():
        raise MediaError(f"{path} does not exist. Check the name and the folder.")
    return str(path)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        raise MediaError(f"{name} is a picture, not a video. Choose a video, or load it as a picture.")
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(MOST_DECODERS, os.cpu_count() or 1)
            return stream
    what = "only sound" if container.streams.audio else "no pictures"
    raise MediaError(f"{name} holds {what} and no video that can be decoded. Choose a video file.")


@contextmanager
def _opened_video(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    with open_media(source) as container:
        yield container, _video_stream(container, name_of(source))


def _packet_facts(container: InputContainer, stream: VideoStream) -> list[PacketFacts]:
    return [
        PacketFacts(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, packet.is_discard)
        for packet in container.demux(stream)
        if packet.size  # the packet that ends a stream is empty
    ]


def _reaches_beyond_its_end(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a file's index points behind its last byte. Fewer packets alone prove nothing: edits leave some out."""
    entries = getattr(stream, "index_entries", ())  # PyAV before 15 does not tell
    return any(entry.pos + entry.size > container.size for entry in entries)


def _table(packets: list[PacketFacts], first_shown: int | None) -> FrameTable | None:
    """None where the packets do not name each frame exactly once, or the first of them cannot be decoded."""
    place_of = {packet.stamp: place for place, packet in enumerate(packets) if packet.stamp is not None}
    stamps = sorted(packet.stamp for packet in packets if packet.stamp is not None and not packet.is_hidden)
    starts_whole = packets[0].is_key and packets[0].stamp == min(place_of, default=None)
    if len(place_of) < len(packets) or not starts_whole or not stamps or first_shown != stamps[0]:
        return None
    keys = [
        Key(place, packet.stamp, packet.decoding_stamp)
        for place, packet in enumerate(packets)
        if packet.is_key and packet.stamp is not None
    ]
    return FrameTable(stamps, place_of, keys)


def _counted_stamps(source: Source) -> list[int]:
    """Decode everything to learn when each frame is shown: the slow way that works for every file."""
    with _opened_video(source) as (container, stream):
        stamps = [frame.pts for frame in _decoded(container, stream)]
        named = sorted({stamp for stamp in stamps if stamp is not None})
        if len(named) == len(stamps):
            return named
        step = _step_ticks(stream)  # there is no usable clock, so the frames are equally far apart
        return [number * step for number in range(len(stamps))]


def _timeline(stamps: list[int], packets: list[PacketFacts], clock: Fraction, stream: VideoStream) -> Timeline:
    ticks = [stamp - stamps[0] for stamp in stamps]
    last_duration = next((packet.duration for packet in packets if packet.stamp == stamps[-1]), 0)
    step = Fraction(ticks[-1], len(ticks) - 1) if len(ticks) > 1 else Fraction(last_duration or _step_ticks(stream))
    # A container's clock may round (33, 33, 34 ms), so a frame may lie a tick off its place, if a tick is little.
    slack = min(Fraction(1), step / 4)
    steady = all(abs(tick - number * step) <= slack for number, tick in enumerate(ticks))
    if steady:
        return Timeline.steady(len(ticks), _exact_rate(1 / (step * clock), len(ticks), clock, stream))
    end = ticks[-1] + (last_duration or max(1, round(step)))
    return Timeline(ticks=ticks, tick_seconds=clock, end=end, rate=None)


def _exact_rate(measured: Fraction, frames: int, clock: Fraction, stream: VideoStream) -> Fraction:
    """The rate that rounded times stand for, such as 30000/1001, where the file names one that agrees with them."""
    for named in (stream.average_rate, stream.guessed_rate):
        if named and abs(frames / Fraction(named) - frames / measured) <= 2 * clock:
            return Fraction(named)
    return measured


def _step_ticks(stream: VideoStream) -> int:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * (stream.time_base or Fraction(1, 1000)))))


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    for packet in container.demux(stream):
        yield from packet.decode()


def _frames_by_counting(source: Source, wanted: list[int], facts: VideoFacts) -> Iterator[tuple[int, VideoFrame]]:
    remaining = deque(wanted)
    with _opened_video(source) as (container, stream):
        for number, frame in enumerate(_decoded(container, stream)):
            if not remaining:
                return
            if number == remaining[0]:
                yield remaining.popleft(), frame
    if remaining:
        raise _undecodable(facts.name, remaining[0])


def _frames_by_table(
    source: Source, wanted: list[int], facts: VideoFacts, table: FrameTable
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode only what leads to the frames asked for."""
    remaining = deque(wanted)
    with _opened_video(source) as (container, stream):
        cursor = _Cursor(container, stream, table, {table.stamps[number] for number in wanted})
        while remaining:
            frames = cursor.decode_towards(remaining[0])
            if not frames:
                raise _undecodable(facts.name, remaining[0])
            for frame in frames:
                if remaining and frame.pts == table.stamps[remaining[0]]:
                    yield remaining.popleft(), frame


class _Cursor:
    """A place in an opened video, from which decoding goes on or jumps ahead to a key frame."""

    def __init__(self, container: InputContainer, stream: VideoStream, table: FrameTable, wanted: set[int]) -> None:
        self.container, self.stream, self.table, self.wanted = container, stream, table, wanted
        self.can_skip = stream.codec_context.name in CODECS_WITH_SKIPPABLE_FRAMES
        self.packets = container.demux(stream)
        self.place = -1  # in packet order, of the last packet that went to the decoder
        self.unproven: int | None = None  # the stamp of a key frame that we jumped to and have not seen yet

    def decode_towards(self, number: int) -> list[VideoFrame]:
        """Go on until frames that are wanted come out; none if the stream ends before."""
        key = self.table.key_for(number)
        if key.place > self.place + PACKETS_WORTH_A_JUMP:
            self._jump(key)
        for packet in self.packets:
            self.place = self._place_of(packet, self.place)
            if self.can_skip:
                self.stream.codec_context.skip_frame = "DEFAULT" if packet.pts in self.wanted else "NONREF"
            frames = packet.decode()
            if self._was_misled(frames):
                self._start_over()
                return self.decode_towards(number)
            if found := [frame for frame in frames if frame.pts in self.wanted]:
                return found
        return []

    def _was_misled(self, frames: list[VideoFrame]) -> bool:
        """Whether a key frame jumped to proves to be none, as in streams that are refreshed bit by bit."""
        reached = [frame for frame in frames if self.unproven is not None and (frame.pts or 0) >= self.unproven]
        if not reached:
            return False
        proves_itself = reached[0].pts == self.unproven and reached[0].pict_type not in PREDICTED
        self.unproven = None
        return not proves_itself

    def _start_over(self) -> None:
        """Only the stream's start leads to exactly the right frames, so forget the other keys."""
        self.table = replace(self.table, keys=self.table.keys[:1])
        self._seek(self.table.keys[0])
        self.place = -1

    def _jump(self, key: Key) -> None:
        self.unproven = key.stamp if key.place else None
        if key.place <= self.place + PACKETS_WORTH_A_SEEK:
            self.packets = dropwhile(lambda packet: self._place_of(packet, key.place) < key.place, self.packets)
            self.stream.codec_context.flush_buffers()
        else:
            self._seek(key)

    def _seek(self, key: Key) -> None:
        """Go to a key frame, or before it where the container cannot land on it."""
        for target in (key.stamp, key.decoding_stamp, self.table.keys[0].decoding_stamp, self.table.keys[0].stamp):
            if target is None:
                continue
            with suppress(av.error.FFmpegError, StopIteration):  # some containers cannot reach some targets
                self.container.seek(target, stream=self.stream)
                packets = self.container.demux(self.stream)
                first = next(packets)
                self.packets = chain([first], packets)
                if self._place_of(first, key.place + 1) <= key.place:
                    return

    def _place_of(self, packet: Packet, otherwise: int) -> int:
        return otherwise if packet.pts is None else self.table.place_of.get(packet.pts, otherwise)


def _undecodable(name: str, number: int) -> MediaError:
    return MediaError(
        f"Frame {number} of {name} cannot be decoded: the file is damaged there. "
        "Take frames from before it, or make, copy or download the file again."
    )
