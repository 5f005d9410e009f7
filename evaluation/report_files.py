"""A report as files: all of it for programs, a table for spreadsheets, and a page for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..media.files import written_beside
from .report import Report

FILES: dict[str, Callable[[Report], str]] = {
    "report.json": Report.to_json,
    "report.csv": Report.to_csv,
    "report.html": Report.to_html,
}


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report as JSON, as a table and as a page; those of the same names are replaced."""
    with report_begun(folder) as write:
        return write(report)


@contextmanager
def report_begun(folder: Path) -> Iterator[Callable[[Report], list[Path]]]:
    """Begin the files, so that a folder that cannot be written to is told before the work that the report is of.

    Gives what writes them; they are there when the block has ended without an error.
    """
    with ExitStack() as drafts:
        begun = {name: drafts.enter_context(written_beside(folder / name)) for name in FILES}

        def write(report: Report) -> list[Path]:
            for name, draft in begun.items():
                # A name on disk may hold what is no letter in any encoding.
                draft.write_text(FILES[name](report), encoding="utf-8", errors="replace", newline="\n")
            return [folder / name for name in begun]

        yield write
