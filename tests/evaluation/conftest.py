"""A tiny CLIP of the real classes, in every layout that CLIP is found in."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

WORDS = ["<s>", "a", "red", "blue", "circle", "square", "moves", "right", "left", "</s>"]
END = WORDS.index("</s>")  # the highest, as in the original CLIP, whose texts are told at their highest token
LAYERS, VISION_WIDTH, TEXT_WIDTH = 2, 128, 64


def write_clip(folder: Path, activation: str = "quick_gelu") -> Path:
    """A folder of transformers."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=TEXT_WIDTH,
        intermediate_size=96,
        num_hidden_layers=LAYERS,
        num_attention_heads=1,
        max_position_embeddings=8,
        projection_dim=24,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=END,
    )
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=160,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=24,
        hidden_act=activation,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24))
        for parameter in model.parameters():  # as made, biases are 0 and every layer nearly silent
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", END)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def as_open_clip(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under Open CLIP's names."""
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "self_attn.out_proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    renamed = {
        "logit_scale": weights["logit_scale"],
        "visual.class_embedding": weights["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": weights["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": weights["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": weights["visual_projection.weight"].t().contiguous(),
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "text_projection": weights["text_projection.weight"].t().contiguous(),
    }
    for kind in ("weight", "bias"):
        renamed[f"visual.ln_pre.{kind}"] = weights[f"vision_model.pre_layrnorm.{kind}"]
        renamed[f"visual.ln_post.{kind}"] = weights[f"vision_model.post_layernorm.{kind}"]
        renamed[f"ln_final.{kind}"] = weights[f"text_model.final_layer_norm.{kind}"]
        for tower, prefix in (("vision_model", "visual."), ("text_model", "")):
            for layer in range(LAYERS):
                theirs, ours = f"{prefix}transformer.resblocks.{layer}", f"{tower}.encoder.layers.{layer}"
                rows = [weights[f"{ours}.self_attn.{each}_proj.{kind}"] for each in "qkv"]
                renamed[f"{theirs}.attn.in_proj_{kind}"] = torch.cat(rows)
                for ours_name, name in names.items():
                    renamed[f"{theirs}.{name}.{kind}"] = weights[f"{ours}.{ours_name}.{kind}"]
    return renamed


def write_open_clip(folder: Path, source: Path, quick: bool = True) -> Path:
    """A folder of Open CLIP, with the weights of a folder of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(as_open_clip(weights_of(source)), folder / "open_clip_model.safetensors")
    config = {"model_cfg": {"embed_dim": 24, "quick_gelu": quick}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return folder
