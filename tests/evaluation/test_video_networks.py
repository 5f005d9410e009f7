"""Whole clips as a video network of the user's sees them, one by one and as sets."""

import numpy as np
import pytest
import torch

from zoetrope.evaluation.errors import EvaluationError
from zoetrope.evaluation.evaluate import Candidate, TrueClip, evaluate
from zoetrope.evaluation.measuring import MeasuringOptions
from zoetrope.evaluation.report_text import as_text
from zoetrope.evaluation.video_networks import load_video_network, prepared

from .video_scripts import Pictures, Plain, Pooled, write_script

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
ONLY_TRUTH = MeasuringOptions(groups=("truth",))
SIDE = 12  # of clips, that SSIM and the rest take no time


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    return write_script(tmp_path_factory.mktemp("i3d") / "i3d_torchscript.pt", Pooled())


@pytest.fixture
def network(script):
    return load_video_network(script)


def scene(number, frames=10):
    """(f h w c)"""
    generator = torch.Generator().manual_seed(number)
    moving = torch.rand(1, 1, 1, 3, generator=generator) + 0.05 * torch.randn(frames, 1, 1, 3, generator=generator)
    return moving.clamp(0, 1).expand(-1, SIDE, SIDE, -1)


def worse(clip):
    return clip * 0.8 + 0.1


def given(number, clip, truth, model="base"):
    true = TrueClip(name=f"true {number}", load=lambda: truth)
    return Candidate(name=f"{model}/{number}", load=lambda: clip, truth=true, model=model, item=str(number))


def features(clip):
    """What `Pooled` tells of a clip, written anew."""
    colours = clip[:, 0, 0].double().numpy() * 2 - 1
    both = np.concatenate([colours.mean(0), np.abs(np.diff(colours, axis=0)).mean(0)])
    return both @ Pooled().mixing.double().numpy()


def trace_of_root(matrix):
    """The trace of scipy.linalg.sqrtm where that is installed; else by the eigenvalues, of which it is the sum."""
    try:
        from scipy.linalg import sqrtm
    except ImportError:
        return np.sqrt(np.linalg.eigvals(matrix).real.clip(0)).sum()
    return np.trace(sqrtm(matrix).real)


def test_a_network_sees_the_middle_of_a_clip_in_its_own_size_and_range():
    clip = torch.zeros(3, 224, 448, 4)
    clip[:, :, 112:336, 1] = 1

    seen = prepared(clip)

    assert seen.shape == (1, 3, 3, 224, 224)
    assert torch.equal(seen[0, :, 0, 0, 0], torch.tensor([-1.0, 1, -1])) and (seen[0, 1] == 1).all()
    assert prepared(torch.zeros(2, 100, 37, 3)).shape == (1, 3, 2, 224, 224)


def test_a_clip_is_held_against_the_true_one_as_a_whole(network):
    report = evaluate([given(0, worse(scene(0)), scene(0))], video=network, options=ONLY_TRUTH)

    own, true = features(worse(scene(0))), features(scene(0))
    cosine = own @ true / np.linalg.norm(own) / np.linalg.norm(true)
    measured = report.clips[0].metrics["i3d"]
    assert measured.mean == pytest.approx(cosine, abs=1e-5) and measured.per_frame == ()
    assert report.settings["i3d"] == "i3d_torchscript.pt (6 features)" and report.notes == ()
    assert report.settings["i3d"] in report.to_html()


def test_the_frechet_distance_of_a_video_network_is_that_of_the_closed_form(network):
    clips = [given(number, worse(scene(number)), scene(number)) for number in range(66)]

    report = evaluate(clips, video=network, options=ONLY_TRUTH)

    own, true = (np.stack([features(made(scene(number))) for number in range(66)]) for made in (worse, torch.clone))
    covariances = np.cov(own, rowvar=False), np.cov(true, rowvar=False)
    frechet = np.square(own.mean(0) - true.mean(0)).sum() + sum(map(np.trace, covariances))
    frechet -= 2 * trace_of_root(covariances[0] @ covariances[1])
    found = report.sets["base"]["frechet_i3d"]
    assert found.value == pytest.approx(frechet, abs=1e-5) and found.value > 0.01
    assert found.samples == (66, 66) and found.network == "i3d_torchscript.pt (6 features)"
    assert set(report.sets["base"]) == {"kernel_i3d", "frechet_i3d"} and report.notes == ()
    assert "base: frechet_i3d" in as_text(report) and "by i3d_torchscript.pt (6 features)" in as_text(report)
    assert found.network in report.to_html()


def test_copies_of_one_true_clip_are_no_set(network):
    """Whether one object is held against all, or a file lies there many times."""
    one = TrueClip(name="one", load=lambda: scene(0))
    candidates = [given(number, worse(scene(number)), scene(0)) for number in range(8)]
    candidates += [
        Candidate(name=f"base/{number}", load=lambda number=number: scene(number), truth=one, model="base")
        for number in range(8, 17)
    ]

    report = evaluate(candidates, video=network, options=ONLY_TRUTH)

    assert report.sets == {}
    (note,) = report.notes
    assert "by i3d_torchscript.pt" in note and "base has 17 clips and 1 different true ones" in note


def test_clips_that_are_too_short_are_left_out_of_the_set_and_told(network):
    candidates = [given(number, worse(scene(number)), scene(number)) for number in range(17)]
    candidates.append(given(17, worse(scene(17, frames=9)), scene(17, frames=9)))

    report = evaluate(candidates, video=network, options=ONLY_TRUTH)

    assert report.sets["base"]["kernel_i3d"].samples == (17, 17)
    assert "i3d" not in report.clips[17].metrics and "9 frames are compared" in report.clips[17].notes[0]
    assert any("takes 10 frames or more" in note and "1 of base" in note for note in report.notes)


def test_a_network_for_sixteen_frames_is_found_to_be_one(tmp_path):
    network = load_video_network(write_script(tmp_path / "net.pt", Pooled(fewest=16)))

    assert network.fewest == 16 and network.name == "net.pt (6 features)"


def test_a_network_whose_weights_are_constants_is_taken(tmp_path, recwarn):
    frozen = torch.jit.freeze(torch.jit.script(Pooled().eval()))
    recwarn.clear()
    frozen.save(str(tmp_path / "frozen.pt"))

    network = load_video_network(tmp_path / "frozen.pt")

    assert network(scene(0)).numpy() == pytest.approx(features(scene(0)), abs=1e-5)


def test_without_a_true_clip_it_is_told_that_nothing_was_measured(network):
    report = evaluate([Candidate(name="a", load=lambda: scene(0))], video=network)

    assert "I3D is not used: there is no true clip." in report.notes


def test_what_is_no_video_network_is_told(tmp_path):
    (tmp_path / "notes.pt").write_text("no network")
    torch.save({"weight": torch.ones(2)}, tmp_path / "weights.pt")
    write_script(tmp_path / "pictures.pt", Pictures())
    write_script(tmp_path / "plain.pt", Plain())

    for name, sentence in (
        ("nowhere.pt", "is no file"),
        ("notes.pt", "is no TorchScript, or a damaged one"),
        ("weights.pt", "is no TorchScript, or a damaged one"),
        ("pictures.pt", r"gives no features of a clip of 16 frames: it gives torch.float32 \(1, 3, 16, 224, 224\)"),
        ("plain.pt", "gives no features of a clip of 16 frames: it fails with .*expected at most 2 argument"),
    ):
        with pytest.raises(EvaluationError, match=sentence) as told:
            load_video_network(tmp_path / name)
        assert "i3d_torchscript.pt" in str(told.value) and "\n" not in str(told.value)


def test_numbers_that_are_not_finite_are_refused(network):
    with pytest.raises(EvaluationError, match="not finite"):
        network(torch.full((10, SIDE, SIDE, 3), torch.inf))
