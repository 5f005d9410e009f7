"""What a file of weights is, told from the names of its tensors, for messages about files that are of another kind."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .checkpoints import listed

# The first pattern that some key of a file matches decides, so what is part of others comes last.
KINDS = (
    (
        r"(^|[._])lora_(up|down|A|B|unet|te)\b|\.lora\.(up|down)\.|^lora_(unet|te)",
        "a LoRA, which changes another model",
    ),
    (r"^control_model\.|(^|\.)controlnet_|^input_hint_block\.", "a ControlNet"),
    (r"(^|\.)motion_modules\.", "an AnimateDiff motion module"),
    (
        r"^model\.diffusion_model\..*\.time_stack\.|(^|\.)temporal_transformer_blocks\.",
        "a video model of the SVD family",
    ),
    (r"^conditioner\.embedders\.1\.(model|transformer)\.", "an SDXL checkpoint, which makes pictures and not video"),
    (r"^cond_stage_model\.transformer\.", "a Stable Diffusion 1 checkpoint, which makes pictures and not video"),
    (r"^cond_stage_model\.model\.", "a Stable Diffusion 2 checkpoint, which makes pictures and not video"),
    (
        r"^(model\.diffusion_model\.|transformer\.)?(double_blocks|joint_blocks|transformer_blocks|blocks)\.\d+\.",
        "a diffusion transformer, such as Flux, Wan or LTX",
    ),
    (r"(^|\.)(input_blocks|down_blocks)\.\d+\..*transformer_blocks\.", "a UNet that makes pictures and not video"),
    (
        r"^(first_stage_model\.|vae\.)?(encoder\.(down|mid|down_blocks|mid_block)|decoder\.(up|mid|up_blocks|mid_block))\b",
        "a VAE alone",
    ),
    (r"(^|\.)(vision_model|visual)\.", "an image encoder alone"),
    (r"(^|\.)text_model\.|(^|\.)token_embedding\.|^encoder\.block\.\d+\.layer\.|^shared\.weight", "a text encoder"),
)


def what_it_is(keys: Iterable[str]) -> str:
    """A phrase that says what a file with tensors of these names is, as far as that is known."""
    keys = list(keys)
    for pattern, what in KINDS:
        if any(re.search(pattern, key) for key in keys):
            return what
    return f"a file of a kind that is not known here (with tensors called {listed(keys, most=3)})"
