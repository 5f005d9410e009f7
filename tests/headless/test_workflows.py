"""The workflows that ship: both formats say the same, and each makes what it promises, at a small size."""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from zoetrope.headless.command import shipped_workflows
from zoetrope.headless.registry import definitions
from zoetrope.headless.runner import run_workflow
from zoetrope.headless.workflow import load_workflow
from zoetrope.media.reading import load_frames, probe
from zoetrope.media.sound import read_sound
from zoetrope.models import clip as clip_models
from zoetrope.models.builtin_models import builtin_names
from zoetrope.models.released import RELEASED
from zoetrope.toyworld.held_out import FIRST_HELD_OUT
from zoetrope.toyworld.moons import MoonsOptions, compose

from ..evaluation.conftest import write_clip
from ..small_models import SIDE, made_small, put_models
from ..small_models import SMALL as SMALL_INPUTS

WORKFLOWS = shipped_workflows()
SMALL = {"Toy World Clip.width": 64, "Toy World Clip.height": 36}
MEASURING = {"ZoetropeEvaluateVideo", "ZoetropeCompareVideos", "ZoetropeCLIPSimilarity"}
every_workflow = pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS.keys())


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    """Combos list the files of the input folder, so there must be none."""
    monkeypatch.chdir(tmp_path)


def run(name, output, **settings):
    """Run a workflow; gives its files by their place in the output folder."""
    files = run_workflow(WORKFLOWS[name], overrides=SMALL | settings, output=output).files
    return {file.relative_to(output).as_posix(): file for file in files}


def gif(path):
    """A GIF's (f h w c) frames, its seconds, and how often it plays (0 is for ever, None once)."""
    with Image.open(path) as image:
        pictures = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)
        ]
        return (
            np.stack([picture for picture, _ in pictures]),
            sum(ms for _, ms in pictures) / 1000,
            image.info.get("loop"),
        )


def ticks_in(path):
    """The seconds at which the ticks of a video's sound start, to a hundredth."""
    sound = read_sound(path, Fraction(0), probe(path).seconds)
    loud = np.flatnonzero(sound["waveform"][0, 0].abs().numpy() > 0.1) / sound["sample_rate"]
    return [round(float(start), 2) for start in loud[np.diff(loud, prepend=-1) > 0.5]]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models under the names of the released ones, which the workflows ask for."""
    return put_models(tmp_path_factory.mktemp("models"))


def test_every_workflow_ships_in_both_formats():
    assert {"video_to_gif", "video_to_frames_folder", "video_to_frames_to_video", "square_to_wide"} <= WORKFLOWS.keys()
    api = WORKFLOWS["video_to_gif"].parent / "api"
    assert {path.stem for path in api.glob("*.json")} == set(WORKFLOWS)


def kinds(graph):
    return {node["type"] for node in graph["nodes"]}


def loaders_of(graph):
    """The loader of core's that stands beside what makes the input, for who brings their own."""
    if "ZoetropeToyWorldVideos" in kinds(graph):
        return []  # a graph of many files takes the name of a folder
    if MEASURING & kinds(graph):
        return ["LoadVideo"]  # the true clip, of which a model gets the first frame
    return ["LoadImage"] if "ZoetropeLoadSVD" in kinds(graph) else ["LoadVideo"]


def words_of_the_swap(graph):
    """What a note has to name so that somebody can put their own in."""
    if "ZoetropeLoadPictures" in kinds(graph):
        return ("Toy World Videos", "Footage From Videos", "folder", "Load Pictures")
    if "ZoetropeToyWorldVideos" in kinds(graph):
        return ("Toy World Videos", "Footage From Videos", "folder", "Load Footage")
    loader = "Load Image" if loaders_of(graph) == ["LoadImage"] else "Load Video"
    return (loader, "Toy World Clip", "Ctrl+B", "Extract Frames")


@every_workflow
def test_the_api_file_is_the_graph_converted(path):
    """workflows/api is what ComfyUI's own frontend exported."""
    prompt = json.loads((path.parent / "api" / path.name).read_text(encoding="utf-8"))

    assert load_workflow(path, definitions()).prompt == prompt


@every_workflow
def test_no_node_needs_a_file_that_a_user_lacks(path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    loaders = [node for node in graph["nodes"] if node["type"].startswith("Load")]

    assert [node["type"] for node in loaders] == loaders_of(graph)
    assert all(
        node["mode"] == 4 and not node.get("widgets_values") and not node["outputs"][0]["links"] for node in loaders
    )


@every_workflow
def test_nodes_stand_in_reading_order_and_do_not_overlap(path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    title = 30  # pixels, above a node's place
    boxes = {
        node["id"]: (*node["pos"], node["size"][0], 0 if node["flags"].get("collapsed") else node["size"][1])
        for node in graph["nodes"]
    }

    for _, origin, _, target, _, _ in graph["links"]:
        assert boxes[origin][0] <= boxes[target][0]
    for first, (x, y, width, height) in boxes.items():
        for second, (left, top, _, _) in boxes.items():
            if first != second and y <= top and x <= left < x + width:
                assert top - title >= y + height


@every_workflow
def test_a_note_explains_the_graph_and_the_swap(path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    notes = " ".join(node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote")

    assert len(graph["groups"]) >= 3
    assert [word for word in words_of_the_swap(graph) if word not in notes] == []


@every_workflow
def test_a_model_ships_with_the_pack_and_a_note_tells_of_the_full_size_one(path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    notes = " ".join(node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote")

    for node in graph["nodes"]:
        if node["type"] == "ZoetropeLoadSVD":
            name = node["widgets_values"][0]
            assert name in builtin_names("models")
            # ComfyUI's frontend asks for a download before the first run where the properties name a file.
            assert "models" not in node["properties"]
            told = [released for released in RELEASED.values() if f"**{released.name}**" in notes]
            assert [released.name.startswith(name.removeprefix("builtin:")) for released in told] == [True]
            assert told[0].page in notes and f"{told[0].gigabytes:g} GB" in notes


@every_workflow
def test_a_small_thumbnail_shows_the_result(path):
    thumbnail = path.with_suffix(".jpg")

    assert thumbnail.stat().st_size < 100_000
    with Image.open(thumbnail) as image:
        assert image.size == (768, 432)
        assert np.asarray(image).std() > 20  # it is not one colour


def test_video_to_gif_makes_a_gif_that_plays_and_a_video_with_sound(tmp_path):
    files = run("video_to_gif", tmp_path, **{"Resize Frames.width": 48})

    assert set(files) == {"zoetrope/clip_00001_.gif", "zoetrope/source_00001_.mp4"}
    frames, seconds, loop = gif(files["zoetrope/clip_00001_.gif"])
    assert frames.shape == (48, 27, 48, 3)  # twelve a second
    assert seconds == pytest.approx(4, abs=0.02)
    assert loop == 0
    assert all((one != next_one).any() for one, next_one in itertools.pairwise(frames))
    facts = probe(files["zoetrope/source_00001_.mp4"])
    assert (facts.width, facts.height, facts.frames, facts.seconds) == (64, 36, 96, 4)
    assert ticks_in(files["zoetrope/source_00001_.mp4"]) == [0, 1, 2, 3]


def test_video_to_frames_folder_makes_a_picture_of_every_tenth_frame(tmp_path):
    files = run("video_to_frames_folder", tmp_path)

    assert list(files) == [f"zoetrope/frames_00001/frame_{number:05}.png" for number in range(0, 96, 10)]
    pictures = [np.asarray(Image.open(path)) for path in files.values()]
    assert {picture.shape for picture in pictures} == {(36, 64, 3)}
    assert (pictures[0] != pictures[1]).any()


def test_video_to_frames_to_video_keeps_the_time_of_picture_and_sound(tmp_path):
    files = run("video_to_frames_to_video", tmp_path, **{"Resize Frames.width": 32, "Resize Frames.height": 32})

    assert set(files) == {"zoetrope/square_00001_.mp4"}
    (path,) = files.values()
    facts = probe(path)
    assert (facts.width, facts.height, facts.frames, facts.timeline.rate) == (32, 32, 36, 12)
    assert facts.seconds == 3  # of second 1 to second 4
    assert ticks_in(path) == [0, 1, 2]
    frames = load_frames(path, range(36), facts)
    assert (frames[1:] - frames[:-1]).abs().amax(dim=(1, 2, 3)).gt(0.05).all()


def test_square_to_wide_cuts_one_and_blurs_the_edges_of_the_other(tmp_path):
    small = {f"{title}.{side}": size for title in ("Cover: cut to fit", "Pad: blurred edges") for side, size in
             (("width", 64), ("height", 36))}  # fmt: skip
    files = run("square_to_wide", tmp_path, **{"Toy World Clip.height": 64}, **small)

    assert set(files) == {"zoetrope/wide_cover_00001_.gif", "zoetrope/wide_blurred_00001_.gif"}
    for path in files.values():
        frames, seconds, loop = gif(path)
        assert frames.shape == (36, 36, 64, 3)
        assert seconds == pytest.approx(36 * 95 / 35 / 24, abs=0.02)  # 95 steps of 1/24 s in 35
        assert loop == 0
    blurred, _, _ = gif(files["zoetrope/wide_blurred_00001_.gif"])
    steps = np.abs(np.diff(blurred.astype(int), axis=1)).mean(axis=(0, 1, 3))  # by column, down the picture
    assert steps[:12].mean() < steps[20:44].mean() / 2


def test_a_workflow_run_from_its_api_file_makes_the_same_pixels(tmp_path):
    both = [run_workflow(path, overrides=SMALL, output=tmp_path / name).files for name, path in (
        ("ui", WORKFLOWS["video_to_gif"]), ("api", WORKFLOWS["video_to_gif"].parent / "api" / "video_to_gif.json"),
    )]  # fmt: skip

    assert [Path(file).read_bytes() for file in both[0] if file.suffix == ".gif"] == [
        Path(file).read_bytes() for file in both[1] if file.suffix == ".gif"
    ]


def run_small(name, output, models):
    """Run a workflow that needs a model with a tiny one; gives its files by their place in the output folder."""
    prompt = json.loads((WORKFLOWS[name].parent / "api" / f"{name}.json").read_text(encoding="utf-8"))
    files = run_workflow(made_small(prompt), output=output, models=models).files
    return {file.relative_to(output).as_posix(): probe(file) for file in files if file.suffix == ".mp4"}


@pytest.mark.parametrize(
    ("name", "file", "frames", "rate"),
    [
        ("image_to_video", "zoetrope/svd_00001_.mp4", 3, 7),
        ("long_video", "zoetrope/svd_chain_00001_.mp4", 7, 7),  # three segments of three, of which two share one
        ("object_orbit", "zoetrope/orbit_00001_.mp4", 3, 10),
        ("object_camera_path", "zoetrope/camera_path_00001_.mp4", 3, 10),
    ],
)
def test_a_workflow_with_a_model_makes_its_video(name, file, frames, rate, tmp_path, models):
    (made,) = run_small(name, tmp_path, models).items()

    assert made[0] == file
    assert (made[1].frames, made[1].timeline.rate, made[1].width, made[1].height) == (frames, rate, SIDE, SIDE)


def test_lora_before_and_after_shows_the_clips_side_by_side_and_in_a_sheet(tmp_path, models):
    made = run_small("lora_before_and_after", tmp_path, models)

    assert sorted(made) == ["zoetrope/before_and_after_00001_.mp4", "zoetrope/with_lora_00001_.mp4"]
    facts = made["zoetrope/before_and_after_00001_.mp4"]
    assert (facts.frames, facts.timeline.rate) == (3, 7)
    assert facts.width > 3 * 5 * SIDE > facts.height > 5 * SIDE
    with Image.open(tmp_path / "zoetrope" / "before_and_after_sheet_00001_.png") as sheet:
        assert sheet.height > 3 * 5 * SIDE


def test_train_svd_lora_trains_and_shows_what_came_of_it(tmp_path, models):
    made = run_small("train_svd_lora", tmp_path, models)

    assert list(made) == ["zoetrope/before_and_after_training_00001_.mp4"]
    assert (tmp_path / "loras" / "zoetrope" / "moons-2.safetensors").is_file()
    assert (tmp_path / "zoetrope" / "runs" / "moons" / "report.html").is_file()


def test_images_to_videos_makes_a_video_of_each_picture_under_its_name(tmp_path, models):
    made = run_small("images_to_videos", tmp_path, models)

    assert len(made) == SMALL_INPUTS["ZoetropeToyWorldVideos"]["count"]
    assert all(name.startswith("clips/") and "_frame_" in name for name in made)
    assert {facts.frames for facts in made.values()} == {3}


def test_watermark_marks_a_clip_and_reads_the_mark(tmp_path):
    result = run_workflow(WORKFLOWS["watermark"], output=tmp_path)

    texts = [shown["text"] for shown in result.outputs.values() if "text" in shown]
    assert [tuple(text) for text in texts] == [("made by AI",)]
    assert probe(result.files[-1]).frames == 24


FOLDERS = {"evaluate_against_truth": "evaluation", "compare_three_clips": "comparison"}


def prompt_of(name):
    """The prompt of a workflow, and the inputs of its nodes by their titles."""
    prompt = json.loads((WORKFLOWS[name].parent / "api" / f"{name}.json").read_text(encoding="utf-8"))
    return prompt, {node["_meta"]["title"]: node["inputs"] for node in prompt.values()}


def record_in(output, folder):
    return json.loads((output / "zoetrope" / f"{folder}_00001" / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FOLDERS)
def test_models_are_measured_on_a_large_upright_moon_that_none_has_seen(name):
    is_large_and_upright(prompt_of(name)[1]["Toy World Clip"])


@pytest.mark.parametrize("name", FOLDERS)
def test_a_workflow_that_measures_saves_its_report(name, tmp_path, models, monkeypatch):
    """With tiny models, which are given the names of the ones that ship."""
    monkeypatch.setattr(clip_models, "BUILTIN", write_clip(tmp_path / "clip"))
    prompt, _ = prompt_of(name)
    names = {"ZoetropeLoadSVD": {"checkpoint": "svd.safetensors"}, "ZoetropeLoadLoRA": {"lora": "svd_lora.safetensors"},
             "ZoetropeSVDImageToVideo": {"frames": 3, "steps": 1, "width": SIDE, "height": SIDE}}  # fmt: skip
    for node in prompt.values():
        node["inputs"] |= names.get(node["class_type"], {})

    run_workflow(prompt, output=tmp_path / "out", models=models)

    clips = record_in(tmp_path / "out", FOLDERS[name])["clips"]
    called = {"evaluation": ["generated"], "comparison": ["base", "half LoRA", "whole LoRA"]}[FOLDERS[name]]
    assert [clip["name"] for clip in clips] == called
    assert all({"clip", "ssim", "warp_error", "sharpness"} <= set(clip["metrics"]) for clip in clips)
    if len(clips) == 3:
        assert len({clip["metrics"]["psnr"]["mean"] for clip in clips}) == 3  # three models, and not one of them twice


def test_the_small_model_makes_what_truly_happens_and_more_than_its_first_frame(tmp_path):
    """With the models that ship, in fewer steps of sampling."""
    overrides = {"A clip of the first frame.steps": 8}

    run_workflow(WORKFLOWS["evaluate_against_truth"], overrides=overrides, output=tmp_path)

    (clip,) = record_in(tmp_path, "evaluation")["clips"]
    assert clip["verdict"] == ""
    assert clip["metrics"]["clip"]["mean"] > clip["floor"]["clip"]["mean"]


def test_of_three_models_the_one_with_the_whole_lora_wins(tmp_path):
    """With the models that ship, in fewer steps of sampling."""
    titles = ("The base alone", "With half of the LoRA", "With all of the LoRA")

    run_workflow(WORKFLOWS["compare_three_clips"], overrides={f"{title}.steps": 8 for title in titles}, output=tmp_path)

    record = record_in(tmp_path, "comparison")
    base, _, whole = (clip["metrics"]["clip"]["mean"] for clip in record["clips"])
    assert record["winner"] == "whole LoRA" and base < whole


@pytest.fixture
def before_and_after():
    """The prompt of the workflow that measures a LoRA by the moon's lit fraction, and its nodes by their titles."""
    return prompt_of("evaluate_before_and_after")


def is_large_and_upright(toy):
    moon = compose(MoonsOptions(**{name: value for name, value in toy.items() if name != "scene"}))

    assert toy["scene"] == "moons" and toy["seed"] >= FIRST_HELD_OUT
    assert abs(moon.tilt) < 0.02 and moon.radius > 0.35 and max(abs(place - 0.5) for place in moon.place) < 0.25


def test_before_and_after_begin_with_a_large_upright_moon_that_no_model_has_seen(before_and_after):
    is_large_and_upright(before_and_after[1]["Toy World Clip"])


def test_before_and_after_are_measured_in_the_models_own_size_and_by_clip(
    before_and_after, tmp_path, models, monkeypatch
):
    """With tiny models; the released one makes 1024x576 of the true clip's first frame, too."""
    monkeypatch.setattr(clip_models, "BUILTIN", write_clip(tmp_path / "clip"))
    prompt, nodes = before_and_after
    nodes["Load SVD"]["checkpoint"], nodes["Load LoRA"]["lora"] = "svd.safetensors", "svd_lora.safetensors"
    for title in ("Before: it stays full", "After: it wanes"):
        nodes[title] |= {"frames": 3, "steps": 1, "width": 2 * SIDE, "height": SIDE}

    result = run_workflow(prompt, output=tmp_path / "out", models=models)

    record = json.loads(next(path for path in result.files if path.name == "report.json").read_text(encoding="utf-8"))
    assert [clip["name"] for clip in record["clips"]] == ["before", "after"]
    for clip in record["clips"]:
        assert {"lit fraction", "clip"} <= set(clip["metrics"])
        assert "Resized from 128x64 to the truth's 64x64" in " ".join(clip["notes"])


def test_before_and_after_a_lora_the_moon_is_measured(tmp_path):
    """With the models that ship, as the workflow stands, in fewer steps of sampling."""
    overrides = {f"{title}.steps": 8 for title in ("Before: it stays full", "After: it wanes")}

    run_workflow(WORKFLOWS["evaluate_before_and_after"], overrides=overrides, output=tmp_path)

    record = json.loads((tmp_path / "zoetrope" / "phases_00001" / "report.json").read_text(encoding="utf-8"))
    before, after = (clip["metrics"]["lit fraction"]["mean"] for clip in record["clips"])
    assert before > 0.9 and after < 0.65
    assert all(clip["metrics"]["clip"]["mean"] for clip in record["clips"])
    assert record["winner"] == "after"


def test_clip_similarity_draws_what_clip_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_models, "BUILTIN", write_clip(tmp_path / "clip"))
    small = {"width": 64, "height": 36, "seconds": 0.5}
    overrides = {f"Toy World Clip.{name}": value for name, value in small.items()}

    result = run_workflow(WORKFLOWS["clip_similarity"], overrides=overrides, output=tmp_path / "out")

    (text,) = [shown["text"] for shown in result.outputs.values() if "text" in shown]
    assert -1 < float(text[0]) < 1
