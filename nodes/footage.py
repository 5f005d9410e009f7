"""Footage: from videos to a training set, as paths and facts that are cheap to pass on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..clips.archives import unzip_footage
from ..clips.captions import load_footage, with_captions
from ..clips.choosing import SplitOptions, count_table, notes_on_split, split_footage
from ..clips.different import MostDifferent, OnePerScene
from ..clips.extracting import Extracted, ExtractingOptions, ExtractingStep, extract_footage
from ..clips.footage import MANIFEST, SPLITS, Clip, Footage, update_manifest
from ..clips.sources import VIDEO_SUFFIXES, modified
from ..host import folders, io, ui, work
from ..media.rates import FASTEST, SLOWEST
from ..media.resizing import LARGEST_SIDE, ResizeOptions
from ..media.selection import AtRate, EveryNth, Spread
from .frames import EXTENTS, chosen, extent_input
from .resizing import fit_input, fit_of
from .saving import format_of

FootageType = io.Custom("ZOETROPE_FOOTAGE")
TEXT_SUFFIXES = {".txt", ".caption", ".jsonl"}  # of captions and the manifest
MOST_SHOWN = 24  # clips of which the node shows a frame
STEPS = 1000  # of a bar whose length is not known beforehand


def every_frame() -> EveryNth:
    return EveryNth(every=1)


RULES: dict[str, Callable[..., Any]] = {
    "every nth": EveryNth,
    "rate": AtRate,
    "count": Spread,
    "most different": MostDifferent,
    "scenes": OnePerScene,
    "all": every_frame,
}


# The folders that Footage From Videos has filled since the program started, and how often each was found gone. That a
# folder is not there before the first run is no change: were it told, the second run would look at every video again.
MADE_HERE: dict[Path, int] = {}


class FootageFromVideos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = ExtractingOptions()
        return io.Schema(
            node_id="ZoetropeFootageFromVideos",
            display_name="Footage From Videos",
            category="Zoetrope/footage",
            description="Turns videos into a training set: a folder of pictures for each video, with a manifest. Run "
            "it again with more videos, or after it was stopped: what is done and unchanged is not done again.",
            search_aliases=[
                "extract frames from videos",
                "training set",
                "dataset",
                "batch extract",
                "folder of videos",
            ],
            inputs=[
                io.String.Input(
                    "videos",
                    default="",
                    tooltip="A folder in the input folder, with videos in it or below it, or a single video. Empty is "
                    'the whole input folder; "clips [output]" is clips in the output folder.',
                ),
                _rule_input(),
                extent_input(),
                *_size_inputs(default.resize),
                fit_input(default.resize),
                _format_input(default),
                io.String.Input(
                    "folder",
                    default="zoetrope/footage",
                    tooltip="The folder in the output folder that gets a folder for each video. What is in it already "
                    "stays.",
                ),
                io.Int.Input(
                    "count_from",
                    default=default.count_from,
                    min=0,
                    max=1,
                    tooltip="The number of a video's first frame, in the names of files and for every nth: with 1, "
                    "every 10th frame are frames 10, 20, 30 ...; with 0 they are frames 0, 10, 20 ....",
                ),
            ],
            outputs=[
                FootageType.Output(display_name="footage", tooltip="The clips of these videos."),
                io.String.Output(
                    display_name="folder", tooltip='The folder, as "name [output]", which Load Footage understands.'
                ),
                io.String.Output(
                    display_name="summary", tooltip="What came of it, and which videos could not be read and why."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        videos: str | None = None,
        folder: str | None = None,
        choose: Any = None,
        range: Any = None,
        fit: Any = None,
        format: Any = None,
    ) -> bool | str:  # ComfyUI hands over every dynamic combo, whether it is wanted here or not
        return (
            _refusal(lambda: videos is None or folders.resolve_place(videos))
            or _refusal(lambda: folder is None or folders.output_place(folder))
            or True
        )

    @classmethod
    def fingerprint_inputs(cls, videos: str | None = None, folder: str | None = None, **others: Any) -> str:
        """What the videos are like now, and whether what was made of them has gone since."""
        found = "" if videos is None else _fingerprint(_videos_of(folders.resolve_place(videos)))
        return found if folder is None else f"{found} {_times_gone(folders.output_place(folder))}"

    @classmethod
    def execute(
        cls,
        videos: str,
        width: int,
        height: int,
        folder: str,
        count_from: Any,
        choose: dict[str, Any] | None = None,
        range: dict[str, Any] | None = None,
        fit: dict[str, Any] | None = None,
        format: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        options = ExtractingOptions(
            rule=chosen("choose", RULES, choose),
            extent=chosen("range", EXTENTS, range),
            resize=ResizeOptions(width=width, height=height, **fit_of(fit)),
            count_from=count_from,
            **format_of(format),
        )
        root = folders.output_place(folder)
        extracted = extract_footage(folders.resolve_place(videos), root, options, _watch_steps())
        if not extracted.footage.clips:
            raise ValueError(f"None of the videos could be read. The first, {': '.join(extracted.failed[0])}")
        MADE_HERE.setdefault(root, 0)
        footage, notes = with_captions(extracted.footage)
        summary = "\n".join([_summary(extracted), *notes])
        return io.NodeOutput(footage, folders.annotated(root), summary, ui=shown_clips(footage))


class LoadFootage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeLoadFootage",
            display_name="Load Footage",
            category="Zoetrope/footage",
            description="Reads a training set: a folder with a folder of pictures for each clip, with or without a "
            "manifest, or a zip of one.",
            search_aliases=["load dataset", "training set", "image folders", "frames folder", "load zip", "manifest"],
            inputs=[
                io.String.Input(
                    "path",
                    default="",
                    tooltip="A folder, a zip, or a footage.jsonl in the input folder. "
                    '"zoetrope/footage [output]" is zoetrope/footage in the output folder.',
                ),
            ],
            outputs=[
                FootageType.Output(display_name="footage", tooltip="The clips, in the natural order of their names."),
                io.String.Output(
                    display_name="notes",
                    tooltip="What is odd: stray files, mixed sizes, missing frames, captions that cannot be read. "
                    "Empty if nothing is.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, path: str | None = None) -> bool | str:
        return _refusal(lambda: path is None or folders.resolve_place(path)) or True

    @classmethod
    def fingerprint_inputs(cls, path: str | None = None, **others: Any) -> str:
        return "" if path is None else _fingerprint(_facts_of(folders.resolve_place(path)))

    @classmethod
    def execute(cls, path: str) -> io.NodeOutput:
        footage, notes = load_footage(_root_of(folders.resolve_place(path)))
        return io.NodeOutput(footage, "\n".join(notes), ui=shown_clips(footage))


class SplitFootage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = SplitOptions()
        return io.Schema(
            node_id="ZoetropeSplitFootage",
            display_name="Split Footage",
            category="Zoetrope/footage",
            description="Says which clips are for training, for validation and for testing. Clips of one group, such "
            "as g01 in v_Archery_g01_c02, and clips of one video are never on two sides.",
            search_aliases=["train test split", "validation split", "holdout", "divide dataset"],
            inputs=[
                FootageType.Input("footage", tooltip="The clips to split."),
                *(
                    io.Float.Input(
                        split,
                        default=getattr(default, split),
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        tooltip=f"The share of the clips {what}. The three make 1.",
                    )
                    for split, what in zip(SPLITS, PURPOSES, strict=True)
                ),
                io.Combo.Input(
                    "by",
                    options=["group", "clip"],
                    default=default.by,
                    tooltip="group keeps clips of one group together, as their names tell it; clip takes each for "
                    "itself.",
                ),
                io.Boolean.Input(
                    "across_classes",
                    default=default.across_classes,
                    tooltip="On: g01 of one class and g01 of another are the same group, as when a group is a person.",
                ),
                io.Int.Input(
                    "seed",
                    default=default.seed,
                    min=0,
                    max=2**63 - 1,
                    # Said outright, or the frontend would draw a new seed, and so a new split, for every run.
                    control_after_generate=False,
                    tooltip="Another number is another split. The same one gives the same split on every machine.",
                ),
                io.Boolean.Input(
                    "save",
                    default=True,
                    tooltip="On: the splits are kept in the footage's manifest, where training looks for them. Off: "
                    "they are only passed on.",
                ),
            ],
            outputs=[
                FootageType.Output(display_name="footage", tooltip="All clips, each with its split."),
                *(
                    FootageType.Output(display_name=split, tooltip=f"The clips {what} alone.")
                    for split, what in zip(SPLITS, PURPOSES, strict=True)
                ),
                io.String.Output(display_name="counts", tooltip="How many clips of each class are in each split."),
            ],
        )

    @classmethod
    def execute(
        cls,
        footage: Footage,
        train: float,
        validation: float,
        test: float,
        by: Any,
        across_classes: bool,
        seed: int,
        save: bool,
    ) -> io.NodeOutput:
        options = SplitOptions(
            train=train, validation=validation, test=test, by=by, across_classes=across_classes, seed=seed
        )
        divided = split_footage(footage, options)
        if save:
            update_manifest(divided, "split")
        counts = "\n".join([count_table(divided), *notes_on_split(divided, options)])
        return io.NodeOutput(divided, *(divided.select(split) for split in SPLITS), counts)


PURPOSES = ("to train with", "to watch training with", "to test the result with")


def shown_clips(footage: Footage) -> ui.SavedImages | None:
    """Show a frame of each of the first clips; they lie in a folder that the browser can reach."""
    return ui.SavedImages([shown for clip in footage.clips[:MOST_SHOWN] for shown in _shown(footage, clip)])


def _shown(footage: Footage, clip: Clip) -> Iterator[ui.SavedResult]:
    roots = {
        io.FolderType.input: folders.input_folder(),
        io.FolderType.output: folders.output_folder(),
        io.FolderType.temp: folders.temp_folder(),
    }
    path = footage.paths(clip)[len(clip.frames) // 2]
    for kind, root in roots.items():
        if path.is_relative_to(root):
            yield ui.SavedResult(path.name, path.parent.relative_to(root).as_posix(), kind)
            return


def _refusal(resolve: Callable[[], Any]) -> str:
    """Why a name is refused, "" where it is not."""
    try:
        resolve()
    except ValueError as error:
        return str(error)
    return ""


def _fingerprint(paths: Iterable[Path]) -> str:
    """Changes when one of these is changed, and when one comes or goes."""
    digest = hashlib.sha256()
    for path in paths:
        work.raise_if_cancelled()
        with suppress(FileNotFoundError):  # a link to nothing, or gone since
            digest.update(f"{path} {modified(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _times_gone(root: Path) -> int:
    """How often the footage that was made in this folder was found gone, now included."""
    if root in MADE_HERE and not (root / MANIFEST).is_file():
        MADE_HERE[root] += 1
    return MADE_HERE.get(root, 0)


def _videos_of(place: Path) -> Iterator[Path]:
    yield from (path for path in _below(place) if path.suffix.lower() in VIDEO_SUFFIXES)


def _facts_of(place: Path) -> Iterator[Path]:
    """What tells that footage changed: its texts, and its folders, whose date changes when a picture comes or goes."""
    if place.is_file():
        yield place
        place = place.parent if place.name == MANIFEST else place
    yield from (path for path in _below(place) if path.is_dir() or path.suffix.lower() in TEXT_SUFFIXES)


def _below(place: Path) -> Iterator[Path]:
    """A file, or a folder and all that is in it and below it, in an order that stays."""
    yield place
    for folder, subfolders, files in os.walk(place):
        subfolders.sort()
        yield from (Path(folder, name) for name in sorted([*subfolders, *files]))


def _root_of(place: Path) -> Path:
    """The folder that a folder, a manifest or a zip stands for; a zip is unpacked into the temp folder."""
    if place.is_dir():
        return place
    if place.name == MANIFEST:
        return place.parent
    if place.suffix.lower() != ".zip":
        raise ValueError(f"{place.name} is no footage. Choose a folder of clips, a zip of one, or a {MANIFEST}.")
    told = f"{place.absolute()} {modified(place)}"
    root = folders.temp_folder() / "zoetrope" / f"footage_{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if not root.is_dir():
        unzip_footage(place, root, watch_counts())
    return root


def watch_counts() -> Callable[[int, int], None]:
    """A callback for (done, of how many), which raises when the user cancels."""
    progress: work.Progress | None = None

    def on_step(done: int, total: int) -> None:
        nonlocal progress
        progress = progress or work.Progress(total)
        progress.update(done)

    return on_step


def _watch_steps() -> Callable[[ExtractingStep], None]:
    progress = work.Progress(STEPS)
    return lambda step: progress.update(round(step.share * STEPS))


def _summary(extracted: Extracted) -> str:
    clips = extracted.footage.clips
    frames = sum(len(clip.frames) for clip in clips)
    there = f"; {len(extracted.kept)} were there already" if extracted.kept else ""
    failed = [f"{video}: {what}" for video, what in extracted.failed]
    return "\n".join([f"{len(clips)} {'clip' if len(clips) == 1 else 'clips'}, {frames} frames{there}.", *failed])


def _size_inputs(default: ResizeOptions) -> Iterator[io.Int.Input]:
    for side, other in (("width", "height"), ("height", "width")):
        yield io.Int.Input(
            side,
            default=getattr(default, side),
            min=0,
            max=LARGEST_SIDE,
            tooltip=f"In pixels. 0 follows from the {other} and the aspect; both 0 keep the size of each video.",
        )


def _format_input(default: ExtractingOptions) -> io.DynamicCombo.Input:
    quality = io.Int.Input("quality", default=default.quality, min=1, max=100, tooltip="From 1, small, to 100, best.")
    return io.DynamicCombo.Input(
        "format",
        options=[io.DynamicCombo.Option("png", []), io.DynamicCombo.Option("jpeg", [quality])],
        tooltip="PNG keeps every pixel; JPEG is smaller and faster.",
    )


def _rule_input() -> io.DynamicCombo.Input:
    most = 1_000_000
    every, rate, spread, different, scenes = EveryNth(), AtRate(), Spread(), MostDifferent(), OnePerScene()
    return io.DynamicCombo.Input(
        "choose",
        options=[
            io.DynamicCombo.Option(
                "every nth",
                [
                    io.Int.Input(
                        "every", default=every.every, min=1, max=most, tooltip="10 takes frames 10, 20, 30 ...."
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "rate",
                [
                    io.Float.Input(
                        "frames_per_second",
                        default=rate.frames_per_second,
                        min=float(SLOWEST),
                        max=float(FASTEST),
                        step=0.001,
                        tooltip="The frame on screen at each step of this rate. All clips then show motion at one "
                        "speed.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "count",
                [
                    io.Int.Input(
                        "count",
                        default=spread.count,
                        min=1,
                        max=most,
                        tooltip="This many frames of each video, spread evenly from the first to the last.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "most different",
                [
                    io.Int.Input(
                        "count",
                        default=different.count,
                        min=1,
                        max=most,
                        tooltip="This many frames: those that differ most from the one before, in their own order.",
                    ),
                    io.Float.Input(
                        "window_seconds",
                        default=different.window_seconds,
                        min=0.0,
                        max=float(most),
                        step=0.1,
                        tooltip="Only so many seconds from the start of the range are looked at. 0 is all of it.",
                    ),
                    io.Int.Input(
                        "minimum_distance",
                        default=different.minimum_distance,
                        min=1,
                        max=most,
                        tooltip="At least so many frames from one chosen frame to the next.",
                    ),
                ],
            ),
            io.DynamicCombo.Option(
                "scenes",
                [
                    io.Float.Input(
                        "threshold",
                        default=scenes.threshold,
                        min=0.1,
                        max=255.0,
                        step=0.1,
                        tooltip="The least change that ends a scene. Lower finds more scenes.",
                    ),
                    io.Float.Input(
                        "shortest_seconds",
                        default=scenes.shortest_seconds,
                        min=0.0,
                        max=float(most),
                        step=0.1,
                        tooltip="A scene lasts at least this long.",
                    ),
                    io.Combo.Input(
                        "take",
                        options=["middle", "first"],
                        default=scenes.take,
                        tooltip="Which frame of each scene is taken.",
                    ),
                ],
            ),
            io.DynamicCombo.Option("all", []),
        ],
        tooltip="Which frames of each video: every nth, at a steady rate, a number spread evenly, those that differ "
        "most, one of each scene, or all.",
    )
