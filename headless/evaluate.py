"""`zoetrope evaluate`: measure clips, against a true one where there is one, and write the report."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with it, and `--help` should not wait for it
    from ..evaluation.evaluate import Candidate, TrueClip
    from ..evaluation.measuring import MeasuringOptions
    from ..evaluation.report import Report
    from ..evaluation.sources import ClipOnDisk

OK, SHORT = 0, 2
EXAMPLES = """\
examples:
  A generated clip against the true one:
    zoetrope evaluate made.mp4 --truth real.mp4 --out report
  Three models on the same scenes, the folders holding clips of the same names:
    zoetrope evaluate base lora other --truth real --out report --clip clip-vit-large-patch14 --prompt "the moon wanes"
  A check for CI, whose exit code is 2 where a mean falls short:
    zoetrope evaluate made.mp4 --truth real.mp4 --fail-under ssim=0.8 --fail-under warp_error=0.05

A clip is a video or a folder of frames. Clips of folders belong together by their names: two models are compared on
those that both have. --out writes report.json, report.csv and report.html. A clip that stands still, whose frames are
in no order, or that ends long before the true one, is ranked last whatever its numbers. One that cannot be read is
told, and the exit code is 2 then.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("generated", nargs="+", metavar="GENERATED", help="a video, a folder of frames, or of clips")
    parser.add_argument("--truth", metavar="CLIP", help="the true clip; or a folder of them, found by the clips' names")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the report into this folder")
    parser.add_argument("--prompt", default="", help="what the clips should show")
    parser.add_argument(
        "--clip",
        default="builtin",
        metavar="MODEL",
        help="CLIP: a folder, a file, builtin (the small one of the pack) or none (default: builtin)",
    )
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of CLIP")
    parser.add_argument("--lpips", type=Path, metavar="DIR", help="a folder with the weights of LPIPS")
    parser.add_argument("--lpips-trunk", choices=("alex", "vgg"), default="alex", help="which LPIPS (default: alex)")
    parser.add_argument(
        "--i3d",
        type=Path,
        metavar="FILE",
        help="FVD's i3d_torchscript.pt, or a network called alike. Such a file is a program: take one that you trust",
    )
    parser.add_argument("--align", choices=("auto", "index", "time"), default="auto", help="how frames are paired")
    parser.add_argument("--groups", nargs="+", metavar="GROUP", help="measure only these: truth, clip, motion, looks")
    parser.add_argument("--loop", action="store_true", help="orbits, whose last frame is a neighbour of the first")
    parser.add_argument(
        "--fail-under",
        action="append",
        default=[],
        metavar="MEASURE=VALUE",
        help="exit with 2 where a mean over all clips is worse: below the value, or above it where less is better; and "
        "where a clip has no value, or is one that is ranked last whatever its numbers",
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure; gives 0 where every clip could be measured and nothing falls short, else 2."""
    from ..evaluation.report import fails
    from ..evaluation.report_files import report_begun
    from ..evaluation.report_text import as_text

    options = _options(arguments)
    floors = parse_floors(arguments.fail_under)
    found = find(arguments.generated, arguments.truth)
    _check_floors(floors, options, arguments)
    report, paths = None, []
    try:
        # Begun before the work, so that a folder that cannot be written to is told at once.
        with report_begun(arguments.out) if arguments.out else nullcontext() as write:
            report = _measured(arguments, options, found)
            paths = write(report) if write else []
    finally:
        # First the files, then what is printed: whatever becomes of either, the other is not lost.
        if report is not None:
            sys.stdout.write(as_text(report))
    for path in paths:
        sys.stdout.write(f"{path}\n")
    short = fails(report, floors)
    for sentence in short:
        sys.stderr.write(f"{sentence}\n")
    return SHORT if short or report.failed else OK


def parse_floors(texts: Sequence[str]) -> dict[str, float]:
    """Read MEASURE=VALUE."""
    from ..evaluation.errors import EvaluationError

    floors = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            floors[name.strip()] = float(value)
        except ValueError:
            raise EvaluationError(
                f"--fail-under {text!r} is no measure with a value. Write it like --fail-under clip=0.8."
            ) from None
    return floors


def _check_floors(floors: Mapping[str, float], options: MeasuringOptions, arguments: argparse.Namespace) -> None:
    """Refuse, before anything is measured, what no clip can have."""
    from ..evaluation.errors import EvaluationError
    from ..evaluation.metrics import METRICS, lacks

    given: dict[Any, bool] = {
        "truth": arguments.truth is not None,
        "clip": arguments.clip != "none",
        "prompt": bool(arguments.prompt.strip()),
        "loop": arguments.loop,
        "lpips": arguments.lpips is not None,
        "i3d": arguments.i3d is not None,
    }
    has = [need for need, is_given in given.items() if is_given]
    for name in floors:
        if name not in METRICS:
            raise EvaluationError(f"--fail-under {name!r} is no measure. There are: {', '.join(METRICS)}.")
        if why := lacks(METRICS[name], options.groups, has):
            raise EvaluationError(f"--fail-under {name}: {name} will not be measured, for {why}.")


def _measured(arguments: argparse.Namespace, options: MeasuringOptions, found: Found) -> Report:
    from ..evaluation.evaluate import evaluate

    with ProgressDisplay() as display:
        return evaluate(
            found.candidates,
            encoder=_encoder(arguments) if "clip" in options.groups else None,
            perceptual=_perceptual(arguments),
            video=_video_network(arguments),
            options=options,
            notes=found.notes,
            on_clip=lambda done, name: display.show("Measuring clips", done, len(found.candidates)),
        )


@dataclass(frozen=True)
class Found:
    """The clips to measure, and what is to be told of how they were found."""

    candidates: list[Candidate]
    notes: list[str]


def find(generated: Sequence[str], truth: str | None) -> Found:
    """The clips to measure. Those of a folder of clips are of one model, called like the folder."""
    from ..evaluation.evaluate import Candidate
    from ..evaluation.sources import find_clips

    truths = _Truths(truth)
    places = [find_clips(place) for place in generated]
    called = shortest_names([Path(place) for place in generated])
    found = [
        (clip, name if place.is_folder else "", f"{name}/{clip.name}" if place.is_folder else name)
        for place, name in zip(places, called, strict=True)
        for clip in place.clips
    ]
    twice = {name for name, times in Counter(name for _, _, name in found).items() if times > 1}
    candidates = []
    for clip, model, name in found:
        true = truths.of(clip)
        candidates.append(
            Candidate(
                name=str(clip.path) if name in twice else name,
                load=partial(_refuse, true) if isinstance(true, str) else clip.load,
                rate=clip.rate,
                truth=None if isinstance(true, str) else true,
                model=model,
                item=clip.name if model else "",
            )
        )
    if truth is not None and not any(candidate.truth for candidate in candidates):
        candidates[0].load()  # says why there is no true clip for the first, nor so for any
    notes = [*(place.note for place in places), truths.note]
    return Found(candidates, [note for note in dict.fromkeys(notes) if note])


def shortest_names(places: Sequence[Path]) -> list[str]:
    """What to call each of some paths: the fewest of its last parts by which it is told from the others."""
    whole = [place.resolve() for place in places]
    parts = {path: (path.with_suffix("") if path.is_file() else path).parts for path in whole}
    names = []
    for path in whole:
        own = parts[path]
        shorter = (
            "/".join(own[-count:])
            for count in range(1, len(own))
            if sum(other[-count:] == own[-count:] for other in parts.values()) == 1
        )
        names.append(next(shorter, str(path)))
    return names


def _refuse(sentence: str) -> NoReturn:
    from ..evaluation.errors import EvaluationError

    raise EvaluationError(sentence)


class _Truths:
    """The true clip of each generated one: the only one, or the one of its name."""

    def __init__(self, place: str | None) -> None:
        from ..evaluation.evaluate import TrueClip
        from ..evaluation.sources import find_clips

        found = find_clips(place) if place is not None else None
        self._is_folder = found is not None and found.is_folder
        self._place = place
        self.note = found.note if found else ""
        clips = found.clips if found else []
        self._by_name = {clip.name: TrueClip(name=clip.name, load=clip.load, rate=clip.rate) for clip in clips}

    def of(self, clip: ClipOnDisk) -> TrueClip | str | None:
        """None where none is given, and what is wrong, in a sentence, where none of them is the clip's."""
        if not self._by_name:
            return None
        if not self._is_folder:
            return next(iter(self._by_name.values()))
        if clip.name not in self._by_name:
            return (
                f"There is no true clip for {clip.path} in {self._place}: none in it is called {clip.name}. Give both "
                "the same name, or one clip as --truth for all."
            )
        return self._by_name[clip.name]


def _options(arguments: argparse.Namespace) -> Any:
    from ..evaluation.alignment import AlignmentOptions
    from ..evaluation.measuring import MeasuringOptions

    chosen = {"groups": tuple(arguments.groups)} if arguments.groups else {}
    return MeasuringOptions(
        loop=arguments.loop, prompt=arguments.prompt, alignment=AlignmentOptions(rule=arguments.align), **chosen
    )


def _encoder(arguments: argparse.Namespace) -> Any:
    if arguments.clip == "none":
        return None
    import torch

    from ..evaluation.clip_encoders import ClipEncoder
    from ..host.weights import managed
    from ..models.clip import load_clip

    dtype = getattr(torch, arguments.dtype)
    return ClipEncoder(load_clip(arguments.clip, dtype=dtype, device="cpu", place=managed))


def _perceptual(arguments: argparse.Namespace) -> Any:
    if arguments.lpips is None:
        return None
    from ..evaluation.perceptual import load_perceptual
    from ..host.weights import managed

    return partial(load_perceptual, arguments.lpips, arguments.lpips_trunk, place=managed)


def _video_network(arguments: argparse.Namespace) -> Any:
    if arguments.i3d is None:
        return None
    from ..evaluation.video_networks import load_video_network
    from ..host.weights import managed

    return load_video_network(arguments.i3d, place=managed)
