"""ComfyUI's own nodes for sound: the same inputs and results as in ComfyUI 0.33."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

from ..host import folders, io, metadata, ui
from ..host.opening import open_local
from ..media.files import written_beside
from .core_pictures import check_file, numbered_name

Audio = dict[str, Any]


class LoadAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = sorted(folders.list_input("audio") + folders.list_input("video"))
        return io.Schema(
            node_id="LoadAudio",
            display_name="Load Audio",
            category="audio",
            inputs=[io.Combo.Input("audio", options=names, upload=io.UploadType.audio)],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls, audio: str) -> io.NodeOutput:
        return io.NodeOutput(load_audio(folders.resolve_input(audio)))

    @classmethod
    def validate_inputs(cls, audio: str) -> bool | str:
        return check_file(audio)


class SaveAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SaveAudio",
            display_name="Save Audio (FLAC) (DEPRECATED)",
            category="audio",
            is_deprecated=True,
            inputs=[io.Audio.Input("audio"), io.String.Input("filename_prefix", default="audio/ComfyUI")],
            outputs=[io.Audio.Output("audio")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, audio: Audio | None, filename_prefix: str) -> io.NodeOutput:
        saved = _save_flac(_require_sound(audio), filename_prefix, "output", metadata(cls))
        return io.NodeOutput(audio, ui=ui.SavedAudios(saved))


class PreviewAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PreviewAudio",
            display_name="Preview Audio",
            category="audio",
            inputs=[io.Audio.Input("audio")],
            outputs=[io.Audio.Output("audio")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, audio: Audio | None) -> io.NodeOutput:
        prefix = f"ComfyUI_temp_{secrets.token_hex(3)}"
        saved = _save_flac(_require_sound(audio), prefix, "temp", metadata(cls))
        return io.NodeOutput(audio, ui=ui.SavedAudios(saved))


NODES: list[type[io.ComfyNode]] = [LoadAudio, SaveAudio, PreviewAudio]


def load_audio(path: Path) -> Audio:
    with open_local(str(path)) as container:
        if not container.streams.audio:
            raise ValueError(f"{path.name} has no sound. Choose a file that has.")
        stream = container.streams.audio[0]
        pieces = [_planar(frame, stream.channels) for frame in container.decode(stream)]
        rate = stream.codec_context.sample_rate
    if not pieces:
        raise ValueError(f"{path.name} has a sound track, but nothing in it. Choose another file.")
    return {"waveform": _in_floats(torch.cat(pieces, dim=1))[None], "sample_rate": rate}


def _planar(frame: av.AudioFrame, channels: int) -> Tensor:
    samples = torch.from_numpy(frame.to_ndarray())
    return samples if samples.shape[0] == channels else samples.view(-1, channels).t()


def _in_floats(samples: Tensor) -> Tensor:
    """Samples of any kind in -1..1."""
    if samples.is_floating_point():
        return samples
    if samples.dtype not in (torch.int16, torch.int32):
        raise ValueError(f"The sound has samples of the unusual kind {samples.dtype}. Convert it to 16 bits first.")
    return samples.float() / -torch.iinfo(samples.dtype).min


def _require_sound(audio: Audio | None) -> Audio:
    if audio is None:
        raise ValueError("there is no sound: the video that it was taken from is silent.")
    return audio


def _save_flac(audio: Audio, prefix: str, folder: Any, embedded: dict[str, Any]) -> list[ui.SavedResult]:
    place = folders.numbered(prefix, folder)
    saved, number = [], place.counter
    for index, waveform in enumerate(audio["waveform"].cpu()):
        name = numbered_name(place, ".flac", number, index)
        with written_beside(name) as draft:
            _write_flac(draft, waveform, audio["sample_rate"], embedded)
        number = name.number + 1
        saved.append(ui.SavedResult(name.path.name, place.subfolder, io.FolderType(place.kind)))
    return saved


def _write_flac(path: Path, waveform: Tensor, sample_rate: int, embedded: dict[str, Any]) -> None:
    """Write a (c t) waveform; beyond two channels FLAC has no layout that ComfyUI would name."""
    if waveform.shape[0] > 2:
        raise ValueError(f"the sound has {waveform.shape[0]} channels, and only one or two can be saved as FLAC.")
    layout = "mono" if waveform.shape[0] == 1 else "stereo"
    with av.open(str(path), mode="w", format="flac") as output:
        output.metadata.update({name: json.dumps(value) for name, value in embedded.items()})
        stream = output.add_stream("flac", rate=sample_rate, layout=layout)
        interleaved = waveform.float().t().reshape(1, -1).contiguous().numpy()
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate, frame.pts = sample_rate, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
