import json
import shutil
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest

from zoetrope.headless import command
from zoetrope.media.frame_folders import write_frames
from zoetrope.media.pictures import to_bytes
from zoetrope.media.writing import write_video
from zoetrope.toyworld.shapes import ShapesOptions, compose, render


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A true clip as a folder of frames, and as videos one that is near to it and one that stands still."""
    folder = tmp_path_factory.mktemp("clips")
    options = ShapesOptions(seconds=0.75, frames_per_second=8, width=64, height=64, seed=3, speed=0.6)
    images = render(compose(options), options).images
    write_frames(folder / "truth", to_bytes(images))
    for model, made in (("near", images * 0.97), ("frozen", images[:1].expand_as(images))):
        (folder / model).mkdir()
        write_video(folder / model / "truth.mp4", to_bytes(made), 8)
    (folder / "truths").mkdir()
    write_video(folder / "truths" / "truth.mp4", to_bytes(images), 8)
    (folder / "notes.mp4").write_text("no video")
    return folder


def run(*arguments):
    return command.main(["evaluate", *map(str, arguments), "--clip", "none"])


def test_clips_are_measured_and_the_report_is_written(clips, tmp_path, capsys):
    assert run(clips / "near", clips / "frozen", "--truth", clips / "truths", "--out", tmp_path / "report") == 0

    told = capsys.readouterr().out
    assert "near/truth: psnr" in told and "(stands still)" in told and "near has the best mean rank" in told
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {clip["model"] for clip in record["clips"]} == {"near", "frozen"} and record["winner"] == "near"
    assert len(record["clips"][0]["metrics"]["psnr"]["per_frame"]) == 6
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.json", "report.csv", "report.html"}


def test_a_folder_of_frames_is_a_clip(clips, capsys):
    assert run(clips / "near" / "truth.mp4", "--truth", clips / "truth") == 0
    assert run(clips / "truth", "--truth", clips / "truth") == 0
    assert "psnr 100.0 dB" in capsys.readouterr().out


def test_what_falls_short_sets_the_exit_code(clips, capsys):
    near = clips / "near" / "truth.mp4"

    assert run(near, "--truth", clips / "truth", "--fail-under", "ssim=0.5") == 0
    assert run(near, "--truth", clips / "truth", "--fail-under", "ssim=0.9999") == 2
    assert "below the wanted 0.9999" in capsys.readouterr().err
    assert run(near, "--truth", clips / "truth", "--fail-under", "colour_error=0") == 2
    assert run(near, "--fail-under", "ssim") == 2
    assert "Write it like --fail-under clip=0.8" in capsys.readouterr().err


def test_a_bad_clip_is_told_and_the_others_are_measured(clips, tmp_path, capsys):
    assert run(clips / "near" / "truth.mp4", clips / "notes.mp4", "--out", tmp_path) == 2

    assert "notes could not be measured: notes.mp4 is not a video" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "report.json").read_text())["clips"]) == 1


def test_a_name_that_the_terminal_cannot_show_is_escaped_and_nothing_is_lost(clips, tmp_path, monkeypatch):
    shutil.copytree(clips / "near", tmp_path / "mönd")
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="ascii", write_through=True))

    assert run(tmp_path / "mönd", "--out", tmp_path / "report") == 0

    assert b"m\\xf6nd/truth: " in written.getvalue()
    assert json.loads((tmp_path / "report" / "report.json").read_text())["clips"][0]["model"] == "mönd"


def test_the_report_is_written_before_anything_is_printed(clips, tmp_path, monkeypatch):
    class Closed(StringIO):
        def write(self, text):
            raise OSError("the terminal is gone")

    monkeypatch.setattr(sys, "stdout", Closed())

    assert run(clips / "near", "--out", tmp_path / "report") == 2
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere.mp4"], "does not exist"),
        (["notes.mp4"], "No clip could be measured. notes: notes.mp4 is not a video"),
        (["near", "--truth", "near/../frozen", "--groups", "sound"], "sound is no group of measures"),
        (["truth", "--truth", "truths"], ""),
        (["notes.mp4", "--truth", "truths"], "none in it is called notes"),
        (["near", "--prompt", "a moon"], "no CLIP to read it"),
        (["near", "--truth", "truth", "--lpips", "truths"], "LPIPS with alex is not complete"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(clips, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(clips)

    assert run(*arguments) == (2 if sentence else 0)
    assert sentence in capsys.readouterr().err
