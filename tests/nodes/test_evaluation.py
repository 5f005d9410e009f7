import json
import math
from pathlib import Path

import pytest
import torch

from zoetrope.host import folders, work
from zoetrope.media.pictures import read_picture
from zoetrope.media.resizing import ResizeOptions, resize
from zoetrope.models import clip as clip_models
from zoetrope.nodes import evaluation_report
from zoetrope.nodes.clip import LoadCLIP
from zoetrope.nodes.evaluation import CLIPSimilarity, CompareVideos, EvaluateVideo
from zoetrope.nodes.evaluation_report import EvaluationReport
from zoetrope.nodes.toyworld import MoonPhases
from zoetrope.toyworld.moons import MoonsOptions, compose, render

from ..evaluation.conftest import clip_folder  # noqa: F401  # a fixture
from ..evaluation.video_scripts import Pooled, write_script

FRAMES = 6
MEASURING = {
    "measure": "the main one", "measure_truth": True, "measure_clip": True, "measure_motion": True,
    "measure_looks": True, "prompt": "", "loop": False, "rule": "auto", "lpips": "none",
}  # fmt: skip
REPORT = {"picture": "curves", "measure": "the main one", "clip": "", "save": True, "filename_prefix": "runs/moon"}


@pytest.fixture(scope="module")
def moon():
    """A waning moon (f h w c), and the lit fractions that it was drawn with."""
    options = MoonsOptions(seconds=FRAMES / 7, frames_per_second=7, width=64, height=64, seed=3, tilt_degrees=0)
    scene = compose(options)
    drawn = render(scene, options)
    return drawn.images, drawn.truth.lit_fractions.tolist()


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the stand-in's folders lie in the current one
    return tmp_path / folders.output_folder()


@pytest.fixture
def clip(tmp_path, clip_folder):  # noqa: F811
    """What Load CLIP gives for a tiny one in the folder of models."""
    (tmp_path / "models" / "clip_vision").mkdir(parents=True)
    (tmp_path / "models" / "clip_vision" / "tiny").symlink_to(clip_folder)
    return LoadCLIP.execute("clip_vision/tiny", "fp32")[0]


def evaluate(generated, **changed):
    return EvaluateVideo.execute(generated=generated, **{**MEASURING, **changed})


def compare(*clips, **changed):
    named = {f"clip_{number}": each for number, each in enumerate(clips, 1)}
    return CompareVideos.execute(**{"names": "", **MEASURING, **named, **changed})


def darker(images):
    return images * 0.9


def still(images):
    return images[:1].expand_as(images)


def test_a_clip_is_measured_by_all_that_its_inputs_allow(moon):
    alone, against = evaluate(darker(moon[0])), evaluate(darker(moon[0]), truth=moon[0])

    assert "ssim" not in alone[0].names and "sharpness" in alone[0].names
    assert {"psnr", "ssim", "warp_error", "sharpness"} <= set(against[0].names)
    found = against[0].clips[0].metrics["ssim"]
    assert (against[1], against[2]) == (found.mean, list(found.per_frame))
    assert against[3] is True and "generated: psnr" in against[4]


def test_groups_that_are_off_are_not_measured(moon):
    report = evaluate(moon[0], truth=moon[0], measure_motion=False, measure_looks=False)[0]

    assert "psnr" in report.names and not {"warp_error", "sharpness"} & set(report.names)


def test_a_clip_that_stands_still_is_told(moon):
    evaluated = evaluate(still(moon[0]), truth=moon[0], measure="warp_error_own")

    assert evaluated[3] is False and math.isnan(evaluated[1]) and "stands still" in evaluated[4]


def test_the_main_measure_is_none_that_a_frozen_clip_wins(moon, clip):
    moving, frozen = (evaluate(images, clip=clip) for images in (moon[0], still(moon[0])))

    assert moving[0].main == frozen[0].main == "warp_error_own"
    assert moving[1] > 0 and math.isnan(frozen[1])


def test_a_series_of_the_user_is_drawn_beside_the_true_one(moon):
    images, lit = moon
    before = [1.0] * FRAMES

    compared = compare(still(images), darker(images), truth=images, names="before\nafter", measure="the series",
                       series_name="lit fraction", series_1=before, series_2=lit, true_series=lit)  # fmt: skip

    assert compared[3] == [1.0, pytest.approx(sum(lit) / FRAMES)]
    assert compared[4] == pytest.approx(sum(lit) / FRAMES - 1)
    report = compared[0]
    assert list(report.clips[1].metrics["lit fraction"].per_frame) == lit
    assert list(report.clips[0].truth_metrics["lit fraction"].per_frame) == lit


def test_the_better_of_two_clips_wins_and_a_still_one_never_does(moon):
    compared = compare(still(moon[0]), darker(moon[0]), truth=moon[0], names="\n after ")

    assert compared[1:3] == ("after", 2)
    assert [each.name for each in compared[0].clips] == ["clip 1", "after"]


def test_a_clip_of_one_frame_does_not_win_though_the_frame_is_true(moon):
    compared = compare(moon[0][:1], darker(moon[0]), truth=moon[0], names="one frame\nwhole")

    assert compared[1] == "whole" and "one frame stands still" in compared[5]
    assert evaluate(moon[0][:1], truth=moon[0])[3] is False and evaluate(moon[0][:1])[3] is False
    assert evaluate(moon[0][:1], truth=moon[0][:1])[3] is True  # where truth is a picture, nothing should move


def test_a_clip_that_cannot_be_measured_does_not_lose_the_others(moon):
    broken = torch.full_like(moon[0], math.nan)

    compared = compare(darker(moon[0]), broken, moon[0], truth=moon[0], names="a\nb\nc")

    assert [each.name for each in compared[0].clips] == ["a", "c"] and compared[1] == "c"
    assert math.isnan(compared[3][1]) and "b could not be measured" in compared[5]


def test_similarity_is_the_cosine_of_what_clip_sees(moon, clip):
    similar = CLIPSimilarity.execute(darker(moon[0]), moon[0], clip)

    expected = (clip.frames(eight_bits(darker(moon[0]))) * clip.frames(eight_bits(moon[0]))).sum(1)
    assert similar[1] == pytest.approx(expected.tolist(), abs=1e-6)
    assert (similar[0], similar[2]) == (pytest.approx(sum(similar[1]) / FRAMES), min(similar[1]))
    assert similar[1][similar[3]] == similar[2]
    assert similar[4].shape[-1] == 3 and similar[4].std() > 0.05
    assert similar.ui.as_dict()["images"][0]["type"] == "temp"


def eight_bits(images):
    return list((images * 255).round().byte().numpy())


def test_a_prompt_is_read_by_the_clip(moon, clip):
    report = evaluate(moon[0], clip=clip, prompt="a red circle", measure="clip_prompt")

    assert -1 <= report[1] <= 1 and len(report[2]) == FRAMES


def test_a_report_is_saved_and_shown(moon, output):
    report = compare(still(moon[0]), darker(moon[0]), truth=moon[0])[0]

    first, second = (EvaluationReport.execute(report, **REPORT) for _ in range(2))

    assert (first[2], second[2]) == ("runs/moon_00001", "runs/moon_00002")
    assert {path.name for path in (output / first[2]).iterdir()} == {
        "report.html", "report.csv", "report.json", "report.png"
    }  # fmt: skip
    record = json.loads((output / first[2] / "report.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in record["clips"]] == ["clip 1", "clip 2"]
    picture = read_picture(output / first[2] / "report.png")
    assert torch.equal(first[0][0], torch.from_numpy(picture).float() / 255)
    assert "clip 2 has the best mean rank" in first[1]
    shown, files = first.ui["images"], first.ui["files"]
    assert shown == [{"filename": "report.png", "subfolder": "runs/moon_00001", "type": "output"}]
    assert {file["filename"] for file in files} == {"report.png", "report.html", "report.csv", "report.json"}


def test_all_pictures_stand_below_each_other_and_nothing_need_be_saved(moon, output):
    report = compare(still(moon[0]), darker(moon[0]), truth=moon[0])[0]

    shown = EvaluationReport.execute(report, **{**REPORT, "picture": "all", "save": False})

    assert shown[0].shape[1] > shown[0].shape[2] and shown[2] == "" and not output.exists()


def test_of_all_pictures_those_that_can_be_drawn_are_shown(moon, output):
    images, lit = moon
    one_series = compare(still(images), darker(images), truth=images, series_2=lit)[0]
    one_frame = evaluate(images[:1], measure_looks=False)[0]

    for report, measure in ((one_series, "the series"), (one_frame, "the main one")):
        shown = EvaluationReport.execute(report, **{**REPORT, "picture": "all", "measure": measure})

        assert shown[0].std() > 0.05 and (output / shown[2] / "report.png").is_file()


@pytest.mark.parametrize("picture", ["models", "heat map", "all"])
def test_a_measure_that_is_not_there_does_not_matter_where_none_is_asked_for(moon, picture):
    report = evaluate(moon[0])[0]

    drawn = EvaluationReport.execute(report, **{**REPORT, "picture": picture, "measure": "ssim", "save": False})

    assert drawn[0].std() > 0.02


def test_a_fault_in_drawing_does_not_lose_the_report(moon, output, monkeypatch):
    def mistaken(*_):
        raise KeyError("ours")

    monkeypatch.setattr(evaluation_report, "draw", mistaken)
    with pytest.raises(KeyError):
        EvaluationReport.execute(evaluate(moon[0])[0], **REPORT)

    assert {path.name for path in (output / "runs" / "moon_00001").iterdir()} == {
        "report.html", "report.csv", "report.json"
    }  # fmt: skip


def test_the_frames_of_the_first_clip_that_has_values_are_shown(moon):
    images, lit = moon
    report = compare(still(images), darker(images), names="a\nb", series_2=lit)[0]

    frames, of_second = (
        EvaluationReport.execute(report, **{**REPORT, "picture": "frames", "measure": "the series", "clip": name})[0]
        for name in ("", "b")
    )

    assert torch.equal(frames, of_second)


@pytest.mark.parametrize("changed, sentence", [
    ({"measure": "progression"}, "no values by frame"), ({"clip": "moon"}, "no clip 'moon'"),
    ({"measure": "clip"}, "clip was not measured"),
])  # fmt: skip
def test_a_report_whose_picture_cannot_be_drawn_is_saved_all_the_same(moon, output, changed, sentence):
    report = evaluate(moon[0])[0]

    with pytest.raises(ValueError, match=f"{sentence}.* saved in runs/moon_00001, without a picture"):
        EvaluationReport.execute(report, **{**REPORT, **changed})
    assert {path.name for path in (output / "runs" / "moon_00001").iterdir()} == {
        "report.html", "report.csv", "report.json"
    }  # fmt: skip

    with pytest.raises(ValueError, match=sentence):
        EvaluationReport.execute(report, **{**REPORT, **changed, "save": False})
    assert len(list((output / "runs").iterdir())) == 1


@pytest.mark.parametrize("prefix", ["", ".", "./", "runs/.."])
def test_a_report_has_a_folder_of_its_own(moon, prefix, output):
    with pytest.raises(ValueError, match="names no folder"):
        EvaluationReport.execute(evaluate(moon[0])[0], **{**REPORT, "filename_prefix": prefix})
    assert not output.exists()


@pytest.mark.parametrize("prefix", ["../out", "/etc/out", "a\0b", "C:\\out"])
def test_no_report_is_written_outside_of_the_output_folder(moon, prefix, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_report, "draw", lambda *_: eight_bits(moon[0])[0])
    with pytest.raises(ValueError, match="Choose"):
        EvaluationReport.execute(evaluate(moon[0][:1])[0], **{**REPORT, "filename_prefix": prefix})


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"measure": "ssim"}, "ssim is chosen and cannot be measured, for it needs a true clip"),
        ({"measure": "clip_loop"}, "for it needs CLIP and a loop"),
        ({"measure": "sharpness", "measure_looks": False}, "for the group looks is off"),
        ({"measure": "the series"}, "no series"),
        ({"prompt": "a moon"}, "no CLIP to read it"),
        ({"series": [1.0, 2.0]}, "has 2 values and the clip 6 frames"),
        ({"series": ["a"] * FRAMES}, "The series 'series' has 'a' for frame 0, which is no number"),
        ({"series": [1.0, None], "series_name": "lit"}, "The series 'lit' has None for frame 1"),
        ({"series": [1.0] * FRAMES, "series_name": " "}, "series_name is empty"),
        ({"true_series": [1.0] * FRAMES}, "Connect truth, too"),
        ({"clip": "ViT"}, "CLIP is wanted, and this is str. Connect Load CLIP Zoetrope"),
        ({f"measure_{group}": False for group in ("truth", "clip", "motion", "looks")}, "no group of measures"),
    ],
)
def test_what_cannot_be_measured_is_told(moon, changed, sentence, monkeypatch):
    if "measure" in changed:
        monkeypatch.setattr("zoetrope.evaluation.evaluate.measure", lambda *_, **__: pytest.fail("told too late"))
    with pytest.raises(ValueError, match=sentence):
        evaluate(moon[0], **changed)


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"names": "a\nb\nc"}, "names has 3 lines, and 2 clips"),
        ({"names": "a\na"}, "Two clips are called 'a'"),
        ({"series_3": [1.0]}, "series_3 is connected, and clip_3 is not"),
    ],
)
def test_what_cannot_be_compared_is_told(moon, changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare(moon[0], moon[0], **changed)


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_a_video_network_is_taken_from_its_folder_by_name_and_from_nowhere_else(moon, tmp_path):
    write_script(tmp_path / "models" / "i3d" / "fvd" / "net.pt", Pooled(fewest=1))
    write_script(tmp_path / "elsewhere.pt", Pooled(fewest=1))
    (tmp_path / "models" / "i3d" / "notes.txt").write_text("none")

    for node in (EvaluateVideo, CompareVideos):
        offered = node.GET_NODE_INFO_V1()["input"]["optional"]["i3d"][1]["options"]
        assert [Path(name).as_posix() for name in offered] == ["none", "fvd/net.pt"]
    long = torch.cat([moon[0], moon[0].flip(0)])
    report = evaluate(darker(long), truth=long, i3d="fvd/net.pt", measure="i3d")
    assert 0 < report[1] < 1 and report[2] == [] and report[0].settings["i3d"] == "net.pt (6 features)"
    assert all("i3d" in clip.metrics for clip in compare(long, darker(long), truth=long, i3d="fvd/net.pt")[0].clips)
    for outside in ("../../elsewhere.pt", str(tmp_path / "elsewhere.pt"), "nowhere.pt"):
        with pytest.raises(ValueError, match="Choose a name inside it|is an absolute path|is not in the folder of i3d"):
            evaluate(darker(long), truth=long, i3d=outside)


def test_lpips_is_wanted_where_it_is_of_use(moon):
    assert "LPIPS is not used: there is no true clip." in evaluate(moon[0], lpips="alex")[4]
    with pytest.raises(ValueError, match="LPIPS with alex is not complete"):
        evaluate(moon[0], truth=moon[0], lpips="alex")


def test_a_measure_of_two_clips_is_refused_before_they_are_measured(moon, monkeypatch):
    monkeypatch.setattr("zoetrope.evaluation.evaluate.measure", lambda *_, **__: pytest.fail("told too late"))
    for measure in ("ssim", "the series"):
        with pytest.raises(ValueError, match="cannot be measured, for it needs a true clip|no series"):
            compare(moon[0], moon[0], measure=measure)


def test_a_clip_that_ends_early_moves_and_does_not_win(moon):
    compared = compare(moon[0][:3], darker(moon[0]), truth=moon[0], names="early\nwhole", rule="index")

    assert compared[1] == "whole" and "early is too short" in compared[5]
    early = evaluate(moon[0][:3], truth=moon[0], rule="index")
    assert early[3] is True and "Aligned by index: the clip has 3 frames" in early[4]


def test_progress_is_told_and_work_can_be_cancelled(moon):
    told = []
    with work.reporting_to(lambda done, total, picture: told.append((done, total))):
        evaluate(moon[0], truth=darker(moon[0]))

    assert told == [(done, 2 * FRAMES) for done in range(2 * FRAMES - 1)]  # flow leaves out a step of each clip

    def cancel(done, total, picture):
        raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        evaluate(moon[0])


def test_folders_and_files_with_a_clip_are_offered(tmp_path, clip):
    for name in ("text_encoders/t5.safetensors", "text_encoders/clip_l.safetensors", "clip_vision/vit.safetensors",
                 "diffusers/other/config.json"):  # fmt: skip
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")

    offered = LoadCLIP.GET_NODE_INFO_V1()["input"]["required"]["model"][1]["options"]

    assert offered == ["builtin", "clip_vision/tiny", "clip_vision/vit.safetensors", "text_encoders/clip_l.safetensors"]


@pytest.mark.parametrize("beside", ["open_clip_config.json", "tokenizer.json", "vocab.json", "merges.txt"])
def test_a_clip_is_loaded_again_where_what_lies_beside_its_file_has_changed(tmp_path, beside):
    folder = tmp_path / "models" / "clip_vision"
    folder.mkdir(parents=True)
    (folder / "vit.safetensors").write_text("weights")

    def fingerprint():
        return LoadCLIP.fingerprint_inputs(model="clip_vision/vit.safetensors")

    without = fingerprint()
    (folder / beside).write_text("one")
    first = fingerprint()
    (folder / beside).write_text("another")

    assert len({without, first, fingerprint()}) == 3


@pytest.mark.parametrize("name", ["../x", "clip_vision/../../x", "clip_vision//etc/passwd", "loras/x", "", "tiny"])
def test_a_hostile_name_is_no_clip(name):
    assert isinstance(LoadCLIP.validate_inputs(model=name), str)
    with pytest.raises(ValueError):
        LoadCLIP.execute(name, "fp32")


def test_the_builtin_clip_is_told_where_it_is_missing(monkeypatch, clip_folder):  # noqa: F811
    monkeypatch.setattr(clip_models, "BUILTIN", Path("nowhere"))
    with pytest.raises(ValueError, match="No CLIP comes with this version"):
        LoadCLIP.execute("builtin", "fp32")

    monkeypatch.setattr(clip_models, "BUILTIN", clip_folder)
    assert LoadCLIP.execute("builtin", "fp32")[0].name


def test_the_phases_of_a_moon_are_found_from_the_pixels(moon):
    images, lit = moon

    found, mean = MoonPhases.execute(images).args

    assert found == pytest.approx(lit, abs=0.05) and mean == pytest.approx(sum(lit) / FRAMES, abs=0.05)
    assert MoonPhases.execute(images[3:], images[:1])[0] == pytest.approx(lit[3:], abs=0.08)
    with pytest.raises(ValueError, match="No moon is seen"):
        MoonPhases.execute(torch.zeros(2, 16, 16, 3))


def test_a_new_moon_is_dark_though_no_frame_shows_a_lit_one(moon):
    images, lit = moon

    alone = [MoonPhases.execute(images[number : number + 1], images[:1])[0][0] for number in range(FRAMES)]

    assert lit[-1] == 0 and alone == pytest.approx(lit, abs=0.03)
    assert alone == pytest.approx(MoonPhases.execute(images, images[:1])[0])


@pytest.mark.parametrize("width, height", [(128, 128), (128, 72), (48, 64)])
def test_a_full_moon_of_another_size_is_brought_to_the_clips(moon, width, height):
    images, lit = moon
    larger, _ = resize(images, ResizeOptions(width=width, height=height, fit="cover"))

    assert MoonPhases.execute(larger, images[:1])[0] == pytest.approx(lit, abs=0.06)


@pytest.mark.parametrize("value, sentence", [(math.nan, "NaN"), (math.inf, "infinity"), (200.0, "0 is black")])
def test_no_phases_are_told_of_what_is_no_colour(moon, value, sentence):
    images = moon[0].clone()
    images[0, 5, 5] = value

    with pytest.raises(ValueError, match=sentence):
        MoonPhases.execute(images, moon[0][:1])
    with pytest.raises(ValueError, match=sentence):
        MoonPhases.execute(moon[0], images[:1])


def test_no_phases_are_told_of_no_picture(moon):
    for images, full_moon in ((moon[0][:0], None), (moon[0], moon[0][:0]), (moon[0][:0], moon[0])):
        with pytest.raises(ValueError, match="holds no picture"):
            MoonPhases.execute(images, full_moon)
