"""Videos into footage: the chosen frames of each, as pictures in a folder of its own, with a manifest beside them.

Several videos are read at a time, and their frames are resized and encoded in further threads; how much waits between
the two is bounded, so memory does not grow with the length of a video. What is done and unchanged is not done again.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from json import dumps, loads
from pathlib import Path
from typing import Any, Literal

import av.error
from av.video.frame import VideoFrame

from ..media.errors import MediaError
from ..media.files import ONLY_FROM_WRITING, folder_written_beside
from ..media.frame_folders import PICTURE_SUFFIXES
from ..media.pictures import encode_jpeg, encode_png
from ..media.reading import VideoFacts, decoded_frames, probe, upright
from ..media.resizing import ResizeOptions, resize_picture
from ..media.selection import WHOLE_CLIP, AtRate, EveryNth, Extent, Selection, Spread, Timeline, select
from .different import MostDifferent, OnePerScene, most_different_frames, scene_frames
from .footage import Clip, Footage, FootageError
from .ledger import MADE, Ledger, made_of, opened_ledger
from .sources import Video, digest, find_videos, modified, sha256_of

Rule = EveryNth | AtRate | Spread | MostDifferent | OnePerScene

EVERY_TENTH, AS_IT_IS = EveryNth(every=10), ResizeOptions()
MOST_JOBS = 4  # reading more videos at a time waits for the disk, and takes memory
MOST_ENCODERS = 8
SECONDS_BETWEEN_STEPS = 0.1
# What a video that is broken, vanishes or is too large may raise. Anything else is our mistake, and stops the run.
VIDEO_ERRORS = (ValueError, OSError, MemoryError, av.error.FFmpegError)


@dataclass(frozen=True, kw_only=True)
class ExtractingOptions:
    rule: Rule = EVERY_TENTH
    extent: Extent = WHOLE_CLIP  # the part of each video that counts; its frames are numbered from 0
    count_from: Literal[0, 1] = 1  # the number of a video's first frame, in names of files and for every n-th
    resize: ResizeOptions = AS_IT_IS
    format: Literal["png", "jpeg"] = "png"
    quality: int = 95  # of JPEG, 1 to 100
    keep_folders: bool = False  # a/b.mp4 becomes a/b/b_frame_1.png instead of b/b_frame_1.png
    jobs: int = 0  # videos read at a time; 0 suits it to the processor

    def __post_init__(self) -> None:
        if self.count_from not in (0, 1):
            raise MediaError(f"Frames are counted from {self.count_from}. Choose 0 or 1.")
        if self.format not in PICTURE_SUFFIXES:
            raise MediaError(f"{self.format!r} is no format for frames. Choose png or jpeg.")
        if not 1 <= self.quality <= 100:
            raise MediaError(f"The JPEG quality is {self.quality}. It goes from 1 (small) to 100 (best).")
        if self.jobs < 0:
            raise MediaError(f"The number of videos at a time is {self.jobs}. Give 1 or more, or 0 to leave it to us.")


@dataclass(frozen=True)
class ExtractingStep:
    """How far an extraction is."""

    videos_done: int
    videos: int
    frames: int  # written so far
    share: float  # of the work, 0 to 1, by the sizes of the files
    seconds: float  # since the start

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None where nothing can be said yet."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0.01 else None


@dataclass(frozen=True)
class Extracted:
    """What came of an extraction."""

    footage: Footage  # the clips of these videos; the manifest may name more
    made: tuple[str, ...]  # names of clips
    kept: tuple[str, ...]  # names of clips that were there already
    failed: tuple[tuple[str, str], ...]  # (name of the video below its source, what is wrong in a sentence)


def extract_footage(
    source: str | Path,
    root: str | Path,
    options: ExtractingOptions = ExtractingOptions(),
    on_step: Callable[[ExtractingStep], None] = lambda step: None,
) -> Extracted:
    """Extract the frames of a video, or of all videos in a folder and below it, into a folder of clips.

    A video that cannot be read is told in the result, and does not stop the others. `on_step` is called from the thread
    that calls this function; to cancel, raise from it. What is finished by then stays, and need not be done again.
    """
    videos = find_videos(source, root, options.keep_folders)
    with opened_ledger(Path(root)) as ledger:
        outcomes = _Run(videos, ledger, options, on_step).outcomes()
    clips = {video.clip: clip for video, (clip, _) in outcomes.items() if isinstance(clip, Clip)}
    return Extracted(
        footage=Footage(Path(root), tuple(clips.values())),
        made=tuple(clip.name for clip, is_new in outcomes.values() if isinstance(clip, Clip) and is_new),
        kept=tuple(clip.name for clip, is_new in outcomes.values() if isinstance(clip, Clip) and not is_new),
        failed=tuple((video.below, clip) for video, (clip, _) in outcomes.items() if isinstance(clip, str)),
    )


class _Stopped(Exception):
    """The run has ended while a video was worked on."""


Outcome = tuple[Clip | str, bool]  # the clip, or what is wrong with the video; and whether it is new


class _Run:
    """One extraction: its threads, and how far each video is."""

    def __init__(
        self,
        videos: list[Video],
        ledger: Ledger,
        options: ExtractingOptions,
        on_step: Callable[[ExtractingStep], None],
    ) -> None:
        self.videos, self.ledger, self.options, self.on_step = videos, ledger, options, on_step
        processors = os.cpu_count() or 1
        self.jobs = min(len(videos), options.jobs or min(MOST_JOBS, processors))
        self.encoders = min(MOST_ENCODERS, processors)
        self.stopped = threading.Event()
        self.shares = [0.0] * len(videos)
        self.frames = [0] * len(videos)
        self.weights = [_bytes_of(video.path) for video in videos]
        self.skipped = [False] * len(videos)
        self.started = time.monotonic()

    def outcomes(self) -> dict[Video, Outcome]:
        """Work on all videos; gives what came of each, in their order."""
        with ThreadPoolExecutor(self.encoders) as encoders, ThreadPoolExecutor(self.jobs) as readers:
            running = [readers.submit(self._outcome, place, encoders) for place in range(len(self.videos))]
            try:
                left = set(running)
                while left:
                    done, left = wait(left, SECONDS_BETWEEN_STEPS, FIRST_COMPLETED)
                    for future in done:
                        future.result()  # a mistake of ours ends the run
                    self.on_step(self._step(len(running) - len(left)))
            finally:
                self.stopped.set()
                readers.shutdown(cancel_futures=True)
                encoders.shutdown(cancel_futures=True)
        return {video: future.result() for video, future in zip(self.videos, running, strict=True)}

    def _step(self, videos_done: int) -> ExtractingStep:
        # What was there already took no time, so it says nothing about the time that is left.
        work = [place for place, skipped in enumerate(self.skipped) if not skipped]
        total = sum(self.weights[place] for place in work)
        done = sum(self.weights[place] * self.shares[place] for place in work)
        return ExtractingStep(
            videos_done=videos_done,
            videos=len(self.videos),
            frames=sum(self.frames),
            share=done / total if total else 1.0,
            seconds=time.monotonic() - self.started,
        )

    def _outcome(self, place: int, encoders: ThreadPoolExecutor) -> Outcome:
        video = self.videos[place]
        try:
            self.check()
            clip = self._unchanged(video)
            self.skipped[place] = clip is not None
            return (clip, False) if clip else (self._extract(place, video, encoders), True)
        except VIDEO_ERRORS as error:
            if is_about_writing(error):
                raise  # no other video will fare better
            return sentence_of(error, video), False
        finally:
            self.shares[place] = 1.0

    def check(self) -> None:
        if self.stopped.is_set():
            raise _Stopped

    def _unchanged(self, video: Video) -> Clip | None:
        """The clip that is there already, whole, made in this way from this very video."""
        clip = self.ledger.clips.get(video.clip)
        made = made_of(clip)
        if clip is None or made is None:
            self.ledger.check_place(video.clip)
            return None
        size, modified_ns = modified(video.path)
        same_file = (made.get("bytes"), made.get("modified_ns")) == (size, modified_ns)
        same_place = made.get("place") == _place_of(video)
        same_content = (same_file and same_place) or (
            made.get("bytes") == size and clip.sha256 == sha256_of(video.path, self.check)
        )
        if not same_content and not same_place:
            raise FootageError(
                f"The clip {clip.name!r} is there already, from another video that is also called {clip.source!r}. "
                "Extract into another folder, or remove that clip first."
            )
        folder = self.ledger.root / clip.name
        is_whole = folder.is_dir() and {entry.name for entry in os.scandir(folder)} >= set(clip.frames)
        return clip if same_content and is_whole and made.get("how") == how_made(self.options) else None

    def _extract(self, place: int, video: Video, encoders: ThreadPoolExecutor) -> Clip:
        size, modified_ns = modified(video.path)
        facts = probe(video.path)
        chosen = _Choice(video.path, facts, self.options, self._watch(place))
        draft = self.ledger.draft()
        with folder_written_beside(draft) as folder:
            written = self._write(place, chosen.frames(), folder, video, encoders)
        numbers, sizes = [number for number, _, _ in written], {size for _, _, size in written}
        if len(sizes) > 1:
            raise MediaError(
                f"{facts.name} changes its size, and a clip has one size. Give --size, or convert it first."
            )
        width, height = sizes.pop()
        before = self.ledger.clips.get(video.clip)
        clip = Clip(
            name=video.clip,
            frames=tuple(name for _, name, _ in written),
            indices=tuple(numbers),
            source=video.path.name,
            sha256=sha256_of(video.path, self.check),
            width=width,
            height=height,
            frames_per_second=float(chosen.frames_per_second(numbers)),
            split=before.split if before else "",
            caption=before.caption if before else "",
        )
        made = {
            "how": how_made(self.options),
            "bytes": size,
            "modified_ns": modified_ns,
            "place": _place_of(video),
        }
        clip = replace(clip, other=dumps({MADE: made}, sort_keys=True))
        self.ledger.commit(draft, clip)
        return clip

    def _watch(self, place: int) -> Callable[[float], None]:
        def watch(share: float) -> None:
            self.check()
            self.shares[place] = share

        return watch

    def _write(
        self,
        place: int,
        frames: Iterator[tuple[int, VideoFrame]],
        folder: Path,
        video: Video,
        encoders: ThreadPoolExecutor,
    ) -> list[tuple[int, str, tuple[int, int]]]:
        """Write the frames in other threads; gives (number, name of the file, size) of each."""
        waiting: deque[Future[tuple[int, int]]] = deque()
        written: list[tuple[int, str]] = []
        sizes: list[tuple[int, int]] = []
        suffix = PICTURE_SUFFIXES[self.options.format]
        name = video.clip.rpartition("/")[2]

        def finish_one() -> None:
            sizes.append(waiting.popleft().result())
            self.frames[place] += 1

        try:
            for number, frame in frames:
                file = f"{name}_frame_{number + self.options.count_from}{suffix}"
                written.append((number, file))
                waiting.append(encoders.submit(write_picture, frame, folder / file, self.options))
                if len(waiting) > self.encoders + 1:
                    finish_one()
                self.check()
            while waiting:
                finish_one()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)  # before the folder goes, so that nobody writes into it
        return [(number, file, size) for (number, file), size in zip(written, sizes, strict=True)]


def _bytes_of(path: Path) -> int:
    try:
        return max(1, path.stat().st_size)
    except OSError:
        return 1  # it is gone, as whoever reads it will say


def _place_of(video: Video) -> str:
    """Stands for where a video lies, and does not say it: a manifest may be given away."""
    return digest(str(video.path.resolve()))


def is_about_writing(error: BaseException) -> bool:
    """Whether what went wrong is the disk, and not a video."""
    cause = error.__cause__ or error
    return isinstance(cause, OSError) and cause.errno in ONLY_FROM_WRITING


def sentence_of(error: BaseException, video: Video) -> str:
    """What is wrong with a video, for its owner."""
    if isinstance(error, MemoryError):
        return f"{video.path.name} needs more memory than there is. Extract it alone, with --jobs 1."
    if isinstance(error, FileNotFoundError):
        return f"{video.path.name} is gone, or is a link to nothing."
    if isinstance(error, OSError) and error.strerror:
        return f"{video.path.name} cannot be opened: {error.strerror}."
    return str(error) or type(error).__name__


def how_made(options: ExtractingOptions) -> dict[str, Any]:
    """What of the options decides how frames come out, as it is kept in the manifest."""
    how = {
        "rule": {"kind": type(options.rule).__name__, **asdict(options.rule)},
        "extent": {"kind": type(options.extent).__name__, **asdict(options.extent)},
        "count_from": options.count_from,
        "resize": asdict(options.resize),
        "format": options.format,
        "quality": options.quality if options.format == "jpeg" else None,
    }
    return loads(dumps(how))


# Choosing


@dataclass(frozen=True)
class _These:
    """Frames that were chosen before, as a rule."""

    numbers: list[int]

    def choose(self, timeline: Timeline, within: range) -> list[int]:
        return self.numbers

    def rate(self, timeline: Timeline, numbers: list[int]) -> Fraction | None:
        return None


@dataclass(frozen=True)
class _Choice:
    """The frames of a video that a rule takes."""

    path: Path
    facts: VideoFacts
    options: ExtractingOptions
    watch: Callable[[float], None]  # told which share of the video is done; may raise

    def frames(self) -> Iterator[tuple[int, VideoFrame]]:
        """Give (number, frame) in rising order, each once."""
        rule = self.options.rule
        within = self.options.extent.numbers(self.facts.timeline)
        if isinstance(rule, MostDifferent):
            window = rule.window(self.facts, within)
            yield from most_different_frames(self.path, self.facts, within, rule, self._watcher(window))
            return
        share_before = 0.0
        if isinstance(rule, OnePerScene):  # what the middle of a scene is, only its end tells, so this reads twice
            numbers = scene_frames(self.path, self.facts, within, rule, self._watcher(within, 0.0, 0.8))
            share_before = 0.8
        else:
            numbers = self.numbers()
        watch = self._watcher(range(numbers[0], numbers[-1] + 1), share_before, 1 - share_before)
        for number, frame in decoded_frames(self.path, numbers, self.facts):
            yield number, frame
            watch(number)

    def numbers(self) -> list[int]:
        """The frames of a rule that needs no pixels."""
        rule, extent = self.options.rule, self.options.extent
        if isinstance(rule, EveryNth) and self.options.count_from:
            within = extent.numbers(self.facts.timeline)
            numbers = list(within[rule.every - 1 :: rule.every])
            if not numbers:
                raise MediaError(
                    f"{self.facts.name} has {len(within)} frames to choose from, so there is no {rule.every}th among "
                    "them. Choose a smaller n, or count from 0, which takes the first."
                )
            return numbers
        assert not isinstance(rule, MostDifferent | OnePerScene)
        return sorted(set(select(self.facts.timeline, rule, extent).numbers))

    def frames_per_second(self, numbers: list[int]) -> Fraction:
        """The rate at which the chosen frames keep the video's time."""
        rule, timeline, extent = self.options.rule, self.facts.timeline, self.options.extent
        if isinstance(rule, AtRate):
            selection: Selection = select(timeline, rule, extent)
            if len(selection.numbers) == len(numbers):  # else it repeats frames, and a folder holds each once
                return selection.frames_per_second
        return select(timeline, _These(numbers), extent).frames_per_second  # type: ignore[arg-type]

    def _watcher(self, numbers: range, start: float = 0.0, share: float = 1.0) -> Callable[[int], None]:
        return lambda number: self.watch(start + share * (number - numbers.start + 1) / len(numbers))


# Writing


def write_picture(frame: VideoFrame, path: Path, options: ExtractingOptions) -> tuple[int, int]:
    """Turn, resize, encode and write a frame; gives the (width, height) that it has in the end."""
    pixels = resize_picture(upright(frame), options.resize)
    path.write_bytes(encode_png(pixels) if options.format == "png" else encode_jpeg(pixels, options.quality))
    return pixels.shape[1], pixels.shape[0]
