import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from zoetrope.evaluation.clip_encoders import ClipEncoder, EncodingOptions
from zoetrope.evaluation.errors import EvaluationError
from zoetrope.host.weights import managed
from zoetrope.models import clip
from zoetrope.models.clip import load_clip
from zoetrope.models.errors import CheckpointError
from zoetrope.models.packed_layers import PackedLinear, can_pack

from .conftest import as_open_clip, weights_of, write_clip, write_open_clip, write_tokenizer

PROMPTS = ["a red circle moves right", "blue square"]


def pictures(count=5, height=50, width=75, seed=3):
    return list(np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8))


def encoder(source, **options):
    model = load_clip(source, dtype=torch.float32, device="cpu", **options)
    return ClipEncoder(model)


@pytest.fixture(scope="module")
def expected(clip_folder):
    """What transformers' own classes tell, from the folder that they wrote."""
    import transformers
    from transformers import CLIPModel, PreTrainedTokenizerFast

    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = processor.from_pretrained(clip_folder)(images=pictures(), return_tensors="pt").pixel_values
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(clip_folder / "tokenizer.json"), pad_token="</s>")
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        images = model.get_image_features(pixel_values=pixels)
        texts = model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    unit = [getattr(each, "pooler_output", each) for each in (images, texts)]
    return pixels, *(each / each.norm(dim=-1, keepdim=True) for each in unit)


def test_a_picture_is_made_ready_as_by_transformers(expected, clip_folder):
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu")

    prepared = clip.prepared(pictures(), model.preprocessing)

    assert_close(prepared, expected[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("height, width", [(33, 32), (32, 33), (40, 131), (131, 40), (7, 9), (32, 32)])
def test_pictures_of_any_shape_are_made_ready_as_by_transformers(clip_folder, height, width):
    import transformers

    processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    (picture,) = pictures(1, height, width)
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu")

    (prepared,) = clip.prepared([picture], model.preprocessing)

    theirs = processor.from_pretrained(clip_folder)(images=[picture], return_tensors="pt").pixel_values[0]
    assert_close(prepared, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", ["folder", "file", "open_clip folder", "open_clip file"])
def test_features_are_those_of_transformers_in_every_layout(expected, clip_folder, layout, tmp_path):
    options = {}
    source = clip_folder
    if layout == "file":
        source = tmp_path / "clip.safetensors"
        shutil.copy(clip_folder / "model.safetensors", source)
        options = {"activation": "quick_gelu", "tokenizer": clip_folder}
    elif layout == "open_clip folder":
        source = write_open_clip(tmp_path / "open", clip_folder)
    elif layout == "open_clip file":
        source = write_open_clip(tmp_path / "open", clip_folder) / "open_clip_model.safetensors"
    found = encoder(source, **options)

    assert_close(found.frames(pictures()), expected[1], rtol=0, atol=1e-5)
    read = found.texts(PROMPTS)
    assert_close(read.features, expected[2], rtol=0, atol=1e-5)
    assert read.left_out == (0, 0)
    assert "quick_gelu, float32" in found.name


def test_an_image_encoder_alone_sees_and_says_that_it_cannot_read(expected, clip_folder, tmp_path):
    path = tmp_path / "clip_vision.safetensors"
    save_file({key: value for key, value in weights_of(clip_folder).items() if key.startswith("visi")}, path)
    with pytest.raises(CheckpointError):  # the projection is left out by a prefix too short
        encoder(path)
    save_file({key: value for key, value in weights_of(clip_folder).items() if key.startswith("vis")}, path)
    found = encoder(path, activation="quick_gelu")

    assert_close(found.frames(pictures()), expected[1], rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="an image encoder alone, so it cannot read a prompt"):
        found.texts(PROMPTS)


def test_a_released_size_has_its_heads_and_activation():
    """Of a file alone neither can be told, so both are as in the models that were released."""
    from zoetrope.models.clip_layouts import HEAD_CHANNELS, HEAD_CHANNELS_BY_WIDTH

    released = {768: 12, 1024: 16, 1280: 16, 1408: 16, 1664: 16}

    assert {width: width // HEAD_CHANNELS_BY_WIDTH.get(width, HEAD_CHANNELS) for width in released} == released


def test_a_file_without_a_configuration_has_the_activation_of_its_layout(clip_folder, tmp_path):
    theirs = write_open_clip(tmp_path / "plain", clip_folder, quick=False)
    (theirs / "open_clip_config.json").unlink()

    assert "(gelu, " in encoder(theirs / "open_clip_model.safetensors").name
    assert "(quick_gelu, " in encoder(theirs / "open_clip_model.safetensors", activation="quick_gelu").name


def test_the_bytes_of_a_picture_are_squashed_where_the_model_wants_all_of_it(clip_folder, tmp_path):
    folder = write_open_clip(tmp_path / "squash", clip_folder)
    config = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"resize_mode": "squash", "mean": [0, 0, 0]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    half = np.zeros((32, 96, 3), np.uint8)
    half[:, :16] = 255  # beside the middle, which is all that a crop would show

    (prepared,) = clip.prepared([half], load_clip(folder, dtype=torch.float32, device="cpu").preprocessing)

    assert prepared.shape == (3, 32, 32)
    assert prepared[:, :, 0].min() > 3 and prepared[:, :, -1].abs().max() < 0.01


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_batches_change_nothing(expected, clip_folder, batch):
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu")
    done = []

    found = ClipEncoder(model, EncodingOptions(batch=batch)).frames(iter(pictures()), done.append)

    assert_close(found, expected[1], rtol=0, atol=1e-5)
    assert done[-1] == 5 and len(done) == -(-5 // batch)


@pytest.mark.parametrize("frames, parts", [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (3, [3, 2]), (9, [5])])
def test_a_cpu_is_shown_no_more_at_once_than_its_cache_holds(expected, clip_folder, monkeypatch, frames, parts):
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu")
    network = model.image.module
    tokens = (network.config.image_size // network.config.patch_size) ** 2 + 1
    room = frames * tokens * network.config.intermediate_size * 4 // torch.get_num_threads()
    monkeypatch.setattr(clip, "CACHED_BYTES", room)
    shown = []
    network.register_forward_hook(lambda network, inputs, output: shown.append(len(output.image_embeds)))

    found = ClipEncoder(model).frames(pictures())

    assert_close(found, expected[1], rtol=0, atol=1e-5)
    assert shown == parts


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_both_networks_are_as_is_quickest_there(clip_folder, dtype):
    if not can_pack(dtype):
        pytest.skip("layers cannot be packed here")
    model = load_clip(clip_folder, dtype=dtype, device="cpu")

    found = ClipEncoder(model)
    found.frames(pictures(1))
    found.texts(["red"])

    for part in (model.image, model.text):
        assert not [each for each in part.module.modules() if type(each) is torch.nn.Linear]
        assert any(isinstance(each, PackedLinear) for each in part.module.modules())
        if dtype == torch.bfloat16 and hasattr(part.module, "set_attn_implementation"):
            assert part.module.config._attn_implementation == "eager"


@pytest.mark.parametrize("dtype, closeness", [(torch.float16, 0.9999), (torch.bfloat16, 0.995)])
def test_half_precision_tells_nearly_the_same(expected, clip_folder, dtype, closeness):
    found = ClipEncoder(load_clip(clip_folder, dtype=dtype, device="cpu")).frames(pictures())

    assert found.dtype == torch.float32
    assert (found * expected[1]).sum(1).min() > closeness


def counting(found):
    """Counts the frames that the model is shown."""
    see, shown = found._seer.see, []

    def count(frames):
        shown.append(len(frames))
        return see(frames)

    found._seer.see = count
    return shown


def test_a_frame_is_seen_but_once_whichever_clip_it_is_in(clip_folder):
    found = encoder(clip_folder)
    shown = counting(found)
    some = pictures()

    first = found.frames([*some, some[0]])
    again = found.frames([some[3].copy(), some[1]])

    assert sum(shown) == 5
    assert_close(again, first[[3, 1]], rtol=0, atol=0)


def test_frames_that_were_not_used_for_longest_are_forgotten(clip_folder):
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu")
    found = ClipEncoder(model, EncodingOptions(batch=1, known_frames=2))
    shown = counting(found)
    one, two, three = pictures(3)

    found.frames([one, two, one, three])
    found.frames([one])
    assert sum(shown) == 3
    found.frames([two])
    assert sum(shown) == 4


def test_a_batch_that_memory_does_not_hold_is_seen_in_parts(expected, clip_folder):
    found = encoder(clip_folder)
    see = found._seer.see

    def of_little_memory(frames):
        if len(frames) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return see(frames)

    found._seer.see = of_little_memory
    assert_close(found.frames(pictures()), expected[1], rtol=0, atol=1e-5)


def test_weights_that_are_managed_are_brought_to_the_device(expected, clip_folder):
    model = load_clip(clip_folder, dtype=torch.float32, device="cpu", place=managed)

    assert_close(ClipEncoder(model).frames(pictures()), expected[1], rtol=0, atol=1e-5)


def test_a_clip_vision_of_comfyui_is_shown_whole_pictures(clip_folder):
    asked = []

    def encode_image(images, crop):
        asked.append((images.shape, crop, float(images.max())))
        return SimpleNamespace(image_embeds=images.mean((1, 2)))

    vision = SimpleNamespace(
        encode_image=encode_image, image_size=32, model_type="clip_vision_model", config={"hidden_size": 768}
    )
    found = ClipEncoder(vision)

    features = found.frames(pictures())

    assert features.shape == (5, 3) and asked == [((5, 50, 75, 3), True, 1.0)]
    assert found.name == "CLIP_VISION (clip_vision_model, 32 pixels, 768 wide)"
    with pytest.raises(EvaluationError, match="cannot read a prompt"):
        found.texts(PROMPTS)


def test_a_prompt_that_is_too_long_ends_where_the_model_does_and_says_so(clip_folder):
    found = encoder(clip_folder)  # eight tokens, two of them for the beginning and the end

    read = found.texts(["a a a a a a", "a a a a a a red", "red"])

    assert read.left_out == (0, 1, 0)
    assert_close(read.features[0], read.features[1])


def test_texts_of_one_call_do_not_change_each_other(clip_folder):
    found = encoder(clip_folder)

    together = found.texts(PROMPTS).features

    assert_close(together[1], found.texts(PROMPTS[1:]).features[0], rtol=0, atol=1e-6)


def test_the_small_clip_of_the_pack_is_named_builtin(clip_folder, monkeypatch):
    monkeypatch.setattr(clip, "BUILTIN", clip_folder)

    assert encoder("builtin").frames(pictures()).shape == (5, 24)


class TestWhatCannotBeUsed:
    def test_nothing(self, tmp_path):
        with pytest.raises(CheckpointError, match="does not exist"):
            encoder(tmp_path / "clip")

    def test_a_folder_without_weights(self, clip_folder, tmp_path):
        shutil.copy(clip_folder / "config.json", tmp_path)

        with pytest.raises(CheckpointError, match="has no weights of CLIP in safetensors format"):
            encoder(tmp_path)

    def test_a_folder_whose_weights_are_a_pickle(self, tmp_path):
        torch.save({}, tmp_path / "pytorch_model.bin")

        with pytest.raises(CheckpointError, match=r"pytorch_model.bin in it is a pickle"):
            encoder(tmp_path)

    def test_a_text_encoder_alone(self, clip_folder, tmp_path):
        path = tmp_path / "clip_l.safetensors"
        save_file({key: value for key, value in weights_of(clip_folder).items() if key.startswith("text_")}, path)

        with pytest.raises(CheckpointError, match="is a text encoder, without an image encoder of CLIP"):
            encoder(path)

    def test_another_model(self, tiny_checkpoint):
        with pytest.raises(CheckpointError, match="SVD family, without an image encoder of CLIP"):
            encoder(tiny_checkpoint("svd"))

    def test_a_text_file(self, tmp_path):
        path = tmp_path / "clip.safetensors"
        path.write_text("{'a': 1}")

        with pytest.raises(CheckpointError, match="is a text file, not a model"):
            encoder(path)

    def test_a_damaged_configuration(self, clip_folder, tmp_path):
        shutil.copytree(clip_folder, tmp_path / "clip")
        (tmp_path / "clip" / "preprocessor_config.json").write_text('{"image_mean": "grey"}')

        with pytest.raises(CheckpointError, match="three numbers, for red, green and blue"):
            encoder(tmp_path / "clip")

    def test_a_file_without_a_tokenizer(self, clip_folder, tmp_path):
        path = tmp_path / "clip.safetensors"
        shutil.copy(clip_folder / "model.safetensors", path)

        with pytest.raises(CheckpointError, match="no tokenizer beside it"):
            encoder(path).texts(PROMPTS)

    def test_a_tokenizer_of_another_model(self, clip_folder, tmp_path):
        shutil.copytree(clip_folder, tmp_path / "clip")
        text = (tmp_path / "clip" / "tokenizer.json").read_text().replace('"red": 2', '"red": 3000')
        (tmp_path / "clip" / "tokenizer.json").write_text(text)

        with pytest.raises(CheckpointError, match="Put the tokenizer that belongs to it beside it"):
            encoder(tmp_path / "clip").texts(PROMPTS)

    def test_a_tokenizer_that_is_none(self, clip_folder, tmp_path):
        (tmp_path / "tokenizer.json").write_text("{}")

        with pytest.raises(CheckpointError, match="is no tokenizer that can be read"):
            encoder(clip_folder, tokenizer=tmp_path)
        (tmp_path / "tokenizer.json").unlink()
        with pytest.raises(CheckpointError, match="holds no tokenizer of CLIP"):
            encoder(clip_folder, tokenizer=tmp_path)

    def test_weights_that_are_not_finite(self, clip_folder, tmp_path):
        weights = weights_of(clip_folder)
        weights["visual_projection.weight"][0, 0] = float("nan")
        path = tmp_path / "clip.safetensors"
        save_file(weights, path)

        with pytest.raises(EvaluationError, match="not finite"):
            encoder(path).frames(pictures())

    def test_an_empty_prompt_and_a_clip_without_frames(self, clip_folder):
        with pytest.raises(EvaluationError, match="prompt is empty"):
            encoder(clip_folder).texts(["a red circle", "  "])
        with pytest.raises(EvaluationError, match="no frame"):
            encoder(clip_folder).frames([])

    def test_what_is_no_clip(self):
        with pytest.raises(EvaluationError, match="CLIP is wanted, and this is int"):
            ClipEncoder(3)

    @pytest.mark.parametrize("options", [{"batch": 0}, {"known_frames": -1}])
    def test_options_that_no_encoder_has(self, options):
        with pytest.raises(EvaluationError):
            EncodingOptions(**options)


def test_words_and_merges_are_a_tokenizer_too(clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "clip")
    (tmp_path / "clip" / "tokenizer.json").unlink()
    words = {"<|startoftext|>": 0, "a</w>": 1, "red</w>": 2, "re": 3, "r": 4, "e": 5, "d</w>": 6, "<|endoftext|>": 9}
    (tmp_path / "clip" / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "clip" / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")

    found = encoder(tmp_path / "clip")

    assert_close(found.texts(["a red"]).features, encoder(clip_folder).texts(["a red"]).features)


def test_activations_are_told_apart(tmp_path, expected):
    write_clip(tmp_path, "gelu")
    write_tokenizer(tmp_path)

    found = encoder(tmp_path)

    assert "(gelu, " in found.name
    assert (found.frames(pictures()) - expected[1]).abs().max() > 1e-3


def test_names_of_open_clip_hold_all_the_weights(clip_folder):
    ours = weights_of(clip_folder)

    theirs = as_open_clip(ours)

    assert sum(each.numel() for each in theirs.values()) == sum(each.numel() for each in ours.values())
