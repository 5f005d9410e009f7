import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zoetrope.clips.captioning import (
    CaptioningOptions,
    load_captioner,
    look_at_clips,
    spread_places,
)
from zoetrope.clips.footage import FootageError, read_footage

# A stand-in for transformers: its "model" says the colour of a picture, so that it is known what should be said.


class Inputs(dict):
    def to(self, device, dtype):
        return Inputs(
            {
                name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
                for name, value in self.items()
            }
        )


class Processor:
    def __call__(self, images, return_tensors, text=None):
        assert return_tensors == "pt"
        colors = torch.tensor([[channel / 255 for channel in image.getpixel((0, 0))] for image in images])
        prompts = {} if text is None else {"input_ids": torch.tensor([[len(each)] for each in text])}
        return Inputs(pixel_values=colors, **prompts)

    def batch_decode(self, tokens, skip_special_tokens):
        assert skip_special_tokens
        return [f" {('red', 'green', 'blue')[each[0]]} \n" + "!" * int(each[1]) for each in tokens]


class Model:
    def __init__(self):
        self.batches = []

    def to(self, device, dtype):
        self.device, self.dtype = device, dtype
        return self

    def eval(self):
        return self

    def generate(self, pixel_values, max_new_tokens, num_beams, do_sample, input_ids=None):
        assert torch.is_inference_mode_enabled() and not do_sample
        assert pixel_values.dtype == self.dtype and pixel_values.device == self.device
        self.batches.append(len(pixel_values))
        prompts = torch.zeros(len(pixel_values), 1, dtype=torch.int64) if input_ids is None else input_ids
        return torch.cat([pixel_values.argmax(1, keepdim=True), prompts], 1)


@pytest.fixture
def library(monkeypatch):
    """The stand-in, and what it was asked for."""
    asked = SimpleNamespace(missing=[], error=None, model=Model(), calls=[])

    def load(what):
        def from_pretrained(folder, **settings):
            asked.calls.append((folder, settings))
            if asked.error:
                raise asked.error
            return (what, {"missing_keys": set(asked.missing)}) if "output_loading_info" in settings else what

        return SimpleNamespace(from_pretrained=from_pretrained)

    fake = SimpleNamespace(BlipProcessor=load(Processor()), BlipForConditionalGeneration=load(asked.model))
    monkeypatch.setitem(sys.modules, "transformers", fake)
    return asked


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "blip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "blip"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def footage(tmp_path):
    """A clip that goes from red by green to blue, and one that is red."""
    colors = {"changes": ["#f00", "#f10", "#0f0", "#0f0", "#00f"], "stays": ["#f00", "#e00"]}
    for name, frames in colors.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, color in enumerate(frames):
            Image.new("RGB", (4 + number, 4), color).save(tmp_path / "set" / name / f"{number}.png")
    return read_footage(tmp_path / "set")[0]


def said(footage, captioner, **wishes):
    looks = look_at_clips(footage, footage.clips, captioner, CaptioningOptions(**wishes))
    return {clip.name: caption for clip, caption in looks}


@pytest.mark.parametrize(
    "frames, caption",
    [(1, "green"), (2, "red; green"), (3, "red; green; blue"), (5, "red; green; blue"), (50, "red; green; blue")],
)
def test_a_clip_is_described_by_frames_spread_over_it(library, folder, footage, frames, caption):
    assert said(footage, load_captioner(folder), frames=frames) == {"changes": caption, "stays": "red"}


@pytest.mark.parametrize(
    "frames, count, places",
    [(1, 1, [0]), (5, 1, [2]), (4, 1, [2]), (10, 2, [2, 7]), (3, 3, [0, 1, 2]), (2, 9, [0, 1]), (0, 3, [])],
)
def test_places_are_in_the_middles_of_equal_parts(frames, count, places):
    assert spread_places(frames, count) == places


def test_pictures_of_several_clips_go_through_together(library, folder, footage):
    said(footage, load_captioner(folder), frames=5, batch=4)

    assert library.model.batches == [4, 3]


def test_a_clip_is_given_as_soon_as_it_is_described(library, folder, footage):
    looks = look_at_clips(footage, footage.clips, load_captioner(folder), CaptioningOptions(batch=1))

    assert next(looks)[0].name == "changes"
    assert library.model.batches == [1]


def test_a_prompt_begins_each_sentence(library, folder, footage):
    assert said(footage, load_captioner(folder), prompt=" ab ")["stays"] == "red !!"


def test_only_files_that_are_here_and_hold_no_code_are_loaded(library, folder):
    captioner = load_captioner(folder, "cpu", torch.bfloat16)

    assert [call[0] for call in library.calls] == [str(folder)] * 2
    assert all(call[1]["local_files_only"] is True for call in library.calls)
    assert library.calls[1][1]["use_safetensors"] is True
    assert not any("trust_remote_code" in call[1] for call in library.calls)
    assert captioner.describe([np.full((4, 4, 3), (0, 0, 9), np.uint8)]) == ["blue"]
    assert library.model.dtype == torch.bfloat16


def test_without_the_library_it_is_told_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(FootageError, match="not installed here. Install it with: pip install transformers"):
        load_captioner(folder)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage, why",
    [
        (lambda folder: empty(folder) or folder.rmdir(), r"does not exist\. Nothing is downloaded"),
        (lambda folder: empty(folder) or folder.rmdir() or folder.write_text("x"), "is a file, and the model is a"),
        (empty, r"it has no config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "type 'none'"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "git"}'), "type 'git'"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"has no weights in it.*model\.safetensors"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), r"\.bin.*may run code"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_with_where_the_model_is_from(library, folder, damage, why):
    damage(folder)

    with pytest.raises(FootageError, match=why) as told:
        load_captioner(folder)

    assert "blip-image-captioning-base" in str(told.value) or "Download it again" in str(told.value)
    assert not library.calls


def test_what_the_library_says_is_told_on_one_line(library, folder):
    library.error = OSError("the file\nis broken")

    with pytest.raises(FootageError, match="cannot be loaded: the file is broken. Download its files again"):
        load_captioner(folder)


def test_weights_of_another_model_are_refused(library, folder):
    library.missing = ["text_decoder.b", "text_decoder.a"]

    with pytest.raises(FootageError, match="lack 2 of the model's tensors, text_decoder.a among them"):
        load_captioner(folder)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "xpu"])
def test_a_device_that_is_not_there_is_told(library, folder, device):
    with pytest.raises(FootageError, match=f"The device '{device}' cannot be used here.*Choose cpu"):
        load_captioner(folder, device)


@pytest.mark.parametrize("name", ["frames", "batch", "beams", "longest_tokens"])
def test_options_are_counts(name):
    with pytest.raises(FootageError, match=f"{name} is 0"):
        CaptioningOptions(**{name: 0})


# The library itself, where it is installed


@pytest.fixture(scope="module")
def tiny_blip(tmp_path_factory):
    """A BLIP of a few kilobytes with random weights, saved as the real one is."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "video", "of", "the", "sea", "moon", "red"]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=16)
    tokens = dict(bos_token_id=5, eos_token_id=3, pad_token_id=0, sep_token_id=3, max_position_embeddings=64)
    config = transformers.BlipConfig(
        text_config={**sizes, **tokens, "vocab_size": len(words), "encoder_hidden_size": 16},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), bos_token="[DEC]")
    images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("prompt", ["", "a video of"])
def test_the_real_library_describes_clips(tiny_blip, footage, prompt):
    captioner = load_captioner(tiny_blip)

    captions = said(footage, captioner, frames=2, batch=3, longest_tokens=6, prompt=prompt)

    assert set(captions) == {"changes", "stays"}
    assert captions == said(footage, captioner, frames=2, batch=1, longest_tokens=6, prompt=prompt)
    assert all(caption.startswith(prompt) and caption for caption in captions.values())


@pytest.mark.filterwarnings("default")
def test_the_real_library_lacks_tensors_of_weights_that_are_cut(tiny_blip, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "cut"
    folder.mkdir()
    for path in tiny_blip.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.post_layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(FootageError, match="post_layernorm"):
        load_captioner(folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(FootageError, match="cannot be loaded"):
        load_captioner(folder)
