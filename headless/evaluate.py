"""`zoetrope evaluate`: measure clips, against a true one where there is one, and write the report."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .progress import ProgressDisplay

if TYPE_CHECKING:  # torch comes with it, and `--help` should not wait for it
    from ..evaluation.evaluate import Candidate, TrueClip
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

A clip is a video or a folder of frames. --out writes report.json, report.csv and report.html. A clip that stands still,
or whose frames are in no order, is ranked last whatever its numbers. One that cannot be read is told, and the exit code
is 2 then.
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
    parser.add_argument("--align", choices=("auto", "index", "time"), default="auto", help="how frames are paired")
    parser.add_argument("--groups", nargs="+", metavar="GROUP", help="measure only these: truth, clip, motion, looks")
    parser.add_argument("--loop", action="store_true", help="orbits, whose last frame is a neighbour of the first")
    parser.add_argument(
        "--fail-under",
        action="append",
        default=[],
        metavar="MEASURE=VALUE",
        help="exit with 2 where a mean over all clips is worse: below the value, or above it where less is better",
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure; gives 0 where every clip could be measured and nothing falls short, else 2."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.report import fails
    from ..evaluation.report_files import write_report
    from ..evaluation.report_text import as_text

    floors = parse_floors(arguments.fail_under)
    candidates = candidates_of(arguments.generated, arguments.truth)
    options = _options(arguments)
    with ProgressDisplay() as display:
        report = evaluate(
            candidates,
            encoder=_encoder(arguments),
            perceptual=_perceptual(arguments),
            options=options,
            on_clip=lambda done, name: display.show("Measuring clips", done, len(candidates)),
        )
    # First the files: whatever becomes of what is printed, the work is not lost.
    paths = write_report(report, arguments.out) if arguments.out else []
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


def candidates_of(generated: Sequence[str], truth: str | None) -> list[Candidate]:
    """The clips to measure. Those of a folder of clips are of one model, called like the folder."""
    from ..evaluation.evaluate import Candidate
    from ..evaluation.sources import find_clips

    truths = _Truths(truth)
    found: list[tuple[ClipOnDisk, str]] = []
    for place in generated:
        clips, is_folder = find_clips(place)
        found += [(clip, Path(place).resolve().name if is_folder else "") for clip in clips]
    names = [f"{model}/{clip.name}" if model else clip.name for clip, model in found]
    twice = {name for name, times in Counter(names).items() if times > 1}
    candidates = []
    for (clip, model), name in zip(found, names, strict=True):
        true = truths.of(clip)
        candidates.append(
            Candidate(
                name=str(clip.path) if name in twice else name,
                load=clip.load,
                rate=clip.rate,
                truth=true,
                model=model,
                item=clip.name if model else "",
            )
        )
    return candidates


class _Truths:
    """The true clip of each generated one: the only one, or the one of its name."""

    def __init__(self, place: str | None) -> None:
        from ..evaluation.evaluate import TrueClip
        from ..evaluation.sources import find_clips

        clips, self._is_folder = find_clips(place) if place is not None else ([], False)
        self._place = place
        self._by_name = {clip.name: TrueClip(name=clip.name, load=clip.load, rate=clip.rate) for clip in clips}

    def of(self, clip: ClipOnDisk) -> TrueClip | None:
        from ..evaluation.errors import EvaluationError

        if not self._by_name:
            return None
        if not self._is_folder:
            return next(iter(self._by_name.values()))
        if clip.name not in self._by_name:
            raise EvaluationError(
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
