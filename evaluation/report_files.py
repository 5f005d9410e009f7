"""A report as files: all of it for programs, a table for spreadsheets, and a page for people."""

from __future__ import annotations

from pathlib import Path

from ..media.files import written_beside
from .report import Report

DATA, TABLE, PAGE = "report.json", "report.csv", "report.html"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report as JSON, as a table and as a page; those of the same names are replaced."""
    contents = {DATA: report.to_json(), TABLE: report.to_csv(), PAGE: report.to_html()}
    for name, content in contents.items():
        with written_beside(folder / name) as draft:
            # A name on disk may hold what is no letter in any encoding.
            draft.write_text(content, encoding="utf-8", errors="replace", newline="\n")
    return [folder / name for name in contents]
