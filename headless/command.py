"""The `zoetrope` command."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from .progress import ProgressDisplay

OK, WRONG, INTERRUPTED = 0, 2, 130
OTHERS = {
    "demo": "one picture in, video out, before and after a LoRA, with a report; nothing is downloaded",
    "queue": "run a workflow on a ComfyUI server",
    "train": "fine-tune a model on footage",
    "svd": "make a picture, or a folder of them, into clips with Stable Video Diffusion",
    "sv3d": "make views around an object from a picture of it with SV3D",
    "footage": "turn videos into training sets: extract, choose, split, report and more",
    "evaluate": "measure clips, alone or against true ones, and write a report",
    "toyworld": "draw moons, shapes and objects whose truth is known, as footage",
    "doctor": "tell what is installed, found and missing",
}
SHIPPED = Path(__file__).resolve().parent.parent / "workflows"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _leave_comfyui_alone()
    _write_what_a_terminal_cannot_show()
    parsed = _parser(arguments).parse_args(arguments)
    try:
        return parsed.run(parsed)
    except KeyboardInterrupt:
        _say("Interrupted.", sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        return OK
    except Exception as error:
        if parsed.traceback:
            traceback.print_exc()
        else:
            _say(_in_a_sentence(error), sys.stderr)
        return WRONG


def _say(text: str, stream: TextIO) -> None:
    stream.write(f"{text}\n")


def _in_a_sentence(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text or 'no more is known'}. Use --traceback to see where it comes from."


def _leave_comfyui_alone() -> None:
    """The command never runs inside ComfyUI, even where its folder is on the path and its classes could be imported."""
    sys.path[:] = [entry for entry in sys.path if not (Path(entry or ".") / "comfy_api").is_dir()]


def _write_what_a_terminal_cannot_show() -> None:
    """Letters that the encoding of the output lacks, as names of files may have, are written as Python escapes them."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where in the code an error comes from")
    parser = argparse.ArgumentParser(
        prog="zoetrope", description="Turns pictures and clips into new video, without ComfyUI or with it."
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", parents=[common], help="run a workflow in this process")
    _add_run_arguments(run)
    run.set_defaults(run=_run)
    # What a command needs is only imported when it is the one that was asked for.
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in OTHERS.items():
        command = commands.add_parser(name, parents=[common], help=summary)
        if name == chosen:
            module = import_module(f".{name}", __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.main)
    return parser


class _Version(argparse.Action):
    def __init__(self, **settings: Any):
        super().__init__(nargs=0, help="show the version and leave", **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(message=f"zoetrope {version('comfyui-zoetrope')}\n")


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", nargs="?", help="a workflow file, or the name of one that ships (see --list)")
    parser.add_argument("--list", action="store_true", help="list the workflows that ship, and leave")
    add_set_argument(parser)
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--input", help="where loaders find files (default: ./input)", **folder)
    parser.add_argument("--output", help="where files are saved (default: ./output)", **folder)
    parser.add_argument("--models", help="where models are (default: ./models)", **folder)
    parser.add_argument("--temp", help="keep previews here (default: they are thrown away)", **folder)


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    """Let a command change inputs of the workflow that it is given."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help='set an input of a node, by its number or title: --set 3.frames=8 --set "Sampler.seed=7"',
    )


def shipped_workflows() -> dict[str, Path]:
    """The workflows that ship with the pack, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.json"))}


def find_workflow(name: str) -> Path:
    """The file that was named, or the workflow of that name that ships."""
    path = Path(name)
    if path.exists() or path.suffix or path.name != name:
        return path
    shipped = shipped_workflows()
    if name not in shipped:
        from .errors import WorkflowError

        names = ", ".join(shipped)
        raise WorkflowError(f"{name!r} is neither a file nor one of the workflows that ship: {names}.")
    return shipped[name]


def _run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        _say("\n".join(shipped_workflows()), sys.stdout)
        return OK
    if arguments.workflow is None:
        from .errors import WorkflowError

        raise WorkflowError("No workflow is given. Give a file, or a name that `zoetrope run --list` tells.")
    from . import overrides
    from .runner import run_workflow

    with ProgressDisplay() as display:
        result = run_workflow(
            find_workflow(arguments.workflow),
            overrides=overrides.parse(arguments.set),
            input=arguments.input,
            output=arguments.output,
            models=arguments.models,
            temp=arguments.temp,
            on_progress=_shower(display),
        )
    for path in result.files:
        _say(str(path), sys.stdout)
    return OK


def _shower(display: ProgressDisplay) -> Callable[[Any], None]:
    return lambda progress: display.show(progress.title, progress.done, progress.total, progress.text)
