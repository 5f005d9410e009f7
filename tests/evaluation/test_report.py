import csv
import io
import json
import math
import re
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from zoetrope.evaluation import report_pictures as pictures
from zoetrope.evaluation.alignment import AlignmentOptions
from zoetrope.evaluation.clip_encoders import ClipEncoder
from zoetrope.evaluation.colours import colour_of
from zoetrope.evaluation.distributions import Distance
from zoetrope.evaluation.errors import EvaluationError
from zoetrope.evaluation.evaluate import Candidate, TrueClip, evaluate
from zoetrope.evaluation.measuring import MeasuringOptions
from zoetrope.evaluation.metrics import METRICS, metric_of
from zoetrope.evaluation.perceptual import load_perceptual
from zoetrope.evaluation.report import fails
from zoetrope.evaluation.report_files import write_report
from zoetrope.evaluation.report_text import as_text
from zoetrope.evaluation.scenes import first_scenes
from zoetrope.models.clip import load_clip

from .damage import blur, clean, flicker, freeze, noise
from .measured import linear_weights, trunk_weights

CLIP = clean(frames=8, side=48)
SCENES = [CLIP.roll(number * 7, 2) for number in range(4)]
HOSTILE = "<script>alert(1)</script> $x_1$ \u6708"


@pytest.fixture(scope="module")
def encoder(clip_folder):
    return ClipEncoder(load_clip(clip_folder, dtype=torch.float32, device="cpu"))


def given(name, clip, truth=CLIP, **more):
    source = None if truth is None else TRUTHS.setdefault(id(truth), TrueClip(name="truth", load=lambda: truth))
    return Candidate(name=name, load=lambda: clip, truth=source, **more)


TRUTHS: dict[int, TrueClip] = {}


@pytest.fixture(scope="module")
def report(encoder):
    candidates = [
        given("noisy", noise(CLIP, 1), series={"lit fraction": np.linspace(0, 1, 8).tolist()}),
        given(HOSTILE, blur(CLIP, 1)),
        given("frozen", freeze(CLIP, 2)),
        given("longer", torch.cat([CLIP, CLIP[:2]])),
    ]
    return evaluate(candidates, encoder=encoder, options=MeasuringOptions(prompt="a red circle", loop=True))


def test_json_holds_each_clip_with_the_mean_and_every_frame_of_every_measure(report):
    record = json.loads(report.to_json())

    noisy = record["clips"][0]
    assert noisy["name"] == "noisy" and len(noisy["metrics"]["clip"]["per_frame"]) == 8
    assert noisy["metrics"]["clip"]["mean"] == pytest.approx(np.mean(noisy["metrics"]["clip"]["per_frame"]))
    assert noisy["metrics"]["warp_error"]["per_frame"][0] is None
    assert noisy["metrics"]["lit fraction"]["mean"] == pytest.approx(0.5)
    assert {"psnr", "ssim", "clip", "clip_prompt", "clip_loop", "dynamic_degree", "loop_seam"} <= set(record["metrics"])
    assert record["clips"][2]["verdict"] == "stands still" and record["winner"] != "frozen"
    assert "quick_gelu" in record["settings"]["clip_model"]


def test_the_table_has_a_row_for_each_mean_and_each_frame(report):
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))

    means = [row for row in rows if row["frame"] == "mean"]
    assert [row["name"] for row in means] == ["noisy", HOSTILE, "frozen", "longer"]
    frames = [row for row in rows if row["name"] == "noisy" and row["frame"] != "mean"]
    assert [row["frame"] for row in frames] == [str(number) for number in range(8)]
    assert float(means[0]["psnr"]) == pytest.approx(np.mean([float(row["psnr"]) for row in frames]))
    assert frames[0]["warp_error"] == "" and frames[1]["warp_error"] != ""


def test_the_page_needs_nothing_else_and_runs_nothing_that_a_name_says(report):
    page = report.to_html()

    assert not re.search(r"""(src|href)=["'](?!data:)""", page) and "@import" not in page and "url(" not in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL):
        assert json.loads(text)
    assert page.count("<svg") >= 8 and "data:image/jpeg;base64" in page


def test_the_page_tells_how_clips_were_aligned(report):
    note = "the clip has 10 frames and the truth 8, taken to last as long"

    assert note in report.clips[3].notes[0] and note in report.to_html()


def scenes_by(models, count, frames=4, side=24):
    """Clips of several models, model by model, each scene of a brightness of its own and so of a truth of its own."""
    scenes = [CLIP[:frames, :side, :side] * (1 - number / (2 * count)) for number in range(count)]
    truths = [TrueClip(name=f"s{number}", load=lambda scene=scene: scene) for number, scene in enumerate(scenes)]
    return [
        Candidate(
            name=f"{model}/{number}",
            load=lambda scene=scene: noise(scene, 1),
            truth=truth,
            model=model,
            item=truth.name,
        )
        for model in models
        for number, (scene, truth) in enumerate(zip(scenes, truths, strict=True))
    ]


def playing(page):
    """What plays side by side: the captions, and for each the frames [number, moment, JPEG]."""
    part = page[page.index('class="playing"') :]
    captions = re.findall(r"<figcaption>(.*?), frame <span", part)
    return dict(zip(captions, json.loads(re.search(r"json\">(.*?)</script>", part)[1]), strict=True))


LOOKS = MeasuringOptions(groups=("looks", "truth"))


@pytest.fixture(scope="module")
def many():
    return evaluate(scenes_by(("base", "lora"), 9), options=LOOKS)


class TestManyClips:
    def test_each_scene_plays_by_all_models_beside_its_own_truth(self, many):
        shown = playing(many.to_html())

        assert list(shown) == [f"{who}{number}" for number in range(4) for who in ("truth: s", "base/", "lora/")]
        assert len({frames[0][2] for name, frames in shown.items() if name.startswith("truth")}) == 4
        assert "The first 4 scenes of 9, 8 of 18 clips." in many.to_html()

    def test_curves_of_a_scene_are_held_against_the_truth_of_that_scene(self, many):
        page = many.to_html()
        sharpness = page[page.index("<summary>Sharpness") :].split("</details>")[0]

        graphs = [json.loads(text)["curves"] for text in re.findall(r"json\">(.*?)</script>", sharpness)]
        assert [[curve["name"] for curve in graph] for graph in graphs] == [
            [f"base/{number}", f"lora/{number}", "truth"] for number in range(4)
        ]
        for number, graph in enumerate(graphs):
            true = many.clips[number].truth_metrics["sharpness"].per_frame
            assert [float(point[2]) for point in graph[2]["points"]] == pytest.approx(true, rel=1e-4)
            assert [curve["colour"] for curve in graph[:2]] == [colour_of(0), colour_of(1)]

    def test_the_page_draws_the_models_with_their_intervals(self, many):
        page = many.to_html()
        psnr = page[page.index('aria-label="PSNR of the models"') :].split("</svg>")[0]

        assert psnr.count("<circle") == 2 and psnr.count('stroke-width="4"') == 2
        assert colour_of(0) in psnr and colour_of(1) in psnr and ">lora<" in psnr

    def test_pictures_do_not_grow_with_the_number_of_clips(self, many):
        def jpegs(report):
            shown = [each for clip in report.clips for each in (clip.shown, clip.true_shown) if each is not None]
            return {id(jpeg): len(jpeg) for each in shown for jpeg in each.jpegs.values()}

        more = evaluate(scenes_by(("base", "lora"), 12), options=LOOKS)

        assert sum(clip.shown is not None for clip in more.clips) == 8
        assert len(jpegs(more)) == len(jpegs(many)) == 4 * 3 * 4  # of a scene each true frame but once

    def test_a_clip_without_pictures_is_told(self, many):
        with pytest.raises(EvaluationError, match="No frames of lora/8 are kept. Of so many clips there are .*base/0"):
            pictures.strip_picture(many, "lora/8")

    def test_scenes_are_whole_and_a_model_has_one_clip_of_each(self):
        clips = evaluate(scenes_by(("a", "b", "c"), 3, frames=2), options=MeasuringOptions(groups=("looks",))).clips

        assert [[clip.name for clip in scene] for scene in first_scenes(clips, 8)] == [
            ["a/0", "b/0", "c/0"], ["a/1", "b/1", "c/1"]
        ]  # fmt: skip
        assert [[clip.name for clip in scene] for scene in first_scenes(clips, 2)] == [["a/0", "b/0"]]
        alike = [replace(clip, item="") for clip in clips]
        assert [clip.name for clip in first_scenes(alike, 8)[1]] == ["a/1", "b/1", "c/1"]

    def test_clips_of_many_frames_play_evenly_and_at_the_same_moments(self):
        long = CLIP[:1, :24, :24].repeat(150, 1, 1, 1)
        long[:, 0, 0, 0] = torch.linspace(0, 1, 150)
        one, other = noise(long, 0), noise(long, 0)
        one[61:64], other[100:103] = 0.5, 0.5
        report = evaluate([given("one", one, long), given("other", other, long)], options=LOOKS)

        shown = playing(report.to_html())

        numbers = {name: [frame[0] for frame in frames] for name, frames in shown.items()}
        assert numbers["one"] == numbers["other"] == numbers["truth: truth"]
        assert set(np.diff(numbers["one"])) == {3, 4} and numbers["one"][-1] == 149
        assert not {61, 62, 63} <= set(numbers["one"]) and {61, 62, 63} <= report.clips[0].shown.jpegs.keys()

    def test_clips_aligned_by_index_play_at_the_moments_of_the_truth(self):
        short = Candidate(name="short", load=lambda: CLIP[:4], truth=TrueClip(name="t", load=lambda: CLIP))
        whole = replace(short, name="whole", load=lambda: noise(CLIP, 1))
        by_index = replace(LOOKS, alignment=AlignmentOptions(rule="index"))

        shown = playing(evaluate([short, whole], options=by_index).to_html())

        assert [frame[:2] for frame in shown["whole"]][:4] == [frame[:2] for frame in shown["short"]]
        assert shown["short"][-1][1] == pytest.approx(3 / 7, abs=1e-4) and len(shown["truth: t"]) == 8


def test_the_legend_tells_curves_apart_by_their_dashes(report):
    legend = report.to_html().split('<div class="legend">')[1].split("</div>")[0]

    dashes = re.findall(r'stroke-linecap="round"(?: stroke-dasharray="(.*?)")?', legend)
    assert dashes[:4] == ["", "7 3", "2 3", "9 3 2 3"]


def test_small_distances_of_sets_are_told_in_their_own_digits(report):
    distance = Distance(0.000412, 0.0000123, 0.00098, (17, 17), 0.0000456)

    page = replace(report, sets={"noisy": {"kernel": distance}}).to_html()

    assert "<td>0.000412</td><td>1.23e-05 to 0.00098</td><td>4.56e-05</td>" in page


class Drawn:
    """Where colours are in a picture."""

    def __init__(self, picture):
        self.picture = picture.astype(int)

    def where(self, colour, tolerance=6):
        """(y, x) of the pixels of a colour, in rows from above."""
        return np.argwhere((np.abs(self.picture - np.array(colour)) <= tolerance).all(-1))

    def cell(self, row, column, columns, rows, band=0):
        """The pixel near a corner of a cell of the map, where no number is written."""
        width = (pictures.WIDTH - pictures.HEAT_LEFT - pictures.HEAT_RIGHT) / columns
        y = band * (pictures.HEAT_TOP + rows * pictures.ROW_HEIGHT) + pictures.HEAT_TOP + row * pictures.ROW_HEIGHT + 5
        return self.picture[y, int(pictures.HEAT_LEFT + column * width + 5)]


def eight_bits(colour):
    return [round(255 * part) for part in colour] if not isinstance(colour, str) else list(bytes.fromhex(colour[1:]))


class TestPictures:
    @pytest.mark.parametrize("name", ["curves_picture", "models_picture", "heat_picture", "strip_picture"])
    def test_a_picture_is_as_wide_as_a_node_can_show(self, report, name):
        picture = getattr(pictures, name)(report)

        assert picture.dtype == np.uint8 and picture.shape[1] == 1024 and picture.shape[2] == 3

    def test_a_curve_has_its_model_s_colour_where_its_values_are(self):
        flat = [given(name, CLIP, series={"lit": [value] * 8}) for name, value in (("low", 0.0), ("high", 1.0))]
        report = evaluate(flat, options=MeasuringOptions(groups=("truth",)))

        both, one = Drawn(pictures.curves_picture(report, "lit")), Drawn(pictures.curves_picture(report, "lit", "high"))

        low, high = (both.where(eight_bits(colour_of(number))) for number in (0, 1))
        above_legend = 400
        assert np.median(high[high[:, 0] < above_legend][:, 0]) < 100 < 300 < np.median(low[low[:, 0] < 450][:, 0])
        assert len(one.where(eight_bits(colour_of(1)))) > 500 and not len(one.where(eight_bits(colour_of(0))))

    def test_a_model_s_mark_stands_at_its_mean(self, several):
        drawn = Drawn(pictures.models_picture(several))

        order = list(dict.fromkeys(clip.model for clip in several.clips))
        psnr = {model.name: model.metrics["psnr"].value for model in several.models}
        marks = {name: drawn.where(eight_bits(colour_of(order.index(name)))) for name in order}
        first = {name: places[(places[:, 1] < 500) & (places[:, 0] < 190)] for name, places in marks.items()}
        across = {name: places[:, 1].mean() for name, places in first.items()}
        down = {name: places[:, 0].mean() for name, places in first.items()}
        assert sorted(across, key=across.get) == sorted(psnr, key=psnr.get)
        assert sorted(down, key=down.get) == [model.name for model in several.models]

    def test_series_stand_beside_the_deciding_measures(self, report, monkeypatch):
        drawn = []
        monkeypatch.setattr(pictures, "_intervals", lambda axes, models, name, *_, **__: drawn.append(name))
        monkeypatch.setattr(pictures, "_heat_band", lambda axes, clips, names: drawn.extend(names))

        pictures.models_picture(report)
        assert drawn == [*report.deciding, "lit fraction"]

        drawn.clear()
        pictures.heat_picture(report)
        assert drawn[: len(report.deciding) + 2] == [*report.deciding, "lit fraction", "dynamic_degree"]
        assert sorted(drawn) == sorted(report.names)

    def test_the_best_cell_of_a_column_is_blue_and_the_worst_orange(self, several):
        good, bad = eight_bits(pictures.GOOD), eight_bits(pictures.BAD)
        drawn = Drawn(pictures.heat_picture(several))

        bands = math.ceil(len(several.names) / pictures.MOST_COLUMNS)
        columns = math.ceil(len(several.names) / bands)
        psnr = [math.nan if clip.verdict else clip.mean("psnr") for clip in several.clips]
        column = several.deciding.index("psnr")
        for row, colour in ((np.nanargmax(psnr), good), (np.nanargmin(psnr), bad)):
            assert drawn.cell(row, column, columns, len(psnr)) == pytest.approx(colour, abs=2)

    def test_a_frozen_clip_does_not_set_the_scale_of_the_others(self, several):
        drift = {row: clip.mean("colour_drift") for row, clip in enumerate(several.clips) if not clip.verdict}
        best = min(drift, key=drift.get)

        assert min(clip.mean("colour_drift") for clip in several.clips) < drift[best]
        assert pictures._cells(several.clips, ["colour_drift"])[best, 0] == pytest.approx(pictures.GOOD)

    def test_a_frozen_clip_has_no_colour_in_any_column(self, several):
        picture = pictures.heat_picture(several)

        rows = len(several.clips)
        band = pictures.HEAT_TOP + rows * pictures.ROW_HEIGHT
        verdicts = [clip.verdict for clip in several.clips]
        assert "stands still" in verdicts and "" in verdicts
        for top in range(pictures.HEAT_TOP, picture.shape[0] - band + pictures.HEAT_TOP, band):
            for row, verdict in enumerate(verdicts):
                start = top + row * pictures.ROW_HEIGHT
                inside = picture[start + 1 : start + pictures.ROW_HEIGHT - 1, pictures.HEAT_LEFT : 800].astype(int)
                has_colour = np.ptp(inside, axis=2).max() > 25
                above_number = inside[:8, 5:60].reshape(-1, 3)
                is_hatched = len(np.unique(above_number, axis=0)) > 1
                assert has_colour == (not verdict) and is_hatched == bool(verdict)

    def test_what_there_is_no_room_for_is_told(self):
        few = [given(f"clip {number}", CLIP[:2], None) for number in range(pictures.MOST_ROWS + 2)]
        report = evaluate(few, options=MeasuringOptions(groups=("looks",)))

        assert pictures._heat_key(report, report.clips[:-2]).endswith("40 of 42 clips")
        assert pictures._drawn_together(report)[1] == "the first 8 of 42 clips"
        assert pictures._row_label(replace(report.clips[0], name="x" * 40, verdict="stands still")).endswith(
            "(stands still)"
        )

    def test_the_frames_at_both_ends_of_a_long_clip_are_kept_by_every_measure(self):
        long = CLIP[:1].repeat(150, 1, 1, 1)
        made = long.clone()
        made[61], made[77] = 0.5, torch.tensor([0.0, 1.0, 0.0])
        series = [0.5 + number / 1000 for number in range(150)]
        series[77] = 1.0
        report = evaluate(
            [given("a", made, long, series={"peak": series})], options=MeasuringOptions(groups=("truth",))
        )

        drawn = Drawn(pictures.strip_picture(report, metric="peak"))

        psnr = report.clips[0].metrics["psnr"].per_frame
        assert {77, int(np.argmin(psnr))} <= report.clips[0].shown.jpegs.keys()
        framed = drawn.where(pictures.NEUTRAL_COLOUR, 0)
        green = drawn.where((0, 255, 0), 12)
        assert len(green) > 10_000
        (top, left), (bottom, _) = green.min(0), green.max(0)
        around = framed[(np.abs(framed[:, 1] - left) < 8) & (framed[:, 0] > top) & (framed[:, 0] < bottom)]
        assert len(around) > 100  # the green frame is the one that is called highest
        assert not len(drawn.where(pictures.BEST_COLOUR, 0)) and not len(drawn.where(pictures.WORST_COLOUR, 0))

    def test_best_and_worst_are_framed_where_one_is_better(self, report):
        drawn = Drawn(pictures.strip_picture(report, "noisy", "psnr"))

        assert len(drawn.where(pictures.BEST_COLOUR, 0)) > 1000 and len(drawn.where(pictures.WORST_COLOUR, 0)) > 1000
        assert pictures._marks((1.0, 1.0), (0, 1), metric_of("psnr")) == {}
        assert pictures._marks((3.0, 1.0, 2.0), (0, 1, 2), metric_of("lpips")) == {
            1: ("best", pictures.BEST_COLOUR), 0: ("worst", pictures.WORST_COLOUR)
        }  # fmt: skip

    def test_where_matplotlib_is_missing_it_is_told_what_to_install(self, report, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

        with pytest.raises(EvaluationError, match='not installed. Run: pip install "matplotlib'):
            pictures.curves_picture(report)

    def test_names_of_any_letters_can_be_drawn(self, report):
        assert pictures.curves_picture(report, clip=HOSTILE).shape[2] == 3
        assert pictures.strip_picture(report, HOSTILE).shape[2] == 3

    def test_what_is_not_there_is_told(self, report):
        with pytest.raises(EvaluationError, match="'fvd' was not measured"):
            pictures.curves_picture(report, "fvd")
        with pytest.raises(EvaluationError, match="There is no clip 'moon'"):
            pictures.strip_picture(report, "moon")
        with pytest.raises(EvaluationError, match="has no values by frame"):
            pictures.strip_picture(report, metric="progression")

    def test_matplotlib_is_left_as_it_was(self, report):
        before = list(dict.items(matplotlib.rcParams))  # as they are: asking for the backend would choose one
        pictures.heat_picture(report)

        assert list(dict.items(matplotlib.rcParams)) == before and "matplotlib.pyplot" not in sys.modules


def test_a_name_that_is_no_text_does_not_lose_the_files(tmp_path):
    report = evaluate([given("m\udcf6nd", CLIP[:2], None)])

    paths = write_report(report, tmp_path)

    assert [path.name for path in paths] == ["report.json", "report.csv", "report.html"]
    assert "m?nd" in paths[1].read_text(encoding="utf-8") and "m?nd" in paths[2].read_text(encoding="utf-8")
    assert json.loads(paths[0].read_text(encoding="utf-8"))["clips"][0]["name"] == "m\udcf6nd"


def unreadable():
    raise ValueError("notes.txt is not a video that can be read.")


class TestBadInput:
    def test_one_bad_clip_of_many_does_not_lose_the_others(self):
        clip = CLIP[:3]
        good = [given(f"clip {number}", clip, None, item="one") for number in range(20)]
        bad = Candidate(name="notes.txt", load=unreadable)
        done = []

        report = evaluate(
            [*good[:10], bad, *good[10:]],
            options=MeasuringOptions(groups=("looks",)),
            on_clip=lambda number, name: done.append(number),
        )

        assert len(report.clips) == 20 and done == list(range(1, 22))
        assert report.failed == (("notes.txt", "notes.txt is not a video that can be read."),)
        assert "notes.txt could not be measured" in report.to_html()

    def test_where_no_clip_can_be_measured_it_is_told_why(self):
        with pytest.raises(EvaluationError, match="No clip could be measured. notes.txt: notes.txt is not a video"):
            evaluate([Candidate(name="notes.txt", load=unreadable)])

    @pytest.mark.parametrize(
        "spoil, sentence",
        [
            (lambda clip: clip[3, 5, 5].fill_(math.nan), "Frame 3 holds NaN"),
            (lambda clip: clip[2, 5, 5].fill_(math.inf), "Frame 2 of the clip holds infinity"),
            (lambda clip: clip.mul_(255), "values from 0 to 255|values from .* but 0 is black and 1 is white"),
        ],
    )
    def test_pixels_that_are_no_colours_are_told(self, spoil, sentence):
        clip = CLIP.clone()
        spoil(clip)

        with pytest.raises(EvaluationError, match=sentence):
            evaluate([given("spoilt", clip)])

    def test_a_bad_true_clip_is_told_as_such(self):
        truth = TrueClip(name="moon.mp4", load=unreadable)

        with pytest.raises(EvaluationError, match="The true clip moon.mp4 cannot be used: notes.txt is not a video"):
            evaluate([Candidate(name="clip", load=lambda: CLIP, truth=truth)])

    def test_one_frame_has_what_one_frame_can_have(self, encoder):
        report = evaluate([given("picture", CLIP[:1], CLIP[:1])], encoder=encoder)

        (clip,) = report.clips
        assert clip.mean("psnr") == 100 and clip.mean("clip") == pytest.approx(1, abs=1e-5)
        assert "warp_error" not in clip.metrics and clip.verdict == ""
        assert any("one frame" in note for note in clip.notes)
        json.loads(report.to_json())

    def test_small_pictures_are_measured_without_ssim(self):
        report = evaluate([given("small", CLIP[:, :8, :40], CLIP[:, :8, :40])])

        assert "ssim" not in report.names and any("SSIM is left out" in note for note in report.clips[0].notes)

    def test_a_prompt_without_clip_and_clips_of_one_name_are_refused(self):
        with pytest.raises(EvaluationError, match="no CLIP to read it"):
            evaluate([given("a", CLIP)], options=MeasuringOptions(prompt="a moon"))
        with pytest.raises(EvaluationError, match="Two clips are called 'a'"):
            evaluate([given("a", CLIP), given("a", CLIP)])
        with pytest.raises(EvaluationError, match="There is no clip"):
            evaluate([])
        with pytest.raises(EvaluationError, match="sound is no group of measures"):
            MeasuringOptions(groups=("sound",))

    @pytest.mark.parametrize(
        "series, sentence",
        [
            ({"psnr": [1.0] * 8}, "as a measure of ours"),
            ({"frame": [1.0] * 8}, "as a column"),
            ({"lit": [1.0]}, "has 1 val"),
        ],
    )
    def test_series_that_do_not_fit_are_told(self, series, sentence):
        class Unasked:
            name = "CLIP"

            def frames(self, *_):
                raise AssertionError("CLIP takes long, and is asked only where nothing is wrong")

        truth = TrueClip(name="truth", load=lambda: CLIP, series=series)
        for candidate in (given("a", CLIP, series=series), Candidate(name="a", load=lambda: CLIP, truth=truth)):
            with pytest.raises(EvaluationError, match=sentence):
                evaluate([candidate], encoder=Unasked())

    def test_a_mistake_of_ours_is_not_taken_for_a_bad_clip(self):
        def mistaken():
            raise KeyError("ours")

        with pytest.raises(KeyError):
            evaluate([Candidate(name="a", load=mistaken)])


@pytest.fixture(scope="module")
def several():
    """Three models over four scenes, the one with noise always behind."""
    candidates = []
    for number in range(4):
        scene = CLIP.roll(number * 7, 2)
        for model, made in (("good", blur(scene, 0)), ("noisy", noise(scene, 2)), ("frozen", freeze(scene, 2))):
            candidates.append(given(f"{model}/{number}", made, scene, model=model, item=f"scene {number}"))
    return evaluate(candidates)


class TestModels:
    def test_models_have_means_with_intervals_and_ranks(self, several):
        assert [model.name for model in several.models] == ["good", "noisy", "frozen"]
        good, noisy, frozen = several.models
        assert good.clips == 4 and frozen.failing == 4 and several.winner == "good"
        for name in ("psnr", "ssim"):
            assert good.metrics[name].low <= good.metrics[name].value <= good.metrics[name].high
            assert good.metrics[name].low > noisy.metrics[name].high

    def test_two_models_are_held_against_each_other_on_the_same_clips(self, several):
        pair = next(pair for pair in several.pairs if {pair.one, pair.other} == {"good", "noisy"})

        assert pair.one == "good" and pair.metrics["ssim"].clips == 4
        assert pair.metrics["ssim"].difference == pytest.approx(
            several.models[0].metrics["ssim"].value - several.models[1].metrics["ssim"].value
        )
        assert pair.metrics["ssim"].is_certain and "good against noisy" in several.to_html()

    def test_too_few_clips_for_distances_of_sets_are_told(self, encoder):
        scenes = [CLIP[:2].roll(number, 2) for number in range(17)]
        few = [
            given(f"{number}", flicker(scene, 1), scene, model="m", item=str(number))
            for number, scene in enumerate(scenes)
        ]

        report = evaluate(few, encoder=encoder, options=MeasuringOptions(groups=("clip",)))

        assert set(report.models[0].sets) == {"kernel_clip"} and "As sets" in "".join(report.to_html())
        assert report.models[0].sets["kernel_clip"].network == encoder.name
        assert any("m has 17 clips and 17 different true ones" in note for note in report.notes)

    def test_one_true_clip_is_no_set_however_many_clips_are_held_against_it(self, encoder):
        many = [given(f"{number}", flicker(CLIP[:2], 1).roll(number, 2), CLIP[:2], model="m") for number in range(66)]

        report = evaluate(many, encoder=encoder, options=MeasuringOptions(groups=("clip",)))

        assert report.sets == {}
        assert any("m has 66 clips and 1 different true ones" in note for note in report.notes)

    def test_what_falls_short_is_told(self, several):
        sound = replace(several, clips=tuple(clip for clip in several.clips if not clip.verdict))

        assert fails(sound, {"ssim": 0.0, "warp_error": 1.0}) == fails(several, {}) == []
        (short,) = fails(sound, {"ssim": 0.99})
        assert short.startswith("SSIM (ssim) is 0.") and short.endswith("below the wanted 0.99.")
        assert len(fails(sound, {"warp_error": 0.0})) == 1
        with pytest.raises(EvaluationError, match="'clip' was not measured"):
            fails(several, {"clip": 0.8})

    def test_a_clip_with_a_verdict_falls_short_whatever_its_numbers(self, several):
        (short,) = fails(several, {"ssim": 0.0, "warp_error": 1.0})

        assert short.startswith("frozen/0, frozen/1, frozen/2 and frozen/3 fall short, whatever the numbers: each")

    def test_a_clip_without_a_value_falls_short(self):
        report = evaluate([given("whole", CLIP), given("small", CLIP[:, :8], CLIP[:, :8])])

        (short,) = fails(report, {"ssim": 0.5})
        assert short == "small falls short: SSIM (ssim) has no value there."

    def test_several_clips_of_a_model_and_an_item_are_compared_by_their_mean(self):
        """Seeds of one scene: were the last one taken, the two would look alike."""
        candidates = [
            given(f"{model}/{number}", noise(scene, strength), scene, model=model, item=f"scene {number // 2}")
            for model, strengths in (("one", (0, 0, 0, 0)), ("other", (2, 0, 2, 0)))
            for number, (scene, strength) in enumerate(zip(SCENES, strengths, strict=True))
        ]

        report = evaluate(candidates)

        (pair,) = report.pairs
        means = [model.metrics["psnr"].value for model in report.models]
        assert pair.metrics["psnr"].clips == 2
        assert pair.metrics["psnr"].difference == pytest.approx(means[0] - means[1]) and means[0] > means[1] + 1

    def test_models_that_share_no_item_are_told_to_be_not_compared(self):
        def of(model, *items):
            return [given(f"{model}/{item}", blur(CLIP, 0), model=model, item=item) for item in items]

        apart = evaluate([*of("base", "a", "b"), *of("lora", "c", "d")])
        assert apart.winner == "" and apart.pairs == [] and {model.rank for model in apart.models} == {None}
        assert apart.summary()[0].startswith("The models are not compared, for no clip of one shows what")

        partly = evaluate([*of("base", "a"), *of("lora", "a"), *of("other", "c")])
        assert partly.summary()[0] == "No model is ahead of the others."
        assert partly.summary()[1].startswith("other: not compared, for no clip of theirs shows what a clip")

        by_nothing = evaluate([*of("base", "a"), *of("lora", "a")], options=MeasuringOptions(groups=("clip",)))
        assert by_nothing.summary()[0] == "Nothing was measured by which models are ranked."


class TestWhatIsTold:
    def test_how_clips_were_aligned_is_told_in_text_once_for_those_of_one_note(self):
        longer = torch.cat([CLIP, CLIP[:2]])
        clips = [given(f"longer {number}", longer) for number in range(6)]

        some, every = (evaluate(candidates).summary() for candidates in ([*clips, given("as long", CLIP)], clips))

        note = "Aligned by time: the clip has 10 frames and the truth 8, taken to last as long"
        (told,) = [sentence for sentence in some if "Aligned" in sentence]
        assert told.startswith(f"longer 0, longer 1, longer 2 and 3 others: {note}")
        assert any(sentence.startswith(f"All 6 clips: {note}") for sentence in every)
        assert note in as_text(evaluate(clips[:1]))

    @pytest.mark.parametrize(
        "groups, prompt, loop, sentences",
        [
            (("looks",), "a red circle", True, ["The prompt is not used: the group clip", "The loop is not used"]),
            (("clip",), "", False, []),
        ],
    )
    def test_what_is_asked_for_and_does_nothing_is_told(self, groups, prompt, loop, sentences, encoder):
        options = MeasuringOptions(groups=groups, prompt=prompt, loop=loop)

        report = evaluate([given("clip", CLIP, None)], encoder=encoder, options=options)

        assert len(report.notes) == len(sentences)
        assert all(note.startswith(sentence) for note, sentence in zip(report.notes, sentences, strict=True))
        assert (report.settings["clip_model"] is None) == ("clip" not in groups)

    def test_a_loop_without_clip_is_told(self):
        report = evaluate([given("clip", CLIP, None)], options=MeasuringOptions(loop=True))

        assert "There is no CLIP, so nothing is told of what the frames show, nor of the loop." in report.notes

    @pytest.mark.parametrize("truth, groups, why", [(None, ("truth", "looks"), "there is no true clip"),
                                                    (CLIP, ("looks",), "the group truth")])  # fmt: skip
    def test_lpips_is_not_even_loaded_where_it_is_of_no_use(self, truth, groups, why):
        def load():
            raise AssertionError("nobody needs it")

        report = evaluate([given("a", CLIP, truth)], perceptual=load, options=MeasuringOptions(groups=groups))

        assert any(note.startswith(f"LPIPS is not used: {why}") for note in report.notes)
        assert report.settings["lpips"] is None

    def test_pictures_too_small_for_lpips_are_measured_without_it(self, tmp_path):
        for weights in (trunk_weights, linear_weights):
            tensors = {key: torch.from_numpy(value) for key, value in weights("alex").items()}
            save_file(tensors, tmp_path / f"{weights.__name__}.safetensors")

        small, whole = CLIP[:2, :24, :40], CLIP[:2]
        report = evaluate(
            [given("small", small, small), given("whole", whole, whole)], perceptual=lambda: load_perceptual(tmp_path)
        )

        assert report.failed == () and math.isnan(report.clips[0].mean("lpips")) and report.clips[1].mean("lpips") == 0
        assert "LPIPS is left out: with alex it sees no picture below 32 pixels." in report.clips[0].notes

    def test_measures_stand_in_their_order_whichever_the_first_clip_has(self):
        report = evaluate([given("one frame", CLIP[:1], series={"lit": [1.0]}), given("whole", CLIP)])

        assert report.names == [*(name for name in METRICS if name in report.names), "lit"]
