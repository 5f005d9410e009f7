import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoetrope.evaluation.alignment import AlignmentOptions, align
from zoetrope.evaluation.errors import EvaluationError
from zoetrope.evaluation.statistics import compare, mean_with_interval, ranks

OTHERS = json.loads((Path(__file__).parents[1] / "golden" / "evaluation_others.json").read_text())["scipy"]


def numbered(frames, height=8, width=12):
    """Each frame is of the grey of its number."""
    return (torch.arange(frames) / 100)[:, None, None, None].expand(-1, height, width, 3)


def pairs(count, true_count, rule="auto", **rates):
    aligned = align(numbered(count), numbered(true_count), AlignmentOptions(rule=rule), **rates)
    assert_close(aligned.clip[:, 0, 0, 0], torch.tensor(aligned.frames) / 100)
    assert_close(aligned.truth[:, 0, 0, 0], torch.tensor(aligned.true_frames) / 100)
    return aligned.frames, aligned.true_frames, " ".join(aligned.notes)


def test_clips_of_one_length_are_aligned_by_index_and_nothing_is_said():
    assert pairs(5, 5) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], "")


@pytest.mark.parametrize("count, true_count, longer, rest", [(3, 5, "truth", "3 to 4"), (6, 4, "clip", "4 to 5")])
def test_by_index_what_has_no_counterpart_is_told(count, true_count, longer, rest):
    frames, true_frames, note = pairs(count, true_count, "index")

    assert frames == true_frames == list(range(min(count, true_count)))
    assert f"the clip has {count} frames and the truth {true_count}, so frames {rest} of the {longer}" in note


@pytest.mark.parametrize("count, true_count", [(3, 7), (7, 3), (14, 25), (1, 5)])
def test_without_rates_clips_of_two_lengths_are_taken_to_last_as_long(count, true_count):
    frames, true_frames, note = pairs(count, true_count)

    assert len(frames) == len(true_frames) == min(count, true_count)
    assert "taken to last as long" in note
    if min(count, true_count) > 1:
        assert (frames[0], frames[-1], true_frames[0], true_frames[-1]) == (0, count - 1, 0, true_count - 1)


def test_with_rates_frames_are_held_against_those_on_screen_at_the_time():
    frames, true_frames, note = pairs(12, 24, rate=12.0, true_rate=24.0)
    assert (frames, true_frames) == (list(range(12)), list(range(0, 24, 2)))
    assert "Aligned by time: 1 s of the clip at 12 and 1 s of the truth at 24 frames per second" in note

    frames, true_frames, _ = pairs(10, 10, rate=10.0, true_rate=5.0)  # a second of either
    assert (frames, true_frames) == ([0, 2, 4, 6, 8], [0, 1, 2, 3, 4])


def test_with_rates_clips_of_which_no_frames_stand_beside_each_other_are_told():
    with pytest.raises(EvaluationError, match=r"No frame of the clip stands beside one of the truth: the clip ends"):
        align(numbered(3), numbered(4), rate=24.0, true_rate=2.0)
    with pytest.raises(EvaluationError, match="the truth ends after 0.0333 s, before the clip has shown a frame"):
        align(numbered(4), numbered(1), rate=5.0, true_rate=30.0)


@pytest.mark.parametrize(
    "count, true_count, rule, rates, covered",
    [
        (5, 5, "auto", {}, 1), (3, 12, "index", {}, 0.25), (12, 3, "index", {}, 1), (14, 25, "auto", {}, 1),
        (2, 24, "auto", {}, 2 / 24),  # so few that it is not to be believed that it lasts as long
        (12, 24, "auto", {"rate": 8.0, "true_rate": 16.0}, 1), (6, 24, "time", {"rate": 8.0, "true_rate": 16.0}, 0.5),
        (24, 12, "time", {"rate": 16.0, "true_rate": 16.0}, 1),
    ],
)  # fmt: skip
def test_it_is_known_how_much_of_the_truth_has_the_clip_beside_it(count, true_count, rule, rates, covered):
    found = align(numbered(count), numbered(true_count), AlignmentOptions(rule=rule), **rates)

    assert found.covered == pytest.approx(covered)


def test_another_size_is_resized_and_told_and_another_shape_too():
    aligned = align(numbered(2, 16, 24), numbered(2, 8, 12))
    assert aligned.clip.shape == aligned.truth.shape and aligned.notes == ("Resized from 24x16 to the truth's 12x8.",)

    (note,) = align(numbered(2, 16, 16), numbered(2, 8, 12)).notes
    assert "another shape, so it is stretched" in note


@pytest.mark.parametrize(
    "rates", [{"rate": 0.0}, {"rate": math.nan, "true_rate": 8.0}, {"rate": 8.0, "true_rate": -1.0}]
)
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(EvaluationError, match="frames per second. Give one above 0"):
        align(numbered(3), numbered(4), **rates)


def test_rules_that_are_none_are_refused():
    with pytest.raises(EvaluationError, match="rule is 'magic'"):
        AlignmentOptions(rule="magic")


class TestStatistics:
    def test_an_interval_is_that_of_scipy(self):
        values = np.random.default_rng(5).normal(0.3, 1, 40)

        found = mean_with_interval(values.tolist())

        assert found.value == pytest.approx(values.mean(), abs=1e-12) and found.clips == 40
        # Both are drawn by chance; an edge of theirs is as sure as this.
        assert [found.low, found.high] == pytest.approx(OTHERS["interval"], abs=0.012)
        assert found == mean_with_interval(values.tolist())

    def test_ranks_are_those_of_scipy(self):
        assert ranks([3, 1, 3, 2], higher_is_better=False) == OTHERS["ranks"]
        assert ranks([3, 1, 3, 2], higher_is_better=True) == [1.5, 4, 1.5, 3]
        assert ranks([1, math.nan, 2, math.nan], higher_is_better=True) == [2, 3.5, 1, 3.5]

    def test_too_few_clips_have_a_mean_and_no_interval(self):
        assert mean_with_interval([1.0, 3.0]).low is None and mean_with_interval([1.0, 3.0]).value == 2
        assert math.isnan(mean_with_interval([math.nan]).value)
        assert compare([1.0], [2.0]).chance is None

    def test_pairs_are_surer_than_the_models_alone(self):
        """Clips differ more than models do, and the difference of the models is the same on all."""
        generator = np.random.default_rng(1)
        clips = generator.normal(0, 5, 20)
        one, other = clips + 0.5 + generator.normal(0, 0.1, 20), clips

        found = compare(one.tolist(), other.tolist())

        assert found.is_certain and found.low < 0.5 < found.high and found.chance < 0.001
        alone = mean_with_interval(one.tolist()), mean_with_interval(other.tolist())
        assert alone[0].low < alone[1].high

    def test_of_two_equal_models_neither_is_ahead(self):
        generator = np.random.default_rng(2)
        one, other = generator.normal(0, 1, (2, 30))

        found = compare(one.tolist(), other.tolist())

        assert not found.is_certain and found.chance > 0.05
