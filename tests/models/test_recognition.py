import pytest
import torch

from zoetrope.models.errors import CheckpointError
from zoetrope.models.recognition import what_it_is
from zoetrope.models.svd import load_svd

from ..random_checkpoints import manifest, write_tensors

SPATIAL = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
FILES = {
    "a LoRA": ["lora_unet_input_blocks_1_1_proj_in.lora_up.weight", "lora_unet_input_blocks_1_1_proj_in.alpha"],
    "a LoRA, which": ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"],
    "a LoRA, which changes": ["diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_down.weight"],
    "a ControlNet": ["control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"],
    "an AnimateDiff motion module": ["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"],
    "a Stable Diffusion 1 checkpoint": [
        f"model.diffusion_model.{SPATIAL}",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "first_stage_model.encoder.conv_in.weight",
    ],
    "a Stable Diffusion 2 checkpoint": [f"model.diffusion_model.{SPATIAL}", "cond_stage_model.model.ln_final.weight"],
    "an SDXL checkpoint": [
        f"model.diffusion_model.{SPATIAL}",
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight",
        "conditioner.embedders.1.model.ln_final.weight",
    ],
    "a diffusion transformer": ["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"],
    "a diffusion transformer, such as": ["blocks.0.self_attn.q.weight", "patch_embedding.weight"],
    "a UNet that makes pictures": [SPATIAL],
    "a UNet that makes pictures and not video": ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
    "a VAE alone": ["encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight", "quant_conv.weight"],
    "a VAE": ["decoder.up_blocks.0.resnets.0.conv1.weight"],
    "an image encoder alone": ["vision_model.embeddings.class_embedding", "visual_projection.weight"],
    "an image encoder": ["visual.class_embedding", "visual.proj"],
    "a text encoder": ["text_model.embeddings.token_embedding.weight"],
    "a text": ["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"],
    "a file of a kind that is not known here (with tensors called a, b)": ["a", "b"],
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_another_kind_is_told_for_what_it_is(what, tmp_path):
    path = write_tensors(tmp_path / "model.safetensors", dict.fromkeys(FILES[what], torch.zeros(1)))

    with pytest.raises(CheckpointError) as error:
        load_svd(path, dtype=torch.float32, device="cpu")

    assert str(error.value).startswith(f"model.safetensors is {what}")
    assert "Choose an SVD or SV3D checkpoint" in str(error.value)


@pytest.mark.parametrize("kind", ["svd", "svd_image_decoder", "sv3d_u", "sv3d_p"])
def test_a_checkpoint_of_ours_is_none_of_the_others(kind):
    assert what_it_is(manifest(kind)) == "a video model of the SVD family"
