"""Clips that are longer than what a model makes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from ..host import folders, io, video, work
from ..media.files import NumberedName, written_beside
from ..media.pictures import Pixels, to_bytes
from ..media.writing import VideoOptions, write_video
from ..models.svd import SVDModel
from ..pipelines.chain import HANDOFFS, ChainOptions, ChainStep, chain
from ..pipelines.previewing import contact_sheet
from ..pipelines.svd import SVDOptions
from .sampling_inputs import OWN, guidance_of, tiny_decoder_of
from .svd import SVDType, clip_inputs
from .watching import watch

MOST_SEGMENTS = 10_000
QUALITY = VideoOptions(crf=8)  # so high that saving it in another format loses nothing that one sees


class SVDChain(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        default = ChainOptions()
        return io.Schema(
            node_id="ZoetropeSVDChain",
            display_name="SVD Chain",
            category="Zoetrope/svd",
            description="Makes a video of any length with Stable Video Diffusion: segment after segment, each going on "
            "from the end of the one before. It is written while it is made, so its length takes no memory.",
            search_aliases=["long video", "extend video", "continue video", "svd loop", "next segment", "longer"],
            inputs=[
                SVDType.Input("model", tooltip="An SVD model, from Load SVD."),
                io.Image.Input("image", tooltip="The picture that the video starts from. One, not a batch."),
                io.Int.Input(
                    "segments",
                    default=default.segments,
                    min=1,
                    max=MOST_SEGMENTS,
                    tooltip="How many clips are joined. Things drift with each: few look best.",
                ),
                io.Int.Input(
                    "overlap",
                    default=default.overlap,
                    min=1,
                    max=512,
                    tooltip="So many frames of two neighbouring segments show the same and are blended.",
                ),
                io.Float.Input(
                    "hold_colour",
                    default=default.hold_colour,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far the colours of every segment are held to those of the picture: 1 wholly, against "
                    "the drift of chains; 0 not at all, for what shall change its colours.",
                ),
                *clip_inputs(SVDOptions()),
                io.Combo.Input(
                    "handoff",
                    options=list(HANDOFFS),
                    default=default.handoff,
                    optional=True,
                    advanced=True,
                    tooltip="What a segment goes on from: latent loses nothing on the way, picture decodes the frame "
                    "and encodes it again.",
                ),
                io.Boolean.Input(
                    "steer",
                    default=default.steer,
                    optional=True,
                    advanced=True,
                    tooltip="On: while a segment forms, its first frames are held to the last ones of the segment "
                    "before, so that motion goes on. Off: they are only blended.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The whole video, in a file in the temp folder."),
                io.Image.Output(display_name="last_frame", tooltip="Its last frame, to go on from elsewhere."),
                io.Int.Output(display_name="frames", tooltip="How many frames the video has."),
                io.Float.Output(display_name="frames_per_second", tooltip="Its rate, fps_id and one."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: SVDModel,
        image: Tensor,
        segments: int,
        overlap: int,
        hold_colour: float,
        handoff: Any = ChainOptions.handoff,
        steer: bool = ChainOptions.steer,
        guidance: dict[str, Any] | None = None,
        decoder: str = OWN,
        **settings: Any,
    ) -> io.NodeOutput:
        options = ChainOptions(
            segments=segments, overlap=overlap, hold_colour=hold_colour, handoff=handoff, steer=steer
        )
        clip = SVDOptions(**settings, **guidance_of(guidance)).completed(model)
        frames = chain(
            model,
            _only(image),
            options,
            clip,
            on_step=_watching(clip.steps),
            tiny_decoder=tiny_decoder_of(decoder, model),
        )
        rate = float(clip.fps_id + 1)
        path, count, last = _written(frames, rate)
        return io.NodeOutput(video.VideoFromFile(path), last[None].to(work.intermediate_device()), count, rate)


def _only(images: Tensor) -> Tensor:
    if len(images) != 1:
        raise ValueError(
            f"The batch has {len(images)} pictures, and a chain starts from one. Take one with Get Image from Batch, "
            "or load several with Load Pictures, which gives each a chain of its own."
        )
    return images[0]


def _watching(steps: int) -> Callable[[ChainStep], None]:
    steps_and_decoding = steps + 1
    watching: Callable[..., None] | None = None

    def on_step(told: ChainStep) -> None:
        nonlocal watching
        watching = watching or watch(told.segments * steps_and_decoding)
        done = told.segment * steps_and_decoding + told.step.index + 1
        watching(done, lambda: contact_sheet(told.step.preview()))

    return on_step


def _written(frames: Iterator[Tensor], rate: float) -> tuple[Path, int, Tensor]:
    """Write a video in the temp folder as its (h w 3) frames come; where it is, how many there were, and the last."""
    target = folders.numbered("zoetrope/chain", "temp")
    name = NumberedName(lambda number: target.folder / f"{target.stem}_{number:05}_.mp4", target.counter)
    kept = _Kept(frames)
    with written_beside(name) as draft:
        write_video(draft, kept, rate, QUALITY)
    assert kept.last is not None  # or write_video would have refused a video of nothing
    return name.path, kept.count, kept.last


class _Kept:
    """Hands frames on as bytes, and keeps the last and their number."""

    def __init__(self, frames: Iterator[Tensor]):
        self._frames = frames
        self.count = 0
        self.last: Tensor | None = None

    def __iter__(self) -> Iterator[Pixels]:
        for frame in self._frames:
            self.count, self.last = self.count + 1, frame
            yield from to_bytes(frame[None])
