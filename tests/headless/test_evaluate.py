import json
import shutil
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
import torch

from zoetrope.evaluation.report_files import FILES
from zoetrope.headless import command
from zoetrope.headless.evaluate import shortest_names
from zoetrope.media.frame_folders import write_frames
from zoetrope.media.pictures import to_bytes
from zoetrope.media.writing import write_video
from zoetrope.models.clip import BUILTIN
from zoetrope.toyworld.shapes import ShapesOptions, compose, render

from ..evaluation.video_scripts import Pooled, write_script


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


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_sets_are_held_against_true_ones_by_a_video_network(tmp_path, capsys):
    script = write_script(tmp_path / "i3d_torchscript.pt", Pooled())
    for number in range(16):
        clip = torch.rand(10, 1, 1, 3, generator=torch.Generator().manual_seed(number)).expand(-1, 16, 16, -1)
        write_frames(tmp_path / "truths" / str(number), to_bytes(clip))
        write_frames(tmp_path / "made" / str(number), to_bytes(clip * 0.5))

    assert run(tmp_path / "made", "--truth", tmp_path / "truths", "--groups", "truth", "--i3d", script,
               "--out", tmp_path / "report") == 0  # fmt: skip

    told = capsys.readouterr().out
    assert "made: kernel_i3d" in told and "16 clips to 16 true ones, by i3d_torchscript.pt (6 features)" in told
    (model,) = json.loads((tmp_path / "report" / "report.json").read_text())["models"]
    assert set(model["sets"]) == {"kernel_i3d"} and model["metrics"]["i3d"]["value"] < 1
    assert run(tmp_path / "made", "--truth", tmp_path / "truths" / "3", "--groups", "truth", "--i3d", script) == 0
    told = capsys.readouterr().out
    assert "kernel_i3d" not in told and "made has 16 clips and 1 different true ones" in told


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere.mp4"], "does not exist"),
        (["notes.mp4"], "No clip could be measured. notes: notes.mp4 is not a video"),
        (["near", "--truth", "near/../frozen", "--groups", "sound"], "sound is no group of measures"),
        (["truth", "--truth", "truths"], ""),
        (["notes.mp4", "--truth", "truths"], "none in it is called notes"),
        (["near", "--prompt", "a moon"], "no CLIP to read it"),
        (["near", "--i3d", "notes.mp4"], "notes.mp4 is no TorchScript, or a damaged one"),
        (["near", "--i3d", "nowhere.pt"], "nowhere.pt is no file, and a video network is wanted"),
        (["near", "--truth", "truth", "--lpips", "truths"], "LPIPS with alex is not complete"),
        (["near", "--out", "notes.mp4"], "notes.mp4/report.json cannot be written. A part of that path is a file"),
        (["near", "--fail-under", "sism=0.8"], "--fail-under 'sism' is no measure. There are: clip, psnr, ssim"),
        (["near", "--fail-under", "ssim=0.8"], "ssim will not be measured, for it needs a true clip"),
        (["near", "--truth", "truth", "--fail-under", "ssim=0.8", "--groups", "looks"], "the group truth is off"),
        (["near", "--fail-under", "clip_prompt=0.2"], "it needs CLIP and a prompt"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(clips, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(clips)
    if "--out" in arguments or "--fail-under" in arguments:
        monkeypatch.setattr("zoetrope.evaluation.evaluate.measure", lambda *_, **__: pytest.fail("told too late"))

    assert run(*arguments) == (2 if sentence else 0)
    assert sentence in capsys.readouterr().err


def test_two_folders_of_one_name_are_two_models(clips, tmp_path, capsys):
    for model, source in (("base", "frozen"), ("lora", "near")):
        shutil.copytree(clips / source, tmp_path / model / "clips")
    whole = tmp_path / "lora" / "clips" / "truth.mp4"

    assert run(tmp_path / "base" / "clips", tmp_path / "lora" / "clips", "--truth", clips / "truths") == 0

    told = capsys.readouterr().out
    assert "base/clips/truth: " in told and "lora/clips has the best mean rank" in told
    assert run(tmp_path / "lora" / "clips", whole, "--truth", clips / "truth") == 0
    assert "\nclips/truth: psnr" in "\n" + (told := capsys.readouterr().out) and "\ntruth: psnr" in told
    assert run(whole, whole) == 2 and "Two clips are called" in capsys.readouterr().err


def test_names_are_as_short_as_they_can_be(tmp_path):
    (tmp_path / "a.mp4").touch(), (tmp_path / "a.mov").touch()

    assert shortest_names([tmp_path / "x" / "clips", tmp_path / "y" / "clips", tmp_path / "z"]) == [
        "x/clips", "y/clips", "z"
    ]  # fmt: skip
    assert shortest_names([tmp_path / "x", tmp_path / "y" / ".." / "x"]) == ["x", "x"]
    assert shortest_names([tmp_path / "a.mp4"]) == ["a"]
    files = [tmp_path / "a.mp4", tmp_path / "a.mov"]
    assert shortest_names(files) == [str(path.resolve()) for path in files]


def test_a_picture_beside_videos_hides_none_of_them(clips, tmp_path, capsys):
    for number in range(3):
        shutil.copy(clips / "near" / "truth.mp4", tmp_path / f"s{number}.mp4")
    shutil.copy(next((clips / "truth").iterdir()), tmp_path / "s1.png")

    assert run(tmp_path, "--truth", clips / "truth") == 0

    told = capsys.readouterr().out
    assert [f"{tmp_path.name}/s{number}: psnr" in told for number in range(3)] == [True] * 3
    assert "so 1 picture is passed over in it: s1.png." in told


def test_a_clip_without_a_true_one_does_not_lose_the_others(clips, tmp_path, capsys):
    for name in ("truth", "other"):
        shutil.copy(clips / "near" / "truth.mp4", tmp_path / f"{name}.mp4")

    assert run(tmp_path, "--truth", clips / "truths") == 2

    told = capsys.readouterr().out
    assert f"{tmp_path.name}/truth: psnr" in told and "other could not be measured: There is no true clip for" in told


def test_folders_whose_clips_have_other_names_are_told_to_be_not_compared(clips, tmp_path, capsys):
    for model in ("base", "lora"):
        (tmp_path / model).mkdir()
        shutil.copy(clips / "near" / "truth.mp4", tmp_path / model / f"{model}.mp4")

    assert run(tmp_path / "base", tmp_path / "lora", "--truth", clips / "truth") == 0

    told = capsys.readouterr().out
    assert "The models are not compared" in told and "No model is ahead" not in told


def test_a_clip_that_stands_still_falls_short(clips, capsys):
    assert run(clips / "frozen", "--truth", clips / "truth", "--fail-under", "ssim=0.01") == 2
    assert "frozen/truth falls short, whatever its numbers: it stands still" in capsys.readouterr().err


def test_what_was_measured_is_printed_though_the_files_cannot_be_written(clips, tmp_path, monkeypatch, capsys):
    def full(report):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FILES, "report.html", full)

    assert run(clips / "near", "--out", tmp_path / "report") == 2

    printed = capsys.readouterr()
    assert "near/truth: " in printed.out and "The disk is full" in printed.err and not (tmp_path / "report").exists()


def test_without_more_words_the_clip_of_the_pack_is_asked(clips, tmp_path, capsys):
    if not BUILTIN.is_dir():
        pytest.skip("the CLIP of the pack is not here")
    arguments = ["evaluate", clips / "near", "--truth", clips / "truth", "--out", tmp_path, "--prompt", "a red circle"]

    assert command.main([*map(str, arguments), "--fail-under", "clip=0.5"]) == 0

    assert "near/truth: clip 0.9" in capsys.readouterr().out
    record = json.loads((tmp_path / "report.json").read_text())
    assert {"clip", "clip_prompt"} <= set(record["clips"][0]["metrics"]) and record["settings"]["clip_model"]
