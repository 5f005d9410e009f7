"""Names that a server gives are not trusted, and files that are here are not replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.headless.queue_outputs import OutputError, local_path, place
from zoetrope.headless.server import RemoteFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


letters = st.sampled_from([*"ab./\\:~ \0\n\u00e4", "..", "CON", "%2e", "\ud800"])
names = st.lists(letters, max_size=12).map("".join) | st.text(max_size=300)


@given(subfolder=names, filename=names)
def test_no_name_leads_out_of_the_folder_and_every_name_can_be_written(folder, subfolder, filename):
    try:
        path = local_path(folder, RemoteFile(filename, subfolder, "output"))
    except OutputError:
        return

    parts = path.relative_to(folder).parts
    assert parts
    assert ".." not in parts
    assert path.resolve().is_relative_to(folder.resolve())
    assert not any(part.startswith(".") or set(part) & set('\0\n:\\/"') or len(part.encode()) > 255 for part in parts)


@pytest.mark.parametrize(
    "subfolder, filename, expected",
    [
        ("", "clip.mp4", "clip.mp4"),
        ("clips/waltz", "a_00001_.png", "clips/waltz/a_00001_.png"),
        ("clips\\waltz", "a.png", "clips/waltz/a.png"),  # a server on Windows
        ("", "d\u00f6g \u732b (1).png", "d\u00f6g \u732b (1).png"),
        ("", ".bashrc", "_bashrc"),
        (".ssh", "authorized_keys", "_ssh/authorized_keys"),
        ("", "a:b?.png", "a_b_.png"),
        ("", "nul.png", "_nul.png"),
        ("", "name. ", "name._"),
        ("", "x" * 300 + ".png", "x" * 196 + ".png"),
    ],
)
def test_names_are_kept_or_made_safe(folder, subfolder, filename, expected):
    assert local_path(folder, RemoteFile(filename, subfolder, "output")) == folder / expected


def test_a_link_in_the_output_folder_that_leads_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputError, match="leads out of"):
        local_path(tmp_path / "out", RemoteFile("x.png", "link", "output"))


@pytest.fixture(params=["links", "no links"])
def disk(request, monkeypatch):
    """A disk with hard links, and one without."""
    if request.param == "no links":

        def refuse(source: Path, target: Path) -> None:
            raise PermissionError("this disk has no links")

        monkeypatch.setattr(os, "link", refuse)


def draft_in(folder: Path, contents: bytes) -> Path:
    draft = folder / ".draft"
    draft.write_bytes(contents)
    return draft


def test_a_name_that_is_free_is_taken(disk, tmp_path):
    assert place(draft_in(tmp_path, b"new"), tmp_path / "a.png") == tmp_path / "a.png"
    assert (tmp_path / "a.png").read_bytes() == b"new"


def test_other_files_are_stepped_over_and_an_equal_one_is_used(disk, tmp_path):
    for name in ("a.png", "a (1).png"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "a (2).png").mkdir()

    assert place(draft_in(tmp_path, b"new"), tmp_path / "a.png") == tmp_path / "a (3).png"
    assert place(draft_in(tmp_path, b"new"), tmp_path / "a.png") == tmp_path / "a (3).png"
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_a_link_that_leads_nowhere_is_not_replaced(disk, tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")

    assert place(draft_in(tmp_path, b"new"), tmp_path / "a.png").name == "a (1).png"
    assert not os.path.lexists(tmp_path / "nowhere")
