"""`zoetrope footage report` on a small set with a fault or two."""

import json

import numpy as np
import pytest

from zoetrope.clips.footage import MANIFEST, read_footage
from zoetrope.headless.command import main
from zoetrope.media.pictures import encode_png, read_picture


@pytest.fixture
def root(tmp_path):
    """Two clips: one that stands still and one that is black from its third frame on."""
    for name, levels in {"still": [120] * 4, "fades": [200, 60, 0, 0]}.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, level in enumerate(levels):
            pixels = np.full((32, 48, 3), level, np.uint8)
            (tmp_path / "set" / name / f"{name}_frame_{number}.png").write_bytes(encode_png(pixels))
    return tmp_path / "set"


def test_the_report_is_printed(root, capsys):
    assert main(["footage", "report", str(root)]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("2 clips, 8 frames.\n")
    assert "2 frames are black: in fades (2)." in printed
    assert not (root / MANIFEST).exists()


def test_the_report_is_written_as_text_data_and_picture(root, tmp_path, capsys):
    assert main(["footage", "report", str(root), "--out", str(tmp_path / "report")]) == 0

    files = ["report.txt", "report.json", "report.png"]
    assert capsys.readouterr().out.splitlines()[-3:] == [str(tmp_path / "report" / name) for name in files]
    told = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert [clip["black"] for clip in told["clips"]] == [[2, 3], []]
    assert read_picture(tmp_path / "report/report.png").shape[1] == 1200


def test_motion_is_written_into_the_manifest_on_request(root):
    assert main(["footage", "report", str(root), "--write"]) == 0

    footage, _ = read_footage(root)
    assert (root / MANIFEST).is_file()
    assert footage.clip("still").motion == 0


def test_a_clip_that_cannot_be_read_is_told_and_changes_the_exit_code(root, capsys):
    broken = root / "still/still_frame_2.png"
    broken.write_bytes(broken.read_bytes()[:60])

    assert main(["footage", "report", str(root)]) == 2
    assert "still is left out of this report" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path, capsys):
    assert main(["footage", "report", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
