import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from zoetrope.evaluation import report_pictures as pictures
from zoetrope.evaluation.clip_encoders import ClipEncoder
from zoetrope.evaluation.errors import EvaluationError
from zoetrope.evaluation.evaluate import Candidate, TrueClip, evaluate
from zoetrope.evaluation.measuring import MeasuringOptions
from zoetrope.evaluation.metrics import METRICS
from zoetrope.evaluation.perceptual import load_perceptual
from zoetrope.evaluation.report import fails
from zoetrope.evaluation.report_files import write_report
from zoetrope.evaluation.report_text import as_text
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


class TestPictures:
    @pytest.mark.parametrize("name", ["curves_picture", "models_picture", "heat_picture", "strip_picture"])
    def test_a_picture_shows_something_and_is_as_wide_as_a_node_can_show(self, report, name):
        if name != "strip_picture":
            pytest.importorskip("matplotlib")

        picture = getattr(pictures, name)(report)

        assert picture.dtype == np.uint8 and picture.shape[1] == 1024 and picture.shape[2] == 3
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20

    def test_names_of_any_letters_can_be_drawn(self, report):
        pytest.importorskip("matplotlib")

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
        matplotlib = pytest.importorskip("matplotlib")
        import sys

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

        assert set(report.models[0].sets) == {"kernel"} and "As sets" in "".join(report.to_html())
        assert any("there are 17 clips" in note for note in report.notes)

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
