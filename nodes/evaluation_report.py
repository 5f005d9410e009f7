"""Reports of what was measured, as files and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.errors import EvaluationError
from ..evaluation.report import Report
from ..evaluation.report_files import write_report
from ..evaluation.report_pictures import curves_picture, heat_picture, models_picture, strip_picture
from ..evaluation.report_text import as_text
from ..host import folders, io, ui, work
from ..media.files import NumberedName, folder_written_beside, written_beside
from ..media.pictures import Pixels, as_images, encode_png
from . import previews
from .evaluation_inputs import EvaluationType, chosen_metric, measure_input

PICTURES: dict[str, Callable[[Report, str, str], Pixels]] = {  # of a report, the measure input and a clip's name
    "curves": lambda report, measure, clip: curves_picture(report, chosen_metric(report, measure).name, clip),
    "models": lambda report, measure, clip: models_picture(report),
    "heat map": lambda report, measure, clip: heat_picture(report),
    "frames": lambda report, measure, clip: strip_picture(report, clip, chosen_metric(report, measure).name),
}
ALL = "all"
PICTURE = "report.png"


class EvaluationReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoetropeEvaluationReport",
            display_name="Evaluation Report",
            category="Zoetrope/evaluation",
            description="Saves what was measured as a page with curves and clips side by side, as a table and as JSON, "
            "and draws it.",
            search_aliases=["plot", "chart", "metrics report", "html report", "csv", "save evaluation"],
            inputs=[
                EvaluationType.Input("evaluation", tooltip="From Evaluate Video, Compare Videos or CLIP Similarity."),
                io.Combo.Input(
                    "picture",
                    options=[*PICTURES, ALL],
                    default="curves",
                    tooltip="curves: the measure over the frames. models: the means of all models, with intervals "
                    "where they have three clips or more. heat map: clips by measures. frames: some frames with their "
                    "scores, the best and the worst among them. all: each that can be drawn.",
                ),
                measure_input(),
                io.String.Input(
                    "clip",
                    default="",
                    tooltip="The name of the clip that curves and frames show. Empty: all curves, and the "
                    "frames of the first clip that has values.",
                ),
                io.Boolean.Input("save", default=True, tooltip="On: the report is saved. Off: it is only shown."),
                io.String.Input(
                    "filename_prefix",
                    default="zoetrope/evaluation",
                    tooltip="The new folder in the output folder; a number is added. %date% is filled in.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="What is drawn."),
                io.String.Output(display_name="report", tooltip="What was found, in sentences and a table."),
                io.String.Output(
                    display_name="folder",
                    tooltip="The new folder, as a path inside the output folder: report.html, report.csv, report.json "
                    "and report.png lie in it. Empty where nothing is saved.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, evaluation: Report, picture: str, measure: str, clip: str, save: bool, filename_prefix: str
    ) -> io.NodeOutput:
        # First the files: whatever becomes of the picture, what was measured is not lost.
        folder, names = _saved(evaluation, filename_prefix) if save else ("", [])
        try:
            drawn = draw(evaluation, picture, measure, clip.strip())
        except EvaluationError as error:
            if not save:
                raise
            raise EvaluationError(f"{error} The report is saved in {folder}, without a picture.") from error
        if save:
            with written_beside(Path(folders.output_folder(), folder, PICTURE)) as draft:
                draft.write_bytes(encode_png(drawn))
            shown = _shown_files(folder, [PICTURE, *names])
        else:
            shown = previews.still(drawn).as_dict()
        return io.NodeOutput(as_images(drawn), as_text(evaluation), folder, ui=shown)


def draw(report: Report, picture: str, measure: str, clip: str) -> Pixels:
    """One kind of picture, or all that can be drawn below each other."""
    if picture != ALL:
        return PICTURES[picture](report, measure, clip)
    progress = work.Progress(len(PICTURES))
    drawn, faults = [], []
    for done, make in enumerate(PICTURES.values(), 1):
        try:
            drawn.append(make(report, measure, clip))
        except EvaluationError as error:  # curves of a measure that has no values by frame, and the like
            faults.append(error)
        progress.update(done)
    if not drawn:
        raise faults[0]
    width = max(each.shape[1] for each in drawn)
    paper = [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in drawn]
    return np.concatenate(paper)


def _saved(report: Report, prefix: str) -> tuple[str, list[str]]:
    """Save a report in a new folder; gives it as a path inside the output folder, and the files' names."""
    target = folders.numbered(prefix)
    if target.stem in ("", ".", ".."):
        raise EvaluationError(
            f"filename_prefix is {prefix!r}, which names no folder. Choose a name, such as zoetrope/evaluation."
        )
    new = NumberedName(lambda number: target.folder / f"{target.stem}_{number:05}", target.counter)
    with folder_written_beside(new) as draft:
        names = [path.name for path in write_report(report, draft)]
    return Path(target.subfolder, new.path.name).as_posix(), names


def _shown_files(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """The node shows the first; "files" names all of them for those who fetch what was saved."""
    files = ui.SavedImages([ui.SavedResult(name, folder, io.FolderType.output) for name in names]).as_dict()["images"]
    return {"images": files[:1], "files": files}
