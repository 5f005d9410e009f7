"""A chain goes on where a segment ends, in memory that does not grow, and its colours stay."""

import gc
from collections.abc import Iterator

import pytest
import torch

from zoetrope.pipelines import chain as module
from zoetrope.pipelines.chain import ChainOptions, chain, cross_fade, with_colours_of
from zoetrope.pipelines.conditioning import embed_picture
from zoetrope.pipelines.svd import SVDOptions, as_network_picture, image_to_video

CLIP = SVDOptions(frames=5, steps=2, seed=4, keep_size=True)
IMAGE = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def svd(tiny):
    return tiny("svd")


class Spy:
    """Stands in for a function of the chain's, and remembers what it was given and what it gave."""

    def __init__(self, monkeypatch, name):
        self._real, self.given, self.gave = getattr(module, name), [], []
        monkeypatch.setattr(module, name, self)

    def __call__(self, *args, **kwargs):
        result = self._real(*args, **kwargs)
        self.given.append(args)
        self.gave.append(result.clone())
        return result


def test_one_segment_is_image_to_video(svd):
    frames = torch.stack(list(chain(svd, IMAGE, ChainOptions(segments=1), CLIP)))

    assert torch.equal(frames, image_to_video(svd, IMAGE, CLIP))


@pytest.mark.parametrize("overlap", [1, 2, 4])
def test_the_first_segment_is_image_to_video_up_to_the_shared_frames(svd, overlap):
    options = ChainOptions(segments=2, overlap=overlap)

    frames = torch.stack(list(chain(svd, IMAGE, options, CLIP)))

    assert torch.equal(frames[: 5 - overlap], image_to_video(svd, IMAGE, CLIP)[: 5 - overlap])
    assert len(frames) == options.frames_in_all(5) == 10 - overlap


@pytest.mark.parametrize("kind", ["svd", "svd_image_decoder"])
def test_a_chain_is_the_same_again_and_another_with_another_seed(tiny, kind):
    first, again, other = (
        torch.stack(
            list(chain(tiny(kind), IMAGE, ChainOptions(), SVDOptions(frames=5, steps=2, seed=seed, keep_size=True)))
        )
        for seed in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.01)
    assert first.shape == (9, 32, 48, 3) and first.min() >= 0 and first.max() <= 1


def test_a_segment_starts_from_the_latent_of_the_frame_it_shares(svd, monkeypatch):
    sampled, decoded = Spy(monkeypatch, "sample_latents"), Spy(monkeypatch, "decode_latents")

    list(chain(svd, IMAGE, ChainOptions(segments=2, overlap=2, hold_colour=0), CLIP))

    condition = sampled.given[1][1]
    torch.testing.assert_close(condition.latent, sampled.gave[0][3:4] / 0.18215)
    shown = as_network_picture(decoded.gave[0][3])
    torch.testing.assert_close(condition.context, embed_picture(svd.image_encoder, shown))
    assert torch.equal(condition.vector, sampled.given[0][1].vector)
    assert not torch.equal(sampled.given[1][2], sampled.given[0][2])  # the noise is another one


def test_a_segment_can_start_from_the_picture_instead(svd, monkeypatch):
    sampled, decoded = Spy(monkeypatch, "sample_latents"), Spy(monkeypatch, "decode_latents")
    clip = SVDOptions(frames=5, steps=2, cond_aug=0.0, keep_size=True)

    list(chain(svd, IMAGE, ChainOptions(segments=2, overlap=2, handoff="picture"), clip))

    with torch.no_grad():
        encoded = svd.vae.module.encode(as_network_picture(decoded.gave[0][3])).latent_dist.mode()
    torch.testing.assert_close(sampled.given[1][1].latent, encoded)


def test_steered_frames_go_on_with_those_they_share(svd, monkeypatch):
    def distance(steer: bool) -> list[float]:
        with monkeypatch.context() as patch:
            sampled = Spy(patch, "sample_latents")
            list(chain(svd, IMAGE, ChainOptions(segments=2, overlap=3, hold_colour=0, steer=steer), CLIP))
        ending, beginning = sampled.gave[0][-3:], sampled.gave[1][:3]
        return (ending - beginning).square().mean(dim=(1, 2, 3)).sqrt().tolist()

    steered, free = distance(True), distance(False)

    assert steered[0] < 1e-5  # wholly held
    assert steered[1] < 0.6 * free[1] and steered[2] < free[2]


def drift_of(svd, monkeypatch, hold_colour: float, segments: int) -> tuple[float, float]:
    """How far mean and contrast of the last frame's latent have gone from those of the first.

    The model makes each frame brighter and harsher than the one before, from whatever it starts.
    """
    decoded = []

    def brighter_and_harsher(model, condition, noise, options, *, on_step, adjust):
        start = condition.latent[0] * 0.18215
        return torch.stack([start * 1.03**frame + 0.05 * frame for frame in range(len(noise))])

    def undecoded(model, latents, **options):
        decoded.append(latents)
        return torch.zeros(len(latents), 32, 48, 3)

    monkeypatch.setattr(module, "sample_latents", brighter_and_harsher)
    monkeypatch.setattr(module, "decode_latents", undecoded)
    list(chain(svd, IMAGE, ChainOptions(segments=segments, hold_colour=hold_colour), CLIP))
    first, last = decoded[0][0], decoded[-1][-1]
    mean = (last.mean(dim=(1, 2)) - first.mean(dim=(1, 2))).abs().max().item()
    contrast = (last.std(dim=(1, 2)) / first.std(dim=(1, 2)) - 1).abs().max().item()
    return mean, contrast


def test_colour_drifts_where_it_is_not_held(svd, monkeypatch):
    mean_2, contrast_2 = drift_of(svd, monkeypatch, 0, 2)
    mean_6, contrast_6 = drift_of(svd, monkeypatch, 0, 6)

    assert mean_6 > 2 * mean_2 > 0.5
    assert contrast_6 > 2 * contrast_2 > 0.2


def test_held_colour_does_not_drift(svd, monkeypatch):
    mean, contrast = drift_of(svd, monkeypatch, 1, 6)

    assert mean < 1e-5 and contrast < 1e-5


def test_half_held_colour_drifts_to_a_limit(svd, monkeypatch):
    six, twelve = (drift_of(svd, monkeypatch, 0.5, segments)[0] for segments in (6, 12))

    assert 0 < six < drift_of(svd, monkeypatch, 0, 6)[0] / 2
    assert twelve == pytest.approx(six, rel=0.1)


def test_taking_colours_changes_mean_and_deviation_alone():
    generator = torch.Generator().manual_seed(0)
    reference, latents = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(3, 4, 8, 8, generator=generator) * 5

    held = with_colours_of(reference, latents, 1.0)

    torch.testing.assert_close(held.mean(dim=(2, 3)), reference.mean(dim=(2, 3)).expand(3, -1))
    torch.testing.assert_close(held.std(dim=(2, 3)), reference.std(dim=(2, 3)).expand(3, -1))
    correlation = torch.corrcoef(torch.stack([held[1, 2].flatten(), latents[1, 2].flatten()]))[0, 1]
    assert correlation > 0.9999
    assert torch.equal(with_colours_of(reference, latents, 0.0), latents)


@pytest.mark.parametrize("length", [1, 3])
def test_a_cross_fade_goes_evenly_from_one_to_the_other(length):
    faded = cross_fade(torch.zeros(length, 2, 2, 3), torch.ones(length, 2, 2, 3))

    expected = torch.arange(1, length + 1) / (length + 1)
    torch.testing.assert_close(faded, expected[:, None, None, None].expand(-1, 2, 2, 3))


def live_storages() -> list[int]:
    """The bytes of each piece of memory that tensors lie in."""
    gc.collect()
    storages = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return list({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_memory_does_not_grow_with_the_segments(svd):
    """Nobody keeps the frames here, as a writer of videos does not."""
    in_use = []

    def measure(told):
        if told.step.index == 0:
            in_use.append(live_storages())

    before = live_storages().count(5 * IMAGE.nbytes)
    for _ in chain(svd, IMAGE, ChainOptions(segments=4), CLIP, on_step=measure):
        pass

    assert len(in_use) == 4
    assert sum(in_use[1]) == sum(in_use[2]) == sum(in_use[3])
    assert in_use[1].count(5 * IMAGE.nbytes) == before  # the decoded segment is gone before the next is sampled


def test_a_frame_that_is_kept_keeps_no_other(svd):
    frame = next(chain(svd, IMAGE, ChainOptions(segments=2), CLIP))

    assert frame.untyped_storage().nbytes() == 32 * 48 * 3 * 4


def test_each_step_of_each_segment_is_told_and_the_work_can_be_cancelled(svd):
    told, given = [], []

    def cancel(step):
        told.append((step.segment, step.segments, step.step.index, step.step.steps))
        if step.segment == 1 and step.step.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given.extend(chain(svd, IMAGE, ChainOptions(segments=3), CLIP, on_step=cancel))

    assert told == [(0, 3, 0, 2), (0, 3, 1, 2), (1, 3, 0, 2), (1, 3, 1, 2)]


def test_work_is_done_only_as_frames_are_asked_for(svd):
    told = []
    frames = chain(svd, IMAGE, ChainOptions(segments=3, overlap=2), CLIP, on_step=told.append)

    assert isinstance(frames, Iterator) and not told
    for _ in range(3):
        next(frames)
    assert {step.segment for step in told} == {0}
    next(frames)
    assert {step.segment for step in told} == {0, 1}


def test_a_chain_takes_a_model_that_can_go_on(tiny):
    with pytest.raises(ValueError, match="is an sv3d_p model, which turns the camera"):
        chain(tiny("sv3d_p"), IMAGE, ChainOptions(), CLIP)


def test_what_is_wrong_is_said_before_any_frame_is_asked_for(svd):
    with pytest.raises(ValueError, match="overlap is 5, but a segment has 5 frames"):
        chain(svd, IMAGE, ChainOptions(overlap=5), CLIP)
    with pytest.raises(ValueError, match="NaN"):
        chain(svd, IMAGE * torch.nan, ChainOptions(), CLIP)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"segments": 0}, "segments is 0"),
        ({"overlap": 0}, "overlap is 0"),
        ({"hold_colour": 1.5}, "hold_colour is 1.5"),
        ({"hold_colour": float("nan")}, "hold_colour is nan"),
        ({"handoff": "mail"}, "handoff is 'mail'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        ChainOptions(**options)
