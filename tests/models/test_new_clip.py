import pytest
import torch
from torch.testing import assert_close

from zoetrope.models.errors import CheckpointError
from zoetrope.models.new_clip import ClipSize, new_clip, save_clip
from zoetrope.models.svd_layouts import HeadWidths, find_image_encoder
from zoetrope.models.svd_parts import build, fill
from zoetrope.models.word_pieces import END, learn_vocabulary

CAPTIONS = ["a red circle at the top left on a blue ground", "a white moon stands still in a grey sky, 2 of them"]
ODD = [
    "A  RED\tcircle",
    "a zebra's 23 cafe\u0301s_!?",
    "caf\u00e9 na\u00efve \u00fcber",
    "",
    "it's we're \u6708 \U0001f319",
]


@pytest.fixture(scope="module")
def vocabulary():
    return learn_vocabulary(CAPTIONS)


@pytest.fixture(scope="module")
def folder(vocabulary, tmp_path_factory):
    clip = new_clip(ClipSize(layers=1, text_layers=1), vocabulary, seed=0)
    path = tmp_path_factory.mktemp("small") / "clip"
    save_clip(clip, vocabulary, path)
    return path, clip


def test_each_word_that_was_learned_is_one_piece(vocabulary):
    assert all(len(vocabulary.numbers(word)) == 1 for caption in CAPTIONS for word in caption.replace(",", "").split())
    assert vocabulary == learn_vocabulary(reversed(CAPTIONS))


def test_texts_are_spelled_as_transformers_spells_them(vocabulary, folder):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder[0], local_files_only=True)

    for caption in (*CAPTIONS, *ODD):
        theirs = tokenizer(caption).input_ids
        assert theirs == [vocabulary.start, *vocabulary.numbers(caption), vocabulary.end], caption
    assert tokenizer.pad_token == END
    assert tokenizer.model_max_length == ClipSize().text_length


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_transformers_reads_the_folder(folder):
    from transformers import CLIPModel, CLIPProcessor

    path, clip = folder
    loaded, processor = (each.from_pretrained(path, local_files_only=True) for each in (CLIPModel, CLIPProcessor))
    given = processor(
        text=CAPTIONS, images=list(torch.randint(256, (2, 3, 80, 96)).byte()), return_tensors="pt", padding=True
    )

    assert given.pixel_values.shape == (2, 3, 64, 64)
    with torch.no_grad():
        theirs, ours = loaded.eval()(**given), clip(**given)
    assert_close(theirs.image_embeds, ours.image_embeds)
    assert_close(theirs.text_embeds, ours.text_embeds)
    assert not torch.equal(ours.text_embeds[0], ours.text_embeds[1])


def test_it_is_an_image_encoder_of_video_models(folder):
    path, clip = folder
    part = find_image_encoder(path, HeadWidths(), half=False)
    encoder = fill(build(part), part, torch.float32, torch.device("cpu"))
    pixels = torch.rand(1, 3, 64, 64)

    with torch.no_grad():
        assert_close(encoder(pixels).image_embeds, clip.visual_projection(clip.vision_model(pixels).pooler_output))


def test_sizes_that_heads_or_patches_do_not_fill_are_refused():
    with pytest.raises(CheckpointError, match="width is 100. Choose a multiple of 80"):
        ClipSize(width=100)
    with pytest.raises(CheckpointError, match="side is 60, which patches of 8 do not fill"):
        ClipSize(side=60)
