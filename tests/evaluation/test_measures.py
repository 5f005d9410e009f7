"""Each measure is held against somebody else's program (see make_golden.py), or a case whose answer is known."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from zoetrope.clips.flow import Flow
from zoetrope.evaluation import distributions, motion, pixels, similarities
from zoetrope.evaluation.errors import EvaluationError
from zoetrope.evaluation.perceptual import load_perceptual
from zoetrope.models.errors import CheckpointError

from .measured import linear_weights, panned, trunk_weights, two_clips, two_sets

OTHERS = json.loads((Path(__file__).parents[1] / "golden" / "evaluation_others.json").read_text())
CLIP, TRUTH = map(torch.from_numpy, two_clips())


def holds(found, expected, tolerance=1e-5):
    assert_close(torch.as_tensor(found, dtype=torch.float64), torch.tensor(expected).double(), rtol=0, atol=tolerance)


class TestAgainstTheTruth:
    @pytest.mark.parametrize("program", ["skimage", "torchmetrics"])
    def test_psnr_and_ssim_are_those_of_other_programs(self, program):
        holds(pixels.psnr(CLIP, TRUTH), OTHERS[program]["psnr"])
        holds(pixels.ssim(CLIP, TRUTH), OTHERS[program]["ssim"])

    def test_a_clip_is_as_near_to_itself_as_can_be(self):
        assert pixels.psnr(TRUTH, TRUTH).tolist() == [100.0] * 3
        holds(pixels.ssim(TRUTH, TRUTH), [1.0] * 3, 1e-12)

    @pytest.mark.parametrize("deviation", [0.02, 0.1])
    def test_noise_on_grey_has_the_psnr_of_its_deviation(self, deviation):
        grey = torch.full((2, 200, 200, 3), 0.5)
        noisy = grey + torch.from_numpy(np.random.default_rng(1).normal(0, deviation, grey.shape)).float()

        holds(pixels.psnr(noisy, grey), [-20 * math.log10(deviation)] * 2, 0.1)

    def test_ssim_wants_pictures_larger_than_its_windows(self):
        with pytest.raises(EvaluationError, match="20x10 pixels, and SSIM looks through windows of 11"):
            pixels.ssim(torch.rand(2, 10, 20, 3), torch.rand(2, 10, 20, 3))

    @pytest.mark.parametrize("trunk, suffix", [("alex", ".safetensors"), ("alex", ".pth"), ("vgg", ".safetensors")])
    def test_lpips_is_that_of_its_authors(self, trunk, suffix, tmp_path):
        write = save_file if suffix == ".safetensors" else torch.save
        for name, weights in (("trunk", trunk_weights(trunk)), ("linear", linear_weights(trunk))):
            write({key: torch.from_numpy(value) for key, value in weights.items()}, tmp_path / f"{name}{suffix}")
        (tmp_path / "notes.txt").write_text("what else lies there does not matter")

        different = load_perceptual(tmp_path, trunk)(CLIP, TRUTH)

        holds(different, OTHERS["lpips"][trunk])
        holds(load_perceptual(tmp_path, trunk)(TRUTH, TRUTH), [0.0] * 3)

    def test_lpips_says_what_is_missing_and_where_it_comes_from(self, tmp_path):
        with pytest.raises(EvaluationError, match=r"not complete in .* Put two files there: torchvision's alexnet-owt"):
            load_perceptual(tmp_path)
        save_file(
            {key: torch.from_numpy(value) for key, value in trunk_weights("alex").items()}, tmp_path / "a.safetensors"
        )
        with pytest.raises(EvaluationError, match="not complete"):
            load_perceptual(tmp_path)
        with pytest.raises(EvaluationError, match="has alex and vgg"):
            load_perceptual(tmp_path, "squeeze")

    def test_a_file_that_would_run_something_is_refused(self, tmp_path):
        torch.save({"features.0.weight": print}, tmp_path / "alexnet.pth")

        with pytest.raises(CheckpointError, match="read safely"):
            load_perceptual(tmp_path)

    def test_pictures_too_small_for_lpips_are_refused(self, tmp_path):
        for weights in (trunk_weights, linear_weights):
            tensors = {key: torch.from_numpy(value) for key, value in weights("alex").items()}
            save_file(tensors, tmp_path / f"{weights.__name__}.safetensors")

        with pytest.raises(EvaluationError, match="16x64 pixels"):
            load_perceptual(tmp_path)(torch.rand(1, 64, 16, 3), torch.rand(1, 64, 16, 3))


class TestAlone:
    def test_colours_are_those_of_scikit_image(self):
        holds(pixels.mean_lab(CLIP), OTHERS["skimage"]["lab"])

    def test_colours_drift_from_the_first_frame_as_far_as_they_are_apart(self):
        lab = torch.tensor([[50.0, 0, 0], [53, 4, 0], [50, 0, 12]])

        holds(pixels.colour_drift(lab), [0, 5, 12])
        holds(pixels.colour_error(lab, torch.zeros(3, 3)), [50, math.sqrt(53**2 + 16), math.sqrt(50**2 + 144)], 1e-4)

    def test_sharpness_is_that_of_opencv(self):
        import cv2

        expected = [
            cv2.Laplacian(cv2.cvtColor(frame.numpy() * 255, cv2.COLOR_RGB2GRAY).astype(np.float64), cv2.CV_64F).var()
            for frame in CLIP
        ]

        assert_close(pixels.sharpness(CLIP), torch.tensor(expected), rtol=1e-5, atol=0)

    def test_what_alternates_has_the_flicker_of_its_step(self):
        clip = torch.full((6, 8, 8, 3), 0.5)
        clip[::2] += 0.1

        holds(pixels.steadiness(clip), [0.9] * 5, 1e-6)
        holds(pixels.jitter(clip), [0.2] * 4, 1e-6)
        holds(pixels.brightness_flicker(clip), [0.2] * 4, 1e-6)

    def test_what_changes_evenly_does_not_flicker(self):
        clip = torch.linspace(0.2, 0.8, 6)[:, None, None, None].expand(-1, 8, 8, 3)

        assert pixels.jitter(clip).max() < 1e-6 and pixels.brightness_flicker(clip).max() < 1e-6

    def test_a_clip_goes_on_or_it_stands_or_is_in_no_order(self):
        clip = panned(24)
        order = np.random.default_rng(2).permutation(24)

        assert pixels.progression(clip) > 0.5
        assert pixels.progression(clip.flip(0)) == pytest.approx(pixels.progression(clip), abs=1e-6)
        assert math.isnan(pixels.progression(clip[:1].expand(24, -1, -1, -1)))
        assert abs(pixels.progression(clip[order])) < 0.15
        assert pixels.progression(clip[[0, 20] * 12]) < 0
        assert math.isnan(pixels.progression(clip[:2]))

    def test_turns_are_the_frames_whose_neighbours_are_nearer_to_each_other_than_to_them(self):
        clip = panned(24)

        assert pixels.turns(clip) == pixels.turns(clip.flip(0)) == 0
        assert pixels.turns(torch.cat([clip, clip.flip(0)])) == 0  # one turn, for which a clip may have a reason
        assert pixels.turns(clip[[0, 1, 2, 1, 2, 3, 4, 5]]) == pytest.approx(2 / 6)
        assert pixels.turns(clip[[0, 20] * 12]) == 1
        assert math.isnan(pixels.turns(clip[:1].expand(24, -1, -1, -1))) and math.isnan(pixels.turns(clip[:2]))
        assert math.isnan(pixels.turns(torch.rand(9, 48, 48, 3, generator=torch.Generator().manual_seed(0))))


def moved(x, y, height, width):
    """Flow by which everything moves by so many pixels."""
    way = np.broadcast_to(np.float32([x, y]), (height, width, 2)).copy()
    across, down = np.meshgrid(np.arange(width) + x, np.arange(height) + y)
    inside = (across >= 0) & (across <= width - 1) & (down >= 0) & (down <= height - 1)
    return Flow(way, np.ones((height, width), np.bool_), inside)


class TestMotion:
    def test_a_pan_is_followed(self):
        clip = panned(6)
        small = motion.shrunk(clip)
        ways = list(motion.flows(small))

        assert max(motion.warp_error(small, ways)) < 0.005
        assert motion.dynamic_degree(ways) == pytest.approx([2 / 96] * 5, rel=0.15)

    def test_a_frozen_clip_has_no_error_of_its_own_and_one_along_the_true_flow(self):
        truth = panned(6)
        frozen = truth[:1].expand(6, -1, -1, -1)
        true_ways, ways = (list(motion.flows(motion.shrunk(clip))) for clip in (truth, frozen))

        assert motion.warp_error(motion.shrunk(frozen), ways) == [0.0] * 5
        assert motion.dynamic_degree(ways) == [0.0] * 5
        assert min(motion.warp_error(motion.shrunk(frozen), true_ways)) > 0.02

    def test_the_size_of_a_clip_hardly_changes_what_moves(self):
        small, large = panned(4), torch.nn.functional.interpolate(panned(4).permute(0, 3, 1, 2), (960, 960))
        degrees = [
            np.mean(motion.dynamic_degree(list(motion.flows(motion.shrunk(clip)))))
            for clip in (small, large.permute(0, 2, 3, 1))
        ]

        assert motion.shrunk(large.permute(0, 2, 3, 1)).shape == (4, 512, 512, 3)
        assert degrees[1] == pytest.approx(degrees[0], rel=0.2)

    @pytest.mark.parametrize("x, y", [(3, 0), (-2, 5), (0.5, -0.25)])
    def test_along_a_known_flow_the_error_is_what_has_changed_on_the_way(self, x, y):
        """Of slopes, between whose pixels it is exact, and of anything along whole pixels."""
        across, down = np.meshgrid(np.arange(40.0), np.arange(32.0))
        scene = np.random.default_rng(6).random((32, 40, 3))
        slope = np.stack([0.01 * across, 0.01 * down, 0.005 * (across + down)], 2)
        pictures = [(slope, np.stack([slope[..., 0] - 0.01 * x, slope[..., 1] - 0.01 * y,
                                      slope[..., 2] - 0.005 * (x + y)], 2))]  # fmt: skip
        if x == round(x):
            pictures.append((scene, np.roll(scene, (y, x), (0, 1))))
        flow = moved(x, y, 32, 40)

        for earlier, later in pictures:
            for brighter in (0.0, 0.1, -0.03):
                small = np.stack([earlier, later + brighter]).astype(np.float32)
                holds(motion.warp_error(small, [flow]), [abs(brighter)])

    def test_what_cannot_be_followed_is_left_out_of_the_error(self):
        frames = np.zeros((2, 32, 40, 3), np.float32)
        frames[1, :, :20], frames[1, :, 20:] = 1, 0.25
        flow = moved(0, 0, 32, 40)
        right = replace(flow, agrees=np.broadcast_to(np.arange(40) >= 20, (32, 40)))

        holds(motion.warp_error(frames, [flow]), [0.625])
        holds(motion.warp_error(frames, [right]), [0.25])

    def test_the_dynamic_degree_is_the_mean_way_of_the_twentieth_that_moves_most(self):
        flow = moved(0, 0, 20, 40)
        flow.way[:1], flow.way[1:2] = (3, 4), (30, 40)  # 40 of 800 pixels go 5 pixels each, and 40 go 50
        unseen = replace(flow, agrees=flow.length < 20, inside=flow.agrees)

        holds(
            motion.dynamic_degree([replace(moved(3, -4, 20, 40), inside=flow.agrees), flow, unseen]),
            [5 / 20, 50 / 20, 5 / 20],
        )
        flow.way[1, :20] = 0
        holds(motion.dynamic_degree([flow]), [(50 + 5) / 2 / 20])

    def test_where_flow_is_nowhere_to_be_trusted_there_is_no_error(self):
        nowhere = Flow(np.zeros((8, 8, 2), np.float32), np.zeros((8, 8), np.bool_), np.ones((8, 8), np.bool_))

        assert math.isnan(motion.warp_error(np.random.default_rng(0).random((2, 8, 8, 3), np.float32), [nowhere])[0])


class TestSimilarities:
    FEATURES = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1]])

    def test_cosines_are_of_the_frames_that_they_name(self):
        holds(similarities.to_truth(self.FEATURES, self.FEATURES.flip(0)), [0, 1, 0])
        holds(similarities.to_prompt(self.FEATURES, torch.tensor([0.6, 0.8])), [0.6, 1, 0.8])
        holds(similarities.to_next(self.FEATURES), [0.6, 0.8])
        holds(similarities.to_first(self.FEATURES), [0.6, 0])

    def test_an_orbit_that_closes_has_no_seam(self):
        angles = torch.arange(12) / 12 * 2 * math.pi
        orbit = torch.stack([angles.cos(), angles.sin()], 1)

        holds(similarities.around_loop(orbit), [math.cos(2 * math.pi / 12)] * 12, 1e-6)
        assert similarities.loop_seam(orbit) == pytest.approx(0, abs=1e-6)
        assert similarities.loop_seam(orbit[:6]) == pytest.approx(
            math.cos(math.pi / 6) - math.cos(5 * math.pi / 6), abs=1e-6
        )


class TestSets:
    ONE, OTHER = map(torch.from_numpy, two_sets())

    def test_distances_are_those_of_scipy_and_torchmetrics(self):
        frechet = distributions.frechet_distance(self.ONE, self.OTHER)

        assert frechet == pytest.approx(OTHERS["sets"]["frechet_scipy"], abs=1e-5)
        assert frechet == pytest.approx(OTHERS["sets"]["frechet_torchmetrics"], abs=1e-5)
        kernel = distributions.kernel_distance(self.ONE[: len(self.OTHER)], self.OTHER)
        assert kernel == pytest.approx(OTHERS["sets"]["kernel"], abs=1e-5)

    def test_gaussians_that_are_moved_or_widened_are_as_far_apart_as_theory_says(self):
        assert distributions.frechet_distance(self.ONE, self.ONE + 0.5) == pytest.approx(0.25 * 24, abs=1e-9)
        trace = float(self.ONE.T.cov().trace())
        wider = (self.ONE - self.ONE.mean(0)) * 3 + self.ONE.mean(0)
        assert distributions.frechet_distance(self.ONE, wider) == pytest.approx(4 * trace, abs=1e-9)

    def test_more_dimensions_than_samples_are_no_trouble(self):
        few = torch.from_numpy(np.random.default_rng(3).normal(0, 1, (70, 300)))

        assert distributions.frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
        assert distributions.frechet_distance(few, few * 2) == pytest.approx(
            float(few.mean(0).square().sum() + few.T.cov().trace()), rel=1e-9
        )

    def test_the_kernel_distance_of_one_distribution_is_nothing_within_its_interval(self):
        generator = np.random.default_rng(9)
        same = [torch.from_numpy(generator.normal(0, 1, (100, 8))) for _ in range(2)]

        found = distributions.kernel_with_interval(*same, resamples=100)
        moved = distributions.kernel_with_interval(same[0] + 1, same[1], resamples=100)

        assert found.low < 0 < found.high and found.low <= found.value <= found.high
        assert moved.low > 0

    def test_an_interval_of_the_frechet_distance_holds_the_true_one(self):
        generator = np.random.default_rng(10)
        one, other = (torch.from_numpy(generator.normal(mean, 1, (400, 4))) for mean in (0.0, 0.5))

        found = distributions.frechet_with_interval(one, other, resamples=100)

        assert found.low < 4 * 0.25 < found.high
        assert found.baseline is not None and found.baseline < 0.2
        assert found == distributions.frechet_with_interval(one, other, resamples=100)

    @pytest.mark.parametrize(
        "measure, fewest", [(distributions.frechet_distance, 64), (distributions.kernel_distance, 16)]
    )
    def test_sets_too_small_to_mean_anything_are_refused(self, measure, fewest):
        with pytest.raises(EvaluationError, match=f"would be chance: it takes {fewest} clips or more"):
            measure(self.ONE, self.OTHER[: fewest - 1])
        assert measure(self.ONE[:fewest], self.OTHER[:fewest]) > 0

    def test_sets_that_do_not_go_together_are_refused(self):
        with pytest.raises(EvaluationError, match="as many channels"):
            distributions.frechet_distance(self.ONE, self.OTHER[:, :5])
        with pytest.raises(EvaluationError, match="NaN"):
            distributions.kernel_distance(self.ONE, self.OTHER * math.nan)
