import pytest
import torch

from zoetrope.host import folders, work
from zoetrope.host.video import components_of
from zoetrope.models.svd import load_svd
from zoetrope.nodes.svd import LoadSVD
from zoetrope.nodes.svd_chain import SVDChain
from zoetrope.pipelines.chain import ChainOptions, chain
from zoetrope.pipelines.svd import SVDOptions

pytestmark = pytest.mark.usefixtures("models")
SMALL = {"segments": 2, "overlap": 1, "hold_colour": 1.0, "frames": 3, "steps": 2, "width": 64, "height": 64,
         "fps_id": 6, "motion_bucket_id": 127, "cond_aug": 0.02, "seed": 23, "decoding_t": 14,
         "guidance": {"guidance": "the model's own"}}  # fmt: skip


@pytest.fixture
def model(models, svd_file):
    (models / "checkpoints" / "svd.safetensors").symlink_to(svd_file)
    return LoadSVD.execute(checkpoint="svd.safetensors", dtype="fp32")[0]


def picture(count=1):
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, size=(64, 64), mode="bilinear").movedim(1, -1)


def test_a_chain_is_the_one_of_the_library_in_a_file(model, tiny_checkpoint):
    video, last, frames, rate = SVDChain.execute(model=model, image=picture(), **SMALL)

    same = load_svd(tiny_checkpoint("svd"), dtype=torch.float32, device="cpu")
    expected = torch.stack(
        list(
            chain(
                same,
                picture()[0],
                ChainOptions(segments=2, overlap=1),
                SVDOptions(frames=3, steps=2, width=64, height=64),
            )
        )
    )
    assert frames == len(expected) == 5
    assert rate == 7.0
    assert torch.equal(last[0], expected[-1])
    found = components_of(video)
    assert found.images.shape == expected.shape
    assert float(found.frame_rate) == 7.0
    assert (found.images - expected).abs().mean() < 0.05  # of noise, which H.264 is bad at


def test_the_video_lies_in_the_temp_folder_and_each_has_its_number(model):
    for _ in range(2):
        SVDChain.execute(model=model, image=picture(), **SMALL | {"segments": 1})

    names = sorted(path.name for path in (folders.temp_folder() / "zoetrope").iterdir())
    assert names == ["chain_00001_.mp4", "chain_00002_.mp4"]


def test_progress_counts_the_steps_of_all_segments_and_a_cancel_leaves_no_file(model):
    told = []

    def listen(done, total, preview):
        told.append((done, total))
        if done == 4:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(listen):
        SVDChain.execute(model=model, image=picture(), **SMALL)

    assert told == [(1, 6), (2, 6), (4, 6)]  # two steps and decoding, twice
    assert not list(folders.temp_folder().rglob("*.mp4"))


def test_several_pictures_are_refused(model):
    with pytest.raises(ValueError, match="2 pictures, and a chain starts from one"):
        SVDChain.execute(model=model, image=picture(count=2), **SMALL)


def test_what_does_not_fit_is_told_before_the_work(model):
    with pytest.raises(ValueError, match="overlap is 3, but a segment has 3 frames"):
        SVDChain.execute(model=model, image=picture(), **SMALL | {"overlap": 3})
