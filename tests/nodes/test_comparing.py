import os

import pytest
import torch
from PIL import Image

from zoetrope.host import folders, work
from zoetrope.models.lora import add_lora, lora_targets, save_lora, trained_lora
from zoetrope.nodes.comparing import CompareBeforeAndAfter
from zoetrope.nodes.lora import LoadLoRA
from zoetrope.nodes.svd import LoadSVD, SVDImageToVideo
from zoetrope.pipelines import comparing

CLIP = {"frames": 3, "steps": 2, "width": 64, "height": 64, "fps_id": 6, "motion_bucket_id": 127, "cond_aug": 0.02,
         "seed": 23, "decoding_t": 14, "guidance": {"guidance": "the model's own"}}  # fmt: skip
pytestmark = pytest.mark.usefixtures("models")
SETTINGS = {"lora": "none", "more_loras": "", "strengths": "0, 1", "shown_frames": 3} | CLIP


@pytest.fixture
def model(models, svd_file):
    (models / "checkpoints" / "svd.safetensors").symlink_to(svd_file)
    return LoadSVD.execute(checkpoint="svd.safetensors", dtype="fp32")[0]


def layers_of(model, seed):
    unet = model.unet.module
    layers = add_lora(unet, lora_targets(unet, "motion"), rank=2, alpha=2, seed=seed)
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(seed))
    return layers


@pytest.fixture
def lora(models, model):
    """The name of a LoRA in the folder of LoRAs."""
    save_lora(models / "loras" / "moon.safetensors", layers_of(model, 0))
    return "moon.safetensors"


def picture(count=1):
    return torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(0))


def run(model, **changed):
    return CompareBeforeAndAfter.execute(model=model, image=picture(), **SETTINGS | changed)


def test_a_clip_is_that_of_load_lora_and_svd_image_to_video(model, lora):
    sheet, video, clips, labels, report, rate = run(model, lora=lora, strengths="0, 0.5, 1").args

    assert labels == ["before", "moon at 0.5", "moon at 1"]
    for clip, strength in zip(clips, (0.0, 0.5, 1.0), strict=True):
        changed = LoadLoRA.execute(model, lora, strength)[0] if strength else model
        assert torch.equal(clip, SVDImageToVideo.execute(model=changed, image=picture(), **CLIP)[0])
    assert sheet.shape[0] == 1 and video.shape[0] == 3
    for images in (sheet, video):
        assert images.dtype == torch.float32 and images.shape[3] == 3
        assert images.min() >= 0 and images.max() <= 1
    assert [line.split(":")[0] for line in report.splitlines()[:3]] == labels
    assert rate == 7.0


def test_what_is_compared_is_shown_playing_on_the_node(model, lora):
    (shown,) = run(model, lora=lora).ui.results

    with Image.open(folders.temp_folder() / shown.subfolder / shown.filename) as animation:
        assert animation.n_frames == 3
        assert animation.width > 2 * 300 and animation.width > animation.height


def test_a_lora_that_was_just_trained_is_compared_before_those_in_files(model, lora):
    trained = trained_lora(layers_of(model, 1)).tensors()

    labels = run(model, lora=lora, trained=trained, strengths="1").args[3]

    assert labels == ["just trained at 1", "moon at 1"]


def test_the_true_clip_is_shown_beside_them(model, lora):
    *_, labels, report, _ = run(model, lora="none", strengths="0", true_clip=torch.rand(3, 64, 64, 3)).args

    assert labels == ["before", "true clip"]
    assert "from the true clip" in report.splitlines()[0]


@pytest.fixture
def compared(monkeypatch):
    """Which variants the node wants to compare, without sampling them."""
    wanted = []

    def compare(model, images, variants, *options, **others):
        wanted.extend(variants)
        return [comparing.Compared(0, "a", torch.zeros(1, 64, 64, 3), 0.0, None, None)]

    monkeypatch.setattr("zoetrope.nodes.comparing.compare", compare)
    return wanted


def copies(models, lora, *names):
    for name in names:
        (models / "loras" / name).parent.mkdir(exist_ok=True)
        os.link(models / "loras" / lora, models / "loras" / name)


def test_the_exports_of_a_run_are_named_at_once_and_come_in_the_order_of_their_steps(model, models, lora, compared):
    copies(models, lora, *(f"zoetrope/run-{step}.safetensors" for step in (1000, 500, 50)), "other-5.safetensors")

    run(model, more_loras="run-*.safetensors\n\n moon.safetensors \nzoetrope/run-50.safetensors", strengths="0, 1")

    assert [each.label for each in compared] == [
        "before", "run-50 at 1", "run-500 at 1", "run-1000 at 1", "moon at 1"
    ]  # fmt: skip


def test_a_pattern_with_a_folder_looks_there_alone(model, models, lora, compared):
    copies(models, lora, "a/x.safetensors", "b/x.safetensors", "b/y.safetensors")

    run(model, more_loras="b/*", strengths="1")

    assert [each.label for each in compared] == ["x at 1", "y at 1"]


def test_brackets_in_a_name_are_letters(model, models, lora, compared):
    copies(models, lora, "moon [v2]-5.safetensors", "moon [v2]-10.safetensors", "moon v-5.safetensors")

    run(model, more_loras="moon [v2]-10.safetensors\nmoon [v2]-*", strengths="1")

    assert [each.label for each in compared] == ["moon [v2]-10 at 1", "moon [v2]-5 at 1"]


def test_loras_of_the_same_name_are_told_apart_by_their_folders_and_suffixes(model, models, lora, compared):
    names = ["a/x.safetensors", "b/x.safetensors", "moon.sft", "moon.safetensors", "just trained.safetensors"]
    copies(models, lora, *(name for name in names if name != lora))
    trained = trained_lora(layers_of(model, 1)).tensors()

    run(model, more_loras="\n".join(names), strengths="1", trained=trained)

    assert [each.label for each in compared] == ["just trained at 1", *(f"{name} at 1" for name in names)]


@pytest.mark.parametrize("text", ["0, 0.5,1", "0 0.5 1", "0;0.5\n1", " 0 , .5, 1, "])
def test_strengths_are_read_as_people_write_them(text, model, lora, compared):
    run(model, lora=lora, strengths=text)

    assert [each.label for each in compared] == ["before", "moon at 0.5", "moon at 1"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strengths": "0, one"}, "strengths is '0, one', and not all of it is numbers"),
        ({"strengths": ""}, "nothing to compare"),
        ({"strengths": "0, 999"}, "strength is 999"),
        ({"lora": "none"}, "no LoRA to compare with"),
        ({"more_loras": "../*"}, "has a name like"),
        ({"more_loras": "sun-*"}, r"No LoRA in .*loras has a name like 'sun-\*'"),
        ({"more_loras": "mon.safetensors"}, "Did you mean 'moon.safetensors'"),
        ({"trained": {"a": 1}}, "What is connected to trained is no LoRA"),
        ({"guidance": {}}, "guidance is not set"),
        ({"width": 100}, "width is 100"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sampled(changed, said, model, lora):
    told = []
    with pytest.raises(ValueError, match=said), work.reporting_to(lambda *progress: told.append(progress)):
        run(model, **{"lora": lora} | changed)
    assert not told


HOSTILE = ["../checkpoints/svd.safetensors", "/etc/passwd", ".", "a\0b", "C:x", "\\\\host\\x", "../../[a-z]*"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("place", ["lora", "more_loras"])
def test_a_hostile_name_is_no_lora(name, place, model, lora):
    assert isinstance(CompareBeforeAndAfter.validate_inputs(**{place: name}), str)
    with pytest.raises(ValueError):
        run(model, **{"lora": lora, place: name})


def test_names_are_checked_before_the_queue_runs(lora):
    assert CompareBeforeAndAfter.validate_inputs(lora=lora, more_loras="moon*") is True
    assert CompareBeforeAndAfter.validate_inputs(lora="none", more_loras="") is True
    assert CompareBeforeAndAfter.validate_inputs() is True  # both are linked
    assert "Did you mean" in CompareBeforeAndAfter.validate_inputs(lora="mon.safetensors")


def test_the_fingerprint_follows_the_files(models, lora):
    def fingerprint():
        return CompareBeforeAndAfter.fingerprint_inputs(lora="none", more_loras="moon*", strengths="1")

    before = fingerprint()
    copies(models, lora, "moon-2.safetensors")
    with_another = fingerprint()
    os.utime(models / "loras" / lora, (0, 0))

    assert len({before, with_another, fingerprint()}) == 3


def test_progress_counts_the_steps_of_all_clips_and_a_cancel_ends_it(model, lora):
    told, said = [], []

    def listen(done, total, preview):
        told.append((done, total, preview))
        if done == 4:
            raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(listen, said.append):
        run(model, lora=lora)

    # Two steps and decoding, twice. A preview would stay in front of the result, so there is none.
    assert told == [(1, 6, None), (2, 6, None), (4, 6, None)]
    assert said == [
        "Clip 1 of 2, before: step 1 of 2", "Clip 1 of 2, before: step 2 of 2", "Clip 2 of 2, moon at 1: step 1 of 2"
    ]  # fmt: skip


def test_what_came_out_is_told_on_the_node(model, lora):
    said = []

    with work.reporting_to(lambda *progress: None, said.append):
        report = run(model, lora=lora).args[4]

    assert said[-1] == report
